//! What an undo logs, and in which order.

use std::sync::atomic::{AtomicU64, Ordering};

use wal::{Storage, TxnId};
use wal_sim::SimDisk;

use super::*;
use crate::file::PageFile;
use crate::pool::Pool;

/// A log which gives out addresses and takes note of what an undo asks for.
#[derive(Debug, Default)]
struct Addresses(AtomicU64);

impl Addresses {
    fn next(&self) -> Lsn {
        Lsn::new(4096 + 8 * self.0.fetch_add(1, Ordering::Relaxed)).unwrap()
    }
}

impl WriteAhead for Addresses {
    fn before_page_write(&self, _page: PageId, _page_lsn: Lsn) -> Result<(), RecoveryError> {
        Ok(())
    }

    fn page_written(&self, _page: PageId, _page_lsn: Lsn) {}

    fn log_image(&self, _page: PageId, _image: &[u8]) -> Result<Lsn, RecoveryError> {
        Ok(self.next())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Update(PageId),
    EndNested,
    Compensate(PageId, u32),
}

struct Scope<'l> {
    log: &'l Addresses,
    asked: Vec<Asked>,
    /// Refuses from this call on.
    refuses_at: usize,
}

impl Scope<'_> {
    fn take(&mut self, asked: Asked) -> Result<Lsn, RecoveryError> {
        if self.asked.len() >= self.refuses_at {
            return Err(RecoveryError::PageOffline { page: PageId::NONE });
        }
        self.asked.push(asked);
        Ok(self.log.next())
    }
}

impl UndoScope for Scope<'_> {
    fn log_update(
        &mut self,
        page: PageId,
        _offset: u32,
        _before: &[u8],
        _after: &[u8],
    ) -> Result<Lsn, RecoveryError> {
        self.take(Asked::Update(page))
    }

    fn end_nested(&mut self) -> Result<(), RecoveryError> {
        self.take(Asked::EndNested).map(drop)
    }

    fn compensate(
        &mut self,
        page: PageId,
        operation: u32,
        _redo: &[u8],
    ) -> Result<Lsn, RecoveryError> {
        self.take(Asked::Compensate(page, operation))
    }
}

fn store() -> (Store, Arc<Addresses>) {
    let storage: Arc<dyn Storage> = Arc::new(SimDisk::new());
    let pool = Pool::new(PageFile::create(&storage, "pages", 512).unwrap(), 8, true);
    let log = Arc::new(Addresses::default());
    let mut store = Store { core: Arc::new(Core::new(pool)), resolver: None };
    store.log_runs(&(Arc::clone(&log) as _)).unwrap();
    (store, log)
}

/// Takes the delete of `key` back, which had a value of 100 bytes.
fn undo_delete(store: &mut Store, scope: &mut Scope<'_>, key: &[u8]) -> Result<(), EngineError> {
    let undo = Op::Delete { key }.undo(&[7; 100]);
    let (txn, lsn, page) = (TxnId::new(1), Lsn::FIRST, PageId::new(1));
    let operation = Op::Delete { key }.number();
    store.undo_logical(&LogicalUndo { txn, lsn, page, operation, undo: &undo }, scope)
}

#[test]
fn a05_an_undo_with_room_logs_one_compensation_and_nothing_else() {
    let (mut store, log) = store();
    let mut scope = Scope { log: &log, asked: Vec::new(), refuses_at: usize::MAX };
    undo_delete(&mut store, &mut scope, b"a").unwrap();
    assert_eq!(scope.asked, [Asked::Compensate(PageId::new(1), 1)]);
}

#[test]
fn a07_a_split_in_an_undo_is_a_nested_top_action_that_ends_before_the_compensation() {
    let (mut store, log) = store();
    for key in [b"a", b"b", b"c", b"d"] {
        let mut scope = Scope { log: &log, asked: Vec::new(), refuses_at: usize::MAX };
        undo_delete(&mut store, &mut scope, key).unwrap();
    }
    let mut scope = Scope { log: &log, asked: Vec::new(), refuses_at: usize::MAX };
    undo_delete(&mut store, &mut scope, b"e").unwrap();
    let Some((Asked::Compensate(page, _), before)) = scope.asked.split_last() else {
        panic!("{:?}", scope.asked)
    };
    assert_ne!(*page, PageId::new(1), "the root is an inner node now");
    let (last, updates) = before.split_last().unwrap();
    assert_eq!(*last, Asked::EndNested);
    assert!(updates.iter().all(|asked| matches!(asked, Asked::Update(_))), "{updates:?}");
    assert_eq!(store.core.check().unwrap().len(), 5);
}

#[test]
fn half_a_split_of_an_undo_poisons_the_tree() {
    let (mut store, log) = store();
    for key in [b"a", b"b", b"c", b"d"] {
        let mut scope = Scope { log: &log, asked: Vec::new(), refuses_at: usize::MAX };
        undo_delete(&mut store, &mut scope, key).unwrap();
    }
    let mut scope = Scope { log: &log, asked: Vec::new(), refuses_at: 1 };
    let error = undo_delete(&mut store, &mut scope, b"e").unwrap_err();
    assert!(error.downcast_ref::<RecoveryError>().is_some(), "the log's own error comes back");
    assert!(matches!(store.core.pool.check(), Err(Error::Poisoned { .. })));
}
