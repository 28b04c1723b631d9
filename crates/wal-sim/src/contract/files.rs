//! Clauses about the bytes of one file.

use std::io::{ErrorKind, IoSlice};

use wal_io::{Access, Storage};

use super::check::{
    Doing, Flaw, block_of, contents, holds, pattern, read_up_to, refused, same, write_all,
};
use super::clause::Clause;

pub(super) const CREATED_FILES_HOLD_ZEROS: Clause = Clause {
    name: "created_files_hold_zeros",
    promise: "a new file has the length asked for and holds zeros, whatever was there before",
    check: |storage| {
        for len in [0, 1, 4095, 4096, 70_000] {
            let file = storage.create("a.wal", len).doing(format!("creating {len} bytes"))?;
            holds(&*file, &vec![0; len as usize], "a new file")?;
            let block = block_of(&*file);
            write_all(&*file, &[&pattern(20 * block, 1)], 0)?;
            drop(file);
            storage.remove("a.wal").doing("removing the file")?;
        }
        Ok(())
    },
};

pub(super) const CREATING_AN_EXISTING_NAME_IS_REFUSED: Clause = Clause {
    name: "creating_an_existing_name_is_refused",
    promise: "creating a name that exists fails with AlreadyExists and changes nothing",
    check: |storage| {
        let file = storage.create("a.wal", 0).doing("creating a file")?;
        let data = pattern(block_of(&*file), 1);
        write_all(&*file, &[&data], 0)?;
        for len in [0, 8192] {
            refused(storage.create("a.wal", len), ErrorKind::AlreadyExists, "a second creation")?;
        }
        holds(&*file, &data, "after the refusal")
    },
};

pub(super) const MISSING_NAMES_ARE_NOT_FOUND: Clause = Clause {
    name: "missing_names_are_not_found",
    promise: "opening, renaming and removing a missing name fail with NotFound",
    check: |storage| {
        let file = storage.create("b.wal", 0).doing("creating a file")?;
        let data = pattern(block_of(&*file), 1);
        write_all(&*file, &[&data], 0)?;
        for access in [Access::Read, Access::Write, Access::WriteThrough] {
            let result = storage.open("a.wal", access);
            refused(result, ErrorKind::NotFound, format!("opening for {access:?}"))?;
        }
        refused(storage.remove("a.wal"), ErrorKind::NotFound, "removing")?;
        refused(storage.rename("a.wal", "b.wal"), ErrorKind::NotFound, "renaming")?;
        let again = storage.open("b.wal", Access::Read).doing("opening the file that exists")?;
        holds(&*again, &data, "the target of a rename that failed")
    },
};

pub(super) const WRITES_ARE_READ_BACK_BY_EVERY_HANDLE: Clause = Clause {
    name: "writes_are_read_back_by_every_handle",
    promise: "bytes written are read back at once by every handle of the file",
    check: |storage| {
        let first = storage.create("a.wal", 65_536).doing("creating a file")?;
        let reader = storage.open("a.wal", Access::Read).doing("opening to read")?;
        let second = storage.open("a.wal", Access::Write).doing("opening to write")?;
        let through =
            storage.open("a.wal", Access::WriteThrough).doing("opening to write through")?;
        let block = block_of(&*first);
        let mut expected = vec![0; 65_536];
        // Each round writes over a part of the round before, through another handle.
        for (salt, writer) in [&first, &second, &through, &first].into_iter().enumerate() {
            let start = salt * block;
            let data = pattern(4 * block, salt as u8);
            write_all(&**writer, &[&data], start as u64)?;
            expected[start..start + data.len()].copy_from_slice(&data);
            for handle in [&first, &reader, &second, &through] {
                holds(&**handle, &expected, "another handle")?;
            }
        }
        let late = storage.open("a.wal", Access::Read).doing("opening later")?;
        holds(&*late, &expected, "a handle opened later")
    },
};

pub(super) const READS_STOP_AT_THE_END: Clause = Clause {
    name: "reads_stop_at_the_end",
    promise: "a read across the end is short, one at or beyond it returns 0",
    check: |storage| {
        let file = storage.create("a.wal", 10_000).doing("creating a file")?;
        for (offset, expected) in [(9_000, 1_000), (9_999, 1), (10_000, 0), (10_001, 0)] {
            let found = read_up_to(&*file, 3_000, offset)?.len();
            demand!(found == expected, "{found} bytes at {offset} of 10,000, not {expected}");
        }
        for offset in [1 << 40, i64::MAX as u64, u64::MAX - 4096, u64::MAX] {
            let read = file.read_at(&mut [0; 16], offset).doing(format!("reading at {offset}"))?;
            demand!(read == 0, "{read} bytes read at {offset}, far beyond the end");
        }
        let read = file.read_at(&mut [], 0).doing("reading nothing")?;
        demand!(read == 0, "{read} bytes read into an empty buffer");
        Ok(())
    },
};

pub(super) const ANY_OFFSET_AND_LENGTH_CAN_BE_READ: Clause = Clause {
    name: "any_offset_and_length_can_be_read",
    promise: "reads need no alignment, whatever writes need",
    check: |storage| {
        let file = storage.create("a.wal", 0).doing("creating a file")?;
        let data = pattern(32_768, 3);
        write_all(&*file, &[&data], 0)?;
        for offset in [0, 1, 7, 511, 512, 513, 4095, 4096, 4097, 20_000] {
            for len in [1, 2, 24, 511, 512, 4096, 4097, 12_000] {
                let found = read_up_to(&*file, len, offset as u64)?;
                same(&found, &data[offset..offset + len], &format!("{len} bytes at {offset}"))?;
            }
        }
        Ok(())
    },
};

pub(super) const WRITES_BEYOND_THE_END_LEAVE_ZEROS_BEFORE_THEM: Clause = Clause {
    name: "writes_beyond_the_end_leave_zeros_before_them",
    promise: "a write beyond the end extends the file; what lies between is zeros",
    check: |storage| {
        let file = storage.create("a.wal", 0).doing("creating a file")?;
        let block = block_of(&*file);
        let data = pattern(block, 1);
        write_all(&*file, &[&data], 0)?;
        write_all(&*file, &[&data], 9 * block as u64)?;
        let expected = [&data[..], &vec![0; 8 * block], &data].concat();
        holds(&*file, &expected, "after a write beyond the end")
    },
};

pub(super) const VECTORED_WRITES_CONCATENATE: Clause = Clause {
    name: "vectored_writes_concatenate",
    promise: "a write of several buffers, empty and odd ones too, is one of their concatenation",
    check: |storage| {
        let file = storage.create("a.wal", 0).doing("creating a file")?;
        let block = block_of(&*file);
        let data = pattern(4 * block, 5);
        let cuts = [0, 1, 1, 24, 300, block, 3 * block - 1, 4 * block, 4 * block];
        let bufs: Vec<&[u8]> = cuts.windows(2).map(|cut| &data[cut[0]..cut[1]]).collect();
        write_all(&*file, &bufs, block as u64)?;
        same(&contents(&*file)?[block..], &data, "nine buffers")?;
        // More buffers than systems take in one call: a short write is legal, a failure is not.
        let data = pattern(4 * block, 6);
        let bufs: Vec<&[u8]> = data.chunks(1).collect();
        write_all(&*file, &bufs, block as u64)?;
        same(&contents(&*file)?[block..], &data, "a buffer for every byte")
    },
};

pub(super) const OVERWRITES_CHANGE_NOTHING_BESIDE_THEM: Clause = Clause {
    name: "overwrites_change_nothing_beside_them",
    promise: "a write changes exactly the bytes it names",
    check: |storage| {
        let file = storage.create("a.wal", 0).doing("creating a file")?;
        let unit = file.block_bytes();
        let mut expected = pattern(16 * block_of(&*file), 1);
        write_all(&*file, &[&expected], 0)?;
        for (salt, start) in [(2, 0), (3, 3 * unit), (4, 7 * unit), (5, expected.len() - unit)] {
            let data = pattern(unit, salt);
            write_all(&*file, &[&data], start as u64)?;
            expected[start..start + unit].copy_from_slice(&data);
            holds(&*file, &expected, "after an overwrite")?;
        }
        Ok(())
    },
};

pub(super) const EMPTY_WRITES_CHANGE_NOTHING: Clause = Clause {
    name: "empty_writes_change_nothing",
    promise: "a write of no bytes returns 0 and leaves the length alone",
    check: |storage| {
        let file = storage.create("a.wal", 4096).doing("creating a file")?;
        for bufs in [&[][..], &[IoSlice::new(&[])], &[IoSlice::new(&[]), IoSlice::new(&[])]] {
            let written = file.write_at(bufs, 65_536).doing("writing nothing")?;
            demand!(written == 0, "{written} bytes of none written");
        }
        holds(&*file, &[0; 4096], "after writing nothing")
    },
};

pub(super) const LENGTHS_CAN_BE_CUT_AND_EXTENDED: Clause = Clause {
    name: "lengths_can_be_cut_and_extended",
    promise: "a file cut and extended again holds zeros where it was cut, not what was there",
    check: |storage| {
        let file = storage.create("a.wal", 0).doing("creating a file")?;
        let other = storage.open("a.wal", Access::Read).doing("opening to read")?;
        let data = pattern(16_384, 1);
        write_all(&*file, &[&data], 0)?;
        file.set_len(10_001).doing("cutting the file")?;
        holds(&*file, &data[..10_001], "a file cut to 10,001 bytes")?;
        holds(&*other, &data[..10_001], "another handle after the cut")?;
        file.set_len(16_384).doing("extending the file")?;
        let expected = [&data[..10_001], &[0; 16_384 - 10_001]].concat();
        holds(&*file, &expected, "a file cut and extended again")?;
        file.set_len(0).doing("cutting everything")?;
        let empty = file.is_empty().doing("asking whether it is empty")?;
        demand!(empty, "a file of length 0 is not empty");
        holds(&*other, &[], "another handle after the last cut")
    },
};

pub(super) const READ_HANDLES_REFUSE_TO_WRITE: Clause = Clause {
    name: "read_handles_refuse_to_write",
    promise: "a handle for reading changes no byte and no length",
    check: |storage| {
        let file = storage.create("a.wal", 8192).doing("creating a file")?;
        let reader = storage.open("a.wal", Access::Read).doing("opening to read")?;
        let data = pattern(block_of(&*file), 1);
        let wrote = reader.write_at(&[IoSlice::new(&data)], 0);
        demand!(wrote.is_err(), "a write through a handle for reading succeeded");
        demand!(reader.set_len(0).is_err(), "a cut through a handle for reading succeeded");
        demand!(reader.set_len(1 << 20).is_err(), "a handle for reading extended the file");
        holds(&*file, &[0; 8192], "after the refusals")
    },
};

pub(super) const WRITES_KEEP_TO_BLOCKS: Clause = Clause {
    name: "writes_keep_to_blocks",
    promise: "blocks are 1 byte or a power of two from 512 to 4,096; others are InvalidInput",
    check: |storage| {
        let file = storage.create("a.wal", 16_384).doing("creating a file")?;
        let block = file.block_bytes();
        let legal = block == 1 || (block.is_power_of_two() && (512..=4096).contains(&block));
        demand!(legal, "a block of {block} bytes");
        for access in [Access::Read, Access::Write, Access::WriteThrough] {
            let other = storage.open("a.wal", access).doing("opening")?.block_bytes();
            demand!(other == block, "blocks of {other} bytes for {access:?}, of {block} before");
        }
        if block == 1 {
            return Ok(());
        }
        let data = pattern(2 * block, 1);
        for (len, offset) in [(block, 1), (block, block / 2), (block - 1, 0), (1, block)] {
            let bufs = [IoSlice::new(&data[..len / 2]), IoSlice::new(&data[len / 2..len])];
            let what = format!("a write of {len} bytes at {offset}");
            refused(file.write_at(&bufs, offset as u64), ErrorKind::InvalidInput, what)?;
        }
        holds(&*file, &[0; 16_384], "after the refusals")?;
        // The pieces need no alignment as long as their sum has it.
        write_all(&*file, &[&data[..1], &data[1..block + 3], &data[block + 3..]], block as u64)?;
        same(&contents(&*file)?[block..3 * block], &data, "odd pieces of two blocks")
    },
};

pub(super) const IMPOSSIBLE_OFFSETS_ARE_ERRORS: Clause = Clause {
    name: "impossible_offsets_are_errors",
    promise: "a write past the last possible offset is an error, never a panic",
    check: |storage: &dyn Storage| {
        let file = storage.create("a.wal", 4096).doing("creating a file")?;
        let block = block_of(&*file);
        let data = pattern(2 * block, 1);
        let last = u64::MAX - (u64::MAX % block as u64);
        for offset in [last, last - block as u64] {
            let wrote = file.write_at(&[IoSlice::new(&data)], offset);
            demand!(wrote.is_err(), "a write at {offset} succeeded");
        }
        holds(&*file, &[0; 4096], "after the refusals")
    },
};

pub(super) const SYNCS_KEEP_WHAT_IS_WRITTEN: Clause = Clause {
    name: "syncs_keep_what_is_written",
    promise: "syncs succeed on a sound device, on every handle that writes, and change no byte",
    check: |storage: &dyn Storage| -> Result<(), Flaw> {
        let file = storage.create("a.wal", 0).doing("creating a file")?;
        let block = block_of(&*file);
        let mut expected = Vec::new();
        for (salt, access) in [(1, Access::Write), (2, Access::WriteThrough)] {
            let handle = storage.open("a.wal", access).doing("opening")?;
            let data = pattern(3 * block, salt);
            write_all(&*handle, &[&data], expected.len() as u64)?;
            expected.extend_from_slice(&data);
            handle.sync_data().doing(format!("a data sync for {access:?}"))?;
            handle.sync_all().doing(format!("a full sync for {access:?}"))?;
            storage.sync_dir().doing("a directory sync")?;
            holds(&*file, &expected, "after the syncs")?;
        }
        Ok(())
    },
};
