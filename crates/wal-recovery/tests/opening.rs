//! Openings after crashes: what is rewritten, what is kept, what is refused, and that each step
//! may be cut short.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::session::{self, Session, options};
use common::{LogBuilder, Seen, contents, lsn, name_of, records_of};
use wal_format::{Epoch, Lsn, RecordDraft, RecordFlags, RecordKind, RecordSeed, SegmentFlags};
use wal_io::backend::MemoryStorage;
use wal_io::{CONTROL_NAME, ControlView, SegmentName, Storage, Survey};
use wal_recovery::{
    Depth, Evidence, LogSource, RecoveryError, Verdict, VerdictKind, examine, resume,
};
use wal_sim::{CrashMode, Explorer, Faults, SimDisk};

fn shared(storage: impl Storage) -> Arc<dyn Storage> {
    Arc::new(storage)
}

fn bodies(records: &[Seen]) -> Vec<Vec<u8>> {
    records.iter().map(|(_, _, body)| body.clone()).collect()
}

fn without_housekeeping(mut records: Vec<Seen>) -> Vec<Seen> {
    records.retain(|(_, kind, _)| !kind.is_housekeeping());
    records
}

/// Bytes of all files but the spare, which is made once and stays.
fn bytes_of(storage: &dyn Storage) -> u64 {
    storage.list().unwrap().iter().map(|entry| entry.len).sum()
}

/// A log of `proven` synced and `unproven` unsynced records, as a crash would find it.
fn crashed(proven: u8, unproven: u8) -> LogBuilder {
    let mut log = LogBuilder::new();
    log.opened(1);
    for n in 0..proven {
        log.data(&[n; 40]);
    }
    let durable = log.sync();
    log.claim_durable(durable);
    for n in 0..unproven {
        log.data(&[0x80 | n; 600]);
    }
    log
}

// --- rewriting -------------------------------------------------------------------------------

#[test]
fn r01_the_unproven_tail_is_written_again_under_the_new_epoch() {
    let mut log = crashed(3, 2);
    let proven = log.durable.unwrap();
    let link = log.records[1];
    log.in_txn(RecordKind::UPDATE, 9, link, b"of a transaction");
    log.flagged(RecordFlags::BATCH_CONTINUES, b"of a batch");
    let before = records_of(&log.shared());
    let session = Session::open(&log.shared()).unwrap();
    assert_eq!(session.resumed.rewritten_bytes, log.end.get() - proven.get());
    assert_eq!(session.resumed.end, log.end);
    let links = session.resumed.store.links();
    let run = links.iter().find(|link| link.name.base == proven).unwrap();
    assert_eq!(run.header.capacity_bytes, log.end.get() - proven.get());
    assert_eq!(run.header.flags, SegmentFlags::BORN_DURABLE.with(SegmentFlags::OPENING));
    assert_eq!(run.name.epoch, session.resumed.store.epoch());
    let mut buf = Vec::new();
    let source = &session.resumed.source;
    for (at, kind, body) in before {
        let record = source.read_record(at, &mut buf).unwrap();
        assert_eq!((record.kind(), record.body), (kind, &body[..]));
        assert_eq!(record.epoch == run.name.epoch, at >= proven, "at {at}");
    }
    let update = source.read_record(log.records[6], &mut buf).unwrap();
    assert_eq!(update.txn.map(|txn| (txn.txn_id.get(), txn.prev_lsn)), Some((9, link)));
    let batch = source.read_record(log.records[7], &mut buf).unwrap();
    assert_eq!(batch.flags(), RecordFlags::BATCH_CONTINUES);
}

#[test]
fn r01_what_is_proven_is_not_written_again() {
    let log = crashed(3, 0);
    let session = Session::open(&log.shared()).unwrap();
    assert_eq!((session.resumed.rewritten_bytes, session.resumed.end), (0, log.end));
}

#[test]
fn r01_an_unproven_tail_of_several_segments_becomes_one_run() {
    let mut log = crashed(3, 0);
    for n in 0..40 {
        log.data(&[n; 700]);
    }
    assert!(log.segments.len() > 3);
    let before = without_housekeeping(records_of(&log.shared()));
    let session = Session::open(&log.shared()).unwrap();
    assert_eq!(session.replayed(), before);
    // The first segment up to D, the run, the new segment; its successor is made when it is needed.
    assert_eq!(session.resumed.store.links().len(), 3);
}

#[test]
fn r01_a_log_without_any_evidence_is_rewritten_from_its_head() {
    let mut log = LogBuilder::new();
    log.data(b"never promised");
    log.data(b"nor was this");
    let before = records_of(&log.shared());
    for control_too in [true, false] {
        let copy = shared(log.copy());
        if control_too {
            copy.remove(CONTROL_NAME).unwrap();
        }
        let session = Session::open(&copy).unwrap();
        assert_eq!(session.replayed(), before);
        assert_eq!(session.resumed.store.links().len(), 2);
        drop(session);
        assert_eq!(Session::open(&copy).unwrap().replayed(), before);
    }
}

#[test]
fn r01_a_truncated_log_is_rewritten_from_its_head_where_nothing_proves_more() {
    let mut log = LogBuilder::new();
    log.data(b"truncated");
    log.rotate();
    log.control.head = log.end;
    log.write_control();
    let at = log.data(b"never promised");
    log.storage.remove(&name_of(&log.segments[0]).to_string()).unwrap();
    let expected = vec![(at, RecordKind::DATA, b"never promised".to_vec())];
    for _ in 0..3 {
        assert_eq!(Session::open(&log.shared()).unwrap().replayed(), expected);
    }
}

#[test]
fn evidence_that_ends_within_a_record_proves_only_what_is_before_it() {
    let mut log = crashed(3, 2);
    let cut = log.records[4];
    log.claim_durable(lsn(cut.get() + 64));
    let session = Session::open(&log.shared()).unwrap();
    assert_eq!(session.resumed.rewritten_bytes, log.end.get() - cut.get());
    assert_eq!(session.replayed().len(), 5);
}

#[test]
fn r01_a_temporary_segment_is_ignored_and_removed() {
    let log = crashed(2, 1);
    let name = SegmentName { epoch: Epoch::new(7), base: lsn(1 << 30) }.temporary();
    log.storage.create(&name, 100_000).unwrap();
    let session = Session::open(&log.shared()).unwrap();
    assert_eq!(session.replayed().len(), 3);
    assert!(!log.storage.list().unwrap().iter().any(|entry| entry.name == name));
}

#[test]
fn r01_a_log_that_changed_since_it_was_examined_is_not_rewritten() {
    let log = crashed(2, 3);
    let storage = log.shared();
    let examined = examine(&storage, Depth::Full, &mut ()).unwrap();
    log.flip(log.records[4], 99);
    let lock = storage.lock().unwrap();
    let refused = resume(Arc::clone(&storage), lock, options(), &examined).unwrap_err();
    assert!(matches!(refused, RecoveryError::Changed { lsn } if lsn == log.records[4]));
    log.flip(log.records[4], 99);
    assert_eq!(Session::open(&storage).unwrap().replayed().len(), 5, "nothing was lost by it");
}

// --- crashes ---------------------------------------------------------------------------------

/// A log whose last records are in the page cache only.
fn on_disk(proven: u8) -> (SimDisk, LogBuilder) {
    let log = crashed(proven, 0);
    let disk = SimDisk::new();
    for (name, bytes) in contents(&log.storage) {
        disk.put_file(&name, &bytes);
    }
    (disk, log)
}

/// Writes records of more than a sector each behind those of `log`, and syncs the first of them.
fn write_tail(disk: &SimDisk, log: &LogBuilder, count: u8) -> usize {
    let mut tail = LogBuilder { storage: MemoryStorage::new(), ..crashed(0, 0) };
    for header in &log.segments {
        common::write_segment(&tail.storage, header);
    }
    (tail.segments, tail.end, tail.durable) = (log.segments.clone(), log.end, log.durable);
    let mut synced = 0;
    for n in 0..count {
        let at = tail.data(&[0x80 | n; 600]);
        let (name, offset) = tail.place_of(at);
        let bytes = &common::read(&tail.storage, &name)[offset as usize..][..624];
        let steps = || -> std::io::Result<()> {
            let file = disk.open(&name, wal_io::Access::Write)?;
            file.write_at(&[std::io::IoSlice::new(bytes)], offset)?;
            if n == 0 { file.sync_data() } else { Ok(()) }
        };
        match steps() {
            Ok(()) if n == 0 => synced = 1,
            Ok(()) => {}
            Err(_) => return synced,
        }
    }
    synced
}

/// Opens what a crash left, and judges it: everything promised is there, nothing is invented,
/// and what this opening shows is there for good.
fn judge(disk: &SimDisk, promised: &[Vec<u8>], offered: &[Vec<u8>]) -> Result<(), String> {
    let storage = shared(disk.clone());
    let shown = match Session::open(&storage) {
        Ok(session) => bodies(&session.replayed()),
        Err(error) => return Err(error.to_string()),
    };
    if !shown.starts_with(promised) {
        return Err(format!("{} were promised, {} are there", promised.len(), shown.len()));
    }
    if !offered.starts_with(&shown) {
        return Err("something was invented".to_owned());
    }
    let after = shared(disk.crash(CrashMode::LoseAll));
    match Session::open(&after) {
        Ok(session) if bodies(&session.replayed()) == shown => Ok(()),
        Ok(session) => {
            Err(format!("{} were shown, then {}", shown.len(), session.replayed().len()))
        }
        Err(error) => Err(format!("after the opening: {error}")),
    }
}

fn promised_and_offered() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let promised: Vec<Vec<u8>> = (0..2).map(|n| vec![n; 40]).collect();
    let tail = (0..4).map(|n| vec![0x80 | n; 600]);
    let offered = promised.iter().cloned().chain(tail).collect();
    (promised, offered)
}

#[test]
fn r01_what_was_read_from_the_page_cache_survives_the_opening_that_showed_it() {
    let (disk, log) = on_disk(2);
    write_tail(&disk, &log, 4);
    let (_, offered) = promised_and_offered();
    let kept = disk.crash(CrashMode::KeepAll);
    judge(&kept, &offered, &offered).unwrap();
}

#[test]
fn r01_rewriting_is_crash_safe_at_every_operation() {
    let (disk, log) = on_disk(2);
    let (promised, offered) = promised_and_offered();
    let explorer = Explorer::new(1).start_from(&disk).depth(2).states_per_cut(4).torn();
    let coverage = explorer
        .run(
            |disk| write_tail(disk, &log, 3),
            |disk, synced| judge(&disk, &offered[..promised.len() + synced], &offered),
        )
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(coverage.cuts_in_recovery > 100 && !coverage.cut_short, "{coverage:?}");
}

#[test]
fn r01_rewriting_is_crash_safe_when_recovery_from_it_crashes_too() {
    let (disk, log) = on_disk(2);
    let (promised, offered) = promised_and_offered();
    // Three cuts in a row: in the writing, in an opening, in the opening after that.
    let explorer = Explorer::new(2).start_from(&disk).depth(3).states_per_cut(2).cuts_max(4);
    let coverage = explorer
        .run(
            |disk| write_tail(disk, &log, 4),
            |disk, synced| judge(&disk, &offered[..promised.len() + synced], &offered),
        )
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(coverage.states > 100 && !coverage.cut_short, "{coverage:?}");
}

#[test]
fn r17_the_epoch_is_durable_before_any_name_carries_it() {
    let (disk, log) = on_disk(2);
    write_tail(&disk, &log, 4);
    let start = disk.crash(CrashMode::KeepAll);
    let mut op = 0;
    loop {
        op += 1;
        let disk = start.fork();
        disk.power_cut_at(op);
        if Session::open(&shared(disk.clone())).is_ok() {
            break;
        }
        for mode in [CrashMode::LoseAll, CrashMode::KeepAll, CrashMode::Random(op)] {
            let left = disk.crash(mode);
            let spent = ControlView::read(&left).unwrap().current().unwrap().epoch;
            for name in left.names() {
                let live = name.strip_suffix(".tmp").unwrap_or(&name);
                if let Some(segment) = SegmentName::parse(live) {
                    assert!(segment.epoch <= spent, "{name} while {spent} is spent, cut at {op}");
                }
            }
        }
    }
    assert!(op > 20, "the opening takes {op} operations");
}

#[test]
fn the_tail_cut_at_every_byte_of_the_last_three_records_then_appended_and_reopened() {
    let mut log = crashed(2, 0);
    let proven = log.end;
    for body in [&[1; 8][..], &[2; 104], &[3; 16]] {
        log.data(body);
    }
    let every = without_housekeeping(records_of(&log.shared()));
    for place in proven.get()..log.end.get() {
        let copy = log.copy();
        let (name, offset) = log.place_of(lsn(place / 8 * 8));
        common::cut(&copy, &name, offset + place % 8);
        let copy = shared(copy);
        let mut session = Session::open(&copy).unwrap();
        let kept = log.records.iter().skip(4).filter(|at| at.get() <= place).count() + 2;
        assert_eq!(session.replayed(), every[..kept], "cut at {place}");
        let at = session.data(b"since").unwrap();
        session.sync().unwrap();
        drop(session);
        let mut expected = every[..kept].to_vec();
        expected.push((at, RecordKind::DATA, b"since".to_vec()));
        assert_eq!(Session::open(&copy).unwrap().replayed(), expected, "cut at {place}");
    }
}

#[test]
fn one_flipped_bit_in_the_unproven_part_never_loses_what_is_before_it() {
    let mut log = crashed(2, 0);
    let proven = log.end;
    log.data(b"a");
    log.data(b"0123456789");
    let every = without_housekeeping(records_of(&log.shared()));
    for bit in (0..(log.end.get() - proven.get()) * 8).step_by(3) {
        let copy = log.copy();
        let (name, offset) = log.place_of(proven);
        common::flip(&copy, &name, offset * 8 + bit);
        let place = proven.get() + bit / 8;
        let kept = log.records.iter().skip(4).filter(|at| at.get() <= place).count() + 2;
        assert_eq!(Session::open(&shared(copy)).unwrap().replayed(), every[..kept], "bit {bit}");
    }
}

// --- going on --------------------------------------------------------------------------------

#[test]
fn r04_a_clean_log_goes_on_in_place() {
    let storage = shared(MemoryStorage::new());
    session::create(&storage).unwrap();
    let mut expected = Vec::new();
    for n in 0..5_u8 {
        let mut session = Session::open(&storage).unwrap();
        assert_eq!(session.replayed(), expected);
        if n > 0 {
            assert!(session.examined.clean, "opening {n}");
            assert_eq!(session.resumed.placement.end, session.examined.end);
            assert_eq!(session.resumed.rewritten_bytes, 0);
        }
        expected.push((session.data(&[n; 100]).unwrap(), RecordKind::DATA, vec![n; 100]));
        session.close().unwrap();
    }
    let survey = Survey::read(&*storage).unwrap();
    assert!(survey.dead.is_empty() && survey.temporary.is_empty());
}

#[test]
fn r04_the_mark_is_gone_once_the_log_is_open_again() {
    let storage = shared(MemoryStorage::new());
    session::create(&storage).unwrap();
    let mut session = Session::open(&storage).unwrap();
    session.data(b"kept").unwrap();
    let end = session.close().unwrap();
    drop(Session::open(&storage).unwrap());
    let control = ControlView::read(&*storage).unwrap();
    assert!(control.slots.iter().all(|slot| slot.whole().unwrap().clean.is_none()));
    let session = Session::open(&storage).unwrap();
    assert!(!session.examined.clean);
    assert!(session.resumed.placement.end > end);
    assert_eq!(bodies(&session.replayed()), [b"kept"]);
}

#[test]
fn r07_each_opening_writes_its_epoch_and_reads_those_of_all_before() {
    let storage = shared(MemoryStorage::new());
    session::create(&storage).unwrap();
    let mut expected = Vec::new();
    // Clean and unclean endings in turn, with synced and unsynced records.
    for n in 0..12_u8 {
        let mut session = Session::open(&storage).unwrap();
        assert_eq!(bodies(&session.replayed()), expected, "opening {n}");
        session.data(&[n; 50]).unwrap();
        if n % 3 == 1 {
            session.sync().unwrap();
        }
        session.data(&[n; 60]).unwrap();
        expected.extend([vec![n; 50], vec![n; 60]]);
        if n % 4 < 2 {
            session.close().unwrap();
        }
    }
    let found = examine(&storage, Depth::Full, &mut ()).unwrap();
    assert!(!found.verdict.is_damage(), "{}", found.verdict);
}

#[test]
fn r08_new_records_start_above_every_address_that_any_file_could_hold() {
    let log = crashed(2, 2);
    // A dead segment far above, of an opening before the last; and one capped below its capacity.
    let dead = SegmentName { epoch: Epoch::FIRST, base: lsn(1 << 40) };
    let mut header = log.segments[0];
    (header.base, header.capacity_bytes) = (dead.base, 1 << 20);
    header.predecessor = Some(log.predecessor());
    let mut tip = log.segments[0];
    (tip.base, tip.epoch) = (lsn(1 << 30), Epoch::new(2));
    (tip.predecessor, tip.flags) = (Some(log.predecessor()), SegmentFlags::OPENING);
    common::write_segment(&log.storage, &header);
    common::write_segment(&log.storage, &tip);
    let session = Session::open(&log.shared()).unwrap();
    assert_eq!(session.examined.survey.dead.len(), 1);
    assert!(session.resumed.placement.end.get() >= (1 << 40) + (1 << 20));
    assert!(session.resumed.store.epoch() > Epoch::new(2));
}

#[test]
fn r08_addresses_are_never_used_twice_over_many_crashes() {
    let storage = shared(MemoryStorage::new());
    session::create(&storage).unwrap();
    let mut highest = Lsn::FIRST;
    for n in 0..20_u8 {
        let mut session = Session::open(&storage).unwrap();
        assert!(session.resumed.placement.end > highest, "opening {n}");
        for _ in 0..=n % 3 {
            highest = session.data(&[n; 10]).unwrap();
        }
    }
}

#[test]
fn r10_what_was_rewritten_is_evidence_from_then_on() {
    let log = crashed(2, 2);
    let storage = log.shared();
    drop(Session::open(&storage).unwrap());
    let run = Survey::read(&*storage).unwrap().links[1];
    assert!(run.header.flags.contains(SegmentFlags::BORN_DURABLE));
    common::flip(&*storage, &run.name.to_string(), 8 * (4096 + 700));
    let found = examine(&storage, Depth::Full, &mut ()).unwrap();
    match found.verdict {
        Verdict::Corrupt { lsn, segment, promised_by, .. } => {
            assert_eq!((lsn, segment), (log.records[4], run.name));
            assert!(promised_by.proven_end() >= log.end, "{promised_by}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn r14_with_both_slots_lost_the_log_opens_by_scanning() {
    let mut log = crashed(3, 2);
    log.opened(9);
    log.data(b"of an epoch that no file names");
    let expected = without_housekeeping(records_of(&log.shared()));
    log.storage.remove(CONTROL_NAME).unwrap();
    let session = Session::open(&log.shared()).unwrap();
    assert_eq!(session.replayed(), expected);
    assert!(session.resumed.store.epoch() > Epoch::new(1000), "unseen epochs are skipped");
    drop(session);
    assert_eq!(Session::open(&log.shared()).unwrap().replayed(), expected);
}

// --- space -----------------------------------------------------------------------------------

#[test]
fn r16_a_crash_loop_does_not_grow_the_directory() {
    let log = crashed(3, 2);
    let storage = log.shared();
    let expected = without_housekeeping(records_of(&storage));
    let mut sizes = Vec::new();
    for _ in 0..50 {
        // The opened record is written, and then the power goes.
        let session = Session::open(&storage).unwrap();
        assert_eq!(session.replayed(), expected);
        drop(session);
        sizes.push((bytes_of(&*storage), storage.list().unwrap().len()));
    }
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
}

#[test]
fn r16_a_crash_loop_that_follows_a_clean_close_does_not_grow_the_directory() {
    let storage = shared(MemoryStorage::new());
    session::create(&storage).unwrap();
    let mut session = Session::open(&storage).unwrap();
    session.data(b"kept").unwrap();
    session.close().unwrap();
    let mut sizes = Vec::new();
    for n in 0..50 {
        let mut session = Session::open(&storage).unwrap();
        assert_eq!(bodies(&session.replayed()), [b"kept"]);
        if n % 2 == 1 {
            // Idle for a while: the opening itself becomes durable, and a record says so.
            session.sync().unwrap();
            session.append(RecordKind::WATERMARK, b"").unwrap();
        }
        drop(session);
        sizes.push((bytes_of(&*storage), storage.list().unwrap().len()));
    }
    let most = sizes.iter().max().unwrap();
    assert!(sizes[..5].contains(most), "{sizes:?}");
}

#[test]
fn r16_a_segment_that_ended_in_a_torn_tail_shrinks_to_its_extent() {
    let log = crashed(3, 2);
    let storage = log.shared();
    drop(Session::open(&storage).unwrap());
    let first = name_of(&log.segments[0]).to_string();
    let len = storage.list().unwrap().into_iter().find(|entry| entry.name == first).unwrap().len;
    let proven = log.durable.unwrap().get();
    assert_eq!(len, proven.next_multiple_of(4096), "one header block, and what is proven");
}

/// What is left when the process is killed at operation `op` of an opening; `None` once the
/// opening takes no more than that.
fn killed_at(disk: &SimDisk, op: u64, space: Option<u64>, mode: CrashMode) -> Option<SimDisk> {
    let disk = disk.crash(CrashMode::KeepAll);
    if let Some(bytes) = space {
        disk.set_faults(Faults::new().space_bytes(bytes));
    }
    disk.power_cut_at(op);
    match Session::open(&shared(disk.clone())) {
        Ok(_) => None,
        Err(error) => {
            assert!(disk.is_off(), "not killed but refused, at {op}: {error}");
            Some(disk.crash(mode))
        }
    }
}

fn size_of(disk: &SimDisk) -> (u64, usize) {
    let files = disk.files();
    (files.iter().map(|(_, bytes)| bytes).sum(), files.len())
}

/// A log of which nothing is proven: an opening writes all of it again, under the same base.
fn unproven_from_its_head(bodies: u8) -> (SimDisk, Vec<Vec<u8>>) {
    let disk = SimDisk::new();
    let storage = shared(disk.clone());
    session::create(&storage).unwrap();
    let bodies: Vec<Vec<u8>> = (0..bodies).map(|n| vec![n; 3000]).collect();
    let survey = Survey::read(&*storage).unwrap();
    let log = LogSource::new(Arc::clone(&storage), survey.links, survey.log_id.unwrap());
    let seed = RecordSeed::new(log.log_id(), Epoch::FIRST);
    let mut end = log.read_record(log.range().start, &mut Vec::new()).unwrap().end();
    let mut write = |kind, body: &[u8]| {
        let parts = [body];
        let draft = RecordDraft::new(kind, &parts);
        let mut out = vec![0; draft.encoded_bytes()];
        draft.encode_into(&seed, end, None, &mut out).unwrap();
        let link = log.link_of(end).unwrap().1;
        let file = disk.open(&link.name.to_string(), wal_io::Access::Write).unwrap();
        file.write_at(&[std::io::IoSlice::new(&out)], link.offset_of(end)).unwrap();
        end = end.checked_add(out.len() as u64).unwrap();
        log.link_of(end).map_or(0, |(_, link)| link.cap.get() - end.get())
    };
    for body in &bodies {
        let left = write(RecordKind::DATA, body);
        if left > 0 && left < 3100 {
            write(RecordKind::PADDING, &vec![0; left as usize - 24]);
        }
    }
    (disk.crash(CrashMode::KeepAll), bodies)
}

#[test]
fn r16_openings_killed_at_any_operation_do_not_grow_the_directory() {
    for mode in [CrashMode::KeepAll, CrashMode::LoseAll] {
        let (start, expected) = unproven_from_its_head(3);
        let whole = start.crash(CrashMode::KeepAll);
        drop(Session::open(&shared(whole.clone())).unwrap());
        // Over a whole opening: the old segment and a segment that was given up, or its header,
        // a run and a temporary file.
        let (bytes, files) = size_of(&whole);
        let most = (bytes + 3 * (68 << 10) + (16 << 10), files + 4);
        let mut op = 0;
        'ops: loop {
            op += 1;
            let mut disk = start.crash(CrashMode::KeepAll);
            for round in 0..30 {
                match killed_at(&disk, op, None, mode) {
                    Some(left) => disk = left,
                    None if round == 0 => break 'ops,
                    // The rounds before left less to do.
                    None => break,
                }
                let size = size_of(&disk);
                assert!(
                    size.0 <= most.0 && size.1 <= most.1,
                    "{size:?} after round {round}, {most:?} at most, killed at {op}: {:?}",
                    disk.files()
                );
            }
            let session = Session::open(&shared(disk)).unwrap();
            assert!(expected.starts_with(&bodies(&session.replayed())));
        }
        assert!(op > 20, "an opening takes {op} operations");
    }
}

#[test]
fn r16_a_run_of_two_segments_is_rewritten_on_a_full_disk_at_their_expense() {
    // The spare is not enough for the run and another segment; what the run replaced is.
    let (disk, expected) = unproven_from_its_head(40);
    disk.set_faults(Faults::new().space_bytes(size_of(&disk).0));
    for _ in 0..3 {
        let session = Session::open(&shared(disk.clone())).unwrap();
        assert_eq!(bodies(&session.replayed()), expected);
    }
}

#[test]
fn r16_openings_killed_at_any_operation_on_a_full_disk_do_not_end_the_log() {
    // A run under the base of the first segment, and more of it than the spare holds back.
    let (start, expected) = unproven_from_its_head(40);
    let used = size_of(&start).0;
    let mut op = 0;
    'ops: loop {
        op += 1;
        let mut disk = start.crash(CrashMode::KeepAll);
        for round in 0..4 {
            match killed_at(&disk, op, Some(used), CrashMode::KeepAll) {
                Some(left) => disk = left,
                None if round == 0 => break 'ops,
                None => break,
            }
        }
        // And again after openings that came to their end.
        for _ in 0..3 {
            disk = disk.crash(CrashMode::KeepAll);
            disk.set_faults(Faults::new().space_bytes(used));
            let session = Session::open(&shared(disk.clone()))
                .unwrap_or_else(|error| panic!("killed at {op}: {error}: {:?}", disk.files()));
            assert_eq!(bodies(&session.replayed()), expected);
        }
    }
    assert!(op > 20, "an opening takes {op} operations");
}

/// A log on a disk which holds not one byte more: closed cleanly once, then opened and left idle
/// until the openings themselves became durable, twice; with `tail`, unproven records follow.
fn full_disk(tail: &[Vec<u8>]) -> (SimDisk, u64) {
    let disk = SimDisk::new();
    let storage = shared(disk.clone());
    session::create(&storage).unwrap();
    let mut session = Session::open(&storage).unwrap();
    for n in 0..2 {
        session.data(&[n; 40]).unwrap();
    }
    session.close().unwrap();
    for turn in 0..2 {
        let mut session = Session::open(&storage).unwrap();
        session.sync().unwrap();
        session.append(RecordKind::WATERMARK, b"").unwrap();
        for body in tail.iter().filter(|_| turn == 1) {
            session.data(body).unwrap();
        }
    }
    let disk = disk.crash(CrashMode::KeepAll);
    let used = disk.files().iter().map(|(_, bytes)| bytes).sum();
    (disk, used)
}

#[test]
fn r16_opening_works_on_a_full_disk_and_may_crash_at_every_operation() {
    for tail in [0..0_u8, 2..6] {
        let tail: Vec<Vec<u8>> = tail.map(|n| vec![n; 3000]).collect();
        let (disk, used) = full_disk(&tail);
        let promised: Vec<Vec<u8>> = (0..2).map(|n| vec![n; 40]).collect();
        let offered = [&promised[..], &tail].concat();
        let explorer = Explorer::new(3).start_from(&disk).depth(2).states_per_cut(4);
        let coverage = explorer
            .run(
                |_| (),
                |disk, ()| {
                    disk.set_faults(Faults::new().space_bytes(used));
                    judge(&disk, &promised, &offered)
                },
            )
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert!(coverage.cuts_in_recovery > 20 && !coverage.cut_short, "{coverage:?}");
    }
}

#[test]
fn r16_a_full_disk_after_an_opening_that_crashed_behind_its_run() {
    let disk = SimDisk::new();
    let storage = shared(disk.clone());
    session::create(&storage).unwrap();
    let mut session = Session::open(&storage).unwrap();
    for n in 0..2 {
        session.data(&[n; 40]).unwrap();
    }
    session.close().unwrap();
    drop(Session::open(&storage).unwrap());
    let promised: Vec<Vec<u8>> = (0..2).map(|n| vec![n; 40]).collect();
    let start = disk.crash(CrashMode::KeepAll);
    let (mut op, mut explored) = (0, 0);
    loop {
        op += 1;
        let disk = start.fork();
        disk.power_cut_at(op);
        if Session::open(&shared(disk.clone())).is_ok() {
            break;
        }
        // The run of the opened record is the tip; the segment to go on in is not there yet.
        let disk = disk.crash(CrashMode::KeepAll);
        let survey = Survey::read(&disk).unwrap();
        if !survey.links.last().unwrap().header.flags.contains(SegmentFlags::BORN_DURABLE) {
            continue;
        }
        let used = disk.files().iter().map(|(_, bytes)| bytes).sum();
        let full = |disk: SimDisk, (): &()| {
            disk.set_faults(Faults::new().space_bytes(used));
            judge(&disk, &promised, &promised)
        };
        let explorer = Explorer::new(op).start_from(&disk).depth(2).states_per_cut(2);
        explorer.run(|_| (), full).unwrap_or_else(|failure| panic!("{failure}"));
        explored += 1;
    }
    assert!(explored > 0, "none of {op} operations leaves a run at the tip");
}

// --- refusals --------------------------------------------------------------------------------

#[test]
fn damage_is_refused_and_nothing_is_changed() {
    type Spoil = fn(&mut LogBuilder);
    let spoils: [(VerdictKind, Spoil); 6] = [
        (VerdictKind::Corrupt, |log| log.flip(log.records[1], 100)),
        (VerdictKind::Corrupt, |log| {
            common::flip(&log.storage, &name_of(&log.segments[0]).to_string(), 500);
        }),
        (VerdictKind::MissingSegment, |log| {
            log.storage.remove(&name_of(log.last()).to_string()).unwrap();
        }),
        (VerdictKind::HeadUnproven, |log| {
            log.storage.remove(&name_of(&log.segments[0]).to_string()).unwrap();
            log.storage.remove(CONTROL_NAME).unwrap();
        }),
        (VerdictKind::ForeignSegment, |log| {
            let mut header = *log.last();
            header.log_id = wal_format::LogId::from_bytes([0xee; 16]);
            common::write(&log.storage, &name_of(&header).to_string(), 0, &header.encode());
        }),
        (VerdictKind::UnsupportedVersion, |log| {
            log.record(RecordKind::new(0x3d).unwrap(), b"of a newer version");
        }),
    ];
    for (kind, spoil) in spoils {
        let mut log = crashed(3, 2);
        log.rotate();
        log.data(b"in the second segment");
        spoil(&mut log);
        // A temporary file, and a dead one, that a sound log would lose.
        log.storage.create("0000000000100000-0000000000000001.wal.tmp", 10).unwrap();
        let storage = log.shared();
        let before = contents(&*storage);
        let refused = Session::open(&storage).err().expect("damage is refused");
        match &refused {
            RecoveryError::Refused(verdict) => assert_eq!(verdict.kind(), kind, "{verdict}"),
            other => panic!("{other}"),
        }
        assert_eq!(contents(&*storage), before, "{refused}");
    }
}

#[test]
fn r10_a_promise_made_after_reopening_is_kept_like_any_other() {
    let log = crashed(2, 1);
    let storage = log.shared();
    let mut session = Session::open(&storage).unwrap();
    let promised = session.data(&[7; 64]).unwrap();
    session.sync().unwrap();
    let witness = session.data(b"witness").unwrap();
    let name = session
        .resumed
        .store
        .links()
        .iter()
        .find(|link| link.range().contains(promised))
        .unwrap()
        .name;
    drop(session);
    let offset = 4096 + (promised.get() - name.base.get());
    common::flip(&*storage, &name.to_string(), offset * 8 + 300);
    let found = examine(&storage, Depth::Full, &mut ()).unwrap();
    let expected = Verdict::Corrupt {
        lsn: promised,
        segment: name,
        offset,
        promised_by: Evidence::Watermark { record: witness, durable: witness },
    };
    assert_eq!(found.verdict, expected);
}
