//! Durable commits of 128-byte bodies with 1, 8 and 32 threads, beside one raw thread which writes
//! and syncs the same bytes to a prepared file.
//!
//! Each round checks that the log's own count of syncs is not zero and that all of it is durable.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal::Wal;
use wal_bench::{body, describe, options, prepared_file, raw_commit};

const BODY: usize = 128;
const COMMITS_PER_THREAD: u64 = 100;

fn commit(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut group = c.benchmark_group("durable commit");
    group.sample_size(10);
    let body = body(BODY);
    for threads in [1_usize, 8, 32] {
        group.throughput(Throughput::Elements(COMMITS_PER_THREAD * threads as u64));
        group.bench_function(BenchmarkId::new("wal, threads", threads), |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| wal_round(&body, threads)).sum());
        });
        group.bench_function(BenchmarkId::new("raw, one thread, commits of", threads), |b| {
            let commits = COMMITS_PER_THREAD * threads as u64;
            b.iter_custom(|rounds| (0..rounds).map(|_| raw_round(&body, commits)).sum());
        });
    }
}

fn wal_round(body: &[u8], threads: usize) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let replay = |_: &wal::ReplayRecord<'_>| Ok::<(), io::Error>(());
    let wal = Wal::open(dir.path().join("log"), options(), replay).unwrap();
    let barrier = Barrier::new(threads + 1);
    let elapsed = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..COMMITS_PER_THREAD {
                        wal.append(body).unwrap().wait_durable().unwrap();
                    }
                })
            })
            .collect();
        barrier.wait();
        let started = Instant::now();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        started.elapsed()
    });
    let positions = wal.positions();
    assert_eq!(positions.durable, positions.reserved, "a commit returned before it was durable");
    assert!(wal.stats().commit.syncs > 0, "durable without a sync");
    elapsed
}

fn raw_round(body: &[u8], commits: u64) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let record_bytes = (24 + body.len()).next_multiple_of(8);
    let file = prepared_file(&dir.path().join("raw"), commits * record_bytes as u64).unwrap();
    let record = vec![1_u8; record_bytes];
    let started = Instant::now();
    for commit in 0..commits {
        raw_commit(&file, &record, commit * record_bytes as u64).unwrap();
    }
    started.elapsed()
}

criterion_group!(benches, commit);
criterion_main!(benches);
