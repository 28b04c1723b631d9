//! A second thread for a scan: it reads ahead, and proves what the scan has not come to.
//!
//! ```text
//!   helper:  read and cut a run ─► (prove it, where the caller is behind) ─► runs, in order
//!   caller:  runs ─► take what is proven, prove the rest ─► records
//! ```
//!
//! Invariants: a record is handed out only if [`EpochTracker::prove`] accepted those very bytes,
//! in the memory they are handed out from, under the epoch in force there; on which thread does
//! not matter. What the helper assumed that epoch to be is compared with what it turned out to
//! be, record by record. The helper decides nothing: where it stops, fails or dies, the caller
//! reads on by itself, to the end of the scan. Memory is [`RUNS`] runs; a record longer than a run is
//! left to the caller, and an empty run stands for it.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use wal_format::{Epoch, EpochTracker, LogId, Lsn};

#[cfg(test)]
mod tests;

/// Runs in memory: one that is being read, one that is being handed out, and two between.
const RUNS: usize = 4;

/// A record that the helper proved.
#[derive(Clone, Copy, Debug)]
struct Known {
    at: Lsn,
    encoded_bytes: usize,
    /// In force from it on.
    epoch: Epoch,
}

/// When the helper proves a run that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// While the caller has more than one run before it.
    WhenBehind,
    /// Every run, or none: for tests, which may not depend on who is faster.
    #[cfg(test)]
    Fixed(bool),
}

/// Fills the buffer with the next run; its address, and the lowest epoch of a record in it. An empty
/// one begins behind a record that is left to the caller. `None` at the end, and where the caller has
/// to look by itself.
pub(super) type Cutter = Box<dyn FnMut(&mut Vec<u8>) -> Option<(Lsn, Epoch)> + Send>;

/// A run that was read.
#[derive(Debug)]
struct Held {
    start: Lsn,
    bytes: Vec<u8>,
    /// Records proven, in order, under `assumed` and what follows from it. Those behind the last
    /// are proven by nobody yet.
    proven: Vec<Known>,
    /// The epoch in force before `proven[next]`, if the assumption was right.
    assumed: Epoch,
    next: usize,
}

/// Memory to be used again, and the epoch that was in force when it came free.
#[derive(Debug)]
struct Spare {
    held: Held,
    epoch: Epoch,
}

/// The caller's side.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Runs in the order of the log; closed when the helper ends.
    runs: Option<Mutex<Receiver<Held>>>,
    spares: Option<Sender<Spare>>,
    current: Option<Held>,
    helper: Option<JoinHandle<()>>,
}

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// In the run at hand.
    Here,
    /// Before the run at hand: the caller reads it.
    Elsewhere,
    /// Behind all that the helper hands over.
    Over,
}

impl Ahead {
    /// Starts a helper that takes its runs from `cut`, the first under `epoch` where that is known;
    /// `None` where there is no thread to be had.
    pub(super) fn start(log_id: LogId, epoch: Epoch, cut: Cutter, share: Share) -> Option<Self> {
        let (sender, runs) = mpsc::channel();
        let (spares, free) = mpsc::channel();
        for _ in 0..RUNS {
            spares.send(Spare { held: Held::empty(), epoch }).ok()?;
        }
        let helper = Helper { cut, log_id, runs: sender, free, share, epoch: None, waiting: None };
        let thread = thread::Builder::new().name("wal-scan".into());
        let handle = thread.spawn(move || helper.run()).ok()?;
        Some(Self {
            runs: Some(Mutex::new(runs)),
            spares: Some(spares),
            current: None,
            helper: Some(handle),
        })
    }

    /// Goes on to the run that holds `at`, or the first behind it; `epoch` is in force there.
    #[inline]
    pub(super) fn reach(&mut self, at: Lsn, epoch: Epoch) -> Reached {
        loop {
            if let Some(held) = &self.current
                && at < held.end()
            {
                return if at < held.start { Reached::Elsewhere } else { Reached::Here };
            }
            if let Some(held) = self.current.take()
                && let Some(spares) = &self.spares
            {
                // A helper that has ended takes nothing back.
                let _ = spares.send(Spare { held, epoch });
            }
            let next = self.runs.as_mut().and_then(|runs| runs.get_mut().recv().ok());
            match next {
                Some(held) => self.current = Some(held),
                None => return Reached::Over,
            }
        }
    }

    /// The bytes of the record at `at`, in the run at hand, under the epoch that `tracker` says is in
    /// force; `None` where no valid one stands there that this version may read.
    #[inline]
    pub(super) fn take(&mut self, at: Lsn, tracker: &mut EpochTracker) -> Option<usize> {
        let held = self.current.as_mut()?;
        if let Some(known) = held.proven_at(at, tracker.epoch()) {
            if known.epoch != tracker.epoch() {
                *tracker = EpochTracker::new(tracker.log_id(), known.epoch);
            }
            return Some(known.encoded_bytes);
        }
        let proven = tracker.prove(held.bytes_at(at), at).ok()?;
        // What is not valid here is read again by the caller, and judged there.
        proven.kind.is_readable().then_some(proven.encoded_bytes)
    }

    /// The bytes at `at`, in the run at hand.
    #[inline]
    pub(super) fn held(&self, at: Lsn) -> &[u8] {
        self.current.as_ref().map_or(&[], |held| held.bytes_at(at))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // With nobody to hand over to, the helper ends at its next run.
        self.runs = None;
        self.spares = None;
        if let Some(helper) = self.helper.take() {
            // A helper that panicked has said so; what it did not prove was read here.
            let _ = helper.join();
        }
    }
}

impl Held {
    const fn empty() -> Self {
        Self {
            start: Lsn::NONE,
            bytes: Vec::new(),
            proven: Vec::new(),
            assumed: Epoch::NONE,
            next: 0,
        }
    }

    fn end(&self) -> Lsn {
        self.start.checked_add(self.bytes.len() as u64).unwrap_or(Lsn::MAX)
    }

    fn bytes_at(&self, at: Lsn) -> &[u8] {
        at.distance_from(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .and_then(|skip| self.bytes.get(skip..))
            .unwrap_or_default()
    }

    /// What the helper proved at `at`, if it did so under `epoch`.
    fn proven_at(&mut self, at: Lsn, epoch: Epoch) -> Option<Known> {
        while let Some(known) = self.proven.get(self.next) {
            let (is_here, is_behind) = (known.at == at, known.at > at);
            if is_behind || is_here && self.assumed != epoch {
                return None;
            }
            self.next += 1;
            self.assumed = known.epoch;
            if is_here {
                return Some(*known);
            }
        }
        None
    }

    /// Proves the records from the start on, as long as they are valid, assuming that `epoch` is
    /// in force there; returns the one in force behind the last.
    fn prove(&mut self, log_id: LogId, epoch: Epoch) -> Epoch {
        self.assumed = epoch;
        let mut tracker = EpochTracker::new(log_id, epoch);
        let mut offset = 0;
        while let Some(lsn) = self.start.checked_add(offset as u64) {
            let rest = self.bytes.get(offset..).unwrap_or_default();
            let Ok(proven) = tracker.prove(rest, lsn) else { break };
            if !proven.kind.is_readable() {
                break;
            }
            let encoded_bytes = proven.encoded_bytes;
            offset += encoded_bytes;
            self.proven.push(Known { at: lsn, encoded_bytes, epoch: tracker.epoch() });
        }
        self.proven.last().map_or(epoch, |known| known.epoch)
    }
}

/// The helper's side.
struct Helper {
    cut: Cutter,
    log_id: LogId,
    runs: Sender<Held>,
    free: Receiver<Spare>,
    share: Share,
    /// The highest epoch known to be in force; it never falls.
    epoch: Option<Epoch>,
    /// Memory that came free before it was needed.
    waiting: Option<Spare>,
}

impl Helper {
    /// Reads until the log ends, something is not as it should be, or nobody takes what is read.
    fn run(mut self) {
        while let Some(Spare { mut held, epoch }) =
            self.waiting.take().or_else(|| self.free.recv().ok())
        {
            self.learn(epoch);
            held.proven.clear();
            held.next = 0;
            let Some((start, lowest)) = (self.cut)(&mut held.bytes) else { return };
            held.start = start;
            if self.is_mine()
                && let Some(epoch) = self.epoch
            {
                let behind = held.prove(self.log_id, epoch.max(lowest));
                self.learn(behind);
            }
            if self.runs.send(held).is_err() {
                return;
            }
        }
    }

    /// Whether the helper proves the run at hand: nothing is free, so the caller has two before it.
    fn is_mine(&mut self) -> bool {
        match self.share {
            Share::WhenBehind => {
                self.waiting = self.free.try_recv().ok();
                self.waiting.is_none()
            }
            #[cfg(test)]
            Share::Fixed(mine) => mine,
        }
    }

    fn learn(&mut self, epoch: Epoch) {
        if epoch != Epoch::NONE {
            self.epoch = Some(self.epoch.map_or(epoch, |known| known.max(epoch)));
        }
    }
}
