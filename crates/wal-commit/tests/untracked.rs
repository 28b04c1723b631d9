//! Appends that nobody waits for: what is written without being asked for, and what is not.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{Disk, Prepare, Sink, start};
use wal_commit::{CommitConfig, GroupCommit, Start, Threads};
use wal_format::{RecordDraft, RecordKind};

#[test]
fn who_appends_writes_out_what_is_worth_a_call_and_syncs_nothing() {
    // A short record and a long one go different ways.
    for (body_bytes, record_bytes) in [(488, 512), (1000, 1024)] {
        let (log, disk) = start(Disk::new(8 << 20), |config| {
            config.threads = Threads::None;
            config.buffer_bytes = 8 << 20;
        });
        let parts: [&[u8]; 1] = [&[7; 1000][..body_bytes]];
        let draft = RecordDraft::new(RecordKind::DATA, &parts);
        let mut bytes = 0;
        while disk.calls().0 == 0 {
            let range = log.append_untracked(&draft).unwrap();
            assert_eq!(range.bytes(), record_bytes);
            bytes += range.bytes();
            assert!(bytes <= 512 << 10, "an eighth of a part of 4 MiB is enough");
        }
        assert_eq!((bytes, disk.calls()), (512 << 10, (1, 0)));
        assert_eq!(disk.bodies().len() as u64, (512 << 10) / record_bytes);
        assert_eq!(log.positions().written, log.positions().reserved);
    }
}

#[test]
fn a_log_that_was_opened_without_a_successor_is_given_one_ahead_of_need() {
    for body_bytes in [100, 1000] {
        let disk = Arc::new(Disk::new(8192));
        let (told, asked) = mpsc::channel();
        disk.on_prepare(move |base| told.send(base).unwrap_or_default());
        let at = Start { ready_end: disk.start().active_end, ..disk.start() };
        disk.without_successor();
        let mut config = CommitConfig::default();
        config.buffer_bytes = 64 << 10;
        let (sink, preparer) = (Box::new(Sink(disk.clone())), Arc::new(Prepare(disk.clone())));
        let log = GroupCommit::start(config, at, vec![sink], preparer).unwrap();
        let parts: [&[u8]; 1] = [&[7; 1000][..body_bytes]];
        let draft = RecordDraft::new(RecordKind::DATA, &parts);
        // The thread that makes segments looks once when it begins; what it then finds, nobody told it.
        std::thread::sleep(Duration::from_millis(100));
        // Past a quarter of what is left, and not to its end.
        while log.positions().reserved.get() < 4096 + 4096 {
            log.append_untracked(&draft).unwrap();
        }
        assert_eq!(asked.recv_timeout(Duration::from_secs(60)), Ok(at.active_end.get()));
        log.close().unwrap();
        assert_eq!(log.stats().segment_waits, 0);
    }
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
