//! A log followed from outside: nothing that is not durable, nothing missed, nothing twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::{body, flip, place_of, reopen, small};
use wal::{Durability, Error, ErrorKind, Follower, Lsn, MemoryStorage, RecordKind, Storage, Wal};
use wal_recovery::{LogFollower, RecoveryError};

fn storage() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

/// Bodies of the engine's records that are there now.
fn read(follower: &mut Follower) -> Result<Vec<Vec<u8>>, Error> {
    let mut found = Vec::new();
    follower.drain(|record| {
        if record.kind() == RecordKind::DATA {
            found.push(record.body.to_vec());
        }
        ControlFlow::<()>::Continue(())
    })?;
    Ok(found)
}

fn append(wal: &Wal, numbers: std::ops::Range<usize>) {
    for number in numbers {
        wal.append(&body(number)).unwrap().wait_durable().unwrap();
    }
}

fn bodies(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers.map(body).collect()
}

#[test]
fn what_no_later_record_proves_durable_is_held_back() {
    let storage = storage();
    let (wal, _) = reopen(&storage);
    let mut follower = Follower::open_in(Arc::clone(&storage)).unwrap();
    append(&wal, 0..5);
    assert_eq!(read(&mut follower).unwrap(), bodies(0..4));
    assert_eq!(read(&mut follower).unwrap(), bodies(0..0));
    // Written, and promised to nobody.
    wal.append(&body(5)).unwrap().wait(Durability::Written).unwrap();
    wal.append(&body(6)).unwrap().wait(Durability::Written).unwrap();
    assert_eq!(read(&mut follower).unwrap(), bodies(4..5));
    assert!(follower.position() <= wal.positions().durable);
    wal.close().unwrap();
    assert_eq!(read(&mut follower).unwrap(), bodies(5..7));
    assert!(follower.is_closed());
}

#[test]
fn rotations_and_openings_clean_and_unclean_miss_nothing() {
    let storage = storage();
    let mut follower = None;
    let (mut next, mut found) = (0, Vec::new());
    for round in 0..12 {
        let (wal, _) = reopen(&storage);
        let follower =
            follower.get_or_insert_with(|| Follower::open_in(Arc::clone(&storage)).unwrap());
        for _ in 0..7 {
            // Some large ones, so that segments fill.
            let large = vec![next as u8; 20_000 + next];
            wal.append(&large).unwrap().wait_durable().unwrap();
            next += 1;
            found.extend(read(follower).unwrap());
        }
        if round % 3 == 0 {
            wal.close().unwrap();
        }
        drop(wal);
        found.extend(read(follower).unwrap());
    }
    let (wal, _) = reopen(&storage);
    wal.close().unwrap();
    found.extend(read(follower.as_mut().unwrap()).unwrap());
    let lengths: Vec<usize> = found.iter().map(Vec::len).collect();
    assert_eq!(lengths, (0..next).map(|number| 20_000 + number).collect::<Vec<_>>());
}

#[test]
fn a_follower_that_truncation_overtakes_says_what_is_gone_and_goes_on_at_the_head() {
    let storage = storage();
    let (wal, _) = reopen(&storage);
    append(&wal, 0..3);
    let mut follower = Follower::open_in(Arc::clone(&storage)).unwrap();
    assert_eq!(read(&mut follower).unwrap(), bodies(0..2));
    while wal.stats().segments < 4 {
        wal.append(&[7; 8000]).unwrap().wait_durable().unwrap();
    }
    let head = wal.truncate_before(wal.positions().durable).unwrap().head;
    let error = read(&mut follower).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    assert_eq!(follower.skip_to_head().unwrap(), head);
    append(&wal, 3..6);
    let found = read(&mut follower).unwrap();
    assert_eq!(found[found.len() - 2..], bodies(3..5));
}

#[test]
fn truncation_behind_the_follower_and_openings_that_jump_cost_it_nothing() {
    let storage = storage();
    let (wal, _) = reopen(&storage);
    append(&wal, 0..3);
    let mut follower = Follower::open_in(Arc::clone(&storage)).unwrap();
    let mut found = read(&mut follower).unwrap();
    drop(wal);
    for round in 1..6 {
        // Not closed: the opening jumps, and all before it is truncated.
        let (wal, _) = reopen(&storage);
        found.extend(read(&mut follower).unwrap());
        wal.sync().unwrap();
        wal.truncate_before(wal.positions().durable).unwrap();
        append(&wal, 3 * round..3 * round + 3);
        found.extend(read(&mut follower).unwrap());
    }
    let (wal, _) = reopen(&storage);
    wal.close().unwrap();
    found.extend(read(&mut follower).unwrap());
    assert_eq!(found, bodies(0..18));
}

#[test]
fn damage_in_the_way_is_an_error_and_no_silence() {
    let storage = storage();
    let (wal, _) = reopen(&storage);
    append(&wal, 0..6);
    let at = wal.positions().durable.get() - 8;
    append(&wal, 6..9);
    drop(wal);
    let (name, offset) = place_of(storage.as_ref(), at);
    flip(storage.as_ref(), &name, offset * 8);
    let mut follower = Follower::open_in(Arc::clone(&storage)).unwrap();
    let mut count = 0;
    let errors = (0..9).find_map(|_| {
        // A nap that outlasts what is given returns without having judged: so this is plenty.
        let found = follower.drain_within(Duration::from_secs(2), |record| {
            count += usize::from(record.kind() == RecordKind::DATA);
            ControlFlow::<()>::Continue(())
        });
        found.err()
    });
    let error = errors.expect("silence");
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    // Of record 4 no whole record says that it was durable.
    assert_eq!(count, 4);
}

/// Whether a follower that finds nothing more says, asked a few times, that it stands at damage.
fn says_damaged(follower: &mut LogFollower) -> bool {
    (0..9).any(|_| {
        let found = follower.drain(|_| ControlFlow::Break(())).unwrap();
        assert_eq!(found, None, "nothing can be read there");
        match follower.judge() {
            Ok(()) => false,
            Err(RecoveryError::Refused(verdict)) => verdict.is_damage(),
            Err(error) => panic!("{error}"),
        }
    })
}

#[test]
fn a_record_that_decayed_is_told_as_soon_as_later_ones_prove_that_it_was_there() {
    // In the body, in two bytes of the address, and in the length.
    for bit in [8 * 26, 8 * 10 + 3, 8 * 8 + 3, 8 * 5] {
        let storage = storage();
        let (wal, _) = reopen(&storage);
        append(&wal, 0..6);
        let mut follower = LogFollower::open(&storage).unwrap();
        follower.drain(|_| ControlFlow::<()>::Continue(())).unwrap();
        let ticket = wal.append(&body(6)).unwrap();
        ticket.wait_durable().unwrap();
        // It decays before the follower comes there.
        let (name, offset) = place_of(storage.as_ref(), ticket.lsn().get());
        flip(storage.as_ref(), &name, offset * 8 + bit);
        assert!(!says_damaged(&mut follower), "bit {bit}: nothing tells it from a torn tail");
        append(&wal, 7..9);
        assert!(says_damaged(&mut follower), "bit {bit}: silence");
    }
}

#[test]
fn no_log_is_an_error_of_its_own() {
    let error = Follower::open_in(storage()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotALog, "{error}");
}

#[test]
fn beside_writers_that_rotate_truncate_and_commit_together_every_record_comes_once() {
    const WRITERS: u64 = 3;
    const EACH: u64 = 2_000;
    let storage = storage();
    let options = small().threads(wal::Threads::Helper);
    let wal = Wal::open_in(Arc::clone(&storage), options, |_: &wal::ReplayRecord<'_>| {
        Ok::<(), std::io::Error>(())
    })
    .unwrap();
    let seen = AtomicU64::new(Lsn::FIRST.get());
    let done = AtomicBool::new(false);
    let mut numbers: Vec<Vec<u64>> = vec![Vec::new(); WRITERS as usize];
    let mut follower = Follower::open_in(Arc::clone(&storage)).unwrap();
    thread::scope(|scope| {
        let (wal, seen, done) = (&wal, &seen, &done);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let mut body = writer.to_le_bytes().to_vec();
                        body.extend(number.to_le_bytes());
                        body.resize(16 + (number % 97) as usize, 0);
                        let ticket = wal.append(&body).unwrap();
                        if number % 5 == 0 {
                            ticket.wait_durable().unwrap();
                        }
                        if number % 500 == 499 {
                            // Only what the follower has: it takes no hold here.
                            let seen = Lsn::new(seen.load(Ordering::Acquire)).unwrap();
                            wal.truncate_before(seen).unwrap();
                        }
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            wal.close().unwrap();
            done.store(true, Ordering::Release);
        });
        while !follower.is_closed() {
            follower
                .drain_within(Duration::from_secs(5), |record| {
                    if record.kind() == RecordKind::DATA {
                        let word = |at: usize| {
                            u64::from_le_bytes(record.body[at..at + 8].try_into().unwrap())
                        };
                        numbers[word(0) as usize].push(word(8));
                    }
                    ControlFlow::<()>::Continue(())
                })
                .unwrap();
            seen.store(follower.position().get(), Ordering::Release);
        }
        assert!(done.load(Ordering::Acquire) || follower.is_closed());
    });
    for of_one in numbers {
        assert_eq!(of_one, (0..EACH).collect::<Vec<_>>());
    }
}
