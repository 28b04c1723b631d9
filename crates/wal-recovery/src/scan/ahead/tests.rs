//! A scan with a helper beside the scan on one thread, on logs of every kind.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../../tests/log_builder/mod.rs"]
mod log_builder;

use std::io::IoSlice;

use proptest::prelude::*;
use wal_format::layout::BLOCK_BYTES;
use wal_format::{LogId, LsnRange, RecordDraft, RecordKind, RecordSeed};
use wal_io::{Access, Storage};

use self::log_builder::{Built, LogBuilder, txn};
use super::*;
use crate::scan::{Cut, HELPED_FROM_BYTES, Scanner, Step};
use crate::source::LogSource;
use crate::window::WINDOW_BYTES;

/// Small segments make small runs: the log is longer than what fits in memory.
const SEGMENT_BYTES: u64 = 2048;
/// In the middle of most of these logs.
const SOMEWHERE: usize = 107;

/// Who proves.
#[derive(Clone, Copy, Debug)]
enum Who {
    Alone,
    With(Share),
}

const HELPED: [Who; 3] =
    [Who::With(Share::Fixed(true)), Who::With(Share::Fixed(false)), Who::With(Share::WhenBehind)];

fn scanner(source: &LogSource, range: LsnRange, who: Who) -> Scanner {
    let mut scanner = source.scan(range);
    help(&mut scanner, who);
    scanner
}

fn help(scanner: &mut Scanner, who: Who) {
    if let Who::With(share) = who {
        scanner.start_helper(share);
        assert!(scanner.ahead.is_some());
    }
}

/// All that a scan meets, and where it stands after each step; a helper starts before the step of
/// this number.
fn steps(source: &LogSource, range: LsnRange, who: Who, helped_from: usize) -> Vec<String> {
    let mut scanner = source.scan(range);
    let mut steps = Vec::new();
    loop {
        if steps.len() == helped_from {
            help(&mut scanner, who);
        }
        let step = match scanner.next() {
            Ok(Step::Stopped(stop)) => {
                steps.push(format!("{stop:?}"));
                return steps;
            }
            Ok(step) => format!("{step:?}"),
            Err(error) => {
                steps.push(format!("{error:?}"));
                return steps;
            }
        };
        steps.push(format!("{step} {} {}", scanner.position(), scanner.epoch()));
    }
}

/// The same steps whoever helps, from the first one on and from a later one on, which is `somewhere`
/// modulo their number; that number.
fn check(built: &Built, range: LsnRange, somewhere: usize) -> usize {
    let source = built.source();
    let alone = steps(&source, range, Who::Alone, 0);
    for who in HELPED {
        for from in [0, somewhere % alone.len()] {
            let helped = steps(&source, range, who, from);
            let first = alone.iter().zip(&helped).position(|(one, two)| one != two);
            assert_eq!(first.map(|at| (&alone[at], &helped[at])), None, "{who:?} from {from}");
            assert_eq!(alone.len(), helped.len(), "{who:?} from {from}");
        }
    }
    alone.len()
}

fn all() -> LsnRange {
    LsnRange::new(Lsn::FIRST, Lsn::MAX)
}

/// A log of `records`, in many segments.
fn long_log(records: u32) -> (LogBuilder, Vec<Lsn>) {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let at = (0..records).map(|n| log.plain(&format!("the body of record {n}"))).collect();
    (log, at)
}

#[test]
fn a_whole_log_is_the_same_on_two_threads() {
    let (log, _) = long_log(1_000);
    assert!(check(&log.finish(), all(), SOMEWHERE) > 1_000);
}

#[test]
fn a_damaged_record_is_met_at_the_same_place_whoever_proves_it() {
    let (log, at) = long_log(400);
    let built = log.finish();
    built.damage(at[390]);
    let met = check(&built, all(), SOMEWHERE);
    assert!((390..400 + 40).contains(&met), "{met}");
    let found = steps(&built.source(), all(), Who::With(Share::Fixed(true)), 0);
    assert!(found.last().unwrap().contains("BadChecksum"), "{:?}", found.last());
}

#[test]
fn a_record_longer_than_a_run_is_read_by_the_caller() {
    let (mut log, _) = long_log(100);
    let long = "long".repeat(WINDOW_BYTES);
    for _ in 0..2 {
        log.plain(&long);
        log.plain("after");
    }
    for n in 0..100 {
        log.plain(&format!("record {n} after"));
    }
    check(&log.finish(), all(), SOMEWHERE);
}

#[test]
fn long_records_are_passed_one_at_a_time_and_hardly_read() {
    const LONG: usize = 12;
    let (mut log, _) = long_log(10);
    let long = "long".repeat(WINDOW_BYTES / 3);
    for _ in 0..LONG {
        log.plain(&long);
    }
    let built = log.finish();
    check(&built, all(), SOMEWHERE);
    let mut cutter = built.source().scan(all());
    let (mut bytes, mut passed, mut most) = (Vec::new(), 0, 0);
    while let Some((at, _)) = cutter.cut_ahead(BLOCK_BYTES, WINDOW_BYTES, &mut bytes) {
        most = most.max(bytes.capacity());
        assert!(bytes.is_empty() || at < cutter.position());
        passed += usize::from(bytes.is_empty());
    }
    assert_eq!(passed, LONG, "so somebody who listens no more is heard of after one of them");
    assert!(most < WINDOW_BYTES / 8, "{most} bytes for their heads");
}

#[test]
fn breaking_off_ends_the_helper() {
    let (log, _) = long_log(2_000);
    let source = log.finish().source();
    for who in HELPED {
        for taken in [0, 1, 2, 500] {
            let mut scanner = scanner(&source, all(), who);
            for _ in 0..taken {
                assert!(matches!(scanner.next(), Ok(Step::Record(_))));
            }
            // Waits for the helper: a helper that stays would make this test hang.
            drop(scanner);
        }
    }
}

/// Where each step of a scan begins, and whether there is a helper then.
fn helped(mut scanner: Scanner) -> Vec<(Lsn, bool)> {
    let mut met = vec![(scanner.position(), scanner.ahead.is_some())];
    while !matches!(scanner.next(), Ok(Step::Stopped(_))) {
        met.push((scanner.position(), scanner.ahead.is_some()));
    }
    met
}

#[test]
fn a_scan_that_has_come_some_way_is_given_a_helper() {
    let mut log = LogBuilder::new(HELPED_FROM_BYTES / 8);
    let body = "long".repeat(1 << 10);
    for _ in 0..HELPED_FROM_BYTES / 4096 * 2 {
        log.plain(&body);
    }
    let source = log.finish().source();
    let alone = helped(source.scan_on(all(), 1));
    let usual = helped(source.scan_on(all(), 2));
    let starts = |steps: &[(Lsn, bool)]| steps.iter().map(|(at, _)| *at).collect::<Vec<_>>();
    assert_eq!(starts(&usual), starts(&alone));
    assert!(alone.iter().all(|(_, helped)| !helped), "one thread was asked for");
    let first = usual.iter().find(|(_, helped)| *helped).map(|(at, _)| *at);
    if thread::available_parallelism().is_ok_and(|processors| processors.get() > 1) {
        let from = Lsn::FIRST.checked_add(HELPED_FROM_BYTES).unwrap();
        assert!(first.unwrap() > from, "{first:?}");
        assert!(first.unwrap() < from.checked_add(3 * body.len() as u64).unwrap(), "{first:?}");
    } else {
        assert_eq!(first, None, "a helper would be in the way");
    }
}

#[test]
fn a_scan_whose_helper_is_gone_goes_on_alone() {
    let (log, _) = long_log(300);
    let source = log.finish().source();
    let alone = steps(&source, all(), Who::Alone, 0);
    let mut scanner = scanner(&source, all(), Who::With(Share::Fixed(true)));
    let mut met = 0;
    while let Step::Record(_) | Step::Jump { .. } = scanner.next().unwrap() {
        met += 1;
        if met == 100 {
            // As if it had panicked.
            scanner.ahead.as_mut().unwrap().runs = None;
        }
    }
    assert_eq!(met + 1, alone.len());
    assert!(scanner.ahead.is_none());
}

#[test]
fn what_was_proven_under_another_epoch_is_not_handed_out() {
    let log_id = LogId::from_bytes([7; 16]);
    let (old, new) = (Epoch::FIRST, Epoch::new(2));
    let mut bytes = vec![0; 32];
    let draft = RecordDraft::new(RecordKind::DATA, &[b"8 bytes."]);
    draft.encode_into(&RecordSeed::new(log_id, old), Lsn::FIRST, None, &mut bytes).unwrap();
    let mut held = Held { start: Lsn::FIRST, bytes, ..Held::empty() };
    assert_eq!((held.prove(log_id, old), held.proven.len()), (old, 1));
    let mut ahead = Ahead { runs: None, spares: None, current: Some(held), helper: None };
    assert_eq!(ahead.take(Lsn::FIRST, &mut EpochTracker::new(log_id, new)), None);
    assert!(ahead.take(Lsn::FIRST, &mut EpochTracker::new(log_id, old)).is_some());
}

#[test]
fn a_file_that_ends_between_two_records_ends_the_cutting() {
    let (log, at) = long_log(300);
    let built = log.finish();
    let (name, offset) = built.place(at[200]);
    built.storage.open(&name, Access::Write).unwrap().set_len(offset).unwrap();
    check(&built, all(), SOMEWHERE);
    let mut cutter = built.source().scan(all());
    let mut bytes = Vec::new();
    for _ in 0..300 {
        if let Cut::Stopped(stop) = cutter.cut(WINDOW_BYTES, WINDOW_BYTES, &mut bytes).unwrap() {
            assert_eq!(stop.at, at[200]);
            return;
        }
    }
    panic!("the cutting does not end");
}

/// What is done to a log.
#[derive(Clone, Debug)]
enum Op {
    Put(usize),
    InTransaction(usize),
    Padding(usize),
    Kind(u8),
    Reopen,
    ReopenUnclean,
    Lose(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0..700_usize).prop_map(Op::Put),
        1 => (3_000..9_000_usize).prop_map(Op::Put),
        4 => (0..300_usize).prop_map(Op::InTransaction),
        1 => (0..300_usize).prop_map(Op::Padding),
        1 => (1..=255_u8).prop_map(Op::Kind),
        1 => Just(Op::Reopen),
        1 => Just(Op::ReopenUnclean),
        1 => (1..9_u64).prop_map(|blocks| Op::Lose(4096 * blocks)),
    ]
}

/// Damage to a file: bytes put over what is there, or the file cut short.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Flip,
    Zeros(usize),
    Cut(u64),
}

fn build(ops: &[Op]) -> (Built, Vec<Lsn>) {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let mut open = txn(1);
    let mut starts = vec![Lsn::FIRST];
    for op in ops {
        let body = |bytes: usize| "body".chars().cycle().take(bytes).collect::<String>();
        starts.push(match op {
            Op::Put(bytes) => log.plain(&body(*bytes)),
            Op::InTransaction(bytes) => log.put(&mut open, &body(*bytes)),
            Op::Padding(bytes) => log.padding(*bytes),
            Op::Kind(kind) => log.kind(RecordKind::new(*kind).unwrap(), b"of some kind"),
            Op::Reopen => log.reopen(),
            Op::ReopenUnclean => log.reopen_unclean(),
            Op::Lose(bytes) => {
                log.lose(*bytes);
                log.plain("after a loss")
            }
        });
    }
    (log.finish(), starts)
}

fn hurt(built: &Built, damage: &Damage, at: Lsn) {
    let (name, offset) = built.place(at);
    let file = built.storage.open(&name, Access::Write).unwrap();
    match damage {
        Damage::None => {}
        Damage::Flip => built.flip(&name, offset + 9),
        Damage::Zeros(bytes) => {
            file.write_at(&[IoSlice::new(&vec![0; *bytes])], offset).unwrap();
        }
        Damage::Cut(more) => file.set_len(offset + more).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_log_is_the_same_on_two_threads(
        ops in proptest::collection::vec(op(), 1..120),
        damage in prop_oneof![
            2 => Just(Damage::None),
            2 => Just(Damage::Flip),
            1 => (1..64_usize).prop_map(Damage::Zeros),
            1 => (0..40_u64).prop_map(Damage::Cut),
        ],
        [hurt_at, from, to] in any::<[prop::sample::Index; 3]>(),
        somewhere in any::<usize>(),
    ) {
        let (built, starts) = build(&ops);
        hurt(&built, &damage, *hurt_at.get(&starts));
        check(&built, all(), somewhere);
        let (from, to) = (*from.get(&starts), *to.get(&starts));
        if from <= to {
            check(&built, LsnRange::new(from, to), somewhere);
        }
    }
}
