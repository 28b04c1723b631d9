//! What an append looks at before it puts a record where the log ends with half of the lock.
//!
//! Whether the log takes records, has room for them in its buffer and in its segment, wants a
//! segment made, or enough waits to be written out: all that changes only while somebody holds the
//! whole lock of the state, but for the baton, which an append may take with half of it. So whoever
//! gives the lock back, or takes the baton so, says up to where the log may grow until any of it matters,
//! and an append that stays below looks at that alone.

use wal_format::Lsn;

use crate::clearance::{Clearance, Device};
use crate::shared::{Phase, State};
use crate::state_lock::Settle;

impl Settle for State {
    fn settle(&mut self) {
        self.clearance = self.cleared();
    }
}

impl State {
    /// An append of so many bytes would find nothing to decide.
    #[inline]
    pub(crate) fn is_clear(&self, bytes: usize) -> bool {
        let end = self.cursor.end().get().saturating_add(bytes as u64);
        let told = self.clearance;
        debug_assert!(told == Clearance::NONE || told == self.cleared(), "nothing has changed");
        told.covers(end)
    }

    /// A record that ends there is to have its checksum at once.
    #[inline]
    pub(crate) fn finishes(&self, end: Lsn) -> bool {
        self.clearance.finishes(end.get())
    }

    /// Takes the baton for what waits to be written, if that is enough and nobody has one. To take it
    /// tells nobody, so half of the lock suffices; and who comes next sees that it is taken.
    #[inline]
    pub(crate) fn takes_what_waits(&mut self) -> bool {
        let takes = self.clearance.writes(self.cursor.end().get()) && self.group.take();
        if takes {
            self.settle();
        }
        takes
    }

    fn cleared(&self) -> Clearance {
        let usual = self.poison.is_none()
            && self.phase == Phase::Open
            && !self.exclusive
            && !self.hibernating
            && self.timestamps.is_none();
        if !usual || self.parts.end() != self.cursor.end() {
            return Clearance::NONE;
        }
        let device = match (self.group.is_busy(), self.group.is_idle()) {
            (true, _) => Device::Busy,
            // Where several may be had, somebody else could take what waits before its taker does.
            (false, true) if self.group.flights() == 1 => Device::Idle,
            (false, _) => Device::Shared,
        };
        let ahead = self.prepares_ahead && !self.preparing && self.prepare_failed.is_none();
        let room = self.parts.end_with(self.parts.usable());
        let limit = room.min(self.cursor.undecided_to(ahead));
        Clearance::new(device, limit, self.parts.end_with(self.write_out_bytes))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::io::IoSlice;
    use std::sync::Arc;

    use wal_format::{Epoch, LogId, RecordKind, RecordSeed, decode_record};
    use wal_io::{IoError, LogSink, Preparer};

    use super::*;
    use crate::buffer::Part;
    use crate::bulk::FINISHED_BYTES_MAX;
    use crate::config::{CommitConfig, Start};
    use crate::error::CommitError;
    use crate::reserve::step;
    use crate::segments::Patience;
    use crate::shared::Shared;

    /// Takes everything, and makes segments out of nothing.
    #[derive(Debug)]
    struct Nothing;

    impl LogSink for Nothing {
        fn write(&mut self, _: Lsn, _: &[IoSlice<'_>]) -> Result<(), IoError> {
            Ok(())
        }

        fn sync(&mut self) -> Result<(), IoError> {
            Ok(())
        }

        fn block_bytes(&self) -> usize {
            1
        }

        fn can_promise(&self) -> bool {
            true
        }
    }

    impl Preparer for Nothing {
        fn prepare(&self, base: Lsn, bytes: u64) -> Result<Lsn, IoError> {
            Ok(step(base, bytes))
        }

        fn segment_bytes(&self) -> u64 {
            8 << 20
        }
    }

    fn log() -> Result<Shared, CommitError> {
        let end = |bytes| step(Lsn::FIRST, bytes);
        let start = Start {
            end: Lsn::FIRST,
            durable: Lsn::FIRST,
            active_end: end(8 << 20),
            ready_end: end(16 << 20),
            seed: RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST),
        };
        let config = CommitConfig { buffer_bytes: 8 << 20, ..CommitConfig::default() };
        Shared::new(config, start, vec![Box::new(Nothing)], Arc::new(Nothing), None)
    }

    #[test]
    fn those_who_are_ahead_of_whoever_writes_take_the_checksums_off_it() {
        let (shared, record_bytes) = (log().unwrap(), 512);
        let append = || shared.append_short(RecordKind::DATA, &[7; 488]);
        assert!(append().is_none(), "nobody has settled yet");
        assert!(shared.lock().group.take(), "as if somebody wrote");
        let enough = shared.lock().write_out_bytes / record_bytes;
        for _ in 0..enough + 10 {
            append().unwrap();
        }
        let part = shared.lock().parts.take().unwrap();
        let has_checksum = checksums(&part);
        let at_once = has_checksum.iter().skip_while(|has| !**has);
        assert_eq!((has_checksum.len(), at_once.count()), (enough + 10, 10));
    }

    /// Which of its records of 512 bytes have their checksum.
    fn checksums(part: &Part) -> Vec<bool> {
        let (records, _) = part.bytes().as_chunks::<512>();
        records.iter().map(|record| record[..4] != [0; 4]).collect()
    }

    #[test]
    fn records_of_a_batch_that_took_their_checksums_are_whole() {
        let shared = log().unwrap();
        drop(shared.lock());
        assert!(shared.lock().group.take(), "as if somebody wrote");
        let waits = [(RecordKind::DATA, &[7; 4072][..]); 16];
        let enough = shared.lock().write_out_bytes;
        while shared.lock().parts.pending() <= enough {
            shared.append_bulk(&waits, Patience::Wait).unwrap();
        }
        let mixed = [488, 600, 0, 4072, 1].map(|bytes| (RecordKind::DATA, &[9; 4072][..bytes]));
        let placed = shared.append_bulk(&mixed, Patience::Wait).unwrap();
        let mut part = shared.lock().parts.take().unwrap();
        let before = part.bytes().to_vec();
        assert_eq!(part.finished(&shared.seed).unwrap(), before, "none is left to the writer");
        let mut at = placed.lsn.distance_from(Lsn::FIRST).unwrap() as usize;
        for (_, body) in mixed {
            let lsn = step(Lsn::FIRST, at as u64);
            let record = decode_record(&before[at..], lsn, &shared.seed).unwrap();
            assert_eq!(record.body, body);
            at += record.encoded_bytes();
        }
    }

    #[test]
    fn a_batch_too_goes_where_the_log_ends_and_a_long_one_leaves_the_checksums_to_the_writer() {
        let shared = log().unwrap();
        let records = [(RecordKind::DATA, &[7; 488][..]); 2 * FINISHED_BYTES_MAX / 512];
        let append = |count: usize| shared.append_bulk(&records[..count], Patience::Wait);
        assert!(append(1).is_none(), "nobody has settled yet");
        assert!(shared.lock().group.take(), "as if somebody wrote");
        let enough = shared.lock().write_out_bytes / 512;
        let (short, long) = (FINISHED_BYTES_MAX / 512, records.len());
        for count in vec![1; enough].into_iter().chain([short, long, 1]) {
            append(count).unwrap();
        }
        let expected = [(enough, false), (short, true), (long, false), (1, true)];
        let expected: Vec<bool> =
            expected.iter().flat_map(|(count, has)| vec![*has; *count]).collect();
        let part = shared.lock().parts.take().unwrap();
        assert_eq!(checksums(&part), expected);
    }
}
