//! Judging one crash state: recover, ask the oracle, and see that the log is as good as new.
//!
//! A check may itself lose power, and be run again on what that leaves. What it was promised
//! before stands in a note on the disk, which no power cut takes away and no log sees.

use std::sync::Arc;

use parking_lot::Mutex;
use wal::{ErrorKind, LogView, Lsn, Verdict, Wal};
use wal_sim::{CrashMode, Faults, SimDisk, SimRng};

use crate::body::{body, is_marker, marker, serial};
use crate::engine::{Engine, numbers, snapshot};
use crate::figures::Figures;
use crate::look::{below_head, look};
use crate::profile::{Device, Profile, SEGMENT_BYTES, Trouble, bad_reads};
use crate::reading;
use crate::run::open;
use crate::story::Story;
use crate::witness::{NOTE, Witness};

/// In how many states a crash loop is looked at: one in so many.
const LOOP_EVERY: u64 = 16;

/// In how many states the verdict of the opening is held against a look: one in so many.
const LOOK_EVERY: u64 = 4;

/// In how many states all is read once more: one in so many.
const READ_EVERY: u64 = 4;

/// How often an opening is tried again which failed for a reason that passes.
const OPENINGS_MAX: u32 = 3;

/// Recovers the log on `disk` and judges it by `story`.
///
/// # Errors
///
/// The promise that was broken, in words.
pub fn check(
    disk: &SimDisk,
    story: &Story,
    profile: &Profile,
    figures: &Mutex<Figures>,
) -> Result<(), String> {
    if let Some(broken) = &story.broken {
        return Err(broken.clone());
    }
    if profile.device == Device::Lying {
        return check_lied_to(disk, story.clone(), profile, figures);
    }
    let witness = Witness::new(disk);
    let found = (disk.fingerprint().is_multiple_of(LOOK_EVERY)).then(|| look(disk)).flatten();
    match profile.trouble {
        Trouble::Full => {
            let bytes = disk.files().iter().map(|(_, len)| len).sum();
            disk.set_faults(Faults::new().space_bytes(bytes));
        }
        Trouble::Reads => disk.set_faults(bad_reads(&mut SimRng::new(disk.fingerprint()))),
        _ => {}
    }
    let spare = profile.trouble == Trouble::Full && has_spare_for(disk, story);
    let mut opened = open(Arc::new(witness.clone()), profile);
    // An opening that failed half-way may have mended what the look found.
    let found = found.filter(|_| opened.is_ok());
    for _ in 0..OPENINGS_MAX {
        match &opened {
            Err(error) if error.kind() == ErrorKind::NoSpace && !spare => {
                disk.set_faults(Faults::new());
            }
            // A write-back that failed before is told to whoever syncs first, once.
            Err(error) if error.kind() == ErrorKind::Io && !disk.is_off() => {}
            // What could not be read once may be called damage: nothing was changed.
            Err(error)
                if error.kind() == ErrorKind::Damaged && profile.trouble == Trouble::Reads => {}
            _ => break,
        }
        opened = open(Arc::new(witness.clone()), profile);
    }
    disk.set_faults(Faults::new());
    let (wal, engine) = match opened {
        Ok(opened) => opened,
        Err(_) if disk.is_off() => return Ok(()),
        Err(error) => return Err(format!("the log does not open: {error}")),
    };
    let said = &wal.recovery().verdict;
    if let Some(found) = found.filter(|found| found != said) {
        return Err(format!("found by looking: {found}; reported by the opening: {said}"));
    }
    let outcome = judge(disk, story, profile, &wal, &engine, figures, &witness);
    match outcome {
        Err(_) if disk.is_off() => Ok(()),
        Err(reason) => Err(format!("{reason}\n{}", story.picture(&engine.found, 24))),
        Ok(()) => Ok(()),
    }
}

/// A device that lied: no log keeps its promises there. What the control file still proves to have
/// been durable must be found all the same, or the opening must refuse; and nothing is invented.
fn check_lied_to(
    disk: &SimDisk,
    mut story: Story,
    profile: &Profile,
    figures: &Mutex<Figures>,
) -> Result<(), String> {
    story.limit_promise(proven_by_control(disk));
    let (witness, before) = (Witness::new(disk), disk.fork());
    let verdict = match open(Arc::new(witness.clone()), profile) {
        Ok((_, engine)) => {
            let judged = story
                .judge(&engine.found)
                .map_err(|reason| format!("{reason}\n{}", story.picture(&engine.found, 24)))?;
            figures.lock().add_judged(judged);
            "lied to, opened"
        }
        Err(_) if disk.is_off() => return Ok(()),
        Err(error) if error.kind() == ErrorKind::Damaged => "lied to, refused: damaged",
        // No slot of the control file was ever written: files of no log, and not to be touched.
        Err(error) if error.kind() == ErrorKind::Refused && is_kept(&before, disk) => {
            "lied to, refused: no control file"
        }
        Err(error) => return Err(format!("neither opened nor called damaged: {error}")),
    };
    figures.lock().count(&story, witness.seen(), verdict);
    Ok(())
}

/// Whether all finished files are still there as they were; others may have come.
fn is_kept(before: &SimDisk, after: &SimDisk) -> bool {
    let names = before.names();
    let mut finished = names.iter().filter(|name| !name.ends_with(".tmp"));
    finished.all(|name| before.contents(name) == after.contents(name))
}

/// The end of what the slots of the control file, as far as they are whole, say to be durable.
#[must_use]
pub fn proven_by_control(disk: &SimDisk) -> Lsn {
    let view = LogView::open_in(Arc::new(Witness::new(disk)));
    let slots = view.iter().flat_map(|view| view.survey().control.slots.clone());
    slots.filter_map(|slot| slot.whole().cloned()).fold(Lsn::NONE, |proven, slot| {
        let ends = slot.checkpoints.iter().map(|kept| kept.end);
        let clean = slot.clean.map(|(end, _)| end);
        ends.chain(clean).chain([slot.durable]).fold(proven, Lsn::max)
    })
}

/// Whether the spare covers what an opening on the full disk needs (rule 16): it is there, and no
/// more than one segment is to be written again.
fn has_spare_for(disk: &SimDisk, story: &Story) -> bool {
    let unproven = LogView::open_in(Arc::new(Witness::new(disk)))
        .ok()
        .and_then(|view| view.end().distance_from(view.durable()));
    story.openings > 0
        && unproven.is_some_and(|bytes| bytes <= SEGMENT_BYTES)
        && disk.files().iter().any(|(name, _)| name == "spare")
}

fn judge(
    disk: &SimDisk,
    story: &Story,
    profile: &Profile,
    wal: &Wal,
    engine: &Engine,
    figures: &Mutex<Figures>,
    witness: &Witness,
) -> Result<(), String> {
    let seen = witness.seen();
    let (mut found, markers) = split(engine)?;
    let killed = !disk.lost_power();
    let judged = if killed { story.judge_killed(&found) } else { story.judge(&found) }?;
    found.clear();
    {
        let mut figures = figures.lock();
        figures.count(story, seen, &verdict(wal));
        figures.add_judged(judged);
    }
    let all = engine.numbers();
    if let Some(note) = disk.contents(NOTE) {
        as_before(&numbers(&note), &all)?;
    }
    disk.put_file(NOTE, &snapshot(&all));
    check_leaks(disk, story, wal)?;
    if seen.is_multiple_of(READ_EVERY) {
        let mut reader = wal.read_from(wal.head()).map_err(|error| error.to_string())?;
        let given = reading::forwards(&mut reader, story.promised(), usize::MAX);
        let given = given.map_err(|error| format!("after recovery: {error}"))?;
        story.read(&given, wal.head(), story.promised())?;
    }
    if seen.is_multiple_of(LOOP_EVERY) {
        check_loop(disk, profile, &all)?;
    }
    as_safe_as_the_first(disk, Space::Sound, story.address_end(), profile, wal, all, markers)
}

/// A recovery finds what the one before found, and behind it nothing but what was appended since:
/// whatever that one did not find is given up.
fn as_before(before: &[u64], all: &[u64]) -> Result<(), String> {
    let Some(since) = all.strip_prefix(before) else {
        return Err("an earlier recovery found, or was promised, what this one does not".into());
    };
    match since.iter().find(|number| !is_marker(**number)) {
        Some(number) => Err(format!(
            "record {}, which an earlier recovery did not find, is back",
            serial(*number)
        )),
        None => Ok(()),
    }
}

/// What the workload's records are, and how many markers of checks follow them.
fn split(engine: &Engine) -> Result<(Vec<crate::engine::Replayed>, u64), String> {
    let first = engine.found.iter().position(|found| is_marker(found.number));
    let (found, markers) = engine.found.split_at(first.unwrap_or(engine.found.len()));
    let in_order = markers.iter().enumerate().all(|(at, found)| found.number == marker(at as u64));
    if !in_order {
        return Err("what checks appended is there in part, or out of order".to_owned());
    }
    Ok((found.to_vec(), markers.len() as u64))
}

fn verdict(wal: &Wal) -> String {
    let verdict = &wal.recovery().verdict;
    if verdict.is_empty() {
        "new log".to_owned()
    } else if *verdict == Verdict::CleanEnd.to_string() {
        "clean end".to_owned()
    } else {
        "torn tail".to_owned()
    }
}

/// What lies behind the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// What the log made of it.
    Sound,
    /// Perhaps something else: it decayed. A log that was closed right in front of garbage may take
    /// it for unfinished writes that nobody was promised.
    Decayed,
}

/// New appends are as safe as the first: append, sync, lose all that is not durable, reopen.
///
/// # Errors
///
/// What is not there, or not where it may be: addresses below `reached` were given out before.
pub fn as_safe_as_the_first(
    disk: &SimDisk,
    space: Space,
    reached: Lsn,
    profile: &Profile,
    wal: &Wal,
    mut expected: Vec<u64>,
    markers: u64,
) -> Result<(), String> {
    let next = marker(markers);
    let said = |error: wal::Error| format!("after recovery: {error}");
    let ticket = wal.append(&body(next)).map_err(said)?;
    if ticket.lsn() < reached {
        let lsn = ticket.lsn();
        return Err(format!("address {lsn} is given out again: {reached} was reached before"));
    }
    ticket.wait_durable().map_err(said)?;
    expected.push(next);
    disk.put_file(NOTE, &snapshot(&expected));
    let clean = expected.len().is_multiple_of(2);
    if clean {
        wal.close().map_err(said)?;
    }
    let after = disk.crash(CrashMode::LoseAll);
    let (again, engine) = open(Arc::new(Witness::new(&after)), profile)
        .map_err(|error| format!("recovered, written to, cut: does not open: {error}"))?;
    if engine.numbers() != expected {
        return Err(format!(
            "recovered, written to, cut: {} records were there, {} are",
            expected.len(),
            engine.found.len()
        ));
    }
    if clean && space == Space::Sound && verdict(&again) != "clean end" {
        return Err(format!("closed cleanly, yet: {}", again.recovery().verdict));
    }
    Ok(())
}

/// Space and files are bounded by what the log holds, and nothing unfinished stays.
fn check_leaks(disk: &SimDisk, story: &Story, wal: &Wal) -> Result<(), String> {
    let mut files = disk.files();
    files.retain(|(name, _)| name != NOTE);
    if let Some((name, _)) = files.iter().find(|(name, _)| name.ends_with(".tmp")) {
        return Err(format!("`{name}` is left behind"));
    }
    let (count, bytes) = (files.len() as u64, files.iter().map(|(_, len)| len).sum::<u64>());
    if let Some(name) = below_head(disk, wal.head()) {
        return Err(format!("`{name}` is kept, and the head is {}", wal.head()));
    }
    let openings = story.openings + 4;
    let count_max = 8 + 3 * openings + story.bytes / (16 << 10);
    let bytes_max = (512 << 10) + 3 * story.bytes + openings * (16 << 10);
    if count > count_max || bytes > bytes_max {
        return Err(format!(
            "{count} files of {bytes} bytes for {} bytes of log (at most {count_max}, {bytes_max})",
            story.bytes
        ));
    }
    Ok(())
}

/// A crash loop does not grow the directory (rule 16).
fn check_loop(disk: &SimDisk, profile: &Profile, expected: &[u64]) -> Result<(), String> {
    let mut disk = disk.crash(CrashMode::KeepAll);
    let mut sizes = Vec::new();
    for round in 0..4 {
        let (wal, engine) = open(Arc::new(Witness::new(&disk)), profile)
            .map_err(|error| format!("in a crash loop: {error}"))?;
        if engine.numbers() != expected {
            return Err(format!("in a crash loop: {} records are left", engine.found.len()));
        }
        drop(wal);
        let files = disk.files();
        sizes.push((files.len(), files.iter().map(|(_, len)| len).sum::<u64>()));
        disk = disk.crash(CrashMode::Random(round));
    }
    match sizes.as_slice() {
        [_, second, .., last] if last.0 > second.0 || last.1 > second.1 => {
            Err(format!("a crash loop grows the directory: {sizes:?}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Size;

    /// A log that has one record in its buffer, not on the disk, and a story which calls it written.
    fn called_written(disk: &SimDisk, profile: &Profile) -> (Wal, Story) {
        let (wal, _) = open(Arc::new(Witness::new(disk)), profile).unwrap();
        let mut story = Story::default();
        let numbers = story.numbers(1, Size::Small);
        let bytes = body(numbers[0]);
        let step = story.issue(numbers);
        let ticket = wal.append(&bytes).unwrap();
        story.placed(step, ticket.lsn(), ticket.end());
        story.wrote(ticket.end());
        (wal, story)
    }

    #[test]
    fn what_was_called_written_is_demanded_where_only_the_process_died() {
        let profile = Profile::named("mixed").unwrap();
        let disk = profile.disk();
        let (wal, story) = called_written(&disk, profile);
        let judge = |disk: SimDisk| check(&disk, &story, profile, &Mutex::default());
        let reason = judge(disk.fork()).unwrap_err();
        assert!(reason.contains("record 0 was written, only the process died"), "{reason}");
        assert_eq!(judge(disk.crash(CrashMode::KeepAll)), Ok(()), "a power cut may take it");
        wal.sync().unwrap();
        assert_eq!(judge(disk.fork()), Ok(()));
    }

    #[test]
    fn what_a_recovery_did_not_find_must_not_come_back_even_before_anything_new_is_durable() {
        let new = marker(0);
        for sound in [&[1, 2][..], &[1, 2, new]] {
            assert_eq!(as_before(&[1, 2], sound), Ok(()));
        }
        assert!(as_before(&[1, 2], &[1, 2, 3]).unwrap_err().contains("record 3"));
        assert!(as_before(&[], &[1]).unwrap_err().contains("is back"));
        assert!(as_before(&[1, 2], &[1]).unwrap_err().contains("what this one does not"));
    }
}
