//! The kinds of device: large sectors, a cache that lies, space that was used before, decay, time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice};

use wal_io::{Access, LogFile, Storage};
use wal_sim::{Call, CrashMode, FaultKind, Faults, Model, SimDisk, SimError};

fn write(file: &dyn LogFile, fill: u8, offset: u64, bytes: usize) {
    assert_eq!(file.write_at(&[IoSlice::new(&vec![fill; bytes])], offset).unwrap(), bytes);
}

/// A durable file `f` of `bytes` ones.
fn with_file(model: Model, bytes: usize) -> (SimDisk, Box<dyn LogFile>) {
    let disk = model.disk();
    disk.put_file("f", &vec![1; bytes]);
    let file = disk.open("f", Access::Write).unwrap();
    (disk, file)
}

/// The first byte of each 512 bytes of `f`, in every state that a power cut can leave.
fn outcomes(disk: &SimDisk) -> BTreeSet<String> {
    let letters = |bytes: Vec<u8>| -> String {
        bytes.chunks(512).map(|chunk| char::from(b'0' + chunk[0])).collect()
    };
    disk.crash_states(4096, 0)
        .map(|state| state.contents("f").map_or("gone".to_owned(), letters))
        .collect()
}

fn set(outcomes: &[&str]) -> BTreeSet<String> {
    outcomes.iter().map(|&outcome| outcome.to_owned()).collect()
}

// ---- What ended: the power, or the process alone.

#[test]
fn a_disk_knows_whether_the_power_was_ever_lost() {
    let (disk, file) = with_file(Model::new(), 512);
    write(&*file, 2, 0, 512);
    assert!(!disk.lost_power() && !disk.fork().fork().lost_power());
    let cut = disk.fork().crash(CrashMode::KeepAll);
    assert!(cut.lost_power() && cut.fork().lost_power(), "processes that die later change nothing");
    assert!(disk.crash_states(8, 0).all(|state| state.lost_power()));
}

// ---- Sectors of 4 KiB.

#[test]
fn four_kilobytes_survive_together_on_a_device_of_such_sectors() {
    let (disk, file) = with_file(Model::new().sector_bytes(4096), 8192);
    write(&*file, 2, 0, 512);
    write(&*file, 3, 1024, 512);
    write(&*file, 4, 4096, 512);
    let first = ["11111111", "21111111", "21311111"];
    let all: Vec<String> = first
        .iter()
        .flat_map(|first| ["11111111", "41111111"].map(|second| format!("{first}{second}")))
        .collect();
    assert_eq!(outcomes(&disk), all.into_iter().collect());
}

#[test]
fn large_sectors_tear_within_themselves() {
    let (disk, file) = with_file(Model::new().sector_bytes(4096), 4096);
    write(&*file, 2, 0, 4096);
    let torn = (0..200).filter_map(|seed| disk.crash(CrashMode::Torn(seed)).contents("f"));
    let mixed = |bytes: &Vec<u8>| bytes[..].contains(&1) && bytes[..].contains(&2);
    assert!(torn.filter(mixed).count() > 5);
}

// ---- A cache that lies.

#[test]
fn what_a_lying_sync_covered_is_durable_after_so_many_more() {
    let (disk, file) = with_file(Model::new().lying_cache(2), 1024);
    write(&*file, 2, 0, 512);
    for _ in 0..2 {
        file.sync_data().unwrap();
        assert_eq!(outcomes(&disk), set(&["11", "21"]));
    }
    // The directory's syncs count as well: it is one cache.
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk), set(&["21"]));
    assert_eq!(disk.faults_met()[&FaultKind::LyingSync], 3);
}

#[test]
fn a_lying_sync_covers_only_what_was_written_before_it() {
    let (disk, file) = with_file(Model::new().lying_cache(1), 1024);
    write(&*file, 2, 0, 512);
    file.sync_data().unwrap();
    write(&*file, 3, 0, 512);
    write(&*file, 4, 512, 512);
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk), set(&["21", "31", "24", "34"]));
}

#[test]
fn a_cache_that_lies_forgets_lengths_and_names_as_well() {
    let disk = Model::new().lying_cache(1).disk();
    let file = disk.create("f", 0).unwrap();
    write(&*file, 2, 0, 512);
    write(&*file, 3, 512, 512);
    file.sync_all().unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk), set(&["23", "gone"]), "the file's sync took effect");
    write(&*file, 4, 1024, 512);
    file.sync_all().unwrap();
    assert_eq!(outcomes(&disk), set(&["23", "230", "234"]));
    file.set_len(512).unwrap();
    file.sync_all().unwrap();
    assert_eq!(outcomes(&disk), set(&["234", "2"]));
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk), set(&["2"]));
}

#[test]
fn the_death_of_a_process_does_not_make_a_cache_forget_its_lies() {
    let (disk, file) = with_file(Model::new().lying_cache(1), 512);
    for fill in 2..5 {
        write(&*file, fill, 0, 512);
        file.sync_data().unwrap();
    }
    let left = disk.fork();
    assert_eq!(outcomes(&left), set(&["3", "4"]));
    left.sync_dir().unwrap();
    assert_eq!(outcomes(&left), set(&["4"]));
}

#[test]
fn a_write_through_a_lying_cache_lies_too() {
    let (disk, _) = with_file(Model::new().lying_cache(1), 512);
    let through = disk.open("f", Access::WriteThrough).unwrap();
    write(&*through, 2, 0, 512);
    assert_eq!(outcomes(&disk), set(&["1", "2"]));
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk), set(&["2"]));
}

#[test]
fn a_length_that_a_lying_sync_covered_leaves_later_cuts_in_their_order() {
    let (disk, file) = with_file(Model::new().lying_cache(1), 1024);
    file.set_len(512).unwrap();
    file.set_len(1024).unwrap();
    file.sync_all().unwrap();
    write(&*file, 5, 512, 512);
    file.set_len(512).unwrap();
    file.set_len(1536).unwrap();
    file.sync_all().unwrap();
    // Longer again, the file shows zeros where it was cut, never what was written before the cut.
    assert_eq!(outcomes(&disk), set(&["10", "15", "1", "100"]));
}

// ---- Space that was used before.

/// A disk on which a file of sevens was removed, and `f` is new; synced if `sync`.
fn recycled(model: Model, sync: bool) -> SimDisk {
    let disk = model.disk();
    disk.put_file("old", &[7; 1024]);
    disk.remove("old").unwrap();
    disk.sync_dir().unwrap();
    let file = disk.create("f", 1024).unwrap();
    disk.sync_dir().unwrap();
    if sync {
        file.sync_all().unwrap();
    }
    write(&*file, 2, 512, 512);
    disk
}

#[test]
fn a_file_that_was_never_synced_may_show_what_its_space_held() {
    let disk = recycled(Model::new().recycled_space(), false);
    assert_eq!(outcomes(&disk), set(&["", "00", "02", "77", "72"]));
    assert_eq!(disk.contents("f").unwrap()[0], 0, "programs see zeros");
}

#[test]
fn a_synced_file_shows_its_own_zeros_only() {
    let disk = recycled(Model::new().recycled_space(), true);
    assert_eq!(outcomes(&disk), set(&["00", "02"]));
}

#[test]
fn a_synced_file_that_grows_shows_its_own_bytes() {
    let disk = recycled(Model::new().recycled_space(), true);
    let file = disk.open("f", Access::Write).unwrap();
    file.sync_all().unwrap();
    file.set_len(1536).unwrap();
    assert_eq!(outcomes(&disk), set(&["02", "020"]));
}

#[test]
fn states_of_recycled_space_are_counted_before_they_are_enumerated() {
    let disk = recycled(Model::new().recycled_space(), false);
    assert!(disk.crash_states(6, 0).is_exhaustive());
    assert!(!disk.crash_states(4, 0).is_exhaustive());
}

#[test]
fn space_is_recycled_only_when_asked_for() {
    assert_eq!(outcomes(&recycled(Model::new(), false)), set(&["", "00", "02"]));
}

// ---- Decay.

#[test]
fn an_unreadable_sector_fails_every_read_until_it_is_written_whole() {
    let (disk, file) = with_file(Model::new(), 1536);
    disk.spoil_sector("f", 1).unwrap();
    let mut bytes = [0; 512];
    let error = file.read_at(&mut bytes, 600).unwrap_err();
    assert_eq!(SimError::of(&error), Some(SimError::Unreadable));
    assert!(file.read_at(&mut bytes, 1).is_err(), "it reaches into the sector");
    assert!(file.read_at(&mut bytes, 0).is_ok() && file.read_at(&mut bytes, 1024).is_ok());
    let left = disk.crash(CrashMode::LoseAll).open("f", Access::Read).unwrap();
    assert!(left.read_at(&mut bytes, 512).is_err(), "a power cut mends nothing");
    write(&*file, 3, 0, 512);
    for mode in [CrashMode::LoseAll, CrashMode::KeepAll] {
        let left = disk.crash(mode).open("f", Access::Read).unwrap();
        assert!(left.read_at(&mut bytes, 512).is_err(), "nor beside what was pending");
    }
    assert!(file.write_at(&[IoSlice::new(&[2; 100])], 512).is_err(), "half a sector");
    write(&*file, 2, 512, 512);
    assert_eq!(file.read_at(&mut bytes, 512).unwrap(), 512);
}

#[test]
fn a_lost_write_shows_what_was_there_before() {
    let (disk, file) = with_file(Model::new(), 1024);
    write(&*file, 2, 512, 512);
    file.sync_data().unwrap();
    disk.lose_write("f", 1).unwrap();
    assert_eq!(outcomes(&disk), set(&["11"]));
}

#[test]
fn a_misdirected_write_is_in_the_wrong_place_and_not_in_the_right_one() {
    let (disk, file) = with_file(Model::new(), 1536);
    write(&*file, 2, 1024, 512);
    file.sync_data().unwrap();
    disk.misdirect("f", 2, 0).unwrap();
    assert_eq!(outcomes(&disk), set(&["211"]));
}

#[test]
fn a_stale_sector_shows_another_file() {
    let (disk, _) = with_file(Model::new(), 1024);
    disk.put_file("g", &[5; 2048]);
    disk.stale_sector("f", 1, "g").unwrap();
    assert_eq!(outcomes(&disk), set(&["15"]));
    let beyond = disk.stale_sector("f", 2, "g").unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::InvalidInput);
    assert!(disk.stale_sector("f", 0, "none").is_err());
}

#[test]
fn every_kind_of_decay_can_be_drawn_and_is_remembered() {
    let (disk, file) = with_file(Model::new(), 4096);
    disk.put_file("g", &[5; 4096]);
    write(&*file, 2, 0, 2048);
    file.sync_data().unwrap();
    for kind in FaultKind::LATENT {
        let decayed = disk.fork();
        let damage = decayed.decay(kind, 3).unwrap();
        assert_eq!(damage.kind, kind);
        assert_ne!(decayed.fingerprint(), disk.fingerprint(), "{kind}");
        assert!(decayed.damages().iter().all(|damage| damage.kind == kind), "{kind}");
        assert!(decayed.crash(CrashMode::LoseAll).damages().contains(&damage));
        let again = disk.fork();
        assert_eq!(again.decay(kind, 3), Some(damage), "a seed means the same damage");
        assert_eq!(again.fingerprint(), decayed.fingerprint());
    }
    assert_eq!(disk.decay(FaultKind::PowerCut, 3), None);
    assert_eq!(disk.damages(), []);
    disk.put_file("f", &[5; 4096]);
    assert_eq!(disk.decay(FaultKind::StaleSector, 3), None, "the other file holds the same");
    assert_eq!(disk.damages(), []);
    assert_eq!(SimDisk::new().decay(FaultKind::BitFlip, 3), None, "nothing is there to decay");
}

// ---- Time and chance.

#[test]
fn slow_calls_take_simulated_time_only() {
    let (disk, file) = with_file(Model::new(), 512);
    disk.set_faults(Faults::new().slow(Call::Sync, 2, 7_000_000));
    let (began, opened) = (disk.unix_us(), disk.clock_us());
    file.sync_data().unwrap();
    let first = disk.clock_us();
    file.sync_data().unwrap();
    assert!(disk.clock_us() - first > 7_000_000);
    assert_eq!(disk.unix_us() - began, disk.clock_us() - opened);
    assert_eq!(disk.faults_met()[&FaultKind::SlowCall], 1);
}

#[test]
fn a_seed_means_the_same_identities() {
    let draw = |seed| {
        let mut bytes = [0; 20];
        Model::new().seed(seed).disk().entropy(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let disk = SimDisk::new();
    let (mut first, mut second) = ([0; 16], [0; 16]);
    disk.entropy(&mut first).unwrap();
    disk.crash(CrashMode::LoseAll).entropy(&mut second).unwrap();
    assert_ne!(first, second, "an identity is not given twice, not even after a crash");
}

#[test]
fn faults_are_counted_by_what_they_were() {
    let (disk, file) = with_file(Model::new(), 512);
    let faults = Faults::new()
        .fail(Call::Sync, 1)
        .fail(Call::SyncDir, 1)
        .short_write(1, 100)
        .interrupt_every(Call::Read, 1)
        .fail(Call::Rename, 1)
        .space_bytes(600);
    disk.set_faults(faults);
    assert!(file.sync_data().is_err() && disk.sync_dir().is_err());
    assert_eq!(file.write_at(&[IoSlice::new(&[2; 200])], 0).unwrap(), 100);
    assert!(file.read_at(&mut [0], 0).is_err() && disk.rename("f", "g").is_err());
    assert_eq!(disk.create("h", 4096).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.set_faults(Faults::new().short_reads(1));
    assert_eq!(file.read_at(&mut [0; 9], 0).unwrap(), 1);
    let kinds = [
        FaultKind::SyncFailed,
        FaultKind::DirectorySyncFailed,
        FaultKind::ShortWrite,
        FaultKind::ShortRead,
        FaultKind::Interrupted,
        FaultKind::NoSpace,
        FaultKind::CallFailed,
    ];
    assert_eq!(disk.faults_met().into_keys().collect::<Vec<_>>(), kinds);
    assert!(disk.faults_met().values().all(|&count| count == 1));
}
