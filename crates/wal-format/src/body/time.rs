//! The body of [`RecordKind::TIME`](crate::RecordKind::TIME): what time it was.

use crate::bytes::{put, u64_at};
use crate::error::DecodeError;
use crate::fields::exact;
use crate::layout::{TIME_BYTES, TIME_UNIX_US};

/// The body of [`RecordKind::TIME`](crate::RecordKind::TIME).
///
/// A record behind it was appended at this time or later, by the clock of the log, which never
/// goes back. It is housekeeping: it belongs to no transaction and to no batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// When, in microseconds since the Unix epoch.
    pub unix_us: u64,
}

impl Time {
    /// Bytes of the body.
    pub const BYTES: usize = TIME_BYTES;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; TIME_BYTES] {
        let mut body = [0; TIME_BYTES];
        put(&mut body, TIME_UNIX_US, &self.unix_us.to_le_bytes());
        body
    }

    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`]: not such a body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = exact::<TIME_BYTES>(body)?;
        Ok(Self { unix_us: u64_at(body, TIME_UNIX_US) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_back_as_it_was() {
        for unix_us in [0, 1_700_000_000_000_002, u64::MAX] {
            assert_eq!(Time::decode(&Time { unix_us }.encode()), Ok(Time { unix_us }));
        }
    }

    #[test]
    fn a_time_of_another_length_is_refused() {
        assert_eq!(Time::decode(b""), Err(DecodeError::BadLength { found: 0 }));
        assert_eq!(Time::decode(&[0; 9]), Err(DecodeError::BadLength { found: 9 }));
    }
}
