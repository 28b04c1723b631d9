//! Proof that the lab bites: a toy log is sound, and each way of spoiling it is caught.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{self, IoSlice};

use wal_io::{Access, LogFile, Storage};
use wal_sim::{Call, Coverage, Explorer, Failure, Faults, Ledger, SimDisk};

/// How the toy log goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    NeverSyncs,
    SyncsBeforeItWrites,
    SyncsAnotherFile,
    AcknowledgesBeforeItSyncs,
    NeverSyncsTheDirectory,
    IgnoresAFailedSync,
    RetriesAFailedSync,
    TrustsLengths,
    SkipsWhatItCannotRead,
    RewritesDurableBytes,
    SplitsBatches,
}

/// A record: identifier, length in two bytes, then the body, then a checksum over all before it.
const HEAD: usize = 3;
const SUM: usize = 4;

/// Marks the one record that holds the bodies of 3 and 4.
const PAIR: u8 = 0x80 | 3;

fn encode(id: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id, body.len() as u8, (body.len() >> 8) as u8];
    bytes.extend_from_slice(body);
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, &byte: &u8| (sum ^ u32::from(byte)).wrapping_mul(0x0101_6193);
    bytes.iter().fold(0x5eed_0001, step)
}

/// Long enough that a record has a sector in its middle.
fn body(id: u64) -> Vec<u8> {
    vec![0x40 + id as u8; 1100]
}

/// Appends records, two of them as one write, and keeps the ledger.
fn workload(bug: Bug) -> impl Fn(&SimDisk) -> Ledger {
    move |disk| {
        let mut ledger = Ledger::new();
        // An error ends the workload, as it would end the process.
        let _ = append_all(disk, bug, &mut ledger);
        ledger
    }
}

fn append_all(disk: &SimDisk, bug: Bug, ledger: &mut Ledger) -> io::Result<()> {
    let file = create(disk, bug)?;
    let mut end = 0;
    for id in [1, 2, 3, 5, 6] {
        let mut bytes = encode(id as u8, &body(id));
        if id == 3 {
            ledger.append_batch([(3, body(3)), (4, body(4))]);
            if bug == Bug::SplitsBatches {
                bytes.extend_from_slice(&encode(4, &body(4)));
            } else {
                bytes = encode(PAIR, &[body(3), body(4)].concat());
            }
        } else {
            ledger.append(id, body(id));
        }
        end = append(disk, &*file, bug, &bytes, end, id, ledger)?;
    }
    Ok(())
}

/// The log appears under its name once it is there; the other file is for syncing by mistake.
fn create(disk: &SimDisk, bug: Bug) -> io::Result<Box<dyn LogFile>> {
    let file = disk.create("log.tmp", 8192)?;
    file.sync_all()?;
    disk.create("other", 0)?;
    disk.rename("log.tmp", "log")?;
    if bug != Bug::NeverSyncsTheDirectory {
        disk.sync_dir()?;
    }
    Ok(file)
}

fn append(
    disk: &SimDisk,
    file: &dyn LogFile,
    bug: Bug,
    bytes: &[u8],
    end: u64,
    id: u64,
    ledger: &mut Ledger,
) -> io::Result<u64> {
    if bug == Bug::AcknowledgesBeforeItSyncs {
        ledger.acknowledge(id);
    }
    if bug == Bug::SyncsBeforeItWrites {
        file.sync_data()?;
    }
    if bug == Bug::RewritesDurableBytes && end > 0 {
        // It clears the sector it appends to before it puts the old bytes back.
        let sector = end - end % 512;
        let mut old = vec![0; (end - sector) as usize];
        file.read_at(&mut old, sector)?;
        file.write_at(&[IoSlice::new(&vec![0; old.len()])], sector)?;
        file.write_at(&[IoSlice::new(&old)], sector)?;
    }
    file.write_at(&[IoSlice::new(bytes)], end)?;
    match bug {
        Bug::NeverSyncs | Bug::SyncsBeforeItWrites => {}
        Bug::SyncsAnotherFile => disk.open("other", Access::Write)?.sync_data()?,
        Bug::IgnoresAFailedSync => drop(file.sync_data()),
        Bug::RetriesAFailedSync => file.sync_data().or_else(|_| file.sync_data())?,
        _ => file.sync_data()?,
    }
    if disk.is_off() {
        return Err(io::Error::other("ignored so far"));
    }
    ledger.acknowledge(id);
    Ok(end + bytes.len() as u64)
}

/// The records found, up to the first that is not whole.
fn recover(disk: &SimDisk, bug: Bug) -> Vec<(u64, Vec<u8>)> {
    let mut bytes = disk.contents("log").unwrap_or_default();
    let mut found = Vec::new();
    while bytes.len() >= HEAD && bytes[0] != 0 {
        let whole = HEAD + usize::from(bytes[1]) + (usize::from(bytes[2]) << 8) + SUM;
        if bytes.len() < whole {
            break;
        }
        let rest = bytes.split_off(whole);
        let (record, sum) = bytes.split_at(whole - SUM);
        let body = &record[HEAD..];
        if checksum(record).to_le_bytes() == sum || bug == Bug::TrustsLengths {
            if record[0] == PAIR {
                let (third, fourth) = body.split_at(body.len() / 2);
                found.extend([(3, third.to_vec()), (4, fourth.to_vec())]);
            } else {
                found.push((u64::from(record[0]), body.to_vec()));
            }
        } else if bug != Bug::SkipsWhatItCannotRead {
            break;
        }
        bytes = rest;
    }
    found
}

fn explore(explorer: &Explorer, bug: Bug) -> Result<Coverage, Box<Failure>> {
    explorer.run(workload(bug), |disk: SimDisk, ledger: &Ledger| {
        ledger.check(recover(&disk, bug)).map(drop)
    })
}

/// Explores the spoilt log; it must be caught, and caught again by the name of the case.
fn caught(bug: Bug, explorer: &Explorer) -> String {
    let failure = explore(explorer, bug).expect_err("the planted bug was not caught");
    let again = explorer.replay(&failure.case, workload(bug), |disk: SimDisk, ledger: &Ledger| {
        ledger.check(recover(&disk, bug)).map(drop)
    });
    assert_eq!(again.expect_err("the case does not replay").reason, failure.reason);
    failure.reason
}

fn plain() -> Explorer {
    Explorer::new(1)
}

#[test]
fn a_sound_log_survives_every_power_cut() {
    let coverage = explore(&plain(), Bug::None).unwrap();
    assert_eq!(coverage.exhaustive_cuts, coverage.cuts);
    assert!(coverage.distinct > 20, "{coverage}");
}

#[test]
fn a_sound_log_survives_torn_sectors_and_any_sync_that_fails() {
    for nth in 1..=6 {
        let explorer = Explorer::new(nth).torn().faults(Faults::new().fail(Call::Sync, nth));
        let coverage = explore(&explorer, Bug::None).unwrap();
        assert!(coverage.faults_by_call[&Call::Sync] > 0, "{coverage}");
    }
}

#[test]
fn a_log_without_syncs_is_caught() {
    assert!(caught(Bug::NeverSyncs, &plain()).contains("is gone"));
}

#[test]
fn a_sync_before_the_write_is_caught() {
    assert!(caught(Bug::SyncsBeforeItWrites, &plain()).contains("is gone"));
}

#[test]
fn a_sync_of_another_file_is_caught() {
    assert!(caught(Bug::SyncsAnotherFile, &plain()).contains("is gone"));
}

#[test]
fn a_promise_before_the_sync_is_caught() {
    assert!(caught(Bug::AcknowledgesBeforeItSyncs, &plain()).contains("is gone"));
}

#[test]
fn a_missing_directory_sync_is_caught() {
    assert!(caught(Bug::NeverSyncsTheDirectory, &plain()).contains("is gone"));
}

#[test]
fn an_ignored_failed_sync_is_caught() {
    let explorer = plain().faults(Faults::new().fail(Call::Sync, 4));
    assert!(caught(Bug::IgnoresAFailedSync, &explorer).contains("is gone"));
}

#[test]
fn a_retried_failed_sync_is_caught() {
    let explorer = plain().faults(Faults::new().fail(Call::Sync, 4));
    assert!(caught(Bug::RetriesAFailedSync, &explorer).contains("is gone"));
    assert!(explore(&plain(), Bug::RetriesAFailedSync).is_ok(), "it takes the fault to show");
}

#[test]
fn trust_in_lengths_is_caught() {
    let reason = caught(Bug::TrustsLengths, &plain());
    assert!(reason.contains("altered") || reason.contains("never appended"), "{reason}");
}

#[test]
fn reading_on_behind_a_gap_is_caught() {
    // Four appends in one sync: the first may be lost while the second is not.
    let workload = |disk: &SimDisk| {
        let mut ledger = Ledger::new();
        let steps = |ledger: &mut Ledger| -> io::Result<()> {
            let file = create(disk, Bug::None)?;
            let mut end = 0;
            for id in [1, 2, 5, 6] {
                ledger.append(id, body(id));
                end += file.write_at(&[IoSlice::new(&encode(id as u8, &body(id)))], end)? as u64;
            }
            file.sync_data()
        };
        if steps(&mut ledger).is_ok() {
            ledger.acknowledge(6);
        }
        ledger
    };
    let check =
        |bug| move |disk: SimDisk, ledger: &Ledger| ledger.check(recover(&disk, bug)).map(drop);
    assert!(plain().run(workload, check(Bug::None)).is_ok());
    let failure = plain().run(workload, check(Bug::SkipsWhatItCannotRead)).unwrap_err();
    assert!(failure.reason.contains("before it is not"), "{failure}");
}

#[test]
fn a_durable_sector_that_is_blanked_for_a_moment_is_caught() {
    assert!(caught(Bug::RewritesDurableBytes, &plain()).contains("is gone"));
}

#[test]
fn a_batch_that_is_two_records_is_caught() {
    assert!(caught(Bug::SplitsBatches, &plain()).contains("in part"));
}

#[test]
fn three_explorations_of_a_seed_end_in_the_same_hash() {
    let run = || explore(&Explorer::new(7).torn().states_per_cut(8), Bug::None).unwrap();
    let (first, second, third) = (run(), run(), run());
    assert_eq!(first, second);
    assert_eq!(second, third);
}
