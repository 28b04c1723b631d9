//! Every short history of a directory, cut off between any two of its steps.
//!
//! A model of what the writer does, in the order in which it does it; after each step the power
//! may go. Removals are durable in any combination until the directory is synced.

use super::*;
use std::collections::BTreeSet;

/// One durable change of the directory.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add(SegmentHeader),
    Epoch(Epoch),
    Newest(SegmentName),
    Head(Lsn),
    /// May have happened or not when the power goes, until the operation ends.
    Remove(SegmentName),
}

#[derive(Clone, Debug)]
struct Directory {
    files: BTreeMap<SegmentName, SegmentHeader>,
    slot: ControlSlot,
}

impl Directory {
    fn new() -> Self {
        let first = header(FIRST, 1, CAPACITY);
        let second = after(header(SECOND, 1, CAPACITY), FIRST, 1, SECOND);
        let files = [first, second].map(|header| (file(header).name, header));
        Self { files: files.into(), slot: slot((SECOND, 1), FIRST) }
    }

    fn chain(&self) -> Chain {
        let files: Vec<_> = self.files.values().map(|header| file(*header)).collect();
        build_chain(&files, &control(self.slot.clone()))
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Add(header) => drop(self.files.insert(file(header).name, header)),
            Step::Epoch(epoch) => self.slot.epoch = epoch,
            Step::Newest(name) => {
                (self.slot.newest_base, self.slot.newest_epoch) = (name.base, name.epoch);
            }
            Step::Head(head) => self.slot.head = head,
            Step::Remove(name) => drop(self.files.remove(&name)),
        }
    }

    fn make(
        &self,
        base: Lsn,
        capacity: u64,
        pred: (SegmentName, Lsn),
        open: bool,
    ) -> SegmentHeader {
        let made = header(base.get(), self.slot.epoch.get(), capacity);
        let (name, end) = pred;
        let made = after(made, name.base.get(), name.epoch.get(), end.get());
        let made = SegmentHeader { head: self.slot.head, ..made };
        if open { opening(made) } else { made }
    }
}

/// What a writer may do next. `At` is in which part of the last link but one records end.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Rotate,
    Truncate,
    /// Unclean; with `unproven` bytes to be written again.
    Reopen {
        unproven: u64,
    },
}

const OPERATIONS: [Operation; 4] = [
    Operation::Rotate,
    Operation::Truncate,
    Operation::Reopen { unproven: 0 },
    Operation::Reopen { unproven: 240 },
];

fn steps(directory: &Directory, operation: Operation) -> Vec<Step> {
    let chain = directory.chain();
    let last = *chain.links.last().unwrap();
    match operation {
        Operation::Rotate => {
            let next = directory.make(last.end(), CAPACITY, (last.name, last.end()), false);
            vec![Step::Add(next), Step::Newest(file(next).name)]
        }
        Operation::Truncate => {
            let keep = chain.links.len().saturating_sub(2);
            let removed = chain.links[..keep].iter().map(|link| Step::Remove(link.name));
            std::iter::once(Step::Head(chain.links[keep].name.base)).chain(removed).collect()
        }
        Operation::Reopen { unproven } => reopen(directory, &chain, unproven),
    }
}

fn reopen(directory: &Directory, chain: &Chain, unproven: u64) -> Vec<Step> {
    let epoch = chain.highest_epoch.checked_add(1).unwrap();
    let mut next = directory.clone();
    next.slot.epoch = epoch;
    // Records end in the last link, or in the one before an empty successor.
    let active = chain.links[chain.links.len().saturating_sub(2)];
    let end = active.cap.min(active.name.base.checked_add(800).unwrap());
    let durable = lsn(end.get() - unproven.min(end.get() - active.name.base.get()));
    let mut steps = vec![Step::Epoch(epoch)];
    let mut pred = (active.name, end);
    if durable < end {
        let bytes = end.get() - durable.get();
        let run = next.make(durable, bytes, (active.name, durable), true);
        steps.push(Step::Add(run));
        pred = (file(run).name, end);
    }
    let fresh = next.make(chain.address_end, CAPACITY, pred, true);
    let fresh_name = file(fresh).name;
    let successor =
        next.make(fresh.end().unwrap(), CAPACITY, (fresh_name, fresh.end().unwrap()), false);
    steps.extend([Step::Add(fresh), Step::Add(successor), Step::Newest(file(successor).name)]);
    for step in &steps {
        next.apply(*step);
    }
    steps.extend(next.chain().dead.iter().map(|dead| Step::Remove(dead.name)));
    steps
}

/// Every state that a crash during `steps` can leave, the last being the one without a crash.
fn states(directory: &Directory, steps: &[Step]) -> Vec<Directory> {
    let (kept, removals): (Vec<&Step>, Vec<&Step>) =
        steps.iter().partition(|step| !matches!(step, Step::Remove(_)));
    let mut states = vec![directory.clone()];
    let mut now = directory.clone();
    for step in kept {
        now.apply(*step);
        states.push(now.clone());
    }
    for chosen in 1_u32..1 << removals.len() {
        let mut some = now.clone();
        for (index, step) in removals.iter().enumerate() {
            if chosen & (1 << index) != 0 {
                some.apply(**step);
            }
        }
        states.push(some);
    }
    states
}

fn check(directory: &Directory, trail: &[Operation]) -> Chain {
    let chain = directory.chain();
    assert_eq!(chain.problems, [], "{trail:?}: {directory:?}");
    assert!(!chain.links.is_empty());
    let head = chain.links[0].name.base;
    assert_eq!(head, directory.slot.head, "{trail:?}");
    for pair in chain.links.windows(2) {
        assert!(pair[0].cap <= pair[1].name.base, "{trail:?}: {chain:?}");
    }
    let names: BTreeSet<_> = chain.links.iter().map(|link| link.name).collect();
    assert_eq!(names.len() + chain.dead.len(), directory.files.len(), "each file is met once");
    assert!(chain.links.iter().all(|link| link.end() <= chain.address_end));
    chain
}

/// Walks every history of `depth` operations, each of which may be cut off anywhere.
fn explore(directory: &Directory, depth: usize, trail: &mut Vec<Operation>, met: &mut usize) {
    let before = check(directory, trail);
    *met += 1;
    if depth == 0 {
        return;
    }
    for operation in OPERATIONS {
        trail.push(operation);
        for state in states(directory, &steps(directory, operation)) {
            let now = check(&state, trail);
            assert!(now.address_end >= before.address_end, "r08: {trail:?}");
            explore(&state, depth - 1, trail, met);
        }
        trail.pop();
    }
}

#[test]
fn r14_no_crash_between_two_steps_leaves_a_problem() {
    let mut met = 0;
    explore(&Directory::new(), 3, &mut Vec::new(), &mut met);
    assert!(met > 1000, "only {met} states");
}

#[test]
fn r14_in_every_history_the_loss_of_any_link_is_a_problem() {
    for first in OPERATIONS {
        for second in OPERATIONS {
            let mut directory = Directory::new();
            for operation in [Operation::Rotate, first, second] {
                for step in steps(&directory, operation) {
                    directory.apply(step);
                }
            }
            for link in directory.chain().links {
                let mut without = directory.clone();
                without.files.remove(&link.name);
                assert_ne!(without.chain().problems, [], "{first:?} {second:?}: {link:?}");
            }
        }
    }
}
