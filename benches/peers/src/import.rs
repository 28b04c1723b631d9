//! `wal-peers import`: brings a log of aegis-storage over. The old library opens and recovers it,
//! each committed operation goes into ours as a typed payload, and all are read back and compared
//! before anything is called done.
//!
//! What it does is what a program of anybody's does who changes over; see `docs/migration.md`. It
//! gives back what the old recovery gives back and no more: what that lost is not in its hands.

use std::io;
use std::path::{Path, PathBuf};

use aegis_storage::WriteAheadLog;
use aegis_storage::wal::{LogRecord, LogRecordType};
use clap::Args;
use wal::{Bincode, Operation, Options, PageId, PayloadCodec, ReplayRecord, Row, Wal};
use wal_bench::Failure;

/// Where from and where to.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The directory of the old log, or better of a copy: opening it writes to it
    from: PathBuf,
    /// The new log, which must not be there; after a failure, remove it and start again
    to: PathBuf,
}

/// A change as it is in the new log: its key is the LSN which it had, its value the old data.
type Change = Operation<u64, Vec<u8>>;

/// Imports, compares, and says how many.
///
/// # Errors
///
/// When there is no old log or already a new one, a record does not fit, or what is read back is
/// not what was written. The new log is not to be used then.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { from, to } = arguments;
    let imported = import(from, to)?;
    println!("{imported} operations are in {}, read back and compared", to.display());
    Ok(())
}

fn import(from: &Path, to: &Path) -> Result<usize, Failure> {
    if !from.is_dir() {
        return Err(format!("{} is no directory of a log", from.display()).into());
    }
    if to.exists() {
        return Err(format!("{} is there already", to.display()).into());
    }
    let (_old, recovery) = WriteAheadLog::open_and_recover(from.to_owned(), true)?;
    println!(
        "aegis-storage read {} records of {} segments; {} transactions were incomplete and stay \
         behind",
        recovery.records_processed,
        recovery.segments_scanned,
        recovery.incomplete_transactions.len()
    );
    let bodies: Vec<Vec<u8>> =
        recovery.redo_records.iter().map(encode).collect::<Result<_, _>>()?;
    write(to, &bodies)?;
    compare(to, &bodies)?;
    Ok(bodies.len())
}

fn encode(record: &LogRecord) -> Result<Vec<u8>, Failure> {
    let row = Row::new(0, record.lsn.0);
    let row = match record.page_id {
        Some(page) => row.on_page(PageId::new(page.0)),
        None => row,
    };
    let data = record.data.to_vec();
    let change: Change = match record.record_type {
        LogRecordType::Insert => Operation::Insert { row, after: data },
        LogRecordType::Update => Operation::Update { row, before: None, after: data },
        LogRecordType::Delete => Operation::Delete { row, before: Some(data) },
        other => return Err(format!("a {other:?} among the operations to be redone").into()),
    };
    Ok(Bincode::default().encode(&change)?)
}

/// More than a record takes in the log besides its body.
const RECORD_EXTRA_BYTES: u64 = 64;

/// Writes them in batches as large as the log takes, and closes it: then all are durable.
fn write(to: &Path, bodies: &[Vec<u8>]) -> Result<(), Failure> {
    let new = Wal::open(to, Options::default(), |_: &ReplayRecord<'_>| Ok::<(), io::Error>(()))?;
    let (mut first, mut bytes) = (0, 0);
    for (next, body) in bodies.iter().enumerate() {
        let more = body.len() as u64 + RECORD_EXTRA_BYTES;
        if first < next && bytes + more > new.batch_bytes_max() {
            // Only ordered yet; the sync at the end covers all.
            let _ = new.append_batch(bodies.get(first..next).unwrap_or_default())?;
            (first, bytes) = (next, 0);
        }
        bytes += more;
    }
    if let Some(last @ [_, ..]) = bodies.get(first..) {
        let _ = new.append_batch(last)?;
    }
    new.sync()?;
    Ok(new.close()?)
}

/// Opens the new log as an engine does, and compares what it replays.
fn compare(to: &Path, bodies: &[Vec<u8>]) -> Result<(), Failure> {
    let mut expected = bodies.iter();
    let mut differ = 0;
    let new = Wal::open(to, Options::default(), |record: &ReplayRecord<'_>| {
        differ += usize::from(expected.next().is_none_or(|body| body != record.body));
        Ok::<(), io::Error>(())
    })?;
    new.close()?;
    let missing = expected.count();
    if differ + missing > 0 {
        return Err(format!("{differ} records differ and {missing} are missing").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_common::{PageId as OldPage, TransactionId};
    use bytes::Bytes;

    #[test]
    fn what_committed_comes_over_in_order_and_nothing_else_does() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("old"), place.path().join("new"));
        let old = WriteAheadLog::new(from.clone(), true).unwrap();
        for (txn, fate) in [(1, "commit"), (2, "abort"), (3, "commit"), (4, "none")] {
            let txn = TransactionId(txn);
            let begin = old.log_begin(txn).unwrap();
            let (page, data) = (OldPage(7), Bytes::from(format!("{txn:?}")));
            let last = old.log_update(txn, Some(begin), page, data).unwrap();
            match fate {
                "commit" => drop(old.log_commit(txn, last).unwrap()),
                "abort" => drop(old.log_abort(txn, last).unwrap()),
                _ => drop(old.flush().unwrap()),
            }
        }
        drop(old);
        assert_eq!(import(&from, &to).unwrap(), 2);
        let mut changes = Vec::new();
        let new = Wal::open(&to, Options::default(), |record: &ReplayRecord<'_>| {
            changes.push(Bincode::default().decode::<Change>(record.body).unwrap());
            Ok::<(), io::Error>(())
        })
        .unwrap();
        new.close().unwrap();
        let after = |change: &Change| match change {
            Operation::Update { row, after, .. } => {
                assert_eq!(row.page, Some(7));
                String::from_utf8(after.clone()).unwrap()
            }
            other => panic!("{other:?}"),
        };
        let after: Vec<String> = changes.iter().map(after).collect();
        assert_eq!(after, ["TransactionId(1)", "TransactionId(3)"]);
        assert!(changes[0].row().key < changes[1].row().key);
    }

    #[test]
    fn what_is_missing_or_differs_is_told() {
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("new");
        let bodies = [b"a".to_vec(), b"b".to_vec()];
        write(&to, &bodies).unwrap();
        assert!(compare(&to, &bodies).is_ok());
        assert!(compare(&to, &[b"a".to_vec(), b"c".to_vec()]).is_err());
        assert!(compare(&to, &[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]).is_err());
        assert!(compare(&to, &bodies[..1]).is_err());
    }

    #[test]
    fn no_log_is_made_of_a_wrong_path_and_none_is_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let gone = place.path().join("gone");
        assert!(import(&gone, &place.path().join("new")).is_err());
        assert!(!gone.exists());
        assert!(import(place.path(), place.path()).is_err());
    }
}
