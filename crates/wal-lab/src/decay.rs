//! Latent faults: what was durable decays while nobody looks, and the log must say so.
//!
//! One fault at a time, on a disk that a power cut left. What was durable before it is proved by
//! what the fault did not touch: watermarks in other records, and the control file. Everything
//! proved in this way must be found, or the opening must refuse and change nothing. What nothing
//! proves any more may be lost silently (rule 10); that is counted.

use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use wal::{ErrorKind, LogView, Lsn};
use wal_sim::{CrashMode, FaultKind, SimDisk, SimRng};

use crate::check::{Space, as_safe_as_the_first, proven_by_control};
use crate::engine::Engine;
use crate::figures::Figures;
use crate::profile::{Profile, Trouble};
use crate::run::{open, run};
use crate::story::Story;
use crate::witness::Witness;

const SECTOR: u64 = 512;
const MISSING: &str = "missing file";

/// What was done to which bytes of which file.
#[derive(Clone, Debug)]
struct Damage {
    what: &'static str,
    file: String,
    from: u64,
    to: u64,
}

/// One record where it lies, and what it proves.
struct Proof {
    file: String,
    from: u64,
    to: u64,
    durable: Lsn,
}

/// Runs `profile` on a disk, lets it decay `rounds` times, and judges each time.
///
/// # Errors
///
/// What was lost or invented without a word, with the fault that did it.
pub fn explore(
    profile: &Profile,
    seed: u64,
    steps: u32,
    rounds: u64,
    figures: &Mutex<Figures>,
) -> Result<(), (String, String)> {
    let mut rng = SimRng::new(seed ^ 0x0dec_a700);
    let mut round = 0;
    while round < rounds {
        let (disk, older, story) = make(profile, seed, steps, &mut rng);
        let baseline = disk.fork();
        for _ in 0..16.min(rounds - round) {
            let case = format!("round-{round}");
            let mut decayed = baseline.fork();
            if let Some(damage) = harm(profile, &mut decayed, &older, &mut rng) {
                judge(profile, &baseline, &decayed, &damage, story.clone(), figures)
                    .map_err(|reason| (case, format!("{damage:?}: {reason}")))?;
            }
            round += 1;
        }
    }
    Ok(())
}

/// A disk after a power cut, the same disk at an earlier moment, and the story.
fn make(profile: &Profile, seed: u64, steps: u32, rng: &mut SimRng) -> (SimDisk, SimDisk, Story) {
    let cut_at = |op| {
        let disk = profile.disk();
        disk.power_cut_at(op);
        let story = run(&disk, profile, seed, steps);
        (disk, story)
    };
    let (whole, _) = cut_at(u64::MAX);
    let op = 20 + rng.below(whole.ops().saturating_sub(19));
    let (disk, story) = cut_at(op);
    let (older, _) = cut_at(10 + rng.below(op.saturating_sub(9)));
    let mode = match rng.below(3) {
        0 => CrashMode::LoseAll,
        1 => CrashMode::KeepAll,
        _ => CrashMode::Random(rng.next_u64()),
    };
    (disk.crash(mode), older, story)
}

/// Does something to the disk; `None` if there was nothing to do it to.
fn harm(
    profile: &Profile,
    disk: &mut SimDisk,
    older: &SimDisk,
    rng: &mut SimRng,
) -> Option<Damage> {
    let files: Vec<(String, u64)> =
        disk.files().into_iter().filter(|(name, len)| *len > 0 && name != "spare").collect();
    let (file, len) = files.get(rng.below(files.len() as u64) as usize)?.clone();
    // Most of a file is space not written yet; what is written comes first.
    let reach = if rng.below(2) == 0 { len.min(16 << 10) } else { len };
    let sector = rng.below(reach / SECTOR);
    let at = sector * SECTOR;
    let damage = |what, from, to| Some(Damage { what, file: file.clone(), from, to });
    if profile.trouble == Trouble::Sectors {
        let kind = if rng.below(2) == 0 {
            disk.spoil_sector(&file, sector).ok()?;
            FaultKind::UnreadableSector
        } else {
            let (other, _) = files.get(rng.below(files.len() as u64) as usize)?;
            disk.stale_sector(&file, sector, other).ok()?;
            FaultKind::StaleSector
        };
        return damage(kind.name(), at, at + SECTOR);
    }
    match rng.below(8) {
        0 | 1 => {
            let bit = rng.below(reach * 8);
            disk.flip_bit(&file, bit).ok()?;
            damage(FaultKind::BitFlip.name(), bit / 8, bit / 8 + 1)
        }
        2 => {
            disk.zero_sector(&file, sector).ok()?;
            damage(FaultKind::ZeroedSector.name(), at, at + SECTOR)
        }
        3 => {
            let old = older.contents(&file)?;
            let from = usize::try_from(at).ok()?;
            disk.overwrite(&file, at, old.get(from..from + SECTOR as usize)?).ok()?;
            damage(FaultKind::LostWrite.name(), at, at + SECTOR)
        }
        4 => {
            disk.copy_sector(&file, rng.below(reach / SECTOR), sector).ok()?;
            damage(FaultKind::MisdirectedWrite.name(), at, at + SECTOR)
        }
        5 => {
            let noise: Vec<u8> = (0..SECTOR).map(|_| rng.next_u64() as u8).collect();
            disk.overwrite(&file, at, &noise).ok()?;
            damage("scribbled sector", at, at + SECTOR)
        }
        6 => {
            disk.cut_file(&file, at).ok()?;
            damage("cut file", at, u64::MAX)
        }
        _ => {
            disk.remove_file(&file).ok()?;
            damage(MISSING, 0, u64::MAX)
        }
    }
}

fn judge(
    profile: &Profile,
    baseline: &SimDisk,
    decayed: &SimDisk,
    damage: &Damage,
    mut story: Story,
    figures: &Mutex<Figures>,
) -> Result<(), String> {
    if let Some(broken) = &story.broken {
        return Err(broken.clone());
    }
    let promised = story.promised();
    let proven = proven(baseline, decayed, damage, &story)?;
    story.limit_promise(proven);
    let before = decayed.fork();
    let witness = Witness::new(decayed);
    let verdict = match open(Arc::new(witness.clone()), profile) {
        Ok((wal, engine)) => {
            let judged = story.judge(&engine.found).map_err(|reason| {
                format!("{reason}, proven up to {proven}\n{}", picture(&story, &engine))
            })?;
            let lost = lost(story.clone(), promised, &engine);
            let mut figures = figures.lock();
            figures.add_judged(judged);
            figures.unproven_lost += u64::from(lost);
            drop(figures);
            // What nothing proves any more may have been given out before.
            let (reached, all) = (proven, engine.numbers());
            as_safe_as_the_first(decayed, Space::Decayed, reached, profile, &wal, all, 0)
                .map_err(|reason| format!("{reason}\n{}", picture(&story, &engine)))?;
            drop(wal);
            "decayed, opened"
        }
        // A sector that cannot be read now may be read later: until then nothing may be lost.
        Err(error)
            if error.kind() == ErrorKind::Io
                && damage.what == FaultKind::UnreadableSector.name() =>
        {
            let mut whole = story.clone();
            whole.promise(promised);
            read_again(profile, decayed, damage, &whole)?;
            let untouched = decayed.fingerprint() == before.fingerprint();
            if untouched { "decayed, refused: unreadable" } else { "decayed, stopped: unreadable" }
        }
        Err(error) if decayed.fingerprint() != before.fingerprint() => {
            let changed = changed(&before, decayed).join(", ");
            return Err(format!("refused, and changed {changed}: {error}"));
        }
        Err(error) => match error.kind() {
            ErrorKind::Damaged => "decayed, refused: damaged",
            ErrorKind::Foreign => "decayed, refused: foreign",
            ErrorKind::UnsupportedVersion => "decayed, refused: newer version",
            _ => return Err(format!("neither opened nor called damaged: {error}")),
        },
    };
    let mut figures = figures.lock();
    figures.count(&story, witness.seen(), verdict);
    *figures.faults.entry(damage.what.to_owned()).or_default() += 1;
    Ok(())
}

/// Once the sector can be read again, the log opens and holds all that was promised.
fn read_again(
    profile: &Profile,
    decayed: &SimDisk,
    damage: &Damage,
    story: &Story,
) -> Result<(), String> {
    let healed = decayed.fork();
    if let Some(bytes) = healed.contents(&damage.file) {
        healed.put_file(&damage.file, &bytes);
    }
    let (_, engine) = open(Arc::new(Witness::new(&healed)), profile)
        .map_err(|error| format!("read again after a refusal, it does not open: {error}"))?;
    story.judge(&engine.found).map(drop).map_err(|reason| {
        format!("read again after a refusal: {reason}\n{}", picture(story, &engine))
    })
}

/// The files that are not what they were.
fn changed(before: &SimDisk, after: &SimDisk) -> Vec<String> {
    let mut names = [before.names(), after.names()].concat();
    names.sort();
    names.dedup();
    names.retain(|name| before.contents(name) != after.contents(name));
    names
}

fn picture(story: &Story, engine: &Engine) -> String {
    story.picture(&engine.found, 24)
}

/// Whether something that had been promised is gone, where nothing proved it any more.
fn lost(mut story: Story, promised: Lsn, engine: &Engine) -> bool {
    story.promise(promised);
    story.judge(&engine.found).is_err()
}

/// The end of what is proved by whatever the damage did not touch.
fn proven(
    baseline: &SimDisk,
    decayed: &SimDisk,
    damage: &Damage,
    story: &Story,
) -> Result<Lsn, String> {
    let proofs = proofs(baseline, story)?;
    // Rule 14: a segment that held anything is named by its successor, or as the newest.
    if damage.what == MISSING
        && proofs.iter().any(|proof| proof.file == damage.file)
        && is_named(baseline, &damage.file)
    {
        return Ok(story.promised());
    }
    let mut proven = Lsn::NONE;
    for proof in proofs {
        let touched = proof.file == damage.file && proof.from < damage.to && damage.from < proof.to;
        if !touched {
            proven = proven.max(proof.durable);
        }
    }
    // What is left of the control file proves itself.
    Ok(proven.max(proven_by_control(decayed)))
}

/// Whether something else names this segment of the chain. Only a run that an opening wrote again,
/// and that lost power before it had a successor, is named by nothing yet.
fn is_named(disk: &SimDisk, file: &str) -> bool {
    let Ok(view) = LogView::open_in(Arc::new(Witness::new(disk))) else { return false };
    let survey = view.survey();
    let newest = survey.control.current().map(|slot| (slot.newest_epoch, slot.newest_base));
    let is_tip = survey.links.last().is_some_and(|link| link.name.to_string() == file);
    let tip = survey.links.last().map(|link| (link.name.epoch, link.name.base));
    !is_tip || newest == tip
}

/// Every record of the log, where it lies, and what it says, or must say, to be durable.
fn proofs(disk: &SimDisk, story: &Story) -> Result<Vec<Proof>, String> {
    let view = match LogView::open_in(Arc::new(Witness::new(disk))) {
        Ok(view) => view,
        // Cut before there was a log.
        Err(error) if error.kind() == ErrorKind::NotALog => return Ok(Vec::new()),
        Err(error) => return Err(format!("the log was whole, and is: {error}")),
    };
    if view.verdict().is_damage() {
        return Err(format!("the log was whole, and is: {}", view.verdict()));
    }
    let links = &view.survey().links;
    let mut proofs = Vec::new();
    let walked = view.for_each(view.range(), |record| {
        let link = links.iter().find(|link| link.range().contains(record.lsn()));
        if let Some(link) = link {
            let from = link.offset_of(record.lsn());
            let to = from + record.encoded_bytes() as u64;
            let said = record.durable().unwrap_or(Lsn::NONE);
            let durable = said.max(story.known_at(record.lsn()));
            proofs.push(Proof { file: link.name.to_string(), from, to, durable });
        }
        ControlFlow::<()>::Continue(())
    });
    walked.map_err(|error| format!("the log was whole, and: {error}"))?;
    Ok(proofs)
}
