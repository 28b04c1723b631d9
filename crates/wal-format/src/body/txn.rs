//! Bodies of the records that mark the life of a transaction.
//!
//! Whose transaction it is stands in the transactional extension of the record, not in the body.
//! Commit is not end: a committed transaction without its end record still owes it one.

use crate::bytes::{put, u32_at, u64_at};
use crate::error::{DecodeError, EncodeError};
use crate::fields::{bad_length, exact, reserved_from, split_head, split_rest, stored_len, u8_at};
use crate::layout::{
    BEGIN_BYTES, BEGIN_FLAGS, BEGIN_ISOLATION, BEGIN_RESERVED, COMMIT_BYTES, COMMIT_TIMESTAMP,
    END_BYTES, END_OUTCOME, END_RESERVED, PREPARE_GLOBAL_ID_BYTES, PREPARE_HEAD_BYTES,
    PREPARE_RESERVED, PREPARE_ROLLBACK_BYTES,
};

/// The body of [`RecordKind::BEGIN`](crate::RecordKind::BEGIN).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// The engine's number for the isolation level; 0 is none. The log never interprets it.
    pub isolation: u8,
}

impl Begin {
    /// Bytes of the body.
    pub const BYTES: usize = BEGIN_BYTES;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; BEGIN_BYTES] {
        let mut body = [0; BEGIN_BYTES];
        put(&mut body, BEGIN_ISOLATION, &[self.isolation]);
        body
    }

    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`], [`DecodeError::UnknownFlags`] or [`DecodeError::NotZero`]: not
    /// such a body, or one of a newer version.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = exact::<BEGIN_BYTES>(body)?;
        let flags = u8_at(body, BEGIN_FLAGS);
        if flags != 0 {
            return Err(DecodeError::UnknownFlags { found: u32::from(flags) });
        }
        reserved_from(body, BEGIN_RESERVED)?;
        Ok(Self { isolation: u8_at(body, BEGIN_ISOLATION) })
    }
}

/// The body of [`RecordKind::COMMIT`](crate::RecordKind::COMMIT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The engine's commit timestamp, in whatever unit it uses; 0 is none.
    pub timestamp: u64,
}

impl Commit {
    /// Bytes of the body.
    pub const BYTES: usize = COMMIT_BYTES;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; COMMIT_BYTES] {
        let mut body = [0; COMMIT_BYTES];
        put(&mut body, COMMIT_TIMESTAMP, &self.timestamp.to_le_bytes());
        body
    }

    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`]: not such a body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = exact::<COMMIT_BYTES>(body)?;
        Ok(Self { timestamp: u64_at(body, COMMIT_TIMESTAMP) })
    }
}

/// The body of [`RecordKind::ABORT`](crate::RecordKind::ABORT): empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abort;

impl Abort {
    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`]: the body is not empty.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.is_empty() { Ok(Self) } else { Err(bad_length(body)) }
    }
}

/// The body of [`RecordKind::PREPARE`](crate::RecordKind::PREPARE).
///
/// From here on only the coordinator decides. After a crash the transaction is not undone, and
/// gets its locks back from this record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare<'a> {
    /// Bytes of log that its rollback may take: after a restart as many are reserved again.
    pub rollback_bytes: u64,
    /// The coordinator's name for the transaction; not empty.
    pub global_id: &'a [u8],
    /// What the engine needs to re-acquire the locks; opaque, may be empty.
    pub locks: &'a [u8],
}

impl<'a> Prepare<'a> {
    /// Bytes of the fixed head.
    pub const HEAD_BYTES: usize = PREPARE_HEAD_BYTES;

    /// The fixed head; [`parts`](Self::parts) puts the rest behind it.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BadField`]: the global id is empty, so nobody could resolve it.
    pub fn encode_head(&self) -> Result<[u8; PREPARE_HEAD_BYTES], EncodeError> {
        if self.global_id.is_empty() {
            return Err(EncodeError::BadField { field: "global_id" });
        }
        let mut head = [0; PREPARE_HEAD_BYTES];
        put(&mut head, PREPARE_ROLLBACK_BYTES, &self.rollback_bytes.to_le_bytes());
        put(&mut head, PREPARE_GLOBAL_ID_BYTES, &stored_len(self.global_id));
        Ok(head)
    }

    /// The body in parts, for [`RecordDraft`](crate::RecordDraft).
    #[must_use]
    pub const fn parts<'b>(&'b self, head: &'b [u8; PREPARE_HEAD_BYTES]) -> [&'b [u8]; 3] {
        [head, self.global_id, self.locks]
    }

    /// Reads the body; its byte strings are borrowed.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`], [`DecodeError::BadField`] or [`DecodeError::NotZero`]: not such
    /// a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, rest) = split_head::<PREPARE_HEAD_BYTES>(body)?;
        reserved_from(head, PREPARE_RESERVED)?;
        let (global_id, locks) = split_rest(rest, u32_at(head, PREPARE_GLOBAL_ID_BYTES))?;
        if global_id.is_empty() {
            return Err(DecodeError::BadField { field: "global_id_bytes" });
        }
        let rollback_bytes = u64_at(head, PREPARE_ROLLBACK_BYTES);
        Ok(Self { rollback_bytes, global_id, locks })
    }
}

/// How a transaction came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Its commit record is durable and all its work after the commit is done.
    Committed = 1,
    /// All its changes are compensated.
    RolledBack = 2,
}

/// The body of [`RecordKind::END`](crate::RecordKind::END): nothing is left to do for the
/// transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How it came to its end.
    pub outcome: Outcome,
}

impl End {
    /// Bytes of the body.
    pub const BYTES: usize = END_BYTES;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; END_BYTES] {
        let mut body = [0; END_BYTES];
        put(&mut body, END_OUTCOME, &[self.outcome as u8]);
        body
    }

    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`], [`DecodeError::BadField`] or [`DecodeError::NotZero`]: not such
    /// a body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = exact::<END_BYTES>(body)?;
        reserved_from(body, END_RESERVED)?;
        let outcome = match u8_at(body, END_OUTCOME) {
            1 => Outcome::Committed,
            2 => Outcome::RolledBack,
            _ => return Err(DecodeError::BadField { field: "outcome" }),
        };
        Ok(Self { outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_transaction_comes_back_as_it_was() {
        let begin = Begin { isolation: 3 };
        assert_eq!(Begin::decode(&begin.encode()), Ok(begin));
        let commit = Commit { timestamp: u64::MAX };
        assert_eq!(Commit::decode(&commit.encode()), Ok(commit));
        for outcome in [Outcome::Committed, Outcome::RolledBack] {
            assert_eq!(End::decode(&End { outcome }.encode()), Ok(End { outcome }));
        }
        assert_eq!(Abort::decode(b""), Ok(Abort));
    }

    #[test]
    fn a_prepared_transaction_keeps_its_global_id_and_its_locks() {
        let prepare =
            Prepare { rollback_bytes: 1 << 40, global_id: b"bank-7", locks: b"\x01row 17" };
        let head = prepare.encode_head().unwrap();
        assert_eq!(Prepare::decode(&prepare.parts(&head).concat()), Ok(prepare));
        let lockless = Prepare { locks: b"", ..prepare };
        assert_eq!(Prepare::decode(&lockless.parts(&head).concat()), Ok(lockless));
    }

    #[test]
    fn a_prepared_transaction_that_nobody_could_resolve_is_refused() {
        let nameless = Prepare { rollback_bytes: 0, global_id: b"", locks: b"lock" };
        assert_eq!(nameless.encode_head(), Err(EncodeError::BadField { field: "global_id" }));
        assert_eq!(
            Prepare::decode(&[0; 20]),
            Err(DecodeError::BadField { field: "global_id_bytes" })
        );
    }

    #[test]
    fn a_length_beyond_the_body_is_refused() {
        let mut body = [0; 20];
        put(&mut body, PREPARE_GLOBAL_ID_BYTES, &5_u32.to_le_bytes());
        assert_eq!(Prepare::decode(&body), Err(DecodeError::BadLength { found: 5 }));
        put(&mut body, PREPARE_GLOBAL_ID_BYTES, &u32::MAX.to_le_bytes());
        assert!(Prepare::decode(&body).is_err());
    }

    #[test]
    fn reserved_bytes_and_unknown_values_are_refused() {
        assert_eq!(
            Begin::decode(&[0, 1, 0, 0, 0, 0, 0, 0]),
            Err(DecodeError::UnknownFlags { found: 1 })
        );
        assert_eq!(Begin::decode(&[0, 0, 0, 0, 0, 0, 0, 1]), Err(DecodeError::NotZero));
        assert_eq!(End::decode(&[1, 0, 0, 0, 0, 0, 0, 1]), Err(DecodeError::NotZero));
        assert_eq!(End::decode(&[0; 8]), Err(DecodeError::BadField { field: "outcome" }));
        assert_eq!(
            End::decode(&[3, 0, 0, 0, 0, 0, 0, 0]),
            Err(DecodeError::BadField { field: "outcome" })
        );
    }
}
