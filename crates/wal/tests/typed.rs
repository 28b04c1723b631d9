//! Values as bodies, through the codec of bincode.
#![cfg(feature = "bincode")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{reopen, small};
use wal::{
    Bincode, ErrorKind, MemoryStorage, Operation, PageId, PayloadCodec, RecordKind, ReplayRecord,
    Row, Storage, Wal,
};

type Change = Operation<String, Vec<f32>>;

fn changes() -> [Change; 3] {
    let row = |key: &str| Row::new(7, key.to_owned());
    [
        Operation::Insert { row: row("a"), after: vec![0.5, -1.0] },
        Operation::Update { row: row("a").on_page(PageId::new(9)), before: None, after: vec![2.0] },
        Operation::Delete { row: row("a"), before: Some(vec![2.0]) },
    ]
}

#[test]
fn operations_with_and_without_a_page_come_back_as_they_were() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    let mut transaction = wal.begin();
    for change in &changes() {
        transaction.log_value(RecordKind::DATA, &Bincode::default(), change).unwrap();
    }
    transaction.commit().unwrap();
    drop(wal);
    let mut found: Vec<Change> = Vec::new();
    Wal::open_in(storage, small(), |record: &ReplayRecord<'_>| {
        found.push(Bincode::default().decode(record.body)?);
        Ok::<(), wal::BincodeError>(())
    })
    .unwrap();
    assert_eq!(found, changes());
    assert_eq!(found[1].row(), &Row { table: 7, key: "a".to_owned(), page: Some(9) });
}

#[test]
fn values_go_into_the_log_and_come_back_by_their_type() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    let codec = Bincode::default();
    let kind = RecordKind::engine(5).unwrap();
    let ticket = wal.append_value(kind, &codec, &("tea", 3_u32)).unwrap();
    ticket.wait_durable().unwrap();
    let value: (String, u32) = wal.read_value(ticket.lsn(), &codec).unwrap();
    assert_eq!(value, ("tea".to_owned(), 3));
    let error = wal.read_value::<_, u64>(ticket.lsn(), &codec).unwrap_err();
    assert_eq!((error.kind(), error.lsn()), (ErrorKind::Refused, Some(ticket.lsn())));
}

#[test]
fn a_value_that_the_codec_refuses_leaves_the_log_as_it_was() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    let before = wal.positions().reserved;
    let error = wal.append_value(RecordKind::DATA, &Bincode::new(4), "too long").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert_eq!(wal.positions().reserved, before);
}
