//! What an exploration covered: counts, the floors they are held to, and JSON.
//!
//! Knows nothing of how states are made. Counts of several explorations can be added up; distinct
//! states are counted over all of them if they share one [`Seen`].

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::fault_kind::{Call, FaultKind};
use crate::random::fold;

/// What was explored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Operations of the workload when nothing interrupts it, summed over all runs.
    pub ops: u64,
    /// Power cuts made in the workload, the one after its end included.
    pub cuts: u64,
    /// Power cuts of which every crash state was judged.
    pub exhaustive_cuts: u64,
    /// Power cuts made in the check, that is, in recovery.
    pub cuts_in_recovery: u64,
    /// Crash states judged, those after the death of the process alone and decayed ones included.
    pub states: u64,
    /// States after the death of the process alone.
    pub kills: u64,
    /// States that decayed after the crash.
    pub decayed: u64,
    /// Crash states that differ from all others in what the check learned of them: two states are
    /// one if they are equal in every byte, length and name that was read.
    pub distinct: u64,
    /// Crash states passed over because the same bytes had been judged before, with the same
    /// promises to keep.
    pub repeated: u64,
    /// How deep in a row the power was cut: 1 in the workload, 2 in recovery, and so on; with the
    /// number of states judged there.
    pub by_depth: BTreeMap<usize, u64>,
    /// Power cuts in the workload, by the call they fell into.
    pub cuts_by_call: BTreeMap<Call, u64>,
    /// States met, by the step of the protocol that was cut: a call, and a class of files. Those
    /// passed over count as well: a cut in a sync leaves what one in the write before it leaves.
    pub by_step: BTreeMap<(Call, String), u64>,
    /// States judged, by what had befallen them; one state may count for several.
    pub by_fault: BTreeMap<FaultKind, u64>,
    /// The same for [what a crash does](FaultKind::CRASH), by how many cuts in a row it was: floors
    /// over all depths would not show that recovery is only ever cut in one way.
    pub by_depth_fault: BTreeMap<(usize, FaultKind), u64>,
    /// Live faults that hit the workload, by call, in all its runs.
    pub faults_by_call: BTreeMap<Call, u64>,
    /// Whether the limit on states ended the exploration early.
    pub cut_short: bool,
    /// A number for everything judged, in order: equal runs have equal hashes.
    pub hash: u64,
}

/// The states that were ever seen, by what was learned of them; clones share them.
///
/// Give one to several explorations, and none counts a state as distinct that another had.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    learned: Arc<Mutex<HashSet<u64>>>,
}

impl Seen {
    /// How many states were seen.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.learned.lock().len() as u64
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.learned.lock().is_empty()
    }

    /// Adds states; returns how many of them are new.
    pub(crate) fn add(&self, learned: &[u64]) -> u64 {
        let mut seen = self.learned.lock();
        learned.iter().filter(|&&state| seen.insert(state)).count() as u64
    }
}

/// What an exploration must at least cover; see [`Coverage::below`].
#[derive(Clone, Debug, Default)]
pub struct Floors {
    distinct: u64,
    faults: BTreeMap<FaultKind, u64>,
    depths: BTreeMap<(usize, FaultKind), u64>,
    steps: BTreeMap<(Call, String), u64>,
}

impl Floors {
    /// Nothing is demanded.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At least so many distinct states.
    #[must_use]
    pub fn distinct(mut self, states: u64) -> Self {
        self.distinct = states;
        self
    }

    /// At least so many states that `kind` had befallen.
    #[must_use]
    pub fn fault(mut self, kind: FaultKind, states: u64) -> Self {
        self.faults.insert(kind, states);
        self
    }

    /// At least so many states of each of these kinds.
    #[must_use]
    pub fn faults(self, kinds: &[FaultKind], states: u64) -> Self {
        kinds.iter().fold(self, |floors, &kind| floors.fault(kind, states))
    }

    /// At least so many states of each of these [kinds of crash](FaultKind::CRASH) after `depth` cuts
    /// in a row.
    #[must_use]
    pub fn depth(mut self, depth: usize, kinds: &[FaultKind], states: u64) -> Self {
        self.depths.extend(kinds.iter().map(|&kind| ((depth, kind), states)));
        self
    }

    /// At least so many states met in which `call` on a file of `class` was cut.
    #[must_use]
    pub fn step(mut self, call: Call, class: &str, states: u64) -> Self {
        self.steps.insert((call, class.to_owned()), states);
        self
    }
}

impl Coverage {
    /// What lies below its floor, in words; nothing if all is covered.
    #[must_use]
    pub fn below(&self, floors: &Floors) -> Vec<String> {
        let mut below = Vec::new();
        let mut hold = |what: String, found: u64, floor: u64| {
            if found < floor {
                below.push(format!("{what}: {found} states, at least {floor} are demanded"));
            }
        };
        hold("distinct".to_owned(), self.distinct, floors.distinct);
        for (kind, &floor) in &floors.faults {
            hold(kind.to_string(), self.by_fault.get(kind).copied().unwrap_or(0), floor);
        }
        for (at, &floor) in &floors.depths {
            hold(depth_name(at), self.by_depth_fault.get(at).copied().unwrap_or(0), floor);
        }
        for (step, &floor) in &floors.steps {
            let found = self.by_step.get(step).copied().unwrap_or(0);
            hold(step_name(step), found, floor);
        }
        below
    }

    /// Adds another exploration to this one. `distinct` is added up as well, which is right if the
    /// two shared a [`Seen`]; the order of merging is part of the hash.
    pub fn merge(&mut self, other: &Self) {
        self.ops += other.ops;
        self.cuts += other.cuts;
        self.exhaustive_cuts += other.exhaustive_cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.states += other.states;
        self.kills += other.kills;
        self.decayed += other.decayed;
        self.distinct += other.distinct;
        self.repeated += other.repeated;
        add(&mut self.by_depth, &other.by_depth);
        add(&mut self.cuts_by_call, &other.cuts_by_call);
        add(&mut self.by_step, &other.by_step);
        add(&mut self.by_fault, &other.by_fault);
        add(&mut self.by_depth_fault, &other.by_depth_fault);
        add(&mut self.faults_by_call, &other.faults_by_call);
        self.cut_short |= other.cut_short;
        self.hash = fold(self.hash, other.hash);
    }

    /// All of it as one JSON object on one line; numbers but for the hash, which is a string.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::from("{");
        let numbers = [
            ("ops", self.ops),
            ("cuts", self.cuts),
            ("exhaustive_cuts", self.exhaustive_cuts),
            ("cuts_in_recovery", self.cuts_in_recovery),
            ("states", self.states),
            ("distinct", self.distinct),
            ("repeated", self.repeated),
            ("kills", self.kills),
            ("decayed", self.decayed),
        ];
        for (name, number) in numbers {
            let _ = write!(json, "\"{name}\":{number},");
        }
        object(
            &mut json,
            "by_depth",
            self.by_depth.iter().map(|(depth, &n)| (depth.to_string(), n)),
        );
        object(&mut json, "by_fault", self.by_fault.iter().map(|(kind, &n)| (kind.to_string(), n)));
        let by_depth_fault = self.by_depth_fault.iter();
        object(
            &mut json,
            "by_depth_fault",
            by_depth_fault.map(|(at, &count)| (depth_name(at), count)),
        );
        object(&mut json, "by_step", self.by_step.iter().map(|(step, &n)| (step_name(step), n)));
        let calls = |counts: &BTreeMap<Call, u64>| -> Vec<(String, u64)> {
            counts.iter().map(|(call, &count)| (call.to_string(), count)).collect()
        };
        object(&mut json, "cuts_by_call", calls(&self.cuts_by_call));
        object(&mut json, "faults_by_call", calls(&self.faults_by_call));
        let _ = write!(json, "\"cut_short\":{},\"hash\":\"{:016x}\"}}", self.cut_short, self.hash);
        json
    }
}

/// A step of the protocol for people: `sync log`, `sync directory`.
fn step_name((call, class): &(Call, String)) -> String {
    if class.is_empty() { call.to_string() } else { format!("{call} {class}") }
}

/// What a crash does at a depth, for people: `torn sector at depth 2`.
fn depth_name((depth, kind): &(usize, FaultKind)) -> String {
    format!("{kind} at depth {depth}")
}

fn add<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *counts.entry(key.clone()).or_default() += count;
    }
}

/// One member: an object of counts. Keys are escaped as far as the classes of a caller need it.
fn object(json: &mut String, name: &str, counts: impl IntoIterator<Item = (String, u64)>) {
    let _ = write!(json, "\"{name}\":{{");
    for (at, (key, count)) in counts.into_iter().enumerate() {
        json.push_str(if at > 0 { ",\"" } else { "\"" });
        for letter in key.chars() {
            match letter {
                '"' | '\\' => json.extend(['\\', letter]),
                letter if letter < ' ' => {
                    let _ = write!(json, "\\u{:04x}", u32::from(letter));
                }
                letter => json.push(letter),
            }
        }
        let _ = write!(json, "\":{count}");
    }
    json.push_str("},");
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states ({} distinct) from {} cuts in {} operations, {} of them exhaustive, and {} \
             cuts in recovery; hash {:016x}",
            self.states,
            self.distinct,
            self.cuts,
            self.ops,
            self.exhaustive_cuts,
            self.cuts_in_recovery,
            self.hash
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage() -> Coverage {
        let step = (Call::Sync, "a \"log\"\n".to_owned());
        Coverage {
            states: 7,
            distinct: 5,
            by_fault: BTreeMap::from([(FaultKind::TornSector, 2)]),
            by_step: BTreeMap::from([(step, 3), ((Call::SyncDir, String::new()), 4)]),
            hash: 0xabc,
            ..Coverage::default()
        }
    }

    #[test]
    fn what_lies_below_its_floor_is_named() {
        let floors = Floors::new().distinct(5).fault(FaultKind::TornSector, 2);
        assert_eq!(coverage().below(&floors), [""; 0]);
        let floors = Floors::new()
            .distinct(6)
            .faults(&[FaultKind::TornSector, FaultKind::BitFlip], 3)
            .step(Call::SyncDir, "", 5)
            .step(Call::Create, "log", 1);
        let below = coverage().below(&floors);
        assert_eq!(below.len(), 5, "{below:?}");
        assert!(below.contains(&"bit flip: 0 states, at least 3 are demanded".to_owned()));
        assert!(below.contains(&"create log: 0 states, at least 1 are demanded".to_owned()));
    }

    #[test]
    fn a_floor_at_a_depth_is_not_met_by_states_of_another_depth() {
        let by_depth_fault = BTreeMap::from([((1, FaultKind::TornSector), 9)]);
        let coverage = Coverage { by_depth_fault, ..coverage() };
        let floor = |depth| Floors::new().depth(depth, &[FaultKind::TornSector], 9);
        assert_eq!(coverage.below(&floor(1)), [""; 0]);
        let below = coverage.below(&floor(2));
        assert_eq!(below, ["torn sector at depth 2: 0 states, at least 9 are demanded"]);
    }

    #[test]
    fn json_holds_every_count_and_escapes_names() {
        let json = coverage().to_json();
        for part in [
            "{\"ops\":0,",
            "\"distinct\":5,",
            "\"by_fault\":{\"torn sector\":2},",
            "\"sync a \\\"log\\\"\\u000a\":3,\"sync directory\":4}",
            "\"cut_short\":false,\"hash\":\"0000000000000abc\"}",
        ] {
            assert!(json.contains(part), "{part} is not in {json}");
        }
    }

    #[test]
    fn merging_adds_counts_and_keeps_the_order_in_the_hash() {
        let other = Coverage { hash: 9, cut_short: true, ..coverage() };
        let (mut one, mut two) = (coverage(), other.clone());
        one.merge(&other);
        two.merge(&coverage());
        assert_eq!(
            (one.states, one.by_fault[&FaultKind::TornSector], one.cut_short),
            (14, 4, true)
        );
        assert_ne!(one.hash, two.hash);
    }

    #[test]
    fn states_seen_by_one_exploration_are_not_new_to_another() {
        let seen = Seen::default();
        assert_eq!(seen.add(&[1, 2, 2]), 2);
        assert_eq!((seen.clone().add(&[2, 3]), seen.len(), seen.is_empty()), (1, 3, false));
    }
}
