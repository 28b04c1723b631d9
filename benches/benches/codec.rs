//! Encoding and decoding one record, beside a bare copy and a bare CRC-32C of the same bytes.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal_bench::{BODY_BYTES, body};
use wal_format::{Epoch, LogId, Lsn, RecordDraft, RecordKind, RecordSeed, decode_record};

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let seed = RecordSeed::new(LogId::from_bytes([7; 16]), Epoch::FIRST);
    for bytes in BODY_BYTES {
        let body = body(bytes);
        let parts = [body.as_slice()];
        let draft = RecordDraft::new(RecordKind::DATA, &parts);
        let mut out = vec![0_u8; draft.encoded_bytes()];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("wal", bytes), |b| {
            b.iter(|| {
                draft.encode_into(&seed, Lsn::FIRST, Some(Lsn::FIRST), black_box(&mut out)).unwrap()
            });
        });
        group.bench_function(BenchmarkId::new("raw copy + crc32c", bytes), |b| {
            b.iter(|| {
                let out = black_box(&mut out);
                out[24..24 + bytes].copy_from_slice(black_box(&body));
                wal_format::crc32c_append(0, &out[4..24 + bytes])
            });
        });
    }
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let seed = RecordSeed::new(LogId::from_bytes([7; 16]), Epoch::FIRST);
    for bytes in BODY_BYTES {
        let body = body(bytes);
        let parts = [body.as_slice()];
        let draft = RecordDraft::new(RecordKind::DATA, &parts);
        let mut record = vec![0_u8; draft.encoded_bytes()];
        draft.encode_into(&seed, Lsn::FIRST, None, &mut record).unwrap();
        assert_eq!(decode_record(&record, Lsn::FIRST, &seed).unwrap().body, body);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("wal", bytes), |b| {
            b.iter(|| decode_record(black_box(&record), Lsn::FIRST, &seed).unwrap().body.len());
        });
        group.bench_function(BenchmarkId::new("raw crc32c", bytes), |b| {
            b.iter(|| wal_format::crc32c_append(0, &black_box(&record)[4..]));
        });
    }
}

criterion_group!(benches, encode, decode);
criterion_main!(benches);
