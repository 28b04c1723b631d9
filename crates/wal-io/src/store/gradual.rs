//! The zeros of the next segment, written beside commits which must not wait for them.
//!
//! ```text
//! reserved ── piece, to the device ── rest ── piece ── rest ── ... ── synced, named ──► ready
//! ```
//!
//! All at once they would keep the device busy for as long as it takes to write a segment, and
//! every sync of a commit with it. So they go in pieces, as long as what some syncs write: one sync
//! in [`SYNCS_PER_PIECE`] meets one, and waits for little more than for another sync. A piece is
//! due when the log has gone its share of the way to the segment, so that this holds however fast
//! or slow commits come, or when the log stands still and nobody meets it. What is not filled when
//! the log is about to need the segment, or somebody waits for it, stays reserved: the first sync
//! of each part of it then also writes what the file system notes, which is less than to wait.
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

/// Zeros that go to the device at a time are what so many syncs of the log write, within bounds.
///
/// With eight committers of 128 bytes pieces of 1 MiB were met by one sync in 860, which took ten
/// times as long as others: that was p99.9. In pieces of 16 to 64 KiB it is three times. With eight
/// of 4 KiB, whose zeros are always late, pieces of 1 MiB made p99.9 nine times p50; of 256 KiB four.
const SYNCS_PER_PIECE: u64 = 8;
const PIECE_MIN_BYTES: u64 = 16 << 10;
const PIECE_MAX_BYTES: u64 = 256 << 10;

/// A filled segment must still be synced, named and registered, each beside commits.
const SYNCS_TO_FINISH: u64 = 32;

/// The first rest is so many times as long as the piece before it took, and at least
/// [`REST_MIN`]; each that finds the log on its way and not far enough is twice as long as the one
/// before, up to [`REST_MAX`] and to a share of the time in which the log will need the segment.
const REST_PER_PIECE: u32 = 4;
const REST_MIN: Duration = Duration::from_micros(100);
const REST_MAX: Duration = Duration::from_millis(160);
const RESTS_ON_THE_WAY: u32 = 16;

/// A log of which nothing became durable for so long stands still.
const STILL: Duration = Duration::from_millis(5);

impl SegmentStore {
    /// As [`make_segment`](super::directory::make_segment), with zeros, in `pieces` and rests, in
    /// which `work` is let go.
    pub(super) fn make_segment_gradually(
        &self,
        work: &mut WorkGuard<'_>,
        header: SegmentHeader,
        naming: Naming,
        pieces: Pieces<'_>,
    ) -> Result<ChainLink, IoError> {
        let storage = self.storage.as_ref();
        let len = file_bytes(header.capacity_bytes).unwrap_or(u64::MAX);
        let link = link_of(header, len)?;
        let file = begin_segment(storage, &header, Preparation::Gradual)?;
        let filled = self.fill(work, file.as_ref(), &link, pieces);
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
        pieces: Pieces<'_>,
    ) -> Result<(), IoError> {
        let race = Race::begin(self.noted_durable(), link.name.base, pieces.bytes_per_sync);
        let mut piece = pieces.bytes;
        let mut at = HEADER_BYTES;
        while at < link.file_bytes && !race.is_lost(self.noted_durable()) {
            let bytes = piece.min(link.file_bytes - at);
            let begun = Instant::now();
            let filled = file.fill(at, bytes);
            if !filled.map_err(|e| IoError::failed(IoOp::Write, link.name.temporary(), e))? {
                break;
            }
            at += bytes;
            let first = begun.elapsed().saturating_mul(REST_PER_PIECE).clamp(REST_MIN, REST_MAX);
            let is_close = |now, filled| race.is_close(now, filled, link.file_bytes);
            let due = |now| at >= link.file_bytes || is_close(now, at);
            let before = self.noted_durable();
            let late = is_close(before, at + piece);
            let rest = || self.rest_until(due, first, &race, pieces.rest);
            let rested = MutexGuard::unlocked(work, rest);
            // Others had the store meanwhile.
            self.check_usable(work)?;
            match rested {
                Rested::Over => {}
                Rested::Hurry => break,
                Rested::Stop => return Err(IoError::Closed { place: self.storage.place() }),
            }
            // Who is late by more than a piece cannot catch up by syncs as many as the log's own,
            // and a log that stands still meets none.
            let longer = late || self.noted_durable() == before;
            piece = if longer { (2 * piece).min(PIECE_MAX_BYTES) } else { pieces.bytes };
        }
        Ok(())
    }

    /// Rests until the next piece is `due` with the log where it is, or the log stands still. Where it
    /// is due at once there is no rest, but who waits or ends is heard all the same.
    fn rest_until(
        &self,
        due: impl Fn(Lsn) -> bool,
        first: Duration,
        race: &Race,
        rest: Rest<'_>,
    ) -> Rested {
        let mut at = self.noted_durable();
        if due(at) {
            return rest(Duration::ZERO);
        }
        let (mut time, mut still) = (first, Duration::ZERO);
        while !due(at) && still < STILL {
            match rest(time) {
                Rested::Over => {}
                early => return early,
            }
            let before = std::mem::replace(&mut at, self.noted_durable());
            still = if at == before { still + time } else { Duration::ZERO };
            let late = race.time_left(at, race.begun.elapsed()) / RESTS_ON_THE_WAY;
            time = time.saturating_mul(2).min(REST_MAX).min(late.max(REST_MIN));
        }
        Rested::Over
    }
}

/// How zeros are written beside commits.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'r> {
    bytes: u64,
    bytes_per_sync: u64,
    rest: Rest<'r>,
}

impl<'r> Pieces<'r> {
    /// For a log that writes so many bytes a sync.
    pub(super) fn beside(bytes_per_sync: u64, rest: Rest<'r>) -> Self {
        let bytes = bytes_per_sync.saturating_mul(SYNCS_PER_PIECE);
        let bytes = bytes.clamp(PIECE_MIN_BYTES, PIECE_MAX_BYTES);
        Self { bytes: bytes.next_multiple_of(HEADER_BYTES), bytes_per_sync, rest }
    }
}

/// The log on its way to the segment that is being filled.
struct Race {
    /// When, and where the log was when, the filling began.
    begun: Instant,
    from: Lsn,
    base: Lsn,
    /// So far from `base` all is to be there.
    margin_bytes: u64,
}

impl Race {
    /// For a log that writes so many bytes a sync.
    fn begin(from: Lsn, base: Lsn, bytes_per_sync: u64) -> Self {
        let way = base.distance_from(from).unwrap_or(0);
        let margin = bytes_per_sync.saturating_mul(SYNCS_TO_FINISH);
        let margin_bytes = margin.clamp(way / 6, way / 2);
        Self { begun: Instant::now(), from, base, margin_bytes }
    }

    /// The time in which the log, which took `gone` to where it is now, will be at the segment.
    fn time_left(&self, now: Lsn, gone: Duration) -> Duration {
        let between = |from: Lsn, to: Lsn| to.distance_from(from).unwrap_or(0);
        let (done, left) = (between(self.from, now), between(now, self.base));
        let nanos = gone.as_nanos() * u128::from(left) / u128::from(done.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether the log, which is at `now`, has so little of its way left that it would wait for a
    /// segment which is not finished now.
    fn is_lost(&self, now: Lsn) -> bool {
        self.base.distance_from(now).unwrap_or(0) < self.margin_bytes / 2
    }

    /// Whether the log, which is at `now`, has gone so far that more than `filled` of `bytes` are
    /// to be there: all of them are when it has gone five sixths of its way, or half of a short
    /// one.
    fn is_close(&self, now: Lsn, filled: u64, bytes: u64) -> bool {
        let between = |from: Lsn, to: Lsn| u128::from(to.distance_from(from).unwrap_or(0));
        let (gone, way) = (between(self.from, now), between(self.from, self.base));
        let way = way.saturating_sub(u128::from(self.margin_bytes));
        u128::from(filled) * way < gone * u128::from(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filling_is_to_be_done_when_the_log_has_gone_five_sixths_of_its_way() {
        let at = |gone: u64| Lsn::new(4096 + 8 * gone).unwrap();
        let race = Race::begin(at(0), at(1200), 1);
        assert!(!race.is_close(at(0), 1, 1000), "the log stands still");
        assert!(!race.is_close(at(100), 100, 1000) && race.is_close(at(101), 100, 1000));
        assert!(!race.is_close(at(1000), 1000, 1000) && race.is_close(at(1001), 1000, 1000));
        assert!(race.is_close(at(1200), 999, 1000));
    }

    #[test]
    fn the_filling_is_to_be_done_so_early_that_the_syncs_which_remain_are_over_in_time() {
        let at = |gone: u64| Lsn::new(4096 + 8 * gone).unwrap();
        let race = Race::begin(at(0), at(1000), 8 * 400 / SYNCS_TO_FINISH);
        assert!(!race.is_close(at(600), 1000, 1000) && race.is_close(at(601), 1000, 1000));
        let race = Race::begin(at(0), at(1000), 4096);
        assert!(!race.is_close(at(500), 1000, 1000) && race.is_close(at(501), 1000, 1000));
        let race = Race::begin(at(0), at(0), 4096);
        assert!(!race.is_close(at(0), 1, 1000), "it is there, and stands still");
        assert!(race.is_close(at(1), 999, 1000), "it is past it");
    }

    #[test]
    fn a_piece_is_what_some_syncs_write_in_whole_blocks_and_within_bounds() {
        let rest = |_: Duration| Rested::Over;
        let bytes = |per_sync| Pieces::beside(per_sync, &rest).bytes;
        assert_eq!(bytes(0), PIECE_MIN_BYTES);
        assert_eq!(bytes(152), PIECE_MIN_BYTES, "of one committer");
        assert_eq!(bytes(1216), PIECE_MIN_BYTES, "of eight");
        assert_eq!(bytes(4096), 32 << 10);
        assert_eq!(bytes(u64::MAX), PIECE_MAX_BYTES);
    }

    #[test]
    fn a_log_which_is_about_to_need_the_segment_has_lost_the_race() {
        let at = |gone: u64| Lsn::new(4096 + 8 * gone).unwrap();
        // A sixth of the way is to be left when all is filled, and half of that to finish it.
        let race = Race::begin(at(0), at(1200), 1);
        assert!(!race.is_lost(at(0)) && !race.is_lost(at(1100)));
        assert!(race.is_lost(at(1101)) && race.is_lost(at(1200)) && race.is_lost(at(1300)));
        assert!(!Race::begin(at(0), at(0), 4096).is_lost(at(0)), "it is there, and stands still");
    }

    #[test]
    fn a_log_as_fast_as_before_needs_the_segment_when_the_rest_of_its_way_is_gone() {
        let at = |gone: u64| Lsn::new(4096 + 8 * gone).unwrap();
        let race = Race::begin(at(0), at(1200), 152);
        let hour = Duration::from_secs(3600);
        assert_eq!(race.time_left(at(300), hour), 3 * hour);
        assert_eq!(race.time_left(at(1200), hour), Duration::ZERO);
        assert!(race.time_left(at(0), hour) > hour, "it stands still");
        assert_eq!(race.time_left(at(0), Duration::MAX), Duration::from_nanos(u64::MAX));
    }
}
