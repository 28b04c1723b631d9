//! What an exploration of banks covered, in numbers.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use wal_sim::{Coverage, FaultKind, Floors};

use crate::engine::Restart;

/// Figures of one case, or of many.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Workloads with a seed.
    pub cases: u64,
    /// What the explorer counted.
    pub coverage: Coverage,
    /// States judged, by the step in which the power had gone.
    pub steps: BTreeMap<String, u64>,
    /// Restarts that succeeded.
    pub restarts: u64,
    /// What they found and did, added up.
    pub restart: Restart,
    /// Restarts that had something to roll back.
    pub with_losers: u64,
}

/// The steps that a campaign is held to have cut.
pub(crate) const STEPS: &[&str] =
    &["the workload", "opening", "analysis", "redo", "undo", "checkpoint", "after restart"];

impl Figures {
    /// A state is judged that was left by a cut in `step`.
    pub(crate) fn cut_in(&mut self, step: &str) {
        *self.steps.entry(step.to_owned()).or_default() += 1;
    }

    pub(crate) fn add_restart(&mut self, restart: Restart) {
        self.restarts += 1;
        self.with_losers += u64::from(restart.losers > 0);
        let ours = &mut self.restart;
        ours.analysed += restart.analysed;
        ours.winners += restart.winners;
        ours.losers += restart.losers;
        ours.in_doubt += restart.in_doubt;
        ours.dirty_pages += restart.dirty_pages;
        ours.redone += restart.redone;
        ours.skipped += restart.skipped;
        ours.torn += restart.torn;
        ours.clrs += restart.clrs;
        ours.undo_read += restart.undo_read;
        ours.rolled_back += restart.rolled_back;
    }

    /// Adds another case.
    pub fn merge(&mut self, other: &Self) {
        self.cases += other.cases;
        self.coverage.merge(&other.coverage);
        for (step, count) in &other.steps {
            *self.steps.entry(step.clone()).or_default() += count;
        }
        let (restarts, losers) = (self.restarts, self.with_losers);
        self.add_restart(other.restart);
        self.restarts = restarts + other.restarts;
        self.with_losers = losers + other.with_losers;
    }

    /// All states judged: those of the explorer, and those cut in analysis.
    #[must_use]
    pub fn states(&self) -> u64 {
        self.steps.values().sum()
    }

    /// Steps in which fewer than `floor` states were cut.
    #[must_use]
    pub fn below_floor(&self, floor: u64) -> Vec<&'static str> {
        let count = |step: &str| self.steps.get(step).copied().unwrap_or(0);
        STEPS.iter().copied().filter(|step| count(step) < floor).collect()
    }

    /// How deep, and in which way, a part of what was not synced survived in fewer than `floor`
    /// judged states, of the first `depth` cuts in a row.
    #[must_use]
    pub fn depths_below_floor(&self, depth: usize, floor: u64) -> Vec<String> {
        let all = (1..=depth).map(|depth| (depth, &FaultKind::PARTIAL[..]));
        let floors = all.fold(Floors::new(), |floors, (at, kinds)| floors.depth(at, kinds, floor));
        self.coverage.below(&floors)
    }

    fn restart_counts(&self) -> [(&'static str, u64); 13] {
        let it = &self.restart;
        [
            ("restarts", self.restarts),
            ("restarts with losers", self.with_losers),
            ("records analysed", it.analysed),
            ("winners ended", it.winners),
            ("losers", it.losers),
            ("in doubt", it.in_doubt),
            ("dirty pages", it.dirty_pages),
            ("changes redone", it.redone),
            ("changes passed over", it.skipped),
            ("torn pages mended", it.torn),
            ("compensations", it.clrs),
            ("records read by undo", it.undo_read),
            ("rolled back", it.rolled_back),
        ]
    }

    /// As one value.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let coverage: Value = serde_json::from_str(&self.coverage.to_json()).unwrap_or_default();
        let restart: BTreeMap<&str, u64> = self.restart_counts().into_iter().collect();
        json!({
            "cases": self.cases,
            "states": self.states(),
            "distinct": self.coverage.distinct,
            "steps": self.steps,
            "restart": restart,
            "coverage": coverage,
        })
    }

    /// As tables for people.
    #[must_use]
    pub fn tables(&self) -> String {
        let steps = self.steps.iter().map(|(step, count)| (step.as_str(), *count));
        let depths: Vec<(String, u64)> =
            self.coverage.by_depth.iter().map(|(depth, it)| (depth.to_string(), *it)).collect();
        let depths = depths.iter().map(|(depth, count)| (depth.as_str(), *count));
        let faults: Vec<(String, u64)> =
            self.coverage.by_fault.iter().map(|(kind, it)| (kind.to_string(), *it)).collect();
        let faults = faults.iter().map(|(kind, count)| (kind.as_str(), *count));
        [
            table("power cut in", steps),
            table("cuts in a row", depths),
            table("after faults of this kind", faults),
            table("what restarts found and did", self.restart_counts().into_iter()),
        ]
        .concat()
    }

    /// The whole in a line or two.
    #[must_use]
    pub fn summary(&self) -> String {
        let coverage = &self.coverage;
        format!(
            "{} cases, {} states judged, {} distinct; {} power cuts, {} more in restarts; hash {:016x}",
            self.cases,
            self.states(),
            coverage.distinct,
            coverage.cuts,
            coverage.cuts_in_recovery,
            coverage.hash
        )
    }
}

fn table<'a>(head: &str, counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([head, "count"]);
    for (name, count) in counts {
        table.add_row([name.to_owned(), count.to_string()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_survive_the_first_cut_only_are_below_the_floor_of_deeper_ones() {
        let mut figures = Figures::default();
        for kind in FaultKind::PARTIAL {
            figures.coverage.by_depth_fault.insert((1, kind), 9);
        }
        assert_eq!(figures.depths_below_floor(1, 9), [""; 0]);
        let missed = figures.depths_below_floor(2, 9);
        assert_eq!(missed.len(), FaultKind::PARTIAL.len(), "{missed:?}");
    }

    #[test]
    fn figures_add_up_and_a_step_never_cut_is_below_its_floor() {
        let mut one = Figures { cases: 1, ..Figures::default() };
        one.cut_in("undo");
        one.add_restart(Restart { losers: 2, clrs: 3, ..Restart::default() });
        let mut all = Figures::default();
        all.merge(&one);
        all.merge(&one);
        assert_eq!((all.cases, all.states(), all.restarts, all.with_losers), (2, 2, 2, 2));
        assert_eq!((all.restart.losers, all.restart.clrs), (4, 6));
        assert!(!all.below_floor(2).contains(&"undo") && all.below_floor(2).contains(&"redo"));
        assert!(all.tables().contains("undo"));
    }
}
