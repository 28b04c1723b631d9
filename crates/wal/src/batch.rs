//! Atomic batches whose records are of several kinds.

use wal_format::RecordKind;

use crate::error::Error;
use crate::log::Wal;
use crate::ticket::Ticket;

impl Wal {
    /// As [`append_batch`](Self::append_batch), each record with a kind of the engine's.
    ///
    /// # Durability
    ///
    /// As [`append`](Self::append); one ticket for the whole batch.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch); [`Refused`](crate::ErrorKind::Refused) also for a
    /// kind that is not the engine's.
    pub fn append_batch_kinds<B: AsRef<[u8]>>(
        &self,
        records: &[(RecordKind, B)],
    ) -> Result<Ticket, Error> {
        records.iter().try_for_each(|(kind, _)| self.check_kind(*kind))?;
        self.check_redo_only()?;
        self.shared().holds.admit(self.shared().commit.reserved())?;
        let records: Vec<_> = records.iter().map(|(kind, body)| (*kind, body.as_ref())).collect();
        Ok(Ticket::new(self.shared().commit.append_batch_unhooked(&records)?))
    }
}
