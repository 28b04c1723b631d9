//! Batches across partitions, from their first part to the moment from which nobody can miss one.
//!
//! ```text
//! placing ──► placed ──► committed ──► noted ──► settled, forgotten
//!    │          every part    a note in     every note
//!    │          is durable    every log     is durable
//!    └─► aborted: a part was refused; lost: nobody knows whether a part was placed
//! ```
//!
//! Invariant: as long as a batch is here, the hold of each participant lies at or below its part, and
//! no checkpoint of a participant is completed behind it. Each batch has a lock of its own, held
//! over the I/O that moves it on; the lock of the register is held for no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use wal::{Epoch, Fate, LogId, Lsn, RecordKind, Ticket};

use crate::body::{Note, PartHead};
use crate::error::Error;
use crate::id::{BatchId, NOTE_KIND, Outcome, PART_KIND};
use crate::member::Member;

/// Entries beyond which the register looks for some to forget, at least.
const PRUNE_AT: usize = 16;

/// Entries from which on a batch settles those before it: some hundred bytes each.
const ENTRIES_MAX: usize = 1 << 14;

/// What one participant is to append: its records, in order.
#[derive(Clone, Debug)]
pub(crate) struct PartDraft<'a> {
    pub(crate) partition: usize,
    pub(crate) records: Vec<(RecordKind, &'a [u8])>,
}

/// The ticket of each part, with its partition.
pub(crate) type Tickets = Vec<(usize, Ticket)>;

/// A batch across partitions that is not settled.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: BatchId,
    /// Participants, and an address in the log of each at or below its part.
    pub(crate) floors: Vec<(usize, Lsn)>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// Ends of the parts, as far as they are placed.
    parts: Vec<Option<Lsn>>,
    /// Ends of the notes, as far as they are appended.
    notes: Vec<Option<Lsn>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Placing,
    Placed,
    Ended(Outcome),
    /// A part was neither placed nor refused, at this participant.
    Lost(usize),
}

/// Counts of batches since the partitions were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcrossStats {
    /// Batches with two participants or more that were begun.
    pub begun: u64,
    /// Batches known to be committed: every part is durable.
    pub committed: u64,
    /// Batches given up because a participant refused its part.
    pub aborted: u64,
    /// Batches whose outcome some participant's log may not have durably yet: they hold back
    /// truncation and checkpoints of their participants, which settle them when asked.
    pub unsettled: u64,
    /// Batches that the opening found undecided and decided to be committed.
    pub recovered: u64,
    /// Batches that the opening found undecided and decided to be aborted.
    pub voided: u64,
}

/// All batches of one opening that are not settled.
#[derive(Debug)]
pub(crate) struct Across {
    log: LogId,
    epoch: Epoch,
    next: AtomicU64,
    /// By number.
    entries: Mutex<Register>,
    /// Batches of which parts lie in the logs and never count.
    aborted: Mutex<BTreeSet<BatchId>>,
    committed_count: AtomicU64,
    aborted_count: AtomicU64,
    recovered: u64,
    voided: u64,
}

#[derive(Debug, Default)]
struct Register {
    by_number: BTreeMap<u64, Arc<Entry>>,
    prune_at: usize,
}

/// What a part in a log means for whoever reads it.
#[derive(Debug)]
pub(crate) enum PartFate {
    Counts,
    Never,
    Undecided(Arc<Entry>),
    /// Of an earlier opening: a note follows in the same log, if the part is whole.
    AskTheLog,
}

impl Across {
    pub(crate) fn new(log: LogId, epoch: Epoch, aborted: BTreeSet<BatchId>) -> Self {
        Self {
            log,
            epoch,
            next: AtomicU64::new(1),
            entries: Mutex::default(),
            aborted: Mutex::new(aborted),
            committed_count: AtomicU64::new(0),
            aborted_count: AtomicU64::new(0),
            recovered: 0,
            voided: 0,
        }
    }

    /// The same, with what the opening decided.
    pub(crate) fn with_decided(self, recovered: u64, voided: u64) -> Self {
        Self { recovered, voided, ..self }
    }

    pub(crate) fn stats(&self) -> AcrossStats {
        AcrossStats {
            begun: self.next.load(Ordering::Relaxed).saturating_sub(1),
            committed: self.committed_count.load(Ordering::Relaxed),
            aborted: self.aborted_count.load(Ordering::Relaxed),
            unsettled: self.entries.lock().by_number.len() as u64,
            recovered: self.recovered,
            voided: self.voided,
        }
    }

    /// Places every part of a batch. On success they are ordered, and promised nothing.
    ///
    /// `parts` are two or more, ascending, with records in each.
    pub(crate) fn place(
        &self,
        members: &[Arc<Member>],
        parts: &[PartDraft<'_>],
    ) -> Result<(Arc<Entry>, Tickets), Error> {
        self.prune(members);
        let entry = self.register(members, parts);
        let mut state = entry.state.lock();
        let mut tickets = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            match place_part(members, &entry, part) {
                Ok(ticket) => {
                    if let Some(end) = state.parts.get_mut(at) {
                        *end = Some(ticket.end());
                    }
                    tickets.push((part.partition, ticket));
                }
                Err(source) => {
                    let not_committed = source.fate() == Fate::NotCommitted;
                    let (batch, name) = (entry.id, name_of(members, part.partition));
                    if !not_committed {
                        state.stage = Stage::Lost(part.partition);
                        return Err(Error::InDoubt { batch, name, source: Some(Box::new(source)) });
                    }
                    state.stage = Stage::Ended(Outcome::Aborted);
                    self.aborted.lock().insert(entry.id);
                    self.aborted_count.fetch_add(1, Ordering::Relaxed);
                    // Nobody needs the notes: without the part that was refused, the batch is
                    // aborted by whoever looks. They spare the next opening the question.
                    let _ = append_notes(members, &entry, &mut state, Outcome::Aborted);
                    self.entries.lock().by_number.remove(&entry.id.number);
                    return Err(Error::NotCommitted { batch, name, source: Box::new(source) });
                }
            }
        }
        state.stage = Stage::Placed;
        drop(state);
        Ok((entry, tickets))
    }

    fn register(&self, members: &[Arc<Member>], parts: &[PartDraft<'_>]) -> Arc<Entry> {
        // The floors are read before anybody can look for this batch, so its parts lie above.
        let floor = |part: &PartDraft<'_>| {
            let reserved = members.get(part.partition).map(|at| at.wal.positions().reserved);
            (part.partition, reserved.unwrap_or(Lsn::NONE))
        };
        let floors: Vec<(usize, Lsn)> = parts.iter().map(floor).collect();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = BatchId { log: self.log, epoch: self.epoch, number };
        let none = vec![None; floors.len()];
        let state = State { stage: Stage::Placing, parts: none.clone(), notes: none };
        let entry = Arc::new(Entry { id, floors, state: Mutex::new(state) });
        let mut register = self.entries.lock();
        register.by_number.insert(number, Arc::clone(&entry));
        drop(register);
        entry
    }

    /// Learns whether every part is durable by now, or makes them so if it is to `wait`; then
    /// appends the notes.
    ///
    /// `None`: not yet.
    pub(crate) fn decide(
        &self,
        members: &[Arc<Member>],
        entry: &Entry,
        wait: bool,
    ) -> Result<Option<Outcome>, Error> {
        let mut state = if wait {
            entry.state.lock()
        } else {
            match entry.state.try_lock() {
                Some(state) => state,
                None => return Ok(None),
            }
        };
        let decided = self.decide_locked(members, entry, &mut state, wait)?;
        if let Some(outcome) = decided {
            // A note that cannot be appended now is tried again by whoever settles the batch.
            let _ = append_notes(members, entry, &mut state, outcome);
        }
        Ok(decided)
    }

    /// As [`decide`](Self::decide) without waiting for anything, notes included: whoever comes next
    /// appends them.
    pub(crate) fn decide_at_once(&self, members: &[Arc<Member>], entry: &Entry) -> Option<Outcome> {
        let mut state = entry.state.try_lock()?;
        self.decide_locked(members, entry, &mut state, false).ok().flatten()
    }

    fn decide_locked(
        &self,
        members: &[Arc<Member>],
        entry: &Entry,
        state: &mut State,
        wait: bool,
    ) -> Result<Option<Outcome>, Error> {
        match state.stage {
            Stage::Ended(outcome) => return Ok(Some(outcome)),
            Stage::Lost(partition) => {
                let (batch, name) = (entry.id, name_of(members, partition));
                return Err(Error::InDoubt { batch, name, source: None });
            }
            Stage::Placing => return Ok(None),
            Stage::Placed => {}
        }
        for ((partition, _), end) in entry.floors.iter().zip(&state.parts) {
            let (Some(member), Some(end)) = (members.get(*partition), *end) else {
                return Ok(None);
            };
            if !wait && !member.has_durable(end) {
                return Ok(None);
            }
            member.make_durable(end).map_err(|source| in_doubt(entry, member, source))?;
        }
        state.stage = Stage::Ended(Outcome::Committed);
        self.committed_count.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Outcome::Committed))
    }

    /// Settles every batch begun so far in which `partition` takes part: its outcome is durable in
    /// the log of every participant when this returns.
    pub(crate) fn settle_all_of(
        &self,
        members: &[Arc<Member>],
        partition: usize,
    ) -> Result<(), Error> {
        for entry in self.entries_of(Some(partition)) {
            self.settle(members, &entry)?;
        }
        Ok(())
    }

    /// Settles every batch begun so far; goes on past errors, and gives the first.
    pub(crate) fn settle_all(&self, members: &[Arc<Member>]) -> Result<(), Error> {
        let mut settled = Ok(());
        for entry in self.entries_of(None) {
            settled = settled.and(self.settle(members, &entry));
        }
        settled
    }

    fn settle(&self, members: &[Arc<Member>], entry: &Entry) -> Result<(), Error> {
        let mut state = entry.state.lock();
        let Some(outcome) = self.decide_locked(members, entry, &mut state, true)? else {
            return Ok(());
        };
        append_notes(members, entry, &mut state, outcome)?;
        for ((partition, _), note) in entry.floors.iter().zip(&state.notes) {
            if let (Some(member), Some(end)) = (members.get(*partition), *note) {
                member.make_durable(end).map_err(|source| in_doubt(entry, member, source))?;
            }
        }
        self.entries.lock().by_number.remove(&entry.id.number);
        Ok(())
    }

    /// An address at or below every part in `partition` whose batch is not settled; `reserved`, read
    /// before this call, if there is none.
    pub(crate) fn needed_from(&self, partition: usize, reserved: Lsn) -> Lsn {
        let entries = self.entries_of(Some(partition));
        let floors = entries.iter().flat_map(|entry| &entry.floors);
        let own = floors.filter(|(at, _)| *at == partition).map(|(_, floor)| *floor);
        own.fold(reserved, Lsn::min)
    }

    fn entries_of(&self, partition: Option<usize>) -> Vec<Arc<Entry>> {
        let takes_part = |entry: &&Arc<Entry>| {
            partition.is_none_or(|at| entry.floors.iter().any(|(own, _)| *own == at))
        };
        self.entries.lock().by_number.values().filter(takes_part).cloned().collect()
    }

    /// Forgets what has become settled by itself, now and then; batches whose tickets nobody waits
    /// for are moved on here.
    fn prune(&self, members: &[Arc<Member>]) {
        let count = {
            let register = self.entries.lock();
            if register.by_number.len() < register.prune_at.max(PRUNE_AT) {
                return;
            }
            register.by_number.len()
        };
        if count >= ENTRIES_MAX {
            // Nothing is synced on its own here: memory stays bounded by syncing now.
            let _ = self.settle_all(members);
        }
        for entry in self.entries_of(None) {
            // One that is in doubt stays.
            let _ = self.decide(members, &entry, false);
        }
        let mut register = self.entries.lock();
        register.by_number.retain(|_, entry| !is_settled(members, entry));
        register.prune_at = 2 * register.by_number.len();
    }

    /// What a part of batch `id` means to whoever reads it.
    pub(crate) fn fate_of(&self, members: &[Arc<Member>], id: BatchId) -> PartFate {
        let entry = self.entries.lock().by_number.get(&id.number).cloned();
        let ours = id.log == self.log && id.epoch == self.epoch;
        if let Some(entry) = entry.filter(|_| ours) {
            return match self.decide_at_once(members, &entry) {
                Some(Outcome::Committed) => PartFate::Counts,
                Some(Outcome::Aborted) => PartFate::Never,
                None => PartFate::Undecided(entry),
            };
        }
        if self.aborted.lock().contains(&id) {
            PartFate::Never
        } else if ours {
            PartFate::Counts
        } else {
            PartFate::AskTheLog
        }
    }
}

/// Appends the part of one participant, as one atomic batch of its log.
fn place_part(
    members: &[Arc<Member>],
    entry: &Entry,
    part: &PartDraft<'_>,
) -> Result<Ticket, wal::Error> {
    let head = PartHead {
        id: entry.id,
        members: u32::try_from(part.records.len()).unwrap_or(u32::MAX),
        own: part.partition,
        participants: entry.floors.iter().map(|(at, _)| *at).collect(),
    }
    .encode();
    let mut records = Vec::with_capacity(part.records.len() + 1);
    records.push((PART_KIND, head.as_slice()));
    records.extend(part.records.iter().copied());
    match members.get(part.partition) {
        Some(member) => member.wal.append_batch_kinds(&records),
        None => Err(wal::IoError::failed(
            wal::IoOp::Open,
            "no such partition",
            std::io::ErrorKind::NotFound.into(),
        )
        .into()),
    }
}

/// Appends the notes that are missing, to every participant that holds a part. They are not waited
/// for: whoever needs them durable sees to it.
fn append_notes(
    members: &[Arc<Member>],
    entry: &Entry,
    state: &mut State,
    outcome: Outcome,
) -> Result<(), Error> {
    let body = Note { id: entry.id, outcome }.encode();
    let mut appended = Ok(());
    let places = entry.floors.iter().zip(&state.parts).zip(&mut state.notes);
    for (((partition, _), part), note) in places {
        if part.is_none() || note.is_some() {
            continue;
        }
        let Some(member) = members.get(*partition) else { continue };
        match member.wal.append_kind(NOTE_KIND, &body) {
            Ok(ticket) => *note = Some(ticket.end()),
            Err(source) => appended = appended.and(Err(in_doubt(entry, member, source))),
        }
    }
    appended
}

fn is_settled(members: &[Arc<Member>], entry: &Entry) -> bool {
    let Some(state) = entry.state.try_lock() else { return false };
    let durable = |((partition, _), note): (&(usize, Lsn), &Option<Lsn>)| {
        let member = members.get(*partition);
        member.zip(*note).is_some_and(|(member, end)| member.has_durable(end))
    };
    matches!(state.stage, Stage::Ended(_)) && entry.floors.iter().zip(&state.notes).all(durable)
}

fn in_doubt(entry: &Entry, member: &Member, source: wal::Error) -> Error {
    Error::InDoubt { batch: entry.id, name: member.name.clone(), source: Some(Box::new(source)) }
}

fn name_of(members: &[Arc<Member>], partition: usize) -> String {
    members.get(partition).map_or_else(|| partition.to_string(), |member| member.name.clone())
}
