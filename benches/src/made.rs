//! Logs which one process makes and others look at.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use wal::{ReplayRecord, Wal};

use crate::baseline;
use crate::child::Turn;
use crate::peer::Failure;

/// A log to be made.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// A directory which is not there yet
    #[arg(long)]
    pub(crate) log: PathBuf,
    /// Mebibytes of bodies
    #[arg(long)]
    pub(crate) mebibytes: u64,
    /// Bytes of a body
    #[arg(long)]
    pub(crate) body_bytes: usize,
    /// Whether it is closed; else it is left as by a crash, with all of it durable
    #[arg(long, action = clap::ArgAction::Set)]
    pub(crate) close: bool,
}

/// A log that was made.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Made {
    pub(crate) records: u64,
    /// From its head to its end.
    pub(crate) bytes: u64,
}

/// Records which are made durable together.
const BATCH_RECORDS: u64 = 8192;

impl Plan {
    /// Makes it in a process of its own, so that none of its memory is in that of who looks.
    pub(crate) fn make_in_child(&self) -> Result<Made, Failure> {
        let turn = Turn::new("make-once")?.at("log", &self.log).with("close", self.close);
        turn.with("mebibytes", self.mebibytes).with("body-bytes", self.body_bytes).take()
    }

    /// Makes it here.
    pub(crate) fn make(&self) -> Result<Made, Failure> {
        let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
        let wal = Wal::open(&self.log, baseline::options(), replay)?;
        let body = baseline::body(self.body_bytes);
        let records = (self.mebibytes << 20) / self.body_bytes as u64;
        for record in 1..=records {
            let ticket = wal.append(&body)?;
            if record.is_multiple_of(BATCH_RECORDS) || record == records {
                ticket.wait_durable()?;
            }
        }
        let bytes = wal.positions().reserved.get() - wal.head().get();
        if self.close {
            wal.close()?;
        }
        Ok(Made { records, bytes })
    }
}

/// The segments of the log in the directory `log`, oldest first.
pub(crate) fn segments(log: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
