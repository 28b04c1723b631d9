//! Redo: which change is applied to which page, and which is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod aries_support;

use aries_support::{
    AriesLog, LogBuilder, PAGE_BYTES, Running, SEGMENT_BYTES, Toy, lsn, page, recover,
    recover_with, restart, txn,
};
use proptest::prelude::*;
use wal_format::body::Outcome;
use wal_format::{Lsn, PageId};
use wal_recovery::aries::Aries;
use wal_recovery::{RecoveryError, RedoReport};

fn builder() -> LogBuilder {
    LogBuilder::new(SEGMENT_BYTES)
}

fn redo(log: LogBuilder, pages: &mut Toy) -> RedoReport {
    recover(&log.finish(), pages).unwrap().aries.unwrap().redo
}

#[test]
fn a20_history_is_repeated_losers_and_compensations_included() {
    let mut log = builder();
    let (mut winner, mut loser, mut undone) = (txn(1), txn(2), txn(3));
    log.begin(&mut winner);
    log.begin(&mut loser);
    let first = log.begin(&mut undone);
    let mut changes = vec![
        log.update(&mut winner, 1, 0, 0, 1),
        log.update(&mut loser, 1, 1, 0, 2),
        log.update(&mut undone, 2, 0, 0, 3),
    ];
    log.abort(&mut undone);
    changes.push(log.clr(&mut undone, first, changes[2], (2, 0, 0)));
    log.end(&mut undone, Outcome::RolledBack);
    changes.push(log.logical(&mut loser, 2, 5));
    log.commit(&mut winner);
    let mut pages = Toy::default();
    let done = redo(log, &mut pages);
    let applied: Vec<Lsn> = pages.applied.iter().map(|(_, lsn)| *lsn).collect();
    assert_eq!(applied, changes, "all of it, in the order of the log");
    assert_eq!(done.applied, 5);
    assert_eq!((pages.byte(1, 0), pages.byte(1, 1)), (1, 2), "the loser's too");
    assert_eq!((pages.byte(2, 0), pages.byte(2, 31)), (0, 5), "the compensation after the update");
}

/// One update of page 1 whose page stands in the table of a checkpoint with `rec_lsn`, and in
/// storage with `page_lsn`; both are made from the address of the update.
fn one_update(
    rec_lsn: impl Fn(Lsn) -> Option<Lsn>,
    page_lsn: impl Fn(Lsn) -> Lsn,
) -> (RedoReport, Toy) {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    log.update(&mut owner, 1, 9, 0, 9);
    let update = log.update(&mut owner, 1, 0, 0, 1);
    log.update(&mut owner, 2, 9, 0, 9);
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    // Another page holds redo back to the first change.
    let mut dirty = vec![(3, lsn(update.get() - 64))];
    dirty.extend(rec_lsn(update).map(|rec_lsn| (1, rec_lsn)));
    log.whole_checkpoint(&[], &dirty);
    let mut pages = Toy::with(&[(1, page_lsn(update), &[])]);
    let done = redo(log, &mut pages);
    (done, pages)
}

#[test]
fn a21_a_change_is_applied_when_the_page_lsn_is_older_and_the_page_lsn_is_then_set() {
    let (done, pages) = one_update(Some, |update| lsn(update.get() - 8));
    assert_eq!(done.applied, 1);
    assert_eq!(pages.byte(1, 0), 1);
    assert_eq!(pages.applied, [(page(1), pages.lsn(1))]);
}

#[test]
fn a21_a_change_is_not_applied_when_the_page_lsn_is_its_own() {
    let (done, pages) = one_update(Some, |update| update);
    assert_eq!((done.applied, done.skipped_newer), (0, 1));
    assert_eq!(pages.applied, []);
}

#[test]
fn a21_a_change_is_not_applied_when_the_page_is_not_in_the_table() {
    let (done, pages) = one_update(|_| None, |_| Lsn::NONE);
    assert_eq!((done.applied, done.skipped_clean), (0, 3));
    assert_eq!(pages.asked, [page(3)], "no clean page is even read");
}

#[test]
fn a21_a_change_before_the_rec_lsn_is_not_applied_whatever_the_page_lsn_says() {
    let (done, pages) = one_update(Some, |_| Lsn::NONE);
    assert_eq!((done.applied, done.skipped_before), (1, 1));
    assert_eq!((pages.byte(1, 9), pages.byte(1, 0)), (0, 1), "recLSN itself is applied");
}

#[test]
fn a22_rec_lsn_rises_past_a_page_lsn_that_is_not_older() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let changes: Vec<Lsn> = (0..5).map(|n| log.update(&mut owner, 1, n, 0, 1)).collect();
    let mut pages = Toy::with(&[(1, changes[2], &[1, 1, 1])]);
    let done = redo(log, &mut pages);
    assert_eq!((done.applied, done.skipped_newer), (2, 3));
    assert_eq!(pages.bytes(1)[..5], [1; 5]);
    // Once to hold the first change against it, once to see that the fourth was taken.
    assert_eq!(pages.asked.len(), 2, "the page is not asked for every change");
    assert_eq!(pages.marked, [page(1)]);
}

#[test]
fn a23_a_page_that_redo_changed_stands_in_the_table_no_later_than_that_change() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let change = log.update(&mut owner, 1, 0, 0, 1);
    log.update(&mut owner, 1, 1, 0, 1);
    log.commit(&mut owner);
    let running = Running::new(log);
    let mut pages = Toy::default();
    let (_, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    assert_eq!(manager.tables().dirty.rec_lsn(page(1)), Some(change));
    // A crash now, with nothing written: the checkpoint of the restart has lost nothing.
    let mut storage = Toy::default();
    let report = recover(&running.built(), &mut storage).unwrap();
    assert_eq!(report.checkpoint, running.0.lock().unwrap().master);
    assert_eq!((storage.bytes(1), storage.lsn(1)), (pages.bytes(1), pages.lsn(1)));
}

#[test]
fn a24_a_page_freed_and_allocated_again_is_not_given_its_predecessors_changes() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let old = log.update(&mut owner, 1, 0, 0, 77);
    log.free(1);
    let new = log.update(&mut owner, 1, 1, 0, 1);
    log.update(&mut owner, 2, 1, 0, 1);
    log.free(2);
    let mut pages = Toy::default();
    let done = redo(log, &mut pages);
    assert_eq!(pages.applied, [(page(1), new)], "not that at {old}, and nothing to a freed page");
    assert_eq!((pages.byte(1, 0), pages.byte(1, 1)), (0, 1));
    assert_eq!((done.skipped_before + done.skipped_clean, done.range.start), (2, new));
}

#[test]
fn a24_a_page_freed_behind_the_copy_of_the_table_is_not_in_it_any_more() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let old = log.update(&mut owner, 1, 0, 0, 77);
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    log.whole_checkpoint(&[], &[(1, old)]);
    log.free(1);
    let mut pages = Toy::default();
    redo(log, &mut pages);
    assert_eq!(pages.applied, []);
}

#[test]
fn a25_an_image_restores_the_page_whatever_its_lsn_says() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let image = log.image(1, &[5; PAGE_BYTES]);
    let last = log.update(&mut owner, 1, 0, 5, 6);
    // The page says that it holds all of this; its bytes say that it tore, and it has no checksum.
    let mut pages = Toy::with(&[(1, last, &[6, 0, 0, 0])]);
    let done = redo(log, &mut pages);
    assert_eq!(pages.applied, [(page(1), image), (page(1), last)], "what follows is owed again");
    assert_eq!((pages.byte(1, 0), pages.byte(1, 3)), (6, 5));
    assert_eq!((done.images, done.applied), (1, 2));
}

#[test]
fn a25_a_torn_page_waits_for_its_image() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    log.update(&mut owner, 1, 0, 0, 1);
    let image = log.image(1, &[1; PAGE_BYTES]);
    let last = log.update(&mut owner, 1, 1, 1, 2);
    let mut pages = Toy { torn: [page(1)].into(), ..Toy::default() };
    let done = redo(log, &mut pages);
    assert_eq!(pages.applied, [(page(1), image), (page(1), last)]);
    assert_eq!(done.torn_rebuilt, 1);
}

#[test]
fn a25_a_torn_page_without_an_image_is_rebuilt_from_its_first_record() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let written = log.update(&mut owner, 1, 0, 0, 1);
    let owed = log.update(&mut owner, 1, 1, 0, 2);
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    log.whole_checkpoint(&[], &[(1, owed)]);
    let mut pages = Toy::with(&[(1, written, &[9; PAGE_BYTES])]);
    pages.torn.insert(page(1));
    let done = redo(log, &mut pages);
    assert_eq!(pages.bytes(1)[..3], [1, 2, 0], "from nothing, what was written included");
    assert_eq!((pages.lsn(1), done.torn_rebuilt), (owed, 1));
}

#[test]
fn a25_a_torn_page_is_rebuilt_from_an_image_older_than_its_rec_lsn() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    log.update(&mut owner, 1, 0, 0, 99);
    log.image(1, &[4; PAGE_BYTES]);
    log.update(&mut owner, 1, 1, 4, 5);
    let owed = log.update(&mut owner, 1, 2, 4, 6);
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    log.whole_checkpoint(&[], &[(1, owed)]);
    let mut pages = Toy { torn: [page(1)].into(), ..Toy::default() };
    redo(log, &mut pages);
    assert_eq!(pages.bytes(1)[..4], [4, 5, 6, 4]);
    assert_eq!(pages.lsn(1), owed);
}

#[test]
fn a25_a_torn_page_of_which_the_log_does_not_hold_enough_is_a_typed_error() {
    let mut log = LogBuilder::new(8 << 10);
    let mut owner = txn(1);
    log.begin(&mut owner);
    log.update(&mut owner, 1, 0, 0, 1);
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    log.rotate(100);
    let mut later = txn(2);
    log.whole_checkpoint(&[], &[]);
    log.begin(&mut later);
    let owed = log.update(&mut later, 1, 1, 0, 1);
    let mut built = log.finish();
    built.truncate(1);
    let mut pages = Toy { torn: [page(1)].into(), ..Toy::default() };
    let error = recover(&built, &mut pages).unwrap_err();
    let RecoveryError::TornPage { page: torn, lsn } = error else { panic!("{error}") };
    assert_eq!((torn, lsn), (page(1), owed));
}

#[test]
fn a02_a_page_lsn_at_or_beyond_the_end_of_the_log_is_an_error() {
    for beyond in [0, 8, 1 << 30] {
        let mut log = builder();
        let mut owner = txn(1);
        log.begin(&mut owner);
        log.update(&mut owner, 1, 0, 0, 1);
        let end = log.at();
        let mut pages = Toy::with(&[(1, lsn(end.get() + beyond), &[])]);
        let error = recover(&log.finish(), &mut pages).unwrap_err();
        let RecoveryError::PageLsnBeyondEnd { page: at, end: found, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((at, found), (page(1), end));
        assert_eq!(pages.applied, [], "nothing was changed");
    }
}

#[test]
fn an_engine_that_does_not_set_the_page_lsn_is_found_out() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let change = log.update(&mut owner, 1, 0, 0, 1);
    let mut pages = Toy { forgets_lsn: true, ..Toy::default() };
    let error = recover(&log.finish(), &mut pages).unwrap_err();
    let RecoveryError::PageLsnNotSet { lsn, found, .. } = error else { panic!("{error}") };
    assert_eq!((lsn, found), (change, Lsn::NONE));
}

#[test]
fn an_engine_that_fails_or_panics_is_named_with_the_record_and_restart_can_be_repeated() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let changes: Vec<Lsn> = (0..4).map(|n| log.update(&mut owner, 1, n, 0, 7)).collect();
    let built = log.finish();
    let mut pages = Toy { fails_at: Some(changes[2]), ..Toy::default() };
    let error = recover(&built, &mut pages).unwrap_err();
    assert!(matches!(error, RecoveryError::Handler { lsn, .. } if lsn == changes[2]), "{error}");
    pages.fails_at = None;
    pages.panics_at = Some(changes[3]);
    let error = recover(&built, &mut pages).unwrap_err();
    assert!(
        matches!(error, RecoveryError::HandlerPanicked { lsn, .. } if lsn == changes[3]),
        "{error}"
    );
    pages.panics_at = None;
    pages.applied.clear();
    recover(&built, &mut pages).unwrap();
    assert_eq!(pages.bytes(1)[..5], [7, 7, 7, 7, 0]);
    assert_eq!(pages.applied, [(page(1), changes[3])], "what was applied is not applied again");
}

#[test]
fn an_engine_hears_of_up_to_sixteen_changes_before_the_first_of_them_is_made() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let changes: Vec<Lsn> =
        (0..20).map(|n| log.update(&mut owner, u64::from(n) % 3, n, 0, 7)).collect();
    // Page 1 is clean, page 2 needs what comes behind the tenth change.
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    log.whole_checkpoint(&[], &[(0, changes[0]), (2, changes[10])]);
    let mut pages = Toy::default();
    redo(log, &mut pages);
    let told: Vec<(u64, u32, usize)> = pages
        .expected
        .iter()
        .map(|(page, offset, bytes, _)| (page.get(), *offset, *bytes))
        .collect();
    let wanted = (0..20).filter(|n| n % 3 == 0 || (n % 3 == 2 && *n >= 10));
    assert_eq!(told, wanted.map(|n| (u64::from(n) % 3, n, 1)).collect::<Vec<_>>());
    for (_, offset, _, applied) in &pages.expected {
        let first = changes[*offset as usize / 16 * 16];
        let made = pages.applied.iter().filter(|(_, lsn)| *lsn < first).count();
        assert_eq!(*applied, made, "told of {offset}");
    }
}

#[test]
fn an_engine_that_panics_when_it_is_told_of_a_change_is_named() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let change = log.update(&mut owner, 1, 0, 0, 7);
    let built = log.finish();
    let mut pages = Toy { panics_when_told: true, ..Toy::default() };
    let error = recover(&built, &mut pages).unwrap_err();
    assert!(
        matches!(error, RecoveryError::HandlerPanicked { lsn, .. } if lsn == change),
        "{error}"
    );
    pages.panics_when_told = false;
    recover(&built, &mut pages).unwrap();
    assert_eq!(pages.byte(1, 0), 7);
}

#[test]
fn a32_changes_of_a_page_that_is_offline_are_put_off() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    log.update(&mut owner, 1, 0, 0, 1);
    log.image(1, &[1; PAGE_BYTES]);
    let other = log.update(&mut owner, 2, 0, 0, 1);
    let mut pages = Toy { offline: [page(1)].into(), ..Toy::default() };
    let done = redo(log, &mut pages);
    assert_eq!((done.put_off, done.deferred.as_slice()), (2, &[page(1)][..]));
    assert_eq!(pages.applied, [(page(2), other)]);
}

/// What a random log is made of: page, offset and what is done.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Update(u64, u32, u8),
    Logical(u64, u8),
    Image(u64, u8),
    Free(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let page = 0..12_u64;
    prop_oneof![
        8 => (page.clone(), 0..31_u32, any::<u8>()).prop_map(|(p, o, b)| Deed::Update(p, o, b)),
        3 => (page.clone(), any::<u8>()).prop_map(|(p, by)| Deed::Logical(p, by)),
        1 => (page.clone(), any::<u8>()).prop_map(|(p, b)| Deed::Image(p, b)),
        1 => page.prop_map(Deed::Free),
    ]
}

/// A log of `deeds`; and the pages as they are after each of them.
fn log_of(deeds: &[Deed], segment_bytes: u64) -> (LogBuilder, Vec<Toy>) {
    let mut log = LogBuilder::new(segment_bytes);
    let (mut owner, mut pages) = (txn(1), Toy::default());
    log.begin(&mut owner);
    let mut states = vec![pages.clone()];
    for deed in deeds {
        let (page, at) = match *deed {
            Deed::Update(page, offset, byte) => {
                let before = pages.byte(page, offset);
                (page, log.update(&mut owner, page, offset, before, byte))
            }
            Deed::Logical(page, by) => (page, log.logical(&mut owner, page, by)),
            Deed::Image(page, byte) => (page, log.image(page, &[byte; PAGE_BYTES])),
            Deed::Free(page) => (page, log.free(page)),
        };
        // A freed page begins its next life empty, as an engine formats it.
        let mut now = pages.pages.get(&PageId::new(page)).copied().unwrap_or_default();
        match *deed {
            Deed::Update(_, offset, byte) => now.bytes[offset as usize] = byte,
            Deed::Logical(_, by) => now.bytes[31] = now.bytes[31].wrapping_add(by),
            Deed::Image(_, byte) => now.bytes = [byte; PAGE_BYTES],
            Deed::Free(_) => now.bytes = [0; PAGE_BYTES],
        }
        now.lsn = if matches!(deed, Deed::Free(_)) { Lsn::NONE } else { at };
        pages.pages.insert(PageId::new(page), now);
        states.push(pages.clone());
    }
    (log, states)
}

/// Storage in which each page is as old as its number in `ages` says; but a page that was freed
/// later is not there, since an engine formats it before it is used again.
fn storage(states: &[Toy], ages: &[usize]) -> Toy {
    let mut storage = Toy::default();
    for (number, age) in ages.iter().enumerate() {
        let page = PageId::new(number as u64);
        let from = age % states.len();
        let freed = states[from..]
            .windows(2)
            .any(|pair| pair[0].lsn(number as u64) > pair[1].lsn(number as u64));
        if let Some(at) = states[from].pages.get(&page).filter(|_| !freed) {
            storage.pages.insert(page, *at);
        }
    }
    storage
}

fn in_use(pages: &Toy) -> Vec<(PageId, aries_support::ToyPage)> {
    let used = pages.pages.iter().filter(|(_, at)| !at.lsn.is_none());
    used.map(|(page, at)| (*page, *at)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a20_from_pages_of_any_age_redo_arrives_where_history_did(
        deeds in prop::collection::vec(deed(), 1..120),
        ages in prop::collection::vec(any::<usize>(), 12),
    ) {
        let (log, states) = log_of(&deeds, 4 << 10);
        let mut pages = storage(&states, &ages);
        recover(&log.finish(), &mut pages).unwrap();
        prop_assert_eq!(in_use(&pages), in_use(states.last().unwrap()));
    }

    #[test]
    fn a26_redo_on_several_threads_ends_in_the_same_bytes(
        deeds in prop::collection::vec(deed(), 1..200),
        ages in prop::collection::vec(any::<usize>(), 12),
        torn in prop::collection::btree_set(0..12_u64, 0..3),
        offline in prop::collection::btree_set(0..12_u64, 0..3),
        threads in 2..5_usize,
    ) {
        let (log, states) = log_of(&deeds, 4 << 10);
        let built = log.finish();
        let mut before = storage(&states, &ages);
        before.torn = torn.into_iter().map(PageId::new).collect();
        before.offline = offline.into_iter().map(PageId::new).collect();
        before.parts = Some(threads);
        let (mut serial, mut parallel) = (before.clone(), before);
        let one = recover(&built, &mut serial).unwrap();
        let (_, many) =
            recover_with(Aries::new().redo_threads(threads), &built, &mut parallel);
        let (mut one, mut many) = (one.aries.unwrap(), many.unwrap().aries.unwrap());
        prop_assert_eq!(&serial.pages, &parallel.pages);
        prop_assert_eq!(&serial.torn, &parallel.torn);
        if !one.redo.range.is_empty() {
            prop_assert_eq!((one.redo.threads, many.redo.threads), (1, threads));
        }
        (one.redo.threads, many.redo.threads) = (0, 0);
        prop_assert_eq!(one, many, "and counts the same");
    }
}

#[test]
fn a26_redo_on_several_threads_goes_over_many_runs_and_segments_and_large_records() {
    let mut log = LogBuilder::new(1 << 20);
    let mut owner = txn(1);
    log.begin(&mut owner);
    for round in 0..12_000_u64 {
        log.update(&mut owner, round % 97, (round % 31) as u32, 0, round as u8);
        if round % 4000 == 0 {
            log.padding(600 << 10);
        }
        if round % 5000 == 0 {
            log.reopen_unclean();
        }
    }
    let built = log.finish();
    let mut serial = Toy { parts: Some(2), ..Toy::default() };
    let mut parallel = serial.clone();
    let one = recover(&built, &mut serial).unwrap().aries.unwrap().redo;
    let (_, many) = recover_with(Aries::new().redo_threads(2), &built, &mut parallel);
    let many = many.unwrap().aries.unwrap().redo;
    assert_eq!((one.applied, many.applied), (12_000, 12_000));
    assert_eq!((one.records, one.bytes), (many.records, many.bytes));
    assert_eq!(serial.pages, parallel.pages);
}

#[test]
fn a26_an_engine_that_cannot_be_split_is_recovered_on_one_thread() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    log.update(&mut owner, 1, 0, 0, 1);
    let mut pages = Toy::default();
    let (_, report) = recover_with(Aries::new().redo_threads(4), &log.finish(), &mut pages);
    let done = report.unwrap().aries.unwrap().redo;
    assert_eq!((done.threads, done.applied), (1, 1));
}

#[test]
fn a26_a_failure_on_one_thread_stops_the_others_and_is_the_error() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let changes: Vec<Lsn> = (0..400).map(|n| log.update(&mut owner, n % 50, 0, 0, 1)).collect();
    let built = log.finish();
    for (fails_at, panics_at) in [(Some(changes[99]), None), (None, Some(changes[99]))] {
        let mut pages = Toy { fails_at, panics_at, parts: Some(2), ..Toy::default() };
        let (_, report) = recover_with(Aries::new().redo_threads(2), &built, &mut pages);
        let error = report.unwrap_err();
        assert!(
            matches!(error, RecoveryError::Handler { lsn, .. }
                | RecoveryError::HandlerPanicked { lsn, .. } if lsn == changes[99]),
            "{error}"
        );
        pages.fails_at = None;
        pages.panics_at = None;
        let (_, report) = recover_with(Aries::new().redo_threads(2), &built, &mut pages);
        report.unwrap();
        assert!((0..50).all(|number| pages.byte(number, 0) == 1));
    }
}

#[test]
fn a26_a_record_that_decayed_after_the_first_pass_is_met_on_several_threads_too() {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let changes: Vec<Lsn> = (0..100).map(|n| log.update(&mut owner, n % 9, 0, 0, 1)).collect();
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    // Analysis begins behind the damage; redo alone meets it.
    log.whole_checkpoint(&[], &[(0, changes[0])]);
    let built = log.finish();
    built.damage(changes[50]);
    for threads in [1, 2] {
        let mut pages = Toy { parts: Some(threads), ..Toy::default() };
        let (_, report) = recover_with(Aries::new().redo_threads(threads), &built, &mut pages);
        let error = report.unwrap_err();
        assert!(matches!(error, RecoveryError::Changed { lsn } if lsn == changes[50]), "{error}");
    }
}
