//! This repository's log, with its default options: from threads, and from tasks of one thread.

use std::io;
use std::path::Path;

use wal::{ReplayRecord, Wal};

use crate::peer::{Awaited, Committer, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "wal",
    version: "here",
    options: "the defaults",
    caveat: "",
    in_tasks: false,
    open,
};

/// This log, its commits awaited by as many tasks as there are threads in the other rows.
pub const IN_TASKS: Entry = Entry {
    name: "wal-tasks",
    version: "here",
    options: "the defaults; the committers are tasks which one thread runs",
    caveat: "",
    in_tasks: true,
    open,
};

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

    fn commit_in_task<'a>(&'a self, body: &'a [u8]) -> Awaited<'a> {
        Box::pin(async move {
            self.0.append(body)?.await?;
            Ok(())
        })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The directory goes with the run; what could not be closed was acknowledged before.
        let _ = self.0.close();
    }
}
