//! The engine against a map: contents, atomic batches, transactions, files, damage, strategies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;

use wal::{
    Access, ErrorKind, FileStorage, MemoryStorage, Options, Progress, RecoveryReport,
    RecoveryStrategy, RedoOnly, Storage, Threads,
};
use wal_lsm::{Lsm, LsmError, LsmOptions, Recovered};
use wal_recovery::{RecoveryError, RecoveryLog};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn options() -> LsmOptions {
    let log =
        Options::default().segment_bytes(64 << 10).buffer_bytes(16 << 10).threads(Threads::None);
    LsmOptions::default().log(log).tables_max(3)
}

fn key(number: u32) -> Vec<u8> {
    format!("key {:04}", number % 200).into_bytes()
}

/// The same changes to the engine and to a map: batches, deletions, transactions committed and
/// dropped, checkpoints now and then.
fn change(lsm: &mut Lsm, map: &mut Map, round: u32) {
    let value = vec![round as u8; (round % 400) as usize];
    match round % 11 {
        0 => {
            lsm.delete(&key(round / 2)).unwrap();
            map.remove(&key(round / 2));
        }
        1 => {
            let (one, two) = (key(round), key(round * 3));
            lsm.apply(&[(&one, Some(&value)), (&two, None)]).unwrap();
            map.insert(one.clone(), value);
            if one != two {
                map.remove(&two);
            } else {
                map.remove(&one);
            }
        }
        2 | 3 => {
            let mut txn = lsm.begin();
            for step in 0..5 {
                txn.put(&key(round * 7 + step), &value).unwrap();
            }
            if round % 11 == 2 {
                lsm.commit(txn).unwrap();
                (0..5).for_each(|step| drop(map.insert(key(round * 7 + step), value.clone())));
            }
        }
        4 if round.is_multiple_of(3) => drop(lsm.checkpoint().unwrap()),
        _ => {
            lsm.put(&key(round * 13), &value).unwrap();
            map.insert(key(round * 13), value);
        }
    }
}

fn contents(lsm: &Lsm) -> Map {
    lsm.scan(b"").map(Result::unwrap).collect()
}

/// A storage after `rounds` changes, and what must be in it.
fn worked(rounds: u32) -> (Arc<MemoryStorage>, Map) {
    let (storage, mut map) = (Arc::new(MemoryStorage::new()), Map::new());
    let mut lsm = Lsm::open_in(storage.clone(), options()).unwrap();
    (0..rounds).for_each(|round| change(&mut lsm, &mut map, round));
    (storage, map)
}

#[test]
fn it_holds_what_a_map_holds_before_and_after_every_reopening() {
    let (storage, mut map) = (Arc::new(MemoryStorage::new()), Map::new());
    for opening in 0..6 {
        let mut lsm = Lsm::open_in(storage.clone(), options()).unwrap();
        assert_eq!(contents(&lsm), map, "opening {opening}");
        (0..150).for_each(|round| change(&mut lsm, &mut map, 150 * opening + round));
        assert_eq!(contents(&lsm), map);
        for number in 0..200 {
            assert_eq!(lsm.get(&key(number)).unwrap().as_ref(), map.get(&key(number)));
        }
        if opening % 2 == 0 {
            lsm.close().unwrap();
        }
    }
}

#[test]
fn a_scan_begins_where_it_is_told() {
    let (storage, map) = worked(300);
    let lsm = Lsm::open_in(storage, options()).unwrap();
    let found: Map = lsm.scan(&key(100)).map(Result::unwrap).collect();
    assert_eq!(found, map.range(key(100)..).map(|(k, v)| (k.clone(), v.clone())).collect());
}

#[test]
fn it_runs_on_real_files() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Lsm::open_in(Arc::new(FileStorage::open(dir.path()).unwrap()), options());
    let mut map = Map::new();
    let mut lsm = open().unwrap();
    (0..120).for_each(|round| change(&mut lsm, &mut map, round));
    drop(lsm);
    assert_eq!(contents(&open().unwrap()), map);
}

#[test]
fn a_transaction_open_over_a_checkpoint_is_there_when_it_commits_after_it() {
    let storage = Arc::new(MemoryStorage::new());
    let mut lsm = Lsm::open_in(storage.clone(), options()).unwrap();
    let mut txn = lsm.begin();
    txn.put(b"early", b"1").unwrap();
    assert_eq!((txn.own(b"early"), lsm.get(b"early").unwrap()), (Some(Some(&b"1"[..])), None));
    lsm.put(b"other", b"2").unwrap();
    lsm.checkpoint().unwrap();
    lsm.checkpoint().unwrap();
    lsm.commit(txn).unwrap();
    drop(lsm);
    let lsm = Lsm::open_in(storage, options()).unwrap();
    assert_eq!(lsm.get(b"early").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn checkpoints_keep_the_log_short_and_the_files_few() {
    let storage = Arc::new(MemoryStorage::new());
    let mut lsm = Lsm::open_in(storage.clone(), options()).unwrap();
    for round in 0_u32..40 {
        for step in 0..30 {
            lsm.put(&key(step), &[round as u8; 300]).unwrap();
        }
        lsm.checkpoint().unwrap();
        assert!(lsm.tables().len() <= 3, "{:?}", lsm.tables());
        let files = storage.list().unwrap();
        assert!(files.len() < 16, "round {round}: {files:?}");
    }
    assert!(lsm.log().head() > wal::Lsn::new(1 << 17).unwrap(), "the log was truncated");
}

#[test]
fn a_file_that_no_checkpoint_names_is_removed_by_the_next_opening() {
    let (storage, map) = worked(100);
    storage.create("00009999.table", 0).unwrap();
    storage.create("notes.table", 0).unwrap();
    let mut lsm = Lsm::open_in(storage.clone(), options()).unwrap();
    let there = |name: &str| storage.list().unwrap().iter().any(|file| file.name == name);
    assert!(!there("00009999.table") && there("notes.table"), "only files of its own go");
    lsm.checkpoint().unwrap();
    assert_eq!(lsm.tables()[0], "00010000.table", "and its number is not used again at once");
    assert_eq!(contents(&lsm), map);
}

#[test]
fn a_damaged_table_is_refused_and_never_read_as_something_else() {
    let (storage, map) = worked(200);
    let mut lsm = Lsm::open_in(storage.clone(), options()).unwrap();
    lsm.checkpoint().unwrap();
    let name = lsm.tables()[0].clone();
    let file = storage.open(&name, Access::Write).unwrap();
    file.write_at(&[std::io::IoSlice::new(&[0xff; 64])], 100).unwrap();
    let found: Result<Map, LsmError> = lsm.scan(b"").collect();
    assert!(matches!(found, Err(LsmError::Damaged { offset: 0, .. })), "{found:?} {}", map.len());
    drop(lsm);
    storage.remove(&name).unwrap();
    let Err(LsmError::Log(error)) = Lsm::open_in(storage, options()) else { panic!("opened") };
    assert_eq!(error.kind(), ErrorKind::Replay);
}

#[test]
fn the_log_of_another_engine_is_refused() {
    let storage = Arc::new(MemoryStorage::new());
    let log = Options::default().segment_bytes(64 << 10).recover_with(RedoOnly::default());
    let wal = log.open_in(storage.clone(), &mut Recorded).unwrap();
    wal.append(b"\x09").unwrap().wait_durable().unwrap();
    wal.close().unwrap();
    assert!(matches!(Lsm::open_in(storage, options()), Err(LsmError::Log(_))));
}

struct Recorded;

impl wal::RedoTarget for Recorded {
    type Error = std::io::Error;

    fn redo(&mut self, _: &wal::ReplayRecord<'_>) -> Result<(), std::io::Error> {
        Ok(())
    }
}

/// Replays all that there is, and then all of it again.
struct Twice(RedoOnly);

impl RecoveryStrategy<Recovered> for Twice {
    fn recover(
        &mut self,
        log: &RecoveryLog<'_>,
        engine: &mut Recovered,
        progress: &mut dyn Progress,
    ) -> Result<RecoveryReport, RecoveryError> {
        self.0.recover(log, engine, progress)?;
        RedoOnly::default().recover(log, engine, progress)
    }
}

#[test]
fn strategies_swap() {
    // The engine is not asked: redo from the checkpoint, and a strategy of the caller's that is
    // interrupted, as it were, and does all of it again, end with the same contents.
    for rounds in [1, 40, 333] {
        let (storage, map) = worked(rounds);
        let lsm = Lsm::open_in(storage.clone(), options()).unwrap();
        assert_eq!(contents(&lsm), map);
        drop(lsm);
        let lsm = Lsm::open_with(storage, options(), Twice(RedoOnly::default())).unwrap();
        assert_eq!(contents(&lsm), map);
    }
}
