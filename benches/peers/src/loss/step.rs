//! One process of a crash: it writes and comes to its end, or it reads.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process;

use clap::{Subcommand, ValueEnum};
use wal_bench::Failure;

use super::SUBJECTS;
use super::subject::{Subject, body, number, torn_body};

/// How a writing process comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ending {
    /// The log is dropped, as its users drop it.
    Close,
    /// It dies, and nothing in it has a say.
    Die,
    /// It has one more record written, of which it tells nobody, and dies.
    DieWriting,
    /// It leaves without dropping the log, for whoever counts its syncs needs a success.
    Leave,
}

/// What a process does.
#[derive(Clone, Debug, Subcommand)]
pub enum Step {
    /// Open a log, commit, and name each commit which is acknowledged
    #[command(hide = true)]
    LossWrite {
        #[arg(long)]
        log: String,
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        first: u64,
        #[arg(long)]
        commits: u64,
        #[arg(long)]
        ending: Ending,
    },
    /// Open a log and name the commits which it gives back
    #[command(hide = true)]
    LossRead {
        #[arg(long)]
        log: String,
        #[arg(long)]
        dir: PathBuf,
    },
}

/// Paths that do not exist, looked up before and after the commits: marks in a trace.
pub const MARKS: [&str; 2] = ["wal-peers-loss-begins", "wal-peers-loss-ends"];

impl Step {
    /// Takes the step. Some endings do not return.
    ///
    /// # Errors
    ///
    /// The log's own, or that there is none of the name.
    pub fn take(&self) -> Result<(), Failure> {
        match self {
            Self::LossWrite { log, dir, first, commits, ending } => {
                let mut log = (subject(log)?.open)(dir)?;
                let mark = |mark: &str| drop(File::open(mark));
                mark(MARKS[0]);
                for number in *first..*first + *commits {
                    log.commit(&body(number))?;
                    tell(number)?;
                }
                mark(MARKS[1]);
                match ending {
                    Ending::Close => drop(log),
                    Ending::Die => process::abort(),
                    Ending::DieWriting => {
                        log.begin(&torn_body())?;
                        process::abort();
                    }
                    Ending::Leave => process::exit(0),
                }
                Ok(())
            }
            Self::LossRead { log, dir } => {
                let bodies = (subject(log)?.read)(dir)?;
                bodies.iter().filter_map(|body| number(body)).try_for_each(tell)
            }
        }
    }
}

/// One line, handed to the kernel at once: what is told is not lost with this process.
fn tell(number: u64) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{number}")?;
    Ok(out.flush()?)
}

fn subject(name: &str) -> Result<&'static Subject, Failure> {
    let found = SUBJECTS.iter().find(|subject| subject.name == name);
    found.ok_or_else(|| format!("no log called {name:?} was built in").into())
}
