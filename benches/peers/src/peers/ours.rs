//! This repository's log, with its default options.

use std::io;
use std::path::Path;

use wal::{ReplayRecord, Wal};

use crate::peer::{Committer, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry =
    Entry { name: "wal", version: "here", options: "the defaults", caveat: "", open };

fn open(dir: &Path, _: Load) -> Result<Box<dyn Peer>, Failure> {
    let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    Ok(Box::new(Log(Wal::open(dir.join("log"), wal_bench::options(), replay)?)))
}

struct Log(Wal);

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(|body: &[u8]| {
            self.0.append(body)?.wait_durable()?;
            Ok(())
        }))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The directory goes with the run; what could not be closed was acknowledged before.
        let _ = self.0.close();
    }
}
