//! The body of [`RecordKind::OPENED`](crate::RecordKind::OPENED).

use crate::bytes::{put, u64_at};
use crate::error::DecodeError;
use crate::ids::Epoch;
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
    pub const BYTES: usize = 24;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut body = [0; Self::BYTES];
        put(&mut body, 0, &self.epoch.get().to_le_bytes());
        put(&mut body, 8, &self.previous_end.get().to_le_bytes());
        put(&mut body, 16, &self.opened_unix_us.to_le_bytes());
        body
    }

    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`] or [`DecodeError::BadField`]: not such a body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.len() != Self::BYTES {
            return Err(DecodeError::BadLength { found: body.len() as u64 });
        }
        let epoch = Epoch::new(u64_at(body, 0));
        if epoch == Epoch::NONE {
            return Err(DecodeError::BadField { field: "epoch" });
        }
        let previous_end =
            Lsn::new(u64_at(body, 8)).ok_or(DecodeError::BadField { field: "previous_end" })?;
        Ok(Self { epoch, previous_end, opened_unix_us: u64_at(body, 16) })
    }
}
