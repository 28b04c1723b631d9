//! Appends that nobody waits for: what is written without being asked for, and what is not.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Disk, start};
use wal_commit::Threads;
use wal_format::{RecordDraft, RecordKind};

#[test]
fn who_appends_writes_out_what_is_worth_a_call_and_syncs_nothing() {
    let (log, disk) = start(Disk::new(8 << 20), |config| {
        config.threads = Threads::None;
        config.buffer_bytes = 8 << 20;
    });
    let parts: [&[u8]; 1] = [&[7; 1000]];
    let draft = RecordDraft::new(RecordKind::DATA, &parts);
    let mut bytes = 0;
    while disk.calls().0 == 0 {
        let range = log.append_untracked(&draft).unwrap();
        assert_eq!(range.bytes(), 1024);
        bytes += range.bytes();
        assert!(bytes <= 512 << 10, "an eighth of a part of 4 MiB is enough");
    }
    assert_eq!((bytes, disk.calls()), (512 << 10, (1, 0)));
    assert_eq!(disk.bodies().len(), 512);
    assert_eq!(log.positions().written, log.positions().reserved);
}

#[test]
fn a_write_that_nobody_asked_for_and_that_fails_poisons_the_log() {
    let (log, disk) = start(Disk::new(8 << 20), |config| {
        config.threads = Threads::None;
        config.buffer_bytes = 8 << 20;
    });
    disk.fail_write(1);
    let parts: [&[u8]; 1] = [&[7; 1000]];
    let draft = RecordDraft::new(RecordKind::DATA, &parts);
    for _ in 0..512 {
        log.append_untracked(&draft).unwrap();
    }
    assert!(log.is_poisoned());
    log.append_untracked(&draft).unwrap_err();
}
