//! Bodies that begin and complete a checkpoint.

use crate::bytes::put;
use crate::error::DecodeError;
use crate::fields::{address_at, split_head};
use crate::layout::CHECKPOINT_END_HEAD_BYTES;
use crate::lsn::Lsn;

/// The body of [`RecordKind::CHECKPOINT_END`](crate::RecordKind::CHECKPOINT_END): the checkpoint
/// is complete (rule 3).
///
/// A begin without such an end counts for nothing. The record counts once the control file names
/// it, which happens only after it is durable.
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

    /// The fixed head; the payload follows it as a part of its own.
    #[must_use]
    pub fn encode_head(&self) -> [u8; CHECKPOINT_END_HEAD_BYTES] {
        let mut head = [0; Self::HEAD_BYTES];
        put(&mut head, 0, &self.begin.get().to_le_bytes());
        put(&mut head, 8, &self.redo_from.get().to_le_bytes());
        head
    }

    /// The parts of the body, for [`RecordDraft`](crate::RecordDraft).
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
        let begin = address_at(head, 0, "begin")?;
        let redo_from = address_at(head, 8, "redo_from")?;
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
    fn a_checkpoint_end_comes_back_as_it_was() {
        let begin = Lsn::new(8192).unwrap();
        let end = CheckpointEnd { begin, redo_from: Lsn::FIRST, payload: b"snapshot 7" };
        let body = end.parts(&end.encode_head()).concat();
        assert_eq!(CheckpointEnd::decode(&body), Ok(end));
    }

    #[test]
    fn replay_cannot_begin_after_the_checkpoint() {
        let late = Lsn::new(8192).unwrap();
        let end = CheckpointEnd { begin: Lsn::FIRST, redo_from: late, payload: b"" };
        let body = end.encode_head();
        assert_eq!(CheckpointEnd::decode(&body), Err(DecodeError::BadField { field: "redo_from" }));
    }
}
