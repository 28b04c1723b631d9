//! Which epoch a record belongs to, when the reader cannot know it beforehand.
//!
//! A segment's first records carry its header's epoch. A clean reopening goes on in place and
//! switches the epoch with its [`Opened`] record, whose body names the new one in full and which
//! is verified under it. [`EpochTracker`] follows such switches; [`resolve_epoch`] is for a reader
//! that lost them, after damage. Neither reads more than the bytes it is given.

use core::iter::FusedIterator;

use crate::body::Opened;
use crate::crc::RecordSeed;
use crate::decode::{ProvenRecord, RecordRef, decode_header_at, decode_record, prove_record};
use crate::error::DecodeError;
use crate::ids::{Epoch, LogId};
use crate::kind::RecordKind;
use crate::layout::{OPENED_BYTES, RECORD_HEADER_BYTES};
use crate::lsn::Lsn;
use crate::record_header::{RecordFlags, RecordHeader};

/// Decodes records one after another and switches the epoch in force where the log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochTracker {
    log_id: LogId,
    seed: RecordSeed,
}

/// A valid record, and whether it switched the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackedRecord<'a> {
    /// The record; [`RecordRef::epoch`] is the epoch in force from it on.
    pub record: RecordRef<'a>,
    /// The epoch in force before, if this record put a higher one in its place.
    pub switched_from: Option<Epoch>,
}

impl EpochTracker {
    /// A reader of the log `log_id` at a place where `epoch` is in force: the start of a segment
    /// under its header's epoch, or wherever an earlier reader stopped.
    #[must_use]
    pub fn new(log_id: LogId, epoch: Epoch) -> Self {
        Self { log_id, seed: RecordSeed::new(log_id, epoch) }
    }

    /// The log being read.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The epoch in force.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.seed.epoch()
    }

    /// The seed of the epoch in force.
    #[must_use]
    pub const fn seed(&self) -> &RecordSeed {
        &self.seed
    }

    /// Reads the record at the start of `bytes`, which were read from address `lsn`, under the
    /// epoch in force; or under a higher one, when it is the opened record that names it. Then
    /// that one is in force from here on.
    ///
    /// # Errors
    ///
    /// As [`decode_record`]; the epoch in force does not change. After
    /// [`DecodeError::Incomplete`] call again with more bytes.
    ///
    /// # Cost
    ///
    /// One pass of CRC-32C; two over an opened record that might be of either epoch.
    #[inline]
    pub fn decode<'a>(
        &mut self,
        bytes: &'a [u8],
        lsn: Lsn,
    ) -> Result<TrackedRecord<'a>, DecodeError> {
        match decode_record(bytes, lsn, &self.seed) {
            Ok(record) => Ok(TrackedRecord { record, switched_from: None }),
            // Low bits come round again after 65,536 openings: then it is the checksum which says
            // that the record is not of the epoch in force.
            Err(refusal @ (DecodeError::WrongEpoch { .. } | DecodeError::BadChecksum { .. })) => {
                self.decode_switch(bytes, lsn, refusal)
            }
            Err(error) => Err(error),
        }
    }

    /// As [`decode`](Self::decode), but tells no more than how long the record is, and of what kind:
    /// its fields are those of [`read_proven`](crate::read_proven), under the epoch in force from
    /// now on.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    #[inline]
    pub fn prove(&mut self, bytes: &[u8], lsn: Lsn) -> Result<ProvenRecord, DecodeError> {
        match prove_record(bytes, lsn, &self.seed) {
            Err(refusal @ (DecodeError::WrongEpoch { .. } | DecodeError::BadChecksum { .. })) => {
                let record = self.decode_switch(bytes, lsn, refusal)?.record;
                Ok(ProvenRecord { encoded_bytes: record.encoded_bytes(), kind: record.kind() })
            }
            decided => decided,
        }
    }

    /// Reads the opened record of a higher epoch; `refusal` where it is none.
    #[cold]
    fn decode_switch<'a>(
        &mut self,
        bytes: &'a [u8],
        lsn: Lsn,
        refusal: DecodeError,
    ) -> Result<TrackedRecord<'a>, DecodeError> {
        let Some(header) = opened_header(bytes, lsn) else {
            return Err(refusal);
        };
        let Some(record) = bytes.get(..header.encoded_bytes()) else {
            return Err(DecodeError::Incomplete { needed: header.encoded_bytes() as u64 });
        };
        // The epoch is taken from a body that nothing has verified yet. It is believed only if
        // the record then verifies under it.
        let claim = record
            .get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + OPENED_BYTES)
            .and_then(|body| Opened::decode(body).ok())
            .map(|opened| opened.epoch)
            .filter(|epoch| *epoch > self.epoch() && header.is_of(*epoch));
        let Some(epoch) = claim else {
            return Err(refusal);
        };
        let seed = RecordSeed::new(self.log_id, epoch);
        let record = decode_record(bytes, lsn, &seed).map_err(|_| refusal)?;
        let switched_from = Some(self.epoch());
        self.seed = seed;
        Ok(TrackedRecord { record, switched_from })
    }
}

/// The header at the start of `bytes`, if it has the form of an opened record's.
fn opened_header(bytes: &[u8], lsn: Lsn) -> Option<RecordHeader> {
    decode_header_at(bytes, lsn).ok().filter(|header| {
        header.kind == RecordKind::OPENED
            && header.flags == RecordFlags::NONE
            && header.body_len as usize == OPENED_BYTES
    })
}

/// The epochs from `from` to `to`, both included, whose low bits are `bits`; the lowest first.
///
/// For look-ahead after damage: a record found there may have been written under any epoch from
/// the last one in force to the last one spent. Each candidate costs one pass of CRC-32C, and
/// 65,536 openings lie between two of them, so there is rarely more than one.
#[must_use]
pub const fn resolve_epoch(bits: u16, from: Epoch, to: Epoch) -> EpochCandidates {
    let ahead = bits.wrapping_sub(from.low_bits());
    EpochCandidates { next: from.checked_add(ahead as u64), to }
}

/// The epochs that a record header's low bits may stand for; see [`resolve_epoch`].
#[derive(Clone, Debug)]
pub struct EpochCandidates {
    next: Option<Epoch>,
    to: Epoch,
}

impl Iterator for EpochCandidates {
    type Item = Epoch;

    fn next(&mut self) -> Option<Epoch> {
        let epoch = self.next.take().filter(|epoch| *epoch <= self.to)?;
        self.next = epoch.checked_add(1 << 16);
        // Epoch zero is none, and nothing is written under it.
        if epoch == Epoch::NONE { self.next() } else { Some(epoch) }
    }
}

impl FusedIterator for EpochCandidates {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::RecordDraft;
    use alloc::vec;
    use alloc::vec::Vec;

    const LOG: LogId = LogId::from_bytes([3; 16]);

    fn opened(under: Epoch, named: Epoch) -> Vec<u8> {
        let body = Opened { epoch: named, previous_end: Lsn::FIRST, opened_unix_us: 1 }.encode();
        encoded(under, RecordKind::OPENED, &body)
    }

    fn encoded(under: Epoch, kind: RecordKind, body: &[u8]) -> Vec<u8> {
        let parts = [body];
        let draft = RecordDraft::new(kind, &parts);
        let mut out = vec![0; draft.encoded_bytes()];
        draft.encode_into(&RecordSeed::new(LOG, under), Lsn::FIRST, None, &mut out).unwrap();
        out
    }

    fn after(in_force: u64, bytes: &[u8]) -> (Result<Option<Epoch>, DecodeError>, Epoch) {
        let mut tracker = EpochTracker::new(LOG, Epoch::new(in_force));
        let outcome = tracker.decode(bytes, Lsn::FIRST).map(|tracked| tracked.switched_from);
        (outcome, tracker.epoch())
    }

    #[test]
    fn an_opened_record_puts_its_higher_epoch_in_force() {
        // One opening later, many later, and as many later as have the same low bits.
        for named in [6, 70_000, 5 + (1 << 16), u64::MAX] {
            let bytes = opened(Epoch::new(named), Epoch::new(named));
            assert_eq!(after(5, &bytes), (Ok(Some(Epoch::new(5))), Epoch::new(named)));
        }
    }

    #[test]
    fn an_opened_record_of_the_epoch_in_force_changes_nothing() {
        // The second is one that a rewritten tail carries on under a newer epoch.
        for named in [5, 2] {
            let bytes = opened(Epoch::new(5), Epoch::new(named));
            assert_eq!(after(5, &bytes), (Ok(None), Epoch::new(5)));
        }
    }

    #[test]
    fn a_stale_opened_record_of_a_lower_epoch_is_refused() {
        let (outcome, epoch) = after(5, &opened(Epoch::new(4), Epoch::new(4)));
        assert_eq!((outcome, epoch), (Err(DecodeError::WrongEpoch { found: 4 }), Epoch::new(5)));
    }

    #[test]
    fn an_opened_record_must_verify_under_the_epoch_that_it_names() {
        let (outcome, epoch) = after(5, &opened(Epoch::new(6), Epoch::new(6 + (1 << 16))));
        assert_eq!((outcome, epoch), (Err(DecodeError::WrongEpoch { found: 6 }), Epoch::new(5)));
        let (outcome, epoch) = after(5, &opened(Epoch::new(6), Epoch::new(7)));
        assert_eq!((outcome, epoch), (Err(DecodeError::WrongEpoch { found: 6 }), Epoch::new(5)));
    }

    #[test]
    fn no_other_kind_switches_the_epoch() {
        let body = Opened { epoch: Epoch::new(6), previous_end: Lsn::FIRST, opened_unix_us: 1 };
        let bytes = encoded(Epoch::new(6), RecordKind::DATA, &body.encode());
        assert_eq!(after(5, &bytes), (Err(DecodeError::WrongEpoch { found: 6 }), Epoch::new(5)));
    }

    #[test]
    fn an_opened_record_with_flags_switches_nothing() {
        let body = Opened { epoch: Epoch::new(6), previous_end: Lsn::FIRST, opened_unix_us: 1 };
        let body = body.encode();
        let parts = [&body[..]];
        let draft = RecordDraft::new(RecordKind::OPENED, &parts);
        let draft = draft.with_flags(RecordFlags::BATCH_FOLLOWS);
        let mut bytes = vec![0; draft.encoded_bytes()];
        let seed = RecordSeed::new(LOG, Epoch::new(6));
        draft.encode_into(&seed, Lsn::FIRST, None, &mut bytes).unwrap();
        assert_eq!(after(5, &bytes), (Err(DecodeError::WrongEpoch { found: 6 }), Epoch::new(5)));
    }

    #[test]
    fn an_opened_record_cut_short_asks_for_the_rest() {
        let bytes = opened(Epoch::new(6), Epoch::new(6));
        for len in RECORD_HEADER_BYTES..bytes.len() {
            let (outcome, epoch) = after(5, &bytes[..len]);
            assert_eq!(
                (outcome, epoch),
                (Err(DecodeError::Incomplete { needed: 48 }), Epoch::new(5))
            );
        }
    }

    #[test]
    fn every_flipped_bit_of_a_switch_is_refused() {
        let bytes = opened(Epoch::new(6), Epoch::new(6));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (outcome, epoch) = after(5, &damaged);
            assert!(outcome.is_err(), "bit {bit}");
            assert_eq!(epoch, Epoch::new(5));
        }
    }

    #[test]
    fn r17_low_bits_are_resolved_to_every_epoch_they_may_stand_for() {
        let found = |bits, from, to| {
            resolve_epoch(bits, Epoch::new(from), Epoch::new(to))
                .map(Epoch::get)
                .collect::<Vec<_>>()
        };
        assert_eq!(found(7, 5, 9), [7]);
        assert_eq!(found(5, 5, 5), [5]);
        assert_eq!(found(4, 5, 9), []);
        assert_eq!(found(4, 5, 200_000), [65_540, 131_076, 196_612]);
        assert_eq!(found(0, 0, 65_536), [65_536]);
        assert_eq!(found(0xffff, u64::MAX, u64::MAX), [u64::MAX]);
        assert_eq!(found(0, u64::MAX, u64::MAX), []);
    }
}
