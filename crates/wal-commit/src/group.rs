//! Who leads, and who waits for what. Pure: no locks, no clock, no I/O.
//!
//! A **baton** is the right to use a slot of the device; there are as many as flushes may be in
//! flight. Whoever holds one flushes everything that is pending, for all (greedy natural batching),
//! and then hands it to the first waiter who still needs a flush, or puts it down. No baton is
//! lost: each [`Group::take`] and each handing over is followed by exactly one [`Group::release`].
//!
//! ```text
//! free --take--> held --release, nobody needs it--> free
//!                 │ ^
//!                 └─┘ release, handed to the first who needs it
//! ```
//!
//! A leader may let others come back before it flushes; then whoever completes their number may take
//! its baton over (`offer.rs`).
//!
//! Some work must be alone with the device: whoever waits for that keeps new flushes from
//! beginning, and gets the last baton that comes back.
//!
//! Committers who wait for durability, and for nothing else, wait in **crowds**: all whose records
//! one flush takes are answered together, through one gate. A crowd is open while it gathers, and
//! sealed when a flush takes what is pending; who comes later for the same records joins it still.
//! Everybody else waits alone, in the order of arrival.
//!
//! `W` is how a waiter is woken, `G` the gate of a crowd.

use smallvec::SmallVec;
use wal_format::Lsn;

use crate::config::Durability;
use crate::offer::Offer;
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
    /// All batons at once.
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

    const fn is_durable(self) -> bool {
        matches!(self, Self::Reach { level: Durability::Durable, .. })
    }

    /// Whether a flush that does this `work` could bring it about.
    fn is_served_by(self, work: Work) -> bool {
        match self {
            Self::Reach { level, .. } => work.serves(level),
            Self::Room => work == Work::Write,
            Self::Baton => true,
            Self::Beyond(_) | Self::Segment => false,
        }
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

/// Committers whom one flush answers.
#[derive(Debug)]
struct Crowd<G> {
    /// Where it stands in the order of arrival: with its first member.
    id: u64,
    /// End of what the flush takes; `None` while the crowd is open.
    sealed_at: Option<Lsn>,
    /// The furthest that a member waits for.
    end: Lsn,
    /// Those who were not told anything yet.
    members: u64,
    /// `None` until somebody joins.
    gate: Option<G>,
}

/// What a new position means for those who wait.
#[derive(Debug)]
pub(crate) struct Answered<W, G> {
    /// Those who waited alone.
    pub(crate) waiters: Vec<Waiter<W>>,
    /// The gates to open.
    pub(crate) gates: Vec<G>,
    /// How many committers that answers.
    pub(crate) commits: u64,
}

/// What a flush could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing: whatever is not durable is in flight.
    None,
    /// Nothing is pending; something was written, and waits for a sync.
    Sync,
    /// Something is pending.
    Write,
}

impl Work {
    /// Whether it could help those who wait for `level`.
    pub(crate) fn serves(self, level: Durability) -> bool {
        match self {
            Self::None => false,
            Self::Sync => level == Durability::Durable,
            Self::Write => true,
        }
    }
}

/// Who leads next.
#[derive(Debug)]
pub(crate) enum Next<W, G> {
    /// A waiter, taken out of the queue.
    Waiter(Waiter<W>),
    /// Some member of a crowd.
    Member(G),
}

/// The batons and those who wait.
#[derive(Debug)]
pub(crate) struct Group<W, G> {
    /// Slots that there are.
    slots: u32,
    /// Flushes that may be in flight at once.
    flights: u32,
    /// Batons that are held: each is good for one slot.
    held: u32,
    /// Whoever holds the one baton has all.
    alone: bool,
    /// How many wait to be alone.
    want_alone: usize,
    /// In the order of arrival, and so of their ids.
    waiters: Vec<Waiter<W>>,
    /// Of those, the committers who came for what the next flush takes.
    queued: u64,
    /// They have this id and those above it.
    queued_from: u64,
    /// In the order of what they wait for; only the last one can be open.
    crowds: SmallVec<[Crowd<G>; 2]>,
    next_id: u64,
    /// How many committers are about, as far as the last flush told.
    about: u64,
    /// Of a leader that lets others come back.
    pub(crate) offer: Offer,
}

impl<W, G: Clone> Group<W, G> {
    /// Nobody waits; up to `slots` flushes, at least one.
    pub(crate) const fn new(slots: u32) -> Self {
        Self {
            slots,
            flights: slots,
            held: 0,
            alone: false,
            want_alone: 0,
            waiters: Vec::new(),
            queued: 0,
            queued_from: 0,
            crowds: SmallVec::new_const(),
            next_id: 0,
            about: 0,
            offer: Offer::new(),
        }
    }

    /// Takes a baton if there is one.
    pub(crate) const fn take(&mut self) -> bool {
        let free = !self.is_busy();
        if free {
            self.held += 1;
        }
        free
    }

    /// Takes up to `wanted` batons more, for a turn that syncs through more than one slot.
    pub(crate) fn take_more(&mut self, wanted: u32) -> u32 {
        let more = if self.alone { 0 } else { wanted.min(self.slots.saturating_sub(self.held)) };
        self.held += more;
        more
    }

    /// Takes all batons if nobody holds one.
    pub(crate) const fn take_alone(&mut self) -> bool {
        let free = self.held == 0;
        if free {
            self.held = 1;
            self.alone = true;
        }
        free
    }

    /// Whether the one baton that is held is all of them.
    pub(crate) const fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether no baton could be taken now.
    pub(crate) const fn is_busy(&self) -> bool {
        self.alone || self.want_alone > 0 || self.held >= self.flights
    }

    /// How many batons there are.
    pub(crate) const fn flights(&self) -> u32 {
        self.flights
    }

    /// Whether nobody holds a baton: all of them could be taken now.
    pub(crate) const fn is_idle(&self) -> bool {
        self.held == 0
    }

    /// Queues a waiter. One that `leads` may be handed the baton.
    pub(crate) fn enlist(&mut self, want: Want, leads: bool, wake: W) -> WaiterId {
        let id = WaiterId(self.take_id());
        self.want_alone += usize::from(want == Want::Baton);
        self.queued += u64::from(want.is_durable());
        self.waiters.push(Waiter { id, want, leads, wake });
        id
    }

    const fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Joins the crowd which the durability of everything before `end` answers. A member leads
    /// if asked, and cannot withdraw.
    pub(crate) fn join(&mut self, end: Lsn, gate: impl FnOnce() -> G) -> G {
        let id = self.take_id();
        let covers = |crowd: &Crowd<G>| crowd.sealed_at.is_none_or(|sealed| end <= sealed);
        if let Some(crowd) = self.crowds.iter_mut().find(|crowd| covers(crowd)) {
            return crowd.join(id, end, gate);
        }
        let mut crowd = Crowd { id, sealed_at: None, end, members: 0, gate: None };
        let gate = crowd.join(id, end, gate);
        self.crowds.push(crowd);
        gate
    }

    /// Closes the open crowd: a flush takes everything before `end`.
    pub(crate) fn seal(&mut self, end: Lsn) {
        (self.queued, self.queued_from) = (0, self.next_id);
        let many = self.crowds.len() >= self.slots as usize;
        match self.crowds.last_mut() {
            // Nobody is in it: it may as well be the crowd of this flush, unless it is that of one
            // in flight, whose answer some late committer may still wait for.
            Some(last) if last.sealed_at.is_none() || many && last.gate.is_none() => {
                last.sealed_at = Some(end);
            }
            _ => {
                let (id, sealed_at) = (self.next_id, Some(end));
                self.crowds.push(Crowd { id, sealed_at, end, members: 0, gate: None });
            }
        }
    }

    /// How many committers the next flush would answer, as far as they wait in crowds.
    pub(crate) fn crowd_size(&self) -> u64 {
        self.crowds.iter().map(|crowd| crowd.members).sum()
    }

    /// The wake-up of a waiter which still waits.
    pub(crate) fn wake_of(&mut self, id: WaiterId) -> Option<&mut W> {
        let index = self.index_of(id)?;
        self.waiters.get_mut(index).map(|waiter| &mut waiter.wake)
    }

    /// Takes a waiter out; `None` when it was already told something, or is about to be.
    pub(crate) fn withdraw(&mut self, id: WaiterId) -> Option<Waiter<W>> {
        let index = self.index_of(id)?;
        let waiter = self.remove(index);
        // Nobody gathers for who has gone.
        let counts = waiter.id.0 >= self.queued_from && waiter.want.is_durable();
        self.queued -= u64::from(counts);
        Some(waiter)
    }

    /// A thousand tasks may wait, and each asks: so it is not looked for from one end.
    fn index_of(&self, id: WaiterId) -> Option<usize> {
        self.waiters.binary_search_by_key(&id.0, |waiter| waiter.id.0).ok()
    }

    fn remove(&mut self, index: usize) -> Waiter<W> {
        let waiter = self.waiters.remove(index);
        self.want_alone -= usize::from(waiter.want == Want::Baton);
        waiter
    }

    /// Takes out those whose wants are met at these positions.
    pub(crate) fn met(&mut self, positions: &Positions) -> Answered<W, G> {
        let waiters = self.extract(|want| want.is_met(positions));
        let mut commits = waiters.iter().filter(|waiter| waiter.want.is_commit()).count() as u64;
        let mut gates = Vec::new();
        let durable = |crowd: &Crowd<G>| crowd.sealed_at.unwrap_or(crowd.end) <= positions.durable;
        while self.crowds.first().is_some_and(durable) {
            let crowd = self.crowds.remove(0);
            commits += crowd.members;
            gates.extend(crowd.gate);
        }
        Answered { waiters, gates, commits }
    }

    /// Takes out those who wait for exactly `want`.
    pub(crate) fn waiting_for(&mut self, want: Want) -> Vec<Waiter<W>> {
        self.extract(|other| other == want)
    }

    /// Takes out everybody.
    pub(crate) fn everybody(&mut self) -> (Vec<Waiter<W>>, Vec<G>) {
        let gates = self.crowds.drain(..).filter_map(|crowd| crowd.gate).collect();
        self.want_alone = 0;
        (std::mem::take(&mut self.waiters), gates)
    }

    fn extract(&mut self, mut taken: impl FnMut(Want) -> bool) -> Vec<Waiter<W>> {
        debug_assert!(!taken(Want::Baton), "it is only ever handed over");
        if self.waiters.is_empty() {
            return Vec::new();
        }
        self.waiters.extract_if(.., |waiter| taken(waiter.want)).collect()
    }

    /// Ends a turn with so many `batons` which answered `commits` committers.
    ///
    /// `work` says what a flush could do now, `flown` up to where flushes in flight will answer.
    /// Returns the next leader, who now holds a baton and must be told; else they are free.
    pub(crate) fn release(
        &mut self,
        batons: u32,
        commits: u64,
        work: Work,
        flown: Lsn,
    ) -> Option<Next<W, G>> {
        debug_assert!(self.held >= batons, "only its holder releases a baton");
        self.held = self.held.saturating_sub(batons);
        self.alone = false;
        if commits > 0 {
            self.about = commits + self.crowd_size();
        }
        let idle = self.held > 0 && (work == Work::None || self.held >= self.flights);
        // With nothing in flight whoever waits finds out for itself.
        let work = if self.held > 0 { work } else { Work::Write };
        let next = if idle { None } else { self.first(work, flown) };
        self.held += u32::from(next.is_some());
        next
    }

    /// The first whom a flush that does this `work` could help, taken out. Another one would land
    /// at once, and call the next who is in the same case.
    fn first(&mut self, work: Work, flown: Lsn) -> Option<Next<W, G>> {
        let needy = |waiter: &Waiter<W>| waiter.leads && waiter.want.is_served_by(work);
        let waiter = self.waiters.iter().position(needy);
        let first = waiter.and_then(|index| self.waiters.get(index)).map(|w| (w.id.0, w.want));
        let in_flight = |crowd: &Crowd<G>| crowd.sealed_at.is_some_and(|end| end <= flown);
        let idle = |crowd: &&mut Crowd<G>| crowd.members > 0 && !in_flight(crowd);
        let crowd = self.crowds.iter_mut().find(idle);
        match (first, crowd) {
            // Somebody waits to be alone: nobody begins any more, and the last one back decides.
            _ if self.want_alone > 0 && self.held > 0 => None,
            (Some((first, _)), Some(crowd)) if crowd.id < first => crowd.call_one(),
            (None, Some(crowd)) => crowd.call_one(),
            (Some((_, want)), _) => {
                self.alone = want == Want::Baton;
                waiter.map(|index| Next::Waiter(self.remove(index)))
            }
            (None, None) => None,
        }
    }

    /// How many of the committers who were about at the last flush a new leader, who is one of
    /// them, still misses: those just answered come back within microseconds. Where several
    /// flushes may be in flight, each carries its share.
    pub(crate) fn missing(&self) -> u64 {
        self.about.div_ceil(u64::from(self.flights)).saturating_sub(self.gathered())
    }

    /// Takes the baton of a leader that gathers, where this committer is the last it waits for.
    pub(crate) fn take_over(&mut self) -> bool {
        // Neither of the two is in a crowd.
        self.offer.stands() && self.missing() <= 1 && self.offer.accept()
    }

    /// How many committers the flush of a new leader, who is one of them, would answer.
    pub(crate) fn gathered(&self) -> u64 {
        let gathered = self.crowds.last().filter(|crowd| crowd.sealed_at.is_none());
        gathered.map_or(0, |crowd| crowd.members) + self.queued + 1
    }

    /// How many committers are about, as far as the last flush told.
    pub(crate) const fn about(&self) -> u64 {
        self.about
    }

    /// Takes so many committers for those about, as if the last flush had told it.
    #[cfg(loom)]
    pub(crate) const fn expect(&mut self, about: u64) {
        self.about = about;
    }

    /// Lets up to `flights` flushes, no more than there are slots, be in flight from now on.
    pub(crate) fn set_flights(&mut self, flights: u32) {
        self.flights = flights.clamp(1, self.slots);
    }
}

impl<G: Clone> Crowd<G> {
    fn join(&mut self, id: u64, end: Lsn, gate: impl FnOnce() -> G) -> G {
        if self.members == 0 {
            self.id = id;
        }
        self.end = self.end.max(end);
        self.members += 1;
        self.gate.get_or_insert_with(gate).clone()
    }

    /// Some member leads, and so leaves the crowd.
    fn call_one<W>(&mut self) -> Option<Next<W, G>> {
        self.members -= 1;
        self.gate.clone().map(Next::Member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestGroup = Group<&'static str, &'static str>;

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

    fn next(group: &mut TestGroup, commits: u64) -> Option<&'static str> {
        next_for(group, commits, Work::Write)
    }

    fn next_for(group: &mut TestGroup, commits: u64, work: Work) -> Option<&'static str> {
        group.release(1, commits, work, Lsn::NONE).map(|next| match next {
            Next::Waiter(waiter) => waiter.wake,
            Next::Member(gate) => gate,
        })
    }

    #[test]
    fn one_leads_and_the_others_wait() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        assert!(!group.take());
        assert_eq!(next(&mut group, 1), None);
        assert!(group.take(), "put down, it can be taken again");
    }

    #[test]
    fn those_whose_positions_are_reached_return_and_the_next_one_leads() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        group.enlist(durable(80), true, "a");
        group.enlist(durable(160), true, "b");
        group.enlist(written(160), true, "c");
        group.enlist(durable(240), true, "d");
        assert_eq!(names(group.met(&at(80, 160)).waiters), ["a", "c"]);
        assert_eq!(next(&mut group, 3), Some("b"));
        assert!(group.is_busy(), "the next leader holds it, nobody may come between");
        assert_eq!(names(group.everybody().0), ["d"]);
    }

    #[test]
    fn the_baton_is_not_handed_to_those_who_cannot_lead_or_need_no_flush() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        group.enlist(durable(80), false, "future");
        group.enlist(Want::Beyond(lsn(80)), true, "reader");
        group.enlist(Want::Segment, true, "append without a segment");
        assert_eq!(next(&mut group, 1), None);
        assert!(!group.is_busy());
    }

    #[test]
    fn while_others_write_nobody_is_called_for_a_flush_that_would_not_help() {
        let mut group: TestGroup = Group::new(2);
        assert!(group.take() && group.take());
        group.enlist(written(80), true, "its bytes are in the air");
        group.enlist(Want::Room, true, "nothing waits to be written");
        assert_eq!(next_for(&mut group, 0, Work::Sync), None);
        assert!(group.take());
        group.enlist(durable(80), true, "what was written can be synced");
        assert_eq!(next_for(&mut group, 0, Work::Sync), Some("what was written can be synced"));
        assert_eq!(next_for(&mut group, 0, Work::Write), Some("its bytes are in the air"));
        // Nobody else has a baton: whoever waits looks for itself.
        assert_eq!(next_for(&mut group, 0, Work::None), None);
        assert_eq!(next_for(&mut group, 0, Work::None), Some("nothing waits to be written"));
    }

    #[test]
    fn an_append_without_room_may_have_to_lead() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        group.enlist(Want::Room, true, "append");
        assert_eq!(next(&mut group, 1), Some("append"));
    }

    #[test]
    fn readers_are_told_when_something_beyond_is_durable() {
        let mut group: TestGroup = Group::new(1);
        group.enlist(Want::Beyond(lsn(80)), false, "reader");
        assert!(group.met(&at(80, 160)).waiters.is_empty(), "nothing beyond 80 is durable");
        assert_eq!(names(group.met(&at(88, 160)).waiters), ["reader"]);
    }

    #[test]
    fn a_waiter_withdraws_once() {
        let mut group: TestGroup = Group::new(1);
        let id = group.enlist(durable(80), true, "a");
        assert!(group.wake_of(id).is_some());
        assert!(group.withdraw(id).is_some());
        assert!(group.withdraw(id).is_none() && group.wake_of(id).is_none());
    }

    #[test]
    fn a_flush_for_room_does_not_forget_the_company_of_commits() {
        let mut group: TestGroup = Group::new(1);
        assert_eq!(group.missing(), 0, "alone at first");
        for (commits, missing) in [(3, 2), (0, 2), (1, 0)] {
            assert!(group.take());
            assert_eq!(next(&mut group, commits), None);
            assert_eq!(group.missing(), missing, "after {commits}");
        }
    }

    #[test]
    fn only_those_who_wait_for_exactly_this_are_taken_out() {
        let mut group: TestGroup = Group::new(1);
        group.enlist(Want::Room, true, "room");
        group.enlist(durable(80), true, "commit");
        group.enlist(Want::Room, true, "more room");
        assert_eq!(names(group.waiting_for(Want::Room)), ["room", "more room"]);
        assert_eq!(names(group.everybody().0), ["commit"]);
    }

    #[test]
    fn a_crowd_is_answered_by_the_flush_that_sealed_it() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        assert_eq!(group.join(lsn(80), || "first"), "first");
        group.seal(lsn(120));
        assert_eq!(group.join(lsn(160), || "second"), "second", "the flush was too early for it");
        assert_eq!(group.join(lsn(120), || "none"), "first", "late, but in time");
        assert_eq!(group.crowd_size(), 3);
        let answered = group.met(&at(112, 160));
        assert!(answered.gates.is_empty(), "one of its members is not durable");
        let answered = group.met(&at(120, 160));
        assert_eq!((answered.gates, answered.commits), (vec!["first"], 2));
        assert_eq!(next(&mut group, 2), Some("second"));
        assert_eq!(group.crowd_size(), 0, "who leads has left the crowd");
    }

    #[test]
    fn the_baton_goes_to_whoever_came_first_alone_or_in_a_crowd() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        group.enlist(Want::Baton, true, "oversized");
        group.join(lsn(80), || "crowd");
        group.enlist(Want::Room, true, "room");
        assert_eq!(next(&mut group, 0), Some("oversized"));
        assert_eq!(next(&mut group, 0), Some("crowd"));
        assert_eq!(next(&mut group, 0), Some("room"));
        assert_eq!(next(&mut group, 0), None);
        assert!(!group.is_busy());
    }

    #[test]
    fn a_crowd_that_was_written_and_not_synced_waits_for_the_next_flush() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        group.join(lsn(80), || "first");
        group.seal(lsn(80));
        assert!(group.met(&at(40, 80)).gates.is_empty());
        assert_eq!(next(&mut group, 0), Some("first"), "somebody must still flush for it");
        group.seal(lsn(120));
        assert_eq!(group.met(&at(120, 120)).gates, ["first"]);
    }

    #[test]
    fn flushes_that_nobody_waits_for_leave_nothing_behind() {
        let mut group: TestGroup = Group::new(1);
        for end in (80..8000).step_by(8) {
            group.seal(lsn(end));
        }
        assert_eq!(group.crowds.len(), 1);
        assert_eq!(group.join(lsn(80), || "late"), "late");
        assert_eq!(group.crowds.len(), 1);
    }

    #[test]
    fn everybody_is_told_of_a_failure() {
        let mut group: TestGroup = Group::new(1);
        group.join(lsn(80), || "first");
        group.seal(lsn(80));
        group.join(lsn(120), || "second");
        group.enlist(Want::Room, true, "room");
        let (waiters, gates) = group.everybody();
        assert_eq!((names(waiters), gates), (vec!["room"], vec!["first", "second"]));
        assert_eq!(group.crowd_size(), 0);
    }

    #[test]
    fn committers_who_cannot_lead_are_gathered_like_those_who_can() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        next(&mut group, 4);
        assert_eq!((group.gathered(), group.missing()), (1, 3));
        group.join(lsn(4200), || "crowd");
        group.enlist(durable(4208), false, "task");
        group.enlist(written(4208), false, "asks for no sync");
        assert_eq!((group.gathered(), group.missing()), (3, 1));
        group.seal(lsn(4208));
        assert_eq!(group.gathered(), 1, "a flush has taken what they came for");
    }

    #[test]
    fn only_who_completes_the_number_takes_the_baton_over() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        next(&mut group, 4);
        assert!(group.take());
        assert!(!group.take_over(), "nobody gathers");
        let offer = group.offer.make(None).unwrap();
        assert!(!group.take_over(), "two more are missing");
        group.join(lsn(4200), || "crowd");
        assert!(!group.take_over(), "one more is missing");
        group.enlist(durable(4208), false, "task");
        assert!(group.take_over());
        assert!(!group.take_over(), "there is one baton");
        assert!(group.is_busy() && !group.offer.keep(offer));
        group.seal(lsn(4304));
        assert_eq!(group.join(lsn(4216), || "relieved"), "crowd", "the flush answers it too");
        assert_eq!(group.met(&at(4304, 4304)).commits, 3);
        assert_eq!(next(&mut group, 4), None);
        assert!(!group.is_busy(), "it was put down once");
    }

    #[test]
    fn nobody_gathers_for_a_task_that_was_dropped() {
        let mut group: TestGroup = Group::new(1);
        assert!(group.take());
        next(&mut group, 4);
        let taken = group.enlist(durable(4200), false, "its flush is under way");
        group.seal(lsn(4200));
        let waits = group.enlist(durable(4208), false, "task");
        let written = group.enlist(written(4208), false, "asks for no sync");
        assert_eq!((group.gathered(), group.missing()), (2, 2));
        [taken, written, waits].iter().for_each(|id| assert!(group.withdraw(*id).is_some()));
        assert_eq!((group.gathered(), group.missing()), (1, 3));
    }

    #[test]
    fn whoever_withdraws_is_found_among_many_and_nobody_else_is() {
        let mut group: TestGroup = Group::new(1);
        let ids: Vec<_> = (0..100)
            .map(|n| {
                // Crowds are numbered with those who wait alone.
                group.join(lsn(4200), || "crowd");
                group.enlist(durable(4200 + 8 * n), false, "task")
            })
            .collect();
        ids.iter().step_by(7).for_each(|id| assert!(group.withdraw(*id).is_some()));
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(group.wake_of(*id).is_some(), n % 7 != 0, "{n}");
        }
        assert!(ids.iter().step_by(7).all(|id| group.withdraw(*id).is_none()), "they are gone");
    }

    #[test]
    fn whoever_comes_late_is_answered_by_the_flush_that_took_its_record() {
        let mut group: TestGroup = Group::new(2);
        for end in [80, 120] {
            assert!(group.take());
            group.seal(lsn(end));
        }
        group.join(lsn(80), || "late");
        assert_eq!(group.met(&at(80, 80)).gates, ["late"]);
    }
}
