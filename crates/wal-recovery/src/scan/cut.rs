//! Cutting a log into runs of records which somebody else proves.
//!
//! A run ends where a record ends. To find that, only headers are read; no checksum is computed
//! here, so that several threads can share that work. Whoever takes a run must prove each record
//! of it ([`Run::prove`]): a length that is wrong is found there, at the latest.

use wal_format::layout::RECORD_HEADER_BYTES;
use wal_format::{
    DecodeError, Epoch, EpochTracker, LogId, Lsn, RecordRef, SegmentFlags, decode_header_at,
};

use super::{Advance, Scanner, Stop, StopReason};
use crate::epochs::decode_under_any;
use crate::error::RecoveryError;
use crate::window::Window;

/// Records one after the other, in one segment. Their bytes are kept apart, in a buffer of the
/// taker's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Address of the first record.
    pub(crate) start: Lsn,
    log_id: LogId,
    lowest: Epoch,
    highest: Epoch,
}

/// What a cut meets next.
#[derive(Debug)]
pub(crate) enum Cut {
    /// Records; their bytes are in the buffer that was given.
    Run(Run),
    /// A record longer than the taker wants to hold; it was passed over, unread.
    Long,
    /// As [`Step::Jump`](super::Step::Jump).
    Jump { from: Lsn, to: Lsn, after_loss: bool },
    /// The scan is over.
    Stopped(Stop),
}

impl Scanner {
    /// The next run of about `target` bytes and `longest` at most, for a helper: its address, and the
    /// lowest epoch of a record in it. `None` at the end, and where the scan has to look by itself.
    ///
    /// A record that is longer is passed over, and an empty run stands for it: so the helper is never
    /// further ahead than its runs, and hears at the next one when nobody listens any more.
    pub(super) fn cut_ahead(
        &mut self,
        target: usize,
        longest: usize,
        bytes: &mut Vec<u8>,
    ) -> Option<(Lsn, Epoch)> {
        loop {
            match self.cut(target, longest, bytes) {
                Ok(Cut::Run(run)) => return Some((run.start, run.lowest)),
                Ok(Cut::Jump { .. }) => {}
                Ok(Cut::Long) => {
                    bytes.clear();
                    let lowest = self.link_here().map_or(Epoch::NONE, |link| link.header.epoch);
                    return Some((self.position, lowest));
                }
                Ok(Cut::Stopped(_)) | Err(_) => return None,
            }
        }
    }

    /// Fills `bytes` with the next run of records: about `target` bytes, or one longer record of
    /// up to `longest`.
    ///
    /// Errors: as [`next`](Self::next).
    pub(crate) fn cut(
        &mut self,
        target: usize,
        longest: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<Cut, RecoveryError> {
        loop {
            if let Some(stop) = self.stopped {
                return Ok(Cut::Stopped(stop));
            }
            if self.position >= self.end {
                return Ok(stopped(self.stop(StopReason::RangeEnd)));
            }
            let Some(link) = self.link_here().copied() else {
                return Ok(stopped(self.stop(StopReason::EndOfChain)));
            };
            let range = link.range();
            if self.position < range.start {
                return Ok(match self.jump(range.start)? {
                    Advance::Jump { from, to, after_loss } => Cut::Jump { from, to, after_loss },
                    other => stopped(other),
                });
            }
            if self.position < range.end {
                return self.cut_here(target, longest, bytes);
            }
            if self.is_hole_before(self.index + 1) {
                return Ok(stopped(self.stop(StopReason::Hole)));
            }
            self.leave_segment();
        }
    }

    /// Cuts within the segment at the position.
    fn cut_here(
        &mut self,
        target: usize,
        longest: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<Cut, RecoveryError> {
        let Some(link) = self.links.get(self.index) else {
            return Ok(stopped(self.stop(StopReason::EndOfChain)));
        };
        let window = match &mut self.window {
            Some(window) => window,
            closed => closed.insert(Window::open(&*self.storage, link)?),
        };
        let (start, log_id) = (self.position, self.log_id);
        let (lowest, highest) = (link.header.epoch, self.highest_epoch);
        debug_assert!(!link.header.flags.contains(SegmentFlags::AFTER_LOSS) || self.index > 0);
        let left = usize::try_from(window.left(start)).unwrap_or(usize::MAX);
        let behind = usize::try_from(self.end.distance_from(start).unwrap_or(0));
        let mut want = target.max(RECORD_HEADER_BYTES).min(left).min(behind.unwrap_or(usize::MAX));
        loop {
            read_run(window, start, want, bytes)?;
            match whole_records(bytes, start) {
                // The file has shrunk since it was looked at, and ends here.
                (0, Ok(())) => {
                    let why = DecodeError::Incomplete { needed: RECORD_HEADER_BYTES as u64 };
                    return Ok(stopped(self.stop(StopReason::Unreadable(why))));
                }
                (0, Err(DecodeError::Incomplete { needed })) => {
                    let needed = usize::try_from(needed).unwrap_or(usize::MAX);
                    if needed <= bytes.len() || needed > left || bytes.len() < want {
                        let why = DecodeError::Incomplete { needed: needed as u64 };
                        return Ok(stopped(self.stop(StopReason::Unreadable(why))));
                    }
                    if needed > longest {
                        self.position = start.checked_add(needed as u64).unwrap_or(Lsn::MAX);
                        return Ok(Cut::Long);
                    }
                    want = needed;
                }
                (0, Err(why)) => return Ok(stopped(self.stop(StopReason::Unreadable(why)))),
                (whole, _) => {
                    bytes.truncate(whole);
                    self.position = start.checked_add(whole as u64).unwrap_or(Lsn::MAX);
                    return Ok(Cut::Run(Run { start, log_id, lowest, highest }));
                }
            }
        }
    }
}

fn stopped(advance: Advance) -> Cut {
    match advance {
        Advance::Stopped(stop) => Cut::Stopped(stop),
        Advance::Jump { from, to, after_loss } => Cut::Jump { from, to, after_loss },
        Advance::Record { at, epoch, .. } => {
            debug_assert!(false, "nothing is proven by a cut");
            let why = StopReason::Unreadable(DecodeError::Incomplete { needed: 0 });
            Cut::Stopped(Stop { at, segment: None, offset: 0, why, epoch })
        }
    }
}

/// Makes `bytes` hold `want` bytes from `start` on, or as many as there are.
fn read_run(
    window: &Window,
    start: Lsn,
    want: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), RecoveryError> {
    if bytes.len() < want {
        let more = want - bytes.len();
        bytes
            .try_reserve(more)
            .map_err(|_| RecoveryError::OutOfMemory { lsn: start, bytes: want as u64 })?;
        bytes.resize(want, 0);
    }
    let held = window.read_at(start, bytes.get_mut(..want).unwrap_or_default())?;
    bytes.truncate(held);
    Ok(())
}

/// Bytes of the whole records at the start of `bytes`, by their headers; and why not more.
fn whole_records(bytes: &[u8], start: Lsn) -> (usize, Result<(), DecodeError>) {
    let mut whole = 0;
    while whole < bytes.len() {
        let rest = bytes.get(whole..).unwrap_or_default();
        let Some(lsn) = start.checked_add(whole as u64) else { break };
        match decode_header_at(rest, lsn) {
            Ok(header) if header.encoded_bytes() <= rest.len() => whole += header.encoded_bytes(),
            Ok(header) => {
                let needed = header.encoded_bytes() as u64;
                return (whole, Err(DecodeError::Incomplete { needed }));
            }
            Err(error) => return (whole, Err(error)),
        }
    }
    (whole, Ok(()))
}

impl Run {
    /// The address of the record at `place`, in bytes from the start.
    pub(crate) fn address_of(&self, place: usize) -> Lsn {
        self.start.checked_add(place as u64).unwrap_or(Lsn::MAX)
    }

    /// Hands every record of the run in `bytes` to `visit`, proven; returns how many there are.
    ///
    /// Errors: [`RecoveryError::Changed`] at the first one that is not valid; those of `visit`.
    pub(crate) fn prove(
        &self,
        bytes: &[u8],
        mut visit: impl FnMut(usize, &RecordRef<'_>) -> Result<(), RecoveryError>,
    ) -> Result<u64, RecoveryError> {
        let (mut offset, mut records) = (0, 0);
        let mut in_force: Option<EpochTracker> = None;
        while offset < bytes.len() {
            let rest = bytes.get(offset..).unwrap_or_default();
            let lsn = self.address_of(offset);
            let record = match &mut in_force {
                Some(tracker) => tracker.decode(rest, lsn).map(|tracked| tracked.record),
                None => decode_under_any(rest, lsn, self.log_id, self.lowest, self.highest),
            };
            let record = record.map_err(|_| RecoveryError::Changed { lsn })?;
            if !record.kind().is_readable() {
                return Err(RecoveryError::Changed { lsn });
            }
            in_force.get_or_insert_with(|| EpochTracker::new(self.log_id, record.epoch));
            visit(offset, &record)?;
            offset += record.encoded_bytes();
            records += 1;
        }
        Ok(records)
    }
}
