//! Fuzzy checkpoints: nobody is stopped.
//!
//! ```text
//!   begin │ part 0 │ .. records of others .. │ part 1 │ .. │ end │      then the master record
//!           txns 1..250                        pages ..      redo_from, parts, next id
//! ```
//!
//! The tables are copied in steps, under the lock for one step at a time. What changes behind a
//! step lies behind the begin record, where analysis reads it.
//!
//! Invariants: the master record changes only after the end record is durable (statement 11); a
//! begin without an end counts for nothing (statement 12); `redo_from` is at most every recLSN and
//! every first record in the parts.
//!
//! Source: ARIES, "Checkpoints"; statements 9 to 15.

use std::time::Duration;

use wal_format::body::{
    AriesEnd, CheckpointBegin, CheckpointEnd, CheckpointPart, DirtyPage, TxnEntry,
};
use wal_format::{CheckpointPointer, Lsn, RecordKind, TxnId};

use super::manager::TxnManager;
use super::reservation::{ENGINE_PAYLOAD_BYTES, PART_ENTRIES};
use super::tables::Effect;
use crate::error::RecoveryError;
use crate::txn_log::Placed;

/// What a checkpoint has put into its parts so far.
#[derive(Debug)]
struct Copied {
    begin: Lsn,
    parts: u32,
    /// The lowest address that its entries need.
    redo_from: Lsn,
    body: Vec<u8>,
    /// Bytes of parts since the last wait.
    unsynced: u64,
    /// Up to where the last wait went; the begin record's end before there was one.
    waited: Lsn,
    /// How many bytes are added to a group of somebody's.
    beside: u64,
    /// Nobody committed during the last wait.
    alone: bool,
}

/// What a checkpoint adds to a group of somebody's: few bytes take no longer to sync than one.
const BESIDE_OTHERS_BYTES: u64 = 4 << 10;

/// How many groups of others a checkpoint is spread over before it adds more to each of them: it
/// is to end while what it says is still worth something, however large the tables are.
const GROUPS: u64 = 400;

/// What it syncs at once where nobody commits. Who comes then waits for that first.
const ALONE_BYTES: u64 = 64 << 10;

/// How long it looks out for a group of somebody else's to ride with before it asks for a sync of
/// its own, which others would have to wait for: longer than most devices take for one.
const RIDE: Duration = Duration::from_millis(5);

impl TxnManager {
    /// Takes a fuzzy checkpoint, with `engine_payload` in it for the engine's own use.
    ///
    /// # Durability
    ///
    /// When it returns, the next restart begins with it, and the log before the pointer's
    /// `redo_from` is not needed by what is in it.
    ///
    /// # Errors
    ///
    /// Those of the log. The checkpoint before it stays in force. There is room for one in a full
    /// log, with up to 1 KiB of the engine's own; after that for another only where there is some
    /// that no rollback was promised. Once everything is rolled back, it has what it needs.
    ///
    /// # Cost
    ///
    /// One record for 250 entries, put off until somebody else's commit takes the one before
    /// along: some 400 groups of others, and of very large tables up to 64 KiB with each. Where
    /// nobody commits for 5 ms, and at restart at once, one sync for each 64 KiB. Nobody waits for it,
    /// except other checkpoints.
    pub fn checkpoint(&self, engine_payload: &[u8]) -> Result<CheckpointPointer, RecoveryError> {
        let _one_at_a_time = self.checkpoints.lock();
        // A committed transaction that lacks its end would hold the log for ever.
        self.end_committed()?;
        self.make_room(engine_payload.len())?;
        let outcome = self.write_checkpoint(engine_payload);
        self.refill_checkpoint_space();
        let pointer = outcome?;
        // Statement 11: first durable, then the master record.
        self.log.wait_durable(pointer.end)?;
        self.log.record_checkpoint(pointer)?;
        self.state().end_restart();
        Ok(pointer)
    }

    /// Makes up what was reserved for a checkpoint with `payload_bytes` of the engine's own: the
    /// one before it may have used that up. Where nothing is promised to anybody there is nothing
    /// to take from, and it takes what is left.
    fn make_room(&self, payload_bytes: usize) -> Result<(), RecoveryError> {
        let more = payload_bytes.saturating_sub(ENGINE_PAYLOAD_BYTES) as u64;
        let missing = self.state().one_checkpoint_missing().saturating_add(more);
        if missing == 0 {
            return Ok(());
        }
        let reserved = self.log.reserve(missing);
        let mut state = self.state();
        match reserved {
            Ok(()) => state.space.reserved += missing,
            Err(full) if state.has_promised() => return Err(full),
            Err(_) => {}
        }
        Ok(())
    }

    fn write_checkpoint(&self, engine_payload: &[u8]) -> Result<CheckpointPointer, RecoveryError> {
        let begun = CheckpointBegin { begun_unix_us: self.log.unix_us() }.encode();
        let first = self.append_checkpoint(RecordKind::CHECKPOINT_BEGIN, &[&begun])?;
        let begin = first.lsn;
        let (beside, alone) = {
            let state = self.state();
            // Before a restart is over nobody else has the log.
            (beside_others(state.tables.txns.len(), state.tables.dirty.len()), state.restarting)
        };
        let mut copied = Copied {
            begin,
            parts: 0,
            redo_from: begin,
            body: Vec::new(),
            unsynced: 0,
            waited: first.end,
            beside,
            alone,
        };
        self.copy_txns(&mut copied)?;
        self.copy_pages(&mut copied)?;
        let next_txn_id = self.state().tables.txns.last_id().saturating_add(1);
        let payload = AriesEnd { parts: copied.parts, next_txn_id, engine: engine_payload };
        let payload_head = payload.encode_head();
        let [payload_head, engine] = payload.parts(&payload_head);
        let redo_from = copied.redo_from;
        let head = CheckpointEnd { begin, redo_from, payload: &[] }.encode_head();
        let parts: [&[u8]; 3] = [&head, payload_head, engine];
        let end = self.append_checkpoint(RecordKind::CHECKPOINT_END, &parts)?;
        Ok(CheckpointPointer { begin, redo_from, record: end.lsn, end: end.end })
    }

    // What enters a table behind its last entry of now is not copied: its record lies behind the
    // begin record. Otherwise a copy might never overtake those who go on working.

    fn copy_txns(&self, copied: &mut Copied) -> Result<(), RecoveryError> {
        let count = self.part_entries(TxnEntry::BYTES);
        let newest = TxnId::new(self.state().tables.txns.last_id());
        let mut after = TxnId::NONE;
        loop {
            let mut chunk = self.state().tables.txns.chunk_after(after, count);
            chunk.retain(|entry| entry.txn_id <= newest);
            let Some(last) = chunk.last() else { return Ok(()) };
            after = last.txn_id;
            let first = chunk.iter().map(|entry| entry.first_lsn).min();
            self.append_part(copied, &chunk, &[], first)?;
        }
    }

    fn copy_pages(&self, copied: &mut Copied) -> Result<(), RecoveryError> {
        let count = self.part_entries(DirtyPage::BYTES);
        let Some(highest) = self.state().tables.dirty.last_page() else { return Ok(()) };
        let mut after = None;
        loop {
            let mut chunk = self.state().tables.dirty.chunk_after(after, count);
            chunk.retain(|entry| entry.page <= highest);
            let Some(last) = chunk.last() else { return Ok(()) };
            after = Some(last.page);
            let oldest = chunk.iter().map(|entry| entry.rec_lsn).min();
            self.append_part(copied, &[], &chunk, oldest)?;
        }
    }

    fn append_part(
        &self,
        copied: &mut Copied,
        txns: &[TxnEntry],
        pages: &[DirtyPage],
        oldest: Option<Lsn>,
    ) -> Result<(), RecoveryError> {
        copied.body.clear();
        CheckpointPart::encode_into(copied.begin, copied.parts, txns, pages, &mut copied.body)
            .map_err(|source| self.unfit(source))?;
        let placed = self.append_checkpoint(RecordKind::CHECKPOINT_PART, &[&copied.body])?;
        copied.unsynced += placed.end.distance_from(placed.lsn).unwrap_or(0);
        let enough = if copied.alone { ALONE_BYTES } else { copied.beside };
        if copied.unsynced >= enough {
            self.wait_for_parts(copied, placed)?;
        }
        copied.parts += 1;
        copied.redo_from = oldest.map_or(copied.redo_from, |lsn| lsn.min(copied.redo_from));
        Ok(())
    }

    /// Lets the parts up to the `last` one become durable before more of them are appended.
    fn wait_for_parts(&self, copied: &mut Copied, last: Placed) -> Result<(), RecoveryError> {
        // Who was alone, and where nobody else has appended since, has nobody to look out for.
        let appended = last.end.distance_from(copied.waited).unwrap_or(u64::MAX);
        let others = !copied.alone || appended > copied.unsynced;
        copied.alone = !(others && self.log.ride(last.lsn, RIDE)?);
        if copied.alone {
            self.log.wait_durable(last.end)?;
        }
        (copied.waited, copied.unsynced) = (last.end, 0);
        Ok(())
    }

    /// Appends a record of the checkpoint, out of the space that is kept for it.
    fn append_checkpoint(
        &self,
        kind: RecordKind,
        parts: &[&[u8]],
    ) -> Result<Placed, RecoveryError> {
        let placed = self.append(None, kind, Effect::None, parts)?;
        let bytes = placed.end.distance_from(placed.lsn).unwrap_or(0);
        let drawn = {
            let mut state = self.state();
            let drawn = bytes.min(state.space.reserved);
            state.space.reserved -= drawn;
            drawn
        };
        self.give_back(drawn);
        Ok(placed)
    }

    /// How many entries of `entry_bytes` go into one part.
    fn part_entries(&self, entry_bytes: usize) -> usize {
        let room = self.log.body_bytes_max().saturating_sub(CheckpointPart::HEAD_BYTES);
        (room / entry_bytes).clamp(1, PART_ENTRIES)
    }
}

/// How many bytes of a checkpoint over tables of this size go along with one group of others.
fn beside_others(txns: usize, pages: usize) -> u64 {
    let bytes = (txns * TxnEntry::BYTES + pages * DirtyPage::BYTES) as u64;
    (bytes / GROUPS).clamp(BESIDE_OTHERS_BYTES, ALONE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_a_checkpoint_of_very_large_tables_takes_larger_steps() {
        assert_eq!(beside_others(0, 0), 4 << 10);
        assert_eq!(beside_others(10, 100_000), 4 << 10);
        let pages = 1_000_000;
        let groups = (pages * DirtyPage::BYTES) as u64 / beside_others(0, pages);
        assert!(groups <= GROUPS + 1, "{groups} groups of others");
        assert_eq!(beside_others(0, 100_000_000), 64 << 10, "no commit waits for more than that");
    }
}
