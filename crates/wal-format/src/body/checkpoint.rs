//! Bodies that begin and complete a checkpoint; its tables are in `checkpoint_part.rs`.

use crate::bytes::{put, u64_at};
use crate::error::DecodeError;
use crate::fields::{address_at, exact, split_head};
use crate::layout::{
    CHECKPOINT_BEGIN_BYTES, CHECKPOINT_BEGIN_UNIX_US, CHECKPOINT_END_BEGIN,
    CHECKPOINT_END_HEAD_BYTES, CHECKPOINT_END_REDO_FROM,
};
use crate::lsn::Lsn;

/// The body of [`RecordKind::CHECKPOINT_BEGIN`](crate::RecordKind::CHECKPOINT_BEGIN).
///
/// Analysis starts at this record. A begin without an end counts for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointBegin {
    /// When, in microseconds since the Unix epoch; information only.
    pub begun_unix_us: u64,
}

impl CheckpointBegin {
    /// Bytes of the body.
    pub const BYTES: usize = CHECKPOINT_BEGIN_BYTES;

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; CHECKPOINT_BEGIN_BYTES] {
        let mut body = [0; CHECKPOINT_BEGIN_BYTES];
        put(&mut body, CHECKPOINT_BEGIN_UNIX_US, &self.begun_unix_us.to_le_bytes());
        body
    }

    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`]: not such a body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = exact::<CHECKPOINT_BEGIN_BYTES>(body)?;
        Ok(Self { begun_unix_us: u64_at(body, CHECKPOINT_BEGIN_UNIX_US) })
    }
}

/// The body of [`RecordKind::CHECKPOINT_END`](crate::RecordKind::CHECKPOINT_END): the checkpoint
/// is complete (rule 3).
///
/// It counts once the control file names it, which happens only after it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointEnd<'a> {
    /// The checkpoint's begin: its payload reflects what committed before this address.
    pub begin: Lsn,
    /// Replay scans from here; never after `begin`.
    pub redo_from: Lsn,
    /// The engine's own snapshot, or where it is; opaque.
    pub payload: &'a [u8],
}

impl<'a> CheckpointEnd<'a> {
    /// Bytes of the fixed head, before the payload.
    pub const HEAD_BYTES: usize = CHECKPOINT_END_HEAD_BYTES;

    /// The fixed head; [`parts`](Self::parts) puts the payload behind it.
    #[must_use]
    pub fn encode_head(&self) -> [u8; CHECKPOINT_END_HEAD_BYTES] {
        let mut head = [0; CHECKPOINT_END_HEAD_BYTES];
        put(&mut head, CHECKPOINT_END_BEGIN, &self.begin.get().to_le_bytes());
        put(&mut head, CHECKPOINT_END_REDO_FROM, &self.redo_from.get().to_le_bytes());
        head
    }

    /// The body in parts, for [`RecordDraft`](crate::RecordDraft).
    #[must_use]
    pub const fn parts<'b>(&'b self, head: &'b [u8; CHECKPOINT_END_HEAD_BYTES]) -> [&'b [u8]; 2] {
        [head, self.payload]
    }

    /// Reads the body; the payload is borrowed from it.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`] or [`DecodeError::BadField`]: not such a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, payload) = split_head::<CHECKPOINT_END_HEAD_BYTES>(body)?;
        let begin = address_at(head, CHECKPOINT_END_BEGIN, "begin")?;
        let redo_from = address_at(head, CHECKPOINT_END_REDO_FROM, "redo_from")?;
        if redo_from > begin {
            return Err(DecodeError::BadField { field: "redo_from" });
        }
        Ok(Self { begin, redo_from, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_and_end_come_back_as_they_were() {
        let begun = CheckpointBegin { begun_unix_us: 1_700_000_000_000_000 };
        assert_eq!(CheckpointBegin::decode(&begun.encode()), Ok(begun));
        let begin = Lsn::new(8192).unwrap();
        let end = CheckpointEnd { begin, redo_from: Lsn::FIRST, payload: b"snapshot 7" };
        assert_eq!(CheckpointEnd::decode(&end.parts(&end.encode_head()).concat()), Ok(end));
    }

    #[test]
    fn replay_cannot_begin_after_the_checkpoint() {
        let late = Lsn::new(8192).unwrap();
        let end = CheckpointEnd { begin: Lsn::FIRST, redo_from: late, payload: b"" };
        assert_eq!(
            CheckpointEnd::decode(&end.encode_head()),
            Err(DecodeError::BadField { field: "redo_from" })
        );
    }

    #[test]
    fn replay_cannot_begin_before_the_first_address() {
        let end = CheckpointEnd { begin: Lsn::FIRST, redo_from: Lsn::NONE, payload: b"" };
        assert_eq!(
            CheckpointEnd::decode(&end.encode_head()),
            Err(DecodeError::BadField { field: "redo_from" })
        );
    }
}
