//! Bodies of the records that mark the life of a transaction.
//!
//! Whose transaction it is stands in the transactional extension of the record, not in the body.

use crate::bytes::u64_at;
use crate::error::DecodeError;
use crate::fields::exact;

/// The body of [`RecordKind::COMMIT`](crate::RecordKind::COMMIT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The engine's commit timestamp, in whatever unit it uses; 0 is none.
    pub timestamp: u64,
}

impl Commit {
    /// Bytes of the body.
    pub const BYTES: usize = 8;

    /// The body.
    #[must_use]
    pub const fn encode(&self) -> [u8; Self::BYTES] {
        self.timestamp.to_le_bytes()
    }

    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`]: not such a body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let head = exact::<{ Self::BYTES }>(body)?;
        Ok(Self { timestamp: u64_at(head, 0) })
    }
}
