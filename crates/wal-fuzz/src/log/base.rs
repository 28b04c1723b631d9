//! The logs that are damaged: closed and not, with and without a checkpoint, of several epochs.

use std::sync::{Arc, LazyLock};

use wal::{Storage, Wal};

use super::files::{Files, Place};
use super::opening::{Replayed, look_once, opened};

/// A valid log.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) files: Files,
    /// What a replay of the whole log gives.
    pub(super) written: Replayed,
    /// Closed, so that its control file says where it ends.
    pub(super) clean: bool,
    /// An opening replays only what follows its checkpoint.
    pub(super) checkpointed: bool,
}

static ALL: LazyLock<[Base; 4]> = LazyLock::new(|| {
    let empty = Place::of(&Files::default());
    append(&empty, 0, false);
    let clean = Place::of(&Files::of(&empty));
    append(&clean, 20, true);
    let unclean = Place::of(&Files::of(&clean));
    append(&unclean, 40, false);
    let checkpointed = Place::of(&Files::of(&clean));
    checkpoint(&checkpointed);
    [
        base(&empty, false, false),
        base(&clean, true, false),
        base(&unclean, false, false),
        base(&checkpointed, true, true),
    ]
});

/// One of the logs; any number means one.
pub(super) fn one(number: u8) -> &'static Base {
    &ALL[usize::from(number) % ALL.len()]
}

fn base(storage: &Arc<dyn Storage>, clean: bool, checkpointed: bool) -> Base {
    let files = Files::of(storage);
    let (verdict, written) = look_once(&files).unwrap();
    assert!(!verdict.is_damage() && !written.is_empty(), "{verdict}");
    Base { files, written, clean, checkpointed }
}

/// Opens, writes some of everything, and closes or does not.
fn append(storage: &Arc<dyn Storage>, from: usize, close: bool) {
    let (wal, _) = opened(storage).unwrap();
    for number in from..from + 6 {
        let body = format!("record {number} {}", "x".repeat(number % 13));
        wal.append(body.as_bytes()).unwrap().wait_durable().unwrap();
    }
    // Large enough for a rotation with those of the next opening.
    wal.append(&vec![from as u8; 30_000]).unwrap().wait_durable().unwrap();
    wal.append_batch(&["batched", "together", ""]).unwrap().wait_durable().unwrap();
    transaction(&wal);
    if close {
        wal.close().unwrap();
    }
}

/// A transaction that commits around one that aborts, and one that does neither.
fn transaction(wal: &Wal) {
    let mut kept = wal.begin();
    let mut aborted = wal.begin();
    kept.log(b"kept").unwrap();
    aborted.log(b"aborted").unwrap();
    aborted.abort().unwrap();
    kept.log(b"kept too").unwrap();
    kept.commit().unwrap();
    wal.append(b"after it").unwrap().wait_durable().unwrap();
}

fn checkpoint(storage: &Arc<dyn Storage>) {
    let (wal, _) = opened(storage).unwrap();
    for number in 0..3 {
        let checkpoint = wal.checkpoint_begin().unwrap();
        wal.append(format!("during checkpoint {number}").as_bytes())
            .unwrap()
            .wait_durable()
            .unwrap();
        checkpoint.complete(b"a snapshot").unwrap();
    }
    wal.append(b"after the checkpoint").unwrap().wait_durable().unwrap();
    wal.close().unwrap();
}
