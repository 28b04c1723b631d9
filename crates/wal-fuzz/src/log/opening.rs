//! Looking at a log and opening it, and what either shows.

use std::io;
use std::sync::Arc;

use wal::{
    ErrorKind, LogView, Options, RedoOnly, RedoTarget, ReplayRecord, Storage, Threads, Verdict, Wal,
};

use super::files::{Files, Place};

/// What replays, in order: address and body.
pub(super) type Replayed = Vec<(u64, Vec<u8>)>;

/// Small segments and no thread: quick, and the same on every run.
fn options() -> Options {
    Options::default().segment_bytes(64 << 10).buffer_bytes(16 << 10).threads(Threads::None)
}

/// Verdict and records, or why nothing could be concluded.
pub(super) fn look_once(files: &Files) -> Result<(Verdict, Replayed), ErrorKind> {
    let view = LogView::open_in(Place::of(files)).map_err(|error| error.kind())?;
    assert!(view.head() <= view.end(), "the log ends before it begins");
    let mut replayed = Replayed::new();
    let outcome = view.replay(&mut |record: &ReplayRecord<'_>| {
        replayed.push((record.lsn.get(), record.body.to_vec()));
        Ok::<(), io::Error>(())
    });
    // A look at a damaged log may end early; what it showed until then must be true all the same.
    let _ = outcome;
    Ok((view.verdict().clone(), replayed))
}

/// An engine which writes down what replays, and whose checkpoints hold nothing.
#[derive(Default)]
struct Collector {
    replayed: Replayed,
}

impl RedoTarget for Collector {
    type Error = io::Error;

    fn redo(&mut self, record: &ReplayRecord<'_>) -> io::Result<()> {
        self.replayed.push((record.lsn.get(), record.body.to_vec()));
        Ok(())
    }
}

/// Opens a log for writing.
pub(super) fn opened(storage: &Arc<dyn Storage>) -> Result<(Wal, Replayed), ErrorKind> {
    let mut engine = Collector::default();
    let wal = options()
        .recover_with(RedoOnly::default())
        .open_in(Arc::clone(storage), &mut engine)
        .map_err(|error| error.kind())?;
    Ok((wal, engine.replayed))
}
