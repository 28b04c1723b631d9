//! The zeros of the next segment, written beside commits which must not wait for them.
//!
//! ```text
//! reserved ── piece, to the device ── rest ── piece ── rest ── ... ── synced, named ──► ready
//! ```
//!
//! All at once they would keep the device busy for as long as it takes to write a segment, and
//! every sync of a commit with it. So they go in pieces, each of which costs a sync about as much
//! as another sync does. A piece is due when the log has gone its share of the way to the segment,
//! so that few commits meet one however fast or slow they come, or when the log stands still and
//! nobody meets it. Nobody rests while somebody waits for the segment.
//!
//! In a rest the store is everybody's: truncations, checkpoints and a close wait for a piece at
//! most. A log that closes gives the unfinished file up.

use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use wal_format::{Lsn, SegmentHeader};

use super::directory::{
    HEADER_BYTES, Naming, abandon, begin_segment, file_bytes, finish_segment, link_of, write_header,
};
use super::segment_store::{SegmentStore, WorkGuard};
use crate::chain::ChainLink;
use crate::error::{IoError, IoOp};
use crate::sink::{Rest, Rested};
use crate::storage::{LogFile, Preparation};

/// Zeros that go to the device at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// The first rest is so many times as long as the piece before it took, and at least
/// [`REST_MIN`]; each that finds the log on its way and not far enough is twice as long as the one
/// before, up to [`REST_MAX`].
const REST_PER_PIECE: u32 = 4;
const REST_MIN: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_millis(160);

impl SegmentStore {
    /// As [`make_segment`](super::directory::make_segment), with zeros, in pieces and rests, in
    /// which `work` is let go.
    pub(super) fn make_segment_gradually(
        &self,
        work: &mut WorkGuard<'_>,
        header: SegmentHeader,
        naming: Naming,
        rest: Rest<'_>,
    ) -> Result<ChainLink, IoError> {
        let storage = self.storage.as_ref();
        let len = file_bytes(header.capacity_bytes).unwrap_or(u64::MAX);
        let link = link_of(header, len)?;
        let file = begin_segment(storage, &header, Preparation::Gradual)?;
        let filled = self.fill(work, file.as_ref(), &link, rest);
        // Rule 14: each header tells the head of when its segment was begun, and that is now.
        let header = SegmentHeader { head: self.head(), ..header };
        let told = filled.and_then(|()| {
            if header == link.header {
                return Ok(());
            }
            write_header(file.as_ref(), &link.name.temporary(), &header)
        });
        if let Err(error) = told {
            drop(file);
            // Behind a close the directory is somebody else's, who clears what is unfinished.
            if !work.closed {
                abandon(storage, &link.name.temporary());
            }
            return Err(error);
        }
        finish_segment(storage, file, link.name, naming)?;
        tracing::debug!(segment = %link.name, bytes = link.file_bytes, "segment filled and ready");
        link_of(header, len)
    }

    fn fill(
        &self,
        work: &mut WorkGuard<'_>,
        file: &dyn LogFile,
        link: &ChainLink,
        rest: Rest<'_>,
    ) -> Result<(), IoError> {
        let race = Race { from: self.noted_durable(), base: link.name.base };
        let mut hurried = false;
        let mut at = HEADER_BYTES;
        while at < link.file_bytes {
            // Who waits for it waits for one sync, not for one a piece.
            let left = link.file_bytes - at;
            let bytes = if hurried { left } else { PIECE_BYTES.min(left) };
            let begun = Instant::now();
            let filled = file.fill(at, bytes);
            if !filled.map_err(|e| IoError::failed(IoOp::Write, link.name.temporary(), e))? {
                break;
            }
            at += bytes;
            let first = begun.elapsed().saturating_mul(REST_PER_PIECE).clamp(REST_MIN, REST_MAX);
            let due =
                |now| hurried || at >= link.file_bytes || race.is_close(now, at, link.file_bytes);
            let rested = MutexGuard::unlocked(work, || self.rest_until(due, first, rest));
            match rested {
                Rested::Over => {}
                Rested::Hurry => hurried = true,
                Rested::Stop => return Err(IoError::Closed { place: self.storage.place() }),
            }
            // Others had the store meanwhile.
            self.check_usable(work)?;
        }
        Ok(())
    }

    /// Rests until the next piece is `due` with the log where it is, or the log stands still.
    fn rest_until(&self, due: impl Fn(Lsn) -> bool, first: Duration, rest: Rest<'_>) -> Rested {
        let mut time = first;
        let mut at = self.noted_durable();
        while !due(at) {
            match rest(time) {
                Rested::Over => {}
                early => return early,
            }
            let before = std::mem::replace(&mut at, self.noted_durable());
            if at == before {
                break;
            }
            time = time.saturating_mul(2).min(REST_MAX);
        }
        Rested::Over
    }
}

/// The log on its way to the segment that is being filled.
struct Race {
    /// Where it was when the filling began.
    from: Lsn,
    base: Lsn,
}

impl Race {
    /// Whether the log, which is at `now`, has gone so far that more than `filled` of `bytes` are
    /// to be there: all of them are when it has gone five sixths of its way.
    fn is_close(&self, now: Lsn, filled: u64, bytes: u64) -> bool {
        let between = |from: Lsn, to: Lsn| u128::from(to.distance_from(from).unwrap_or(0));
        let (gone, way) = (between(self.from, now), between(self.from, self.base));
        5 * u128::from(filled) * way < 6 * gone * u128::from(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filling_is_to_be_done_when_the_log_has_gone_five_sixths_of_its_way() {
        let at = |gone: u64| Lsn::new(4096 + 8 * gone).unwrap();
        let race = Race { from: at(0), base: at(1200) };
        assert!(!race.is_close(at(0), 1, 1000), "the log stands still");
        assert!(!race.is_close(at(100), 100, 1000) && race.is_close(at(101), 100, 1000));
        assert!(!race.is_close(at(1000), 1000, 1000) && race.is_close(at(1001), 1000, 1000));
        assert!(race.is_close(at(1200), 999, 1000));
    }
}
