//! Scanning a log, beside reading the same files and a CRC-32C of the same bytes.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal::{LogView, SyncPolicy, Wal};
use wal_bench::{BODY_BYTES, body, describe, options};

const LOG_BYTES: usize = 64 << 20;

fn scan(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut group = c.benchmark_group("scan");
    group.sample_size(10);
    for bytes in BODY_BYTES {
        let log = dir.path().join(bytes.to_string());
        let records = make_log(&log, &body(bytes));
        let view = LogView::open(&log).unwrap();
        group.throughput(Throughput::Bytes(view.end().get() - view.head().get()));
        group.bench_function(BenchmarkId::new("wal", bytes), |b| {
            b.iter(|| {
                let mut seen = 0;
                view.for_each(view.range(), |record| {
                    seen += u64::from(record.kind().is_engine());
                    ControlFlow::<()>::Continue(())
                })
                .unwrap();
                assert_eq!(seen, records, "the scan missed records");
            });
        });
        group.bench_function(BenchmarkId::new("raw read + crc32c", bytes), |b| {
            b.iter(|| raw_read(&log, view.end().get() - view.head().get()));
        });
    }
}

fn make_log(path: &Path, body: &[u8]) -> u64 {
    let options = options().sync_policy(SyncPolicy::Never);
    let wal = Wal::open(path, options, |_| Ok::<(), io::Error>(())).unwrap();
    let records = (LOG_BYTES / body.len()) as u64;
    for _ in 0..records {
        let _ordered = wal.append(body).unwrap();
    }
    wal.close().unwrap();
    records
}

/// Reads as many bytes as the log holds, in 256 KiB pieces, and checksums them.
fn raw_read(log: &Path, bytes: u64) -> u32 {
    let mut names: Vec<_> = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    names.sort();
    let mut buffer = vec![0_u8; 256 << 10];
    let (mut crc, mut left) = (0, bytes);
    for name in names {
        let mut file = fs::File::open(name).unwrap();
        while left > 0 {
            let read = file.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            crc = crc32c::crc32c_append(crc, &buffer[..read]);
            left = left.saturating_sub(read as u64);
        }
    }
    crc
}

criterion_group!(benches, scan);
criterion_main!(benches);
