//! Which record was appended when, for whoever reads a log from front to back.
//!
//! No record has a time of its own. Some tell what time it was ([`Body::unix_us`]), and those
//! behind them were appended no earlier. Pure; invariant: a time told never goes back.

use crate::body::Body;
use crate::decode::RecordRef;

/// Turns a stream of records into records with times.
///
/// A record was appended at the time it is given or later, and no later than the next time that the
/// log tells: with the option `timestamps` of the log on, about as far apart as it says. Without,
/// only openings and checkpoints tell the time.
///
/// ```
/// # use wal_format::{RecordRef, RecordTimes};
/// # fn show(records: Vec<RecordRef<'_>>) {
/// let mut times = RecordTimes::default();
/// for record in records {
///     match times.observe(&record) {
///         Some(unix_us) => println!("{} since {unix_us}", record.lsn()),
///         None => println!("{} before any time was told", record.lsn()),
///     }
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordTimes {
    unix_us: Option<u64>,
}

impl RecordTimes {
    /// Takes notice of the next record of the log; gives its time in microseconds since the Unix
    /// epoch, or `None` when no record up to here tells one.
    ///
    /// Show it every record, housekeeping included, in the order of the log. After a step back or
    /// over a part of the log, start with a new one.
    pub fn observe(&mut self, record: &RecordRef<'_>) -> Option<u64> {
        let kind = record.kind();
        if !kind.is_engine()
            && let Ok(Some(body)) = Body::decode(kind, record.body)
        {
            self.unix_us = self.unix_us.max(body.unix_us());
        }
        self.unix_us
    }

    /// The time of the last record shown.
    #[must_use]
    pub const fn unix_us(&self) -> Option<u64> {
        self.unix_us
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::body::{CheckpointBegin, Opened, Time};
    use crate::crc::RecordSeed;
    use crate::decode::decode_record;
    use crate::encode::RecordDraft;
    use crate::ids::{Epoch, LogId};
    use crate::kind::RecordKind;
    use crate::lsn::Lsn;

    fn seen(times: &mut RecordTimes, kind: RecordKind, body: &[u8]) -> Option<u64> {
        let seed = RecordSeed::new(LogId::from_bytes([3; 16]), Epoch::FIRST);
        let parts = [body];
        let draft = RecordDraft::new(kind, &parts);
        let mut bytes = vec![0; draft.encoded_bytes()];
        draft.encode_into(&seed, Lsn::FIRST, None, &mut bytes).unwrap();
        times.observe(&decode_record(&bytes, Lsn::FIRST, &seed).unwrap())
    }

    fn time(unix_us: u64) -> [u8; Time::BYTES] {
        Time { unix_us }.encode()
    }

    #[test]
    fn a_record_has_the_time_of_the_last_mark_before_it() {
        let mut times = RecordTimes::default();
        assert_eq!(seen(&mut times, RecordKind::DATA, b"early"), None);
        assert_eq!(seen(&mut times, RecordKind::TIME, &time(5)), Some(5));
        assert_eq!(seen(&mut times, RecordKind::DATA, b"late"), Some(5));
        assert_eq!(seen(&mut times, RecordKind::TIME, &time(7)), Some(7));
        assert_eq!(times.unix_us(), Some(7));
    }

    #[test]
    fn openings_and_checkpoints_tell_the_time_as_well() {
        let mut times = RecordTimes::default();
        let opened =
            Opened { epoch: Epoch::FIRST, previous_end: Lsn::FIRST, opened_unix_us: 3 }.encode();
        assert_eq!(seen(&mut times, RecordKind::OPENED, &opened), Some(3));
        let begun = CheckpointBegin { begun_unix_us: 4 }.encode();
        assert_eq!(seen(&mut times, RecordKind::CHECKPOINT_BEGIN, &begun), Some(4));
    }

    #[test]
    fn a_time_that_goes_back_is_not_believed() {
        let mut times = RecordTimes::default();
        assert_eq!(seen(&mut times, RecordKind::TIME, &time(5)), Some(5));
        assert_eq!(seen(&mut times, RecordKind::TIME, &time(4)), Some(5));
    }

    #[test]
    fn an_engines_body_is_no_time() {
        let mut times = RecordTimes::default();
        assert_eq!(seen(&mut times, RecordKind::DATA, &time(5)), None);
        assert_eq!(seen(&mut times, RecordKind::TIME, b"no time"), None, "nor is nonsense");
    }
}
