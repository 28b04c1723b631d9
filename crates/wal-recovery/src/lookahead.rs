//! What stands behind the first unreadable place (rules 10 and 11).
//!
//! Records behind a gap do not belong to the log, yet they can prove that the gap was durable
//! once. A true header must carry exactly its own address, so every unit of 8 bytes is compared
//! with its own; what passes is verified like any record. Memory is one window. Bodies made to
//! name their own addresses can make this search slow, each being checked in vain; never wrong.

use wal_format::layout::{BLOCK_BYTES, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES};
use wal_format::{DecodeError, Epoch, Lsn, LsnRange, find_record_candidate};

use crate::epochs::decode_under_any;
use crate::error::RecoveryError;
use crate::evidence::{Claims, Evidence};
use crate::progress::{Pace, Phase, Progress};
use crate::scan::{Stop, StopReason};
use crate::source::LogSource;
use crate::verdict::{Dropped, StopClass};
use crate::window::Window;

/// What was found behind the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// What stands at the end itself.
    pub(crate) class: StopClass,
    /// What stands behind it.
    pub(crate) dropped: Dropped,
}

/// Searches from `stop` to the end of the chain, and adds to `claims` what is claimed there.
pub(crate) fn look_ahead(
    source: &LogSource,
    stop: &Stop,
    claims: &mut Claims,
    progress: &mut dyn Progress,
) -> Result<Behind, RecoveryError> {
    let range = LsnRange::new(stop.at, source.range().end);
    let mut pace = Pace::start(Phase::LookAhead, range, progress);
    let mut search =
        Search { source, claims, lowest: stop.epoch, records: 0, written_end: stop.at };
    let mut class = match stop.why {
        StopReason::UnknownKind(_) => StopClass::UnknownKind,
        StopReason::RangeEnd | StopReason::EndOfChain => StopClass::Blank,
        StopReason::Unreadable(_) | StopReason::Hole => StopClass::Unreadable,
    };
    let behind = source.links().iter().filter(|link| link.range().end > stop.at);
    for link in behind {
        let mut window = Window::open(&**source.storage(), link)?;
        if let StopReason::Unreadable(why) = stop.why
            && link.range().contains(stop.at)
        {
            class = classify(source, &mut window, stop.at, why)?;
            // What a cut took away nobody can know: it is no end at which nothing was written.
            if class == StopClass::Blank && link.is_cut_short() {
                class = StopClass::Unreadable;
            }
        }
        search.lowest = search.lowest.max(link.header.epoch);
        let mut at = stop.at.max(link.range().start);
        while let Some(next) = search.sweep(&mut window, at)? {
            at = next;
            pace.reach(at, progress);
        }
    }
    pace.finish(range.end.max(range.start), progress);
    let bytes = LsnRange::new(stop.at, search.written_end).bytes();
    Ok(Behind { class, dropped: Dropped { bytes, records: search.records } })
}

/// Searches the `bytes` behind `at`, within its segment, and adds to `claims` what is claimed there.
///
/// For who asks often, and asks for a whole verdict when this has found something: records of
/// earlier epochs count from the epoch of the segment on, which is more than a verdict believes.
pub(crate) fn look_behind(
    source: &LogSource,
    at: Lsn,
    bytes: u64,
    claims: &mut Claims,
) -> Result<(), RecoveryError> {
    let Some((_, link)) = source.link_of(at) else { return Ok(()) };
    let mut window = Window::open(&**source.storage(), link)?;
    let lowest = link.header.epoch;
    let mut search = Search { source, claims, lowest, records: 0, written_end: at };
    let mut next = Some(at);
    while let Some(from) = next.filter(|from| from.distance_from(at) < Some(bytes)) {
        next = search.sweep(&mut window, from)?;
    }
    Ok(())
}

/// Whether a place that is not a record was never written, or holds what an earlier use of the
/// file left there.
fn classify(
    source: &LogSource,
    window: &mut Window,
    at: Lsn,
    why: DecodeError,
) -> Result<StopClass, RecoveryError> {
    let blank = match why {
        DecodeError::Zeroed => true,
        // The file ends here, or a few bytes further on.
        DecodeError::Incomplete { .. } => {
            window.bytes(at, RECORD_HEADER_BYTES)?.iter().all(|byte| *byte == 0)
        }
        DecodeError::WrongLsn { found } => match Lsn::new(found) {
            Some(other) => window
                .decode(at, |bytes| {
                    let (lowest, highest) = (Epoch::FIRST, source.highest_epoch());
                    decode_under_any(bytes, other, source.log_id(), lowest, highest).map(drop)
                })?
                .is_ok(),
            None => false,
        },
        _ => false,
    };
    Ok(if blank { StopClass::Blank } else { StopClass::Unreadable })
}

/// A search under way.
struct Search<'a> {
    source: &'a LogSource,
    claims: &'a mut Claims,
    /// Records of earlier epochs prove nothing here.
    lowest: Epoch,
    records: u64,
    /// End of the last unit seen that is not zero.
    written_end: Lsn,
}

impl Search<'_> {
    /// Searches from `at` to the next record, or through one window; returns where to go on.
    fn sweep(&mut self, window: &mut Window, at: Lsn) -> Result<Option<Lsn>, RecoveryError> {
        let left = window.left(at);
        let bytes = window.bytes(at, RECORD_HEADER_BYTES)?;
        let is_last = bytes.len() as u64 >= left;
        let zeros = zero_prefix(bytes);
        if zeros > 0 && zeros < bytes.len() {
            // The header that names its address in the first unit which is not skipped starts
            // one unit before.
            return Ok(at.checked_add((zeros - RECORD_ALIGN_BYTES) as u64));
        }
        let rest = if zeros > 0 { &[] } else { bytes };
        let candidate = find_record_candidate(rest, at);
        let passed = rest.get(..candidate.unwrap_or(rest.len())).unwrap_or_default();
        if let Some(last) = passed.iter().rposition(|byte| *byte != 0) {
            let end = at.checked_add((last + 1).next_multiple_of(RECORD_ALIGN_BYTES) as u64);
            self.written_end = self.written_end.max(end.unwrap_or(Lsn::MAX));
        }
        let all_zero = zeros == bytes.len();
        // A header which the end of the window cuts is met again in the next one.
        let next = bytes.len().saturating_sub(RECORD_HEADER_BYTES - RECORD_ALIGN_BYTES);
        match candidate.and_then(|bytes| at.checked_add(bytes as u64)) {
            Some(candidate) => self.verify(window, candidate).map(Some),
            None if is_last => Ok(None),
            None if all_zero => {
                let next = (next / RECORD_ALIGN_BYTES * RECORD_ALIGN_BYTES) as u64;
                let seen = at.checked_add(next).unwrap_or(Lsn::MAX);
                // A header may begin with zeros, in the hole.
                let data = window.data_from(seen)?.get().saturating_sub(RECORD_HEADER_BYTES as u64);
                Ok(Lsn::new(data).map(|data| data.max(seen)))
            }
            None => Ok(at.checked_add((next / RECORD_ALIGN_BYTES * RECORD_ALIGN_BYTES) as u64)),
        }
    }

    /// Verifies the record that seems to stand at `at`; returns where to go on.
    fn verify(&mut self, window: &mut Window, at: Lsn) -> Result<Lsn, RecoveryError> {
        let (lowest, highest) = (self.lowest, self.source.highest_epoch());
        let found = window.decode(at, |bytes| {
            decode_under_any(bytes, at, self.source.log_id(), lowest, highest)
                .map(|record| (record.durable(), record.end()))
        })?;
        Ok(match found {
            Ok((durable, end)) => {
                self.records += 1;
                self.written_end = self.written_end.max(end);
                if let Some(durable) = durable {
                    self.claims.add(Evidence::Watermark { record: at, durable });
                }
                end
            }
            Err(_) => at.checked_add(RECORD_ALIGN_BYTES as u64).unwrap_or(Lsn::MAX),
        })
    }
}

/// Bytes of zeros that `bytes` begin with, in whole blocks: nearly all that is behind the end of
/// a log is space that was never written, and no address is zero.
fn zero_prefix(bytes: &[u8]) -> usize {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    let blocks = bytes.chunks(BLOCK_BYTES);
    blocks.take_while(|block| ZEROS.starts_with(block)).map(<[u8]>::len).sum()
}
