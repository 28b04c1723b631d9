//! Who leads in place of a committer that gathers.
//!
//! A leader that waits for others to come back gives way to them. Where many committers share few
//! processors it runs again only after all of them had their turn, also those who have come already
//! and give way in their turn. The committer that completes the number runs now: so it takes the
//! baton over, and the one that gathered is answered like everybody else; or, where several flushes
//! are in flight and its bytes are in another one, waits for that like everybody else.
//!
//! ```text
//! none --make--> standing --accept, by who completes the number--> none: that one leads
//!                    └-----keep, by who made it------------------> none: this one leads
//! ```
//!
//! Pure, and only ever touched under the lock: an offer is accepted or kept, never both.

use wal_format::Lsn;

/// Names an offer to whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OfferId(u64);

/// At most one offer stands, however many leaders gather.
#[derive(Debug)]
pub(crate) struct Offer {
    standing: Option<(OfferId, Option<Lsn>)>,
    made: u64,
    /// Of leaders which were relieved and have not run since, and up to where they commit: nobody
    /// else knows of that.
    unaware: Vec<(OfferId, Lsn)>,
}

impl Offer {
    pub(crate) const fn new() -> Self {
        Self { standing: None, made: 0, unaware: Vec::new() }
    }

    /// A leader begins to gather, which commits everything before `end` or has nothing of its own.
    /// `None` while the offer of another one stands: then nobody can take its place.
    pub(crate) const fn make(&mut self, end: Option<Lsn>) -> Option<OfferId> {
        if self.standing.is_some() {
            return None;
        }
        self.made += 1;
        self.standing = Some((OfferId(self.made), end));
        Some(OfferId(self.made))
    }

    /// Whether somebody could take the place of a leader.
    pub(crate) const fn stands(&self) -> bool {
        self.standing.is_some()
    }

    /// Takes the baton of the leader whose offer stands.
    pub(crate) fn accept(&mut self) -> bool {
        let accepted = self.standing.take();
        self.unaware.extend(accepted.and_then(|(id, end)| Some((id, end?))));
        accepted.is_some()
    }

    /// The leader that made it has gathered; whether the baton is still in its hand.
    pub(crate) fn keep(&mut self, offer: OfferId) -> bool {
        self.unaware.retain(|(other, _)| *other != offer);
        let kept = self.standing.is_some_and(|(standing, _)| standing == offer);
        if kept {
            self.standing = None;
        }
        kept
    }

    /// A flush has landed, and all before `durable` is: how many relieved leaders that answers
    /// before they have run again.
    pub(crate) fn answered(&mut self, durable: Lsn) -> u64 {
        let before = self.unaware.len();
        self.unaware.retain(|(_, end)| *end > durable);
        (before - self.unaware.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Option<Lsn> = Lsn::new(80);

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    #[test]
    fn an_offer_is_kept_or_accepted_and_never_both() {
        let mut offer = Offer::new();
        assert!(!offer.accept(), "nobody gathers");
        let first = offer.make(END).unwrap();
        assert!(offer.stands() && offer.keep(first));
        assert!(!offer.accept() && !offer.keep(first));
        let second = offer.make(END).unwrap();
        assert!(offer.accept());
        assert!(!offer.stands() && !offer.keep(second));
    }

    #[test]
    fn who_was_relieved_does_not_take_the_offer_of_the_next_leader_for_its_own() {
        let mut offer = Offer::new();
        let relieved = offer.make(END).unwrap();
        assert!(offer.accept());
        let next = offer.make(END).unwrap();
        assert!(!offer.keep(relieved));
        assert!(offer.keep(next));
    }

    #[test]
    fn a_relieved_leader_is_answered_by_a_landing_or_comes_back_before_it() {
        let mut offer = Offer::new();
        let late = offer.make(END).unwrap();
        assert!(offer.accept());
        assert_eq!(offer.answered(lsn(72)), 0, "another flush has its bytes");
        assert_eq!(offer.answered(lsn(80)), 1, "it has not run since");
        assert_eq!(offer.answered(lsn(88)), 0, "it is counted once");
        assert!(!offer.keep(late));
        let early = offer.make(END).unwrap();
        assert!(offer.accept());
        assert!(!offer.keep(early));
        assert_eq!(
            offer.answered(lsn(80)),
            0,
            "it waits with the others, and is counted with them"
        );
        assert!(offer.make(None).is_some() && offer.accept());
        assert_eq!(offer.answered(lsn(80)), 0, "it commits nothing");
    }

    #[test]
    fn while_one_offer_stands_another_leader_makes_none() {
        let mut offer = Offer::new();
        let first = offer.make(END).unwrap();
        assert_eq!(offer.make(END), None);
        assert!(offer.keep(first));
        assert!(offer.make(END).is_some());
    }
}
