//! The whole disk as one value: a copy of it is another disk.
//!
//! Holds files, names, handles, power, the plan of faults and the clock; what each call does is in
//! `steps`, what a power cut leaves in `after`. Steps are numbered: each call that changes anything
//! is one operation. When the power is cut during an operation, what it was to do is done in the
//! cache, where it may or may not survive, and the caller is told that the power is off. A cut
//! during operation n therefore allows all that a cut between n - 1 and n allows.
//!
//! A disk that is *watched* folds whatever a program learns of it into one number: two disks on
//! which a deterministic program ends with equal numbers differ in nothing that it read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use wal_io::Access;

use crate::directory::{Directory, Ino, Within, lies};
use crate::fault_kind::{Call, FaultKind};
use crate::faults::{Effect, Faults, SimError};
use crate::image::Image;
use crate::inode::{Inode, Mark};
use crate::model::Model;
use crate::random::{SimRng, fold, fold_bytes};
use crate::remains::Loss;

/// When simulated time begins: the first of January 2025.
const EPOCH_US: u64 = 1_735_689_600_000_000;

/// How many removed files are remembered, for their space to be given to others.
const REMOVED_MAX: usize = 4;

/// The number of an open file.
pub(crate) type HandleId = u64;

/// Everything a disk is.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) model: Arc<Model>,
    pub(crate) dir: Directory,
    pub(crate) inodes: BTreeMap<Ino, Arc<Inode>>,
    pub(crate) handles: BTreeMap<HandleId, Handle>,
    pub(crate) next_id: u64,
    pub(crate) locked: bool,
    pub(crate) holds_locked: bool,
    /// Locks of directories of the disk that are held, by their names.
    pub(crate) locked_in: BTreeSet<String>,
    pub(crate) faults: Faults,
    /// Faults that hit, and calls that were made.
    pub(crate) fired: BTreeMap<Call, u64>,
    pub(crate) met: BTreeMap<FaultKind, u64>,
    pub(crate) calls: BTreeMap<Call, u64>,
    /// Operations begun.
    pub(crate) ops: u64,
    /// The operation during which the power goes.
    pub(crate) cut_at: Option<u64>,
    pub(crate) off: bool,
    /// A power cut left this disk, or one that it was left by.
    pub(crate) lost_power: bool,
    /// Calls that failed since one succeeded.
    pub(crate) in_vain: u64,
    pub(crate) last: Option<(Call, Arc<str>)>,
    /// What identities are drawn from.
    pub(crate) entropy: SimRng,
    /// Microseconds since the disk was made.
    pub(crate) clock_us: u64,
    /// What was learned of a watched disk.
    pub(crate) learned: Option<u64>,
    /// Syncs which returned before they had an effect, oldest first.
    pub(crate) lies: VecDeque<Lie>,
    pub(crate) syncs: u64,
    /// What removed files held, oldest first.
    pub(crate) removed: VecDeque<Image>,
    /// The most bytes that all files took together.
    pub(crate) space_high_bytes: u64,
    /// What the power cut did that left this disk.
    pub(crate) loss: Loss,
    /// What decayed since.
    pub(crate) damages: Vec<Damage>,
}

/// A sync that has yet to happen.
#[derive(Clone, Debug)]
pub(crate) struct Lie {
    /// The number of the sync after which it happens.
    due: u64,
    what: Synced,
}

/// What a sync covers.
#[derive(Clone, Debug)]
pub(crate) enum Synced {
    File(Ino, Mark),
    Directory(u64, Within),
}

/// Decay of a durable file, made by a test or by the explorer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What happened.
    pub kind: FaultKind,
    /// The file, by its name then.
    pub file: String,
    /// The sector, counted from 0 in sectors of the disk.
    pub sector: u64,
}

/// An open file description: what Linux keeps per `open`, the error state included.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) ino: Ino,
    pub(crate) name: Arc<str>,
    pub(crate) access: Access,
    /// Write-back errors of the file which this handle has reported.
    pub(crate) errors_seen: u64,
}

/// The last operation begun; when the power is off, the one it was cut in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOp {
    /// Its number, from 1.
    pub op: u64,
    /// What was called.
    pub call: Call,
    /// On which file, by the name it was opened under; empty for the directory.
    pub name: String,
}

/// What is to happen in a step that was let through.
pub(crate) struct Step {
    /// The power goes during this operation.
    pub(crate) dying: bool,
    pub(crate) effect: Option<Effect>,
}

impl State {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        let entropy = SimRng::new(model.seed);
        Self {
            model,
            dir: Directory::default(),
            inodes: BTreeMap::new(),
            handles: BTreeMap::new(),
            next_id: 1,
            locked: false,
            holds_locked: false,
            locked_in: BTreeSet::new(),
            faults: Faults::default(),
            fired: BTreeMap::new(),
            met: BTreeMap::new(),
            calls: BTreeMap::new(),
            ops: 0,
            cut_at: None,
            off: false,
            lost_power: false,
            in_vain: 0,
            last: None,
            entropy,
            clock_us: 0,
            learned: None,
            lies: VecDeque::new(),
            syncs: 0,
            removed: VecDeque::new(),
            space_high_bytes: 0,
            loss: Loss::default(),
            damages: Vec::new(),
        }
    }

    // ---- Power, chance and time.

    pub(crate) fn check_power(&self) -> io::Result<()> {
        if self.off { Err(SimError::PowerOff.into()) } else { Ok(()) }
    }

    pub(crate) fn cut_at(&mut self, op: u64) {
        self.cut_at = Some(op);
        self.off |= op == 0;
    }

    pub(crate) fn last_op(&self) -> Option<LastOp> {
        let (call, name) = self.last.as_ref()?;
        Some(LastOp { op: self.ops, call: *call, name: name.to_string() })
    }

    pub(crate) fn draw(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            chunk.copy_from_slice(&self.entropy.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    pub(crate) fn unix_us(&self) -> u64 {
        EPOCH_US + self.clock_us
    }

    /// Numbers the call and asks the plan what is to go wrong with it.
    pub(crate) fn begin(&mut self, call: Call, name: &Arc<str>) -> io::Result<Step> {
        self.check_power()?;
        self.clock_us += cost_us(call);
        *self.calls.entry(call).or_default() += 1;
        if call.changes() {
            self.ops += 1;
            self.last = Some((call, Arc::clone(name)));
            self.off = self.cut_at.is_some_and(|cut| self.ops >= cut);
        }
        let effect = self.faults.meet(call, name);
        if let Some(effect) = effect {
            *self.fired.entry(call).or_default() += 1;
            self.meet(effect.kind(call));
            if let Effect::Slow(us) = effect {
                self.clock_us += us;
            }
        }
        if effect == Some(Effect::Interrupt) && !self.off {
            return Err(io::ErrorKind::Interrupted.into());
        }
        // An operation cut short by the power has no other fault besides.
        Ok(Step { dying: self.off, effect: effect.filter(|_| !self.off) })
    }

    /// Counts a fault.
    pub(crate) fn meet(&mut self, kind: FaultKind) {
        *self.met.entry(kind).or_default() += 1;
    }

    // ---- What programs learn.

    /// From now on, what is learned is folded into one number.
    pub(crate) fn watch(&mut self) {
        self.learned = Some(0);
    }

    pub(crate) fn learned(&self) -> u64 {
        self.learned.unwrap_or(0)
    }

    /// A program learned `fact`.
    pub(crate) fn learn(&mut self, fact: impl FnOnce(&Self) -> u64) {
        if let Some(learned) = self.learned {
            self.learned = Some(fold(learned, fact(self)));
        }
    }

    /// A program learned which files there are, and their lengths.
    pub(crate) fn learn_names(&mut self, within: &Within) {
        self.learn(|state| {
            let files = state.files().filter(|(name, _)| lies(name, within));
            files.fold(1, |hash, (name, inode)| {
                fold(fold_bytes(hash, name.as_bytes()), inode.written().len())
            })
        });
    }

    /// Remembers decay, for the oracle.
    pub(crate) fn note_damage(&mut self, kind: FaultKind, file: &str, sector: u64) {
        self.damages.push(Damage { kind, file: file.to_owned(), sector });
    }

    // ---- Syncs, some of which lie.

    /// Makes something durable, now or, if the cache lies, after some more syncs.
    pub(crate) fn settle(&mut self, what: Synced) {
        self.syncs += 1;
        if self.model.lies == 0 {
            return self.apply(what);
        }
        self.meet(FaultKind::LyingSync);
        self.lies.push_back(Lie { due: self.syncs + self.model.lies, what });
        while self.lies.front().is_some_and(|lie| lie.due <= self.syncs) {
            if let Some(lie) = self.lies.pop_front() {
                self.apply(lie.what);
            }
        }
    }

    fn apply(&mut self, what: Synced) {
        match what {
            Synced::File(ino, mark) => {
                if let Some(inode) = self.inodes.get_mut(&ino) {
                    Arc::make_mut(inode).sync_to(mark);
                }
            }
            Synced::Directory(mark, within) => {
                self.dir.sync_to(mark, within);
                self.forget_unreachable();
            }
        }
    }

    // ---- Files, by name, number and handle.

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &Inode)> {
        self.dir
            .written()
            .iter()
            .filter_map(|(name, ino)| Some((&**name, &**self.inodes.get(ino)?)))
    }

    pub(crate) fn file(&self, name: &str) -> Option<&Inode> {
        self.inodes.get(self.dir.written().get(name)?).map(|inode| &**inode)
    }

    pub(crate) fn file_mut(&mut self, name: &str) -> Option<&mut Inode> {
        self.inodes.get_mut(self.dir.written().get(name)?).map(Arc::make_mut)
    }

    /// Adds, replaces or, without an image, removes a file; durable at once.
    pub(crate) fn put(&mut self, name: &str, image: Option<Image>) {
        let mut entries = self.dir.written().clone();
        entries.remove(name);
        if let Some(image) = image {
            let ino = self.take_id();
            self.inodes.insert(ino, Arc::new(Inode::settled(image)));
            entries.insert(name.into(), ino);
        }
        self.dir = Directory::settled(entries);
        self.forget_unreachable();
    }

    pub(crate) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(crate) fn add_handle(&mut self, ino: Ino, name: &str, access: Access) -> HandleId {
        let id = self.take_id();
        let errors_seen = self.inodes.get(&ino).map_or(0, |inode| inode.error_sample());
        self.handles.insert(id, Handle { ino, name: name.into(), access, errors_seen });
        id
    }

    pub(crate) fn find(&self, name: &str) -> io::Result<Ino> {
        self.dir.written().get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(crate) fn handle(&self, handle: HandleId) -> io::Result<(Ino, Arc<str>)> {
        let handle = self.handles.get(&handle).ok_or_else(stale)?;
        Ok((handle.ino, Arc::clone(&handle.name)))
    }

    pub(crate) fn access(&self, handle: HandleId) -> io::Result<Access> {
        self.handles.get(&handle).map(|handle| handle.access).ok_or_else(stale)
    }

    pub(crate) fn writable(&self, handle: HandleId) -> io::Result<(Ino, Arc<str>)> {
        match self.access(handle)? {
            Access::Write | Access::WriteThrough => self.handle(handle),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    pub(crate) fn inode(&self, ino: Ino) -> io::Result<&Inode> {
        self.inodes.get(&ino).map(|inode| &**inode).ok_or_else(stale)
    }

    pub(crate) fn inode_mut(&mut self, ino: Ino) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&ino).map(Arc::make_mut).ok_or_else(stale)
    }

    // ---- Space.

    fn space_taken(&self) -> u64 {
        self.inodes.values().map(|inode| inode.written().len()).fold(0, u64::saturating_add)
    }

    /// Remembers how much room a run needs.
    pub(crate) fn note_space(&mut self) {
        self.space_high_bytes = self.space_high_bytes.max(self.space_taken());
    }

    /// Files without a name keep their space while they are open, as everywhere.
    pub(crate) fn space_left(&self) -> u64 {
        let Some(space) = self.faults.space() else { return u64::MAX };
        space.saturating_sub(self.space_taken())
    }

    /// How many bytes can be written at `offset` before the device is full.
    pub(crate) fn room_at(&self, ino: Ino, offset: u64) -> io::Result<usize> {
        let end = self.space_left().saturating_add(self.inode(ino)?.written().len());
        Ok(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX))
    }

    /// Drops files which no handle holds and which no power cut can bring back.
    pub(crate) fn forget_unreachable(&mut self) {
        let (dir, handles, removed) = (&self.dir, &self.handles, &mut self.removed);
        let recycles = self.model.recycles;
        self.inodes.retain(|&ino, inode| {
            let kept = dir.may_name(ino) || handles.values().any(|handle| handle.ino == ino);
            if !kept && recycles && inode.durable().stored() > 0 {
                removed.push_back(inode.durable().clone());
            }
            kept
        });
        while self.removed.len() > REMOVED_MAX {
            self.removed.pop_front();
        }
    }
}

/// What a call costs in simulated time: the orders of magnitude of a fast drive.
const fn cost_us(call: Call) -> u64 {
    match call {
        Call::Sync | Call::SyncDir => 1000,
        Call::Create | Call::Rename | Call::Remove | Call::SetLen => 50,
        Call::Read | Call::Write => 10,
        Call::List | Call::Open => 5,
    }
}

/// A handle of a disk that was replaced under it; cannot happen through the public interface.
pub(crate) fn stale() -> io::Error {
    io::Error::other("the handle belongs to no open file")
}
