//! Appends without sync, beside a bare copy, CRC-32C and write of the same bytes.
//!
//! The clock stops when all bytes are written to the file; nothing is synced on either side.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal::{SyncPolicy, Wal};
use wal_bench::{BODY_BYTES, body, describe, options, prepared_file};

const RECORDS: u64 = 20_000;
const RAW_BUFFER_BYTES: usize = 1 << 20;

fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut group = c.benchmark_group("append without sync");
    group.sample_size(10);
    for bytes in BODY_BYTES {
        let body = body(bytes);
        group.throughput(Throughput::Elements(RECORDS));
        group.bench_function(BenchmarkId::new("wal", bytes), |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| wal_round(&body)).sum());
        });
        group.bench_function(BenchmarkId::new("raw copy + crc32c + write", bytes), |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| raw_round(&body)).sum());
        });
    }
}

fn wal_round(body: &[u8]) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let options = options().sync_policy(SyncPolicy::Never);
    let wal = Wal::open(dir.path().join("log"), options, |_| Ok::<(), io::Error>(())).unwrap();
    let started = Instant::now();
    let mut last = None;
    for _ in 0..RECORDS {
        last = Some(wal.append(body).unwrap());
    }
    last.unwrap().wait_written().unwrap();
    started.elapsed()
}

fn raw_round(body: &[u8]) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let record_bytes = (24 + body.len()).next_multiple_of(8);
    let file_bytes = (RECORDS as usize * record_bytes).next_multiple_of(RAW_BUFFER_BYTES) as u64;
    let file = prepared_file(&dir.path().join("raw"), file_bytes).unwrap();
    let mut buffer = vec![0_u8; RAW_BUFFER_BYTES];
    let (mut used, mut offset) = (0, 0);
    let started = Instant::now();
    for _ in 0..RECORDS {
        if used + record_bytes > buffer.len() {
            file.write_all_at(&buffer[..used], offset).unwrap();
            offset += used as u64;
            used = 0;
        }
        let record = &mut buffer[used..used + record_bytes];
        record[24..24 + body.len()].copy_from_slice(body);
        let checksum = crc32c::crc32c(&record[4..24 + body.len()]);
        record[..4].copy_from_slice(&checksum.to_le_bytes());
        used += record_bytes;
    }
    file.write_all_at(&buffer[..used], offset).unwrap();
    started.elapsed()
}

criterion_group!(benches, append);
criterion_main!(benches);
