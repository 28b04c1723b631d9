//! `wal cat`: what a replay of the whole log would give, a record a line.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wal::ReplayRecord;

use super::output::{finish, json_line, open_view, stdout};
use crate::exit::{Exit, Failure};

/// Print the records of a log as a replay would give them, a body a line.
///
/// Only what committed: records of aborted or unfinished transactions and of torn batches are
/// left out. The log is not changed, and may be in use. A damaged log is printed up to the damage,
/// and the exit code says so.
#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Directory of the log.
    dir: PathBuf,
    /// A JSON object a line: LSN, kind, transaction, body (as text, or as hex where it is none).
    #[arg(long)]
    json: bool,
    /// Stop after this many records.
    #[arg(long)]
    limit: Option<u64>,
}

impl Cat {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let view = open_view(&self.dir)?;
        let mut out = stdout();
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut failure = None;
        let replayed = view.replay(&mut |record: &ReplayRecord<'_>| {
            if left == 0 {
                return Err(Enough);
            }
            left -= 1;
            self.print(&mut out, record).map_err(|reason| {
                failure = Some(reason);
                Enough
            })
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        if left > 0 {
            replayed?;
        }
        finish(out, &view)
    }

    fn print(&self, out: &mut impl Write, record: &ReplayRecord<'_>) -> Result<(), Failure> {
        if !self.json {
            return out
                .write_all(record.body)
                .and_then(|()| out.write_all(b"\n"))
                .map_err(Failure::output);
        }
        let mut line = json!({
            "lsn": record.lsn.get(),
            "kind": record.kind.to_string(),
            "txn": record.txn.map(wal::TxnId::get),
        });
        super::output::put_body(&mut line, record.body);
        json_line(out, &line)
    }
}

/// Ends the replay early; never seen outside.
#[derive(Debug, thiserror::Error)]
#[error("enough records")]
struct Enough;
