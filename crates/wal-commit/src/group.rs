//! Who leads, and who waits for what. Pure: no locks, no clock, no I/O.
//!
//! There is one **baton**, the right to use the sink. Whoever holds it flushes everything that is
//! pending, for all (greedy natural batching), and then hands it to the first waiter who still
//! needs a flush, or puts it down. The baton is never lost: each [`Group::take`] and each handing
//! over is followed by exactly one [`Group::release`].
//!
//! ```text
//! free --take--> held --release, nobody needs it--> free
//!                 │ ^
//!                 └─┘ release, handed to the first who needs it
//! ```
//!
//! Waiters are kept in the order of their arrival. `W` is how one of them is woken.

use wal_format::Lsn;

use crate::config::Durability;
use crate::watermark::Positions;

/// Names a waiter until it is woken or withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterId(u64);

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Everything before `end` reaches `level`.
    Reach { end: Lsn, level: Durability },
    /// Something at or after this address is durable. Asks for no flush.
    Beyond(Lsn),
    /// Room in the buffer.
    Room,
    /// The end of the preparation of a segment. Asks for no flush.
    Segment,
    /// The baton itself.
    Baton,
}

impl Want {
    fn is_met(self, positions: &Positions) -> bool {
        match self {
            Self::Reach { end, level } => end <= positions.at(level),
            Self::Beyond(lsn) => positions.durable > lsn,
            Self::Room | Self::Segment | Self::Baton => false,
        }
    }

    /// Whether the waiter is a committer, as opposed to a reader or an append.
    pub(crate) const fn is_commit(self) -> bool {
        matches!(self, Self::Reach { .. })
    }

    const fn needs_flush(self) -> bool {
        matches!(self, Self::Reach { .. } | Self::Room | Self::Baton)
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct Waiter<W> {
    id: WaiterId,
    /// What for.
    pub(crate) want: Want,
    /// Whether it is a thread which can take the baton.
    leads: bool,
    /// How to wake it.
    pub(crate) wake: W,
}

/// The baton and those who wait.
#[derive(Debug)]
pub(crate) struct Group<W> {
    held: bool,
    waiters: Vec<Waiter<W>>,
    next_id: u64,
    last_commits: u64,
}

impl<W> Group<W> {
    pub(crate) const fn new() -> Self {
        Self { held: false, waiters: Vec::new(), next_id: 0, last_commits: 0 }
    }

    /// Takes the baton if it is free.
    pub(crate) fn take(&mut self) -> bool {
        !std::mem::replace(&mut self.held, true)
    }

    /// Whether somebody holds the baton.
    pub(crate) const fn is_held(&self) -> bool {
        self.held
    }

    /// Queues a waiter. One that `leads` may be handed the baton.
    pub(crate) fn enlist(&mut self, want: Want, leads: bool, wake: W) -> WaiterId {
        let id = WaiterId(self.next_id);
        self.next_id += 1;
        self.waiters.push(Waiter { id, want, leads, wake });
        id
    }

    /// The wake-up of a waiter which still waits.
    pub(crate) fn wake_of(&mut self, id: WaiterId) -> Option<&mut W> {
        self.waiters.iter_mut().find(|waiter| waiter.id == id).map(|waiter| &mut waiter.wake)
    }

    /// Takes a waiter out; `None` when it was already told something, or is about to be.
    pub(crate) fn withdraw(&mut self, id: WaiterId) -> Option<Waiter<W>> {
        let index = self.waiters.iter().position(|waiter| waiter.id == id)?;
        Some(self.waiters.remove(index))
    }

    /// Takes out those whose wants are met at these positions.
    pub(crate) fn met(&mut self, positions: &Positions) -> Vec<Waiter<W>> {
        self.extract(|want| want.is_met(positions))
    }

    /// Takes out those who wait for exactly `want`.
    pub(crate) fn waiting_for(&mut self, want: Want) -> Vec<Waiter<W>> {
        self.extract(|other| other == want)
    }

    /// Takes out everybody.
    pub(crate) fn everybody(&mut self) -> Vec<Waiter<W>> {
        std::mem::take(&mut self.waiters)
    }

    fn extract(&mut self, mut taken: impl FnMut(Want) -> bool) -> Vec<Waiter<W>> {
        self.waiters.extract_if(.., |waiter| taken(waiter.want)).collect()
    }

    /// Ends a turn with the baton which answered `commits` committers.
    ///
    /// Returns the next leader, who now holds the baton and must be told; else it is free.
    pub(crate) fn release(&mut self, commits: u64) -> Option<Waiter<W>> {
        debug_assert!(self.held, "only its holder releases the baton");
        if commits > 0 {
            self.last_commits = commits;
        }
        let next = self.waiters.iter().position(|waiter| waiter.leads && waiter.want.needs_flush());
        self.held = next.is_some();
        next.map(|index| self.waiters.remove(index))
    }

    /// Whether the last flush answered more than one committer: they will be back at once.
    pub(crate) const fn had_company(&self) -> bool {
        self.last_commits > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    fn durable(end: u64) -> Want {
        Want::Reach { end: lsn(end), level: Durability::Durable }
    }

    fn written(end: u64) -> Want {
        Want::Reach { end: lsn(end), level: Durability::Written }
    }

    fn at(durable: u64, written: u64) -> Positions {
        Positions { durable: lsn(durable), written: lsn(written), reserved: lsn(4096) }
    }

    fn names(waiters: Vec<Waiter<&'static str>>) -> Vec<&'static str> {
        waiters.into_iter().map(|waiter| waiter.wake).collect()
    }

    #[test]
    fn one_leads_and_the_others_wait() {
        let mut group: Group<&str> = Group::new();
        assert!(group.take());
        assert!(!group.take());
        assert!(group.release(1).is_none());
        assert!(group.take(), "put down, it can be taken again");
    }

    #[test]
    fn those_whose_positions_are_reached_return_and_the_next_one_leads() {
        let mut group = Group::new();
        assert!(group.take());
        group.enlist(durable(80), true, "a");
        group.enlist(durable(160), true, "b");
        group.enlist(written(160), true, "c");
        group.enlist(durable(240), true, "d");
        assert_eq!(names(group.met(&at(80, 160))), ["a", "c"]);
        let next = group.release(3).unwrap();
        assert_eq!((next.wake, next.want), ("b", durable(160)));
        assert!(group.is_held(), "the next leader holds it, nobody may come between");
        assert_eq!(names(group.everybody()), ["d"]);
    }

    #[test]
    fn the_baton_is_not_handed_to_those_who_cannot_lead_or_need_no_flush() {
        let mut group = Group::new();
        assert!(group.take());
        group.enlist(durable(80), false, "future");
        group.enlist(Want::Beyond(lsn(80)), true, "reader");
        group.enlist(Want::Segment, true, "append without a segment");
        assert!(group.release(1).is_none());
        assert!(!group.is_held());
    }

    #[test]
    fn an_append_without_room_may_have_to_lead() {
        let mut group = Group::new();
        assert!(group.take());
        group.enlist(Want::Room, true, "append");
        assert_eq!(group.release(1).unwrap().want, Want::Room);
    }

    #[test]
    fn readers_are_told_when_something_beyond_is_durable() {
        let mut group = Group::new();
        group.enlist(Want::Beyond(lsn(80)), false, "reader");
        assert!(group.met(&at(80, 160)).is_empty(), "nothing beyond 80 is durable");
        assert_eq!(names(group.met(&at(88, 160))), ["reader"]);
    }

    #[test]
    fn a_waiter_withdraws_once() {
        let mut group = Group::new();
        let id = group.enlist(durable(80), true, "a");
        assert!(group.wake_of(id).is_some());
        assert!(group.withdraw(id).is_some());
        assert!(group.withdraw(id).is_none() && group.wake_of(id).is_none());
    }

    #[test]
    fn a_flush_for_room_does_not_forget_the_company_of_commits() {
        let mut group: Group<&str> = Group::new();
        assert!(!group.had_company(), "alone at first");
        for (commits, company) in [(2, true), (0, true), (1, false)] {
            assert!(group.take());
            assert!(group.release(commits).is_none());
            assert_eq!(group.had_company(), company, "after {commits}");
        }
    }

    #[test]
    fn only_those_who_wait_for_exactly_this_are_taken_out() {
        let mut group = Group::new();
        group.enlist(Want::Room, true, "room");
        group.enlist(durable(80), true, "commit");
        group.enlist(Want::Room, true, "more room");
        assert_eq!(names(group.waiting_for(Want::Room)), ["room", "more room"]);
        assert_eq!(names(group.everybody()), ["commit"]);
    }
}
