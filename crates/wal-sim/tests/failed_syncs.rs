//! A sync that fails, as Linux does it: the cache calls the bytes clean, the device may lack them,
//! and each open file says so once (rule 6).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::IoSlice;

use wal_io::{Access, LogFile, Storage};
use wal_sim::{Call, CrashMode, Faults, SimDisk};

/// A disk with a durable file `f` of two sectors of ones.
fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.put_file("f", &[1; 1024]);
    disk
}

fn open(disk: &SimDisk) -> Box<dyn LogFile> {
    disk.open("f", Access::Write).unwrap()
}

fn write(file: &dyn LogFile, fill: u8, sector: u64) {
    assert_eq!(file.write_at(&[IoSlice::new(&[fill; 512])], sector * 512).unwrap(), 512);
}

/// The first byte of each sector after the worst crash.
fn sure(disk: &SimDisk) -> [u8; 2] {
    let left = disk.crash(CrashMode::LoseAll).contents("f").unwrap();
    [left[0], left[512]]
}

#[test]
fn r06_an_error_is_reported_once_by_each_open_file() {
    let disk = disk();
    let (one, other) = (open(&disk), open(&disk));
    write(&*one, 2, 0);
    disk.fail_writeback("f").unwrap();
    assert!(one.sync_data().is_err() && one.sync_data().is_ok());
    assert!(other.sync_data().is_err() && other.sync_data().is_ok());
    assert!(open(&disk).sync_data().is_ok(), "opened after the error was seen");
}

#[test]
fn r06_an_error_nobody_has_seen_waits_for_the_next_open_file() {
    let disk = disk();
    let file = open(&disk);
    write(&*file, 2, 0);
    disk.fail_writeback("f").unwrap();
    drop(file);
    assert!(open(&disk).sync_data().is_err());
    assert!(open(&disk).sync_data().is_ok());
}

#[test]
fn r06_two_flush_slots_on_one_open_file_hide_an_error_from_each_other() {
    let disk = disk();
    let shared = open(&disk);
    write(&*shared, 2, 0);
    write(&*shared, 3, 1);
    disk.fail_writeback("f").unwrap();
    assert!(shared.sync_data().is_err(), "the first slot takes the error");
    assert!(shared.sync_data().is_ok(), "the second slot is told that all is well");
    assert_eq!(sure(&disk), [1, 1], "and its bytes are lost");
}

#[test]
fn r06_each_flush_slot_with_its_own_open_file_learns_of_the_error() {
    let disk = disk();
    let (first, second) = (open(&disk), open(&disk));
    write(&*first, 2, 0);
    write(&*second, 3, 1);
    disk.fail_writeback("f").unwrap();
    assert!(first.sync_data().is_err());
    assert!(second.sync_data().is_err());
}

#[test]
fn a_later_sync_does_not_bring_back_what_a_failed_one_lost() {
    let disk = disk();
    let file = open(&disk);
    disk.set_faults(Faults::new().fail(Call::Sync, 1));
    write(&*file, 2, 0);
    assert!(file.sync_data().is_err());
    write(&*file, 3, 1);
    assert!(file.sync_data().is_ok());
    assert_eq!(sure(&disk), [1, 3]);
    assert_eq!(disk.faults_fired()[&Call::Sync], 1);
}

#[test]
fn the_cache_shows_what_a_failed_sync_lost_until_it_forgets() {
    let disk = disk();
    let file = open(&disk);
    write(&*file, 2, 0);
    disk.fail_writeback("f").unwrap();
    assert_eq!(disk.contents("f").unwrap()[0], 2);
    disk.drop_caches();
    assert_eq!(disk.contents("f").unwrap()[0], 1);
}

#[test]
fn what_a_failed_sync_covered_may_also_have_survived() {
    let disk = disk();
    write(&*open(&disk), 2, 0);
    disk.fail_writeback("f").unwrap();
    let left: Vec<u8> =
        disk.crash_states(10, 0).map(|state| state.contents("f").unwrap()[0]).collect();
    assert_eq!(left, [1, 2]);
}

#[test]
fn written_again_and_synced_the_bytes_are_durable() {
    let disk = disk();
    let file = open(&disk);
    write(&*file, 2, 0);
    disk.fail_writeback("f").unwrap();
    assert!(file.sync_data().is_err());
    write(&*file, 2, 0);
    assert!(file.sync_data().is_ok());
    assert_eq!(sure(&disk), [2, 1]);
}

#[test]
fn a_failed_write_through_says_so_and_promises_nothing() {
    let disk = disk();
    let through = disk.open("f", Access::WriteThrough).unwrap();
    disk.set_faults(Faults::new().fail_writeback(1));
    assert!(through.write_at(&[IoSlice::new(&[2; 512])], 0).is_err());
    assert_eq!(sure(&disk), [1, 1]);
}

#[test]
fn a_file_made_longer_by_a_failed_sync_may_be_short_for_ever() {
    let disk = disk();
    let file = open(&disk);
    write(&*file, 2, 2);
    disk.fail_writeback("f").unwrap();
    assert!(file.sync_data().is_err() && file.sync_data().is_ok());
    assert_eq!(disk.crash(CrashMode::LoseAll).contents("f").unwrap().len(), 1024);
    // A sync of bytes that lie further out must keep the length that holds them.
    write(&*file, 3, 3);
    assert!(file.sync_data().is_ok());
    let left = disk.crash(CrashMode::LoseAll).contents("f").unwrap();
    assert_eq!((left.len(), left[1024], left[1536]), (2048, 0, 3));
}

#[test]
fn a_sync_keeps_the_length_for_bytes_within_one_that_a_failed_sync_lost() {
    let disk = disk();
    let file = open(&disk);
    write(&*file, 2, 2);
    disk.fail_writeback("f").unwrap();
    assert!(file.sync_data().is_err());
    // The length as programs see it does not change, but the device does not have it.
    write(&*file, 3, 2);
    assert!(file.sync_data().is_ok());
    let left = disk.crash(CrashMode::LoseAll).contents("f").unwrap();
    assert_eq!((left.len(), left[1024]), (1536, 3));
}

#[test]
fn a_failed_directory_sync_leaves_its_names_in_doubt_for_ever() {
    let disk = SimDisk::new();
    disk.set_faults(Faults::new().fail(Call::SyncDir, 1));
    disk.create("lost", 0).unwrap();
    assert!(disk.sync_dir().is_err());
    assert!(disk.sync_dir().is_ok());
    assert!(disk.crash(CrashMode::LoseAll).names().is_empty());
    assert_eq!(disk.crash(CrashMode::KeepAll).names(), ["lost"]);
}

#[test]
fn failing_calls_on_names_change_nothing() {
    for call in [Call::Create, Call::Rename, Call::Remove, Call::SetLen, Call::Open, Call::List] {
        let disk = disk();
        let file = open(&disk);
        disk.set_faults(Faults::new().fail(call, 1));
        let failed = match call {
            Call::Create => disk.create("g", 0).is_err(),
            Call::Rename => disk.rename("f", "g").is_err(),
            Call::Remove => disk.remove("f").is_err(),
            Call::SetLen => file.set_len(0).is_err(),
            Call::Open => disk.open("f", Access::Read).is_err(),
            _ => disk.list().is_err(),
        };
        assert!(failed, "{call}");
        assert_eq!(disk.contents("f"), Some(vec![1; 1024]), "{call}");
        assert_eq!(disk.names(), ["f"], "{call}");
    }
}
