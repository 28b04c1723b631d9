//! A new log, and a writer's first step into an old one.
//!
//! Creation writes the control file first, naming no segment, and registers the newest segment
//! last. A crash in between leaves a directory of which [`Survey::is_empty`] is true, and the
//! next creation finishes it; after the last step it is a log that opens. Reopening spends an
//! epoch and clears the clean mark, in both slots, before anything else (rules 4, 17).

use std::sync::Arc;

use wal_format::{ControlSlot, Epoch, LogId, Lsn, SegmentFlags};

use super::directory::{Naming, make_segment, random_log_id, remove_if_there, sync_dir};
use super::options::{Placement, StoreOptions};
use super::retired_files::Recycled;
use super::segment_store::{ChainState, SegmentStore, Work};
use crate::chain::Survey;
use crate::control_file::ControlFile;
use crate::error::{IoError, IoOp};
use crate::file_io::read_full_at;
use crate::segment_name::{CONTROL_NAME, SPARE_NAME, SegmentName};
use crate::sink::Preparer;
use crate::storage::{Access, Preparation, Storage, StorageLock};

/// Epochs are skipped this far when a control slot is lost: it may have spent some unseen.
const EPOCHS_SKIPPED: u64 = 1000;

impl SegmentStore {
    /// Makes a new log: control file, first segment, its successor, and the spare.
    ///
    /// The caller has taken `lock` from `storage`. A creation that a crash cut short is finished.
    ///
    /// # Durability
    ///
    /// All of it is durable when this returns. See the head of this file for a crash before.
    ///
    /// # Errors
    ///
    /// - [`IoError::BadOption`]: nothing was changed.
    /// - [`IoError::Exists`]: the directory holds a log; open it instead.
    /// - [`IoError::Unsound`]: a creation never finished, and yet a segment of it holds something:
    ///   damage, for somebody to look at. Nothing was changed.
    /// - [`IoError::Failed`]: try again once the cause is gone.
    pub fn create(
        storage: Arc<dyn Storage>,
        lock: Box<dyn StorageLock>,
        options: StoreOptions,
    ) -> Result<Arc<Self>, IoError> {
        let store = Self::create_bare(storage, lock, options)?;
        let first = store.place_first()?;
        store.prepare(first.ready_end, options.segment_bytes)?;
        Ok(store)
    }

    /// Makes a new log without any segment, for a copy that is about to be written with
    /// [`write_run`](Self::write_run) and ended with [`resume_after`](Self::resume_after).
    ///
    /// Until then the directory counts as empty.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_bare(
        storage: Arc<dyn Storage>,
        lock: Box<dyn StorageLock>,
        options: StoreOptions,
    ) -> Result<Arc<Self>, IoError> {
        options.check()?;
        let survey = Survey::read(storage.as_ref())?;
        if !survey.is_empty() {
            let first = survey.links.first().map(|link| link.name.to_string());
            let name = first.unwrap_or_else(|| CONTROL_NAME.to_owned());
            return Err(IoError::Exists { place: survey.place, name });
        }
        // Before anything is changed: a refusal leaves the directory as it was.
        let leftovers = empty_leftovers(storage.as_ref(), &survey)?;
        for temporary in &survey.temporary {
            remove_if_there(storage.as_ref(), temporary)?;
        }
        for leftover in &leftovers {
            remove_if_there(storage.as_ref(), leftover)?;
        }
        let slot = match survey.control.current() {
            None => first_slot(random_log_id(storage.as_ref())?),
            Some(slot) => ControlSlot { epoch: next_epoch(slot.epoch, 1)?, ..slot.clone() },
        };
        // Also over an unfinished one: its name may never have become durable.
        let control = ControlFile::create(&storage, &slot)?;
        let work = Work::new(control, Lsn::FIRST);
        let chain = ChainState { links: vec![], active: None, writable_from: Lsn::FIRST };
        Ok(Self::assemble(storage, lock, options, work, chain))
    }

    /// Makes the first segment of a log from [`create_bare`](Self::create_bare), and the spare.
    /// [`create`](Self::create) makes the successor as well.
    ///
    /// The segment is at most 1 MiB long: a log that stays small never pays for more.
    ///
    /// # Durability
    ///
    /// All of it is durable when this returns; from then on the directory holds a log.
    ///
    /// # Errors
    ///
    /// - [`IoError::Exists`]: the log has segments already; nothing was changed.
    /// - [`IoError::Failed`]: drop the store and create again, which finishes what was begun.
    pub fn place_first(&self) -> Result<Placement, IoError> {
        let capacity = self.options.opening_bytes();
        let mut work = self.work.lock();
        self.check_usable(&work)?;
        if let Some(link) = self.chain.lock().last() {
            let (place, name) = (self.storage.place(), link.name.to_string());
            return Err(IoError::Exists { place, name });
        }
        self.keep_spare()?;
        let header = self.new_header(Lsn::FIRST, capacity, SegmentFlags::NONE, None, Lsn::FIRST);
        let first = work.watch(make_segment(
            self.storage.as_ref(),
            header,
            Naming::New,
            Preparation::Zeroed,
        ))?;
        let newest = first.name;
        // In both slots: the loss of either one must not make the log look unfinished.
        self.update_both_slots(&mut work, |slot| {
            (slot.newest_base, slot.newest_epoch) = (newest.base, newest.epoch);
        })?;
        work.address_end = first.cap;
        let mut chain = self.chain.lock();
        chain.links = vec![first];
        chain.active = Some(0);
        Ok(Placement { end: Lsn::FIRST, active_end: first.cap, ready_end: first.cap })
    }

    /// Takes over an existing log for writing: spends an epoch, clears the clean mark, and gives
    /// back the space of what earlier openings left dead (rule 16).
    ///
    /// `survey` was read while `lock` was held, and its verdict allows writing. Appending goes
    /// on after [`resume_in_place`](Self::resume_in_place) or
    /// [`resume_after`](Self::resume_after).
    ///
    /// # Durability
    ///
    /// Epoch and cleared mark are durable, in both slots, when this returns. No segment of the
    /// chain changed but where it is capped.
    ///
    /// # Errors
    ///
    /// - [`IoError::BadOption`], [`IoError::Unsound`], [`IoError::Superseded`]: nothing was
    ///   changed.
    /// - [`IoError::Failed`]: an epoch was spent, and dead files may be gone; open again.
    ///
    /// # Cost
    ///
    /// Two writes of the control file; as [`discard_dead`](Self::discard_dead) if anything is
    /// dead, which only an opening that was cut short leaves.
    pub fn reopen(
        storage: Arc<dyn Storage>,
        lock: Box<dyn StorageLock>,
        options: StoreOptions,
        survey: &Survey,
    ) -> Result<Arc<Self>, IoError> {
        options.check()?;
        if let Some(problem) = survey.problems.first() {
            return Err(unsound(survey, problem));
        }
        let Some(log_id) = survey.log_id.filter(|_| !survey.is_empty()) else {
            return Err(unsound(survey, &"there is no log here"));
        };
        let openings = if survey.control.both_whole() { 1 } else { EPOCHS_SKIPPED };
        let epoch = next_epoch(survey.highest_epoch, openings)?;
        let control = match survey.control.current() {
            Some(slot) => {
                let mut control = ControlFile::open(&storage)?;
                if control.current() != slot {
                    let newer = control.current().epoch;
                    return Err(IoError::Superseded { ours: slot.epoch, newer });
                }
                control.update_both(|slot| (slot.epoch, slot.clean) = (epoch, None))?;
                control
            }
            None => {
                let slot = slot_of_survey(survey, log_id, epoch);
                match ControlFile::create(&storage, &slot) {
                    Err(error) if error.is_no_space() => {
                        remove_if_there(storage.as_ref(), SPARE_NAME)?;
                        sync_dir(storage.as_ref())?;
                        ControlFile::create(&storage, &slot)?
                    }
                    made => made?,
                }
            }
        };
        let mut work = Work {
            dead: survey.dead.clone(),
            temporary: survey.temporary.clone(),
            ..Work::new(control, survey.address_end)
        };
        work.take_held(survey, options.segment_bytes);
        work.take_retired(survey, storage.as_ref(), &options);
        let links = survey.links.clone();
        let chain = ChainState { links, active: None, writable_from: Lsn::MAX };
        tracing::debug!(place = %survey.place, %epoch, "log taken over");
        let store = Self::assemble(storage, lock, options, work, chain);
        store.discard_superseded()?;
        Ok(store)
    }
}

impl Work {
    fn new(control: ControlFile, address_end: Lsn) -> Self {
        let (dead, temporary, held_back) = (Vec::new(), Vec::new(), Vec::new());
        let recycled = Recycled::default();
        let (broken, closed) = (false, false);
        Self { control, dead, temporary, held_back, recycled, address_end, broken, closed }
    }
}

/// The slot of a log without a segment: newest is none.
const fn first_slot(log_id: LogId) -> ControlSlot {
    ControlSlot {
        log_id,
        sequence: 1,
        epoch: Epoch::FIRST,
        head: Lsn::FIRST,
        newest_base: Lsn::NONE,
        newest_epoch: Epoch::NONE,
        durable: Lsn::NONE,
        clean: None,
        checkpoints: Vec::new(),
    }
}

/// Both slots are lost: what the segments tell takes their place. Checkpoints are found again by
/// scanning.
fn slot_of_survey(survey: &Survey, log_id: LogId, epoch: Epoch) -> ControlSlot {
    let mut slot = ControlSlot { epoch, ..first_slot(log_id) };
    if let (Some(first), Some(last)) = (survey.links.first(), survey.links.last()) {
        slot.head = first.name.base;
        (slot.newest_base, slot.newest_epoch) = (last.name.base, last.name.epoch);
    }
    slot
}

/// The segments of a creation which never finished, if they are as empty as they must be.
///
/// One that is not is damage, or the control file lies: either way somebody has to look.
fn empty_leftovers(storage: &dyn Storage, survey: &Survey) -> Result<Vec<String>, IoError> {
    let links = survey.links.iter().map(|link| link.name);
    let mut names = Vec::new();
    for name in links.chain(survey.dead.iter().map(|dead| dead.name)) {
        if !begins_empty(storage, name)? {
            let problem = format!(
                "by its control file nothing was ever written to it, yet `{name}` holds something"
            );
            return Err(IoError::Unsound { place: survey.place.clone(), problem });
        }
        names.push(name.to_string());
    }
    Ok(names)
}

/// Whether no record was ever written at the start of a segment.
fn begins_empty(storage: &dyn Storage, name: SegmentName) -> Result<bool, IoError> {
    let name = name.to_string();
    let file = storage
        .open(&name, Access::Read)
        .map_err(|error| IoError::failed(IoOp::Open, &*name, error))?;
    let mut first = [0_u8; wal_format::layout::RECORD_HEADER_BYTES];
    read_full_at(file.as_ref(), &name, &mut first, super::directory::HEADER_BYTES)?;
    Ok(first.iter().all(|byte| *byte == 0))
}

fn next_epoch(epoch: Epoch, openings: u64) -> Result<Epoch, IoError> {
    epoch
        .checked_add(openings)
        .ok_or(IoError::OutOfRange { what: "the epoch of the log", lsn: Lsn::NONE })
}

fn unsound(survey: &Survey, problem: &dyn std::fmt::Display) -> IoError {
    IoError::Unsound { place: survey.place.clone(), problem: problem.to_string() }
}
