//! A log looked at without opening it for writing: for tools, and beside a running writer.
//!
//! Nothing here changes a byte, takes a lock, or makes a file.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use wal_format::{CheckpointPointer, DecodeError, Epoch, LogId, Lsn, LsnRange, RecordRef};
use wal_io::{ChainProblem, Storage, Survey};
use wal_recovery::{
    Depth, Examination, FlippedBit, LogSource, Progress, RecoveryError, RecoveryLog,
    RecoveryReport, RecoveryStrategy, RedoOnly, RedoTarget, Step, Stop, StopReason, Verdict,
    find_flipped_bit, find_flipped_header_bit,
};

use crate::error::Error;
use crate::place;

/// A log as it was when it was looked at, whole or damaged.
#[derive(Debug)]
pub struct LogView {
    examined: Examination,
    /// `None` when nothing tells which log this is, so that no record can be verified.
    source: Option<LogSource>,
}

impl LogView {
    /// Looks at the log in the directory `path`, from its head to its end.
    ///
    /// A damaged log is no error here: [`verdict`](Self::verdict) says what is wrong with it.
    ///
    /// # Errors
    ///
    /// [`NotALog`](crate::ErrorKind::NotALog): there is none, or it is no directory.
    /// [`Io`](crate::ErrorKind::Io): it could not be read; nothing is known.
    ///
    /// # Cost
    ///
    /// Reads and checks the whole log once; past 2 MiB of it with a helper, where there is another
    /// processor, which takes up to 5 MiB of memory meanwhile.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &mut ())
    }

    /// As [`open`](Self::open), telling `progress` how far it has come.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, progress: &mut dyn Progress) -> Result<Self, Error> {
        Self::examine(place::viewed(path.as_ref())?, Depth::Full, progress)
    }

    /// As [`open_with`](Self::open_with), reading no more than `range` needs: from the beginning of
    /// the segment in which it starts to its end.
    ///
    /// [`verdict`](Self::verdict) is on what was read, and on the files: headers, segments that are
    /// missing. [`end`](Self::end) is where reading ended; where that is the end of the range, what
    /// lies behind is not looked at, and [`is_clean`](Self::is_clean) is false.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_range(
        path: impl AsRef<Path>,
        range: LsnRange,
        progress: &mut dyn Progress,
    ) -> Result<Self, Error> {
        Self::examine(place::viewed(path.as_ref())?, Depth::Within(range), progress)
    }

    /// As [`open`](Self::open), in any [`Storage`].
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in(storage: Arc<dyn Storage>) -> Result<Self, Error> {
        Self::examine(storage, Depth::Full, &mut ())
    }

    fn examine(
        storage: Arc<dyn Storage>,
        depth: Depth,
        progress: &mut dyn Progress,
    ) -> Result<Self, Error> {
        let examined = wal_recovery::examine(&storage, depth, progress)?;
        Ok(Self::of(examined, &storage))
    }

    fn of(examined: Examination, storage: &Arc<dyn Storage>) -> Self {
        let source = examined.source(storage).ok();
        Self { examined, source }
    }

    /// Looks at the log in the directory `path` and hands every record from its head to its end to
    /// `visit`, housekeeping included, in one pass; the view, or what `visit` broke off with.
    ///
    /// [`open`](Self::open) and [`for_each`](Self::for_each) read and check the log twice: records
    /// come when the verdict is known. Here they come before it. Each is proven all the same, by
    /// its own checksum, address and epoch, and comes once, in order. What the
    /// [`verdict`](Self::verdict) of the view adds is whether anything is missing behind them.
    ///
    /// With `threads` of 2 or more a helper reads ahead and shares the checksums, from 2 MiB on and
    /// where there is another processor; records, verdict and errors are the same.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); and [`Io`](crate::ErrorKind::Io) where a writer cut the log off
    /// meanwhile, so that what is there does not go on from what was handed out: begin again.
    ///
    /// # Cost
    ///
    /// Reads and checks the whole log once, in 256 KiB of memory, and one record where that is
    /// longer; with a helper up to 5 MiB more.
    pub fn scan<B>(
        path: impl AsRef<Path>,
        threads: usize,
        visit: impl FnMut(&RecordRef<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Self>, Error> {
        Self::scan_in(place::viewed(path.as_ref())?, threads, visit)
    }

    /// As [`scan`](Self::scan), in any [`Storage`].
    ///
    /// # Errors
    ///
    /// As [`scan`](Self::scan).
    pub fn scan_in<B>(
        storage: Arc<dyn Storage>,
        threads: usize,
        visit: impl FnMut(&RecordRef<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Self>, Error> {
        let found = wal_recovery::examine_visiting(&storage, threads, &mut (), visit)?;
        Ok(match found {
            ControlFlow::Continue(examined) => ControlFlow::Continue(Self::of(examined, &storage)),
            ControlFlow::Break(value) => ControlFlow::Break(value),
        })
    }

    /// The same view, whose [`for_each`](Self::for_each) and [`replay`](Self::replay) read on up to
    /// `threads` threads.
    ///
    /// With 2 or more a helper reads ahead and shares the checksums with the caller, who is still
    /// the one that is handed the records, the same ones in the same order. It starts once 2 MiB
    /// are read, where there is another processor, takes up to 5 MiB of memory, and ends with the
    /// call. Default: 2. A view is made on one thread by [`scan`](Self::scan).
    #[must_use]
    pub fn scan_threads(mut self, threads: usize) -> Self {
        self.source = self.source.map(|source| source.with_scan_threads(threads));
        self
    }

    /// What was found.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.examined.verdict
    }

    /// Files, headers and control slots as they are.
    #[must_use]
    pub const fn survey(&self) -> &Survey {
        &self.examined.survey
    }

    /// Whether the log was closed cleanly.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.examined.clean
    }

    /// Identity of the log, where any header tells it.
    #[must_use]
    pub const fn log_id(&self) -> Option<LogId> {
        self.examined.survey.log_id
    }

    /// The epoch in force at the end.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.examined.epoch
    }

    /// Lowest address that is there.
    #[must_use]
    pub fn head(&self) -> Lsn {
        self.examined.survey.links.first().map_or(self.examined.end, |link| link.header.base)
    }

    /// First address after the last record that can be read.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.examined.end
    }

    /// Everything before this address is proven to be durable.
    #[must_use]
    pub const fn durable(&self) -> Lsn {
        self.examined.durable
    }

    /// From the head to the end.
    #[must_use]
    pub fn range(&self) -> LsnRange {
        LsnRange::new(self.head(), self.end())
    }

    /// The newest complete checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<CheckpointPointer> {
        self.examined.checkpoint
    }

    /// Hands every record of `range` to `visit`, housekeeping included, until it breaks off.
    ///
    /// `range` starts at the start of a record; what lies beyond the log is left out.
    ///
    /// # Errors
    ///
    /// [`NotARecordStart`](crate::ErrorKind::NotARecordStart) or
    /// [`Damaged`](crate::ErrorKind::Damaged): the records end before the range does.
    pub fn for_each<B>(
        &self,
        range: LsnRange,
        mut visit: impl FnMut(&RecordRef<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, Error> {
        let range = LsnRange::new(range.start.max(self.head()), range.end.min(self.end()));
        let Some(source) = self.source.as_ref().filter(|_| !range.is_empty()) else {
            return Ok(None);
        };
        let mut scanner = source.scan_on(range, source.scan_threads());
        loop {
            // By reference: a step that is moved on is copied, record by record.
            match &scanner.next()? {
                Step::Record(record) => {
                    if let ControlFlow::Break(value) = visit(record) {
                        return Ok(Some(value));
                    }
                }
                Step::Jump { .. } => {}
                Step::Stopped(stop) => return stopped(*stop, range.end),
            }
        }
    }

    /// The one bit whose flip keeps the log from being read on, if it is one: of the record where it
    /// ends, or of the header of a segment.
    ///
    /// `None` for a log that ends cleanly, and for damage of more than one bit.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): what stands there could not be read.
    ///
    /// # Cost
    ///
    /// Reads the record again, and takes a step for each of its bits.
    pub fn flipped_bit(&self) -> Result<Option<FlippedBit>, Error> {
        let Some(source) = &self.source else { return Ok(None) };
        for problem in &self.examined.survey.problems {
            if let ChainProblem::DamagedHeader { name, .. } = problem
                && let Some(flipped) = find_flipped_header_bit(&**source.storage(), *name)?
            {
                return Ok(Some(flipped));
            }
        }
        let Stop { at, why, epoch, .. } = self.examined.stop;
        match why {
            // Kinds that nobody knows may be known ones with a bit flipped; their checksum says no.
            StopReason::Unreadable(why) if why != DecodeError::Zeroed => {
                Ok(find_flipped_bit(source, at, epoch)?)
            }
            _ => Ok(None),
        }
    }

    /// Replays the whole log, from its head, as redo-only recovery would without a checkpoint.
    ///
    /// # Errors
    ///
    /// As [`Wal::open`](crate::Wal::open) where replay is concerned.
    pub fn replay<E: RedoTarget + ?Sized>(&self, engine: &mut E) -> Result<RecoveryReport, Error> {
        let Some(source) = &self.source else {
            return Ok(RecoveryReport::default());
        };
        let log = RecoveryLog::new(source, self.range()).with_verdict(self.verdict());
        Ok(RedoOnly::default().recover(&log, engine, &mut ())?)
    }
}

/// A scan that ends before its range does has met something which is no record.
fn stopped<B>(stop: Stop, end: Lsn) -> Result<Option<B>, Error> {
    match (stop.why, stop.segment) {
        (StopReason::Unreadable(source), Some(segment)) if stop.at < end => {
            let Stop { at: lsn, offset, .. } = stop;
            Err(RecoveryError::Unreadable { lsn, segment, offset, source }.into())
        }
        _ => Ok(None),
    }
}
