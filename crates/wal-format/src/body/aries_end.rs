//! The payload of a checkpoint-end record in a log of ARIES.
//!
//! It is no body of its own: [`CheckpointEnd`](super::CheckpointEnd) carries it, and a redo-only
//! engine has other bytes in the same place. Which of the two it is follows from the strategy.

use crate::bytes::{put, u32_at, u64_at};
use crate::error::DecodeError;
use crate::fields::split_head;
use crate::layout::{
    ARIES_END_HEAD_BYTES, ARIES_END_NEXT_TXN_ID, ARIES_END_PARTS, ARIES_END_RESERVED,
};

/// What completes a fuzzy checkpoint, beside its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AriesEnd<'a> {
    /// How many [`CHECKPOINT_PART`](crate::RecordKind::CHECKPOINT_PART) records belong to the
    /// checkpoint; their indices count from 0.
    pub parts: u32,
    /// The lowest transaction identity that was never given out; at least 1. It outlives the
    /// records of the transactions before it, which may have been truncated.
    pub next_txn_id: u64,
    /// The engine's own bytes; opaque, may be empty.
    pub engine: &'a [u8],
}

impl<'a> AriesEnd<'a> {
    /// Bytes of the fixed head, before the engine's bytes.
    pub const HEAD_BYTES: usize = ARIES_END_HEAD_BYTES;

    /// The fixed head; [`parts`](Self::parts) puts the engine's bytes behind it.
    #[must_use]
    pub fn encode_head(&self) -> [u8; ARIES_END_HEAD_BYTES] {
        let mut head = [0; ARIES_END_HEAD_BYTES];
        put(&mut head, ARIES_END_PARTS, &self.parts.to_le_bytes());
        put(&mut head, ARIES_END_NEXT_TXN_ID, &self.next_txn_id.to_le_bytes());
        head
    }

    /// The payload in parts, for [`RecordDraft`](crate::RecordDraft): they follow the head of
    /// [`CheckpointEnd`](super::CheckpointEnd).
    #[must_use]
    pub const fn parts<'b>(&'b self, head: &'b [u8; ARIES_END_HEAD_BYTES]) -> [&'b [u8]; 2] {
        [head, self.engine]
    }

    /// Reads the payload of a [`CheckpointEnd`](super::CheckpointEnd); the engine's bytes are
    /// borrowed from it.
    ///
    /// # Errors
    ///
    /// - [`DecodeError::BadLength`]: shorter than the head.
    /// - [`DecodeError::NotZero`], [`DecodeError::BadField`]: not such a payload, such as that of
    ///   a redo-only engine.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, engine) = split_head::<ARIES_END_HEAD_BYTES>(payload)?;
        if u32_at(head, ARIES_END_RESERVED) != 0 {
            return Err(DecodeError::NotZero);
        }
        let next_txn_id = u64_at(head, ARIES_END_NEXT_TXN_ID);
        if next_txn_id == 0 {
            return Err(DecodeError::BadField { field: "next_txn_id" });
        }
        Ok(Self { parts: u32_at(head, ARIES_END_PARTS), next_txn_id, engine })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const END: AriesEnd<'_> = AriesEnd { parts: 3, next_txn_id: 18, engine: b"root page 4" };

    fn payload() -> Vec<u8> {
        END.parts(&END.encode_head()).concat()
    }

    #[test]
    fn a_payload_comes_back_as_it_was() {
        assert_eq!(AriesEnd::decode(&payload()), Ok(END));
        for end in [
            AriesEnd { parts: 0, next_txn_id: 1, engine: b"" },
            AriesEnd { parts: u32::MAX, next_txn_id: u64::MAX, engine: &[0xff; 100] },
        ] {
            assert_eq!(AriesEnd::decode(&end.parts(&end.encode_head()).concat()), Ok(end));
        }
    }

    #[test]
    fn every_truncation_of_its_head_is_refused() {
        for len in 0..AriesEnd::HEAD_BYTES {
            assert_eq!(
                AriesEnd::decode(&payload()[..len]),
                Err(DecodeError::BadLength { found: len as u64 })
            );
        }
    }

    #[test]
    fn every_bit_of_the_reserved_bytes_must_be_zero() {
        for bit in 0..32 {
            let mut bytes = payload();
            bytes[ARIES_END_RESERVED + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(AriesEnd::decode(&bytes), Err(DecodeError::NotZero));
        }
    }

    #[test]
    fn a_payload_that_would_give_out_no_transaction_is_refused() {
        let none = AriesEnd { next_txn_id: 0, ..END };
        assert_eq!(
            AriesEnd::decode(&none.encode_head()),
            Err(DecodeError::BadField { field: "next_txn_id" })
        );
    }
}
