//! Which epoch a record is of, when the reader comes to it from nowhere.
//!
//! A scan follows the epoch in force with [`EpochTracker`]. Who starts in the middle of a segment,
//! or behind a place that cannot be read, tries the epochs which the low bits in the header may
//! stand for: the checksum, seeded from the full epoch, decides (rules 9 and 17).

use wal_format::{
    DecodeError, Epoch, EpochTracker, LogId, Lsn, RecordRef, RecordSeed, decode_header_at,
    decode_record, resolve_epoch,
};

/// At most this many epochs are tried: 67 million openings of one log.
const CANDIDATES_MAX: usize = 1024;

/// Reads the record at `lsn` under whatever epoch from `lowest` to `highest` proves it.
///
/// When the control file is lost, `highest` may be too low; the lowest epoch with the right bits
/// is tried in any case, and so is the one in the body of an opened record.
pub(crate) fn decode_under_any<'a>(
    bytes: &'a [u8],
    lsn: Lsn,
    log_id: LogId,
    lowest: Epoch,
    highest: Epoch,
) -> Result<RecordRef<'a>, DecodeError> {
    let header = decode_header_at(bytes, lsn)?;
    let once_around = Epoch::new(lowest.get().saturating_add(u64::from(u16::MAX)));
    let candidates = resolve_epoch(header.epoch_bits, lowest, highest.max(once_around));
    let mut refusal = DecodeError::WrongEpoch { found: header.epoch_bits };
    for epoch in candidates.take(CANDIDATES_MAX) {
        match decode_record(bytes, lsn, &RecordSeed::new(log_id, epoch)) {
            Err(error @ DecodeError::BadChecksum { .. }) => refusal = error,
            decided => return decided,
        }
    }
    let opened = EpochTracker::new(log_id, lowest).decode(bytes, lsn);
    opened.map(|tracked| tracked.record).map_err(|_| refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::body::Opened;
    use wal_format::{RecordDraft, RecordKind};

    const LOG: LogId = LogId::from_bytes([4; 16]);

    fn record(kind: RecordKind, body: &[u8], epoch: u64) -> Vec<u8> {
        let parts = [body];
        let draft = RecordDraft::new(kind, &parts);
        let mut out = vec![0; draft.encoded_bytes()];
        let seed = RecordSeed::new(LOG, Epoch::new(epoch));
        draft.encode_into(&seed, Lsn::FIRST, None, &mut out).unwrap();
        out
    }

    fn read(bytes: &[u8], lowest: u64, highest: u64) -> Result<u64, DecodeError> {
        decode_under_any(bytes, Lsn::FIRST, LOG, Epoch::new(lowest), Epoch::new(highest))
            .map(|record| record.epoch.get())
    }

    const FAR: u64 = 6 + 2 * 65_536;

    #[test]
    fn r17_reading_in_the_middle_finds_the_full_epoch_by_its_checksum() {
        let bytes = record(RecordKind::DATA, b"data", FAR);
        assert_eq!(read(&bytes, 1, FAR), Ok(FAR));
        assert_eq!(read(&bytes, FAR, FAR), Ok(FAR));
        assert!(matches!(read(&bytes, 1, 6), Err(DecodeError::BadChecksum { .. })));
        assert!(matches!(read(&bytes, FAR + 1, FAR + 9), Err(DecodeError::BadChecksum { .. })));
    }

    #[test]
    fn an_epoch_that_no_file_names_is_found_when_the_control_file_is_lost() {
        // One opening after the segment was made: the bits are enough.
        assert_eq!(read(&record(RecordKind::DATA, b"data", 7), 6, 6), Ok(7));
        // Far more: the opened record names its own.
        let opened = Opened { epoch: Epoch::new(FAR), previous_end: Lsn::FIRST, opened_unix_us: 0 };
        assert_eq!(read(&record(RecordKind::OPENED, &opened.encode(), FAR), 1, 1), Ok(FAR));
    }
}
