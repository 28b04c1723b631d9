//! Clauses 2 to 6 of the storage contract: what a loss of power leaves.
//!
//! A clause fixes a series of calls, cuts the power under several seeds, each on a disk of its
//! own, and looks at what is there afterwards. It demands what must survive and what may not
//! appear; it never demands that something is lost, for a kinder disk is legal.

use std::io::ErrorKind;

use wal_io::{Access, LogFile, Storage};

use super::check::{
    Doing, Flaw, block_of, contents, holds, names, pattern, read_up_to, refused, same, write_all,
};
use super::clause::{Make, PowerClause, PowerCut};

/// Cuts for each series of calls.
const SEEDS: u64 = 48;

/// Blocks in the file of a clause.
const BLOCKS: usize = 8;

/// A file of [`BLOCKS`] blocks of `pattern(.., 1)`, durable together with its name.
fn durable_file(storage: &dyn Storage, name: &str) -> Result<(Box<dyn LogFile>, Vec<u8>), Flaw> {
    let file = storage.create(name, 0).doing("creating a file")?;
    let data = pattern(BLOCKS * block_of(&*file), 1);
    write_all(&*file, &[&data], 0)?;
    file.sync_all().doing("a full sync")?;
    storage.sync_dir().doing("a directory sync")?;
    Ok((file, data))
}

/// What `name` holds, if it is there.
fn found(storage: &dyn Storage, name: &str) -> Result<Option<Vec<u8>>, Flaw> {
    match storage.open(name, Access::Read) {
        Ok(file) => contents(&*file).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(format!("opening `{name}` after a cut")),
    }
}

/// Cuts the power of a new disk after `calls`, for every seed, and hands what is left to `look`.
fn after_cuts<T>(
    make: Make<'_>,
    calls: impl Fn(&dyn PowerCut, &dyn Storage) -> Result<T, Flaw>,
    look: impl Fn(&dyn Storage, T) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    (0..SEEDS).try_for_each(|seed| {
        let disk = make();
        let before = disk.storage();
        calls(&*disk, &*before)
            .and_then(|expected| look(&*disk.cut(seed), expected))
            .map_err(|flaw| Flaw(format!("seed {seed}: {}", flaw.0)))
    })
}

/// Demands that every byte is that of `old` or that of `new`.
fn old_or_new(found: &[u8], old: &[u8], new: &[u8]) -> Result<(), Flaw> {
    demand!(found.len() == old.len(), "{} bytes are left of {}", found.len(), old.len());
    let mut bytes = found.iter().zip(old.iter().zip(new));
    let alien = bytes.position(|(found, (old, new))| found != old && found != new);
    if let Some(at) = alien {
        demand!(false, "byte {at} is {:#04x}, neither the old one nor the new one", found[at]);
    }
    Ok(())
}

pub(super) const SYNCED_BYTES_SURVIVE: PowerClause = PowerClause {
    name: "synced_bytes_survive",
    promise: "bytes survive once a sync on a handle of their file, any handle, succeeded",
    check: |make| {
        for full in [false, true] {
            let calls = |_: &dyn PowerCut, storage: &dyn Storage| {
                let (file, mut expected) = durable_file(storage, "a.wal")?;
                let syncer = storage.open("a.wal", Access::Write).doing("opening a handle")?;
                let block = block_of(&*file);
                let data = pattern(3 * block, 2);
                write_all(&*file, &[&data], 2 * block as u64)?;
                expected[2 * block..5 * block].copy_from_slice(&data);
                if full { syncer.sync_all() } else { syncer.sync_data() }
                    .doing("a sync through another handle")?;
                // Not synced: it may take nothing with it.
                write_all(&*file, &[&pattern(block, 3)], 6 * block as u64)?;
                Ok((expected, 6 * block, block))
            };
            after_cuts(make, calls, |storage, (expected, doubtful, block)| {
                let left = found(storage, "a.wal")?.ok_or_else(|| Flaw("it is gone".to_owned()))?;
                demand!(left.len() == expected.len(), "the file has {} bytes", left.len());
                same(&left[..doubtful], &expected[..doubtful], "synced bytes")?;
                let behind = doubtful + block;
                same(&left[behind..], &expected[behind..], "synced bytes behind unsynced ones")
            })?;
        }
        Ok(())
    },
};

pub(super) const WRITE_THROUGH_BYTES_SURVIVE: PowerClause = PowerClause {
    name: "write_through_bytes_survive",
    promise: "bytes written through a write-through handle survive once the write returned",
    check: |make| {
        let calls = |_: &dyn PowerCut, storage: &dyn Storage| {
            let (_, mut expected) = durable_file(storage, "a.wal")?;
            let file = storage.open("a.wal", Access::WriteThrough).doing("opening")?;
            let block = block_of(&*file);
            let inside = pattern(2 * block, 2);
            write_all(&*file, &[&inside], block as u64)?;
            expected[block..3 * block].copy_from_slice(&inside);
            // Also where the write makes the file longer.
            let behind = pattern(block, 3);
            write_all(&*file, &[&behind], expected.len() as u64)?;
            expected.extend_from_slice(&behind);
            Ok(expected)
        };
        after_cuts(make, calls, |storage, expected| {
            let file = storage.open("a.wal", Access::Read).doing("opening after the cut")?;
            holds(&*file, &expected, "bytes written through")
        })
    },
};

pub(super) const SYNCED_LENGTHS_SURVIVE: PowerClause = PowerClause {
    name: "synced_lengths_survive",
    promise: "a length survives once a sync succeeded: with data if it holds them, cut or not",
    check: |make| {
        let extended = |_: &dyn PowerCut, storage: &dyn Storage| {
            let (file, mut expected) = durable_file(storage, "a.wal")?;
            let data = pattern(block_of(&*file), 2);
            write_all(&*file, &[&data], expected.len() as u64)?;
            file.sync_data().doing("a data sync after a write beyond the end")?;
            expected.extend_from_slice(&data);
            Ok(expected)
        };
        let cut = |_: &dyn PowerCut, storage: &dyn Storage| {
            let (file, mut expected) = durable_file(storage, "a.wal")?;
            let len = 2 * block_of(&*file);
            file.set_len(len as u64).doing("cutting the file")?;
            file.sync_all().doing("a full sync after cutting")?;
            expected.truncate(len);
            Ok(expected)
        };
        let look = |storage: &dyn Storage, expected: Vec<u8>| {
            let file = storage.open("a.wal", Access::Read).doing("opening after the cut")?;
            holds(&*file, &expected, "a file whose length was synced")
        };
        after_cuts(make, extended, look)?;
        after_cuts(make, cut, look)
    },
};

pub(super) const UNSYNCED_BYTES_ARE_OLD_OR_NEW: PowerClause = PowerClause {
    name: "unsynced_bytes_are_old_or_new",
    promise: "bytes not synced are what they were or what was written, and nothing else changes",
    check: |make| {
        let calls = |_: &dyn PowerCut, storage: &dyn Storage| {
            let (file, old) = durable_file(storage, "a.wal")?;
            let block = block_of(&*file);
            let mut new = old.clone();
            let data = pattern(4 * block, 2);
            write_all(&*file, &[&data], block as u64)?;
            new[block..5 * block].copy_from_slice(&data);
            Ok((old, new))
        };
        after_cuts(make, calls, |storage, (old, new)| {
            let left = found(storage, "a.wal")?.ok_or_else(|| Flaw("it is gone".to_owned()))?;
            old_or_new(&left, &old, &new)
        })
    },
};

pub(super) const SYNCED_ENTRIES_SURVIVE: PowerClause = PowerClause {
    name: "synced_entries_survive",
    promise: "creations, renamings and removals survive once a directory sync succeeded",
    check: |make| {
        let calls = |_: &dyn PowerCut, storage: &dyn Storage| {
            let (_, data) = durable_file(storage, "created.tmp")?;
            durable_file(storage, "replaced.wal")?;
            durable_file(storage, "removed.wal")?;
            storage.rename("created.tmp", "replaced.wal").doing("renaming")?;
            storage.remove("removed.wal").doing("removing")?;
            let fresh = storage.create("fresh.wal", 4096).doing("creating")?;
            fresh.sync_all().doing("a full sync")?;
            storage.sync_dir().doing("a directory sync")?;
            Ok(data)
        };
        after_cuts(make, calls, |storage, data| {
            let left = names(storage)?;
            demand!(left == ["fresh.wal", "replaced.wal"], "the cut left {left:?}");
            same(&found(storage, "replaced.wal")?.unwrap_or_default(), &data, "the renamed file")?;
            same(&found(storage, "fresh.wal")?.unwrap_or_default(), &[0; 4096], "the new file")
        })
    },
};

pub(super) const UNSYNCED_ENTRIES_ARE_OLD_OR_NEW: PowerClause = PowerClause {
    name: "unsynced_entries_are_old_or_new",
    promise: "without a directory sync each change of names happened or did not, nothing else",
    check: |make| {
        let calls = |_: &dyn PowerCut, storage: &dyn Storage| {
            let (_, data) = durable_file(storage, "kept.wal")?;
            durable_file(storage, "removed.wal")?;
            storage.remove("removed.wal").doing("removing")?;
            let fresh = storage.create("fresh.wal", 4096).doing("creating")?;
            fresh.sync_all().doing("a full sync")?;
            Ok(data)
        };
        after_cuts(make, calls, |storage, data| {
            for name in names(storage)? {
                let expected = match name.as_str() {
                    "kept.wal" | "removed.wal" => &data[..],
                    "fresh.wal" => &[0; 4096],
                    _ => return Err(Flaw(format!("the cut left `{name}`"))),
                };
                same(&found(storage, &name)?.unwrap_or_default(), expected, &name)?;
            }
            let kept = found(storage, "kept.wal")?;
            demand!(kept.is_some(), "a file that was not touched is gone");
            Ok(())
        })
    },
};

pub(super) const RENAMES_ARE_ATOMIC: PowerClause = PowerClause {
    name: "renames_are_atomic",
    promise: "a cut leaves a rename done or not done: either name, never both, never neither",
    check: |make| {
        for replacing in [false, true] {
            let calls = |_: &dyn PowerCut, storage: &dyn Storage| {
                let (file, old) = durable_file(storage, "from.tmp")?;
                let new = pattern(old.len(), 2);
                write_all(&*file, &[&new], 0)?;
                file.sync_all().doing("a full sync")?;
                if replacing {
                    durable_file(storage, "to.wal")?;
                }
                storage.rename("from.tmp", "to.wal").doing("renaming")?;
                Ok((replacing.then_some(old), new))
            };
            after_cuts(make, calls, |storage, (old, new)| {
                let (from, to) = (found(storage, "from.tmp")?, found(storage, "to.wal")?);
                let done = from.is_none() && to.as_ref() == Some(&new);
                let not_done = from.as_ref() == Some(&new) && to == old;
                let describe = |file: &Option<Vec<u8>>| match file {
                    None => "is missing",
                    Some(bytes) if *bytes == new => "holds the new file",
                    Some(bytes) if Some(bytes) == old.as_ref() => "holds the old file",
                    Some(_) => "holds neither file",
                };
                demand!(
                    done || not_done,
                    "the old name {}, the new name {}",
                    describe(&from),
                    describe(&to)
                );
                Ok(())
            })?;
        }
        Ok(())
    },
};

pub(super) const FAILED_SYNCS_ARE_REPORTED: PowerClause = PowerClause {
    name: "failed_syncs_are_reported",
    promise: "a sync that fails says so; what it covered is then old or new, also after another",
    check: |make| {
        let calls = |disk: &dyn PowerCut, storage: &dyn Storage| {
            let (file, old) = durable_file(storage, "a.wal")?;
            let new = pattern(old.len(), 2);
            write_all(&*file, &[&new], 0)?;
            if disk.fail_next_sync() {
                let result = file.sync_data();
                demand!(result.is_err(), "a sync which the device failed returned success");
                // Whatever this one says, it proves nothing of the bytes before.
                let _ = file.sync_data();
            }
            Ok((old, new))
        };
        after_cuts(make, calls, |storage, (old, new)| {
            let left = found(storage, "a.wal")?.ok_or_else(|| Flaw("it is gone".to_owned()))?;
            old_or_new(&left, &old, &new)
        })
    },
};

pub(super) const FAILED_SYNCS_ARE_TOLD_TO_EVERY_HANDLE: PowerClause = PowerClause {
    name: "failed_syncs_are_told_to_every_handle",
    promise: "a handle's own sync reports a failure, even if another handle's has reported it",
    check: |make| {
        let disk = make();
        let storage = disk.storage();
        let (first, data) = durable_file(&*storage, "a.wal")?;
        let second = storage.open("a.wal", Access::Write).doing("opening a second handle")?;
        let block = block_of(&*first);
        write_all(&*first, &[&pattern(block, 2)], 0)?;
        write_all(&*second, &[&pattern(block, 3)], (data.len() - block) as u64)?;
        if disk.fail_next_sync() {
            let result = first.sync_data();
            demand!(result.is_err(), "a sync which the device failed returned success");
            // It covered the bytes of the second handle as well: they may be lost (rule 6).
            let result = second.sync_data();
            demand!(result.is_err(), "the second handle never learned that its bytes may be lost");
        }
        Ok(())
    },
};

pub(super) const POWER_CUTS_FREE_THE_LOCK: PowerClause = PowerClause {
    name: "power_cuts_free_the_lock",
    promise: "a lock dies with the power, and handles from before change nothing afterwards",
    check: |make| {
        let disk = make();
        let before = disk.storage();
        let guard = before.lock().doing("taking the lock")?;
        refused(before.lock(), ErrorKind::WouldBlock, "a second lock")?;
        let (file, data) = durable_file(&*before, "a.wal")?;
        let after = disk.cut(0);
        let lock = after.lock().doing("taking the lock after the cut")?;
        // Both may fail or be ignored, as nobody has a use for the answers.
        let block = block_of(&*file);
        let _ = write_all(&*file, &[&pattern(block, 2)], 0);
        drop(guard);
        let survivor = after.open("a.wal", Access::Read).doing("opening after the cut")?;
        same(&read_up_to(&*survivor, data.len(), 0)?, &data, "a file written to from before")?;
        refused(after.lock(), ErrorKind::WouldBlock, "a lock beside the one after the cut")?;
        drop(lock);
        Ok(())
    },
};
