//! Salvage and point-in-time copies: what they keep, what they declare, what they never touch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod log_builder;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use log_builder::{Built, LogBuilder, contents, lsn, txn};
use wal_format::{LogId, Lsn, LsnRange, RecordKind};
use wal_io::backend::MemoryStorage;
use wal_io::{Access, FileEntry, IoError, LogFile, Storage, StorageLock, StoreOptions};
use wal_recovery::{
    CopyReport, Depth, Examination, LogReader, LogSnapshot, LossReason, LossReport, LostRange,
    PointFault, RecoveryError, RecoveryLog, RecoveryReport, RecoveryStrategy, RedoOnly, RedoTarget,
    ReplayRecord, Until, VerdictKind, examine, restore_to, resume, salvage,
};

const COPY: LogId = LogId::from_bytes(*b"a copy of tests.");

fn shared(storage: &MemoryStorage) -> Arc<dyn Storage> {
    Arc::new(storage.clone())
}

fn salvaged(built: &Built) -> (MemoryStorage, LossReport) {
    let before = built.contents();
    let place = MemoryStorage::new();
    let report = salvage(&shared(&built.storage), &shared(&place), COPY, &mut ()).unwrap();
    assert_eq!(built.contents(), before, "the evidence is as it was");
    (place, report)
}

fn restored(built: &Built, until: &Until) -> Result<(MemoryStorage, CopyReport), RecoveryError> {
    let before = built.contents();
    let place = MemoryStorage::new();
    let report = restore_to(&shared(&built.storage), &shared(&place), until, COPY, &mut ());
    assert_eq!(built.contents(), before, "the source is as it was");
    if report.is_err() {
        assert_eq!(contents(&place), [], "nothing was written");
    }
    report.map(|report| (place, report))
}

fn examined(place: &MemoryStorage) -> Examination {
    examine(&shared(place), Depth::Full, &mut ()).unwrap()
}

/// What an engine is given of a log, from its newest checkpoint on.
fn replayed(place: &MemoryStorage) -> (Vec<String>, RecoveryReport) {
    let examined = examined(place);
    assert!(!examined.verdict.is_damage(), "{}", examined.verdict);
    let source = examined.source(&shared(place)).unwrap();
    let range = LsnRange::new(source.range().start, examined.end);
    replayed_range(&source, range, examined.checkpoint)
}

fn replayed_range(
    source: &wal_recovery::LogSource,
    range: LsnRange,
    checkpoint: Option<wal_format::CheckpointPointer>,
) -> (Vec<String>, RecoveryReport) {
    let mut engine = Engine::default();
    let log = RecoveryLog::new(source, range).with_checkpoint(checkpoint);
    let report = RedoOnly::new().recover(&log, &mut engine, &mut ()).unwrap();
    (engine.done, report)
}

/// An engine which remembers what it was given, and whose state a checkpoint does not hold.
#[derive(Default)]
struct Engine {
    done: Vec<String>,
}

impl RedoTarget for Engine {
    type Error = String;

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), String> {
        self.done.push(String::from_utf8_lossy(record.body).into_owned());
        Ok(())
    }
}

/// Address, kind, body, and what it says was durable.
type Copied = (Lsn, RecordKind, Vec<u8>, Option<Lsn>);

/// Every record of a log.
fn records(place: &MemoryStorage) -> Vec<Copied> {
    let examined = examined(place);
    let source = examined.source(&shared(place)).unwrap();
    let mut reader = LogReader::new(LogSnapshot::new(source, examined.end));
    reader.show_housekeeping(true);
    let mut records = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        records.push((record.lsn(), record.kind(), record.body.to_vec(), record.durable()));
    }
    records
}

/// Segments, openings, jumps, batches and transactions; gives the records worth damaging.
fn varied() -> (Built, Vec<Lsn>) {
    let mut log = LogBuilder::new(1 << 16);
    let mut places = Vec::new();
    let mut open = txn(1000);
    for index in 0..400_u64 {
        places.push(log.plain(&format!("plain {index} {}", "x".repeat(index as usize % 300))));
        let mut short = txn(index + 1);
        log.put(&mut short, &format!("txn {index}"));
        log.put(&mut open, &format!("open {index}"));
        log.commit_at(&mut short, 10 * (index + 1));
        log.batch(&["b0", "b1"], 2);
        match index {
            100 => drop(log.reopen()),
            200 => drop(log.reopen_unclean()),
            _ => continue,
        }
        open = txn(1000);
    }
    log.commit(&mut open);
    (log.finish(), places)
}

#[test]
fn a_whole_log_is_copied_record_by_record_at_the_same_addresses() {
    let (built, _) = varied();
    let (place, report) = salvaged(&built);
    assert_eq!(records(&place), records(&built.storage));
    assert_eq!(report.lost, []);
    assert!(!report.affects_replay());
    assert_eq!(report.copied.records, records(&built.storage).len() as u64);
    assert_eq!(replayed(&place).0, replayed(&built.storage).0);
    let copy = examined(&place);
    assert_eq!(copy.verdict.kind(), VerdictKind::CleanEnd);
    assert_eq!(copy.survey.log_id, Some(COPY));
    assert!(report.to_string().contains("nothing that was promised is lost"));
}

#[test]
fn r08_a_copy_goes_on_above_every_address_of_its_source() {
    let (built, _) = varied();
    let above = examined(&built.storage).survey.address_end;
    let cut = lsn(built.links[0].range().end.get());
    let (place, report) = restored(&built, &Until::Lsn(cut)).unwrap();
    assert_eq!(report.range.end, cut);
    let copy = examined(&place);
    assert!(copy.survey.address_end > above);
    assert!(copy.end >= above, "{} is not above {above}", copy.end);
    assert!(copy.epoch > built.epoch);
}

#[test]
fn a_copy_opens_like_any_log_and_replays_alike() {
    let (built, places) = varied();
    built.damage(places[150]);
    let (place, _) = salvaged(&built);
    let expected = replayed(&place).0;
    let storage = shared(&place);
    let lock = storage.lock().unwrap();
    let found = examined(&place);
    let opened = resume(storage, lock, StoreOptions::default(), &found).unwrap();
    assert_eq!(opened.rewritten_bytes, 0, "a copy is durable");
    let above = examined(&built.storage).survey.address_end;
    assert!(opened.placement.end >= above);
    let range = LsnRange::new(opened.source.range().start, found.end);
    assert_eq!(replayed_range(&opened.source, range, None).0, expected);
}

#[test]
fn a_damaged_record_in_the_middle_costs_that_record_and_no_other() {
    let (built, places) = varied();
    for victim in [places[0], places[150], places[399]] {
        let whole = records(&built.storage);
        let (name, offset) = built.place(victim);
        built.flip(&name, offset + 25);
        assert_eq!(examined(&built.storage).verdict.kind(), VerdictKind::Corrupt);
        let (place, report) = salvaged(&built);
        built.flip(&name, offset + 25);
        let expected: Vec<_> = whole.into_iter().filter(|record| record.0 != victim).collect();
        assert_eq!(records(&place), expected);
        let [lost] = report.lost[..] else { panic!("{report}") };
        assert_eq!(lost.range.start, victim);
        assert_eq!(lost.place.map(|(segment, at)| (segment.to_string(), at)), Some((name, offset)));
        assert!(matches!(lost.why, LossReason::Damaged(_)));
        assert!(report.affects_replay() && report.lost_bytes() > 0);
        let (done, replay) = replayed(&place);
        assert_eq!(done.len(), replayed(&built.storage).0.len() - 1);
        assert_eq!(replay.losses, 1);
    }
}

#[test]
fn damage_in_a_transaction_and_a_batch_costs_the_whole_of_them() {
    let mut log = LogBuilder::new(1 << 16);
    let (mut a, mut b) = (txn(1), txn(2));
    log.put(&mut a, "a1");
    let in_txn = log.put(&mut a, "a2");
    log.put(&mut b, "b1");
    let members = log.batch(&["m0", "m1", "m2"], 3);
    log.commit(&mut a);
    log.commit(&mut b);
    let built = log.finish();
    built.damage(in_txn);
    built.damage(members[1]);
    let (place, report) = salvaged(&built);
    assert_eq!(report.lost.len(), 2);
    let (done, replay) = replayed(&place);
    assert_eq!(done, ["b1"]);
    assert_eq!((replay.transactions.incomplete, replay.transactions.committed), (1, 1));
    assert_eq!(replay.batches.void, 2);
}

#[test]
fn r05_a_salvaged_copy_of_a_truncated_log_opens_without_what_the_truncation_cut() {
    let mut log = LogBuilder::new(1 << 16);
    let (mut cut, mut whole) = (txn(1), txn(2));
    log.put(&mut cut, "c1");
    log.rotate(0);
    log.put(&mut cut, "c2");
    let victim = log.plain("victim");
    log.put(&mut whole, "w1");
    log.commit(&mut cut);
    log.commit(&mut whole);
    let mut built = log.finish();
    built.truncate(1);
    built.damage(victim);
    let (place, report) = salvaged(&built);
    assert_eq!(report.lost.len(), 1);
    let storage = shared(&place);
    let found = examined(&place);
    let options = StoreOptions::default();
    let opened = resume(storage.clone(), storage.lock().unwrap(), options, &found).unwrap();
    let range = LsnRange::new(opened.source.range().start, opened.end);
    let (done, replay) = replayed_range(&opened.source, range, None);
    assert_eq!(done, ["w1"]);
    let counts = replay.transactions;
    assert_eq!((counts.committed, counts.truncated, counts.incomplete), (1, 1, 0));
}

#[test]
fn a_zeroed_run_over_many_records_is_one_loss() {
    let (built, places) = varied();
    let (name, offset) = built.place(places[300]);
    let file = built.storage.open(&name, Access::Write).unwrap();
    file.write_at(&[IoSlice::new(&[0; 8192])], offset).unwrap();
    let (_, report) = salvaged(&built);
    let [lost] = report.lost[..] else { panic!("{report}") };
    assert_eq!(lost.range.start, places[300]);
    assert!((8192..8192 + 500).contains(&lost.range.bytes()), "{lost}");
}

#[test]
fn a_missing_segment_costs_what_it_held() {
    let (built, _) = varied();
    let whole = records(&built.storage);
    for index in 0..built.links.len() {
        let link = built.links[index];
        let name = link.name.to_string();
        let hidden = format!("{name}.hidden");
        built.storage.rename(&name, &hidden).unwrap();
        assert!(examined(&built.storage).verdict.is_damage());
        let (place, report) = salvaged(&built);
        built.storage.rename(&hidden, &name).unwrap();
        let kept: Vec<_> =
            whole.iter().filter(|record| !link.range().contains(record.0)).cloned().collect();
        assert_eq!(records(&place), kept, "without segment {index}");
        let missing = |lost: &&LostRange| lost.why == LossReason::MissingSegment;
        assert_eq!(report.lost.iter().filter(missing).count(), 1, "{report}");
        assert!(!report.problems.is_empty(), "{report}");
        replayed(&place);
    }
}

#[test]
fn a_damaged_header_costs_nothing_since_records_prove_themselves() {
    let (built, _) = varied();
    let whole = records(&built.storage);
    for link in &built.links {
        let name = link.name.to_string();
        built.flip(&name, 40);
        assert!(examined(&built.storage).verdict.is_damage());
        let (place, report) = salvaged(&built);
        built.flip(&name, 40);
        assert_eq!(records(&place), whole, "{report}");
        assert_eq!(report.lost, [], "{report}");
    }
}

#[test]
fn what_an_opening_dropped_does_not_come_back_when_its_header_is_damaged() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("kept");
    log.promise_no_more();
    let hole = log.plain("torn");
    log.plain("behind the hole");
    let torn = log.finish();
    let link = torn.links[0];
    // The same log as an opening went on with it: without what lies behind the hole.
    let mut log = LogBuilder::new(1 << 16);
    log.plain("kept");
    assert_eq!(log.at(), hole);
    log.reopen_unclean();
    log.plain("after");
    let built = log.finish();
    let mut bytes = vec![0; 4096];
    let source = torn.storage.open(&link.name.to_string(), Access::Read).unwrap();
    source.read_at(&mut bytes, link.offset_of(hole)).unwrap();
    bytes[25] ^= 0x10;
    let target = built.storage.open(&link.name.to_string(), Access::Write).unwrap();
    target.write_at(&[IoSlice::new(&bytes)], link.offset_of(hole)).unwrap();
    assert_eq!(replayed(&built.storage).0, ["kept", "after"]);
    built.flip(&built.links[1].name.to_string(), 40);
    let (place, report) = salvaged(&built);
    assert_eq!(replayed(&place).0, ["kept", "after"], "{report}");
}

#[test]
fn r10_an_unproven_tail_is_left_out_as_at_any_opening() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("promised");
    log.promise_no_more();
    log.plain("written");
    let torn = log.plain("torn");
    log.plain("behind the hole");
    let built = log.finish();
    built.damage(torn);
    assert_eq!(examined(&built.storage).verdict.kind(), VerdictKind::TornTail);
    let (place, report) = salvaged(&built);
    assert_eq!(replayed(&place).0, ["promised", "written"]);
    assert_eq!(report.lost, []);
    assert_eq!(report.dropped.records, 1);
    assert!(report.to_string().contains("1 whole records"));
}

#[test]
fn damage_at_the_end_is_lost_and_not_torn_when_it_was_promised() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("a");
    let last = log.plain("b");
    let built = log.finish();
    built.damage(last);
    let (place, report) = salvaged(&built);
    assert_eq!(replayed(&place).0, ["a"]);
    let [lost] = report.lost[..] else { panic!("{report}") };
    assert_eq!(lost.range, LsnRange::new(last, built.end));
    let copy = examined(&place);
    assert_eq!(copy.scanned.losses, 1, "the copy says so itself");
}

#[test]
fn a_loss_before_the_newest_checkpoint_does_not_affect_replay() {
    let mut log = LogBuilder::new(1 << 16);
    let old = log.plain("old");
    let begin = log.plain("new");
    log.checkpoint(begin, begin, "snapshot");
    let built = log.finish();
    built.damage(old);
    let (place, report) = salvaged(&built);
    assert!(!report.affects_replay());
    assert_eq!(report.copied.checkpoint.map(|pointer| pointer.begin), Some(begin));
    let (done, replay) = replayed(&place);
    assert_eq!((done, replay.checkpoint.is_some()), (vec!["new".to_owned()], true));
}

#[test]
fn a_salvage_of_a_salvage_keeps_what_was_declared() {
    let (built, places) = varied();
    built.damage(places[150]);
    let (first, once) = salvaged(&built);
    let again = MemoryStorage::new();
    let other = LogId::from_bytes([9; 16]);
    let twice = salvage(&shared(&first), &shared(&again), other, &mut ()).unwrap();
    assert_eq!(records(&again), records(&first));
    assert_eq!(twice.lost.len(), 1);
    assert_eq!(twice.lost[0].why, LossReason::LostBefore);
    assert_eq!(twice.lost[0].range, once.lost[0].range);
    assert_eq!(replayed(&again).0, replayed(&first).0);
}

#[test]
fn a_restore_to_every_boundary_replays_what_stood_before_it() {
    let mut log = LogBuilder::new(1 << 16);
    let (mut a, mut b) = (txn(1), txn(2));
    let mut boundaries = vec![log.at()];
    for index in 0..4 {
        log.put(&mut a, &format!("a{index}"));
        boundaries.push(log.at());
        log.put(&mut b, &format!("b{index}"));
        boundaries.push(log.at());
    }
    log.commit(&mut b);
    boundaries.push(log.at());
    log.batch(&["m0", "m1", "m2"], 2);
    boundaries.push(log.at());
    log.reopen_unclean();
    boundaries.push(log.at());
    log.plain("p");
    let built = log.finish();
    boundaries.push(built.end);
    for cut in boundaries {
        let (place, report) = restored(&built, &Until::Lsn(cut)).unwrap();
        let range = LsnRange::new(Lsn::FIRST, cut);
        let expected = replayed_range(&built.source(), range, None).0;
        assert_eq!(replayed(&place).0, expected, "up to {cut}");
        assert!(report.range.end <= cut);
    }
}

fn refused(built: &Built, until: &Until) -> PointFault {
    match restored(built, until).map(|(_, report)| report) {
        Err(RecoveryError::NoSuchPoint { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_that_is_no_boundary_of_the_log_is_refused() {
    let mut log = LogBuilder::new(1 << 16);
    let starts = log.plain("a record");
    let built = log.finish();
    let inside = Until::Lsn(lsn(starts.get() + 8));
    assert_eq!(refused(&built, &inside), PointFault::InsideARecord { starts });
    let beyond = Until::Lsn(lsn(built.end.get() + 8));
    assert_eq!(refused(&built, &beyond), PointFault::NotReached { end: built.end });
    let early = PointFault::TooEarly { earliest: Lsn::FIRST };
    assert_eq!(refused(&built, &Until::Lsn(lsn(8))), early);
}

#[test]
fn a_commit_timestamp_cuts_before_the_first_later_commit() {
    let mut log = LogBuilder::new(1 << 16);
    for (id, timestamp) in [(1, 10), (2, 20), (3, 0), (4, 30), (5, 15)] {
        let mut a = txn(id);
        log.put(&mut a, &format!("at {timestamp}"));
        log.commit_at(&mut a, timestamp);
    }
    let built = log.finish();
    let until = |timestamp| {
        let (place, _) = restored(&built, &Until::CommitTimestamp(timestamp)).unwrap();
        replayed(&place).0
    };
    assert_eq!(until(9), [""; 0]);
    assert_eq!(until(10), ["at 10"]);
    assert_eq!(until(19), ["at 10"]);
    // A commit without a timestamp decides nothing.
    assert_eq!(until(25), ["at 10", "at 20", "at 0"]);
    // What stands behind a later commit is left out, whatever its timestamp.
    assert_eq!(until(20), ["at 10", "at 20", "at 0"]);
    assert_eq!(until(30), ["at 10", "at 20", "at 0", "at 30", "at 15"]);
    let beyond = refused(&built, &Until::CommitTimestamp(31));
    assert_eq!(beyond, PointFault::NotReached { end: built.end });
}

#[test]
fn a_restore_point_is_found_by_its_name() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("a");
    log.restore_point("before");
    log.plain("b");
    log.restore_point("twice");
    let first = log.at();
    log.restore_point("twice");
    let newest = log.at();
    log.plain("c");
    let built = log.finish();
    let named = |name: &str| Until::RestorePoint(name.to_owned());
    let (place, _) = restored(&built, &named("before")).unwrap();
    assert_eq!(replayed(&place).0, ["a"]);
    assert_eq!(records(&place).last().unwrap().1, RecordKind::RESTORE_POINT);
    assert_eq!(refused(&built, &named("twice")), PointFault::Ambiguous { first, newest });
    let absent = PointFault::NotReached { end: built.end };
    assert_eq!(refused(&built, &named("never")), absent);
    let (place, _) = restored(&built, &Until::Lsn(newest)).unwrap();
    assert_eq!(replayed(&place).0, ["a", "b"]);
}

#[test]
fn a_point_behind_damage_is_not_reached_and_one_before_it_is() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("a");
    log.restore_point("before");
    let damaged = log.plain("b");
    log.restore_point("behind");
    let built = log.finish();
    built.damage(damaged);
    let (place, _) = restored(&built, &Until::RestorePoint("before".to_owned())).unwrap();
    assert_eq!(replayed(&place).0, ["a"]);
    let behind = refused(&built, &Until::RestorePoint("behind".to_owned()));
    assert_eq!(behind, PointFault::NotReached { end: damaged });
}

#[test]
fn a_restore_takes_the_checkpoints_that_were_complete_by_then() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("a");
    let begin = log.plain("b");
    log.checkpoint(begin, begin, "first");
    let between = log.at();
    let second = log.plain("c");
    log.checkpoint(second, second, "second");
    let built = log.finish();
    let (place, report) = restored(&built, &Until::Lsn(between)).unwrap();
    assert_eq!(report.checkpoint.map(|pointer| pointer.begin), Some(begin));
    assert_eq!(replayed(&place).0, ["b"]);
    let (place, report) = restored(&built, &Until::Lsn(begin)).unwrap();
    assert_eq!((report.checkpoint, replayed(&place).0), (None, vec!["a".to_owned()]));
}

#[test]
fn a_copy_needs_an_empty_free_place_and_an_identity_of_its_own() {
    let (built, _) = varied();
    let source = shared(&built.storage);
    let place = MemoryStorage::new();
    place.create("notes.txt", 3).unwrap();
    let error = salvage(&source, &shared(&place), COPY, &mut ()).unwrap_err();
    assert!(matches!(&error, RecoveryError::NotEmpty { name, .. } if name == "notes.txt"));
    assert_eq!(place.list().unwrap().len(), 1);

    let place = MemoryStorage::new();
    let held = place.lock().unwrap();
    let error = salvage(&source, &shared(&place), COPY, &mut ()).unwrap_err();
    assert!(matches!(error, RecoveryError::Io(IoError::Locked { .. })));
    drop(held);

    let error = salvage(&source, &shared(&place), log_builder::LOG, &mut ()).unwrap_err();
    assert!(matches!(error, RecoveryError::SameLog { .. }));
    let nothing = shared(&MemoryStorage::new());
    let error = salvage(&nothing, &shared(&place), COPY, &mut ()).unwrap_err();
    assert!(matches!(error, RecoveryError::NoLog { .. }));
    assert_eq!(contents(&place), []);
}

#[test]
fn a_log_of_a_newer_program_is_refused_and_not_called_damaged() {
    let mut log = LogBuilder::new(1 << 16);
    log.kind(RecordKind::new(0x3f).unwrap(), b"from the future");
    log.plain("a");
    let built = log.finish();
    let place = MemoryStorage::new();
    let error = salvage(&shared(&built.storage), &shared(&place), COPY, &mut ()).unwrap_err();
    assert!(matches!(&error, RecoveryError::Refused(verdict)
        if verdict.kind() == VerdictKind::UnsupportedVersion));
    assert_eq!(contents(&place), []);
}

/// A place with a bad sector.
#[derive(Debug)]
struct BadSector {
    inner: MemoryStorage,
    name: String,
    bad: std::ops::Range<u64>,
}

#[derive(Debug)]
struct BadFile(Box<dyn LogFile>, std::ops::Range<u64>);

impl Storage for BadSector {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner.list()
    }
    fn create(&self, _name: &str, _len: u64) -> io::Result<Box<dyn LogFile>> {
        panic!("the source is never written")
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        assert_eq!(access, Access::Read, "the source is never written");
        let bad = if name == self.name { self.bad.clone() } else { 0..0 };
        Ok(Box::new(BadFile(self.inner.open(name, access)?, bad)))
    }
    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        panic!("the source is never written")
    }
    fn remove(&self, _name: &str) -> io::Result<()> {
        panic!("the source is never written")
    }
    fn sync_dir(&self) -> io::Result<()> {
        panic!("the source is never written")
    }
    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        panic!("the source is never written")
    }
    fn place(&self) -> String {
        self.inner.place()
    }
}

impl LogFile for BadFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buf.len() as u64;
        if offset < self.1.end && self.1.start < end {
            return Err(io::Error::other("medium error"));
        }
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, _bufs: &[IoSlice<'_>], _offset: u64) -> io::Result<usize> {
        panic!("the source is never written")
    }
    fn sync_data(&self) -> io::Result<()> {
        panic!("the source is never written")
    }
    fn sync_all(&self) -> io::Result<()> {
        panic!("the source is never written")
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, _len: u64) -> io::Result<()> {
        panic!("the source is never written")
    }
}

#[test]
fn a_sector_that_cannot_be_read_costs_the_records_in_it() {
    let (built, places) = varied();
    let (name, offset) = built.place(places[300]);
    let sector = offset / 4096 * 4096;
    let storage =
        BadSector { inner: built.storage.clone(), name: name.clone(), bad: sector..sector + 512 };
    let bad: Arc<dyn Storage> = Arc::new(storage);
    let place = MemoryStorage::new();
    let report = salvage(&bad, &shared(&place), COPY, &mut ()).unwrap();
    let [lost] = report.lost[..] else { panic!("{report}") };
    let (segment, at) = lost.place.unwrap();
    assert_eq!(segment.to_string(), name);
    assert!(at <= sector && sector - at < 500 && lost.range.bytes() < 4096 + 1000, "{lost}");
    assert!(report.read_errors && report.to_string().contains("the device failed"));
    let kept: Vec<_> =
        records(&built.storage).into_iter().filter(|r| !lost.range.contains(r.0)).collect();
    assert_eq!(records(&place), kept);
    // To a point in time, nothing is guessed: the error is told.
    let until = Until::Lsn(built.end);
    let error = restore_to(&bad, &shared(&MemoryStorage::new()), &until, COPY, &mut ());
    assert!(matches!(error, Err(RecoveryError::Io(_))), "{error:?}");
}

/// Refuses every change after the first few.
#[derive(Debug)]
struct Failing {
    inner: MemoryStorage,
    left: Arc<AtomicUsize>,
}

fn spend(left: &AtomicUsize) -> io::Result<()> {
    let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    spent.map(drop).map_err(|_| io::Error::other("the power is gone"))
}

#[derive(Debug)]
struct FailingFile(Box<dyn LogFile>, Arc<AtomicUsize>);

impl Storage for Failing {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        spend(&self.left)?;
        Ok(Box::new(FailingFile(self.inner.create(name, len)?, Arc::clone(&self.left))))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(FailingFile(self.inner.open(name, access)?, Arc::clone(&self.left))))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        spend(&self.left)
    }
    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.inner.lock()
    }
    fn place(&self) -> String {
        self.inner.place()
    }
}

impl LogFile for FailingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        spend(&self.1)?;
        self.0.write_at(bufs, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        spend(&self.1)
    }
    fn sync_all(&self) -> io::Result<()> {
        spend(&self.1)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        spend(&self.1)?;
        self.0.set_len(len)
    }
}

#[test]
fn a_copy_interrupted_at_any_step_is_no_log_or_all_of_it() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("a");
    log.rotate(0);
    log.plain("b");
    log.reopen_unclean();
    log.plain("c");
    let built = log.finish();
    let whole = records(&built.storage);
    let (mut no_log, mut refused, mut complete) = (0, 0, 0);
    let mut finished = false;
    for steps in 0..200 {
        let inner = MemoryStorage::new();
        let left = Arc::new(AtomicUsize::new(steps));
        let place: Arc<dyn Storage> = Arc::new(Failing { inner: inner.clone(), left });
        let done = salvage(&shared(&built.storage), &place, COPY, &mut ()).is_ok();
        match examine(&shared(&inner), Depth::Full, &mut ()) {
            Err(RecoveryError::NoLog { .. }) => no_log += 1,
            Err(error) => panic!("{error}"),
            Ok(found) if found.verdict.is_damage() => refused += 1,
            Ok(_) => {
                assert_eq!(records(&inner), whole, "after {steps} steps");
                complete += 1;
            }
        }
        finished = done;
        if finished {
            break;
        }
    }
    assert!(finished, "a copy of three segments takes fewer steps");
    // Every stage was met: temporary names only, some names, all names.
    assert!(no_log > 8 && refused > 3 && complete > 1, "{no_log} {refused} {complete}");
}
