//! Typed payloads: values of the engine's as bodies, through a codec of its choice.
//!
//! Nothing of the log's own goes through it. A log can be read, verified, copied and truncated by
//! programs that know none of the types.

use serde::{Deserialize, Serialize};
use wal_format::payload::PayloadCodec;
use wal_format::{Lsn, PageId, RecordKind};
use wal_recovery::OwnedRecord;

use crate::error::Error;
use crate::log::Wal;
use crate::ticket::Ticket;
use crate::transaction::Transaction;

/// Where a row is: a table, a key in it, and the page that holds it if the engine has pages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row<K> {
    /// The engine's number of the table.
    pub table: u64,
    /// The key of the row.
    pub key: K,
    /// The page that holds it; for the information of the engine, the log does not look at it.
    pub page: Option<u64>,
}

impl<K> Row<K> {
    /// The row `key` of `table`.
    pub const fn new(table: u64, key: K) -> Self {
        Self { table, key, page: None }
    }

    /// The same on `page`.
    #[must_use]
    pub const fn on_page(mut self, page: PageId) -> Self {
        self.page = Some(page.get());
        self
    }
}

/// A change of a row, as most engines have them. One of your own serves as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation<K, V> {
    /// A row that was not there.
    Insert {
        /// Where.
        row: Row<K>,
        /// What it holds.
        after: V,
    },
    /// A row that was there.
    Update {
        /// Where.
        row: Row<K>,
        /// What it held; `None` if nothing has to be taken back.
        before: Option<V>,
        /// What it holds.
        after: V,
    },
    /// A row that is not there any more.
    Delete {
        /// Where.
        row: Row<K>,
        /// What it held; `None` if nothing has to be taken back.
        before: Option<V>,
    },
}

impl<K, V> Operation<K, V> {
    /// Where the change is.
    pub const fn row(&self) -> &Row<K> {
        match self {
            Self::Insert { row, .. } | Self::Update { row, .. } | Self::Delete { row, .. } => row,
        }
    }
}

impl Wal {
    /// Appends `value` as a record of `kind`, one of the engine's.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): `codec` has no form for the value; nothing changed.
    /// Else as [`append_kind`](Self::append_kind).
    ///
    /// # Cost
    ///
    /// As [`append`](Self::append), and one more copy, into a buffer of its own.
    pub fn append_value<C, T>(
        &self,
        kind: RecordKind,
        codec: &C,
        value: &T,
    ) -> Result<Ticket, Error>
    where
        C: PayloadCodec,
        T: Serialize + ?Sized,
    {
        let body = codec.encode(value).map_err(|error| Error::of_payload(Box::new(error)))?;
        self.append_kind(kind, &body)
    }

    /// The record at `lsn`, as a value.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): its body is no such value. Else as
    /// [`read_at`](Self::read_at).
    pub fn read_value<C, T>(&self, lsn: Lsn, codec: &C) -> Result<T, Error>
    where
        C: PayloadCodec,
        T: for<'de> Deserialize<'de>,
    {
        let record: OwnedRecord = self.read_at(lsn)?;
        codec.decode(&record.body).map_err(|error| Error::of_payload(Box::new(error)).at(lsn))
    }
}

impl Transaction {
    /// Appends `value` as a record of the transaction.
    ///
    /// # Errors
    ///
    /// As [`Wal::append_value`] and [`log_kind`](Self::log_kind).
    pub fn log_value<C, T>(&mut self, kind: RecordKind, codec: &C, value: &T) -> Result<Lsn, Error>
    where
        C: PayloadCodec,
        T: Serialize + ?Sized,
    {
        let body = codec.encode(value).map_err(|error| Error::of_payload(Box::new(error)))?;
        self.log_kind(kind, &body)
    }
}
