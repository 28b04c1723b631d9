//! The simulated disk obeys its model: one test for each thing that the contract lets a disk do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IoSlice};

use wal_io::{Access, LogFile, Storage};
use wal_sim::{CrashMode, Faults, SECTOR_BYTES, SimDisk, SimError};

const SECTOR: u64 = SECTOR_BYTES as u64;

fn write(file: &dyn LogFile, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(&[IoSlice::new(bytes)], offset)
}

/// A disk with a durable file `f` of `sectors` sectors of the byte `fill`.
fn disk_with(sectors: u64, fill: u8) -> (SimDisk, Box<dyn LogFile>) {
    let disk = SimDisk::new();
    let file = disk.create("f", 0).unwrap();
    write(&*file, &vec![fill; (sectors * SECTOR) as usize], 0).unwrap();
    file.sync_all().unwrap();
    disk.sync_dir().unwrap();
    (disk, file)
}

/// What a power cut can leave of `f`: the first byte of each of its sectors, or no file.
fn outcomes(disk: &SimDisk) -> BTreeSet<String> {
    let states = disk.crash_states(4096, 0);
    assert!(states.is_exhaustive());
    states.map(|state| summary(state.contents("f"))).collect()
}

fn summary(contents: Option<Vec<u8>>) -> String {
    let Some(bytes) = contents else { return "gone".to_owned() };
    let mut summary: String =
        bytes.chunks(SECTOR_BYTES).map(|sector| char::from(b'0' + sector[0])).collect();
    if summary.is_empty() {
        summary.push_str("empty");
    }
    summary
}

fn set(outcomes: &[&str]) -> BTreeSet<String> {
    outcomes.iter().map(|&outcome| outcome.to_owned()).collect()
}

fn power_is_off<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| SimError::of(&error) == Some(SimError::PowerOff))
}

// ---- Clause 1: every handle reads what was written.

#[test]
fn written_bytes_are_read_back_by_every_handle_at_once() {
    let (disk, one) = disk_with(1, 1);
    let other = disk.open("f", Access::Read).unwrap();
    write(&*one, b"new", 100).unwrap();
    let mut bytes = [0; 3];
    assert_eq!(other.read_at(&mut bytes, 100).unwrap(), 3);
    assert_eq!(&bytes, b"new");
}

// ---- Clause 2: what a sync covers.

#[test]
fn a_sync_on_any_handle_covers_the_writes_of_all() {
    let (disk, one) = disk_with(2, 1);
    let other = disk.open("f", Access::Write).unwrap();
    write(&*one, &[2; 512], 0).unwrap();
    other.sync_data().unwrap();
    assert_eq!(outcomes(&disk), set(&["21"]));
}

#[test]
fn a_sync_makes_the_length_durable_that_holds_the_bytes() {
    let (disk, file) = disk_with(1, 1);
    write(&*file, &[2; 512], SECTOR).unwrap();
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk), set(&["12"]));
}

#[test]
fn a_write_through_handle_makes_its_own_bytes_durable_and_no_others() {
    let (disk, file) = disk_with(3, 1);
    let through = disk.open("f", Access::WriteThrough).unwrap();
    write(&*file, &[2; 512], 0).unwrap();
    write(&*through, &[3; 512], SECTOR).unwrap();
    write(&*through, &[4; 512], 3 * SECTOR).unwrap();
    assert_eq!(outcomes(&disk), set(&["1314", "2314"]));
}

#[test]
fn a_sync_of_the_contents_does_not_keep_the_name() {
    let disk = SimDisk::new();
    let file = disk.create("f", SECTOR).unwrap();
    write(&*file, &[1; 512], 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(outcomes(&disk), set(&["gone", "1"]));
}

#[test]
fn a_sync_of_the_directory_does_not_keep_the_contents() {
    let disk = SimDisk::new();
    let file = disk.create("f", SECTOR).unwrap();
    write(&*file, &[1; 512], 0).unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk), set(&["empty", "0", "1"]));
}

// ---- Clause 3: any subset of the sectors, old or new.

#[test]
fn any_subset_of_unsynced_sectors_survives() {
    let (disk, file) = disk_with(3, 1);
    write(&*file, &[2; 3 * 512], 0).unwrap();
    let all: Vec<String> = (0..8)
        .map(|set: u8| (0..3).map(|at| if set >> at & 1 == 1 { '2' } else { '1' }).collect())
        .collect();
    assert_eq!(outcomes(&disk), all.into_iter().collect());
}

#[test]
fn a_sector_written_twice_may_survive_in_either_version() {
    let (disk, file) = disk_with(1, 1);
    write(&*file, &[2; 512], 0).unwrap();
    write(&*file, &[3; 512], 0).unwrap();
    assert_eq!(outcomes(&disk), set(&["1", "2", "3"]));
}

#[test]
fn of_many_versions_of_a_sector_the_durable_one_and_the_newest_sixteen_may_survive() {
    let (disk, file) = disk_with(1, 1);
    for fill in 2..=20 {
        write(&*file, &[fill; 512], 0).unwrap();
    }
    let newest: Vec<u8> = std::iter::once(1).chain(5..=20).collect();
    let left = disk.crash_states(100, 0).map(|state| state.contents("f").unwrap()[0]);
    assert_eq!(left.collect::<Vec<_>>(), newest);
}

#[test]
fn a_longer_file_may_keep_its_old_length_or_show_zeros() {
    let (disk, file) = disk_with(1, 1);
    write(&*file, &[2; 512], SECTOR).unwrap();
    assert_eq!(outcomes(&disk), set(&["1", "10", "12"]));
}

#[test]
fn a_cut_happens_or_not_and_uncovers_no_old_bytes() {
    let (disk, file) = disk_with(3, 1);
    file.set_len(SECTOR).unwrap();
    assert_eq!(outcomes(&disk), set(&["111", "1"]));
    file.set_len(2 * SECTOR).unwrap();
    assert_eq!(outcomes(&disk), set(&["111", "1", "10"]));
    write(&*file, &[2; 512], SECTOR).unwrap();
    assert_eq!(outcomes(&disk), set(&["111", "121", "1", "10", "12"]));
    file.sync_all().unwrap();
    assert_eq!(outcomes(&disk), set(&["12"]));
}

#[test]
fn a_cut_within_a_sector_zeroes_the_rest_of_it() {
    let (disk, file) = disk_with(1, 1);
    file.set_len(10).unwrap();
    file.set_len(SECTOR).unwrap();
    file.sync_all().unwrap();
    let left = disk.crash(CrashMode::LoseAll).contents("f").unwrap();
    assert_eq!((&left[..10], &left[10..]), (&[1; 10][..], &[0; 502][..]));
}

#[test]
fn torn_sectors_mix_old_and_new_bytes_and_no_others() {
    let (disk, file) = disk_with(4, 1);
    write(&*file, &[2; 4 * 512], 0).unwrap();
    let mut mixed = false;
    for seed in 0..64 {
        let left = disk.crash(CrashMode::Torn(seed)).contents("f").unwrap();
        assert!(left.iter().all(|&byte| byte == 1 || byte == 2));
        mixed |= left.chunks(512).any(|sector| sector.contains(&1) && sector.contains(&2));
    }
    assert!(mixed, "no sector was torn");
}

#[test]
fn whole_sectors_survive_unless_tearing_is_asked_for() {
    let (disk, file) = disk_with(4, 1);
    write(&*file, &[2; 4 * 512], 0).unwrap();
    for seed in 0..64 {
        let left = disk.crash(CrashMode::Random(seed)).contents("f").unwrap();
        assert!(left.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
    }
}

// ---- Clauses 4 and 5: names. The combinations are tested beside `directory`.

#[test]
fn a_rename_over_a_file_leaves_the_old_or_the_new_contents() {
    let (disk, _) = disk_with(1, 1);
    let new = disk.create("new", 0).unwrap();
    write(&*new, &[2; 512], 0).unwrap();
    new.sync_all().unwrap();
    disk.rename("new", "f").unwrap();
    assert_eq!(outcomes(&disk), set(&["1", "2"]));
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk), set(&["2"]));
}

#[test]
fn a_rename_that_survives_does_not_bring_the_contents_with_it() {
    let (disk, _) = disk_with(1, 1);
    let new = disk.create("new", 0).unwrap();
    write(&*new, &[2; 512], 0).unwrap();
    disk.rename("new", "f").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk), set(&["empty", "0", "2"]));
}

#[test]
fn a_removed_file_may_come_back_until_the_directory_is_synced() {
    let (disk, file) = disk_with(1, 1);
    disk.remove("f").unwrap();
    write(&*file, &[2; 512], 0).unwrap();
    assert_eq!(outcomes(&disk), set(&["gone", "1", "2"]));
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk), set(&["gone"]));
    file.sync_all().unwrap();
    assert_eq!(file.len().unwrap(), SECTOR, "open handles stay usable");
}

// ---- Power.

#[test]
fn every_call_fails_once_the_power_is_off() {
    let (disk, file) = disk_with(1, 1);
    disk.power_off();
    assert!(power_is_off(disk.list()));
    assert!(power_is_off(disk.create("g", 0)));
    assert!(power_is_off(disk.open("f", Access::Read)));
    assert!(power_is_off(disk.rename("f", "g")));
    assert!(power_is_off(disk.remove("f")));
    assert!(power_is_off(disk.sync_dir()));
    assert!(power_is_off(disk.lock()));
    assert!(power_is_off(file.read_at(&mut [0], 0)));
    assert!(power_is_off(write(&*file, b"x", 0)));
    assert!(power_is_off(file.sync_data()));
    assert!(power_is_off(file.sync_all()));
    assert!(power_is_off(file.len()));
    assert!(power_is_off(file.set_len(0)));
}

#[test]
fn operations_are_numbered_and_the_cut_falls_into_the_one_asked_for() {
    let (disk, file) = disk_with(1, 1);
    assert_eq!(disk.ops(), 4, "create, write, sync, sync directory");
    disk.power_cut_at(6);
    file.read_at(&mut [0], 0).unwrap();
    assert_eq!(disk.ops(), 4, "a read is no operation");
    write(&*file, &[2; 512], 0).unwrap();
    assert!(power_is_off(file.sync_data()));
    assert!(disk.is_off());
    assert_eq!(disk.last_op().map(|last| last.op), Some(6));
    assert_eq!(outcomes(&disk), set(&["1", "2"]), "the sync under way may have done its work");
}

#[test]
fn a_call_that_is_refused_is_no_operation() {
    let (disk, _) = disk_with(1, 1);
    assert_eq!(disk.create("f", 0).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(disk.remove("none").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.ops(), 4);
}

#[test]
fn a_write_through_cut_short_survives_in_any_part() {
    let (disk, _) = disk_with(2, 1);
    let through = disk.open("f", Access::WriteThrough).unwrap();
    disk.power_cut_at(5);
    assert!(power_is_off(write(&*through, &[2; 1024], 0)));
    assert_eq!(outcomes(&disk), set(&["11", "12", "21", "22"]));
}

#[test]
fn a_creation_cut_short_may_or_may_not_have_happened() {
    let disk = SimDisk::new();
    disk.power_cut_at(1);
    assert!(power_is_off(disk.create("f", 0)));
    assert_eq!(outcomes(&disk), set(&["gone", "empty"]));
}

#[test]
fn a_crash_leaves_the_disk_it_was_made_of_alone() {
    let (disk, file) = disk_with(1, 1);
    let crashed = disk.crash(CrashMode::KeepAll);
    crashed.remove("f").unwrap();
    write(&*file, &[2; 512], 0).unwrap();
    assert_eq!(disk.contents("f"), Some(vec![2; 512]));
    assert!(crashed.names().is_empty());
}

#[test]
fn the_lock_is_exclusive_and_does_not_survive_a_crash() {
    let disk = SimDisk::new();
    let guard = disk.lock().unwrap();
    assert_eq!(disk.lock().unwrap_err().kind(), ErrorKind::WouldBlock);
    let crashed = disk.crash(CrashMode::LoseAll);
    let _again = crashed.lock().unwrap();
    drop(guard);
    assert!(disk.lock().is_ok());
    assert!(crashed.lock().is_err(), "the old guard does not release the new lock");
}

// ---- Space, short calls, interruptions, blocks.

#[test]
fn a_full_device_refuses_and_leaves_no_file() {
    let (disk, file) = disk_with(2, 1);
    disk.set_faults(Faults::new().space_bytes(3 * SECTOR));
    assert_eq!(disk.create("g", 2 * SECTOR).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.names(), ["f"]);
    assert_eq!(write(&*file, &[2; 1024], 2 * SECTOR).unwrap(), 512, "what fits is written");
    assert_eq!(write(&*file, b"x", 3 * SECTOR).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.set_len(4 * SECTOR).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(write(&*file, &[3; 1024], 0).unwrap(), 1024, "what exists can be written over");
    disk.remove("f").unwrap();
    assert!(disk.create("g", SECTOR).is_err(), "an open file keeps its space");
    drop(file);
    disk.sync_dir().unwrap();
    disk.create("g", 3 * SECTOR).unwrap();
}

#[test]
fn short_and_interrupted_calls_do_what_they_say() {
    let (disk, file) = disk_with(1, 1);
    disk.set_faults(
        Faults::new().short_writes(3).short_reads(2).interrupt_every(wal_sim::Call::Write, 2),
    );
    assert_eq!(write(&*file, b"abcdef", 0).unwrap(), 3);
    assert_eq!(file.read_at(&mut [0; 9], 0).unwrap(), 2);
    disk.set_faults(Faults::new().interrupt_every(wal_sim::Call::Write, 2));
    assert!(write(&*file, b"A", 0).is_ok());
    assert_eq!(write(&*file, b"B", 0).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(disk.contents("f").unwrap()[..4], *b"Abc\x01");
}

#[test]
fn a_write_that_fails_half_way_has_written_half() {
    let (disk, file) = disk_with(2, 1);
    disk.set_faults(Faults::new().fail_write_after(1, 600));
    let error = write(&*file, &[2; 1024], 0).unwrap_err();
    assert_eq!(SimError::of(&error), Some(SimError::Device));
    let bytes = disk.contents("f").unwrap();
    assert_eq!((bytes[599], bytes[600]), (2, 1));
}

#[test]
fn block_writes_are_demanded_of_a_direct_disk_only() {
    let disk = SimDisk::with_block_bytes(4096);
    let file = disk.create("f", 0).unwrap();
    assert_eq!(file.block_bytes(), 4096);
    for (bytes, offset) in [(512, 0), (4096, 512)] {
        let error = write(&*file, &vec![1; bytes], offset).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(write(&*file, &[1; 8192], 4096).unwrap(), 8192);
    disk.set_faults(Faults::new().short_write(1, 5000));
    assert_eq!(write(&*file, &[1; 8192], 0).unwrap(), 4096, "short writes are whole blocks");
    assert_eq!(file.read_at(&mut [0; 10], 5).unwrap(), 10, "any read is legal");
}

// ---- Latent damage.

#[test]
fn damage_is_there_at_once_and_survives() {
    let (disk, file) = disk_with(3, 1);
    disk.flip_bit("f", 8 * 513 + 1).unwrap();
    assert_eq!(disk.contents("f").unwrap()[513], 3);
    disk.zero_sector("f", 0).unwrap();
    disk.copy_sector("f", 0, 2).unwrap();
    assert_eq!(outcomes(&disk), set(&["010"]));
    disk.overwrite("f", 2 * SECTOR, &[5; 2000]).unwrap();
    assert_eq!(outcomes(&disk), set(&["015"]));
    disk.cut_file("f", SECTOR).unwrap();
    assert_eq!(file.len().unwrap(), SECTOR);
    assert_eq!(outcomes(&disk), set(&["0"]));
    for beyond in [disk.flip_bit("f", 8 * 512), disk.zero_sector("f", 1)] {
        assert_eq!(beyond.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn files_can_be_put_swapped_and_removed() {
    let (disk, _) = disk_with(1, 1);
    disk.put_file("g", &[2; 512]);
    disk.swap_files("f", "g").unwrap();
    assert_eq!(outcomes(&disk), set(&["2"]));
    disk.remove_file("f").unwrap();
    assert_eq!(disk.crash(CrashMode::LoseAll).names(), ["g"]);
    assert!(disk.remove_file("f").is_err() && disk.swap_files("f", "g").is_err());
}

// ---- The whole of it.

#[test]
fn handles_are_counted_and_given_back() {
    let (disk, file) = disk_with(1, 1);
    let other = disk.open("f", Access::Read).unwrap();
    assert_eq!(disk.open_handles(), 2);
    drop((file, other));
    assert_eq!(disk.open_handles(), 0);
}

#[test]
fn a_read_only_handle_changes_nothing() {
    let (disk, _) = disk_with(1, 1);
    let file = disk.open("f", Access::Read).unwrap();
    assert_eq!(write(&*file, b"x", 0).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(file.set_len(0).unwrap_err().kind(), ErrorKind::PermissionDenied);
}

/// Does `count` calls drawn from `seed`; ends with nothing pending if `settle`.
fn random_calls(seed: u64, count: usize, settle: bool) -> SimDisk {
    let mut rng = wal_sim::SimRng::new(seed);
    let disk = SimDisk::new();
    for _ in 0..count {
        let name = ["a", "b", "c"][rng.below(3) as usize];
        let (at, fill) = (rng.below(3000), rng.next_u64() as u8);
        // Calls on names that are not there, or already there, are part of it.
        let _ = match rng.below(8) {
            0 => disk.create(name, at).map(drop),
            1 => disk.rename(name, ["a", "b", "c"][rng.below(3) as usize]),
            2 => disk.remove(name),
            3 => disk.sync_dir(),
            call => disk.open(name, Access::Write).and_then(|file| match call {
                4 => file.set_len(at),
                5 => file.sync_data(),
                _ => write(&*file, &vec![fill; rng.below(1500) as usize], at).map(drop),
            }),
        };
    }
    if settle {
        disk.sync_dir().unwrap();
        for name in disk.names() {
            disk.open(&name, Access::Write).unwrap().sync_all().unwrap();
        }
    }
    disk
}

#[test]
fn keeping_all_is_what_programs_saw() {
    for seed in 0..200 {
        let disk = random_calls(seed, 60, false);
        let kept = disk.crash(CrashMode::KeepAll).fingerprint();
        assert_eq!(kept, disk.fingerprint(), "seed {seed}");
    }
}

#[test]
fn once_all_is_synced_nothing_is_left_to_chance() {
    for seed in 0..200 {
        let disk = random_calls(seed, 60, true);
        let states: Vec<u64> = disk.crash_states(10, 0).map(|state| state.fingerprint()).collect();
        assert_eq!(states, [disk.fingerprint()], "seed {seed}");
    }
}

#[test]
fn the_same_seeds_leave_the_same_bytes() {
    let run =
        |calls, crash| random_calls(calls, 60, false).crash(CrashMode::Torn(crash)).fingerprint();
    let all: Vec<u64> = (0..50).map(|seed| run(seed, seed)).collect();
    assert_eq!(all, (0..50).map(|seed| run(seed, seed)).collect::<Vec<_>>());
    assert!(all.iter().collect::<BTreeSet<_>>().len() > 30, "the seeds make no difference");
}

#[test]
fn a_disk_may_be_used_by_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&SimDisk::new());
}
