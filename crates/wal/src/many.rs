//! Reading some records at once, each with a body of its own.

use wal_format::Lsn;
use wal_recovery::OwnedRecord;

use crate::error::Error;
use crate::log::Wal;

/// Bytes of bodies after which [`Wal::read_many`] breaks off, whatever its limit.
const BODIES_BYTES_MAX: usize = 8 << 20;

/// Records that were read, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Records {
    /// The records, in the order of the log.
    pub records: Vec<OwnedRecord>,
    /// Where the next read goes on: behind the last record, or where this one began.
    pub next: Lsn,
}

impl Wal {
    /// Up to `limit` durable records from `lsn` on, housekeeping left out; fewer when the log ends
    /// there, or after 8 MiB of bodies, so that no limit is too large. None is the durable end.
    ///
    /// # Errors
    ///
    /// As [`read_from`](Self::read_from).
    ///
    /// # Cost
    ///
    /// Memory for what is read, never for `limit`. A [`Reader`](crate::Reader) copies nothing.
    pub fn read_many(&self, lsn: Lsn, limit: usize) -> Result<Records, Error> {
        let mut reader = self.read_from(lsn)?;
        let (mut records, mut bytes) = (Vec::new(), 0_usize);
        while records.len() < limit && bytes < BODIES_BYTES_MAX {
            let Some(record) = reader.next()? else { break };
            let record = OwnedRecord::of(&record);
            bytes = bytes.saturating_add(record.body.len());
            records.push(record);
        }
        Ok(Records { records, next: reader.position() })
    }
}
