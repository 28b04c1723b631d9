//! Reading a chain of segments from front to back, record by record.
//!
//! A [`Scanner`] yields what is proven: every record carries its own address, the epoch in force
//! and a true checksum. It stops at the first place where that is not so and says why; what that
//! means is left to the verdict. Memory is one window of 256 KiB, and one record where that is
//! larger. A length is compared with what the segment still holds before anything is read.
//!
//! A scan on two threads ([`LogSource::scan_on`](crate::LogSource::scan_on)) is the same scanner,
//! which starts a helper once it has come some way: that reads ahead and proves part of what it
//! read. Whatever is not plainly there in what the helper hands over is read from the file as by a
//! scan on one thread, which alone decides where the scan stops and why.

mod ahead;
mod cut;

use std::sync::{Arc, OnceLock};
use std::thread;

use wal_format::layout::BLOCK_BYTES;
use wal_format::{
    DecodeError, Epoch, EpochTracker, LogId, Lsn, LsnRange, ProvenRecord, RecordKind, RecordRef,
    SegmentFlags, read_proven,
};
use wal_io::{ChainLink, SegmentName, Storage};

use crate::epochs::decode_under_any;
use crate::error::RecoveryError;
use crate::window::{WINDOW_BYTES, Window};
use ahead::{Ahead, Reached, Share};
pub(crate) use cut::{Cut, Run};

/// A scan that ends before needs no helper: to start one, and to ask the first time how many
/// processors there are, took 0.2 ms where one thread read this much in 0.5 to 1.2 ms.
pub(crate) const HELPED_FROM_BYTES: u64 = 2 << 20;

/// What a scan meets next.
#[derive(Debug)]
pub enum Step<'a> {
    /// A valid record; borrowed until the next step.
    Record(RecordRef<'a>),
    /// The next segment declares that it begins further on.
    Jump {
        /// Where the segment before ends.
        from: Lsn,
        /// Where the next one begins.
        to: Lsn,
        /// Whether records between the two were lost, in a log that was salvaged.
        after_loss: bool,
    },
    /// The scan is over; every later call returns the same.
    Stopped(Stop),
}

/// Where and why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// First address that was not read.
    pub at: Lsn,
    /// The segment which covers it; that which ends there when the chain does.
    pub segment: Option<SegmentName>,
    /// Where in its file, in bytes.
    pub offset: u64,
    /// Why.
    pub why: StopReason,
    /// The epoch in force there.
    pub epoch: Epoch,
}

/// Why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The end of the range asked for.
    RangeEnd,
    /// The end of the last segment.
    EndOfChain,
    /// The next segment does not follow: what stood in between is missing, or its header is
    /// damaged. Nothing behind a hole is part of what is read (ARIES statement 34).
    Hole,
    /// No valid record stands there.
    Unreadable(DecodeError),
    /// A valid record stands there, of a kind that this version does not know and may not skip.
    UnknownKind(RecordKind),
}

/// Reads records in order; made by [`LogSource::scan`](crate::LogSource::scan).
#[derive(Debug)]
pub struct Scanner {
    storage: Arc<dyn Storage>,
    links: Arc<[ChainLink]>,
    log_id: LogId,
    highest_epoch: Epoch,
    end: Lsn,
    position: Lsn,
    /// The segment being read; links before it end at or before `position`.
    index: usize,
    window: Option<Window>,
    /// `None` until the first record has proven which epoch is in force.
    in_force: Option<EpochTracker>,
    stopped: Option<Stop>,
    /// From here on a helper reads ahead; [`Lsn::MAX`] on one thread, and once it has ended.
    helped_from: Lsn,
    /// What it reads; `None` until it is started.
    ahead: Option<Ahead>,
}

/// A step whose record is still in memory: of the helper where it is from `ahead`, otherwise in
/// the window.
enum Advance {
    Record { at: Lsn, epoch: Epoch, ahead: bool },
    Jump { from: Lsn, to: Lsn, after_loss: bool },
    Stopped(Stop),
}

impl Scanner {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        links: Arc<[ChainLink]>,
        log_id: LogId,
        highest_epoch: Epoch,
        range: LsnRange,
    ) -> Self {
        let LsnRange { start: position, end } = range;
        let index = links.partition_point(|link| link.range().end <= position);
        Self {
            storage,
            links,
            log_id,
            highest_epoch,
            end,
            position,
            index,
            window: None,
            in_force: None,
            stopped: None,
            helped_from: Lsn::MAX,
            ahead: None,
        }
    }

    /// The same scan, which starts a helper once it has read [`HELPED_FROM_BYTES`]; none where there
    /// is no other processor, or no thread to be had.
    pub(crate) fn with_helper(mut self) -> Self {
        self.helped_from = self.position.checked_add(HELPED_FROM_BYTES).unwrap_or(Lsn::MAX);
        self
    }

    /// Has a helper read ahead from the position on.
    fn start_helper(&mut self, share: Share) {
        let mut cutter = Self::new(
            Arc::clone(&self.storage),
            Arc::clone(&self.links),
            self.log_id,
            self.highest_epoch,
            LsnRange { start: self.position, end: self.end },
        );
        let mut target = WINDOW_BYTES;
        let cut = move |bytes: &mut Vec<u8>| {
            let run = cutter.cut_ahead(target, WINDOW_BYTES, bytes);
            // Long records come together: of the next one no more is read than tells its length.
            target = if bytes.is_empty() { BLOCK_BYTES } else { WINDOW_BYTES };
            run
        };
        let epoch = self.in_force.map_or(Epoch::NONE, |tracker| tracker.epoch());
        self.ahead = Ahead::start(self.log_id, epoch, Box::new(cut), share);
        if self.ahead.is_some() {
            self.helped_from = self.position;
        }
    }

    /// Where the next step begins: the end of the last record or jump.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.position
    }

    /// The epoch in force at [`position`](Self::position).
    ///
    /// Before the first record of a scan that starts within a segment it is that segment's.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        let of_segment = self.link_here().map_or(Epoch::NONE, |link| link.header.epoch);
        self.in_force.map_or(of_segment, |tracker| tracker.epoch().max(of_segment))
    }

    /// Index of the segment at [`position`](Self::position), in the chain that is scanned.
    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    /// The next record, jump, or the stop.
    ///
    /// A record which starts before the end of the range is returned whole.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Io`]: a segment could not be opened or read.
    /// - [`RecoveryError::Truncated`]: a segment was removed, or its file used again, since the
    ///   chain was read (rule 22).
    /// - [`RecoveryError::OutOfMemory`]: a record is larger than the memory there is. Neither is
    ///   the end of the log; the same call may be tried again.
    /// - [`RecoveryError::OutOfRange`]: the range starts below the first segment.
    ///
    /// # Cost
    ///
    /// One system call per 256 KiB, one pass of CRC-32C, no copy of a body beyond the window. With
    /// a helper both are shared.
    #[allow(clippy::should_implement_trait, reason = "it lends from its window, Iterator cannot")]
    pub fn next(&mut self) -> Result<Step<'_>, RecoveryError> {
        Ok(match self.advance()? {
            Advance::Jump { from, to, after_loss } => Step::Jump { from, to, after_loss },
            Advance::Stopped(stop) => Step::Stopped(stop),
            Advance::Record { at, epoch, ahead } => {
                let held = if ahead {
                    self.ahead.as_ref().map_or(&[][..], |ahead| ahead.held(at))
                } else {
                    self.window.as_ref().map_or(&[][..], |window| window.held(at))
                };
                // Read where it is needed: handed on from step to step it would be copied each time.
                let Some(record) = read_proven(held, at, epoch) else {
                    return Err(RecoveryError::Changed { lsn: at });
                };
                Step::Record(record)
            }
        })
    }

    fn advance(&mut self) -> Result<Advance, RecoveryError> {
        loop {
            if let Some(stop) = self.stopped {
                return Ok(Advance::Stopped(stop));
            }
            if self.position >= self.end {
                return Ok(self.stop(StopReason::RangeEnd));
            }
            let Some(range) = self.link_here().map(ChainLink::range) else {
                return Ok(self.stop(StopReason::EndOfChain));
            };
            if self.position < range.start {
                return self.jump(range.start);
            }
            if self.position < range.end {
                if self.position >= self.helped_from
                    && let Some(found) = self.take_ahead()
                {
                    return Ok(found);
                }
                return self.read();
            }
            if self.is_hole_before(self.index + 1) {
                return Ok(self.stop(StopReason::Hole));
            }
            self.leave_segment();
        }
    }

    /// Passes from a segment that is read to its end to the next one.
    fn leave_segment(&mut self) {
        // Segments of one opening that were prepared under an earlier one keep its epoch in their
        // header; the epoch in force never falls.
        let epoch = self.epoch();
        self.index += 1;
        self.window = None;
        if self.in_force.is_some() {
            let epoch = epoch.max(self.link_here().map_or(epoch, |link| link.header.epoch));
            self.in_force = Some(EpochTracker::new(self.log_id, epoch));
        }
    }

    fn jump(&mut self, to: Lsn) -> Result<Advance, RecoveryError> {
        let from = self.position;
        if self.index == 0 {
            let end = self.links.last().map_or(to, |link| link.range().end);
            return Err(RecoveryError::OutOfRange { lsn: from, head: to, end });
        }
        if self.is_hole_before(self.index) {
            return Ok(self.stop(StopReason::Hole));
        }
        let after_loss = self
            .link_here()
            .is_some_and(|link| link.header.flags.contains(SegmentFlags::AFTER_LOSS));
        self.position = to;
        Ok(Advance::Jump { from, to, after_loss })
    }

    /// The record at the position, where the helper has it and it is valid.
    fn take_ahead(&mut self) -> Option<Advance> {
        // The first record proves which epoch is in force; it is read here.
        let tracker = self.in_force.as_mut()?;
        let at = self.position;
        let Some(ahead) = self.ahead.as_mut() else {
            // What it reads comes later; this record is read here.
            self.helped_from = Lsn::MAX;
            if has_another_processor() {
                self.start_helper(Share::WhenBehind);
            }
            return None;
        };
        match ahead.reach(at, tracker.epoch()) {
            Reached::Here => {}
            Reached::Elsewhere => return None,
            Reached::Over => {
                (self.ahead, self.helped_from) = (None, Lsn::MAX);
                return None;
            }
        }
        let bytes = ahead.take(at, tracker)?;
        self.position = at.checked_add(bytes as u64).unwrap_or(Lsn::MAX);
        Some(Advance::Record { at, epoch: tracker.epoch(), ahead: true })
    }

    /// Reads the record at the position, within the segment at `index`.
    fn read(&mut self) -> Result<Advance, RecoveryError> {
        let Some(link) = self.links.get(self.index) else {
            return Ok(self.stop(StopReason::EndOfChain));
        };
        let window = match &mut self.window {
            Some(window) => window,
            closed => closed.insert(Window::open(&*self.storage, link)?),
        };
        let (at, log_id) = (self.position, self.log_id);
        // Nearly always the record is in memory, whole and valid. Then its few words are not moved
        // through the results of the general way, which costs as much as half a short checksum.
        if let Some(tracker) = &mut self.in_force
            && let Ok(proven) = tracker.prove(window.held(at), at)
            && proven.kind.is_readable()
        {
            self.position = at.checked_add(proven.encoded_bytes as u64).unwrap_or(Lsn::MAX);
            return Ok(Advance::Record { at, epoch: tracker.epoch(), ahead: false });
        }
        let (lowest, highest) = (link.header.epoch, self.highest_epoch);
        let found = window.decode(at, |bytes| {
            if let Some(tracker) = &mut self.in_force {
                let proven = tracker.prove(bytes, at)?;
                return Ok((proven, tracker.epoch()));
            }
            let record = decode_under_any(bytes, at, log_id, lowest, highest)?;
            let proven =
                ProvenRecord { encoded_bytes: record.encoded_bytes(), kind: record.kind() };
            Ok((proven, record.epoch))
        })?;
        match found {
            Ok((proven, _)) if !proven.kind.is_readable() => {
                Ok(self.stop(StopReason::UnknownKind(proven.kind)))
            }
            Ok((proven, epoch)) => {
                let end = at.checked_add(proven.encoded_bytes as u64);
                self.position = end.unwrap_or(Lsn::MAX);
                self.in_force.get_or_insert_with(|| EpochTracker::new(log_id, epoch));
                Ok(Advance::Record { at, epoch, ahead: false })
            }
            Err(why) => {
                window.check_current(&*self.storage)?;
                Ok(self.stop(StopReason::Unreadable(why)))
            }
        }
    }

    fn stop(&mut self, why: StopReason) -> Advance {
        let at = self.position;
        let link = self.link_here().or_else(|| self.links.last());
        let stop = Stop {
            at,
            segment: link.map(|link| link.name),
            offset: link.map_or(0, |link| link.offset_of(at)),
            why,
            epoch: self.epoch(),
        };
        self.stopped = Some(stop);
        Advance::Stopped(stop)
    }

    /// Whether the segment at `index` is there, and does not follow the one before it.
    fn is_hole_before(&self, index: usize) -> bool {
        let before = index.checked_sub(1).and_then(|before| self.links.get(before));
        match (before, self.links.get(index)) {
            (Some(before), Some(link)) => !link.follows(before),
            _ => false,
        }
    }

    fn link_here(&self) -> Option<&ChainLink> {
        self.links.get(self.index)
    }
}

/// Asked once: the answer is read from several files where processors are rationed.
fn has_another_processor() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    let ask = || thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
    *ANSWER.get_or_init(ask)
}
