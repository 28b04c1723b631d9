//! Both slots of the control file are lost: the checkpoint that a scan finds again stays found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io;
use std::sync::Arc;

use common::{copy_of, overwrite, small};
use wal::{CheckpointView, MemoryStorage, RedoOnly, RedoTarget, ReplayRecord, Storage, Wal};

#[derive(Debug, Default, PartialEq)]
struct Engine {
    restored: Vec<u8>,
    redone: Vec<Vec<u8>>,
}

impl RedoTarget for Engine {
    type Error = io::Error;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), io::Error> {
        self.restored = checkpoint.payload.to_vec();
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), io::Error> {
        self.redone.push(record.body.to_vec());
        Ok(())
    }
}

fn recover(storage: &Arc<dyn Storage>) -> (Wal, Engine) {
    let mut engine = Engine::default();
    let opener = small().recover_with(RedoOnly::default());
    (opener.open_in(Arc::clone(storage), &mut engine).unwrap(), engine)
}

fn durably(wal: &Wal, body: &[u8]) {
    wal.append(body).unwrap().wait_durable().unwrap();
}

/// A log which begins behind a checkpoint, with segments made since, not closed; no slot is whole.
fn truncated_log_without_control() -> Arc<dyn Storage> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = recover(&storage);
    (0..6).for_each(|_| durably(&wal, &[1; 30_000]));
    for _ in 0..3 {
        wal.checkpoint_begin().unwrap().complete(b"the snapshot").unwrap();
    }
    let truncated = wal.truncate_before(wal.positions().durable).unwrap();
    assert!(truncated.segments > 0);
    (0..6).for_each(|_| durably(&wal, &[2; 30_000]));
    durably(&wal, b"last");
    drop(wal);
    overwrite(storage.as_ref(), "control", 100, &[0xff; 8]);
    overwrite(storage.as_ref(), "control", 4096 + 100, &[0xff; 8]);
    storage
}

#[test]
fn r05_a_checkpoint_found_by_scanning_is_found_by_every_later_opening() {
    let storage = truncated_log_without_control();
    let (wal, first) = recover(&storage);
    assert_eq!((&first.restored[..], first.redone.len()), (&b"the snapshot"[..], 7));
    // A crash right after the opening, and a clean close: the same state both times.
    let crashed = copy_of(storage.as_ref());
    assert_eq!(recover(&crashed).1, first);
    wal.close().unwrap();
    drop(wal);
    assert_eq!(recover(&storage).1, first);
}

#[test]
fn r05_truncation_keeps_a_checkpoint_found_by_scanning() {
    let storage = truncated_log_without_control();
    let (wal, first) = recover(&storage);
    assert_eq!(wal.checkpoints().len(), 1);
    wal.truncate_before(wal.positions().durable).unwrap();
    wal.close().unwrap();
    drop(wal);
    assert_eq!(recover(&storage).1, first);
}
