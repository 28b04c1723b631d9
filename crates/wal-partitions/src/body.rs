//! The bytes of the two records that this layer writes. All numbers are little-endian.
//!
//! ```text
//! part  0  version 1 | 1 zero | 2 participants u16 | 4 members u32 | 8 batch id | 40 own u16
//!       | 42 participants, u16 each, ascending, the own one among them
//! note  0  version 1 | 1 outcome u8: 1 committed, 2 aborted | 2 zero, six bytes | 8 batch id
//! id    0  log id, 16 bytes | 16 epoch u64 | 24 number u64
//! ```
//!
//! The members of a part follow its head within the same atomic batch of the log. Checksums are the
//! log's. Nothing is allocated for a count before the bytes that it counts are there.

use wal::{Epoch, LogId};

use crate::id::{BatchId, Outcome, PARTITIONS_MAX};

const VERSION: u8 = 1;
const ID_BYTES: usize = 32;
const PART_FIXED_BYTES: usize = 42;
pub(crate) const NOTE_BYTES: usize = 40;

/// Head of one participant's part of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartHead {
    pub(crate) id: BatchId,
    /// Records of the part, behind its head.
    pub(crate) members: u32,
    /// The partition that this part lies in.
    pub(crate) own: usize,
    /// All participants, ascending; two at least.
    pub(crate) participants: Vec<usize>,
}

/// What became of a batch, as a participant's log keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) id: BatchId,
    pub(crate) outcome: Outcome,
}

impl PartHead {
    pub(crate) const fn encoded_bytes(participants: usize) -> usize {
        PART_FIXED_BYTES + 2 * participants
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::encoded_bytes(self.participants.len()));
        bytes.extend([VERSION, 0]);
        bytes.extend(short(self.participants.len()));
        bytes.extend(self.members.to_le_bytes());
        bytes.extend(encode_id(self.id));
        bytes.extend(short(self.own));
        bytes.extend(self.participants.iter().flat_map(|index| short(*index)));
        bytes
    }

    /// The head in `body`, or which rule its bytes break.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, &'static str> {
        let (fixed, rest) =
            body.split_first_chunk::<PART_FIXED_BYTES>().ok_or("it is too short")?;
        if fixed[..2] != [VERSION, 0] {
            return Err("its version is not known");
        }
        let count = usize::from(u16::from_le_bytes([fixed[2], fixed[3]]));
        let (pairs, odd) = rest.as_chunks::<2>();
        if pairs.len() != count || !odd.is_empty() {
            return Err("its length is not that of its participants");
        }
        let members = u32::from_le_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let id = decode_id(&fixed[8..]).ok_or("it is too short")?;
        let own = usize::from(u16::from_le_bytes([fixed[40], fixed[41]]));
        let participants: Vec<usize> =
            pairs.iter().map(|pair| usize::from(u16::from_le_bytes(*pair))).collect();
        if participants.len() < 2 || !participants.is_sorted_by(|one, next| one < next) {
            return Err("its participants are not two or more, ascending");
        }
        if !participants.contains(&own) || participants.iter().any(|at| *at >= PARTITIONS_MAX) {
            return Err("its own partition is not among its participants");
        }
        if members == 0 {
            return Err("it has no members");
        }
        Ok(Self { id, members, own, participants })
    }
}

impl Note {
    pub(crate) fn encode(&self) -> [u8; NOTE_BYTES] {
        let outcome = match self.outcome {
            Outcome::Committed => 1,
            Outcome::Aborted => 2,
        };
        let mut bytes = [0; NOTE_BYTES];
        bytes[..2].copy_from_slice(&[VERSION, outcome]);
        bytes[8..].copy_from_slice(&encode_id(self.id));
        bytes
    }

    /// The note in `body`, or which rule its bytes break.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, &'static str> {
        let bytes: &[u8; NOTE_BYTES] = body.try_into().map_err(|_| "its length is not 40")?;
        let outcome = match bytes[..8] {
            [VERSION, 1, 0, 0, 0, 0, 0, 0] => Outcome::Committed,
            [VERSION, 2, 0, 0, 0, 0, 0, 0] => Outcome::Aborted,
            [VERSION, ..] => return Err("its outcome is none"),
            _ => return Err("its version is not known"),
        };
        let id = decode_id(&bytes[8..]).ok_or("it is too short")?;
        Ok(Self { id, outcome })
    }
}

/// Indices are below `PARTITIONS_MAX`, and counts at most that.
fn short(index: usize) -> [u8; 2] {
    u16::try_from(index).unwrap_or(u16::MAX).to_le_bytes()
}

fn encode_id(id: BatchId) -> [u8; ID_BYTES] {
    let mut bytes = [0; ID_BYTES];
    bytes[..16].copy_from_slice(id.log.as_bytes());
    bytes[16..24].copy_from_slice(&id.epoch.get().to_le_bytes());
    bytes[24..].copy_from_slice(&id.number.to_le_bytes());
    bytes
}

fn decode_id(bytes: &[u8]) -> Option<BatchId> {
    let (log, rest) = bytes.split_first_chunk::<16>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let number = rest.first_chunk::<8>()?;
    Some(BatchId {
        log: LogId::from_bytes(*log),
        epoch: Epoch::new(u64::from_le_bytes(*epoch)),
        number: u64::from_le_bytes(*number),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> BatchId {
        BatchId { log: LogId::from_bytes([7; 16]), epoch: Epoch::new(3), number }
    }

    #[test]
    fn heads_and_notes_come_back_as_they_were() {
        let head = PartHead { id: id(9), members: 4, own: 300, participants: vec![0, 2, 300] };
        assert_eq!(head.encode().len(), PartHead::encoded_bytes(3));
        assert_eq!(PartHead::decode(&head.encode()), Ok(head));
        for outcome in [Outcome::Committed, Outcome::Aborted] {
            let note = Note { id: id(u64::MAX), outcome };
            assert_eq!(Note::decode(&note.encode()), Ok(note));
        }
    }

    #[test]
    fn heads_that_contradict_themselves_are_refused() {
        let sound = PartHead { id: id(9), members: 4, own: 2, participants: vec![0, 2] };
        let refused = |head: PartHead| PartHead::decode(&head.encode()).unwrap_err();
        assert!(refused(PartHead { own: 1, ..sound.clone() }).contains("own"));
        assert!(refused(PartHead { members: 0, ..sound.clone() }).contains("members"));
        assert!(refused(PartHead { participants: vec![2, 0], ..sound.clone() }).contains("ascend"));
        assert!(refused(PartHead { participants: vec![2], ..sound.clone() }).contains("two"));
        assert!(refused(PartHead { participants: vec![2, 2], ..sound.clone() }).contains("ascend"));
        let mut long = sound.encode();
        long.push(0);
        assert!(PartHead::decode(&long).unwrap_err().contains("length"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused_and_what_is_decoded_encodes_alike(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            if let Ok(head) = PartHead::decode(&bytes) {
                prop_assert_eq!(head.encode(), bytes.clone());
            }
            if let Ok(note) = Note::decode(&bytes) {
                prop_assert_eq!(note.encode().to_vec(), bytes);
            }
        }
    }
}
