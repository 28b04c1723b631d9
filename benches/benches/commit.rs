//! Durable commits of 128-byte bodies with 1, 8 and 32 threads, beside one raw thread which writes
//! and syncs the same bytes to a prepared file.
//!
//! Each round checks that the log's own count of syncs is not zero and that all of it is durable.
#![allow(missing_docs, clippy::unwrap_used)]

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal::Wal;
use wal_bench::{body, describe, options, prepared_file, raw_commit};

const BODY: usize = 128;
const COMMITS_PER_THREAD: u64 = 100;

/// Bytes of the raw file: those of one segment, so that both sides write to prepared space alike.
const RAW_BYTES: u64 = 64 << 20;

fn commit(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut group = c.benchmark_group("durable commit");
    group.sample_size(10);
    let body = body(BODY);
    let replay = |_: &wal::ReplayRecord<'_>| Ok::<(), io::Error>(());
    let wal = Wal::open(dir.path().join("log"), options(), replay).unwrap();
    let raw = Raw::new(&dir.path().join("raw"));
    for threads in [1_usize, 8, 32] {
        let commits = COMMITS_PER_THREAD * threads as u64;
        group.throughput(Throughput::Elements(commits));
        group.bench_function(BenchmarkId::new("wal, threads", threads), |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| wal_round(&wal, &body, threads)).sum());
        });
        group.bench_function(BenchmarkId::new("raw, one thread, commits of", threads), |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| raw.round(commits)).sum());
        });
    }
    wal.close().unwrap();
}

fn wal_round(wal: &Wal, body: &[u8], threads: usize) -> Duration {
    let syncs = wal.stats().commit.syncs;
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
    assert!(wal.stats().commit.syncs > syncs, "durable without a sync");
    elapsed
}

struct Raw {
    file: File,
    record: Vec<u8>,
    next: Cell<u64>,
}

impl Raw {
    fn new(path: &Path) -> Self {
        let record = vec![1_u8; (24 + BODY).next_multiple_of(8)];
        Self { file: prepared_file(path, RAW_BYTES).unwrap(), record, next: Cell::new(0) }
    }

    fn round(&self, commits: u64) -> Duration {
        let bytes = self.record.len() as u64;
        let started = Instant::now();
        for _ in 0..commits {
            let offset = if self.next.get() + bytes > RAW_BYTES { 0 } else { self.next.get() };
            raw_commit(&self.file, &self.record, offset).unwrap();
            self.next.set(offset + bytes);
        }
        started.elapsed()
    }
}

criterion_group!(benches, commit);
criterion_main!(benches);
