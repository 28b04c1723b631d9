//! A log that has been in use for a while, as those of other libraries are whose files are written
//! and recycled before the clock starts.
//!
//! Its segments are of full length, what was truncated is used again, and a checkpoint goes on
//! truncating it while commits are timed, as that of an engine does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use wal::Wal;

use crate::peer::Failure;

/// Bytes of log from one checkpoint to the next.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// Files that were kept to be used again before the log counts as in use: then it writes to such ones.
const RECYCLED: u64 = 4;

/// Where no file is used again, as on a filesystem that never overwrites, so much is written.
const USED_BYTES_MAX: u64 = 1 << 30;

/// So many segments of full length hold all that a log makes before its first one of these, and one more.
const SEGMENTS_GROWING: u64 = 4;

const RECORD_BYTES: usize = 256 << 10;

/// With fewer it would take long, and files would be no different.
const SYNC_BYTES_MIN: usize = 16 << 10;

/// Appends and truncates until the files which are written to are those of segments before, with
/// about `sync_bytes` a sync: what a log makes of its files depends on that.
///
/// # Errors
///
/// The log's own.
pub(crate) fn use_for_a_while(wal: &Wal, sync_bytes: usize) -> Result<(), Failure> {
    let body = vec![0; sync_bytes.clamp(SYNC_BYTES_MIN, RECORD_BYTES)];
    let (mut recycled, mut since) = (0, 0);
    while recycled < RECYCLED && wal.positions().reserved.get() < USED_BYTES_MAX {
        wal.append(&body)?.wait_durable()?;
        since += body.len() as u64;
        if since >= CHECKPOINT_BYTES {
            since = 0;
            recycled += wal.truncate_before(wal.positions().durable)?.recycled;
        }
    }
    Ok(())
}

/// Appends and truncates so that `count` files are there to be used again, of a log that keeps as
/// many, and whose segments have `segment_bytes`.
///
/// # Errors
///
/// When fewer are; or the log's own.
pub(crate) fn retire(wal: &Wal, count: u64, segment_bytes: u64) -> Result<(), Failure> {
    let body = vec![0; RECORD_BYTES];
    let bytes = wal.positions().reserved.get() + (SEGMENTS_GROWING + count) * segment_bytes;
    while wal.positions().reserved.get() < bytes {
        wal.append_untracked(&body)?;
    }
    wal.append(&[])?.wait_durable()?;
    match wal.truncate_before(wal.positions().durable)?.recycled {
        recycled if recycled >= count => Ok(()),
        recycled => Err(format!("only {recycled} of {count} files can be used again").into()),
    }
}

/// A thread which truncates the log whenever it is so much longer, until this is dropped.
pub(crate) struct Checkpoints {
    /// The durable end at which the next one is due.
    due_at: AtomicU64,
    /// Why the thread has ended, if it has.
    failed: Arc<OnceLock<String>>,
    due: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(crate) fn start(wal: &Arc<Wal>) -> Self {
        let (due, asked) = mpsc::channel();
        let failed = Arc::new(OnceLock::new());
        let (log, failure) = (Arc::clone(wal), Arc::clone(&failed));
        let thread = thread::spawn(move || {
            for () in asked {
                if let Err(error) = log.truncate_before(log.positions().durable) {
                    let _ = failure.set(error.to_string());
                    return;
                }
            }
        });
        let due_at = AtomicU64::new(wal.positions().durable.get() + CHECKPOINT_BYTES);
        Self { due_at, failed, due: Some(due), thread: Some(thread) }
    }

    /// A commit is durable: the one after so many bytes asks for a checkpoint.
    ///
    /// # Errors
    ///
    /// When the log is not truncated any more.
    pub(crate) fn committed(&self, wal: &Wal) -> Result<(), Failure> {
        if let Some(failed) = self.failed.get() {
            return Err(format!("not truncated: {failed}").into());
        }
        let durable = wal.positions().durable.get();
        let due_at = self.due_at.load(Ordering::Relaxed);
        let is_first = || {
            let (relaxed, next) = (Ordering::Relaxed, durable + CHECKPOINT_BYTES);
            self.due_at.compare_exchange(due_at, next, relaxed, relaxed).is_ok()
        };
        if durable >= due_at
            && is_first()
            && let Some(due) = &self.due
        {
            due.send(()).map_err(|_| "the thread which truncates has ended")?;
        }
        Ok(())
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        drop(self.due.take());
        if let Some(thread) = self.thread.take() {
            // Whoever asked it for more was told.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline;
    use wal::{FileStorage, ReplayRecord, Storage};

    /// Whether truncated segments are kept to be used again: not where writes copy.
    fn recycles(dir: &std::path::Path) -> bool {
        let storage = FileStorage::open(dir).unwrap();
        let recycles = storage.overwrites_in_place();
        if !recycles {
            eprintln!("SKIPPED: no file is used again on {}", storage.filesystem());
        }
        recycles
    }

    #[test]
    fn a_log_in_use_has_files_to_use_again_and_is_truncated_as_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        if !recycles(dir.path()) {
            return;
        }
        let replay = |_: &ReplayRecord<'_>| Ok::<(), std::io::Error>(());
        let options = baseline::options().segment_bytes(8 << 20);
        let wal = Arc::new(Wal::open(dir.path().join("log"), options, replay).unwrap());
        use_for_a_while(&wal, 128).unwrap();
        let (used, head) = (wal.positions().durable, wal.head());
        assert!(used.get() < USED_BYTES_MAX && used.get() - head.get() < CHECKPOINT_BYTES);
        let checkpoints = Checkpoints::start(&wal);
        checkpoints.committed(&wal).unwrap();
        assert_eq!(wal.head(), head, "none is due yet");
        let body = vec![0; RECORD_BYTES];
        while wal.positions().durable.get() < used.get() + CHECKPOINT_BYTES {
            wal.append(&body).unwrap().wait_durable().unwrap();
        }
        checkpoints.committed(&wal).unwrap();
        checkpoints.committed(&wal).unwrap();
        drop(checkpoints);
        assert!(wal.head() > used, "truncated");
    }

    #[test]
    fn a_log_that_is_not_truncated_any_more_is_no_result() {
        let dir = tempfile::tempdir().unwrap();
        let replay = |_: &ReplayRecord<'_>| Ok::<(), std::io::Error>(());
        let wal = Arc::new(Wal::open(dir.path().join("log"), baseline::options(), replay).unwrap());
        let checkpoints = Checkpoints::start(&wal);
        checkpoints.due_at.store(0, Ordering::Relaxed);
        wal.close().unwrap();
        checkpoints.committed(&wal).unwrap();
        let told = (0..60_000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            checkpoints.committed(&wal).err()
        });
        assert!(told.unwrap().to_string().starts_with("not truncated: "));
    }

    #[test]
    fn files_to_use_again_are_there_or_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        if !recycles(dir.path()) {
            return;
        }
        let replay = |_: &ReplayRecord<'_>| Ok::<(), std::io::Error>(());
        let options = baseline::options().segment_bytes(2 << 20).recycled_segments(3);
        let wal = Wal::open(dir.path().join("log"), options, replay).unwrap();
        retire(&wal, 3, 2 << 20).unwrap();
        let names = std::fs::read_dir(dir.path().join("log")).unwrap();
        let old =
            names.filter(|it| it.as_ref().unwrap().path().extension() == Some("old".as_ref()));
        // One of them may be on its way to be the next segment already.
        assert!(old.count() >= 2);
        let error = retire(&wal, 9, 2 << 20).unwrap_err();
        assert!(error.to_string().contains("of 9 files"), "{error}");
    }
}
