//! `wal copy`: a consistent copy of a log, which may be running.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wal::{CopyReport, Error, HoldLimit, LogView, Lsn, OverLimit, PersistentHold, Until};

use super::new_log::{NewLog, Stoppable};
use super::output::{json_line, line, stdout};
use super::salvage::copied_json;
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::lsn_arg;

/// Copy a log, which may be in use, into a new directory, and verify the copy.
///
/// A hold keeps the writer from truncating meanwhile; it is released at the end, also of a copy
/// that fails or is interrupted, which removes what it made. After `kill -9` both stay:
/// `wal hold list` shows the hold, and a second copy refuses the directory and says why.
///
/// The copy holds what was whole when the command began. It is a log of its own, with a new
/// identity and the same addresses. Of what was written and not yet synced it may hold more than
/// the log itself keeps if the machine fails now.
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Directory of the log.
    dir: PathBuf,
    /// Directory of the copy: empty, or missing.
    new: PathBuf,
    /// Stop at this LSN: the start of the first record to leave out.
    #[arg(long, value_parser = lsn_arg::lsn)]
    to: Option<Lsn>,
    /// Name of the hold; by default `wal-copy-` and the number of this process.
    #[arg(long, value_name = "NAME")]
    hold: Option<String>,
    /// Let the log drop the hold, and the copy fail, once it keeps more bytes than this.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 30)]
    hold_limit: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Copy {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let interrupt = Interrupt::watch().map_err(|error| Failure::io("signals", error))?;
        let new = NewLog::claim(&self.dir, &self.new)?;
        let name = self.hold.clone().unwrap_or_else(|| format!("wal-copy-{}", std::process::id()));
        let limit = HoldLimit { bytes: self.hold_limit, over: OverLimit::DropHold };
        let hold = PersistentHold::place(&self.dir, &name, None, Some(limit))
            .map_err(|error| self.unheld(error))?;
        let done = self.copy(&interrupt, &new, &name);
        let held = hold.lsn();
        let released = hold.release();
        let copied = match done {
            Ok(copied) => copied,
            Err(failure) => {
                new.discard_after(&failure);
                if matches!(held, Ok(None)) {
                    let text =
                        format!("hold `{name}` was dropped meanwhile, and the log truncated");
                    eprintln!("wal: {text}; give it a larger --hold-limit");
                }
                return Err(failure);
            }
        };
        released?;
        self.print(&copied)?;
        Ok(Exit::Done)
    }

    /// What to do where no hold can be placed.
    fn unheld(&self, error: wal::Error) -> Failure {
        let mut causes =
            std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let is_denied = |error: &std::io::Error| {
            matches!(
                error.kind(),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
            )
        };
        if !causes.any(|cause| cause.downcast_ref().is_some_and(is_denied)) {
            return error.into();
        }
        Failure::Input(format!(
            "{error}; a copy is made under a hold, which is a file in `{}`: of a log that cannot be \
             written and is not in use, `wal salvage` makes a copy without one",
            self.dir.display()
        ))
    }

    fn copy(&self, interrupt: &Interrupt, new: &NewLog, hold: &str) -> Result<CopyReport, Failure> {
        let clean_up = || {
            new.discard();
            if let Err(error) = wal::drop_persistent_hold(&self.dir, hold) {
                eprintln!("wal: hold `{hold}` stays: {error}");
            }
        };
        let mut stoppable = Stoppable::new(interrupt, &clean_up);
        let view = LogView::open_with(&self.dir, &mut stoppable)?;
        if view.verdict().is_damage() && self.to.is_none() {
            let text = format!("{}; `wal salvage` copies what is left", view.verdict());
            return Err(Failure::Judged(Exit::of(view.verdict()), text));
        }
        let until = Until::Lsn(self.to.unwrap_or_else(|| view.end()));
        let copied = wal::restore_to(&self.dir, &self.new, &until, &mut stoppable)?;
        let copy = LogView::open_with(&self.new, &mut stoppable)?;
        check(&copied, &copy)?;
        Ok(copied)
    }

    fn print(&self, copied: &CopyReport) -> Result<(), Failure> {
        let mut out = stdout();
        if self.json {
            let place = self.new.display().to_string();
            let value = json!({ "copied": copied_json(copied), "copy": place, "verified": true });
            json_line(&mut out, &value)?;
        } else {
            line(&mut out, copied)?;
            line(&mut out, "the copy was read again, and every record in it verifies")?;
        }
        out.flush().map_err(Failure::output)
    }
}

/// The copy, read again from its files: whole, and with as many records as were written.
fn check(copied: &CopyReport, copy: &LogView) -> Result<(), Failure> {
    let wrong = |what: String| Failure::Input(format!("the copy does not verify: {what}"));
    if copy.verdict().is_damage() {
        return Err(wrong(copy.verdict().to_string()));
    }
    let counted: Result<u64, Error> = {
        let mut records = 0;
        let ended = copy.for_each(copied.range, |_| {
            records += 1;
            ControlFlow::<()>::Continue(())
        });
        ended.map(|_| records)
    };
    let (found, expected) = (counted?, copied.records);
    if found != expected {
        return Err(wrong(format!("{expected} records were written, {found} are there")));
    }
    Ok(())
}
