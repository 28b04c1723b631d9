//! The logical operations on a leaf: what is logged of them, and what takes them back.
//!
//! | number | operation | redo       | undo           | taken back by       |
//! |-------:|-----------|------------|----------------|---------------------|
//! |      1 | insert    | key, value | key            | delete              |
//! |      2 | delete    | key        | key, old value | insert              |
//! |      3 | replace   | key, value | key, old value | replace             |
//!
//! Redo is page-oriented: it names one leaf, and depends on nothing but its bytes (a05). Undo is
//! logical: it knows the key alone, for the leaf may have been split or removed since.

use crate::error::Error;
use crate::node::{self, Node};
use crate::page::{Page, PageFault};

const INSERT: u32 = 1;
const DELETE: u32 = 2;
const REPLACE: u32 = 3;

/// A change of one entry of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    /// The key was not there.
    Insert { key: &'a [u8], value: &'a [u8] },
    /// It was.
    Delete { key: &'a [u8] },
    /// It was, with another value.
    Replace { key: &'a [u8], value: &'a [u8] },
}

impl<'a> Op<'a> {
    /// The number under which it is logged.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Insert { .. } => INSERT,
            Self::Delete { .. } => DELETE,
            Self::Replace { .. } => REPLACE,
        }
    }

    /// The key of the entry.
    pub(crate) const fn key(self) -> &'a [u8] {
        match self {
            Self::Insert { key, .. } | Self::Delete { key } | Self::Replace { key, .. } => key,
        }
    }

    /// What is logged to do it again.
    pub(crate) fn redo(self) -> Vec<u8> {
        match self {
            Self::Insert { key, value } | Self::Replace { key, value } => encode(key, value),
            Self::Delete { key } => encode(key, &[]),
        }
    }

    /// What is logged to take it back; `old` is the value that the key had.
    pub(crate) fn undo(self, old: &[u8]) -> Vec<u8> {
        encode(self.key(), old)
    }

    /// Reads what [`redo`](Self::redo) wrote.
    pub(crate) fn decode(number: u32, redo: &'a [u8]) -> Result<Self, Error> {
        let (key, value) = decode(redo).ok_or(Error::BadOperation { number })?;
        match number {
            INSERT => Ok(Self::Insert { key, value }),
            DELETE => Ok(Self::Delete { key }),
            REPLACE => Ok(Self::Replace { key, value }),
            _ => Err(Error::BadOperation { number }),
        }
    }

    /// What takes back the operation of this number, of which `undo` was logged.
    pub(crate) fn inverse(number: u32, undo: &'a [u8]) -> Result<Self, Error> {
        let (key, old) = decode(undo).ok_or(Error::BadOperation { number })?;
        match number {
            INSERT => Ok(Self::Delete { key }),
            DELETE => Ok(Self::Insert { key, value: old }),
            REPLACE => Ok(Self::Replace { key, value: old }),
            _ => Err(Error::BadOperation { number }),
        }
    }

    /// Whether a leaf has room for it.
    pub(crate) fn fits(self, leaf: Node<'_>) -> Result<bool, PageFault> {
        Ok(match self {
            Self::Insert { key, value } => leaf.fits(key.len(), value.len()),
            Self::Delete { .. } => true,
            Self::Replace { key, value } => {
                let old = leaf.get(key)?.map_or(0, <[u8]>::len);
                leaf.free() + old >= value.len()
            }
        })
    }

    /// Does it, on a leaf that has room for it.
    ///
    /// # Errors
    ///
    /// [`PageFault::Damaged`]: the key is there and should not be, or the other way round.
    pub(crate) fn apply(self, leaf: &mut Page) -> Result<(), PageFault> {
        match self {
            Self::Insert { key, value } => node::insert(leaf, key, value),
            Self::Delete { key } => node::remove(leaf, key),
            Self::Replace { key, value } => {
                node::remove(leaf, key)?;
                node::insert(leaf, key, value)
            }
        }
    }
}

/// Key bytes (2), key, value.
pub(crate) fn encode(key: &[u8], value: &[u8]) -> Vec<u8> {
    let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX);
    [&key_bytes.to_le_bytes(), key, value].concat()
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key_bytes, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*key_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSERTED: Op<'_> = Op::Insert { key: b"key", value: b"value" };

    #[test]
    fn a_logged_operation_comes_back() {
        for op in [INSERTED, Op::Delete { key: b"key" }, Op::Replace { key: b"k", value: b"" }] {
            assert_eq!(Op::decode(op.number(), &op.redo()).unwrap(), op);
        }
    }

    #[test]
    fn a05_what_is_logged_for_undo_takes_each_operation_back() {
        let mut leaf = Page::zeroed(512);
        INSERTED.apply(&mut leaf).unwrap();
        let changes = [
            (Op::Insert { key: b"more", value: b"m" }, &b""[..]),
            (Op::Delete { key: b"key" }, b"value"),
            (Op::Replace { key: b"key", value: b"a longer one" }, b"value"),
        ];
        for (op, old) in changes {
            let mut changed = leaf.clone();
            op.apply(&mut changed).unwrap();
            Op::inverse(op.number(), &op.undo(old)).unwrap().apply(&mut changed).unwrap();
            assert_eq!(Node::of(&changed).entries(), Node::of(&leaf).entries(), "{op:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_operation_are_refused() {
        assert!(matches!(Op::decode(1, &[]), Err(Error::BadOperation { number: 1 })));
        assert!(matches!(Op::decode(1, &[9, 0, 1]), Err(Error::BadOperation { number: 1 })));
        let redo = INSERTED.redo();
        assert!(matches!(Op::decode(4, &redo), Err(Error::BadOperation { number: 4 })));
        assert!(matches!(Op::inverse(0, &redo), Err(Error::BadOperation { number: 0 })));
    }

    #[test]
    fn a_value_that_grows_needs_room_for_what_it_grows_by() {
        let mut leaf = Page::zeroed(512);
        for key in 0..4_u8 {
            node::insert(&mut leaf, &[key], &[key; 100]).unwrap();
        }
        let node = Node::of(&leaf);
        let grown = vec![7; 100 + node.free()];
        assert!(Op::Replace { key: &[1], value: &grown }.fits(node).unwrap());
        let larger = vec![7; grown.len() + 1];
        assert!(!Op::Replace { key: &[1], value: &larger }.fits(node).unwrap());
        Op::Replace { key: &[1], value: &grown }.apply(&mut leaf).unwrap();
        assert_eq!(Node::of(&leaf).check(), Ok(()));
    }
}
