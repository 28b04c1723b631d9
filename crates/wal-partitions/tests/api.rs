//! Partitions as engines use them: opening, refusing, reading, truncating, failing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use common::{Rig, opener, options};
use proptest::prelude::*;
use wal::{
    CheckpointView, Durability, ErrorKind, Fate, LogView, RecordKind, RecordRef, RedoTarget,
    ReplayRecord, SyncPolicy, Threads,
};
use wal_partitions::{Directories, Error, NOTE_KIND, Opener, PART_KIND, Partitions};
use wal_sim::{Call, CrashMode, Faults, SimDisk};

/// What was replayed: partition, body.
type Replayed = Vec<(usize, Vec<u8>)>;

fn open_with(opener: &Opener, rig: &Rig, count: usize) -> Result<(Partitions, Replayed), Error> {
    let mut found = Vec::new();
    let partitions = opener.open(&rig.storages().0, count, |partition, record| {
        found.push((partition, record.body.to_vec()));
        Ok::<(), io::Error>(())
    })?;
    Ok((partitions, found))
}

fn open(rig: &Rig) -> (Partitions, Replayed) {
    open_with(&opener(), rig, rig.disks.len() - 1).unwrap()
}

fn refused(rig: &Rig) -> Error {
    open_with(&opener(), rig, rig.disks.len() - 1).map(drop).unwrap_err()
}

/// A batch of one body for each of these partitions.
fn across(partitions: &Partitions, at: &[usize], body: &[u8]) -> wal_partitions::AcrossTicket {
    let bodies = [body];
    let parts: Vec<(usize, &[&[u8]])> = at.iter().map(|at| (*at, &bodies[..])).collect();
    partitions.append_across(&parts).unwrap()
}

fn bodies(found: &Replayed, partition: usize) -> Vec<&[u8]> {
    let of = found.iter().filter(|(at, _)| *at == partition);
    of.map(|(_, body)| body.as_slice()).collect()
}

#[test]
fn what_was_appended_to_each_partition_and_across_them_is_replayed_in_the_order_of_each_log() {
    let rig = Rig::new(3);
    let (partitions, found) = open(&rig);
    assert!(found.is_empty());
    partitions.partition(1).unwrap().append(b"first").unwrap().wait_durable().unwrap();
    across(&partitions, &[2, 0], b"both").wait_durable().unwrap();
    partitions.named("p002").unwrap().append(b"last").unwrap().wait_durable().unwrap();
    drop(partitions);
    let (partitions, found) = open(&rig.crash_all(CrashMode::LoseAll));
    assert_eq!(bodies(&found, 0), [b"both"]);
    assert_eq!(bodies(&found, 1), [b"first"]);
    assert_eq!(bodies(&found, 2), [&b"both"[..], b"last"]);
    assert_eq!(partitions.stats().across.voided, 0);
}

#[test]
fn a_batch_of_which_one_part_is_lost_is_aborted_and_stays_so_when_the_part_comes_back() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    let ticket = across(&partitions, &[0, 1], b"both");
    ticket.wait(Durability::Written).unwrap();
    partitions.partition(0).unwrap().sync().unwrap();
    let lost = rig.crash_all(CrashMode::LoseAll);
    // The other disk as it would have been had its cache survived.
    let kept = rig.crash_all(CrashMode::KeepAll);
    let (partitions, found) = open(&lost);
    assert!(found.is_empty());
    assert_eq!(partitions.stats().across.voided, 1);
    drop(partitions);
    let mut back = lost.crash_all(CrashMode::LoseAll);
    back.disks[2] = kept.disks[2].clone();
    let (partitions, found) = open(&back);
    assert!(found.is_empty(), "a note says that it is aborted");
    assert_eq!(partitions.stats().across.voided, 1, "the part that came back gets its note");
}

#[test]
fn all_parts_surviving_by_luck_are_a_batch_that_counts() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    across(&partitions, &[0, 1], b"both").wait(Durability::Written).unwrap();
    let (partitions, found) = open(&rig.crash_all(CrashMode::KeepAll));
    assert_eq!(found.len(), 2);
    assert_eq!(partitions.stats().across.recovered, 1);
}

#[test]
fn a_batch_within_one_partition_is_an_ordinary_one() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    let ticket = across(&partitions, &[1], b"alone");
    assert_eq!((ticket.id(), ticket.places().len()), (None, 1));
    ticket.wait_durable().unwrap();
    assert_eq!(partitions.stats().across.begun, 0);
}

#[test]
fn mistaken_batches_are_refused_and_change_nothing() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    let before = partitions.partition(0).unwrap().positions().reserved;
    let body = [b"x".as_slice()];
    let big = vec![0; 64 << 10];
    let none: [&[u8]; 0] = [];
    let refused = |parts: &[(usize, &[&[u8]])]| {
        let error = partitions.append_across(parts).unwrap_err();
        assert_eq!((error.kind(), error.fate()), (ErrorKind::Refused, Fate::NotCommitted));
        error.to_string()
    };
    assert!(refused(&[]).contains("without a part"));
    assert!(refused(&[(0, &body), (2, &body)]).contains("no partition 2"));
    assert!(refused(&[(0, &body), (0, &body)]).contains("two parts"));
    assert!(refused(&[(0, &body), (1, &none)]).contains("without records"));
    assert!(refused(&[(0, &body), (1, &[&big])]).contains("at most"));
    let kinds = [(NOTE_KIND, b"x".as_slice())];
    assert!(partitions.append_across_kinds(&[(0, &kinds)]).is_err());
    assert!(partitions.partition(0).unwrap().append_kind(NOTE_KIND, b"x").is_err());
    assert_eq!(partitions.partition(0).unwrap().positions().reserved, before);
}

#[test]
fn missing_swapped_and_foreign_partitions_are_refused_by_name_and_nothing_is_changed() {
    let rig = Rig::new(3);
    let (partitions, _) = open(&rig);
    partitions.close().unwrap();
    drop(partitions);
    let prints = |rig: &Rig| rig.disks.iter().map(SimDisk::fingerprint).collect::<Vec<_>>();

    let mut missing = rig.fork();
    missing.disks[2] = SimDisk::new();
    let before = prints(&missing);
    let error = refused(&missing);
    assert!(matches!(&error, Error::Missing { name, .. } if name == "p001"), "{error}");
    assert_eq!(prints(&missing), before);

    let mut swapped = rig.fork();
    swapped.disks.swap(1, 3);
    let before = prints(&swapped);
    let error = refused(&swapped);
    let text = error.to_string();
    assert!(text.contains("`p000`") && text.contains("that of partition `p002`"), "{text}");
    assert_eq!((error.kind(), prints(&swapped)), (ErrorKind::Foreign, before));

    let stranger = Rig::new(5);
    open(&stranger).0.close().unwrap();
    let mut foreign = rig.fork();
    foreign.disks[1] = stranger.disks[5].fork();
    assert!(refused(&foreign).to_string().contains("of no partition of this root"));

    let error = open_with(&opener(), &rig.fork(), 2).map(drop).unwrap_err();
    assert!(matches!(error, Error::OtherPartitions { .. }), "{error}");
}

#[test]
fn a_damaged_manifest_and_a_lost_one_are_refused_and_a_cut_creation_is_finished() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    let empty = rig.fork();
    partitions.partition(1).unwrap().append(b"x").unwrap().wait_durable().unwrap();
    drop(partitions);
    let damaged = rig.fork();
    damaged.disks[0].flip_bit("partitions", 300).unwrap();
    assert!(matches!(refused(&damaged), Error::Manifest { .. }));
    let mut lost = rig.fork();
    lost.disks[0] = SimDisk::new();
    let error = refused(&lost);
    assert_eq!((error.kind(), error.partition()), (ErrorKind::Damaged, Some("p001")));
    let mut cut = empty;
    cut.disks[0] = SimDisk::new();
    open(&cut);
    let nothing = Rig::new(2);
    let error = open_with(&opener().create(false), &nothing, 2).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotALog);
}

#[test]
fn a_damaged_partition_refuses_all_and_is_named() {
    let rig = Rig::new(3);
    let (partitions, _) = open(&rig);
    for _ in 0..3 {
        across(&partitions, &[0, 1, 2], &[7; 900]).wait_durable().unwrap();
    }
    partitions.close().unwrap();
    drop(partitions);
    let (name, _) =
        rig.disks[2].files().into_iter().find(|(name, _)| name.ends_with(".wal")).unwrap();
    rig.disks[2].flip_bit(&name, 8 * (4096 + 500)).unwrap();
    let error = refused(&rig);
    assert_eq!((error.kind(), error.partition()), (ErrorKind::Damaged, Some("p001")));
}

#[test]
fn a_second_opening_is_refused_while_the_first_lasts() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    assert_eq!(refused(&rig).kind(), ErrorKind::Locked);
    partitions.close().unwrap();
    open(&rig);
}

#[test]
fn a_part_that_is_refused_aborts_the_batch_for_certain() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    // The second disk has no space for more segments.
    let bytes = rig.disks[2].files().iter().map(|(_, len)| len).sum();
    rig.disks[2].set_faults(Faults::new().space_bytes(bytes));
    let body = [7; 3000];
    let error = (0..100)
        .find_map(|_| {
            let parts: [(usize, &[&[u8]]); 2] = [(0, &[&body]), (1, &[&body])];
            partitions.append_across(&parts).err()
        })
        .unwrap();
    assert_eq!((error.fate(), error.partition()), (Fate::NotCommitted, Some("p001")));
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    let stats = partitions.stats().across;
    assert_eq!(stats.aborted, 1);
    let _ordered = partitions.partition(0).unwrap().append(b"after").unwrap();
    partitions.sync().unwrap();
    let whole = stats.begun - 1;
    // A reader passes over the part that never counts, and so does recovery.
    let partition = partitions.partition(0).unwrap();
    let mut reader = partition.read_from(partition.head()).unwrap();
    let mut read = 0;
    while reader.next().unwrap().is_some() {
        read += 1;
    }
    assert_eq!(read, whole + 1);
    drop(reader);
    drop((partition, partitions));
    rig.disks[2].set_faults(Faults::new());
    let (_, found) = open(&rig.crash_all(CrashMode::LoseAll));
    assert_eq!(bodies(&found, 0).len() as u64, whole + 1);
    assert_eq!(bodies(&found, 1).len() as u64, whole);
}

#[test]
fn a_poisoned_partition_leaves_its_batches_in_doubt_and_the_others_going() {
    let rig = Rig::new(3);
    let (partitions, _) = open(&rig);
    across(&partitions, &[0, 1, 2], b"before").wait_durable().unwrap();
    rig.disks[2].set_faults(Faults::new().fail(Call::Sync, 1));
    let ticket = across(&partitions, &[0, 1], b"doubt");
    let error = ticket.wait_durable().unwrap_err();
    assert!(matches!(&error, Error::InDoubt { name, .. } if name == "p001"), "{error}");
    assert_eq!((error.fate(), error.kind()), (Fate::Unknown, ErrorKind::Poisoned));
    // A later batch is refused before anything of it counts; others go on.
    let bodies_of = [b"x".as_slice()];
    let error = partitions.append_across(&[(0, &bodies_of[..]), (1, &bodies_of)]).unwrap_err();
    assert_eq!(error.fate(), Fate::NotCommitted);
    across(&partitions, &[0, 2], b"on").wait_durable().unwrap();
    // A participant of the batch in doubt neither completes a checkpoint nor loses its part.
    let one = partitions.partition(0).unwrap();
    let error = one.checkpoint_begin().unwrap().complete(b"").unwrap_err();
    assert!(matches!(error, Error::InDoubt { .. }), "{error}");
    let truncated = one.truncate_before(one.positions().durable).unwrap();
    assert!(truncated.limit <= ticket.places()[0].1);
    // A tail stops in front of it, and says why; a reader gives nothing behind it.
    let mut tail = one.tail(one.head()).unwrap();
    assert_eq!(tail.next().unwrap().unwrap().body, b"before");
    assert!(matches!(tail.next().unwrap_err(), Error::InDoubt { .. }));
    assert!(partitions.close().is_err());
    drop((tail, one, ticket, partitions));
    let (_, found) = open(&rig.crash_all(CrashMode::LoseAll));
    assert_eq!(bodies(&found, 0), [&b"before"[..], b"on"]);
    assert_eq!(bodies(&found, 1), [b"before"]);
    assert_eq!(bodies(&found, 2), [&b"before"[..], b"on"]);
}

#[test]
fn truncation_keeps_what_decides_until_every_participant_has_the_decision() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    across(&partitions, &[0, 1], b"both").wait_durable().unwrap();
    let one = partitions.partition(0).unwrap();
    for _ in 0..60 {
        let _ordered = one.append(&[1; 3000]).unwrap();
    }
    one.sync().unwrap();
    assert_eq!(partitions.stats().across.unsettled, 1, "the other log has no durable note");
    let truncated = one.truncate_before(one.positions().durable).unwrap();
    assert!(truncated.segments > 0, "{truncated:?}");
    assert_eq!(partitions.stats().across.unsettled, 0);
    drop((one, partitions));
    let (_, found) = open(&rig.crash_all(CrashMode::LoseAll));
    assert_eq!(bodies(&found, 1), [b"both"], "its own note decides");
}

#[test]
fn a_reader_stops_in_front_of_an_undecided_part_and_a_tail_decides_it() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    let one = partitions.partition(0).unwrap();
    let _ordered = one.append(b"first").unwrap();
    let ticket = across(&partitions, &[0, 1], b"both");
    let _ordered = one.append(b"last").unwrap();
    one.sync().unwrap();
    let mut reader = one.read_from(one.head()).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().body, b"first");
    assert!(reader.next().unwrap().is_none(), "the other part is not durable");
    // From the middle of the part it begins at the part.
    let inside = reader.position();
    let mut tail = one.tail(inside).unwrap();
    assert_eq!(tail.next().unwrap().unwrap().body, b"both");
    assert!(ticket.is_durable(), "the tail saw to it");
    assert_eq!(tail.next().unwrap().unwrap().body, b"last");
    assert!(tail.next_timeout(Duration::ZERO).unwrap().is_none());
    assert_eq!(reader.next().unwrap().unwrap().body, b"both");
    assert_eq!(reader.next().unwrap().unwrap().body, b"last");
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_reader_shows_nothing_of_a_part_that_a_crash_tore() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    let bodies = [[7; 900]; 4];
    let parts = [(0, &bodies[..]), (1, &bodies[..])];
    partitions.append_across(&parts).unwrap().wait(Durability::Written).unwrap();
    let mut torn = 0;
    for seed in 0..32 {
        let modes = [CrashMode::LoseAll, CrashMode::Random(seed), CrashMode::LoseAll];
        let crashed = rig.crash(&modes);
        let (partitions, found) = open(&crashed);
        assert!(found.is_empty());
        let one = partitions.partition(0).unwrap();
        one.append(b"after").unwrap().wait_durable().unwrap();
        let log = LogView::open_in(Arc::new(crashed.disks[1].fork())).unwrap();
        let heads = |record: &RecordRef<'_>| match record.kind() {
            PART_KIND => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let has_head = log.for_each(log.range(), heads).unwrap().is_some();
        torn += u32::from(has_head && partitions.stats().across.voided == 0);
        let mut reader = one.read_from(one.head()).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().body, b"after", "seed {seed}");
        assert!(reader.next().unwrap().is_none());
    }
    assert!(torn > 0, "no crash left the head of a part and not the part");
}

/// Keeps what it is given, and takes checkpoints back.
#[derive(Default, Debug, PartialEq)]
struct Shelf(Vec<Vec<u8>>);

impl RedoTarget for Shelf {
    type Error = io::Error;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), io::Error> {
        self.0.push(checkpoint.payload.to_vec());
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), io::Error> {
        self.0.push(record.body.to_vec());
        Ok(())
    }
}

#[test]
fn checkpoints_of_all_partitions_are_restored_by_threads_as_by_one() {
    let rig = Rig::new(4);
    let (partitions, _) = open(&rig);
    for index in 0..4 {
        across(&partitions, &[index, (index + 1) % 4], b"old").wait_durable().unwrap();
    }
    let done = partitions
        .checkpoint_all(|partition, _| format!("snapshot {}", partition.index()).into_bytes())
        .unwrap();
    assert_eq!(done.len(), 4);
    assert!(partitions.truncate_all().unwrap().iter().all(Option::is_some));
    across(&partitions, &[0, 1, 2, 3], b"new").wait_durable().unwrap();
    drop(partitions);
    let recovered = |threads: usize| {
        let mut shelves: [Shelf; 4] = Default::default();
        let rig = rig.fork();
        let opener = opener().threads(threads);
        let partitions = opener.recover(&rig.storages().0, 4, &mut shelves).unwrap();
        assert!(partitions.iter().all(|partition| partition.recovery().is_complete()));
        shelves
    };
    let (one, three) = (recovered(1), recovered(3));
    assert_eq!(one, three);
    for (index, shelf) in one.iter().enumerate() {
        assert_eq!(shelf.0, [format!("snapshot {index}").into_bytes(), b"new".to_vec()]);
    }
    let mut few: [Shelf; 3] = Default::default();
    assert!(opener().recover(&rig.storages().0, 4, &mut few).is_err());
}

#[test]
fn levels_are_chosen_per_log_and_per_call() {
    for policy in [
        SyncPolicy::EveryCommit,
        SyncPolicy::Group,
        SyncPolicy::Periodic { every: Duration::from_millis(2) },
        SyncPolicy::Never,
    ] {
        let rig = Rig::new(2);
        let options = options().sync_policy(policy).threads(Threads::Helper);
        let (partitions, _) = open_with(&Opener::new(options), &rig, 2).unwrap();
        let one = partitions.partition(0).unwrap();
        one.append(b"ordered").unwrap().wait(Durability::Ordered).unwrap();
        let mut txn = one.begin();
        txn.log(b"by policy").unwrap();
        txn.commit().unwrap();
        let ticket = across(&partitions, &[0, 1], b"written");
        ticket.wait(Durability::Written).unwrap();
        across(&partitions, &[0, 1], b"durable").wait(Durability::Durable).unwrap();
        assert!(ticket.is_durable(), "what comes before is durable as well");
        // The threads in the background end with the close; the directories are free again.
        partitions.close().unwrap();
        assert_eq!(open(&rig).1.len(), 6);
    }
}

#[test]
fn a_batch_costs_one_write_and_one_sync_of_each_participant() {
    let rig = Rig::new(3);
    let (partitions, _) = open(&rig);
    partitions.sync().unwrap();
    let ops = |rig: &Rig| rig.disks.iter().map(SimDisk::ops).collect::<Vec<_>>();
    let before = ops(&rig);
    let row = [b"row 1".as_slice(), b"row 2", b"row 3"];
    partitions.append_across(&[(0, &row[..]), (2, &row)]).unwrap().wait_durable().unwrap();
    let spent: Vec<u64> = ops(&rig).iter().zip(&before).map(|(now, then)| now - then).collect();
    assert_eq!(spent, [0, 2, 0, 2], "the notes wait for the next sync");
    let before = ops(&rig);
    partitions.partition(1).unwrap().append_batch(&row).unwrap().wait_durable().unwrap();
    let spent: Vec<u64> = ops(&rig).iter().zip(&before).map(|(now, then)| now - then).collect();
    assert_eq!(spent, [0, 0, 2, 0]);
}

#[test]
fn rows_of_tables_keep_their_kinds_in_a_batch() {
    let rig = Rig::new(2);
    let (partitions, _) = open(&rig);
    let (orders, items) = (RecordKind::engine(1).unwrap(), RecordKind::engine(2).unwrap());
    let rows = [(orders, b"order 7".as_slice()), (items, b"item 7.1")];
    partitions
        .append_across_kinds(&[(0, &rows[..]), (1, &rows[1..])])
        .unwrap()
        .wait_durable()
        .unwrap();
    drop(partitions);
    let mut kinds = Vec::new();
    let keep = |partition: usize, record: &ReplayRecord<'_>| {
        kinds.push((partition, record.kind));
        Ok::<(), io::Error>(())
    };
    opener().open(&rig.storages().0, 2, keep).unwrap();
    assert_eq!(kinds, [(0, orders), (0, items), (1, items)]);
}

#[test]
fn writers_of_all_partitions_and_batches_among_them_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let places = Directories::new(dir.path().join("root"));
    // The logs that are dropped below are let go once their helpers come by.
    let patient = options().threads(Threads::Helper).lock_wait(Duration::from_secs(60));
    let opener = Opener::new(patient);
    let nothing = |_: usize, _: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    let partitions = Arc::new(opener.open(&places, ["a", "b", "c"], nothing).unwrap());
    std::thread::scope(|scope| {
        for writer in 0..4_usize {
            let partitions = &partitions;
            scope.spawn(move || {
                for round in 0..20 {
                    let body = format!("{writer} {round}").into_bytes();
                    let at = [writer % 3, (writer + 1) % 3];
                    across(partitions, &at, &body).wait_durable().unwrap();
                    let one = partitions.partition(writer % 3).unwrap();
                    one.append(&body).unwrap().wait_durable().unwrap();
                    if round % 8 == 0 {
                        one.truncate_before(one.head()).unwrap();
                    }
                }
            });
        }
    });
    drop(partitions);
    let mut count = 0;
    let all = |_: usize, _: &ReplayRecord<'_>| {
        count += 1;
        Ok::<(), io::Error>(())
    };
    opener.clone().threads(2).open(&places, ["a", "b", "c"], all).unwrap();
    assert_eq!(count, 4 * 20 * 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever each disk keeps of what was not durable, every batch is there whole or not at all,
    /// and twice the same.
    #[test]
    fn batches_are_whole_whatever_each_disk_keeps(
        batches in proptest::collection::vec((1_usize..8, any::<bool>()), 1..8),
        seeds in proptest::collection::vec(any::<u64>(), 4),
    ) {
        let rig = Rig::new(3);
        let (partitions, _) = open(&rig);
        for (at, (mask, waited)) in batches.iter().enumerate() {
            let participants: Vec<usize> = (0..3).filter(|bit| mask & (1 << bit) != 0).collect();
            let ticket = across(&partitions, &participants, &[at as u8; 900]);
            if *waited { ticket.wait_durable().unwrap(); }
        }
        let modes: Vec<CrashMode> = seeds.iter().map(|seed| CrashMode::Torn(*seed)).collect();
        let crashed = rig.crash(&modes);
        let (partitions, found) = open(&crashed);
        for partition in partitions.iter() {
            partition.sync().unwrap();
            let mut reader = partition.read_from(partition.head()).unwrap();
            let mut read = Vec::new();
            while let Some(record) = reader.next().unwrap() {
                read.push(record.body.to_vec());
            }
            prop_assert_eq!(read, bodies(&found, partition.index()), "read as replayed");
        }
        drop(partitions);
        for (at, (mask, waited)) in batches.iter().enumerate() {
            let there = |bit: usize| bodies(&found, bit).contains(&&[at as u8; 900][..]);
            let parts: Vec<bool> =
                (0..3).filter(|bit| mask & (1 << bit) != 0).map(there).collect();
            prop_assert!(parts.iter().all(|part| *part == parts[0]), "batch {} in part", at);
            prop_assert!(parts[0] || !waited, "batch {} is gone", at);
        }
        let (_, again) = open(&crashed.crash_all(CrashMode::LoseAll));
        prop_assert_eq!(found, again);
    }
}
