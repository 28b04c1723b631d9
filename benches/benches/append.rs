//! Appends without sync, a few at a time, beside a bare copy, CRC-32C and write of the same bytes.
//!
//! The clock stops when all bytes are written to the file; nothing is synced on either side. The
//! whole workload, by the gibibyte, is `cargo xtask bench append`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal_bench::{BARE_APPENDS, BODY_BYTES, Entry, Load, OURS, body, describe};

const RECORDS: u64 = 20_000;

fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut group = c.benchmark_group("append without sync");
    group.sample_size(10);
    for bytes in BODY_BYTES {
        let body = body(bytes);
        group.throughput(Throughput::Elements(RECORDS));
        for entry in [OURS, BARE_APPENDS[0]] {
            group.bench_function(BenchmarkId::new(entry.name, bytes), |b| {
                b.iter_custom(|rounds| (0..rounds).map(|_| round(&entry, &body)).sum());
            });
        }
    }
}

fn round(entry: &Entry, body: &[u8]) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let load = Load {
        threads: 1,
        durable: false,
        bytes: RECORDS * body.len() as u64,
        body_bytes: body.len(),
        segment_bytes: None,
    };
    let peer = (entry.open)(dir.path(), load).unwrap();
    let mut committer = peer.committer(0).unwrap();
    let started = Instant::now();
    for _ in 0..RECORDS {
        committer.commit(body).unwrap();
    }
    // The bare one writes what is left when it goes.
    drop(committer);
    peer.written().unwrap();
    started.elapsed()
}

criterion_group!(benches, append);
criterion_main!(benches);
