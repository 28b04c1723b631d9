//! The verbs of single turns: each runs in this process and prints its figures as JSON.

use std::thread;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;

use crate::appends;
use crate::made;
use crate::peer::{Entry, Failure};
use crate::recovery;
use crate::run;
use crate::scans;

/// Longer than any turn takes: what takes longer waits for something that never comes.
const TURN_MAX: Duration = Duration::from_secs(30 * 60);

/// One turn of something.
#[derive(Clone, Debug, Subcommand)]
pub enum Once {
    /// Durable commits of one log
    #[command(hide = true)]
    Run(run::Plan),
    /// Appends without sync to one log
    #[command(hide = true)]
    AppendOnce(appends::Plan),
    /// A log for others to look at
    #[command(hide = true)]
    MakeOnce(made::Plan),
    /// A look at it
    #[command(hide = true)]
    ScanOnce(scans::Plan),
    /// Opening it
    #[command(hide = true)]
    OpenOnce(recovery::Plan),
}

impl Once {
    /// Takes the turn, of one of `entries` where it is of one.
    ///
    /// # Errors
    ///
    /// What kept the turn from being taken. A turn of more than half an hour ends the process, with an
    /// error that says so: a log that never answers takes one row of a table, not the whole.
    pub fn take(&self, entries: &[Entry]) -> Result<(), Failure> {
        give_up_after(TURN_MAX, || {
            eprintln!("error: given up after {} minutes", TURN_MAX.as_secs() / 60);
            // Without what an orderly end would wait for.
            std::process::abort();
        });
        match self {
            Self::Run(plan) => tell(&run::run(plan, entries)?),
            Self::AppendOnce(plan) => tell(&appends::run_once(plan, entries)?),
            Self::MakeOnce(plan) => tell(&plan.make()?),
            Self::ScanOnce(plan) => tell(&scans::run_once(plan)?),
            Self::OpenOnce(plan) => tell(&recovery::run_once(plan)?),
        }
    }
}

/// Has `end` called once so long has passed, whatever the other threads wait for.
fn give_up_after(limit: Duration, end: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        thread::sleep(limit);
        end();
    });
}

fn tell(measured: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(measured)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_ever_is_given_up() {
        let (told, hears) = std::sync::mpsc::channel();
        give_up_after(Duration::from_millis(1), move || told.send("over").unwrap());
        assert_eq!(hears.recv().unwrap(), "over");
    }
}
