//! Handing out records while a log is being judged: each once, in order, however often a writer
//! at work makes the judge begin again.
//!
//! What an attempt finds is compared with what was handed out before. Where the two do not fit,
//! the records between are nobody's, and the reading ends with an error.

use std::convert::Infallible;
use std::ops::ControlFlow;

use wal_format::{Lsn, RecordRef};

use crate::error::RecoveryError;

/// Who is shown the records of an examination.
pub(crate) trait Visit {
    /// What it breaks off with.
    type Break;

    /// The log is read from its head, perhaps again.
    fn begin(&mut self);

    /// The next record.
    fn meet(&mut self, record: &RecordRef<'_>) -> Result<ControlFlow<Self::Break>, RecoveryError>;

    /// The scan stopped at `end`.
    fn finish(&mut self, end: Lsn) -> Result<(), RecoveryError>;
}

/// Nobody is shown anything.
pub(crate) struct Nobody;

impl Visit for Nobody {
    type Break = Infallible;

    fn begin(&mut self) {}

    #[inline]
    fn meet(&mut self, _: &RecordRef<'_>) -> Result<ControlFlow<Infallible>, RecoveryError> {
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, _: Lsn) -> Result<(), RecoveryError> {
        Ok(())
    }
}

/// Each record is shown to `visit`, once.
pub(crate) struct Handing<V> {
    visit: V,
    /// End of the last record handed out.
    handed: Option<Lsn>,
    /// This attempt has come to that end.
    reached: bool,
}

impl<V> Handing<V> {
    pub(crate) const fn new(visit: V) -> Self {
        Self { visit, handed: None, reached: true }
    }
}

impl<B, V: FnMut(&RecordRef<'_>) -> ControlFlow<B>> Visit for Handing<V> {
    type Break = B;

    fn begin(&mut self) {
        self.reached = self.handed.is_none();
    }

    #[inline]
    fn meet(&mut self, record: &RecordRef<'_>) -> Result<ControlFlow<B>, RecoveryError> {
        let (start, end) = (record.lsn(), record.end());
        if !self.reached
            && let Some(handed) = self.handed
        {
            if end <= handed {
                self.reached = end == handed;
                return Ok(ControlFlow::Continue(()));
            }
            if start != handed {
                return Err(RecoveryError::Changed { lsn: handed });
            }
            self.reached = true;
        }
        self.handed = Some(end);
        Ok((self.visit)(record))
    }

    fn finish(&mut self, end: Lsn) -> Result<(), RecoveryError> {
        match self.handed {
            Some(handed) if !self.reached && end != handed => {
                Err(RecoveryError::Changed { lsn: handed })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::{Epoch, LogId, RecordDraft, RecordKind, RecordSeed, decode_record};

    fn lsn(n: u64) -> Lsn {
        Lsn::FIRST.checked_add(n * 32).unwrap()
    }

    /// Shows the records `numbers`, of 32 bytes each, as one attempt; returns those handed out.
    fn attempt(
        handing: &mut Handing<impl FnMut(&RecordRef<'_>) -> ControlFlow<()>>,
        numbers: impl IntoIterator<Item = u64>,
        end: u64,
    ) -> Result<(), RecoveryError> {
        handing.begin();
        let seed = RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST);
        for number in numbers {
            let draft = RecordDraft::new(RecordKind::DATA, &[b"8 bytes."]);
            let mut bytes = vec![0; draft.encoded_bytes()];
            draft.encode_into(&seed, lsn(number), None, &mut bytes).unwrap();
            let record = decode_record(&bytes, lsn(number), &seed).unwrap();
            assert_eq!(handing.meet(&record)?, ControlFlow::Continue(()));
        }
        handing.finish(lsn(end))
    }

    #[test]
    fn records_met_again_are_not_handed_out_again() {
        let mut seen = Vec::new();
        let mut handing = Handing::new(|record: &RecordRef<'_>| {
            seen.push(record.lsn());
            ControlFlow::Continue(())
        });
        attempt(&mut handing, 0..3, 3).unwrap();
        attempt(&mut handing, 1..3, 3).unwrap();
        attempt(&mut handing, 3..5, 5).unwrap();
        attempt(&mut handing, 2..6, 6).unwrap();
        attempt(&mut handing, [4, 5, 9], 10).unwrap();
        attempt(&mut handing, [], 10).unwrap();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 9].map(lsn));
    }

    #[test]
    fn a_log_that_lost_what_was_handed_out_is_an_error() {
        for (numbers, end) in [(vec![0, 1], 2), (vec![0, 5], 6), (vec![4, 5], 6), (vec![], 9)] {
            let mut handing = Handing::new(|_: &RecordRef<'_>| ControlFlow::Continue(()));
            attempt(&mut handing, 0..3, 3).unwrap();
            let found = attempt(&mut handing, numbers.clone(), end);
            let changed = matches!(found, Err(RecoveryError::Changed { lsn: at }) if at == lsn(3));
            assert!(changed, "{numbers:?}: {found:?}");
        }
    }
}
