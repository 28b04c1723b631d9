//! Walking the records in a slice.
//!
//! The walk ends at the first place that is not a record. What that place means, a torn tail or
//! damage, takes evidence that a slice does not hold: this only says where and why.

use core::iter::FusedIterator;

use crate::decode::RecordRef;
use crate::epochs::EpochTracker;
use crate::error::DecodeError;
use crate::lsn::Lsn;

/// The records in a slice, one after another.
///
/// Yields each valid record; then, unless the slice ended exactly with a record, one error that
/// says what stands at [`position`](Self::position); then nothing more.
///
/// Jumps that segment headers declare are not followed: give it one segment at a time. Kinds that
/// this version cannot pass over ([`RecordKind::is_readable`](crate::RecordKind::is_readable)) are
/// yielded as they are, for tools that show them; whoever replays must stop there.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    position: Lsn,
    epochs: EpochTracker,
    stopped: bool,
}

impl<'a> RecordIter<'a> {
    /// The records in `bytes`, which were read from address `lsn`, where the epoch of `epochs` is
    /// in force.
    #[must_use]
    pub const fn new(bytes: &'a [u8], lsn: Lsn, epochs: EpochTracker) -> Self {
        Self { rest: bytes, position: lsn, epochs, stopped: false }
    }

    /// Address after the last record yielded: where the next one is looked for.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.position
    }

    /// The epoch in force there.
    #[must_use]
    pub const fn epochs(&self) -> EpochTracker {
        self.epochs
    }

    /// What of the slice has not been walked.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordRef<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped || self.rest.is_empty() {
            return None;
        }
        match self.epochs.decode(self.rest, self.position) {
            Ok(tracked) => {
                let record = tracked.record;
                self.rest = self.rest.get(record.encoded_bytes()..).unwrap_or_default();
                self.position = record.end();
                Some(Ok(record))
            }
            Err(error) => {
                self.stopped = true;
                Some(Err(error))
            }
        }
    }
}

impl FusedIterator for RecordIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Opened;
    use crate::crc::RecordSeed;
    use crate::encode::RecordDraft;
    use crate::ids::{Epoch, LogId};
    use crate::kind::RecordKind;
    use alloc::vec::Vec;

    const LOG: LogId = LogId::from_bytes([4; 16]);

    fn append(log: &mut Vec<u8>, epoch: u64, kind: RecordKind, body: &[u8]) {
        let parts = [body];
        let draft = RecordDraft::new(kind, &parts);
        let start = log.len();
        let lsn = Lsn::new(Lsn::FIRST.get() + start as u64).unwrap();
        log.resize(start + draft.encoded_bytes(), 0);
        let seed = RecordSeed::new(LOG, Epoch::new(epoch));
        draft.encode_into(&seed, lsn, None, &mut log[start..]).unwrap();
    }

    fn reopened(log: &mut Vec<u8>, epoch: u64) {
        let opened =
            Opened { epoch: Epoch::new(epoch), previous_end: Lsn::FIRST, opened_unix_us: 0 };
        append(log, epoch, RecordKind::OPENED, &opened.encode());
    }

    fn walk(log: &[u8]) -> RecordIter<'_> {
        RecordIter::new(log, Lsn::FIRST, EpochTracker::new(LOG, Epoch::new(1)))
    }

    #[test]
    fn records_follow_one_another_across_clean_reopenings() {
        let mut log = Vec::new();
        append(&mut log, 1, RecordKind::DATA, b"first");
        reopened(&mut log, 2);
        append(&mut log, 2, RecordKind::DATA, b"second");
        reopened(&mut log, 4);
        append(&mut log, 4, RecordKind::DATA, b"third");
        let mut records = walk(&log);
        let found: Vec<_> = records
            .by_ref()
            .map(|record| record.unwrap())
            .map(|record| (record.epoch.get(), record.body))
            .collect();
        assert_eq!(found[0], (1, &b"first"[..]));
        assert_eq!(found[2], (2, &b"second"[..]));
        assert_eq!(found[4], (4, &b"third"[..]));
        assert_eq!(found.len(), 5);
        assert_eq!(records.position().get(), Lsn::FIRST.get() + log.len() as u64);
        assert_eq!(records.epochs().epoch(), Epoch::new(4));
    }

    #[test]
    fn the_walk_ends_once_and_says_why() {
        let mut log = Vec::new();
        append(&mut log, 1, RecordKind::DATA, b"first");
        let end = log.len();
        log.resize(end + 64, 0);
        let mut records = walk(&log);
        assert!(records.next().unwrap().is_ok());
        assert_eq!(records.next(), Some(Err(DecodeError::Zeroed)));
        assert_eq!(records.next(), None);
        assert_eq!(records.position().get(), Lsn::FIRST.get() + end as u64);
        assert_eq!(records.rest().len(), 64);
    }

    #[test]
    fn r17_a_record_of_an_epoch_not_in_force_ends_the_walk() {
        let mut log = Vec::new();
        append(&mut log, 1, RecordKind::DATA, b"first");
        append(&mut log, 2, RecordKind::DATA, b"no opening before it");
        let mut records = walk(&log);
        assert!(records.next().unwrap().is_ok());
        assert_eq!(records.next(), Some(Err(DecodeError::WrongEpoch { found: 2 })));
    }
}
