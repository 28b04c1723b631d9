//! What a log holds, counted in one pass: by kind, by size, and along its length.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use wal::{LogView, Lsn, LsnRange, RecordFlags, RecordKind, RecordRef};

use super::body;
use super::range::for_each_in;
use crate::exit::Failure;

/// Stretches of equal length that the log is divided into, for charts.
pub(crate) const STRETCHES: usize = 120;
/// Checkpoints and openings remembered; a log may have any number.
const MARKS_MAX: usize = 4096;

/// Records of one sort.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) body_bytes: u64,
}

/// What stands in one stretch of the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) kinds: BTreeMap<RecordKind, Tally>,
    pub(crate) batches: u64,
    /// Durable ends that its records tell of for the first time: each is a sync, at least.
    pub(crate) syncs: u64,
    pub(crate) transactions: u64,
}

impl Stretch {
    pub(crate) fn records(&self) -> u64 {
        self.kinds.values().map(|tally| tally.records).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.kinds.values().map(|tally| tally.bytes).sum()
    }
}

/// A checkpoint whose end record is in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenCheckpoint {
    pub(crate) begin: Lsn,
    pub(crate) redo_from: Lsn,
    pub(crate) record: Lsn,
}

/// All that is counted.
#[derive(Debug)]
pub(crate) struct Census {
    pub(crate) range: LsnRange,
    pub(crate) all: Tally,
    pub(crate) engine: Tally,
    pub(crate) housekeeping: u64,
    pub(crate) kinds: BTreeMap<RecordKind, Tally>,
    pub(crate) batches: u64,
    pub(crate) syncs: u64,
    pub(crate) commits: u64,
    /// Bodies of the engine's records by the power of two that holds them: 0, 1, 2 to 3, 4 to 7, …
    pub(crate) sizes: BTreeMap<u32, u64>,
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) checkpoints: Vec<SeenCheckpoint>,
    /// Openings: their records, and when.
    pub(crate) openings: Vec<(Lsn, u64)>,
    /// First and last time that the log tells, in microseconds since 1970.
    pub(crate) times: Option<(u64, u64)>,
    durable: Lsn,
}

impl Census {
    pub(crate) fn take(view: &LogView, range: LsnRange) -> Result<Self, Failure> {
        let start = range.start.max(view.head());
        let range = LsnRange::new(start, range.end.min(view.end()).max(start));
        let mut census = Self::empty(range);
        for_each_in(view, range, |record| {
            census.count(record);
            ControlFlow::<()>::Continue(())
        })?;
        Ok(census)
    }

    /// Bytes of log in a stretch.
    pub(crate) fn stretch_bytes(&self) -> u64 {
        self.range.bytes().div_ceil(STRETCHES as u64).max(1)
    }

    fn empty(range: LsnRange) -> Self {
        Self {
            range,
            all: Tally::default(),
            engine: Tally::default(),
            housekeeping: 0,
            kinds: BTreeMap::new(),
            batches: 0,
            syncs: 0,
            commits: 0,
            sizes: BTreeMap::new(),
            stretches: vec![Stretch::default(); STRETCHES],
            checkpoints: Vec::new(),
            openings: Vec::new(),
            times: None,
            durable: Lsn::NONE,
        }
    }

    fn count(&mut self, record: &RecordRef<'_>) {
        let index =
            record.lsn().get().saturating_sub(self.range.start.get()) / self.stretch_bytes();
        let kind = record.kind();
        let tally = [&mut self.all, self.kinds.entry(kind).or_default()]
            .into_iter()
            .chain(kind.is_engine().then_some(&mut self.engine));
        tally.for_each(|tally| tally.add(record));
        self.housekeeping += u64::from(kind.is_housekeeping());
        self.commits += u64::from(kind == RecordKind::COMMIT);
        if kind.is_engine() {
            let bits =
                u32::try_from(record.body.len()).map_or(32, |bytes| 32 - bytes.leading_zeros());
            *self.sizes.entry(bits).or_default() += 1;
        }
        let flags = record.flags();
        let is_batch = flags.contains(RecordFlags::BATCH_CONTINUES)
            && !flags.contains(RecordFlags::BATCH_FOLLOWS);
        let is_sync = record.durable().is_some_and(|durable| durable > self.durable);
        self.durable = record.durable().map_or(self.durable, |durable| durable.max(self.durable));
        self.batches += u64::from(is_batch);
        self.syncs += u64::from(is_sync);
        if let Some(stretch) =
            usize::try_from(index).ok().and_then(|index| self.stretches.get_mut(index))
        {
            stretch.kinds.entry(kind).or_default().add(record);
            stretch.batches += u64::from(is_batch);
            stretch.syncs += u64::from(is_sync);
            stretch.transactions += u64::from(kind == RecordKind::COMMIT);
        }
        self.note_marks(record);
    }

    fn note_marks(&mut self, record: &RecordRef<'_>) {
        if let Some(us) = body::written_us(record) {
            let (first, last) = self.times.unwrap_or((us, us));
            self.times = Some((first.min(us), last.max(us)));
            if record.kind() == RecordKind::OPENED && self.openings.len() < MARKS_MAX {
                self.openings.push((record.lsn(), us));
            }
        }
        if let Some((begin, redo_from)) = body::checkpoint(record)
            && self.checkpoints.len() < MARKS_MAX
        {
            self.checkpoints.push(SeenCheckpoint { begin, redo_from, record: record.lsn() });
        }
    }
}

impl Tally {
    fn add(&mut self, record: &RecordRef<'_>) {
        self.records += 1;
        self.bytes += record.encoded_bytes() as u64;
        self.body_bytes += record.body.len() as u64;
    }
}
