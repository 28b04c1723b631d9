//! Reading a log from anywhere: both directions, wrong addresses, and a log that moves meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod log_builder;

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use log_builder::{Built, LOG, LogBuilder, batch_flags, lsn, txn};
use proptest::prelude::*;
use wal_format::{Epoch, LogId, Lsn, RecordFlags, RecordKind, TxnId};
use wal_io::{Access, ChainLink, Storage};
use wal_recovery::{CommitFate, LinkSource, LogReader, LogSnapshot, RecoveryError};

fn reader(built: &Built) -> LogReader<LogSnapshot> {
    LogReader::new(LogSnapshot::new(built.source(), built.end))
}

fn forwards<S: LinkSource>(reader: &mut LogReader<S>) -> Vec<(Lsn, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        records.push((record.lsn(), record.body.to_vec()));
    }
    records
}

fn backwards<S: LinkSource>(reader: &mut LogReader<S>) -> Vec<(Lsn, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(record) = reader.prev().unwrap() {
        records.push((record.lsn(), record.body.to_vec()));
    }
    records
}

/// A log of several segments, openings and jumps.
fn varied() -> Built {
    let mut log = LogBuilder::new(1 << 16);
    for index in 0..900_usize {
        log.plain(&format!("{index} {}", "b".repeat(index % 300)));
        match index {
            200 => drop(log.reopen()),
            400 | 401 => drop(log.reopen_unclean()),
            600 => drop(log.padding(488)),
            _ => {}
        }
    }
    log.finish()
}

#[test]
fn reading_backwards_is_reading_forwards_reversed() {
    let built = varied();
    assert!(built.links.len() > 3);
    for housekeeping in [false, true] {
        let mut reader = reader(&built);
        reader.show_housekeeping(housekeeping);
        let mut there = forwards(&mut reader);
        assert_eq!(reader.position(), built.end);
        let back = backwards(&mut reader);
        there.reverse();
        assert_eq!(there, back);
        assert_eq!(there.len() == 900, !housekeeping);
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Plain(usize),
    Rotate,
    Reopen,
    ReopenUnclean,
    Pad(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        30 => (0_usize..2000).prop_map(Act::Plain),
        3 => (60_000_usize..70_000).prop_map(Act::Plain),
        2 => Just(Act::Rotate),
        2 => Just(Act::Reopen),
        2 => Just(Act::ReopenUnclean),
        3 => (0_usize..500).prop_map(Act::Pad),
    ]
}

fn build(acts: &[Act]) -> Built {
    let mut log = LogBuilder::new(1 << 16);
    for act in acts {
        match *act {
            Act::Plain(bytes) => drop(log.plain(&"r".repeat(bytes))),
            Act::Rotate => log.rotate(0),
            Act::Reopen => drop(log.reopen()),
            Act::ReopenUnclean => drop(log.reopen_unclean()),
            Act::Pad(bytes) => drop(log.padding(bytes)),
        }
    }
    log.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_log_reads_alike_in_both_directions_and_from_every_record(
        acts in prop::collection::vec(act(), 0..60),
        turns in prop::collection::vec(any::<prop::sample::Index>(), 8),
    ) {
        let built = build(&acts);
        let mut reader = reader(&built);
        reader.show_housekeeping(true);
        let there = forwards(&mut reader);
        let mut back = backwards(&mut reader);
        back.reverse();
        prop_assert_eq!(&there, &back);
        for turn in turns {
            let index = turn.index(there.len());
            reader.seek(there[index].0).unwrap();
            let before = reader.prev().unwrap().map(|record| record.lsn());
            prop_assert_eq!(before, index.checked_sub(1).map(|index| there[index].0));
            reader.seek(there[index].0).unwrap();
            let at = reader.next().unwrap().map(|record| record.lsn());
            prop_assert_eq!(at, Some(there[index].0));
        }
    }

    #[test]
    fn r19_any_address_is_a_record_or_says_what_it_is(
        acts in prop::collection::vec(act(), 1..25),
        places in prop::collection::vec(any::<prop::sample::Index>(), 24),
    ) {
        let built = build(&acts);
        let mut reader = reader(&built);
        reader.show_housekeeping(true);
        let starts: Vec<Lsn> = forwards(&mut reader).into_iter().map(|(lsn, _)| lsn).collect();
        for place in places {
            let at = lsn(8 * place.index(built.end.get() as usize / 8 + 100) as u64);
            match reader.read_at(at) {
                Ok(record) => prop_assert!(record.lsn() == at && starts.contains(&at)),
                Err(RecoveryError::Truncated { head, .. }) => prop_assert!(at < head),
                Err(RecoveryError::BeyondEnd { end, .. }) => prop_assert!(at >= end),
                Err(RecoveryError::NotARecordStart { nearest, .. }) => {
                    let after = starts.partition_point(|start| *start < at);
                    prop_assert_eq!(nearest.after, starts.get(after).copied());
                    prop_assert_eq!(nearest.before, after.checked_sub(1).map(|i| starts[i]));
                }
                Err(other) => prop_assert!(false, "{at}: {other}"),
            }
        }
    }
}

#[test]
fn a_limit_of_any_size_is_harmless() {
    let built = varied();
    let mut reader = reader(&built);
    reader.seek_to_head();
    let head = reader.position();
    assert_eq!(reader.read_from(head, usize::MAX).unwrap().len(), 900);
    assert_eq!(reader.read_from(head, 0).unwrap(), []);
    assert_eq!(reader.read_from(head, 3).unwrap().len(), 3);
    assert_eq!(reader.next().unwrap().unwrap().body.first(), Some(&b'3'));
    assert_eq!(reader.read_from(built.end, 5).unwrap(), []);
}

#[test]
fn r19_damage_is_told_from_a_wrong_address() {
    let mut log = LogBuilder::new(1 << 16);
    let first = log.plain("first, and long enough to have an inside");
    let second = log.plain("second");
    let third = log.plain("third");
    let built = log.finish();
    let inside = lsn(first.get() + 24);
    let mut fresh = reader(&built);
    match fresh.read_at(inside).unwrap_err() {
        RecoveryError::NotARecordStart { nearest, .. } => {
            assert_eq!((nearest.before, nearest.after), (Some(first), Some(second)));
        }
        other => panic!("{other}"),
    }
    built.damage(second);
    let (segment, offset) = built.place(second);
    for at in [second, third] {
        // Behind the damage a record is still read by its address: it proves itself.
        let found = reader(&built).read_at(at).map(|record| record.lsn());
        match found {
            Ok(lsn) => assert_eq!(lsn, third),
            Err(RecoveryError::Corrupt { lsn, segment: name, offset: place }) => {
                assert_eq!((lsn, name.to_string(), place), (second, segment.clone(), offset));
            }
            Err(other) => panic!("{other}"),
        }
    }
    // A wrong address behind the damage cannot be judged: the damage is what is reported.
    let wrong = lsn(third.get() + 8);
    let error = reader(&built).read_at(wrong).unwrap_err();
    assert!(matches!(error, RecoveryError::Corrupt { lsn, .. } if lsn == second), "{error}");
    // Both directions stop at the damage, and stay there.
    let mut reader = reader(&built);
    reader.seek(second).unwrap_err();
    reader.seek(third).unwrap();
    assert!(matches!(reader.prev(), Err(RecoveryError::Corrupt { .. })));
    assert_eq!(reader.position(), third);
    reader.seek_to_head();
    assert_eq!(reader.next().unwrap().map(|record| record.lsn()), Some(first));
    assert!(matches!(reader.next(), Err(RecoveryError::Corrupt { .. })));
    assert_eq!(reader.position(), second);
}

#[test]
fn r19_damage_at_the_start_of_a_segment_is_damage_behind_a_jump_too() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("before");
    let opened = log.reopen_unclean();
    log.rotate(0);
    let rotated = log.plain("after");
    let built = log.finish();
    for start in [opened, rotated] {
        built.damage(start);
        let error = reader(&built).read_at(start).unwrap_err();
        assert!(matches!(error, RecoveryError::Corrupt { lsn, .. } if lsn == start), "{error}");
        built.damage(start);
        assert!(reader(&built).read_at(start).is_ok());
    }
}

/// A log whose chain and end a test moves.
#[derive(Debug)]
struct Moving {
    storage: Arc<dyn Storage>,
    state: Mutex<(Vec<ChainLink>, Lsn)>,
}

impl Moving {
    fn over(built: &Built, links: usize, end: Lsn) -> Arc<Self> {
        let state = Mutex::new((built.links[..links].to_vec(), end));
        Arc::new(Self { storage: Arc::new(built.storage.clone()), state })
    }

    fn set(&self, links: &[ChainLink], end: Lsn) {
        *self.state.lock().unwrap() = (links.to_vec(), end);
    }
}

impl LinkSource for Moving {
    fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }
    fn log_id(&self) -> LogId {
        LOG
    }
    fn highest_epoch(&self) -> Epoch {
        Epoch::new(9)
    }
    fn links(&self) -> Vec<ChainLink> {
        self.state.lock().unwrap().0.clone()
    }
    fn readable_end(&self) -> Lsn {
        self.state.lock().unwrap().1
    }
}

#[test]
fn a_reader_follows_rotation_and_never_passes_the_readable_end() {
    let built = varied();
    let all = forwards(&mut reader(&built));
    let source = Moving::over(&built, 1, all[0].0);
    let mut tail = LogReader::new(Arc::clone(&source));
    assert!(tail.next().unwrap().is_none());
    let mut seen = Vec::new();
    for window in all.windows(2) {
        let end = window[1].0;
        let links = built.links.iter().take_while(|link| link.range().start < end).count();
        source.set(&built.links[..links], end);
        seen.extend(forwards(&mut tail));
        assert_eq!(seen.last().unwrap().0, window[0].0);
        assert!(matches!(tail.read_at(end), Err(RecoveryError::BeyondEnd { .. })));
    }
    source.set(&built.links, built.end);
    seen.extend(forwards(&mut tail));
    assert_eq!(seen, all);
}

#[test]
fn bytes_that_were_not_there_yet_are_read_again_when_the_end_moves() {
    let mut log = LogBuilder::new(1 << 16);
    let first = log.plain("first");
    let second = log.plain("second");
    let built = log.finish();
    let (name, offset) = built.place(second);
    let file = built.storage.open(&name, Access::Write).unwrap();
    let mut bytes = vec![0; (built.end.get() - second.get()) as usize];
    file.read_at(&mut bytes, offset).unwrap();
    file.write_at(&[IoSlice::new(&vec![0; bytes.len()])], offset).unwrap();
    let source = Moving::over(&built, 1, second);
    let mut reader = LogReader::new(Arc::clone(&source));
    assert_eq!(reader.next().unwrap().map(|record| record.lsn()), Some(first));
    assert!(reader.next().unwrap().is_none());
    file.write_at(&[IoSlice::new(&bytes)], offset).unwrap();
    source.set(&built.links, built.end);
    assert_eq!(reader.next().unwrap().unwrap().body, b"second");
}

#[test]
fn a_record_that_crosses_the_readable_end_is_not_returned() {
    let mut log = LogBuilder::new(1 << 16);
    let first = log.plain("first");
    let second = log.plain("second, not durable as a whole");
    let built = log.finish();
    let end = lsn(second.get() + 16);
    let mut reader = LogReader::new(LogSnapshot::new(built.source(), end));
    assert_eq!(reader.next().unwrap().map(|record| record.lsn()), Some(first));
    assert!(reader.next().unwrap().is_none());
    assert!(matches!(reader.read_at(second), Err(RecoveryError::BeyondEnd { .. })));
    assert_eq!(reader.prev().unwrap().map(|record| record.lsn()), Some(first));
}

#[test]
fn r22_a_segment_that_went_away_is_truncated_and_never_corrupt() {
    let built = varied();
    let all = forwards(&mut reader(&built));
    let cut = built.links[2].range().start;
    let source = Moving::over(&built, built.links.len(), built.end);
    let mut standing = LogReader::new(Arc::clone(&source));
    standing.seek(all[1].0).unwrap();
    let mut fresh = LogReader::new(Arc::clone(&source));
    for link in &built.links[..2] {
        built.storage.remove(&link.name.to_string()).unwrap();
    }
    // The chain is not yet known to be shorter: the file is simply gone.
    let error = fresh.read_at(all[0].0).unwrap_err();
    assert!(matches!(error, RecoveryError::Truncated { head, .. } if head <= cut), "{error}");
    source.set(&built.links[2..], built.end);
    let error = fresh.read_at(all[0].0).unwrap_err();
    assert!(matches!(error, RecoveryError::Truncated { head, .. } if head == cut), "{error}");
    assert_eq!(fresh.head(), cut);
    fresh.seek_to_head();
    assert!(forwards(&mut fresh).len() > 100);
    let back = backwards(&mut fresh);
    assert!(back.last().unwrap().0 >= cut);
    let mut behind = LogReader::new(Arc::clone(&source));
    assert!(matches!(behind.seek(all[0].0), Err(RecoveryError::Truncated { .. })));
}

#[test]
fn r22_a_segment_that_was_recycled_is_truncated_and_never_corrupt() {
    let built = varied();
    let all = forwards(&mut reader(&built));
    let mut reader = reader(&built);
    // Another segment's bytes under the old name, as recycling leaves them.
    let (old, new) = (built.links[0].name.to_string(), built.links[1].name.to_string());
    built.storage.rename(&new, &old).unwrap();
    for at in [all[0].0, all[1].0] {
        let error = reader.read_at(at).unwrap_err();
        assert!(matches!(error, RecoveryError::Truncated { .. }), "{error}");
    }
}

#[test]
fn an_address_in_a_jump_names_the_records_on_both_sides() {
    let mut log = LogBuilder::new(1 << 16);
    let before = log.plain("before");
    let jump = log.at();
    let after = log.reopen_unclean();
    let mut reader = reader(&log.finish());
    match reader.read_at(jump).unwrap_err() {
        RecoveryError::NotARecordStart { nearest, .. } => {
            assert_eq!((nearest.before, nearest.after), (Some(before), Some(after)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_position_kept_from_before_an_opening_stays_good() {
    let mut log = LogBuilder::new(1 << 16);
    let before = log.plain("before");
    let kept = log.at();
    log.reopen_unclean();
    let after = log.plain("after");
    let built = log.finish();
    for position in [kept, lsn(kept.get() + 4096)] {
        let mut reader = reader(&built);
        reader.seek(position).unwrap();
        assert_eq!(reader.next().unwrap().map(|record| record.lsn()), Some(after));
        reader.seek(position).unwrap();
        assert_eq!(reader.prev().unwrap().map(|record| record.lsn()), Some(before));
    }
}

#[test]
fn a_reader_does_not_stand_where_a_salvage_lost_something() {
    let mut log = LogBuilder::new(1 << 16);
    let before = log.plain("before");
    let lost = log.at();
    log.lose(4096);
    let after = log.plain("after");
    let mut reader = reader(&log.finish());
    match reader.seek(lost).unwrap_err() {
        RecoveryError::NotARecordStart { nearest, .. } => {
            assert_eq!((nearest.before, nearest.after), (Some(before), Some(after)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn an_address_in_the_last_record_before_a_jump_names_the_record_behind_it() {
    let mut log = LogBuilder::new(1 << 16);
    let before = log.plain("long enough to have an inside");
    let opened = log.reopen_unclean();
    let mut reader = reader(&log.finish());
    match reader.read_at(lsn(before.get() + 8)).unwrap_err() {
        RecoveryError::NotARecordStart { nearest, .. } => {
            assert_eq!((nearest.before, nearest.after), (Some(before), Some(opened)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn was_committed_answers_for_a_commit_a_torn_end_and_a_truncated_place() {
    let mut log = LogBuilder::new(1 << 16);
    let (mut a, mut b, mut c) = (txn(1), txn(2), txn(3));
    let first = log.put(&mut a, "a1");
    let committed = log.commit(&mut a);
    log.put(&mut b, "b1");
    let aborted = log.abort(&mut b);
    let unfinished = log.put(&mut c, "c1");
    let plain = log.plain("p");
    let torn = log.at();
    let opened = log.reopen_unclean();
    let mut c = txn(3);
    log.put(&mut c, "another transaction 3");
    log.commit(&mut c);
    let built = log.finish();
    let mut reader = reader(&built);
    reader.seek(opened).unwrap();
    let mut fate = |id, at| reader.was_committed(TxnId::new(id), at).unwrap();
    assert_eq!(fate(1, committed), CommitFate::Committed);
    assert_eq!(fate(1, first), CommitFate::Committed);
    assert_eq!(fate(2, aborted), CommitFate::NotCommitted);
    assert_eq!(fate(3, unfinished), CommitFate::NotCommitted);
    assert_eq!(fate(0, plain), CommitFate::Committed);
    assert_eq!(fate(3, torn), CommitFate::NotCommitted);
    assert_eq!(fate(3, built.end), CommitFate::NotCommitted);
    assert_eq!(fate(1, lsn(8)), CommitFate::Unknown);
    let error = reader.was_committed(TxnId::new(2), committed).unwrap_err();
    assert!(matches!(error, RecoveryError::NotOfTransaction { found, .. } if found.get() == 1));
    assert_eq!(reader.position(), opened, "the reader stays where it was");
}

#[test]
fn was_committed_knows_that_a_batch_is_whole_or_nothing() {
    for (written, expected) in [(2, CommitFate::NotCommitted), (3, CommitFate::Committed)] {
        let mut log = LogBuilder::new(1 << 16);
        let mut a = txn(1);
        let commit = log.in_txn(&mut a, RecordKind::COMMIT, b"", batch_flags(0, 2));
        log.member("m1", batch_flags(1, 2));
        log.padding(8);
        if written == 3 {
            log.member("m2", batch_flags(2, 2));
        }
        log.reopen();
        let mut reader = reader(&log.finish());
        assert_eq!(reader.was_committed(TxnId::new(1), commit).unwrap(), expected);
    }
}

#[test]
fn was_committed_is_unknown_where_a_salvage_lost_the_answer() {
    let mut log = LogBuilder::new(1 << 16);
    let mut a = txn(1);
    let first = log.in_txn(&mut a, RecordKind::DATA, b"a1", RecordFlags::NONE);
    let lost = log.at();
    log.lose(4096);
    log.plain("after");
    let mut reader = reader(&log.finish());
    assert_eq!(reader.was_committed(TxnId::new(1), lost).unwrap(), CommitFate::Unknown);
    assert_eq!(reader.was_committed(TxnId::new(1), first).unwrap(), CommitFate::Unknown);
}
