//! This repository's log, with its default options: from threads, and from tasks of one thread.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use wal::{LogView, ReplayRecord, SyncPolicy, Wal};

use crate::peer::{Awaited, Clock, Committer, Entry, Failure, Load, Peer};

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

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    let mut options = wal_bench::options();
    if !load.durable {
        options = options.sync_policy(SyncPolicy::Never);
    }
    let wal = Wal::open(dir.join("log"), options, replay)?;
    Ok(Box::new(Log { wal, durable: load.durable }))
}

struct Log {
    wal: Wal,
    durable: bool,
}

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(|body: &[u8]| {
            let ticket = self.wal.append(body)?;
            if self.durable {
                ticket.wait_durable()?;
            }
            Ok(())
        }))
    }

    fn written(&self) -> Result<(), Failure> {
        // One record more, after all others.
        Ok(self.wal.append(&[])?.wait_written()?)
    }

    fn scan(self: Box<Self>, dir: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        drop(self);
        let view = LogView::open(dir.join("log"))?;
        clock.start();
        let mut records = 0;
        view.for_each(view.range(), |record| {
            records += u64::from(record.kind().is_engine());
            ControlFlow::<()>::Continue(())
        })?;
        Ok(records)
    }

    fn commit_in_task<'a>(&'a self, body: &'a [u8]) -> Awaited<'a> {
        Box::pin(async move {
            self.wal.append(body)?.await?;
            Ok(())
        })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The directory goes with the run; what could not be closed was acknowledged before.
        let _ = self.wal.close();
    }
}
