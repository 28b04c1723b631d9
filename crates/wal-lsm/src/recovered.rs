//! What recovery gives back: the files that the last checkpoint names, and what committed since.
//!
//! All that the engine owes to recovery is here: [`restore`](RedoTarget::restore) opens the files,
//! [`redo`](RedoTarget::redo) repeats one entry. An entry done twice leaves what it left once.

use std::collections::BTreeMap;
use std::sync::Arc;

use wal::{CheckpointView, RedoTarget, ReplayRecord, Storage};

use crate::entry::decode_whole;
use crate::error::LsmError;
use crate::manifest::Manifest;
use crate::table::Table;

/// Entries in memory; no value: deleted.
pub(crate) type Memtable = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The engine while it is being recovered: what a [`RecoveryStrategy`](wal::RecoveryStrategy) is
/// given.
#[derive(Debug)]
pub struct Recovered {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) manifest: Manifest,
    /// Newest first.
    pub(crate) tables: Vec<Table>,
    pub(crate) memory: Memtable,
}

impl Recovered {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        let (manifest, memory) = (Manifest::default(), Memtable::new());
        Self { storage, manifest, tables: Vec::new(), memory }
    }
}

impl RedoTarget for Recovered {
    type Error = LsmError;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), LsmError> {
        self.manifest = Manifest::decode(checkpoint.payload)?;
        let storage = self.storage.as_ref();
        let tables = self.manifest.live.iter().map(|id| Table::open(storage, *id));
        self.tables = tables.collect::<Result<_, _>>()?;
        self.memory.clear();
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), LsmError> {
        let (key, value) = decode_whole(record.body)?;
        self.memory.insert(key, value);
        Ok(())
    }
}
