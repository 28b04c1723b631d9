//! The set of partitions, and one partition of it, as an engine holds them.

use std::fmt;
use std::sync::Arc;

use wal::{
    CheckpointPointer, Epoch, Hold, HoldLimit, LogId, Lsn, Positions, RecordKind, RecoveryReport,
    Stats, Ticket, Transaction, Truncated,
};

use crate::across::{AcrossStats, PartDraft};
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::id::is_free;
use crate::member::Member;
use crate::reader::{Reader, Tail};
use crate::shared::Shared;
use crate::ticket::AcrossTicket;

/// Independent logs under one root, opened, recovered and closed together. Clones share them.
///
/// Each partition has its own buffer, syncs, segments, checkpoints and truncation; writers of
/// different partitions never wait for one another. A batch across partitions is there whole after
/// a crash, or not at all.
#[derive(Clone)]
pub struct Partitions {
    shared: Arc<Shared>,
}

/// Figures of all partitions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PartitionsStats {
    /// Those of each log, in the order of the partitions.
    pub partitions: Vec<Stats>,
    /// Those of the batches across them.
    pub across: AcrossStats,
}

impl Partitions {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// How many partitions there are; it never changes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.members.len()
    }

    /// The partition with number `index`, from 0.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: there is none.
    pub fn partition(&self, index: usize) -> Result<Partition, Error> {
        let member = Arc::clone(self.shared.member(index)?);
        Ok(Partition { shared: Arc::clone(&self.shared), member, index })
    }

    /// The partition called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Partition> {
        self.iter().find(|partition| partition.name() == name)
    }

    /// All partitions, in order.
    pub fn iter(&self) -> impl Iterator<Item = Partition> + '_ {
        self.shared.members.iter().enumerate().map(|(index, member)| Partition {
            shared: Arc::clone(&self.shared),
            member: Arc::clone(member),
            index,
        })
    }

    /// Appends to several partitions as one batch: after a crash all of it replays, or nothing.
    ///
    /// `parts` names each partition at most once, with its bodies.
    ///
    /// # Durability
    ///
    /// None yet: the batch is ordered in each partition. Wait on the ticket for a promise. In each
    /// partition it replays where its part stands; two batches may stand in different orders in two
    /// partitions, so whoever needs one order holds his own locks over this call.
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`]: a partition would not take its part; nothing changed.
    /// - [`Error::NotCommitted`]: a partition refused its part, for lack of space or because it is
    ///   poisoned; no part of the batch will ever count.
    /// - [`Error::InDoubt`]: nobody knows before the next opening.
    ///
    /// # Cost
    ///
    /// A copy and a CRC-32C pass over all bodies, a record of 66 bytes and two for each participant
    /// in each part, and a note of 64 bytes for each part later. No system call, unless a buffer is
    /// full.
    pub fn append_across<B: AsRef<[u8]>>(
        &self,
        parts: &[(usize, &[B])],
    ) -> Result<AcrossTicket, Error> {
        let data = |body| (RecordKind::DATA, body);
        let drafts = parts.iter().map(|(partition, bodies)| PartDraft {
            partition: *partition,
            records: bodies.iter().map(AsRef::as_ref).map(data).collect(),
        });
        let ordered = self.shared.append_across(drafts.collect())?;
        Ok(AcrossTicket::new(&self.shared, ordered))
    }

    /// As [`append_across`](Self::append_across), each record with a kind of the engine's.
    ///
    /// # Errors
    ///
    /// As [`append_across`](Self::append_across); [`Error::Refused`] also for a kind which is not the
    /// engine's, or one of the two of this layer.
    pub fn append_across_kinds<B: AsRef<[u8]>>(
        &self,
        parts: &[(usize, &[(RecordKind, B)])],
    ) -> Result<AcrossTicket, Error> {
        let drafts = parts.iter().map(|(partition, records)| PartDraft {
            partition: *partition,
            records: records.iter().map(|(kind, body)| (*kind, body.as_ref())).collect(),
        });
        let ordered = self.shared.append_across(drafts.collect())?;
        Ok(AcrossTicket::new(&self.shared, ordered))
    }

    /// Makes everything appended so far durable in every partition.
    ///
    /// # Errors
    ///
    /// [`Error::Partition`], the first; the others were synced all the same.
    pub fn sync(&self) -> Result<(), Error> {
        let mut synced = Ok(());
        for partition in self.iter() {
            synced = synced.and(partition.sync().map(drop));
        }
        synced
    }

    /// Takes a checkpoint of each partition, one after the other. `payload` is asked for the snapshot
    /// of a partition, once its checkpoint has begun.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::complete`]; the partitions before it have their new checkpoints.
    pub fn checkpoint_all(
        &self,
        mut payload: impl FnMut(&Partition, Lsn) -> Vec<u8>,
    ) -> Result<Vec<CheckpointPointer>, Error> {
        let one = |partition: Partition| {
            let checkpoint = partition.checkpoint_begin()?;
            let payload = payload(&partition, checkpoint.begin_lsn());
            checkpoint.complete(&payload)
        };
        self.iter().map(one).collect()
    }

    /// Truncates each partition that has a checkpoint, as far as nothing needs it any more.
    ///
    /// # Errors
    ///
    /// As [`Partition::truncate_before`]; the partitions before it are truncated.
    pub fn truncate_all(&self) -> Result<Vec<Option<Truncated>>, Error> {
        let one = |partition: Partition| {
            let log = &partition.member.wal;
            if log.checkpoints().is_empty() {
                return Ok(None);
            }
            partition.truncate_before(log.positions().durable).map(Some)
        };
        self.iter().map(one).collect()
    }

    /// Figures of all partitions.
    #[must_use]
    pub fn stats(&self) -> PartitionsStats {
        let partitions = self.shared.members.iter().map(|member| member.wal.stats()).collect();
        PartitionsStats { partitions, across: self.shared.across.stats() }
    }

    /// Identity of the set.
    #[must_use]
    pub fn root_id(&self) -> [u8; 16] {
        self.shared.root
    }

    /// Closes every log, for all clones: everything appended becomes durable, and the next opening
    /// goes on where this one ended.
    ///
    /// # Errors
    ///
    /// The first error of a log, as [`wal::Wal::close`] gives it, or a batch that stays in doubt. All
    /// others are closed; the next opening recovers the rest.
    pub fn close(&self) -> Result<(), Error> {
        self.shared.close()
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.shared.members.iter().map(|member| &member.name);
        f.debug_list().entries(names).finish()
    }
}

/// One partition: a log of its own. Clones share it.
///
/// It has the calls of [`wal::Wal`], but for those that could break a batch across partitions:
/// checkpoints, truncation and reading go through this layer.
#[derive(Clone)]
pub struct Partition {
    shared: Arc<Shared>,
    member: Arc<Member>,
    index: usize,
}

impl Partition {
    /// Calls the log.
    fn call<T>(&self, call: impl FnOnce(&wal::Wal) -> Result<T, wal::Error>) -> Result<T, Error> {
        call(&self.member.wal).map_err(|source| Error::of(&self.member.name, source))
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.member.name
    }

    /// As [`wal::Wal::append`].
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::append`].
    pub fn append(&self, body: &[u8]) -> Result<Ticket, Error> {
        self.call(|log| log.append(body))
    }

    /// As [`wal::Wal::append_kind`].
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::append_kind`]; [`Error::Refused`] for the two kinds of this layer.
    pub fn append_kind(&self, kind: RecordKind, body: &[u8]) -> Result<Ticket, Error> {
        check_kind(kind)?;
        self.call(|log| log.append_kind(kind, body))
    }

    /// As [`wal::Wal::try_append`].
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::try_append`].
    pub fn try_append(&self, body: &[u8]) -> Result<Ticket, Error> {
        self.call(|log| log.try_append(body))
    }

    /// As [`wal::Wal::append_batch`].
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::append_batch`].
    pub fn append_batch<B: AsRef<[u8]>>(&self, bodies: &[B]) -> Result<Ticket, Error> {
        self.call(|log| log.append_batch(bodies))
    }

    /// As [`wal::Wal::append_batch_kinds`].
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::append_batch_kinds`]; [`Error::Refused`] for the two kinds of this layer.
    pub fn append_batch_kinds<B: AsRef<[u8]>>(
        &self,
        records: &[(RecordKind, B)],
    ) -> Result<Ticket, Error> {
        records.iter().try_for_each(|(kind, _)| check_kind(*kind))?;
        self.call(|log| log.append_batch_kinds(records))
    }

    /// Begins a redo-only transaction within this partition.
    pub fn begin(&self) -> Transaction {
        self.member.wal.begin()
    }

    /// As [`wal::Wal::sync`].
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::sync`].
    pub fn sync(&self) -> Result<Lsn, Error> {
        self.call(wal::Wal::sync)
    }

    /// Begins a checkpoint of this partition. Take its snapshot after this, then complete it.
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::checkpoint_begin`].
    pub fn checkpoint_begin(&self) -> Result<Checkpoint, Error> {
        Checkpoint::begin(&self.shared, self.index)
    }

    /// As [`wal::Wal::truncate_before`], having settled the batches across partitions that this one
    /// takes part in. What cannot be settled is kept: the hold of this layer says so.
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::truncate_before`].
    pub fn truncate_before(&self, lsn: Lsn) -> Result<Truncated, Error> {
        self.shared.truncate_before(self.index, lsn)
    }

    /// As [`wal::Wal::hold`].
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::hold`].
    pub fn hold(&self, name: &str, lsn: Lsn, limit: Option<HoldLimit>) -> Result<Hold, Error> {
        self.call(|log| log.hold(name, lsn, limit))
    }

    /// A reader over what is durable and counts, from `lsn`: the address of a record, or the durable
    /// end. Within a batch it begins at the batch.
    ///
    /// # Errors
    ///
    /// As [`wal::Wal::read_from`].
    pub fn read_from(&self, lsn: Lsn) -> Result<Reader, Error> {
        Reader::new(&self.shared, self.index, lsn)
    }

    /// A reader which follows what is durable and counts, as it grows.
    ///
    /// # Errors
    ///
    /// As [`read_from`](Self::read_from).
    pub fn tail(&self, lsn: Lsn) -> Result<Tail, Error> {
        Tail::new(&self.shared, self.index, lsn)
    }

    /// Bytes that the records of one batch may take in this log, headers included.
    #[must_use]
    pub fn batch_bytes_max(&self) -> u64 {
        self.member.wal.batch_bytes_max()
    }

    /// Reserved, written and durable ends of this log.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.member.wal.positions()
    }

    /// Lowest address that is still there.
    #[must_use]
    pub fn head(&self) -> Lsn {
        self.member.wal.head()
    }

    /// Identity and opening of this log.
    #[must_use]
    pub fn identity(&self) -> (LogId, Epoch) {
        (self.member.wal.log_id(), self.member.wal.epoch())
    }

    /// What the opening found in this log and replayed; batches across partitions that were aborted
    /// count as replayed there, and were not given to the engine.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.member.recovery
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("index", &self.index).field("name", &self.name()).finish()
    }
}

fn check_kind(kind: RecordKind) -> Result<(), Error> {
    if is_free(kind) {
        Ok(())
    } else {
        Err(Error::refused(format!("kind {kind} is not the engine's in a partition")))
    }
}
