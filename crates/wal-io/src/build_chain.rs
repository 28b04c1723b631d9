//! The pure core of a survey: names, headers and control slots in, chain and problems out.
//!
//! The tip is the highest (epoch, base). From there each header names its predecessor, whose end
//! caps it; the walk stops at the head, which the control file or any header may tell, or at the
//! first segment of all. Everything not met is dead. Nothing here reads, writes or trusts: where
//! a header is damaged or a segment missing, that is a problem, and the walk goes on with the
//! next best segment, so that `verify` and salvage can show what is left.

use std::collections::BTreeMap;

use wal_format::layout::BLOCK_BYTES;
use wal_format::{DecodeError, Epoch, LogId, Lsn, Predecessor, SegmentFlags, SegmentHeader};

use crate::chain::{ChainLink, ChainProblem, DeadReason, DeadSegment};
use crate::control_file::ControlView;
use crate::segment_name::{CONTROL_NAME, SegmentName};

/// A file with the name of a live segment, as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSegment {
    /// Its name.
    pub name: SegmentName,
    /// Length of the file, header block included.
    pub file_bytes: u64,
    /// Its header, or why there is none.
    pub header: Result<SegmentHeader, DecodeError>,
}

/// What [`build_chain`] makes of a directory; the fields are those of [`Survey`](crate::Survey).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The identity of the log; `None` where nothing tells.
    pub log_id: Option<LogId>,
    /// The chain, oldest first.
    pub links: Vec<ChainLink>,
    /// Segments off the chain.
    pub dead: Vec<DeadSegment>,
    /// What is wrong.
    pub problems: Vec<ChainProblem>,
    /// Above every address that any file could hold, a multiple of 4,096.
    pub address_end: Lsn,
    /// The highest epoch that any name, header or slot carries.
    pub highest_epoch: Epoch,
}

/// Orders the segments of a directory.
///
/// # Cost
///
/// No I/O; time and memory grow with the number of files only.
///
/// Source: rules 2, 8, 12 and 14.
#[must_use]
pub fn build_chain(found: &[FoundSegment], control: &ControlView) -> Chain {
    let log_id = identify(found, control);
    let mut problems = control_problems(control, log_id);
    let mut nodes = BTreeMap::new();
    for file in found {
        match judge(file, log_id) {
            Ok(node) => drop(nodes.insert(node.name, node)),
            Err(problem) => problems.push(problem),
        }
    }
    let mut walk = Walk { head: known_head(&nodes, control), nodes, links: vec![], problems };
    walk.run(control);
    walk.check_newest(found, control);
    if is_unfinished(control) {
        let gap = |p: &ChainProblem| matches!(p, ChainProblem::Missing { .. });
        walk.problems.retain(|problem| !gap(problem));
    }
    walk.links.reverse();
    let Walk { head, nodes, links, problems } = walk;
    let dead = nodes.into_values().map(|node| node.dead(head)).collect();
    let highest_epoch = highest_epoch(found, control);
    Chain { log_id, links, dead, problems, address_end: address_end(found, control), highest_epoch }
}

/// A segment that may be on the chain.
#[derive(Clone, Copy)]
struct Node {
    name: SegmentName,
    file_bytes: u64,
    /// As read; or, where it is damaged, what name and length tell.
    header: SegmentHeader,
    damage: Option<DecodeError>,
}

impl Node {
    fn end(&self) -> Lsn {
        self.header.end().unwrap_or(Lsn::MAX)
    }

    fn dead(&self, head: Lsn) -> DeadSegment {
        let below = self.name.base < head;
        let reason = if below { DeadReason::BelowHead } else { DeadReason::OffChain };
        let capacity_bytes = self.damage.is_none().then_some(self.header.capacity_bytes);
        DeadSegment { name: self.name, file_bytes: self.file_bytes, capacity_bytes, reason }
    }
}

/// Whether the creation of the log never came to its last step: no record was ever written, so
/// none can be missing, whatever segments there are.
pub(crate) fn is_unfinished(control: &ControlView) -> bool {
    control.current().is_some_and(|slot| slot.newest_epoch == Epoch::NONE)
}

/// The control file says whose log this is; without it, the newest header that verifies.
fn identify(found: &[FoundSegment], control: &ControlView) -> Option<LogId> {
    let newest = || {
        let sound = found.iter().filter_map(|file| Some((file.name, file.header.ok()?.log_id)));
        sound.max_by_key(|(name, _)| *name).map(|(_, log_id)| log_id)
    };
    control.current().map(|slot| slot.log_id).or_else(newest)
}

fn control_problems(control: &ControlView, log_id: Option<LogId>) -> Vec<ChainProblem> {
    let name = || CONTROL_NAME.to_owned();
    let newer = control
        .newer_version()
        .map(|found| ChainProblem::UnsupportedVersion { name: name(), found });
    let foreign = control
        .whole()
        .find(|slot| Some(slot.log_id) != log_id)
        .map(|slot| ChainProblem::Foreign { name: name(), found: slot.log_id });
    newer.into_iter().chain(foreign).collect()
}

/// A file that can be on the chain, or the problem that keeps it off.
fn judge(file: &FoundSegment, log_id: Option<LogId>) -> Result<Node, ChainProblem> {
    let FoundSegment { name, file_bytes, header } = *file;
    match (header, log_id) {
        (Err(DecodeError::UnsupportedVersion { found }), _) => {
            Err(ChainProblem::UnsupportedVersion { name: name.to_string(), found })
        }
        (Err(source), Some(log_id)) => {
            let header = header_of_name(name, file_bytes, log_id);
            Ok(Node { name, file_bytes, header, damage: Some(source) })
        }
        (Err(source), None) => Err(ChainProblem::DamagedHeader { name, source }),
        (Ok(header), log_id) if Some(header.log_id) != log_id => {
            Err(ChainProblem::Foreign { name: name.to_string(), found: header.log_id })
        }
        (Ok(header), _) => {
            let found = SegmentName { epoch: header.epoch, base: header.base };
            if found != name {
                return Err(ChainProblem::Misplaced { name, found });
            }
            Ok(Node { name, file_bytes, header, damage: None })
        }
    }
}

fn header_of_name(name: SegmentName, file_bytes: u64, log_id: LogId) -> SegmentHeader {
    let stored = file_bytes.saturating_sub(BLOCK_BYTES as u64);
    let room = Lsn::MAX.get() - name.base.get();
    SegmentHeader {
        log_id,
        base: name.base,
        epoch: name.epoch,
        capacity_bytes: stored.min(room) / 8 * 8,
        created_unix_us: 0,
        flags: SegmentFlags::NONE,
        predecessor: None,
        head: Lsn::FIRST,
    }
}

/// A head is durable in the control file before any header repeats it and before any segment
/// below it goes, so the highest one that anything tells is true (rule 14).
fn known_head(nodes: &BTreeMap<SegmentName, Node>, control: &ControlView) -> Lsn {
    let slots = control.whole().map(|slot| slot.head);
    let headers = nodes.values().map(|node| node.header.head);
    slots.chain(headers).max().unwrap_or(Lsn::FIRST)
}

struct Walk {
    head: Lsn,
    /// What was not met yet.
    nodes: BTreeMap<SegmentName, Node>,
    /// Newest first.
    links: Vec<ChainLink>,
    problems: Vec<ChainProblem>,
}

impl Walk {
    fn run(&mut self, control: &ControlView) {
        let Some((_, tip)) = self.nodes.pop_last() else {
            if control.exists() && control.both_lost() {
                self.problems.push(ChainProblem::HeadUnproven { first: Lsn::FIRST });
            }
            return;
        };
        let (mut node, mut cap) = (tip, tip.end());
        loop {
            let Node { name, file_bytes, header, damage } = node;
            self.links.push(ChainLink { name, header, cap, file_bytes });
            if let Some(source) = damage {
                self.problems.push(ChainProblem::DamagedHeader { name, source });
            }
            if name.base <= self.head {
                return;
            }
            let before = match header.predecessor {
                Some(named) => self.follow(&node, named, control),
                None if damage.is_some() => self.guess(&node).map(|g| (g, g.end().min(name.base))),
                None => return,
            };
            match before {
                // A node is taken out of the map when it is met, so this ends.
                Some(next) => (node, cap) = next,
                None => return,
            }
        }
    }

    /// The predecessor that a header names, and where it ends.
    fn follow(
        &mut self,
        node: &Node,
        named: Predecessor,
        control: &ControlView,
    ) -> Option<(Node, Lsn)> {
        let declared = SegmentFlags::OPENING.bits() | SegmentFlags::AFTER_LOSS.bits();
        if named.end < node.name.base && node.header.flags.bits() & declared == 0 {
            self.problems.push(ChainProblem::Missing { from: named.end, to: node.name.base });
        }
        let name = SegmentName { epoch: named.epoch, base: named.base };
        if let Some(found) = self.nodes.remove(&name) {
            // The capacity of a damaged header is the file's length: no proof of a gap.
            if found.end() < named.end && found.damage.is_none() {
                self.problems.push(ChainProblem::Missing { from: found.end(), to: named.end });
            }
            return Some((found, named.end));
        }
        if named.base < self.head {
            return None; // Truncated: the head is above it.
        }
        let guess = self.guess(node);
        let problem = match guess {
            Some(below) => {
                ChainProblem::Missing { from: below.end().min(named.base), to: named.end }
            }
            None if control.both_lost() => ChainProblem::HeadUnproven { first: node.name.base },
            None => ChainProblem::Missing { from: self.head.min(named.end), to: named.end },
        };
        self.problems.push(problem);
        guess.map(|below| (below, below.end().min(named.base)))
    }

    /// What comes before a segment that cannot tell: the newest one below it.
    fn guess(&mut self, node: &Node) -> Option<Node> {
        let head = self.head;
        let mut below = self.nodes.range(..node.name).rev();
        let (name, _) = below
            .find(|(name, below)| name.base < node.name.base && below.end() > head)
            .filter(|(name, _)| **name != node.name)?;
        let name = *name;
        self.nodes.remove(&name)
    }

    /// The newest segment is recorded before anything is written to it: it must be there, unless
    /// the log has gone on past it.
    fn check_newest(&mut self, found: &[FoundSegment], control: &ControlView) {
        let Some(slot) = control.current().filter(|slot| slot.newest_epoch != Epoch::NONE) else {
            return;
        };
        let newest = SegmentName { epoch: slot.newest_epoch, base: slot.newest_base };
        let tip = self.links.first();
        if found.iter().any(|file| file.name == newest) || tip.is_some_and(|t| t.name > newest) {
            return;
        }
        let from = tip.map_or(slot.head, |tip| tip.cap).min(newest.base);
        self.problems.push(ChainProblem::Missing { from, to: newest.base });
    }
}

fn highest_epoch(found: &[FoundSegment], control: &ControlView) -> Epoch {
    let names = found.iter().map(|file| file.name.epoch);
    let slots = control.whole().flat_map(|slot| {
        [slot.epoch, slot.newest_epoch, slot.clean.map_or(Epoch::NONE, |(_, epoch)| epoch)]
    });
    names.chain(slots).max().unwrap_or(Epoch::NONE)
}

/// Dead and doubtful files count too: an address in one of them may have been used (rule 8).
fn address_end(found: &[FoundSegment], control: &ControlView) -> Lsn {
    let files = found.iter().map(|file| {
        let stored = file.file_bytes.saturating_sub(BLOCK_BYTES as u64);
        let declared = file.header.map_or(0, |header| header.capacity_bytes);
        file.name.base.get().saturating_add(stored.max(declared))
    });
    let slots = control.whole().flat_map(|slot| {
        let clean = slot.clean.map_or(Lsn::NONE, |(end, _)| end);
        let checkpoints = slot.checkpoints.iter().map(|pointer| pointer.end);
        [slot.head, slot.newest_base, slot.durable, clean].into_iter().chain(checkpoints)
    });
    let end = files.chain(slots.map(Lsn::get)).max().unwrap_or(0).max(Lsn::FIRST.get());
    end.checked_next_multiple_of(BLOCK_BYTES as u64).and_then(Lsn::new).unwrap_or(Lsn::MAX)
}

#[cfg(test)]
mod tests;
