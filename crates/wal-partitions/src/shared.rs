//! What all handles of a set of partitions share.

use std::sync::Arc;

use parking_lot::Mutex;
use wal::{Error as WalError, StorageLock, Truncated};

use crate::across::{Across, Entry, PartDraft, Tickets};
use crate::body::PartHead;
use crate::error::Error;
use crate::id::is_free;
use crate::member::Member;

/// A batch that is ordered, and the ticket of each part.
pub(crate) type Ordered = (Option<Arc<Entry>>, Tickets);

/// An open set of partitions.
#[derive(Debug)]
pub(crate) struct Shared {
    // Order of drop: the logs go before the lock of the root is given back.
    pub(crate) members: Vec<Arc<Member>>,
    pub(crate) across: Across,
    pub(crate) root: [u8; 16],
    pub(crate) lock: Mutex<Option<Box<dyn StorageLock>>>,
}

impl Shared {
    pub(crate) fn member(&self, partition: usize) -> Result<&Arc<Member>, Error> {
        self.members.get(partition).ok_or_else(|| {
            let count = self.members.len();
            Error::refused(format!("there is no partition {partition}: they are {count}"))
        })
    }

    /// Orders a batch with records in one partition or more. One partition needs no protocol.
    pub(crate) fn append_across(&self, mut parts: Vec<PartDraft<'_>>) -> Result<Ordered, Error> {
        parts.sort_by_key(|part| part.partition);
        self.check(&parts)?;
        if let [part] = parts.as_slice() {
            let member = self.member(part.partition)?;
            let ticket = member.wal.append_batch_kinds(&part.records);
            let ticket = ticket.map_err(|source| Error::of(&member.name, source))?;
            return Ok((None, vec![(part.partition, ticket)]));
        }
        let (entry, tickets) = self.across.place(&self.members, &parts)?;
        Ok((Some(entry), tickets))
    }

    /// Refuses what some partition would refuse, before any has taken its part.
    fn check(&self, parts: &[PartDraft<'_>]) -> Result<(), Error> {
        if parts.is_empty() {
            return Err(Error::refused("a batch without a part"));
        }
        let mut before = None;
        for part in parts {
            let member = self.member(part.partition)?;
            let name = &member.name;
            if before.replace(part.partition) == Some(part.partition) {
                return Err(Error::refused(format!("two parts for partition `{name}`")));
            }
            if part.records.is_empty() {
                return Err(Error::refused(format!("a part without records for `{name}`")));
            }
            if let Some((kind, _)) = part.records.iter().find(|(kind, _)| !is_free(*kind)) {
                return Err(Error::refused(format!("kind {kind} is not the engine's here")));
            }
            let head = PartHead::encoded_bytes(parts.len());
            let bodies = part.records.iter().map(|(_, body)| body.len());
            // A header of 24 bytes, and at most 7 of alignment.
            let bytes: usize = bodies.chain([head]).map(|body| (body + 31) & !7).sum();
            let max = member.wal.batch_bytes_max();
            if bytes as u64 > max {
                return Err(Error::refused(format!(
                    "the part for `{name}` takes {bytes} bytes, a batch there at most {max}"
                )));
            }
        }
        Ok(())
    }

    /// Truncates the log of one partition, having settled the batches that it takes part in.
    pub(crate) fn truncate_before(
        &self,
        partition: usize,
        lsn: wal::Lsn,
    ) -> Result<Truncated, Error> {
        let member = self.member(partition)?;
        // What cannot be settled is kept by the hold.
        if let Err(error) = self.across.settle_all_of(&self.members, partition) {
            tracing::warn!(partition = %member.name, %error, "a batch holds back truncation");
        }
        self.advance_hold(partition, member);
        member.wal.truncate_before(lsn).map_err(|source| Error::of(&member.name, source))
    }

    fn advance_hold(&self, partition: usize, member: &Member) {
        // Read before the batches are looked at: one that comes later has its part above.
        let reserved = member.wal.positions().reserved;
        member.hold.advance(self.across.needed_from(partition, reserved));
    }

    /// Closes every log; goes on past errors, and gives the first.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let mut closed = self.across.settle_all(&self.members);
        for member in &self.members {
            let one: Result<(), WalError> = member.wal.close();
            closed = closed.and(one.map_err(|source| Error::of(&member.name, source)));
        }
        drop(self.lock.lock().take());
        closed
    }
}
