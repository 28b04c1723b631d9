//! Records: alone, one after another, and looked for.

use wal_format::{
    DecodeError, Epoch, EpochTracker, LogId, Lsn, RecordDraft, RecordIter, RecordRef, RecordSeed,
    decode_header_at, decode_record, find_record_candidate, resolve_epoch,
};

use crate::input::Input;

/// The log and the epoch of the golden vectors.
pub(crate) const LOG_ID: LogId =
    LogId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
/// See [`LOG_ID`].
pub(crate) const EPOCH: Epoch = Epoch::new(65_538);
/// Where the vectors say that they stand.
pub(crate) const START: u64 = 8192;

/// The address that the bytes claim, so that mutation gets beyond the address check.
fn claimed(data: &[u8]) -> Lsn {
    let claim = data.get(8..16).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    claim.and_then(Lsn::new).filter(|lsn| !lsn.is_none()).unwrap_or(start())
}

fn start() -> Lsn {
    Lsn::new(START).unwrap()
}

/// A record is valid only as it was encoded; a record encoded from anything is valid.
pub(crate) fn one(data: &[u8]) {
    let seed = RecordSeed::new(LOG_ID, EPOCH);
    for lsn in [start(), claimed(data)] {
        match decode_record(data, lsn, &seed) {
            Ok(record) => {
                lies_within(&record, data);
                encodes_to(&record, &seed, &data[..record.encoded_bytes()]);
            }
            Err(DecodeError::Incomplete { needed }) => {
                assert!(needed > data.len() as u64, "more is asked for than needed");
            }
            Err(_) => {}
        }
        // The checksum stands between mutation and all that comes after it: give it one.
        if let Ok(header) = decode_header_at(data, lsn)
            && let Some(body) = data.get(24..).map(|rest| &rest[..rest.len().min(4096)])
        {
            let parts = [body];
            let draft = RecordDraft::new(header.kind, &parts).with_flags(header.flags);
            let mut bytes = vec![0xee; draft.encoded_bytes()];
            if draft.encode_into(&seed, lsn, header.durable(), &mut bytes).is_ok() {
                let record = decode_record(&bytes, lsn, &seed).expect("what was encoded decodes");
                assert_eq!((record.kind(), record.body), (header.kind, body));
                encodes_to(&record, &seed, &bytes);
            }
        }
    }
}

fn lies_within(record: &RecordRef<'_>, data: &[u8]) {
    assert!(record.encoded_bytes() <= data.len() && record.encoded_bytes().is_multiple_of(8));
    assert!(data.as_ptr_range().start <= record.body.as_ptr_range().start);
    assert!(record.body.as_ptr_range().end <= data.as_ptr_range().end);
    assert!(record.durable().is_none_or(|durable| durable <= record.lsn()));
    assert!(record.end() > record.lsn());
}

/// There is one encoding of a record: two that differ cannot both be valid.
fn encodes_to(record: &RecordRef<'_>, seed: &RecordSeed, bytes: &[u8]) {
    let parts = [record.body];
    let mut draft = RecordDraft::new(record.kind(), &parts).with_flags(record.flags());
    draft.txn = record.txn;
    let mut again = vec![0; draft.encoded_bytes()];
    // A decoder may read what this version would not write, yet never otherwise.
    if draft.encode_into(seed, record.lsn(), record.durable(), &mut again).is_ok() {
        assert!(again == bytes, "a record with two encodings");
    }
}

/// A walk yields adjoining records, then at most one error, and accounts for every byte.
pub(crate) fn many(data: &[u8]) {
    for lsn in [start(), claimed(data)] {
        let mut walk = RecordIter::new(data, lsn, EpochTracker::new(LOG_ID, EPOCH));
        let (mut at, mut epoch, mut walked) = (lsn, EPOCH, 0);
        let mut stopped = false;
        for step in walk.by_ref() {
            assert!(!stopped, "the walk goes on after an error");
            match step {
                Ok(record) => {
                    assert_eq!(record.lsn(), at);
                    assert!(record.epoch >= epoch, "an epoch comes back");
                    lies_within(&record, data);
                    walked += record.encoded_bytes();
                    (at, epoch) = (record.end(), record.epoch);
                }
                Err(_) => stopped = true,
            }
        }
        assert_eq!((walk.position(), walk.rest().len()), (at, data.len() - walked));
        assert!(stopped || walk.rest().is_empty(), "the walk ends and does not say why");
    }
}

/// The quick search finds what a slow one does; candidates for an epoch match their bits.
pub(crate) fn look_ahead(data: &[u8]) {
    let mut input = Input(data);
    let base = Lsn::new(input.u64() >> 2 & !7).unwrap_or(start());
    let bits = input.u16();
    let (from, to) = (Epoch::new(input.u64()), Epoch::new(input.u64()));
    let rest = input.0;
    let is_here = |at: usize| {
        let word = rest[at + 8..at + 16].try_into().unwrap();
        base.get().checked_add(at as u64) == Some(u64::from_le_bytes(word))
    };
    let places = rest.len().saturating_sub(16) / 8;
    let slow = (0..places).map(|place| place * 8).find(|at| at + 24 <= rest.len() && is_here(*at));
    assert_eq!(find_record_candidate(rest, base), slow);
    let mut last = None;
    for epoch in resolve_epoch(bits, from, to).take(3) {
        assert!(epoch >= from && epoch <= to && epoch.low_bits() == bits);
        assert!(last.is_none_or(|last| epoch > last));
        last = Some(epoch);
    }
}
