//! Clauses about several handles, and about threads which share a storage.

use std::io::ErrorKind;
use std::sync::Barrier;
use std::thread;

use wal_io::{Access, LogFile, Storage};

use super::check::{Doing, Flaw, block_of, holds, pattern, read_up_to, same, write_all};
use super::clause::Clause;

/// Threads at a time: more than most machines have cores to spare, fewer than would be slow.
const THREADS: usize = 4;

pub(super) const HANDLES_ARE_INDEPENDENT: Clause = Clause {
    name: "handles_are_independent",
    promise: "each open gives a handle of its own: what becomes of one does not touch the others",
    check: |storage| {
        let created = storage.create("a.wal", 0).doing("creating a file")?;
        let block = block_of(&*created);
        let writer = storage.open("a.wal", Access::Write).doing("opening to write")?;
        let reader = storage.open("a.wal", Access::Read).doing("opening to read")?;
        drop(created);
        let data = pattern(2 * block, 1);
        write_all(&*writer, &[&data], 0)?;
        drop(reader);
        // A handle for writing stays one while others of the file are for reading only.
        let reader = storage.open("a.wal", Access::Read).doing("opening to read again")?;
        write_all(&*writer, &[&data], 2 * block as u64)?;
        writer.sync_data().doing("a sync after other handles were dropped")?;
        drop(writer);
        holds(&*reader, &[&data[..], &data].concat(), "a handle that outlived the others")
    },
};

pub(super) const THREADS_WRITE_AND_READ_DISJOINT_RANGES: Clause = Clause {
    name: "threads_write_and_read_disjoint_ranges",
    promise: "threads write and read disjoint ranges at once, through shared and own handles",
    check: |storage| {
        let file = storage.create("a.wal", 0).doing("creating a file")?;
        let block = block_of(&*file);
        // Neighbouring blocks belong to different threads, so that a write which also rewrites
        // its surroundings is seen to undo a neighbour's.
        let rounds = 16;
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            let file = &*file;
            let workers: Vec<_> = (0..THREADS)
                .map(|worker| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        interleave(storage, file, worker, rounds, block)
                    })
                })
                .collect();
            workers.into_iter().try_for_each(join)
        })?;
        let expected: Vec<u8> = (0..rounds * THREADS)
            .flat_map(|at| pattern(block, (at % THREADS + at / THREADS) as u8))
            .collect();
        holds(&*file, &expected, "after all threads have written")
    },
};

/// Writes every `THREADS`th block and reads each back at once.
fn interleave(
    storage: &dyn Storage,
    shared: &dyn LogFile,
    worker: usize,
    rounds: usize,
    block: usize,
) -> Result<(), Flaw> {
    let own = storage.open("a.wal", Access::Write).doing("opening a handle of its own")?;
    for round in 0..rounds {
        let offset = ((round * THREADS + worker) * block) as u64;
        let data = pattern(block, (worker + round) as u8);
        let (writer, reader) = if round % 2 == 0 { (shared, &*own) } else { (&*own, shared) };
        write_all(writer, &[&data], offset)?;
        same(&read_up_to(reader, block, offset)?, &data, "a block just written by this thread")?;
    }
    Ok(())
}

pub(super) const ONE_OF_SEVERAL_CREATORS_WINS: Clause = Clause {
    name: "one_of_several_creators_wins",
    promise: "of threads that create one name, one succeeds; the others get AlreadyExists",
    check: |storage| {
        for round in 0..8 {
            let name = format!("{round}.wal");
            let results = race(|| storage.create(&name, 4096).map(drop))?;
            one_winner(&results, ErrorKind::AlreadyExists)?;
        }
        Ok(())
    },
};

pub(super) const ONE_OF_SEVERAL_LOCKERS_WINS: Clause = Clause {
    name: "one_of_several_lockers_wins",
    promise: "of threads that take the lock, one succeeds; the others get WouldBlock",
    check: |storage| {
        for _ in 0..8 {
            let results = race(|| storage.lock())?;
            one_winner(&results, ErrorKind::WouldBlock)?;
        }
        Ok(())
    },
};

/// What `call` gave to each of several threads which make it together.
fn race<T: Send>(
    call: impl Fn() -> std::io::Result<T> + Sync,
) -> Result<Vec<std::io::Result<T>>, Flaw> {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        let racers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    Ok(call())
                })
            })
            .collect();
        racers.into_iter().map(join).collect()
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T, Flaw>>) -> Result<T, Flaw> {
    thread.join().unwrap_or_else(|_| Err(Flaw("a call panicked in a thread".to_owned())))
}

fn one_winner<T>(results: &[std::io::Result<T>], losing: ErrorKind) -> Result<(), Flaw> {
    let winners = results.iter().filter(|result| result.is_ok()).count();
    demand!(winners == 1, "{winners} of {} threads succeeded", results.len());
    let odd = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .find(|error| error.kind() != losing);
    if let Some(error) = odd {
        demand!(false, "a thread failed with {:?}, not {losing:?}", error.kind());
    }
    Ok(())
}
