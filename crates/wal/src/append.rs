//! Appending single records: with a ticket for each, or with none.
//!
//! Wiring only, as `log`: positions and groups are `wal-commit`'s.

use wal_format::{LsnRange, RecordKind};

use crate::error::Error;
use crate::log::Wal;
use crate::ticket::Ticket;

impl Wal {
    /// Appends `body` as one record of [`RecordKind::DATA`]; returns a ticket for it.
    ///
    /// `body` holds 0 to [`BODY_BYTES_MAX`](crate::BODY_BYTES_MAX) bytes.
    ///
    /// # Durability
    ///
    /// None yet: the record is ordered. Wait on the ticket for a promise.
    ///
    /// # Errors
    ///
    /// - [`Refused`](crate::ErrorKind::Refused): too long, or a hold is over its limit; nothing
    ///   changed.
    /// - [`NoSpace`](crate::ErrorKind::NoSpace): no room for the next segment; nothing changed.
    /// - [`Poisoned`](crate::ErrorKind::Poisoned): an earlier write or sync failed; reopen.
    ///
    /// # Cost
    ///
    /// One copy and one CRC-32C pass over `body`. No system call, unless the buffer is full: then
    /// it waits for, or makes, one flush.
    #[inline]
    pub fn append(&self, body: &[u8]) -> Result<Ticket, Error> {
        self.append_kind(RecordKind::DATA, body)
    }

    /// As [`append`](Self::append), with a kind of the engine's.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); [`Refused`](crate::ErrorKind::Refused) for a kind that is not
    /// the engine's.
    pub fn append_kind(&self, kind: RecordKind, body: &[u8]) -> Result<Ticket, Error> {
        self.admit_kind(kind)?;
        Ok(Ticket::new(self.shared().commit.append_unhooked(kind, body)?))
    }

    /// As [`append`](Self::append), without a ticket: for records that nobody waits for one by one.
    /// Returns the addresses that the record takes; [`sync`](Self::sync), or the ticket of any later
    /// record, covers it.
    ///
    /// # Durability
    ///
    /// As [`append`](Self::append).
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    ///
    /// # Cost
    ///
    /// That of [`append`](Self::append) but for the ticket: two atomic instructions, which matter
    /// where records are short and threads many.
    pub fn append_untracked(&self, body: &[u8]) -> Result<LsnRange, Error> {
        self.admit_kind(RecordKind::DATA)?;
        Ok(self.shared().commit.append_untracked(RecordKind::DATA, body)?)
    }

    /// Whether whoever uses the log without pages may append a record of `kind` now.
    fn admit_kind(&self, kind: RecordKind) -> Result<(), Error> {
        self.check_kind(kind)?;
        self.check_redo_only()?;
        self.admit(self.shared().commit.reserved())
    }
}
