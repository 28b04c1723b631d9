//! One clause: any series of calls gives what a naive twin in memory gives.
//!
//! The twin is as simple as can be: names point to shared vectors of bytes. It does without locks,
//! syncs and blocks; what the calls may legally differ in (short writes) is evened out in `check`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wal_io::{Access, LogFile, Storage};

use super::check::{Doing, Flaw, block_of, holds, listed, read_up_to, refused, same, write_all};
use super::clause::Clause;

const SEEDS: u64 = 4;
const CALLS: usize = 200;

/// Longest file, in blocks, and most handles open at a time.
const BLOCKS_MAX: usize = 16;
const HANDLES_MAX: usize = 8;

const NAMES: [&str; 4] = ["a.wal", "b.wal", "c.tmp", "control"];

pub(super) const RANDOM_CALLS_AGREE_WITH_A_TWIN: Clause = Clause {
    name: "random_calls_agree_with_a_twin",
    promise: "any series of calls gives what the same calls on vectors in memory give",
    check: |storage| {
        for seed in 0..SEEDS {
            let mut pair = Pair::new(storage, seed);
            for call in 0..CALLS {
                pair.step()
                    .map_err(|flaw| Flaw(format!("seed {seed}, call {call}: {}", flaw.0)))?;
            }
            pair.handles.clear();
            for name in pair.twin.keys() {
                storage.remove(name).doing(format!("removing `{name}`"))?;
            }
        }
        Ok(())
    },
};

type Bytes = Rc<RefCell<Vec<u8>>>;

struct Handle {
    file: Box<dyn LogFile>,
    twin: Bytes,
    access: Access,
}

/// A storage, its twin, and the handles open on both.
struct Pair<'a> {
    storage: &'a dyn Storage,
    twin: BTreeMap<&'static str, Bytes>,
    handles: Vec<Handle>,
    rng: StdRng,
}

impl<'a> Pair<'a> {
    fn new(storage: &'a dyn Storage, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { storage, twin: BTreeMap::new(), handles: Vec::new(), rng }
    }

    fn step(&mut self) -> Result<(), Flaw> {
        match self.rng.random_range(0..20) {
            0 | 1 => self.create(),
            2..=4 => self.open(),
            5 => self.rename(),
            6 => self.remove(),
            7 => self.list(),
            8 => self.close(),
            9 | 10 => self.set_len(),
            11..=15 => self.write(),
            _ => self.read(),
        }
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.rng.random_range(0..NAMES.len())]
    }

    /// One of the handles, if there is any.
    fn handle(&mut self) -> Option<usize> {
        (!self.handles.is_empty()).then(|| self.rng.random_range(0..self.handles.len()))
    }

    fn keep(&mut self, handle: Handle) {
        if self.handles.len() == HANDLES_MAX {
            let evicted = self.rng.random_range(0..HANDLES_MAX);
            self.handles.swap_remove(evicted);
        }
        self.handles.push(handle);
    }

    fn create(&mut self) -> Result<(), Flaw> {
        let name = self.name();
        let len = self.rng.random_range(0..30_000);
        let result = self.storage.create(name, len as u64);
        if self.twin.contains_key(name) {
            return refused(result, ErrorKind::AlreadyExists, format!("creating `{name}`"));
        }
        let file = result.doing(format!("creating `{name}`"))?;
        let twin = Bytes::new(RefCell::new(vec![0; len]));
        self.twin.insert(name, Rc::clone(&twin));
        self.keep(Handle { file, twin, access: Access::Write });
        Ok(())
    }

    fn open(&mut self) -> Result<(), Flaw> {
        let name = self.name();
        let access = match self.rng.random_range(0..4) {
            0 => Access::Read,
            1 => Access::WriteThrough,
            _ => Access::Write,
        };
        let result = self.storage.open(name, access);
        let Some(twin) = self.twin.get(name).map(Rc::clone) else {
            return refused(result, ErrorKind::NotFound, format!("opening `{name}`"));
        };
        let file = result.doing(format!("opening `{name}`"))?;
        self.keep(Handle { file, twin, access });
        Ok(())
    }

    fn rename(&mut self) -> Result<(), Flaw> {
        let (from, to) = (self.name(), self.name());
        // The contract says nothing of handles whose file was replaced: they are closed first.
        if from != to
            && let Some(replaced) = self.twin.get(to)
        {
            self.handles.retain(|handle| !Rc::ptr_eq(&handle.twin, replaced));
        }
        let result = self.storage.rename(from, to);
        let Some(twin) = self.twin.remove(from) else {
            return refused(result, ErrorKind::NotFound, format!("renaming `{from}`"));
        };
        result.doing(format!("renaming `{from}` to `{to}`"))?;
        self.twin.insert(to, twin);
        Ok(())
    }

    fn remove(&mut self) -> Result<(), Flaw> {
        let name = self.name();
        let result = self.storage.remove(name);
        match self.twin.remove(name) {
            Some(_) => result.doing(format!("removing `{name}`")),
            None => refused(result, ErrorKind::NotFound, format!("removing `{name}`")),
        }
    }

    fn list(&mut self) -> Result<(), Flaw> {
        let found: Vec<_> =
            listed(self.storage)?.into_iter().map(|entry| (entry.name, entry.len)).collect();
        let expected: Vec<_> = self
            .twin
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.borrow().len() as u64))
            .collect();
        demand!(found == expected, "the list is {found:?}, not {expected:?}");
        Ok(())
    }

    fn close(&mut self) -> Result<(), Flaw> {
        let Some(index) = self.handle() else { return Ok(()) };
        let handle = self.handles.swap_remove(index);
        holds(&*handle.file, &handle.twin.borrow(), "a file about to be closed")?;
        handle.file.sync_all().doing("a sync before closing")
    }

    fn set_len(&mut self) -> Result<(), Flaw> {
        let Some(index) = self.handle() else { return Ok(()) };
        let len = self.rng.random_range(0..40_000);
        let handle = &self.handles[index];
        let result = handle.file.set_len(len as u64);
        if handle.access == Access::Read {
            demand!(result.is_err(), "a handle for reading changed the length");
            return Ok(());
        }
        handle.twin.borrow_mut().resize(len, 0);
        result.doing(format!("setting the length to {len}"))
    }

    fn write(&mut self) -> Result<(), Flaw> {
        let Some(index) = self.handle() else { return Ok(()) };
        let handle = &self.handles[index];
        if handle.access == Access::Read {
            return Ok(());
        }
        // Whole blocks where blocks are asked for, any bytes where not.
        let unit = handle.file.block_bytes().max(1);
        let units_max = BLOCKS_MAX * block_of(&*handle.file) / unit;
        let start = self.rng.random_range(0..units_max) * unit;
        let len = self.rng.random_range(1..=units_max / 4) * unit;
        let data: Vec<u8> = (0..len).map(|_| self.rng.random()).collect();
        let (one, other) = (self.rng.random_range(0..=len), self.rng.random_range(0..=len));
        let (low, high) = (one.min(other), one.max(other));
        let bufs = [&data[..low], &data[low..high], &data[high..]];
        write_all(&*handle.file, &bufs, start as u64)?;
        let mut twin = handle.twin.borrow_mut();
        if twin.len() < start + len {
            twin.resize(start + len, 0);
        }
        twin[start..start + len].copy_from_slice(&data);
        Ok(())
    }

    fn read(&mut self) -> Result<(), Flaw> {
        let Some(index) = self.handle() else { return Ok(()) };
        let (offset, len) = (self.rng.random_range(0..50_000), self.rng.random_range(0..20_000));
        let handle = &self.handles[index];
        let found = read_up_to(&*handle.file, len, offset as u64)?;
        let twin = handle.twin.borrow();
        let rest = twin.get(offset..).unwrap_or_default();
        same(&found, &rest[..rest.len().min(len)], &format!("{len} bytes at {offset}"))
    }
}
