//! The verbs of single turns: each runs in this process and prints its figures as JSON.

use clap::Subcommand;
use serde::Serialize;

use crate::appends;
use crate::made;
use crate::peer::{Entry, Failure};
use crate::recovery;
use crate::run;
use crate::scans;

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
    /// What kept the turn from being taken.
    pub fn take(&self, entries: &[Entry]) -> Result<(), Failure> {
        match self {
            Self::Run(plan) => tell(&run::run(plan, entries)?),
            Self::AppendOnce(plan) => tell(&appends::run_once(plan, entries)?),
            Self::MakeOnce(plan) => tell(&plan.make()?),
            Self::ScanOnce(plan) => tell(&scans::run_once(plan)?),
            Self::OpenOnce(plan) => tell(&recovery::run_once(plan)?),
        }
    }
}

fn tell(measured: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(measured)?);
    Ok(())
}
