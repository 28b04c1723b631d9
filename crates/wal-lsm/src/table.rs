//! A sorted table: blocks of entries, an index of their first keys, and a block that finds it.
//!
//! ```text
//! block | block | ... | index: (first key, offset, bytes) of each block | tail: where the index is
//! ```
//!
//! Written once, synced before anybody names it, and never changed.

use wal_io::{Access, IoError, IoOp, LogFile, Storage};

use crate::block::{self, ALIGN_BYTES, Place, file_name};
use crate::entry::{Entry, decode, encode};
use crate::error::LsmError;

/// A block takes entries until it holds so many bytes.
const BLOCK_BYTES: usize = 4000;

/// What a checkpoint remembers of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableId {
    pub(crate) number: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
}

/// An open table, its index in memory.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: TableId,
    file: Box<dyn LogFile>,
    /// The first key of each block, in order, and where the block lies.
    index: Vec<(Vec<u8>, Place)>,
}

pub(crate) fn io_failed(op: IoOp, number: u64, source: std::io::Error) -> LsmError {
    IoError::failed(op, file_name(number), source).into()
}

impl Table {
    /// Writes `entries`, which come in the order of their keys, as table `number`.
    ///
    /// # Durability
    ///
    /// File and name are durable when it returns.
    ///
    /// # Errors
    ///
    /// As `entries`; [`LsmError::Io`]: the file may be left in part, and no checkpoint names it.
    pub(crate) fn write(
        storage: &dyn Storage,
        number: u64,
        entries: &mut dyn Iterator<Item = Result<Entry, LsmError>>,
    ) -> Result<Self, LsmError> {
        let file = storage
            .create(&file_name(number), 0)
            .map_err(|error| io_failed(IoOp::Create, number, error))?;
        let mut index: Vec<(Vec<u8>, Place)> = Vec::new();
        let (mut offset, mut payload, mut first) = (0, Vec::new(), None);
        for entry in entries {
            let (key, value) = entry?;
            encode(&key, value.as_deref(), &mut payload)?;
            let first_key = first.get_or_insert(key);
            if payload.len() >= BLOCK_BYTES {
                let place = block::write(file.as_ref(), number, offset, &payload)?;
                offset += u64::from(place.bytes);
                index.push((std::mem::take(first_key), place));
                (payload, first) = (Vec::new(), None);
            }
        }
        if let Some(first_key) = first {
            let place = block::write(file.as_ref(), number, offset, &payload)?;
            offset += u64::from(place.bytes);
            index.push((first_key, place));
        }
        let at = block::write(file.as_ref(), number, offset, &encode_index(&index)?)?;
        let tail_offset = offset + u64::from(at.bytes);
        let tail = [at.offset.to_le_bytes(), u64::from(at.bytes).to_le_bytes()].concat();
        let tail = block::write(file.as_ref(), number, tail_offset, &tail)?;
        file.sync_all().map_err(|error| io_failed(IoOp::Sync, number, error))?;
        storage.sync_dir().map_err(|error| io_failed(IoOp::SyncDir, number, error))?;
        let bytes = tail_offset + u64::from(tail.bytes);
        Ok(Self { id: TableId { number, bytes }, file, index })
    }

    /// Opens the table that a checkpoint names.
    ///
    /// # Errors
    ///
    /// [`LsmError::Io`], or [`LsmError::Damaged`].
    pub(crate) fn open(storage: &dyn Storage, id: TableId) -> Result<Self, LsmError> {
        let TableId { number, bytes } = id;
        let file = storage
            .open(&file_name(number), Access::Read)
            .map_err(|error| io_failed(IoOp::Open, number, error))?;
        let damaged = |offset, what| LsmError::Damaged { file: file_name(number), offset, what };
        let tail_offset = bytes.saturating_sub(ALIGN_BYTES as u64);
        let place = Place { table: number, offset: tail_offset, bytes: ALIGN_BYTES as u32 };
        let tail = block::read(file.as_ref(), place)?;
        let at = tail.as_chunks::<8>().0;
        let &[offset, bytes] = at else { return Err(damaged(tail_offset, "the tail is none")) };
        let (offset, bytes) = (u64::from_le_bytes(offset), u64::from_le_bytes(bytes));
        if offset.checked_add(bytes) != Some(tail_offset) {
            return Err(damaged(tail_offset, "the index is not where the tail says"));
        }
        let bytes = u32::try_from(bytes).map_err(|_| damaged(offset, "the index is too long"))?;
        let index = block::read(file.as_ref(), Place { table: number, offset, bytes })?;
        let index = decode_index(number, &index).ok_or(damaged(offset, "the index is none"))?;
        Ok(Self { id, file, index })
    }

    /// The value of `key`; `Some(None)` if the table says that it is deleted.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Option<Vec<u8>>>, LsmError> {
        match self.entries_from(key).next().transpose()? {
            Some((found, value)) if found == key => Ok(Some(value)),
            _ => Ok(None),
        }
    }

    /// The entries from `key` on, in order. Reads one block at a time.
    pub(crate) fn entries_from<'a>(
        &'a self,
        key: &[u8],
    ) -> impl Iterator<Item = Result<Entry, LsmError>> + 'a {
        let first = self.index.partition_point(|(first, _)| first.as_slice() <= key);
        let key = key.to_vec();
        let blocks = self.index.iter().skip(first.saturating_sub(1));
        blocks
            .flat_map(|(_, place)| match self.block(*place) {
                Ok(entries) => entries.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
            .skip_while(move |entry| matches!(entry, Ok((found, _)) if *found < key))
    }

    fn block(&self, place: Place) -> Result<Vec<Entry>, LsmError> {
        let payload = block::read(self.file.as_ref(), place)?;
        let mut entries = Vec::new();
        let mut rest = payload.as_slice();
        while !rest.is_empty() {
            let (file, offset) = (file_name(place.table), place.offset);
            let what = "an entry is cut";
            let (entry, after) = decode(rest).ok_or(LsmError::Damaged { file, offset, what })?;
            entries.push(entry);
            rest = after;
        }
        Ok(entries)
    }
}

/// Each block as an entry: its first key, and its place as the value.
fn encode_index(index: &[(Vec<u8>, Place)]) -> Result<Vec<u8>, LsmError> {
    let mut bytes = Vec::new();
    for (first, place) in index {
        let at = [place.offset.to_le_bytes(), u64::from(place.bytes).to_le_bytes()].concat();
        encode(first, Some(&at), &mut bytes)?;
    }
    Ok(bytes)
}

fn decode_index(table: u64, mut bytes: &[u8]) -> Option<Vec<(Vec<u8>, Place)>> {
    let mut index = Vec::new();
    while !bytes.is_empty() {
        let ((first, value), rest) = decode(bytes)?;
        let value = value?;
        let &[offset, len] = value.as_chunks::<8>().0 else { return None };
        let len = u32::try_from(u64::from_le_bytes(len)).ok()?;
        let place = Place { table, offset: u64::from_le_bytes(offset), bytes: len };
        index.push((first, place));
        bytes = rest;
    }
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_io::backend::MemoryStorage;

    fn entry(number: u32) -> Entry {
        let value =
            (!number.is_multiple_of(7)).then(|| vec![number as u8; (number % 300) as usize]);
        (format!("key {number:06}").into_bytes(), value)
    }

    fn table(storage: &MemoryStorage, count: u32) -> TableId {
        let mut entries = (0..count).map(|number| Ok(entry(2 * number)));
        Table::write(storage, 3, &mut entries).unwrap().id
    }

    #[test]
    fn every_entry_of_a_table_is_found_and_no_other() {
        let storage = MemoryStorage::new();
        let table = Table::open(&storage, table(&storage, 500)).unwrap();
        assert!(table.index.len() > 5, "several blocks");
        for number in 0..500 {
            let (key, value) = entry(2 * number);
            assert_eq!(table.get(&key).unwrap(), Some(value));
            assert_eq!(table.get(&entry(2 * number + 1).0).unwrap(), None);
        }
        let from: Vec<Entry> = table.entries_from(&entry(701).0).map(Result::unwrap).collect();
        assert_eq!((from.len(), &from[0]), (149, &entry(702)));
        assert_eq!(table.entries_from(b"").count(), 500);
    }

    #[test]
    fn an_empty_table_holds_nothing() {
        let storage = MemoryStorage::new();
        let table = Table::open(&storage, table(&storage, 0)).unwrap();
        assert_eq!(table.get(b"key").unwrap(), None);
    }

    #[test]
    fn a_file_that_was_cut_or_is_another_is_refused() {
        let storage = MemoryStorage::new();
        let id = table(&storage, 50);
        let file = storage.open(&file_name(3), Access::Write).unwrap();
        file.set_len(id.bytes - 4096).unwrap();
        assert!(matches!(Table::open(&storage, id), Err(LsmError::Damaged { .. })));
        storage.rename(&file_name(3), &file_name(4)).unwrap();
        assert!(matches!(Table::open(&storage, id), Err(LsmError::Io(_))));
    }
}
