//! The body of [`RecordKind::OPENED`](crate::RecordKind::OPENED).

use crate::bytes::{put, u64_at};
use crate::error::DecodeError;
use crate::fields::{exact, lsn_at};
use crate::ids::Epoch;
use crate::layout::{OPENED_BYTES, OPENED_EPOCH, OPENED_PREVIOUS_END, OPENED_UNIX_US};
use crate::lsn::Lsn;

/// First record of an opening (rule 7).
///
/// It voids every batch and every redo-only transaction which is unfinished before it, and
/// delimits transaction identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The full epoch of this opening.
    pub epoch: Epoch,
    /// Where the log ended before it.
    pub previous_end: Lsn,
    /// When, in microseconds since the Unix epoch; information only.
    pub opened_unix_us: u64,
}

impl Opened {
    /// Bytes of the body.
    pub const BYTES: usize = OPENED_BYTES;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; OPENED_BYTES] {
        let mut body = [0; OPENED_BYTES];
        put(&mut body, OPENED_EPOCH, &self.epoch.get().to_le_bytes());
        put(&mut body, OPENED_PREVIOUS_END, &self.previous_end.get().to_le_bytes());
        put(&mut body, OPENED_UNIX_US, &self.opened_unix_us.to_le_bytes());
        body
    }

    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`] or [`DecodeError::BadField`]: not such a body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = exact::<OPENED_BYTES>(body)?;
        let epoch = Epoch::new(u64_at(body, OPENED_EPOCH));
        if epoch == Epoch::NONE {
            return Err(DecodeError::BadField { field: "epoch" });
        }
        let previous_end = lsn_at(body, OPENED_PREVIOUS_END, "previous_end")?;
        Ok(Self { epoch, previous_end, opened_unix_us: u64_at(body, OPENED_UNIX_US) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r07_an_opening_names_its_full_epoch_and_the_previous_end() {
        let epoch = Epoch::new(3 + (1 << 40));
        for previous_end in [Lsn::NONE, Lsn::FIRST, Lsn::MAX] {
            let opened = Opened { epoch, previous_end, opened_unix_us: 17 };
            assert_eq!(Opened::decode(&opened.encode()), Ok(opened));
        }
    }

    #[test]
    fn an_opening_without_an_epoch_is_refused() {
        assert_eq!(Opened::decode(&[0; 24]), Err(DecodeError::BadField { field: "epoch" }));
        assert_eq!(Opened::decode(&[1; 23]), Err(DecodeError::BadLength { found: 23 }));
    }
}
