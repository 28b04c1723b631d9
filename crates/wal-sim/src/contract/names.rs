//! Clauses about names, and about the lock.

use std::io::ErrorKind;

use wal_io::Access;

use super::check::{Doing, block_of, holds, listed, names, pattern, refused, write_all};
use super::clause::Clause;

pub(super) const LISTS_HOLD_EVERY_FILE_WITH_ITS_LENGTH: Clause = Clause {
    name: "lists_hold_every_file_with_its_length",
    promise: "the list names each file once, with its length as it is now",
    check: |storage| {
        demand!(listed(storage)?.is_empty(), "a new storage is not empty");
        let file = storage.create("a.wal", 5_000).doing("creating a file")?;
        storage.create("control", 0).doing("creating another")?;
        let block = block_of(&*file);
        write_all(&*file, &[&pattern(block, 1)], 16 * block as u64)?;
        let found: Vec<_> =
            listed(storage)?.into_iter().map(|entry| (entry.name, entry.len)).collect();
        let expected = [("a.wal".to_owned(), 17 * block as u64), ("control".to_owned(), 0)];
        demand!(found == expected, "the list is {found:?}, not {expected:?}");
        Ok(())
    },
};

pub(super) const RENAMES_MOVE_A_FILE: Clause = Clause {
    name: "renames_move_a_file",
    promise: "a rename moves the file to the new name; handles follow it",
    check: |storage| {
        let file = storage.create("a.wal.tmp", 0).doing("creating a file")?;
        let data = pattern(3 * block_of(&*file), 1);
        write_all(&*file, &[&data], 0)?;
        storage.rename("a.wal.tmp", "a.wal").doing("renaming")?;
        demand!(names(storage)? == ["a.wal"], "after a rename there is {:?}", names(storage)?);
        refused(storage.open("a.wal.tmp", Access::Read), ErrorKind::NotFound, "the old name")?;
        let renamed = storage.open("a.wal", Access::Read).doing("opening the new name")?;
        holds(&*renamed, &data, "the renamed file")?;
        let data = pattern(3 * block_of(&*file), 2);
        write_all(&*file, &[&data], 0)?;
        file.sync_all().doing("a sync through the handle from before")?;
        holds(&*renamed, &data, "a write through the handle from before")
    },
};

pub(super) const RENAMES_REPLACE_A_FILE: Clause = Clause {
    name: "renames_replace_a_file",
    promise: "a rename over an existing file replaces it, whatever their lengths",
    check: |storage| {
        let old = storage.create("a.wal", 0).doing("creating the old file")?;
        let new = storage.create("b.tmp", 0).doing("creating the new file")?;
        let block = block_of(&*new);
        write_all(&*old, &[&pattern(5 * block, 1)], 0)?;
        let data = pattern(2 * block, 2);
        write_all(&*new, &[&data], 0)?;
        drop(old);
        storage.rename("b.tmp", "a.wal").doing("renaming over a file")?;
        demand!(names(storage)? == ["a.wal"], "after a rename there is {:?}", names(storage)?);
        let found = storage.open("a.wal", Access::Read).doing("opening the name")?;
        holds(&*found, &data, "the name after the rename")
    },
};

pub(super) const REMOVED_FILES_STAY_USABLE: Clause = Clause {
    name: "removed_files_stay_usable",
    promise: "a removed file is gone from the names, but open handles go on reading and writing it",
    check: |storage| {
        let file = storage.create("a.wal", 0).doing("creating a file")?;
        let reader = storage.open("a.wal", Access::Read).doing("opening to read")?;
        let block = block_of(&*file);
        let data = pattern(2 * block, 1);
        write_all(&*file, &[&data], 0)?;
        storage.remove("a.wal").doing("removing")?;
        holds(&*reader, &data, "a handle of a file just removed")?;
        demand!(names(storage)?.is_empty(), "after the removal there is {:?}", names(storage)?);
        refused(storage.open("a.wal", Access::Read), ErrorKind::NotFound, "the removed name")?;
        let data = pattern(3 * block, 2);
        write_all(&*file, &[&data], 0)?;
        holds(&*reader, &data, "another handle of the removed file")?;
        let fresh = storage.create("a.wal", 100).doing("creating the name anew")?;
        holds(&*fresh, &[0; 100], "a new file of the same name")?;
        holds(&*reader, &data, "the removed file beside a new one of its name")
    },
};

pub(super) const THE_LOCK_EXCLUDES_UNTIL_IT_IS_DROPPED: Clause = Clause {
    name: "the_lock_excludes_until_it_is_dropped",
    promise: "a second lock fails with WouldBlock until the first is dropped",
    check: |storage| {
        for _ in 0..3 {
            let lock = storage.lock().doing("taking the lock")?;
            for _ in 0..2 {
                refused(storage.lock(), ErrorKind::WouldBlock, "a second lock")?;
            }
            drop(lock);
        }
        Ok(())
    },
};

pub(super) const THE_LOCK_IS_NOT_A_FILE_OF_THE_LOG: Clause = Clause {
    name: "the_lock_is_not_a_file_of_the_log",
    promise: "taking the lock adds nothing to the list; files can be used with and without it",
    check: |storage| {
        let lock = storage.lock().doing("taking the lock")?;
        demand!(names(storage)?.is_empty(), "the lock is listed: {:?}", names(storage)?);
        storage.create("a.wal", 10).doing("creating under the lock")?;
        storage.open("a.wal", Access::Read).doing("reading under the lock")?;
        drop(lock);
        demand!(names(storage)? == ["a.wal"], "without the lock: {:?}", names(storage)?);
        storage.open("a.wal", Access::Read).doing("reading without the lock")?;
        Ok(())
    },
};

pub(super) const THE_LOCK_OF_HOLDS_EXCLUDES_BESIDE_THE_LOCK: Clause = Clause {
    name: "the_lock_of_holds_excludes_beside_the_lock",
    promise: "a second lock of holds fails with WouldBlock until the first is dropped, whoever has \
              the right to write; or every one fails with Unsupported",
    check: |storage| {
        for writing in [false, true, true] {
            let writer =
                if writing { Some(storage.lock().doing("taking the lock")?) } else { None };
            let holds = match storage.lock_holds() {
                Err(error) if error.kind() == ErrorKind::Unsupported => continue,
                taken => taken.doing("taking the lock of holds")?,
            };
            for _ in 0..2 {
                refused(storage.lock_holds(), ErrorKind::WouldBlock, "a second lock of holds")?;
            }
            demand!(names(storage)?.is_empty(), "the lock is listed: {:?}", names(storage)?);
            // Neither knows of the other: one stays when the other goes.
            drop(writer);
            let writer = storage.lock().doing("taking the lock beside that of holds")?;
            refused(storage.lock_holds(), ErrorKind::WouldBlock, "a third lock of holds")?;
            drop(holds);
            refused(storage.lock(), ErrorKind::WouldBlock, "a second lock")?;
            drop(storage.lock_holds().doing("taking the lock of holds once it is free")?);
            drop(writer);
        }
        Ok(())
    },
};

pub(super) const PLACES_HAVE_A_NAME: Clause = Clause {
    name: "places_have_a_name",
    promise: "the place has a name for people, always the same",
    check: |storage| {
        let name = storage.place();
        demand!(!name.trim().is_empty(), "the name is empty");
        demand!(name == storage.place(), "the name changes");
        Ok(())
    },
};
