//! Addressed reads of records that lie near one another, without a system call for each.
//!
//! Walking a transaction back and applying it forwards reads small records in a few places, and so
//! does a reader that turns round. The cache holds a few windows of the log; the one used longest
//! ago goes first. Memory is four windows of 256 KiB, each larger only for a larger record.
//!
//! What was read stays: bytes at which nothing stood yet must be forgotten by whoever knows that
//! the log has grown ([`RecordCache::forget`]).

use wal_format::layout::RECORD_HEADER_BYTES;
use wal_format::{DecodeError, Epoch, Lsn, RecordHeader, RecordRef, SegmentFlags, TxnLink};

use crate::epochs::decode_under_any;
use crate::error::RecoveryError;
use crate::source::LogSource;
use crate::window::{WINDOW_BYTES, Window};

/// Windows held at once.
const WINDOWS: usize = 4;

/// Of a window opened for a walk back, this much lies at and behind the address asked for.
const AHEAD_BYTES: u64 = WINDOW_BYTES as u64 / 4;

/// Which records will be asked for next, as far as anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heading {
    /// Those behind the address.
    Forwards,
    /// Those before it.
    Backwards,
}

/// A valid record without its body, which [`RecordCache::borrow`] gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    /// The fields of the header.
    pub(crate) header: RecordHeader,
    /// The full epoch that verified it.
    pub(crate) epoch: Epoch,
    /// The transaction.
    pub(crate) txn: Option<TxnLink>,
    slot: usize,
}

impl Located {
    /// First address after the record.
    pub(crate) fn end(&self) -> Lsn {
        self.header.lsn.checked_add(self.header.encoded_bytes() as u64).unwrap_or(Lsn::MAX)
    }
}

/// What an addressed read found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup {
    /// A valid record.
    Record(Located),
    /// A segment covers the address, and no valid record starts there.
    Nothing,
    /// No segment covers the address: it was skipped by an opening, or lies outside the log.
    Uncovered,
    /// No segment covers the address because a salvage found nothing there (rule 8).
    Lost,
}

#[derive(Debug)]
struct Slot {
    window: Window,
    used: u64,
}

/// A few windows of a log.
#[derive(Debug)]
pub(crate) struct RecordCache {
    source: LogSource,
    slots: Vec<Slot>,
    uses: u64,
}

impl RecordCache {
    /// An empty cache over `source`.
    pub(crate) const fn new(source: LogSource) -> Self {
        Self { source, slots: Vec::new(), uses: 0 }
    }

    /// The log that is read.
    pub(crate) const fn source(&self) -> &LogSource {
        &self.source
    }

    /// Reads another view of the same log from now on; what is held of the old one goes.
    pub(crate) fn replace(&mut self, source: LogSource) {
        self.source = source;
        self.slots.clear();
    }

    /// Forgets what was read where the log used to end, at `end`.
    pub(crate) fn forget(&mut self, end: Lsn) {
        // No window starts behind the end of the log; those which reach it hold what was there.
        self.slots.retain(|slot| slot.window.held(end).is_empty());
    }

    /// What stands at `lsn`.
    ///
    /// Errors: [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`].
    pub(crate) fn find(&mut self, lsn: Lsn, heading: Heading) -> Result<Lookup, RecoveryError> {
        let Some((_, link)) = self.source.link_of(lsn) else {
            return Ok(if is_lost(&self.source, lsn) { Lookup::Lost } else { Lookup::Uncovered });
        };
        let lowest = link.header.epoch;
        let (log_id, highest) = (self.source.log_id(), self.source.highest_epoch());
        let slot = self.slot_at(lsn, heading)?;
        let Some(Slot { window, .. }) = self.slots.get_mut(slot) else {
            return Err(RecoveryError::Changed { lsn });
        };
        let left = window.left(lsn);
        let mut want = RECORD_HEADER_BYTES;
        loop {
            let bytes = window.bytes(lsn, want)?;
            match decode_under_any(bytes, lsn, log_id, lowest, highest) {
                // The length is plausible only as far as the segment goes.
                Err(DecodeError::Incomplete { needed })
                    if needed <= left && needed > bytes.len() as u64 =>
                {
                    want = usize::try_from(needed)
                        .map_err(|_| RecoveryError::OutOfMemory { lsn, bytes: needed })?;
                }
                Err(_) => return Ok(Lookup::Nothing),
                Ok(RecordRef { header, epoch, txn, .. }) => {
                    return Ok(Lookup::Record(Located { header, epoch, txn, slot }));
                }
            }
        }
    }

    /// The record found last, whole. Nothing else may have been looked for in between.
    pub(crate) fn borrow(&self, located: Located) -> RecordRef<'_> {
        let Located { header, epoch, txn, slot } = located;
        let held = self.slots.get(slot).map_or(&[][..], |slot| slot.window.held(header.lsn));
        let body_at = RECORD_HEADER_BYTES + header.extension_bytes();
        let body = held.get(body_at..header.unpadded_bytes()).unwrap_or_default();
        debug_assert_eq!(body.len(), header.body_len as usize, "the window holds it all");
        RecordRef { header, epoch, txn, body }
    }

    /// Index of the window that holds `lsn`, or of one made to hold it and what lies around it.
    fn slot_at(&mut self, lsn: Lsn, heading: Heading) -> Result<usize, RecoveryError> {
        self.uses += 1;
        let uses = self.uses;
        let held = self.slots.iter().position(|slot| !slot.window.held(lsn).is_empty());
        let index = match held {
            Some(index) => index,
            None => self.load(lsn, heading)?,
        };
        if let Some(slot) = self.slots.get_mut(index) {
            slot.used = uses;
        }
        Ok(index)
    }

    fn load(&mut self, lsn: Lsn, heading: Heading) -> Result<usize, RecoveryError> {
        let Some((_, link)) = self.source.link_of(lsn) else {
            return Err(RecoveryError::Changed { lsn });
        };
        let mut window = Window::open(&**self.source.storage(), link)?;
        let back = match heading {
            Heading::Forwards => 0,
            Heading::Backwards => WINDOW_BYTES as u64 - AHEAD_BYTES,
        };
        let back = back.min(lsn.get().saturating_sub(link.range().start.get()));
        let start = Lsn::new(lsn.get() - back).unwrap_or(lsn);
        window.bytes(start, WINDOW_BYTES)?;
        let slot = Slot { window, used: self.uses };
        if self.slots.len() < WINDOWS {
            self.slots.push(slot);
            return Ok(self.slots.len() - 1);
        }
        let oldest = self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.used);
        let index = oldest.map_or(0, |(index, _)| index);
        if let Some(place) = self.slots.get_mut(index) {
            *place = slot;
        }
        Ok(index)
    }
}

/// Whether `lsn` lies where a salvage found nothing.
pub(crate) fn is_lost(source: &LogSource, lsn: Lsn) -> bool {
    let links = source.links();
    let after = links.partition_point(|link| link.range().start <= lsn);
    let covered = source.link_of(lsn).is_some();
    !covered
        && links.get(after).is_some_and(|link| link.header.flags.contains(SegmentFlags::AFTER_LOSS))
}
