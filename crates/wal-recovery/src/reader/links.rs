//! Where a reader gets the chain from, and how far it may read.

use std::fmt;
use std::sync::Arc;

use wal_format::{Epoch, LogId, Lsn};
use wal_io::{ChainLink, Storage};

use crate::source::LogSource;

/// A log that is read while it may grow, rotate and be truncated.
///
/// A log in use implements this with its store and its durable end; [`LogSnapshot`] is one that
/// stands still. Calls are cheap: a reader asks again whenever it comes to an end.
pub trait LinkSource: fmt::Debug {
    /// Where the segments are.
    fn storage(&self) -> &Arc<dyn Storage>;

    /// The log.
    fn log_id(&self) -> LogId;

    /// The highest epoch that records may carry now.
    fn highest_epoch(&self) -> Epoch;

    /// The chain as it is now, oldest first.
    fn links(&self) -> Vec<ChainLink>;

    /// First address that may not be read: a record boundary, which never moves back.
    fn readable_end(&self) -> Lsn;

    /// The chain as it is now, to read from.
    fn view(&self) -> LogSource {
        LogSource::new(Arc::clone(self.storage()), self.links(), self.log_id())
            .with_highest_epoch(self.highest_epoch())
    }
}

impl<T: LinkSource + ?Sized> LinkSource for Arc<T> {
    fn storage(&self) -> &Arc<dyn Storage> {
        (**self).storage()
    }

    fn log_id(&self) -> LogId {
        (**self).log_id()
    }

    fn highest_epoch(&self) -> Epoch {
        (**self).highest_epoch()
    }

    fn links(&self) -> Vec<ChainLink> {
        (**self).links()
    }

    fn readable_end(&self) -> Lsn {
        (**self).readable_end()
    }
}

/// A log as it was at one moment, up to an end that was proven then.
#[derive(Clone, Debug)]
pub struct LogSnapshot {
    source: LogSource,
    end: Lsn,
}

impl LogSnapshot {
    /// The log of `source` up to `end`, which is a record boundary.
    #[must_use]
    pub const fn new(source: LogSource, end: Lsn) -> Self {
        Self { source, end }
    }
}

impl LinkSource for LogSnapshot {
    fn storage(&self) -> &Arc<dyn Storage> {
        self.source.storage()
    }

    fn log_id(&self) -> LogId {
        self.source.log_id()
    }

    fn highest_epoch(&self) -> Epoch {
        self.source.highest_epoch()
    }

    fn links(&self) -> Vec<ChainLink> {
        self.source.links().to_vec()
    }

    fn readable_end(&self) -> Lsn {
        self.end
    }

    fn view(&self) -> LogSource {
        self.source.clone()
    }
}
