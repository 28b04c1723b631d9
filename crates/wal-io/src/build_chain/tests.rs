//! Chains by hand, one idea each, then every short history with a crash between any two steps.

use super::*;
use crate::control_file::SlotState;
use wal_format::ControlSlot;

const CAPACITY: u64 = 65_536;

fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).unwrap()
}

fn log_id() -> LogId {
    LogId::from_bytes([7; 16])
}

fn header(base: u64, epoch: u64, capacity_bytes: u64) -> SegmentHeader {
    SegmentHeader {
        log_id: log_id(),
        base: lsn(base),
        epoch: Epoch::new(epoch),
        capacity_bytes,
        created_unix_us: 0,
        flags: SegmentFlags::NONE,
        predecessor: None,
        head: Lsn::FIRST,
    }
}

fn after(mut header: SegmentHeader, base: u64, epoch: u64, end: u64) -> SegmentHeader {
    let predecessor = Predecessor { base: lsn(base), epoch: Epoch::new(epoch), end: lsn(end) };
    header.predecessor = Some(predecessor);
    header
}

fn opening(header: SegmentHeader) -> SegmentHeader {
    SegmentHeader { flags: header.flags.with(SegmentFlags::OPENING), ..header }
}

fn file(header: SegmentHeader) -> FoundSegment {
    let name = SegmentName { epoch: header.epoch, base: header.base };
    FoundSegment { name, file_bytes: 4096 + header.capacity_bytes, header: Ok(header) }
}

fn damaged(header: SegmentHeader) -> FoundSegment {
    FoundSegment { header: Err(DecodeError::BadMagic), ..file(header) }
}

fn slot(newest: (u64, u64), head: u64) -> ControlSlot {
    ControlSlot {
        log_id: log_id(),
        sequence: 9,
        epoch: Epoch::new(newest.1),
        head: lsn(head),
        newest_base: lsn(newest.0),
        newest_epoch: Epoch::new(newest.1),
        durable: Lsn::NONE,
        clean: None,
        checkpoints: vec![],
    }
}

fn control(slot: ControlSlot) -> ControlView {
    let older = ControlSlot { sequence: slot.sequence - 1, ..slot.clone() };
    ControlView { slots: [SlotState::Whole(older), SlotState::Whole(slot)] }
}

fn lost() -> ControlView {
    ControlView { slots: [SlotState::Missing, SlotState::Damaged(DecodeError::BadMagic)] }
}

/// Base, epoch and cap of every link.
fn shape(chain: &Chain) -> Vec<(u64, u64, u64)> {
    chain.links.iter().map(|l| (l.name.base.get(), l.name.epoch.get(), l.cap.get())).collect()
}

const FIRST: u64 = 4096;
const SECOND: u64 = FIRST + CAPACITY;
const THIRD: u64 = SECOND + CAPACITY;
const FOURTH: u64 = THIRD + CAPACITY;

/// Four segments of one opening: a log which was never closed.
fn four() -> [SegmentHeader; 4] {
    let next = |base| after(header(base, 1, CAPACITY), base - CAPACITY, 1, base);
    [header(FIRST, 1, CAPACITY), next(SECOND), next(THIRD), next(FOURTH)]
}

fn four_files() -> Vec<FoundSegment> {
    four().into_iter().map(file).collect()
}

#[test]
fn an_empty_directory_has_no_chain_and_no_problem() {
    let missing = ControlView { slots: [SlotState::Missing, SlotState::Missing] };
    let chain = build_chain(&[], &missing);
    assert_eq!((chain.links.len(), chain.problems.len(), chain.log_id), (0, 0, None));
    assert_eq!(chain.address_end, Lsn::FIRST);
}

#[test]
fn segments_follow_their_predecessors_in_any_order_of_listing() {
    let mut files = four_files();
    files.swap(0, 2);
    let chain = build_chain(&files, &control(slot((FOURTH, 1), FIRST)));
    let expected = [
        (FIRST, 1, SECOND),
        (SECOND, 1, THIRD),
        (THIRD, 1, FOURTH),
        (FOURTH, 1, FOURTH + CAPACITY),
    ];
    assert_eq!(shape(&chain), expected);
    assert_eq!((chain.problems, chain.dead), (vec![], vec![]));
}

#[test]
fn r02_a_later_opening_caps_its_predecessor_and_the_rest_is_dead() {
    let mut files = four_files();
    let (d, t) = (SECOND + 800, SECOND + 2400);
    let run = opening(after(header(d, 2, t - d), SECOND, 1, d));
    let new = opening(after(header(FOURTH + CAPACITY, 2, CAPACITY), d, 2, t));
    files.extend([file(run), file(new)]);
    let chain = build_chain(&files, &control(slot((FOURTH + CAPACITY, 2), FIRST)));
    let end = FOURTH + 2 * CAPACITY;
    let expected = [(FIRST, 1, SECOND), (SECOND, 1, d), (d, 2, t), (FOURTH + CAPACITY, 2, end)];
    assert_eq!(shape(&chain), expected);
    let dead: Vec<_> = chain.dead.iter().map(|d| (d.name.base.get(), d.reason)).collect();
    assert_eq!(dead, [(THIRD, DeadReason::OffChain), (FOURTH, DeadReason::OffChain)]);
    assert_eq!(chain.problems, []);
}

#[test]
fn r02_a_run_may_begin_where_its_predecessor_does() {
    let mut files = four_files();
    files.push(file(opening(after(header(FOURTH, 2, 240), FOURTH, 1, FOURTH))));
    let chain = build_chain(&files, &control(slot((FOURTH, 1), FIRST)));
    assert_eq!(shape(&chain)[3..], [(FOURTH, 1, FOURTH), (FOURTH, 2, FOURTH + 240)]);
    assert_eq!(chain.problems, []);
}

#[test]
fn r08_the_end_of_addresses_is_above_dead_short_long_and_recorded_ones() {
    let end_of = |files: &[FoundSegment], slot| build_chain(files, &control(slot)).address_end;
    let files = four_files();
    let end = FOURTH + CAPACITY;
    assert_eq!(end_of(&files, slot((FOURTH, 1), FIRST)), lsn(end));
    // Cut short by hand: its addresses were there to be used.
    let mut short = files.clone();
    short[3].file_bytes = 5000;
    assert_eq!(end_of(&short, slot((FOURTH, 1), FIRST)), lsn(end));
    // A dead file with a damaged header, longer than its capacity.
    let mut long = files.clone();
    long[3].file_bytes += 100;
    long[3].header = Err(DecodeError::BadMagic);
    long.push(file(opening(after(header(FIRST + 80, 2, 80), FIRST, 1, FIRST + 80))));
    assert_eq!(end_of(&long, slot((FIRST, 1), FIRST)), lsn(end + 4096));
    let durable = ControlSlot { durable: lsn(end + 8), ..slot((FOURTH, 1), FIRST) };
    assert_eq!(end_of(&files, durable), lsn(end + 4096));
    let clean = Some((lsn(end + 8192), Epoch::FIRST));
    let clean = ControlSlot { clean, ..slot((FOURTH, 1), FIRST) };
    assert_eq!(end_of(&files, clean), lsn(end + 8192));
}

#[test]
fn r12_an_empty_successor_is_not_a_gap() {
    // Ready, and not registered: the crash came between the two.
    let chain = build_chain(&four_files(), &control(slot((THIRD, 1), FIRST)));
    assert_eq!(chain.links.len(), 4);
    assert_eq!(chain.problems, []);
    // Not there at all.
    let chain = build_chain(&four_files()[..3], &control(slot((THIRD, 1), FIRST)));
    assert_eq!(chain.links.len(), 3);
    assert_eq!(chain.problems, []);
}

#[test]
fn r14_a_missing_newest_segment_is_seen() {
    let chain = build_chain(&four_files()[..3], &control(slot((FOURTH, 1), FIRST)));
    let newest = ChainProblem::Missing { from: lsn(FOURTH), to: lsn(FOURTH) };
    assert_eq!(chain.problems, [newest]);
    let chain = build_chain(&four_files()[..2], &control(slot((FOURTH, 1), FIRST)));
    let two = ChainProblem::Missing { from: lsn(THIRD), to: lsn(FOURTH) };
    assert_eq!(chain.problems, [two]);
    let chain = build_chain(&[], &control(slot((FOURTH, 1), FIRST)));
    let all = ChainProblem::Missing { from: lsn(FIRST), to: lsn(FOURTH) };
    assert_eq!(chain.problems, [all]);
}

#[test]
fn r14_a_missing_head_is_seen() {
    for gone in 1..4 {
        let chain = build_chain(&four_files()[gone..], &control(slot((FOURTH, 1), FIRST)));
        let to = lsn(FIRST + gone as u64 * CAPACITY);
        assert_eq!(chain.problems, [ChainProblem::Missing { from: Lsn::FIRST, to }]);
        assert_eq!(chain.links.len(), 4 - gone);
    }
}

#[test]
fn r14_with_both_slots_lost_a_head_that_nothing_explains_is_unproven() {
    let chain = build_chain(&four_files()[1..], &lost());
    assert_eq!(chain.problems, [ChainProblem::HeadUnproven { first: lsn(SECOND) }]);
    // Whole from the first segment on: nothing to prove.
    assert_eq!(build_chain(&four_files(), &lost()).problems, []);
    // A header repeats the head.
    let mut files = four_files();
    files[3] = file(SegmentHeader { head: lsn(SECOND), ..four()[3] });
    let chain = build_chain(&files[1..], &lost());
    assert_eq!((chain.problems, chain.links.len()), (vec![], 3));
    // No segment, and a control file that is only rubble: something was here.
    let chain = build_chain(&[], &lost());
    assert_eq!(chain.problems, [ChainProblem::HeadUnproven { first: Lsn::FIRST }]);
}

#[test]
fn r14_a_gap_in_the_middle_is_missing_and_the_rest_is_still_shown() {
    for control in [control(slot((FOURTH, 1), FIRST)), lost()] {
        let mut files = four_files();
        files.remove(1);
        let chain = build_chain(&files, &control);
        let gap = ChainProblem::Missing { from: lsn(SECOND), to: lsn(THIRD) };
        assert_eq!(chain.problems, [gap]);
        assert_eq!(chain.links.len(), 3);
        assert_eq!(shape(&chain)[0], (FIRST, 1, SECOND));
    }
}

#[test]
fn what_lies_below_the_head_is_dead_and_no_problem() {
    let chain = build_chain(&four_files(), &control(slot((FOURTH, 1), THIRD)));
    assert_eq!(shape(&chain)[0].0, THIRD);
    let dead: Vec<_> = chain.dead.iter().map(|d| (d.name.base.get(), d.reason)).collect();
    assert_eq!(dead, [(FIRST, DeadReason::BelowHead), (SECOND, DeadReason::BelowHead)]);
    assert_eq!(chain.problems, []);
}

#[test]
fn a_damaged_header_on_the_chain_is_named_and_stepped_over() {
    for index in 0..4 {
        let mut files = four_files();
        files[index] = damaged(four()[index]);
        let chain = build_chain(&files, &control(slot((FOURTH, 1), FIRST)));
        let source = DecodeError::BadMagic;
        assert_eq!(
            chain.problems,
            [ChainProblem::DamagedHeader { name: files[index].name, source }]
        );
        assert_eq!(chain.links.len(), 4, "segment {index}");
    }
}

#[test]
fn a_damaged_header_off_the_chain_is_no_problem() {
    let mut files = four_files();
    files[3] = damaged(four()[3]);
    let end = FOURTH + CAPACITY;
    files.push(file(opening(after(header(end, 2, CAPACITY), THIRD, 1, THIRD + 80))));
    let chain = build_chain(&files, &control(slot((end, 2), FIRST)));
    assert_eq!(chain.problems, []);
    assert_eq!(chain.dead.len(), 1);
}

#[test]
fn files_of_another_log_place_or_version_are_refused_by_name() {
    let foreign = SegmentHeader { log_id: LogId::from_bytes([8; 16]), ..four()[1] };
    let misplaced = FoundSegment { name: file(four()[1]).name, ..file(four()[2]) };
    let newer = DecodeError::UnsupportedVersion { found: 2 };
    let newer = FoundSegment { header: Err(newer), ..file(four()[1]) };
    let name = file(four()[1]).name;
    for (odd, expected) in [
        (
            file(foreign),
            ChainProblem::Foreign { name: name.to_string(), found: LogId::from_bytes([8; 16]) },
        ),
        (misplaced, ChainProblem::Misplaced { name, found: file(four()[2]).name }),
        (newer, ChainProblem::UnsupportedVersion { name: name.to_string(), found: 2 }),
    ] {
        let mut files = four_files();
        files[1] = odd;
        let chain = build_chain(&files, &control(slot((FOURTH, 1), FIRST)));
        assert_eq!(chain.problems[0], expected);
        let gap = ChainProblem::Missing { from: lsn(SECOND), to: lsn(THIRD) };
        assert_eq!(chain.problems[1..], [gap]);
    }
}

#[test]
fn a_control_slot_of_another_log_or_version_is_refused_by_name() {
    let other = ControlSlot { log_id: LogId::from_bytes([8; 16]), ..slot((FOURTH, 1), FIRST) };
    let mut view = control(slot((FOURTH, 1), FIRST));
    view.slots[0] = SlotState::Whole(ControlSlot { sequence: 1, ..other });
    let found = LogId::from_bytes([8; 16]);
    let expected = ChainProblem::Foreign { name: CONTROL_NAME.to_owned(), found };
    assert_eq!(build_chain(&four_files(), &view).problems, [expected]);
    view.slots[0] = SlotState::Damaged(DecodeError::UnsupportedVersion { found: 3 });
    let expected = ChainProblem::UnsupportedVersion { name: CONTROL_NAME.to_owned(), found: 3 };
    assert_eq!(build_chain(&four_files(), &view).problems, [expected]);
}

#[test]
fn a_jump_that_no_opening_declares_is_a_gap() {
    let mut files = four_files();
    files[3] = file(after(header(FOURTH, 1, CAPACITY), SECOND, 1, THIRD));
    files.remove(2);
    let chain = build_chain(&files, &control(slot((FOURTH, 1), FIRST)));
    assert_eq!(chain.problems, [ChainProblem::Missing { from: lsn(THIRD), to: lsn(FOURTH) }]);
}

#[test]
fn headers_which_name_themselves_or_each_other_end_the_walk() {
    let own = after(header(FIRST + 4096, 1, 0), FIRST + 4096, 1, FIRST + 4096);
    let chain = build_chain(&[file(own)], &control(slot((FIRST + 4096, 1), FIRST)));
    assert_eq!(chain.links.len(), 1);
    assert_eq!(chain.problems.len(), 1);
}

#[test]
fn in_a_creation_that_never_finished_nothing_can_be_missing() {
    let unfinished = ControlSlot {
        newest_base: Lsn::NONE,
        newest_epoch: Epoch::NONE,
        ..slot((FIRST, 1), FIRST)
    };
    let chain = build_chain(&four_files()[1..2], &control(unfinished));
    assert_eq!(chain.problems, []);
}

mod histories;
