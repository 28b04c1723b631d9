//! Writes and reads the bytes of a log with this crate alone: no files, no threads, no log.
//!
//! A tool, a replica or a test needs no more than this. Run it with
//! `cargo run -p wal-format --example codec_only`.

use wal_format::body::{Body, Commit, Opened, Update};
use wal_format::{
    DecodeError, EncodeError, Epoch, EpochTracker, LogId, Lsn, PageId, RecordDraft, RecordIter,
    RecordKind, RecordSeed, TxnId, TxnLink,
};

/// A buffer that stands for a run of the log.
struct Run {
    /// Address of the first byte.
    start: Lsn,
    bytes: Vec<u8>,
    /// The checksum of every record starts from log id and epoch.
    seed: RecordSeed,
}

impl Run {
    /// Writes one record at the end of the run and returns its address.
    fn append(&mut self, draft: &RecordDraft<'_>) -> Result<Lsn, EncodeError> {
        // An LSN is an address: a record belongs where it stands, and nowhere else.
        let at = self.bytes.len();
        let Some(lsn) = self.start.checked_add(at as u64) else {
            return Err(EncodeError::BadField { field: "lsn" });
        };
        // Make room, then encode in place: the body is copied once, by the encoder.
        self.bytes.resize(at + draft.encoded_bytes(), 0);
        let room = self.bytes.get_mut(at..).unwrap_or_default();
        // Nothing here is stored anywhere, so no watermark: the record claims nothing as durable.
        draft.encode_into(&self.seed, lsn, None, room)?;
        Ok(lsn)
    }
}

fn write(log_id: LogId, epoch: Epoch) -> Result<Run, EncodeError> {
    let seed = RecordSeed::new(log_id, epoch);
    let mut run = Run { start: Lsn::FIRST, bytes: Vec::new(), seed };

    // Every opening of a log starts with this record.
    let opened = Opened { epoch, previous_end: Lsn::FIRST, opened_unix_us: 0 }.encode();
    run.append(&RecordDraft::new(RecordKind::OPENED, &[&opened]))?;

    // The simplest record: the engine's own kind, an opaque body.
    run.append(&RecordDraft::new(RecordKind::DATA, &[b"order 17: 3 x tea"]))?;

    // A transaction: each record names the one of the same transaction before it.
    let txn_id = TxnId::new(1);
    let update = Update { page: PageId::new(3), offset: 128, before: b"tea", after: b"rum" };
    let head = update.encode_head();
    let parts = update.parts(&head);
    let link = TxnLink { txn_id, prev_lsn: Lsn::NONE };
    let prev_lsn = run.append(&RecordDraft::new(RecordKind::UPDATE, &parts).in_txn(link))?;
    let commit = Commit { timestamp: 42 }.encode();
    let link = TxnLink { txn_id, prev_lsn };
    run.append(&RecordDraft::new(RecordKind::COMMIT, &[&commit]).in_txn(link))?;
    Ok(run)
}

/// Prints every record; returns how many there are.
fn read(bytes: &[u8], start: Lsn, log_id: LogId, epoch: Epoch) -> Result<usize, DecodeError> {
    let mut records = RecordIter::new(bytes, start, EpochTracker::new(log_id, epoch));
    let mut count = 0;
    for record in records.by_ref() {
        // An error says what stands where the records end. Whether that is a torn tail or damage
        // takes evidence from the whole log: the crate `wal-recovery` judges it.
        let record = record?;
        match Body::decode(record.kind(), record.body)? {
            Some(body) => println!("{} {body:?}", record.lsn()),
            None => println!(
                "{} {} {:?}",
                record.lsn(),
                record.kind(),
                record.body.escape_ascii().to_string()
            ),
        }
        count += 1;
    }
    println!("the records end at {}", records.position());
    Ok(count)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Take these from a source of randomness in a real log; see `LogId`.
    let log_id = LogId::from_bytes(*b"an example's log");
    let epoch = Epoch::FIRST;

    let mut run = write(log_id, epoch)?;
    let count = read(&run.bytes, run.start, log_id, epoch)?;
    println!("{count} records in {} bytes", run.bytes.len());

    // One flipped bit: the record is refused, and what stands before it is still there.
    if let Some(byte) = run.bytes.last_mut() {
        *byte ^= 1;
    }
    match read(&run.bytes, run.start, log_id, epoch) {
        Ok(_) => Err("a damaged record was taken for a true one".into()),
        Err(error) => {
            println!("after one flipped bit: {error}");
            Ok(())
        }
    }
}
