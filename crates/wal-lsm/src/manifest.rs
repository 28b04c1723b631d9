//! The manifest, payload of a checkpoint: which files hold the data.
//!
//! ```text
//! version u8 | live count u32 | (number u64, bytes u64) each, newest first | kept count u32 | each
//! ```
//!
//! *Kept* are the files of the checkpoint before, which the log may still fall back to. Its record
//! is checksummed, so this has no checksum of its own.

use crate::error::LsmError;
use crate::table::TableId;

const VERSION: u8 = 1;

/// The files that a checkpoint needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Tables that hold the data, newest first.
    pub(crate) live: Vec<TableId>,
    /// Tables of the checkpoint before that are not live any more.
    pub(crate) kept: Vec<TableId>,
}

impl Manifest {
    /// Whether it needs the table with this number.
    pub(crate) fn needs(&self, number: u64) -> bool {
        self.live.iter().chain(&self.kept).any(|table| table.number == number)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for tables in [&self.live, &self.kept] {
            let count = u32::try_from(tables.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&count.to_le_bytes());
            for table in tables {
                bytes.extend_from_slice(&table.number.to_le_bytes());
                bytes.extend_from_slice(&table.bytes.to_le_bytes());
            }
        }
        bytes
    }

    /// # Errors
    ///
    /// [`LsmError::Foreign`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, LsmError> {
        let parsed = match bytes.split_first() {
            Some((&VERSION, rest)) => tables(rest).and_then(|(live, rest)| {
                let (kept, rest) = tables(rest)?;
                rest.is_empty().then_some(Self { live, kept })
            }),
            _ => None,
        };
        parsed.ok_or(LsmError::Foreign { what: "a checkpoint that is no manifest" })
    }
}

fn tables(bytes: &[u8]) -> Option<(Vec<TableId>, &[u8])> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut tables = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let (number, after) = rest.split_first_chunk::<8>()?;
        let (bytes, after) = after.split_first_chunk::<8>()?;
        let (number, bytes) = (u64::from_le_bytes(*number), u64::from_le_bytes(*bytes));
        tables.push(TableId { number, bytes });
        rest = after;
    }
    Some((tables, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_and_no_part_of_one_does() {
        let table = |number| TableId { number, bytes: 4096 * number };
        let manifest = Manifest { live: vec![table(9), table(4)], kept: vec![table(2)] };
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        assert!(manifest.needs(2) && !manifest.needs(3));
        for end in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
}
