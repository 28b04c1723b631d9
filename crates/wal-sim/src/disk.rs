//! The simulated disk: a [`Storage`] which can lose power at any operation.
//!
//! A thin shell over the state machine in `state` and `steps`: one lock, handles as objects, and the
//! verbs by which a test looks at the disk and cuts its power. No thread; its clock is a counter.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;
use wal_io::{Access, FileEntry, LogFile, Storage, StorageLock};

use crate::choice::{Chance, Chooser, Newest, Oldest};
use crate::fault_kind::{Call, FaultKind};
use crate::faults::Faults;
use crate::model::Model;
use crate::state::{Damage, HandleId, LastOp, State};

/// What a power cut leaves of the bytes, lengths and names which were not yet durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashMode {
    /// Nothing.
    LoseAll,
    /// Everything, as after the death of the process alone.
    KeepAll,
    /// Any legal part, drawn from the seed.
    Random(u64),
    /// As `Random`, and some surviving sectors are a mix of old and new bytes.
    Torn(u64),
}

/// So many calls may fail in a row. An engine that tries again until it succeeds would go on for
/// ever once the power is off, and nobody would learn of the case.
const IN_VAIN_MAX: u64 = 100_000;

/// A disk in memory that keeps what was written apart from what is durable.
///
/// Clones share the disk. [`crash`](Self::crash) makes another disk, as a power cut would leave it,
/// and does not touch this one: many crashes can be made of one disk. Copies share their sectors: a
/// crash state costs the tables of sectors of the files it changed, not their bytes.
///
/// What a power cut may leave, beyond the contract's clauses:
///
/// - Of a sector, any version written since it was last durable; of more than 16, the newest 16.
/// - Of a file's changes of length, the first few, in order: a cut uncovers no old bytes.
/// - Of the changes of names, any set in which each comes with all earlier changes to the same
///   names or the same file. A synced file may still lose its name, a name its contents.
///
/// The disk panics when 100,000 calls in a row have failed: an engine that tries again until it
/// succeeds never ends once the power is off. The explorer takes the panic for a failure, and names
/// the case. A loop in which some call succeeds, or that makes none, is not noticed.
///
/// ```
/// use std::io::IoSlice;
/// use wal_io::{LogFile, Storage};
/// use wal_sim::{CrashMode, SimDisk};
///
/// let disk = SimDisk::new();
/// let file = disk.create("log", 0)?;
/// file.write_at(&[IoSlice::new(b"kept")], 0)?;
/// file.sync_data()?;
/// assert!(disk.crash(CrashMode::LoseAll).names().is_empty(), "the name was not synced");
/// disk.sync_dir()?;
/// assert_eq!(disk.crash(CrashMode::LoseAll).contents("log").as_deref(), Some(&b"kept"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimDisk {
    /// All state, changed only under this lock.
    pub(crate) state: Arc<Mutex<State>>,
    /// Who is shown the disk at each operation; set before the disk is shared.
    recorder: Option<Recorder>,
}

/// Told of each operation: the disk as a power cut during it finds it. Called before the operation
/// takes effect, while the disk is locked: it must not touch the disk, and may lock what is its own.
pub(crate) type Recorder = Arc<dyn Fn(State) + Send + Sync>;

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk which takes writes at any byte.
    #[must_use]
    pub fn new() -> Self {
        Model::new().disk()
    }

    /// An empty disk whose writes must start and end at multiples of `block_bytes`.
    ///
    /// `block_bytes` is 1, or a power of two from 512 to 4,096; anything else is taken for 4,096.
    #[must_use]
    pub fn with_block_bytes(block_bytes: usize) -> Self {
        Model::new().block_bytes(block_bytes).disk()
    }

    /// What kind of device this is.
    #[must_use]
    pub fn model(&self) -> Model {
        Model::clone(&self.state.lock().model)
    }

    pub(crate) fn of(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), recorder: None }
    }

    /// This disk, shown to `recorder` at each operation that is made through it from now on.
    pub(crate) fn recorded(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Makes a call that changes something; first on a copy, for the recorder, if there is one.
    ///
    /// On the copy the power goes during the call, so that it shows what a cut at this very place
    /// would, without running anything twice.
    pub(crate) fn step<T>(&self, call: impl Fn(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.ask(|state| {
            if let Some(recorder) = self.recorder.as_ref().filter(|_| !state.off) {
                let mut twin = state.clone();
                twin.cut_at(twin.ops + 1);
                let _ = call(&mut twin);
                if twin.off {
                    recorder(twin);
                }
            }
            call(state)
        })
    }

    /// Makes a call. Whoever goes on calling a disk on which every call fails is stopped.
    ///
    /// # Panics
    ///
    /// When [`IN_VAIN_MAX`] calls in a row have failed, and again after each as many more.
    #[expect(
        clippy::panic,
        reason = "a caller that does not heed errors can be stopped by nothing else"
    )]
    pub(crate) fn ask<T>(&self, call: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        let answer = call(&mut state);
        state.in_vain = if answer.is_ok() { 0 } else { state.in_vain + 1 };
        let in_vain = state.in_vain;
        // Whoever is stopped closes files on the way out.
        drop(state);
        match answer {
            Err(error) if in_vain > 0 && in_vain.is_multiple_of(IN_VAIN_MAX) => panic!(
                "a loop that no error ends? {in_vain} calls in a row failed, the last one: {error}"
            ),
            answer => answer,
        }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    // ---- Operations and power.

    /// How many operations were begun: calls that create, write, set a length, sync, rename or
    /// remove, and that were not refused at once.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.state.lock().ops
    }

    /// The last operation begun; when the power is off, the one during which it went.
    #[must_use]
    pub fn last_op(&self) -> Option<LastOp> {
        self.state.lock().last_op()
    }

    /// Cuts the power during operation `op`, counted as by [`ops`](Self::ops) from 1.
    ///
    /// That operation reports [`SimError::PowerOff`](crate::SimError::PowerOff), as does every call
    /// of any kind after it. Nothing the operation was to make durable is; what it was to change
    /// may survive in any part. 0 cuts the power now.
    pub fn power_cut_at(&self, op: u64) {
        self.state.lock().cut_at(op);
    }

    /// Cuts the power now, between two operations.
    pub fn power_off(&self) {
        self.state.lock().off = true;
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state.lock().off
    }

    /// Whether a power cut left this disk, or one that it was left by. If not, at most processes
    /// have died, and all that was ever written is there: a check may demand it.
    #[must_use]
    pub fn lost_power(&self) -> bool {
        self.state.lock().lost_power
    }

    /// The disk as a power cut now, or the one that has happened, leaves it.
    ///
    /// It is on, nothing is pending, nobody holds its lock, and it has no faults. This disk and
    /// its handles are not changed.
    #[must_use]
    pub fn crash(&self, mode: CrashMode) -> Self {
        match mode {
            CrashMode::LoseAll => self.crash_by(&mut Oldest),
            CrashMode::KeepAll => self.crash_by(&mut Newest),
            CrashMode::Random(seed) => self.crash_by(&mut Chance::new(seed, false)),
            CrashMode::Torn(seed) => self.crash_by(&mut Chance::new(seed, true)),
        }
    }

    pub(crate) fn crash_by(&self, chooser: &mut dyn Chooser) -> Self {
        Self::of(self.state.lock().survive(chooser))
    }

    // ---- Faults.

    /// Replaces the plan of faults; its counting starts now.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// How many faults have hit, by call.
    #[must_use]
    pub fn faults_fired(&self) -> BTreeMap<Call, u64> {
        self.state.lock().fired.clone()
    }

    /// How many faults of each kind have hit.
    #[must_use]
    pub fn faults_met(&self) -> BTreeMap<FaultKind, u64> {
        self.state.lock().met.clone()
    }

    /// How many calls were made, of each sort.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<Call, u64> {
        self.state.lock().calls.clone()
    }

    /// The most bytes that the files took together.
    pub(crate) fn space_high_bytes(&self) -> u64 {
        self.state.lock().space_high_bytes
    }

    /// Simulated time since the disk was made, in microseconds: each call costs some. No real time
    /// passes.
    #[must_use]
    pub fn clock_us(&self) -> u64 {
        self.state.lock().clock_us
    }

    /// What has decayed on this disk, and on those it was left by: an oracle asks before it judges.
    #[must_use]
    pub fn damages(&self) -> Vec<Damage> {
        self.state.lock().damages.clone()
    }

    /// Lets the kernel fail to write back `name` in the background; the next sync of each handle
    /// reports it.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub fn fail_writeback(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.file_mut(name).ok_or(io::ErrorKind::NotFound)?.fail_writeback();
        Ok(())
    }

    /// Lets the page cache forget what it shows although it never reached the device.
    pub fn drop_caches(&self) {
        self.state.lock().drop_caches();
    }

    // ---- Looking.

    /// The names, sorted, as programs see them; also when the power is off.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut state = self.state.lock();
        state.learn_names(&None);
        state.files().map(|(name, _)| name.to_owned()).collect()
    }

    /// The names, sorted, with the files' lengths in bytes; also when the power is off.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64)> {
        let mut state = self.state.lock();
        state.learn_names(&None);
        state.files().map(|(name, inode)| (name.to_owned(), inode.written().len())).collect()
    }

    /// The bytes of `name` as programs see them; also when the power is off.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        state.learn(|state| state.file(name).map_or(0, |inode| inode.written().fingerprint()));
        state.file(name).map(|inode| inode.written().to_vec())
    }

    /// The bytes of `name` that are sure to survive, provided its name does.
    #[must_use]
    pub fn durable_contents(&self, name: &str) -> Option<Vec<u8>> {
        self.state.lock().file(name).map(|inode| inode.durable().to_vec())
    }

    /// A number for names and bytes as programs see them: equal disks have equal fingerprints.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut state = self.state.lock();
        state.learn(State::fingerprint);
        state.fingerprint()
    }

    /// As [`fingerprint`](Self::fingerprint), of which a watched disk knows nothing.
    pub(crate) fn look_fingerprint(&self) -> u64 {
        self.state.lock().fingerprint()
    }

    /// How many handles are open.
    #[must_use]
    pub fn open_handles(&self) -> usize {
        self.state.lock().handles.len()
    }

    /// An independent disk with the same files, what is pending included, and nothing open: what
    /// the death of the process leaves. Reads show what was written; a power cut may yet lose it.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::of(self.state.lock().fork())
    }
}

impl Model {
    /// An empty disk of this kind.
    #[must_use]
    pub fn disk(self) -> SimDisk {
        SimDisk::of(State::new(Arc::new(self)))
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let files: BTreeMap<&str, u64> =
            state.files().map(|(name, inode)| (name, inode.written().len())).collect();
        f.debug_struct("SimDisk")
            .field("ops", &state.ops)
            .field("off", &state.off)
            .field("files", &files)
            .finish_non_exhaustive()
    }
}

impl SimDisk {
    fn take(&self, lock: fn(&mut State) -> &mut bool) -> io::Result<Box<dyn StorageLock>> {
        self.ask(|state| {
            state.check_power()?;
            let taken = std::mem::replace(lock(state), true);
            if taken { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        })?;
        Ok(Box::new(SimLock(self.clone(), lock)))
    }
}

impl Storage for SimDisk {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let files = self.ask(|state| state.list(&None))?;
        Ok(files.into_iter().map(|(name, len)| FileEntry { name, len }).collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        let handle = self.step(|state| state.create(name, len))?;
        Ok(self.file(handle))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        let handle = self.ask(|state| state.open(name, access))?;
        Ok(self.file(handle))
    }

    fn overwrites_in_place(&self) -> bool {
        true
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|state| state.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|state| state.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.step(|state| state.sync_dir(&None))
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.take(|state| &mut state.locked)
    }

    fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        self.take(|state| &mut state.holds_locked)
    }

    fn place(&self) -> String {
        "simulated disk".to_owned()
    }

    /// Drawn from the disk's seed: equal runs draw equal bytes.
    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        self.state.lock().draw(buf);
        Ok(())
    }

    /// The simulated clock.
    fn unix_us(&self) -> u64 {
        self.state.lock().unix_us()
    }
}

impl SimDisk {
    fn file(&self, handle: HandleId) -> Box<dyn LogFile> {
        Box::new(SimFile { disk: self.clone(), handle })
    }
}

#[derive(Debug)]
struct SimLock(SimDisk, fn(&mut State) -> &mut bool);

impl StorageLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        *(self.1)(&mut self.0.state.lock()) = false;
    }
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    handle: HandleId,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state.lock().close(self.handle);
    }
}

impl LogFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.ask(|state| state.read(self.handle, buf, offset))
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        match bufs {
            [one] => self.disk.step(|state| state.write(self.handle, one, offset)),
            many => {
                let bytes: Vec<u8> = many.iter().flat_map(|buf| buf.iter().copied()).collect();
                self.disk.step(|state| state.write(self.handle, &bytes, offset))
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.step(|state| state.sync(self.handle))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.step(|state| state.sync(self.handle))
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.ask(|state| state.len(self.handle))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.step(|state| state.set_len(self.handle, len))
    }

    // `write_durable_at` stays as it is provided: two steps, between which the power can go.
    fn joins_sync(&self) -> bool {
        self.disk.state.lock().model.joins_sync
    }

    fn block_bytes(&self) -> usize {
        self.disk.state.lock().model.block_bytes
    }
}
