//! A record that outlives the reader it came from. Plain data.

use wal_format::{Lsn, RecordHeader, RecordRef, TxnId};

/// A record with a body of its own, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The fields of the header.
    pub header: RecordHeader,
    /// The transaction, for a record in one.
    pub txn: Option<TxnId>,
    /// The body as stored.
    pub body: Vec<u8>,
}

impl OwnedRecord {
    /// A copy of `record`.
    #[must_use]
    pub fn of(record: &RecordRef<'_>) -> Self {
        Self {
            header: record.header,
            txn: record.txn.map(|link| link.txn_id),
            body: record.body.to_vec(),
        }
    }

    /// Address of the record.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.header.lsn
    }
}
