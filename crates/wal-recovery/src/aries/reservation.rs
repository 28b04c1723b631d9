//! How much space a rollback and a checkpoint may need. Pure arithmetic.
//!
//! Every update reserves the bytes of the compensation record that would take it back, before it
//! is logged; a transaction, its last two records; the manager, the next checkpoint. So a log that
//! is full can still roll everything back, and take a checkpoint.
//!
//! Invariants: what an [`Account`] holds is reserved in the log, byte for byte; a rollback or a
//! checkpoint that needs more than was reserved for it gets it where there is room, and never out of
//! what others were promised. Only a restart, which finds nothing promised, takes what there is.
//!
//! Source: statement 9 of ARIES as docs/aries.md has it.

use wal_format::body::{
    AriesEnd, Begin, CheckpointBegin, CheckpointEnd, CheckpointPart, Clr, Commit, DirtyPage, End,
    TxnEntry, Update,
};
use wal_format::{Lsn, PageId, encoded_bytes};

/// Entries of a table that are copied under one lock, and go into one part.
pub(super) const PART_ENTRIES: usize = 250;

/// Bytes of the engine's own in a checkpoint for which there is always room.
pub(super) const ENGINE_PAYLOAD_BYTES: usize = 1_024;

/// The records which end a transaction: the longer of commit and abort, and the end record.
pub(super) const CLOSING_BYTES: u64 = COMMIT_RECORD_BYTES + END_RECORD_BYTES;

const COMMIT_RECORD_BYTES: u64 = encoded_bytes(Commit::BYTES, true) as u64;

/// The end record of a transaction.
pub(super) const END_RECORD_BYTES: u64 = encoded_bytes(End::BYTES, true) as u64;

/// The begin record of a transaction.
pub(super) const BEGIN_RECORD_BYTES: u64 = encoded_bytes(Begin::BYTES, true) as u64;

/// The dummy CLR which ends a nested top action.
pub(super) const DUMMY_CLR_BYTES: u64 = encoded_bytes(Clr::HEAD_BYTES, true) as u64;

/// What one more dirty page adds to a checkpoint, its share of a part's head included. A
/// compensation may make a clean page dirty.
pub(super) const DIRTY_ENTRY_BYTES: u64 = DirtyPage::BYTES as u64 + 2;

/// What it may take to roll back a physical change whose before image has `before` bytes.
pub(super) const fn update_rollback_bytes(before: usize) -> u64 {
    encoded_bytes(Clr::HEAD_BYTES + before, true) as u64 + DIRTY_ENTRY_BYTES
}

/// What stays reserved for a physical change; one without a before image is not rolled back, and may
/// make a clean page dirty all the same.
pub(super) const fn update_kept_bytes(before: usize) -> u64 {
    if before == 0 { DIRTY_ENTRY_BYTES } else { update_rollback_bytes(before) }
}

/// What it may take to roll back a logical change: a compensation record with as many bytes as
/// the engine logged to do the change and to take it back. What else it logs is for it to say.
pub(super) const fn logical_rollback_bytes(redo: usize, undo: usize) -> u64 {
    encoded_bytes(Clr::HEAD_BYTES + redo + undo, true) as u64 + DIRTY_ENTRY_BYTES
}

/// What a change logged within the undo of another may take to roll back.
pub(super) const fn update_record_bytes(before: usize, after: usize) -> u64 {
    encoded_bytes(Update::HEAD_BYTES + before + after, true) as u64
}

/// The records of a checkpoint over tables of this size.
pub(super) const fn checkpoint_bytes(txns: usize, pages: usize) -> u64 {
    let part_head = encoded_bytes(CheckpointPart::HEAD_BYTES, false);
    // The parts may be copied from tables that grow meanwhile: one part more of each kind.
    let parts = txns / PART_ENTRIES + pages / PART_ENTRIES + 4;
    let entries = txns * TxnEntry::BYTES + pages * DirtyPage::BYTES;
    let begin = encoded_bytes(CheckpointBegin::BYTES, false);
    let end_head = CheckpointEnd::HEAD_BYTES + AriesEnd::HEAD_BYTES;
    let end = encoded_bytes(end_head + ENGINE_PAYLOAD_BYTES, false);
    (begin + parts * part_head + entries + end) as u64
}

/// What the manager keeps of a transaction beside its entry in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Bytes reserved for its rollback and its last records.
    pub(super) reserved: u64,
    /// Whether somebody holds it. What nobody holds is rolled back by whoever looks after that.
    pub(super) owned: bool,
    /// A record of it that was logged and is not in its page yet: the engine failed in between.
    pub(super) unapplied: Option<(Lsn, PageId)>,
    /// The record that its rollback could not take back, and the page for which that waits.
    pub(super) waits_for: Option<(Lsn, PageId)>,
    /// It ran before a restart that is not over, and what its rollback may take is not reserved:
    /// nobody knows how much that is, or there was no room. It takes what it needs, since a full
    /// disk must not keep a log from being opened, and nobody is promised anything yet.
    pub(super) unmetered: bool,
    /// Bytes that were reserved for it before a restart, and for which there was no room again yet.
    pub(super) owed: u64,
}

impl Account {
    /// Takes up to `bytes` out; gives how many there were.
    pub(super) fn draw(&mut self, bytes: u64) -> u64 {
        let drawn = bytes.min(self.reserved);
        self.reserved -= drawn;
        drawn
    }

    /// As [`draw`](Self::draw), and leaves the `closing` bytes of the transaction's last records.
    pub(super) fn draw_for_rollback(&mut self, bytes: u64, closing: u64) -> u64 {
        self.draw(bytes.min(self.reserved.saturating_sub(closing)))
    }

    /// What is missing for `bytes` of its rollback, beside the `closing` bytes of its last records.
    pub(super) const fn lacking(&self, bytes: u64, closing: u64) -> u64 {
        if self.unmetered { 0 } else { (bytes + closing).saturating_sub(self.reserved) }
    }

    /// Takes out what is held beyond `kept`; gives how much that was.
    pub(super) fn draw_down_to(&mut self, kept: u64) -> u64 {
        self.draw(self.reserved.saturating_sub(kept))
    }
}

/// Checkpoints that room is kept for. A log gives up what lies before the older one of those that it
/// retains, two by default: a full one takes as many to be emptied.
pub(super) const CHECKPOINTS_KEPT: u64 = 2;

/// The space of the next checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckpointSpace {
    /// Bytes reserved for it.
    pub(super) reserved: u64,
    /// Records being appended, each of which may add an entry to either table.
    pub(super) in_flight: usize,
}

impl CheckpointSpace {
    /// What is missing for so many checkpoints of tables of this size.
    pub(super) fn missing(&self, checkpoints: u64, txns: usize, pages: usize) -> u64 {
        let one = checkpoint_bytes(txns + self.in_flight, pages + self.in_flight);
        (checkpoints * one).saturating_sub(self.reserved)
    }
}
