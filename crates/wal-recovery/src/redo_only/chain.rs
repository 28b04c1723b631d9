//! The records of one transaction, oldest first, in memory that does not grow with them.
//!
//! Records link backwards: each names the record of its transaction before it, the commit record
//! names the last. Replay needs them forwards. The chain is walked back once, and every
//! `stride`-th address is kept as a rung of a ladder; when the ladder is full, every second rung
//! goes and the stride doubles. Then, from the oldest rung on, the run behind each rung is walked
//! back again, and applied in reverse. A transaction which fits the ladder is walked once.
//!
//! Memory for n records and a ladder of r rungs: r addresses, plus n / r while a run is applied.
//!
//! Invariant: addresses of a chain strictly decrease, so a walk ends whatever the bytes say.

use std::ops::ControlFlow;

use wal_format::{Lsn, RecordKind, TxnId, TxnLink};

use crate::error::RecoveryError;
use crate::fault::ChainFault;

/// What stands at an address that a chain names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A valid record.
    Record {
        /// What it is.
        kind: RecordKind,
        /// Whose it is.
        link: Option<TxnLink>,
    },
    /// No valid record starts there.
    Nothing,
    /// The address lies in a gap which a salvage declared: what stood there is lost.
    Lost,
    /// The address lies below the head: what stood there was truncated.
    Truncated,
}

/// Addressed reads, as far as a chain needs them.
pub(super) trait ChainReader {
    /// What stands at `lsn`.
    fn find(&mut self, lsn: Lsn) -> Result<Found, RecoveryError>;
    /// Gives the record at `lsn` to the engine.
    fn apply(&mut self, lsn: Lsn) -> Result<(), RecoveryError>;
}

/// A chain to be replayed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// The transaction.
    pub(super) txn: TxnId,
    /// Its commit record.
    pub(super) commit: Lsn,
    /// The record before the commit record; none for an empty transaction.
    pub(super) last: Lsn,
    /// The opening in force: transactions do not outlive it (rule 7).
    pub(super) opened: Lsn,
    /// Where the scan started; every transaction to be replayed began there or later (rule 3).
    pub(super) scan_start: Lsn,
    /// Addresses that may be kept at once.
    pub(super) rungs_max: usize,
}

/// How a replay of a chain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainEnd {
    /// Every record was applied.
    Whole,
    /// Records were lost before the log was salvaged; nothing was applied.
    Incomplete,
    /// Records were truncated away; nothing was applied. Below the head nothing is known.
    Truncated,
}

impl Chain {
    /// Applies the records of the chain, oldest first, or none of them.
    ///
    /// The whole chain is checked before the first record is applied.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::BrokenChain`]; what the reader reports.
    pub(super) fn replay(&self, reader: &mut dyn ChainReader) -> Result<ChainEnd, RecoveryError> {
        let ladder = match self.climb(reader)? {
            ControlFlow::Continue(ladder) => ladder,
            ControlFlow::Break(end) => return Ok(end),
        };
        if ladder.stride == 1 {
            for lsn in ladder.rungs.iter().rev() {
                reader.apply(*lsn)?;
            }
            return Ok(ChainEnd::Whole);
        }
        let mut run = Vec::new();
        for rung in ladder.rungs.iter().rev() {
            self.collect_run(reader, *rung, ladder.stride, &mut run)?;
            for lsn in run.iter().rev() {
                reader.apply(*lsn)?;
            }
        }
        Ok(ChainEnd::Whole)
    }

    /// Walks the chain to its first record; breaks off where part of it is not there any more.
    fn climb(
        &self,
        reader: &mut dyn ChainReader,
    ) -> Result<ControlFlow<ChainEnd, Ladder>, RecoveryError> {
        let mut ladder = Ladder::new(self.rungs_max);
        let (mut from, mut lsn) = (self.commit, self.last);
        while !lsn.is_none() {
            let previous = match self.step(reader, from, lsn)? {
                ControlFlow::Continue(previous) => previous,
                ControlFlow::Break(end) => return Ok(ControlFlow::Break(end)),
            };
            ladder.push(lsn);
            (from, lsn) = (lsn, previous);
        }
        Ok(ControlFlow::Continue(ladder))
    }

    /// Collects the addresses from `rung` back, up to `stride` of them, newest first.
    fn collect_run(
        &self,
        reader: &mut dyn ChainReader,
        rung: Lsn,
        stride: u64,
        run: &mut Vec<Lsn>,
    ) -> Result<(), RecoveryError> {
        run.clear();
        let (mut from, mut lsn) = (self.commit, rung);
        for _ in 0..stride {
            if lsn.is_none() {
                break;
            }
            // The first walk found all of it; what is gone now was taken away meanwhile.
            let ControlFlow::Continue(previous) = self.step(reader, from, lsn)? else {
                return Err(self.broken(lsn, ChainFault::NotARecord));
            };
            run.push(lsn);
            (from, lsn) = (lsn, previous);
        }
        Ok(())
    }

    /// Checks the record at `lsn`, which `from` names; gives the one before it.
    fn step(
        &self,
        reader: &mut dyn ChainReader,
        from: Lsn,
        lsn: Lsn,
    ) -> Result<ControlFlow<ChainEnd, Lsn>, RecoveryError> {
        if lsn >= from {
            return Err(self.broken(from, ChainFault::PointsForward { to: lsn }));
        }
        if lsn < self.opened {
            return Err(self.broken(from, ChainFault::CrossesOpening { opened: self.opened }));
        }
        let (kind, link) = match reader.find(lsn)? {
            Found::Record { kind, link } => (kind, link),
            Found::Lost => return Ok(ControlFlow::Break(ChainEnd::Incomplete)),
            Found::Truncated => return Ok(ControlFlow::Break(ChainEnd::Truncated)),
            Found::Nothing => return Err(self.broken(lsn, ChainFault::NotARecord)),
        };
        // The checkpoint said that replay can start there: whoever wrote it knew better.
        if lsn < self.scan_start {
            return Err(self.broken(from, ChainFault::BeforeScan { start: self.scan_start }));
        }
        match link {
            Some(link) if link.txn_id == self.txn => {
                if matches!(kind, RecordKind::COMMIT | RecordKind::ABORT | RecordKind::END) {
                    return Err(self.broken(lsn, ChainFault::PassesAnEnd));
                }
                Ok(ControlFlow::Continue(link.prev_lsn))
            }
            link => {
                let found = link.map_or(TxnId::NONE, |link| link.txn_id);
                Err(self.broken(lsn, ChainFault::OtherTransaction { found }))
            }
        }
    }

    fn broken(&self, lsn: Lsn, why: ChainFault) -> RecoveryError {
        RecoveryError::BrokenChain { txn: self.txn, commit: self.commit, lsn, why }
    }
}

/// Every `stride`-th address of a chain, newest first.
#[derive(Debug)]
struct Ladder {
    rungs: Vec<Lsn>,
    stride: u64,
    seen: u64,
    rungs_max: usize,
}

impl Ladder {
    fn new(rungs_max: usize) -> Self {
        // Two rungs are the least that can be thinned out.
        Self { rungs: Vec::new(), stride: 1, seen: 0, rungs_max: rungs_max.max(2) }
    }

    fn push(&mut self, lsn: Lsn) {
        let index = self.seen;
        self.seen += 1;
        if !index.is_multiple_of(self.stride) {
            return;
        }
        if self.rungs.len() == self.rungs_max {
            let mut keep = false;
            self.rungs.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
            if !index.is_multiple_of(self.stride) {
                return;
            }
        }
        self.rungs.push(lsn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const TXN: TxnId = TxnId::new(7);

    fn at(index: u64) -> Lsn {
        Lsn::new(4096 + 40 * index).unwrap()
    }

    /// A log of nothing but links.
    #[derive(Default)]
    struct Links {
        found: BTreeMap<Lsn, Found>,
        finds: usize,
        applied: Vec<Lsn>,
    }

    impl Links {
        fn of_chain(records: u64) -> Self {
            let mut links = Self::default();
            for index in 0..records {
                let prev = if index == 0 { Lsn::NONE } else { at(index - 1) };
                links.put(index, TXN, prev);
            }
            links
        }

        fn put(&mut self, index: u64, txn_id: TxnId, prev_lsn: Lsn) {
            let link = Some(TxnLink { txn_id, prev_lsn });
            self.found.insert(at(index), Found::Record { kind: RecordKind::DATA, link });
        }
    }

    impl ChainReader for Links {
        fn find(&mut self, lsn: Lsn) -> Result<Found, RecoveryError> {
            self.finds += 1;
            Ok(self.found.get(&lsn).copied().unwrap_or(Found::Nothing))
        }

        fn apply(&mut self, lsn: Lsn) -> Result<(), RecoveryError> {
            self.applied.push(lsn);
            Ok(())
        }
    }

    fn chain(records: u64, rungs_max: usize) -> Chain {
        let last = if records == 0 { Lsn::NONE } else { at(records - 1) };
        let commit = at(records);
        let (opened, scan_start) = (Lsn::FIRST, Lsn::FIRST);
        Chain { txn: TXN, commit, last, opened, scan_start, rungs_max }
    }

    fn fault(links: &mut Links, chain: Chain) -> ChainFault {
        let error = chain.replay(links).unwrap_err();
        assert_eq!(links.applied, [], "nothing is applied of a broken chain");
        match error {
            RecoveryError::BrokenChain { txn: TXN, why, .. } => why,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn records_are_applied_oldest_first_whatever_the_size_of_the_ladder() {
        for records in [0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 100] {
            for rungs_max in [2, 3, 4, 5, 8, 1000] {
                let mut links = Links::of_chain(records);
                let end = chain(records, rungs_max).replay(&mut links).unwrap();
                assert_eq!(end, ChainEnd::Whole);
                let expected: Vec<Lsn> = (0..records).map(at).collect();
                assert_eq!(links.applied, expected, "{records} records, {rungs_max} rungs");
                assert!(links.finds as u64 <= 2 * records, "two walks at the most");
            }
        }
    }

    #[test]
    fn r21_the_ladder_never_holds_more_than_its_rungs() {
        let mut ladder = Ladder::new(8);
        for index in 0..10_000 {
            ladder.push(at(index));
            assert!(ladder.rungs.len() <= 8);
        }
        assert!(ladder.stride * 8 >= 10_000 && ladder.stride < 10_000);
    }

    #[test]
    fn a_chain_that_points_forward_or_at_itself_is_broken() {
        let mut links = Links::of_chain(3);
        links.put(1, TXN, at(1));
        assert_eq!(fault(&mut links, chain(3, 9)), ChainFault::PointsForward { to: at(1) });
        let mut links = Links::of_chain(3);
        links.put(0, TXN, at(2));
        assert_eq!(fault(&mut links, chain(3, 9)), ChainFault::PointsForward { to: at(2) });
    }

    #[test]
    fn a_chain_of_two_transactions_is_broken() {
        let mut links = Links::of_chain(3);
        links.put(1, TxnId::new(8), at(0));
        let found = TxnId::new(8);
        assert_eq!(fault(&mut links, chain(3, 9)), ChainFault::OtherTransaction { found });
    }

    #[test]
    fn a_chain_that_lands_on_no_record_is_broken() {
        let mut links = Links::of_chain(3);
        links.found.remove(&at(1));
        assert_eq!(fault(&mut links, chain(3, 9)), ChainFault::NotARecord);
    }

    #[test]
    fn a_chain_that_passes_an_end_of_its_transaction_is_broken() {
        let mut links = Links::of_chain(3);
        let link = Some(TxnLink { txn_id: TXN, prev_lsn: at(0) });
        links.found.insert(at(1), Found::Record { kind: RecordKind::COMMIT, link });
        assert_eq!(fault(&mut links, chain(3, 9)), ChainFault::PassesAnEnd);
    }

    #[test]
    fn r07_a_chain_that_crosses_an_opening_is_broken() {
        let mut links = Links::of_chain(3);
        let opened = at(1);
        let crossing = Chain { opened, ..chain(3, 9) };
        assert_eq!(fault(&mut links, crossing), ChainFault::CrossesOpening { opened });
    }

    #[test]
    fn r03_a_chain_that_began_before_the_scan_is_broken() {
        let mut links = Links::of_chain(3);
        let early = Chain { scan_start: at(1), ..chain(3, 9) };
        assert_eq!(fault(&mut links, early), ChainFault::BeforeScan { start: at(1) });
    }

    #[test]
    fn a_chain_that_leads_into_a_declared_gap_is_incomplete_and_not_applied() {
        let mut links = Links::of_chain(3);
        links.found.insert(at(0), Found::Lost);
        assert_eq!(chain(3, 9).replay(&mut links).unwrap(), ChainEnd::Incomplete);
        assert_eq!(links.applied, []);
    }

    #[test]
    fn a_chain_that_leads_below_the_head_is_truncated_and_not_applied() {
        let mut links = Links::of_chain(3);
        links.found.insert(at(0), Found::Truncated);
        let later = Chain { scan_start: at(1), ..chain(3, 9) };
        assert_eq!(later.replay(&mut links).unwrap(), ChainEnd::Truncated);
        assert_eq!(links.applied, []);
    }
}
