//! What must, may and must not be in a log after a crash.
//!
//! Pure: knows neither disks nor any log's code. A [`Ledger`] is kept beside the log under test: it
//! is told what was appended and what was acknowledged, and judges what recovery found. Records go
//! by identifiers which the test chooses and puts into their bodies.
//!
//! The rules, in the order in which they are judged:
//!
//! 1. Nothing is found that was never appended, that was aborted, or that an earlier recovery had
//!    already given up; nothing is found twice, altered, or out of order.
//! 2. Everything acknowledged as durable is found.
//! 3. A batch is found whole or not at all.
//! 4. What was not acknowledged is found only as a prefix: nothing behind a gap.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Everything a log was asked to keep, and what it promised.
///
/// ```
/// use wal_sim::{Ledger, Violation};
///
/// let mut ledger = Ledger::new();
/// ledger.append(1, b"tea");
/// ledger.append(2, b"cake");
/// ledger.acknowledge(1);
/// assert!(ledger.check([(1, "tea")]).is_ok());
/// assert_eq!(ledger.check([(2, "cake")]), Err(Violation::Lost { id: 1 }));
/// ```
#[derive(Clone, Default)]
pub struct Ledger {
    /// In the order in which the log must replay them.
    entries: Vec<Entry>,
    by_id: BTreeMap<u64, usize>,
    /// Entries below this index were acknowledged as durable.
    acknowledged: usize,
    /// Entries below this index may have been truncated away.
    released: usize,
    /// The first identifier that was used twice: a mistake in the test.
    used_twice: Option<u64>,
}

#[derive(Clone, Debug)]
struct Entry {
    id: u64,
    body: Arc<[u8]>,
    /// Index of the first entry of its batch; its own for a single record.
    batch: usize,
    never: Option<Never>,
}

/// Why an entry must not be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Never {
    Aborted,
    GivenUp,
}

/// How many records of each sort a sound recovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Acknowledged as durable.
    pub acknowledged: usize,
    /// Never acknowledged, and kept.
    pub unacknowledged: usize,
    /// Never acknowledged, and lost: nobody was promised them.
    pub dropped: usize,
}

/// A promise that recovery broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// An acknowledged record is not there.
    #[error("record {id} was acknowledged as durable and is gone")]
    Lost {
        /// The record.
        id: u64,
    },
    /// A record has other bytes than were appended.
    #[error("record {id} was altered: it differs from byte {byte} on")]
    Altered {
        /// The record.
        id: u64,
        /// The first byte that differs; the shorter length if none does.
        byte: usize,
    },
    /// A record is there twice.
    #[error("record {id} was found twice")]
    Duplicated {
        /// The record.
        id: u64,
    },
    /// A record comes after one that was appended later.
    #[error("record {id} was found behind record {after}, which was appended later")]
    OutOfOrder {
        /// The record.
        id: u64,
        /// The record before it.
        after: u64,
    },
    /// A record is there which was never appended.
    #[error("record {id} was never appended")]
    Invented {
        /// The record.
        id: u64,
    },
    /// A record of aborted work is there.
    #[error("record {id} was aborted and came back")]
    Aborted {
        /// The record.
        id: u64,
    },
    /// A record is there which an earlier recovery did not find.
    #[error("record {id} was given up by an earlier recovery and came back")]
    Resurrected {
        /// The record.
        id: u64,
    },
    /// Only some records of a batch are there.
    #[error("a batch is there in part: record {found} without record {missing}")]
    PartialBatch {
        /// A member that is not there.
        missing: u64,
        /// A member that is.
        found: u64,
    },
    /// An unacknowledged record is there although one before it is not.
    #[error("record {found} is there, record {missing} before it is not")]
    Gap {
        /// The first record that is not there.
        missing: u64,
        /// One behind it that is.
        found: u64,
    },
    /// The test gave two records the same identifier; says nothing of the log.
    #[error("the test used identifier {id} twice")]
    IdUsedTwice {
        /// The identifier.
        id: u64,
    },
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The log is asked to keep a record of this body. Tell the ledger before telling the log: a
    /// crash may keep a record whose append never returned.
    pub fn append(&mut self, id: u64, body: impl AsRef<[u8]>) {
        self.append_batch([(id, body)]);
    }

    /// The log is asked to keep these records together or not at all.
    pub fn append_batch<B: AsRef<[u8]>>(&mut self, records: impl IntoIterator<Item = (u64, B)>) {
        let batch = self.entries.len();
        for (id, body) in records {
            let at = self.entries.len();
            if self.by_id.insert(id, at).is_some() {
                self.used_twice = self.used_twice.or(Some(id));
            }
            self.entries.push(Entry { id, body: body.as_ref().into(), batch, never: None });
        }
    }

    /// The log promised that `id`, and with it everything appended before, is durable.
    pub fn acknowledge(&mut self, id: u64) {
        if let Some(end) = self.batch_end(id) {
            self.acknowledged = self.acknowledged.max(end);
        }
    }

    /// The log refused `id`, or its transaction was aborted: it and its batch must never be found.
    pub fn abort(&mut self, id: u64) {
        let Some(batch) = self.entry(id).map(|entry| entry.batch) else { return };
        for entry in self.entries.iter_mut().filter(|entry| entry.batch == batch) {
            entry.never = Some(Never::Aborted);
        }
    }

    /// The log was allowed to forget everything appended before `id`.
    pub fn release_before(&mut self, id: u64) {
        if let Some(&at) = self.by_id.get(&id) {
            self.released = self.released.max(at);
        }
    }

    /// The last record acknowledged as durable.
    #[must_use]
    pub fn last_acknowledged(&self) -> Option<u64> {
        Some(self.entries.get(self.acknowledged.checked_sub(1)?)?.id)
    }

    /// Judges what recovery found, in the order in which it found it.
    ///
    /// # Errors
    ///
    /// The first promise that is broken, in the order of the module's rules.
    pub fn check<B: AsRef<[u8]>>(
        &self,
        found: impl IntoIterator<Item = (u64, B)>,
    ) -> Result<Found, Violation> {
        Ok(self.judge(found)?.0)
    }

    /// Judges as [`check`](Self::check) does, and holds the log to its answer from now on: what it
    /// found counts as acknowledged, what it did not find must never come back.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn recovered<B: AsRef<[u8]>>(
        &mut self,
        found: impl IntoIterator<Item = (u64, B)>,
    ) -> Result<Found, Violation> {
        let (counts, present) = self.judge(found)?;
        for (entry, _) in self.entries.iter_mut().zip(&present).filter(|(_, present)| !**present) {
            entry.never = entry.never.or(Some(Never::GivenUp));
        }
        self.acknowledged = self.entries.len();
        Ok(counts)
    }

    /// All rules; returns the counts, and which entries were found.
    fn judge<B: AsRef<[u8]>>(
        &self,
        found: impl IntoIterator<Item = (u64, B)>,
    ) -> Result<(Found, Vec<bool>), Violation> {
        let present = self.check_each(found)?;
        self.check_acknowledged(&present)?;
        self.check_batches(&present)?;
        Ok((self.check_gaps(&present)?, present))
    }

    /// Rule 1; returns which entries were found.
    fn check_each<B: AsRef<[u8]>>(
        &self,
        found: impl IntoIterator<Item = (u64, B)>,
    ) -> Result<Vec<bool>, Violation> {
        if let Some(id) = self.used_twice {
            return Err(Violation::IdUsedTwice { id });
        }
        let mut present = vec![false; self.entries.len()];
        let mut last: Option<(usize, u64)> = None;
        for (id, body) in found {
            let at = *self.by_id.get(&id).ok_or(Violation::Invented { id })?;
            let (entry, seen) = (&self.entries[at], &mut present[at]);
            match entry.never {
                Some(Never::Aborted) => return Err(Violation::Aborted { id }),
                Some(Never::GivenUp) => return Err(Violation::Resurrected { id }),
                None => {}
            }
            if std::mem::replace(seen, true) {
                return Err(Violation::Duplicated { id });
            }
            if let Some(byte) = first_difference(&entry.body, body.as_ref()) {
                return Err(Violation::Altered { id, byte });
            }
            if let Some((_, after)) = last.filter(|&(before, _)| before > at) {
                return Err(Violation::OutOfOrder { id, after });
            }
            last = Some((at, id));
        }
        Ok(present)
    }

    fn check_acknowledged(&self, present: &[bool]) -> Result<(), Violation> {
        self.demanded(present)
            .take_while(|&(at, _, _)| at < self.acknowledged)
            .find(|&(_, _, present)| !present)
            .map_or(Ok(()), |(_, entry, _)| Err(Violation::Lost { id: entry.id }))
    }

    fn check_batches(&self, present: &[bool]) -> Result<(), Violation> {
        let mut first: Option<(&Entry, bool)> = None;
        for (_, entry, present) in self.demanded(present) {
            match first {
                Some((head, head_present)) if head.batch == entry.batch => {
                    if head_present != present {
                        let (found, missing) =
                            if present { (entry.id, head.id) } else { (head.id, entry.id) };
                        return Err(Violation::PartialBatch { missing, found });
                    }
                }
                _ => first = Some((entry, present)),
            }
        }
        Ok(())
    }

    fn check_gaps(&self, present: &[bool]) -> Result<Found, Violation> {
        let mut found = Found::default();
        let mut missing = None;
        for (at, entry, present) in self.demanded(present) {
            match (present, missing) {
                (true, Some(missing)) => return Err(Violation::Gap { missing, found: entry.id }),
                (true, None) if at < self.acknowledged => found.acknowledged += 1,
                (true, None) => found.unacknowledged += 1,
                (false, _) => {
                    found.dropped += 1;
                    missing = missing.or(Some(entry.id));
                }
            }
        }
        Ok(found)
    }

    /// The entries which the log may not leave out at will, with their index and presence.
    fn demanded<'a>(
        &'a self,
        present: &'a [bool],
    ) -> impl Iterator<Item = (usize, &'a Entry, bool)> {
        let all = self.entries.iter().zip(present).enumerate().skip(self.released);
        all.filter(|(_, (entry, _))| entry.never.is_none())
            .map(|(at, (entry, &present))| (at, entry, present))
    }

    fn entry(&self, id: u64) -> Option<&Entry> {
        self.entries.get(*self.by_id.get(&id)?)
    }

    /// The index behind the last member of the batch of `id`.
    fn batch_end(&self, id: u64) -> Option<usize> {
        let at = *self.by_id.get(&id)?;
        let batch = self.entries.get(at)?.batch;
        Some(at + self.entries[at..].iter().take_while(|entry| entry.batch == batch).count())
    }
}

/// Identifiers only: a failure prints it.
impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = |never: Option<Never>| -> Vec<u64> {
            let chosen = self.entries.iter().filter(|entry| entry.never == never);
            chosen.map(|entry| entry.id).collect()
        };
        f.debug_struct("Ledger")
            .field("asked", &ids(None))
            .field("aborted", &ids(Some(Never::Aborted)))
            .field("given_up", &ids(Some(Never::GivenUp)))
            .field("acknowledged_to", &self.last_acknowledged())
            .field("released", &self.released)
            .finish()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, unacknowledged, dropped } = self;
        write!(f, "{acknowledged} acknowledged, {unacknowledged} kept besides, {dropped} dropped")
    }
}

fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let common = one.len().min(other.len());
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    differs.or((one.len() != other.len()).then_some(common))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records 1 to 6, of which 3 and 4 are a batch; acknowledged up to and with 2.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new();
        ledger.append(1, "one");
        ledger.append(2, "two");
        ledger.append_batch([(3, "three"), (4, "four")]);
        ledger.append(5, "five");
        ledger.append(6, "six");
        ledger.acknowledge(2);
        ledger
    }

    const BODIES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

    fn judge(found: &[u64]) -> Result<Found, Violation> {
        ledger().check(bodies(found))
    }

    fn bodies(found: &[u64]) -> Vec<(u64, &'static str)> {
        found.iter().map(|&id| (id, BODIES[id as usize - 1])).collect()
    }

    #[test]
    fn every_prefix_of_whole_batches_from_the_promise_on_is_sound() {
        let counts = |unacknowledged, dropped| Found { acknowledged: 2, unacknowledged, dropped };
        assert_eq!(judge(&[1, 2]), Ok(counts(0, 4)));
        assert_eq!(judge(&[1, 2, 3, 4]), Ok(counts(2, 2)));
        assert_eq!(judge(&[1, 2, 3, 4, 5, 6]), Ok(counts(4, 0)));
    }

    #[test]
    fn an_acknowledged_record_that_is_gone_is_lost() {
        assert_eq!(judge(&[1]), Err(Violation::Lost { id: 2 }));
        assert_eq!(judge(&[]), Err(Violation::Lost { id: 1 }));
        assert_eq!(judge(&[2, 3, 4]), Err(Violation::Lost { id: 1 }));
    }

    #[test]
    fn an_altered_record_is_told_with_its_first_wrong_byte() {
        let ledger = ledger();
        assert_eq!(
            ledger.check([(1, "one"), (2, "tWo")]),
            Err(Violation::Altered { id: 2, byte: 1 })
        );
        assert_eq!(ledger.check([(1, "on")]), Err(Violation::Altered { id: 1, byte: 2 }));
        assert_eq!(ledger.check([(1, "one!")]), Err(Violation::Altered { id: 1, byte: 3 }));
    }

    #[test]
    fn a_record_found_twice_is_told() {
        assert_eq!(judge(&[1, 2, 2]), Err(Violation::Duplicated { id: 2 }));
    }

    #[test]
    fn records_in_another_order_are_told() {
        assert_eq!(judge(&[2, 1]), Err(Violation::OutOfOrder { id: 1, after: 2 }));
    }

    #[test]
    fn a_record_from_nowhere_is_told() {
        assert_eq!(
            ledger().check([(1, "one"), (2, "two"), (9, "nine")]),
            Err(Violation::Invented { id: 9 })
        );
    }

    #[test]
    fn half_a_batch_is_told_whichever_half_it_is() {
        assert_eq!(judge(&[1, 2, 3]), Err(Violation::PartialBatch { missing: 4, found: 3 }));
        assert_eq!(judge(&[1, 2, 4]), Err(Violation::PartialBatch { missing: 3, found: 4 }));
    }

    #[test]
    fn an_unacknowledged_record_behind_a_gap_is_told() {
        assert_eq!(judge(&[1, 2, 3, 4, 6]), Err(Violation::Gap { missing: 5, found: 6 }));
        assert_eq!(judge(&[1, 2, 5]), Err(Violation::Gap { missing: 3, found: 5 }));
    }

    #[test]
    fn aborted_records_must_be_absent_and_leave_no_gap() {
        let mut ledger = ledger();
        ledger.abort(4);
        assert!(ledger.check(bodies(&[1, 2, 5])).is_ok(), "the whole batch was aborted");
        assert_eq!(ledger.check(bodies(&[1, 2, 3])), Err(Violation::Aborted { id: 3 }));
    }

    #[test]
    fn what_a_recovery_gave_up_must_not_come_back() {
        let mut ledger = ledger();
        assert!(ledger.recovered(bodies(&[1, 2, 3, 4])).is_ok());
        ledger.append(7, "seven");
        let again = [(1, "one"), (2, "two"), (3, "three"), (4, "four")];
        assert!(ledger.check(again.into_iter().chain([(7, "seven")])).is_ok());
        assert_eq!(
            ledger.check(again.into_iter().chain([(5, "five")])),
            Err(Violation::Resurrected { id: 5 })
        );
    }

    #[test]
    fn what_a_recovery_found_counts_as_acknowledged() {
        let mut ledger = ledger();
        assert!(ledger.recovered(bodies(&[1, 2, 3, 4])).is_ok());
        assert_eq!(ledger.check(bodies(&[1, 2])), Err(Violation::Lost { id: 3 }));
    }

    #[test]
    fn a_recovery_in_breach_changes_nothing() {
        let mut ledger = ledger();
        assert_eq!(ledger.recovered(bodies(&[1])), Err(Violation::Lost { id: 2 }));
        assert!(ledger.check(bodies(&[1, 2, 3, 4, 5])).is_ok());
    }

    #[test]
    fn released_records_may_be_there_or_not() {
        let mut ledger = ledger();
        ledger.acknowledge(6);
        ledger.release_before(4);
        assert!(ledger.check(bodies(&[4, 5, 6])).is_ok());
        assert!(ledger.check(bodies(&[2, 3, 4, 5, 6])).is_ok());
        assert_eq!(ledger.check(bodies(&[5, 6])), Err(Violation::Lost { id: 4 }));
    }

    #[test]
    fn a_promise_for_one_member_covers_its_batch() {
        let mut ledger = ledger();
        ledger.acknowledge(3);
        assert_eq!(ledger.last_acknowledged(), Some(4));
        assert_eq!(ledger.check(bodies(&[1, 2, 3])), Err(Violation::Lost { id: 4 }));
    }

    #[test]
    fn a_ledger_is_written_out_without_bodies() {
        let mut ledger = ledger();
        ledger.abort(6);
        assert_eq!(
            format!("{ledger:?}"),
            "Ledger { asked: [1, 2, 3, 4, 5], aborted: [6], given_up: [], \
             acknowledged_to: Some(2), released: 0 }"
        );
    }

    #[test]
    fn a_mistaken_test_is_told_so() {
        let mut ledger = ledger();
        ledger.append(1, "again");
        assert_eq!(ledger.check(bodies(&[1, 2])), Err(Violation::IdUsedTwice { id: 1 }));
    }
}
