//! What was covered, in numbers: of one case, or of a whole campaign.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use wal_sim::{Coverage, FaultKind};

use crate::action::STEPS;
use crate::profile::Profile;
use crate::story::{Judged, Story};

/// Figures of one case, or of many.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Explorations: a workload with a seed.
    pub cases: u64,
    /// Crash states and decayed disks that were recovered and judged.
    pub states: u64,
    /// What recovery read in each: two states are distinct only if they differ in that.
    pub distinct: HashSet<u64>,
    /// Power cuts in workloads.
    pub cuts: u64,
    /// Power cuts in recovery.
    pub cuts_in_recovery: u64,
    /// States after the death of the process alone.
    pub kills: u64,
    /// Judged states, by the step of the protocol in which the power went.
    pub steps: BTreeMap<String, u64>,
    /// Judged states, by what the workload was doing.
    pub actions: BTreeMap<String, u64>,
    /// Judged states, by the kinds of faults that had befallen them; one may count for several.
    pub faults: BTreeMap<String, u64>,
    /// Judged states, by how many cuts in a row it was and what the crash did.
    pub depths: BTreeMap<(usize, FaultKind), u64>,
    /// Live faults that hit runs of workloads, by call.
    pub failed_calls: BTreeMap<String, u64>,
    /// Verdicts that openings reached.
    pub verdicts: BTreeMap<String, u64>,
    /// Distinct states by workload.
    pub workloads: BTreeMap<String, u64>,
    /// Steps found that were promised, found that were not, and gone that were not.
    pub judged: Judged,
    /// Promised steps in the window that no evidence covers, lost to decay (rule 10).
    pub unproven_lost: u64,
    /// Logs poisoned and opened again within workloads.
    pub poisonings: u64,
    /// Calls refused by a log that stayed usable.
    pub refusals: u64,
    /// A number for everything judged, in order.
    pub hash: u64,
}

impl Figures {
    /// Counts one judged state.
    pub fn count(&mut self, story: &Story, seen: u64, verdict: &str) {
        self.states += 1;
        self.distinct.insert(seen);
        let step = story.cut.clone().unwrap_or_else(|| "after the end".to_owned());
        *self.steps.entry(step).or_default() += 1;
        *self.actions.entry(story.during.name().to_owned()).or_default() += 1;
        *self.verdicts.entry(verdict.to_owned()).or_default() += 1;
    }

    /// Adds what one recovery found.
    pub fn add_judged(&mut self, judged: Judged) {
        self.judged.promised += judged.promised;
        self.judged.kept += judged.kept;
        self.judged.dropped += judged.dropped;
    }

    /// Adds what an exploration covered.
    pub fn add_coverage(&mut self, coverage: &Coverage) {
        self.cuts += coverage.cuts;
        self.cuts_in_recovery += coverage.cuts_in_recovery;
        self.kills += coverage.kills;
        self.hash = fold(self.hash, coverage.hash);
        for (call, count) in &coverage.faults_by_call {
            *self.failed_calls.entry(call.to_string()).or_default() += count;
        }
        for (at, count) in &coverage.by_depth_fault {
            *self.depths.entry(*at).or_default() += count;
        }
        for (kind, count) in &coverage.by_fault {
            *self.faults.entry(kind.to_string()).or_default() += count;
        }
    }

    /// Adds another case; the order matters for the hash.
    pub fn merge(&mut self, other: &Self) {
        self.cases += other.cases;
        self.states += other.states;
        self.distinct.extend(&other.distinct);
        self.cuts += other.cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.kills += other.kills;
        for (ours, theirs) in [
            (&mut self.steps, &other.steps),
            (&mut self.actions, &other.actions),
            (&mut self.faults, &other.faults),
            (&mut self.failed_calls, &other.failed_calls),
            (&mut self.verdicts, &other.verdicts),
            (&mut self.workloads, &other.workloads),
        ] {
            for (name, count) in theirs {
                *ours.entry(name.clone()).or_default() += count;
            }
        }
        for (at, count) in &other.depths {
            *self.depths.entry(*at).or_default() += count;
        }
        self.add_judged(other.judged);
        self.unproven_lost += other.unproven_lost;
        self.poisonings += other.poisonings;
        self.refusals += other.refusals;
        self.hash = fold(self.hash, other.hash);
    }

    /// Steps of the protocol that fewer than `floor` judged states were cut in.
    #[must_use]
    pub fn below_floor(&self, floor: u64) -> Vec<&'static str> {
        let count = |step: &str| self.steps.get(step).copied().unwrap_or(0);
        STEPS.iter().copied().filter(|step| count(step) < floor).collect()
    }

    /// Kinds of faults that fewer than `floor` judged states had met, of those that `profiles` are
    /// there for.
    #[must_use]
    pub fn faults_below_floor(&self, profiles: &[&Profile], floor: u64) -> Vec<FaultKind> {
        let kinds: BTreeSet<FaultKind> =
            profiles.iter().flat_map(|profile| profile.fires()).collect();
        let count = |kind: &FaultKind| self.faults.get(kind.name()).copied().unwrap_or(0);
        kinds.into_iter().filter(|kind| count(kind) < floor).collect()
    }

    /// How deep, and in which way, a part of what was not synced survived in fewer than `floor`
    /// judged states, of the first `depth` cuts in a row.
    #[must_use]
    pub fn depths_below_floor(&self, depth: usize, floor: u64) -> Vec<(usize, FaultKind)> {
        let all = (1..=depth).flat_map(|depth| FaultKind::PARTIAL.map(|kind| (depth, kind)));
        all.filter(|at| self.depths.get(at).copied().unwrap_or(0) < floor).collect()
    }

    fn by_depth(&self) -> BTreeMap<String, u64> {
        let depths = self.depths.iter();
        depths.map(|((depth, kind), count)| (format!("{depth}: {kind}"), *count)).collect()
    }

    /// All figures as one value; distinct states are counted, not listed.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "cases": self.cases,
            "states": self.states,
            "distinct": self.distinct.len(),
            "cuts": self.cuts,
            "cuts_in_recovery": self.cuts_in_recovery,
            "kills": self.kills,
            "steps": self.steps,
            "actions": self.actions,
            "faults": self.faults,
            "depths": self.by_depth(),
            "failed_calls": self.failed_calls,
            "verdicts": self.verdicts,
            "workloads": self.workloads,
            "promised_found": self.judged.promised,
            "unpromised_found": self.judged.kept,
            "unpromised_dropped": self.judged.dropped,
            "unproven_lost": self.unproven_lost,
            "poisonings": self.poisonings,
            "refusals": self.refusals,
            "hash": format!("{:016x}", self.hash),
        })
    }

    /// The figures as tables for people.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for (head, counts) in [
            ("power cut in", &self.steps),
            ("while the workload did", &self.actions),
            ("after faults of this kind", &self.faults),
            ("cuts in a row, and what they did", &self.by_depth()),
            ("calls that a fault hit", &self.failed_calls),
            ("verdicts", &self.verdicts),
            ("distinct states by workload", &self.workloads),
        ] {
            if counts.is_empty() {
                continue;
            }
            let mut table = Table::new();
            table.load_preset(presets::NOTHING).set_header([head, "count"]);
            for (name, count) in counts {
                table.add_row([name.clone(), count.to_string()]);
            }
            if let Some(column) = table.column_mut(1) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
            text.push_str(&table.to_string());
            text.push_str("\n\n");
        }
        text
    }

    /// The whole in a few lines.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} cases, {} states judged, {} distinct; {} power cuts, {} more in recovery, {} \
             deaths of the process\nsteps found: {} promised, {} besides; {} dropped that nobody \
             was promised; {} promised ones lost to decay where no evidence reached\n{} \
             poisonings, {} refusals; hash {:016x}",
            self.cases,
            self.states,
            self.distinct.len(),
            self.cuts,
            self.cuts_in_recovery,
            self.kills,
            self.judged.promised,
            self.judged.kept,
            self.judged.dropped,
            self.unproven_lost,
            self.poisonings,
            self.refusals,
            self.hash,
        )
    }
}

fn fold(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_counts_and_joins_distinct_states() {
        let case = |seen: &[u64]| {
            let mut figures = Figures { cases: 1, ..Figures::default() };
            seen.iter().for_each(|seen| figures.count(&Story::default(), *seen, "clean end"));
            figures
        };
        let mut all = Figures::default();
        all.merge(&case(&[1, 2]));
        all.merge(&case(&[2, 3, 3]));
        assert_eq!((all.cases, all.states, all.distinct.len()), (2, 5, 3));
        assert_eq!(all.verdicts["clean end"], 5);
    }

    #[test]
    fn a_step_that_was_never_cut_is_below_every_floor() {
        assert_eq!(Figures::default().below_floor(1), STEPS);
    }

    #[test]
    fn parts_that_survive_the_first_cut_only_are_below_the_floor_of_deeper_ones() {
        let mut figures = Figures::default();
        for kind in FaultKind::PARTIAL {
            figures.depths.insert((1, kind), 9);
        }
        assert_eq!(figures.depths_below_floor(1, 9), []);
        let missed = figures.depths_below_floor(3, 9);
        assert_eq!(missed.len(), 2 * FaultKind::PARTIAL.len());
        assert!(missed.contains(&(2, FaultKind::TornSector)));
    }

    #[test]
    fn a_kind_of_fault_that_was_never_met_is_below_its_floor() {
        let profile = Profile::named("decay").unwrap();
        let mut figures = Figures::default();
        let mut kinds = profile.fires();
        kinds.sort();
        assert_eq!(figures.faults_below_floor(&[profile], 1), kinds);
        for kind in &kinds {
            figures.faults.insert(kind.to_string(), 4);
        }
        assert_eq!(figures.faults_below_floor(&[profile], 4), []);
        assert_eq!(figures.faults_below_floor(&[profile], 5), kinds);
    }
}
