//! What the command returns to the shell, and how it says why.

use std::io;
use std::process::ExitCode;

use wal::{Error, ErrorKind, Verdict};

use crate::interrupt::die_by;

/// Documented exit codes; 2 is clap's, for a wrong command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    TornTail = 3,
    Damaged = 4,
    NotOurs = 5,
    NoLog = 6,
    Locked = 7,
}

impl Exit {
    /// What a verdict means to the shell.
    pub(crate) const fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::CleanEnd => Self::Done,
            Verdict::TornTail { .. } => Self::TornTail,
            Verdict::ForeignSegment { .. } | Verdict::UnsupportedVersion { .. } => Self::NotOurs,
            _ => Self::Damaged,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Log(#[from] Error),
    #[error("cannot read or write `{what}`: {source}")]
    Io { what: String, source: io::Error },
    #[error("the reader of the acknowledgements is gone; lines may be left unappended")]
    Deaf,
    #[error("{0}")]
    Input(String),
    /// What was found is such that nothing was done.
    #[error("{1}")]
    Judged(Exit, String),
    #[error("there is no log in `{0}`; check the path, or create one")]
    NoLog(String),
    /// The user's decoder died, hung, or did not answer as it must.
    #[error("the decoder {0}")]
    Decoder(String),
    /// By a signal, which the process then ends by; all that was made is removed.
    #[error("interrupted; nothing is left behind")]
    Interrupted(i32),
}

impl Failure {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// Output that could not be written.
    pub(crate) fn output(source: io::Error) -> Self {
        Self::io("standard output", source)
    }

    /// Prints the reason and its causes, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if let Self::Io { source, .. } = self
            && source.kind() == io::ErrorKind::BrokenPipe
        {
            // The reader of our output has had enough, as `head` does. That is no failure.
            return Exit::Done.into();
        }
        let mut said = self.to_string();
        eprintln!("wal: {said}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            // Most messages of the log end with their cause already.
            if !said.contains(&error.to_string()) {
                said = error.to_string();
                eprintln!("  because: {said}");
            }
            cause = error.source();
        }
        if let Self::Interrupted(signal) = self {
            die_by(*signal);
        }
        self.exit().into()
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Log(error) => match error.kind() {
                ErrorKind::Damaged | ErrorKind::Truncated | ErrorKind::NotARecordStart => {
                    Exit::Damaged
                }
                ErrorKind::Foreign | ErrorKind::UnsupportedVersion => Exit::NotOurs,
                ErrorKind::NotALog => Exit::NoLog,
                ErrorKind::Locked => Exit::Locked,
                _ => Exit::Failed,
            },
            Self::NoLog(_) => Exit::NoLog,
            Self::Judged(exit, _) => *exit,
            Self::Io { .. }
            | Self::Deaf
            | Self::Input(_)
            | Self::Decoder(_)
            | Self::Interrupted(_) => Exit::Failed,
        }
    }
}
