//! This repository's log, with its default options.

use std::io;
use std::path::Path;

use wal::{Options, ReplayRecord, Wal};
use wal_bench::Failure;

use super::subject::{Log, Subject};

/// This log.
pub const SUBJECT: Subject = Subject {
    name: "wal",
    version: "here",
    way: "append, wait_durable",
    open: |dir| Ok(Box::new(Ours(replay(dir, &mut Vec::new())?))),
    read: |dir| {
        let mut bodies = Vec::new();
        replay(dir, &mut bodies)?;
        Ok(bodies)
    },
};

fn replay(dir: &Path, bodies: &mut Vec<Vec<u8>>) -> Result<Wal, Failure> {
    let replay = |record: &ReplayRecord<'_>| {
        bodies.push(record.body.to_vec());
        Ok::<(), io::Error>(())
    };
    Ok(Wal::open(dir.join("log"), Options::default(), replay)?)
}

struct Ours(Wal);

impl Log for Ours {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        Ok(self.0.append(body)?.wait_durable()?)
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), Failure> {
        Ok(self.0.append(body)?.wait_written()?)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // Nothing hangs on it: every commit was acknowledged before.
        let _ = self.0.close();
    }
}
