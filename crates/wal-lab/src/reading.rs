//! Readers of a running log, drained into lists that can be compared.

use wal::{Error, Lsn, Reader, RecordRef};

/// Where a record stands, and its number; no number if it is none of a workload's.
pub type Entry = (Lsn, Option<u64>);

/// A record as an entry.
#[must_use]
pub fn entry(record: &RecordRef<'_>) -> Entry {
    (record.lsn(), crate::body::read(record.body))
}

/// Up to `count` records from where the reader stands, before `end`.
///
/// # Errors
///
/// As [`Reader::next`].
pub fn forwards(reader: &mut Reader, end: Lsn, count: usize) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    while entries.len() < count {
        match reader.next()? {
            Some(record) if record.lsn() < end => entries.push(entry(&record)),
            _ => break,
        }
    }
    Ok(entries)
}

/// All records before where the reader stands, the last one first.
///
/// # Errors
///
/// As [`Reader::prev`].
pub fn backwards(reader: &mut Reader) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    while let Some(record) = reader.prev()? {
        entries.push(entry(&record));
    }
    Ok(entries)
}
