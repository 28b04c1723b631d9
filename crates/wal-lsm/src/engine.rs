//! The engine: reads, changes that count together, transactions, checkpoints.
//!
//! Invariants: the memtable holds committed entries only; a file is durable before a checkpoint
//! names it; no file goes away which the newest checkpoint, or the one before it, names.

use std::sync::Arc;

use wal::{CheckpointPointer, Committed, Options, RecoveryStrategy, RedoOnly, Storage, Wal};
use wal_io::{IoError, IoOp};

use crate::block::file_name;
use crate::entry::{Entry, encode};
use crate::error::LsmError;
use crate::manifest::Manifest;
use crate::merge::{Merge, Source};
use crate::recovered::{Memtable, Recovered};
use crate::table::{Table, TableId, io_failed};
use crate::transaction::LsmTransaction;

/// Checkpoints that the log keeps to fall back on; [`Manifest::kept`] is made for two.
const RETAINED_CHECKPOINTS: usize = 2;

/// How an engine is kept.
#[derive(Clone, Debug)]
pub struct LsmOptions {
    log: Options,
    tables_max: usize,
}

impl Default for LsmOptions {
    fn default() -> Self {
        Self { log: Options::default(), tables_max: 4 }
    }
}

impl LsmOptions {
    /// How its log is kept. It keeps two checkpoints, whatever is said here.
    #[must_use]
    pub fn log(self, log: Options) -> Self {
        Self { log, ..self }
    }

    /// A checkpoint that would lead to more than `count` files makes one of all. Default: 4.
    #[must_use]
    pub fn tables_max(self, count: usize) -> Self {
        Self { tables_max: count.max(1), ..self }
    }
}

/// A map of bytes to bytes in the directory of a log.
#[derive(Debug)]
pub struct Lsm {
    log: Wal,
    storage: Arc<dyn Storage>,
    /// What committed since the newest checkpoint.
    memory: Memtable,
    /// Newest first.
    tables: Vec<Table>,
    manifest: Manifest,
    /// The number of the next file; none is used twice while a file of that number is there.
    next: u64,
    tables_max: usize,
}

impl Lsm {
    /// Opens the engine in `storage`, or makes it there.
    ///
    /// # Errors
    ///
    /// [`LsmError::Log`] as of [`Wal::open`]; nothing is lost, call again once the cause is gone.
    pub fn open_in(storage: Arc<dyn Storage>, options: LsmOptions) -> Result<Self, LsmError> {
        Self::open_with(storage, options, RedoOnly::default())
    }

    /// As [`open_in`](Self::open_in), with a strategy of one's own.
    ///
    /// # Errors
    ///
    /// As [`open_in`](Self::open_in).
    pub fn open_with<S: RecoveryStrategy<Recovered>>(
        storage: Arc<dyn Storage>,
        options: LsmOptions,
        strategy: S,
    ) -> Result<Self, LsmError> {
        let mut found = Recovered::new(Arc::clone(&storage));
        let log = options.log.retained_checkpoints(RETAINED_CHECKPOINTS);
        let log = log.recover_with(strategy).open_in(storage, &mut found)?;
        let Recovered { storage, manifest, tables, memory } = found;
        let tables_max = options.tables_max;
        let mut lsm = Self { log, storage, memory, tables, manifest, next: 0, tables_max };
        lsm.next = lsm.numbers()?.into_iter().max().map_or(1, |last| last + 1);
        lsm.remove_unneeded()?;
        Ok(lsm)
    }

    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// [`LsmError::Io`], [`LsmError::Damaged`].
    ///
    /// # Cost
    ///
    /// A block of each file, until one knows the key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LsmError> {
        if let Some(value) = self.memory.get(key) {
            return Ok(value.clone());
        }
        for table in &self.tables {
            if let Some(value) = table.get(key)? {
                return Ok(value);
            }
        }
        Ok(None)
    }

    /// All keys from `from` on with their values, in order.
    ///
    /// Each item may be an error as of [`get`](Self::get).
    pub fn scan(
        &self,
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), LsmError>> + '_ {
        let memory = self.memory.range(from.to_vec()..);
        let memory: Source<'_> =
            Box::new(memory.map(|(key, value)| Ok((key.clone(), value.clone()))));
        let tables =
            self.tables.iter().map(|table| -> Source<'_> { Box::new(table.entries_from(from)) });
        let merged = Merge::new(std::iter::once(memory).chain(tables).collect());
        merged.filter_map(|entry| match entry {
            Ok((key, value)) => value.map(|value| Ok((key, value))),
            Err(error) => Some(Err(error)),
        })
    }

    /// Sets `key` to `value`; durable when it returns.
    ///
    /// # Errors
    ///
    /// [`LsmError::Size`], or [`LsmError::Log`] whose [`fate`](wal::Error::fate) says whether it
    /// may have happened.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), LsmError> {
        self.apply(&[(key, Some(value))])
    }

    /// Deletes `key`; durable when it returns.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: &[u8]) -> Result<(), LsmError> {
        self.apply(&[(key, None)])
    }

    /// Makes all changes together, in order: after a crash all are there, or none. No value
    /// deletes the key. Durable when it returns.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put); also refused when longer than
    /// [`batch_bytes_max`](Wal::batch_bytes_max): use a transaction.
    pub fn apply(&mut self, changes: &[(&[u8], Option<&[u8]>)]) -> Result<(), LsmError> {
        let mut bodies = Vec::new();
        for (key, value) in changes {
            let mut body = Vec::new();
            encode(key, *value, &mut body)?;
            bodies.push(body);
        }
        if bodies.is_empty() {
            return Ok(());
        }
        self.log.append_batch(&bodies)?.wait_durable()?;
        for (key, value) in changes {
            self.memory.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        }
        Ok(())
    }

    /// Begins a transaction.
    pub fn begin(&self) -> LsmTransaction {
        LsmTransaction::new(self.log.begin())
    }

    /// Commits `txn`: durable when it returns.
    ///
    /// # Errors
    ///
    /// [`LsmError::Log`] whose [`fate`](wal::Error::fate) says whether it may have happened.
    pub fn commit(&mut self, txn: LsmTransaction) -> Result<Committed, LsmError> {
        let (committed, changes) = txn.commit()?;
        self.memory.extend(changes);
        Ok(committed)
    }

    /// Writes what is in memory to a file, and gives back the log before it.
    ///
    /// # Durability
    ///
    /// The next opening starts from here. A crash before the end leaves the previous checkpoint in
    /// force, and a file that the next opening removes.
    ///
    /// # Errors
    ///
    /// [`LsmError::Io`], [`LsmError::Log`]: nothing is lost; call again, or reopen when the log is
    /// poisoned.
    pub fn checkpoint(&mut self) -> Result<CheckpointPointer, LsmError> {
        let checkpoint = self.log.checkpoint_begin()?;
        // Nobody commits from here on: `&mut self`. So memory and files are the snapshot.
        let compact = self.tables.len() + 1 > self.tables_max;
        let written = self.write_table(compact)?;
        let live = self.tables.iter().filter(|_| !compact).map(|table| table.id);
        let live: Vec<TableId> = written.iter().map(|table| table.id).chain(live).collect();
        let before = &self.manifest.live;
        let kept = before.iter().filter(|table| !live.contains(table)).copied().collect();
        let manifest = Manifest { live, kept };
        let complete = checkpoint.complete(&manifest.encode())?;
        if compact {
            self.tables.clear();
        }
        self.tables.splice(0..0, written);
        self.memory.clear();
        self.manifest = manifest;
        self.remove_unneeded()?;
        self.log.truncate_before(complete.redo_from)?;
        Ok(complete)
    }

    /// Writes the memtable as a file, together with all files if `compact`.
    fn write_table(&mut self, compact: bool) -> Result<Option<Table>, LsmError> {
        if self.memory.is_empty() && !compact {
            return Ok(None);
        }
        let number = self.next;
        self.next += 1;
        let memory = self.memory.iter().map(|(key, value)| Ok((key.clone(), value.clone())));
        let mut sources: Vec<Source<'_>> = vec![Box::new(memory)];
        if compact {
            let tables = self.tables.iter();
            sources.extend(tables.map(|table| -> Source<'_> { Box::new(table.entries_from(b"")) }));
        }
        // Below all files there is nothing that a deleted key would have to hide.
        let counts = |entry: &Result<Entry, LsmError>| !compact || !matches!(entry, Ok((_, None)));
        let mut entries = Merge::new(sources).filter(counts);
        Table::write(self.storage.as_ref(), number, &mut entries).map(Some)
    }

    /// The numbers of the table files in the directory.
    fn numbers(&self) -> Result<Vec<u64>, LsmError> {
        let files = self
            .storage
            .list()
            .map_err(|error| IoError::failed(IoOp::List, self.storage.place(), error))?;
        let number = |name: &str| name.strip_suffix(".table")?.parse().ok();
        let numbers = files.iter().filter_map(|file| number(&file.name));
        Ok(numbers
            .filter(|number| files.iter().any(|file| file.name == file_name(*number)))
            .collect())
    }

    /// Removes the files which neither the newest checkpoint names nor the one before.
    fn remove_unneeded(&self) -> Result<(), LsmError> {
        let mut unneeded = self.numbers()?;
        unneeded.retain(|number| !self.manifest.needs(*number));
        for &number in &unneeded {
            let removed = self.storage.remove(&file_name(number));
            removed.map_err(|error| io_failed(IoOp::Remove, number, error))?;
        }
        if let Some(&number) = unneeded.first() {
            self.storage.sync_dir().map_err(|error| io_failed(IoOp::SyncDir, number, error))?;
        }
        Ok(())
    }

    /// The log under the engine.
    #[must_use]
    pub const fn log(&self) -> &Wal {
        &self.log
    }

    /// Files that hold the data, newest first: their names.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        self.tables.iter().map(|table| file_name(table.id.number)).collect()
    }

    /// Closes the log; without a checkpoint the next opening replays what is in memory.
    ///
    /// # Errors
    ///
    /// As [`Wal::close`].
    pub fn close(self) -> Result<(), LsmError> {
        Ok(self.log.close()?)
    }
}
