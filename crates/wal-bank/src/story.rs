//! What a bank was asked and promised, and what may therefore be in its books after a crash.
//!
//! Knows no engine and no log. A story is built from events: the workload notes them down in the
//! crash lab, and a process that is to be killed prints them, so that who killed it can judge.
//!
//! What must hold: a promised transfer is there, whole; one that was asked for and not promised may
//! be there, whole, if all that were asked for before it are; nothing else is. Besides: the balances
//! add up to what was paid in, and each account's balance is the sum of its journal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A number of an account.
pub type Account = u32;
/// A number of an entry in a journal, never given twice; also the name of a transaction.
pub type Serial = u64;

/// What is paid into each account when the bank opens.
pub const PAID_IN: i64 = 1_000;

/// What a transaction does to the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An entry in the journal, and its amount in the balance.
    Post {
        /// Whose.
        account: Account,
        /// Which.
        serial: Serial,
        /// How much; negative: taken out.
        amount: i64,
    },
    /// All entries of the journal become one with their sum.
    Fold {
        /// Whose.
        account: Account,
        /// The new entry.
        serial: Serial,
    },
}

/// One account: its balance as it stands in the books, and its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The balance.
    pub balance: i64,
    /// The journal.
    pub entries: BTreeMap<Serial, i64>,
}

/// All books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books(pub BTreeMap<Account, Ledger>);

impl Books {
    /// Books with so many accounts, in which nothing is.
    #[must_use]
    pub fn empty(accounts: Account) -> Self {
        Self((0..accounts).map(|account| (account, Ledger::default())).collect())
    }

    /// Does what a transaction did.
    pub fn apply(&mut self, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::Post { account, serial, amount } => {
                    let ledger = self.0.entry(account).or_default();
                    ledger.balance += amount;
                    ledger.entries.insert(serial, amount);
                }
                Effect::Fold { account, serial } => {
                    let ledger = self.0.entry(account).or_default();
                    let sum = ledger.entries.values().sum();
                    ledger.entries = BTreeMap::from([(serial, sum)]);
                }
            }
        }
    }

    /// What is in all accounts together.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.0.values().map(|ledger| ledger.balance).sum()
    }

    /// That money is conserved, and that each account matches its own journal.
    ///
    /// # Errors
    ///
    /// What does not hold, in words.
    pub fn audit(&self) -> Result<(), String> {
        for (account, ledger) in &self.0 {
            let sum: i64 = ledger.entries.values().sum();
            if sum != ledger.balance {
                let balance = ledger.balance;
                return Err(format!("account {account} holds {balance}, its journal says {sum}"));
            }
        }
        let (total, whole) = (self.total(), PAID_IN * self.0.len() as i64);
        // Nothing was paid in yet, or everything: both came in one transaction.
        if total != 0 && total != whole {
            return Err(format!("money is not conserved: {total} of {whole} is there"));
        }
        Ok(())
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (account, ledger) in &self.0 {
            write!(f, "{account}: {} {:?}; ", ledger.balance, ledger.entries)?;
        }
        Ok(())
    }
}

/// What happened between a workload and its bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A commit is asked for.
    Asked(Serial, Vec<Effect>),
    /// The commit of that transaction was acknowledged.
    Promised(Serial),
    /// A preparation is asked for.
    Preparing(Serial, Vec<Effect>),
    /// It was acknowledged.
    Prepared(Serial),
    /// The coordinator decided; only what was prepared is decided.
    Decided(Serial, bool),
    /// The bank acknowledged the decision.
    Ended(Serial),
}

/// A transaction between its preparation and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// What it does.
    pub effects: Vec<Effect>,
    /// Whether its preparation was acknowledged.
    pub promised: bool,
    /// What the coordinator decided.
    pub decision: Option<bool>,
}

/// What was asked for and promised so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// The books with all that was promised.
    promised: Books,
    /// Commits asked for and not promised, in the order of the log.
    asked: Vec<(Serial, Vec<Effect>)>,
    /// Prepared transactions that have not ended.
    pub doubts: BTreeMap<Serial, Doubt>,
    /// Transactions that the coordinator decided to roll back. A rollback need not be durable, so
    /// a restart may ask again, at any time.
    aborted: BTreeSet<Serial>,
    /// What the workload itself saw go wrong.
    pub broken: Option<String>,
    /// Commits promised so far.
    pub commits: u64,
}

impl Story {
    /// The story of a bank with so many accounts, before it opens.
    #[must_use]
    pub fn new(accounts: Account) -> Self {
        Self { promised: Books::empty(accounts), ..Self::default() }
    }

    /// The story of a bank that is known to hold `books`.
    #[must_use]
    pub fn of(books: Books) -> Self {
        Self { promised: books, ..Self::default() }
    }

    /// Takes in what happened next.
    pub fn tell(&mut self, event: &Event) {
        match event {
            Event::Asked(serial, effects) => self.asked.push((*serial, effects.clone())),
            Event::Promised(serial) => {
                // The log has one order: what was asked for before is durable as well.
                let place = self.asked.iter().position(|(asked, _)| asked == serial);
                for (_, effects) in self.asked.drain(..place.map_or(0, |place| place + 1)) {
                    self.promised.apply(&effects);
                    self.commits += 1;
                }
            }
            Event::Preparing(serial, effects) => {
                let doubt = Doubt { effects: effects.clone(), promised: false, decision: None };
                self.doubts.insert(*serial, doubt);
            }
            Event::Prepared(serial) => {
                if let Some(doubt) = self.doubts.get_mut(serial) {
                    doubt.promised = true;
                }
            }
            Event::Decided(serial, commit) => {
                if let Some(doubt) = self.doubts.get_mut(serial) {
                    doubt.decision = Some(*commit);
                }
                if !commit {
                    self.aborted.insert(*serial);
                }
            }
            Event::Ended(serial) => {
                if let Some(doubt) = self.doubts.remove(serial)
                    && doubt.decision == Some(true)
                {
                    self.promised.apply(&doubt.effects);
                    self.commits += 1;
                }
            }
        }
    }

    /// What the coordinator decided, of what a restart may ask about.
    #[must_use]
    pub fn decisions(&self) -> BTreeMap<Serial, bool> {
        let decided = |(serial, doubt): (&Serial, &Doubt)| doubt.decision.map(|it| (*serial, it));
        let aborted = self.aborted.iter().map(|serial| (*serial, false));
        aborted.chain(self.doubts.iter().filter_map(decided)).collect()
    }

    /// How many different books may be found: one more than commits that were not promised.
    #[must_use]
    pub fn candidates(&self) -> usize {
        self.asked.len() + 1
    }

    /// The books if the first `kept` of the commits that were not promised are there; of the
    /// transactions in doubt, those which `commits` says.
    #[must_use]
    pub fn candidate(&self, kept: usize, commits: impl Fn(Serial, &Doubt) -> bool) -> Books {
        let mut books = self.promised.clone();
        for (_, effects) in self.asked.iter().take(kept) {
            books.apply(effects);
        }
        for (serial, doubt) in &self.doubts {
            if commits(*serial, doubt) {
                books.apply(&doubt.effects);
            }
        }
        books
    }

    /// After a restart without loss: what is there is promised from now on, `kept` as in
    /// [`candidate`](Self::candidate).
    pub fn settle(&mut self, kept: usize) {
        for (_, effects) in self.asked.drain(..).take(kept) {
            self.promised.apply(&effects);
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, serial, effects): (_, _, &[Effect]) = match self {
            Self::Asked(serial, effects) => ("asked", serial, effects),
            Self::Promised(serial) => ("promised", serial, &[]),
            Self::Preparing(serial, effects) => ("preparing", serial, effects),
            Self::Prepared(serial) => ("prepared", serial, &[]),
            Self::Decided(serial, true) => ("commit", serial, &[]),
            Self::Decided(serial, false) => ("abort", serial, &[]),
            Self::Ended(serial) => ("ended", serial, &[]),
        };
        write!(f, "{name} {serial}")?;
        for effect in effects {
            match effect {
                Effect::Post { account, serial, amount } => {
                    write!(f, " post:{account}:{serial}:{amount}")?;
                }
                Effect::Fold { account, serial } => write!(f, " fold:{account}:{serial}")?,
            }
        }
        // So that a line cut by a kill is not taken for a shorter one.
        f.write_str(" .")
    }
}

impl Event {
    /// The event that a line tells; `None` for anything else, a line cut short among it.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix(" .")?.split(' ');
        let (name, serial) = (words.next()?, words.next()?.parse().ok()?);
        let effects: Option<Vec<Effect>> = words.map(parse_effect).collect();
        let effects = effects?;
        Some(match name {
            "asked" => Self::Asked(serial, effects),
            "promised" => Self::Promised(serial),
            "preparing" => Self::Preparing(serial, effects),
            "prepared" => Self::Prepared(serial),
            "commit" => Self::Decided(serial, true),
            "abort" => Self::Decided(serial, false),
            "ended" => Self::Ended(serial),
            _ => return None,
        })
    }
}

fn parse_effect(word: &str) -> Option<Effect> {
    let mut parts = word.split(':');
    let (name, account) = (parts.next()?, parts.next()?.parse().ok()?);
    let serial = parts.next()?.parse().ok()?;
    match name {
        "post" => Some(Effect::Post { account, serial, amount: parts.next()?.parse().ok()? }),
        "fold" => Some(Effect::Fold { account, serial }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(account: Account, serial: Serial, amount: i64) -> Effect {
        Effect::Post { account, serial, amount }
    }

    #[test]
    fn what_was_promised_is_in_every_candidate_and_the_rest_is_a_prefix() {
        let mut story = Story::new(2);
        for serial in 1..=3 {
            story.tell(&Event::Asked(serial, vec![post(0, serial, 5)]));
        }
        story.tell(&Event::Promised(1));
        assert_eq!(story.candidates(), 3);
        let found = |kept| story.candidate(kept, |_, _| false).0[&0].balance;
        assert_eq!((found(0), found(1), found(2)), (5, 10, 15));
    }

    #[test]
    fn an_audit_sees_lost_money_and_a_journal_that_does_not_match() {
        let mut books = Books::empty(2);
        assert_eq!(books.audit(), Ok(()));
        books.apply(&[post(0, 1, PAID_IN), post(1, 2, PAID_IN)]);
        books.apply(&[post(0, 3, -7), post(1, 4, 7), Effect::Fold { account: 1, serial: 5 }]);
        assert_eq!(books.audit(), Ok(()));
        let mut lost = books.clone();
        lost.apply(&[post(0, 6, -1)]);
        assert!(lost.audit().unwrap_err().contains("conserved"));
        books.0.get_mut(&0).unwrap().entries.remove(&3);
        assert!(books.audit().unwrap_err().contains("journal"));
    }

    #[test]
    fn every_event_comes_back_from_its_line_and_none_from_a_part_of_it() {
        let effects = vec![post(3, 8, -5), Effect::Fold { account: 3, serial: 9 }];
        let events = [
            Event::Asked(7, effects.clone()),
            Event::Promised(7),
            Event::Preparing(8, effects),
            Event::Prepared(8),
            Event::Decided(8, true),
            Event::Decided(9, false),
            Event::Ended(8),
        ];
        for event in events {
            let line = event.to_string();
            assert_eq!(Event::parse(&line), Some(event));
            for end in 0..line.len() {
                assert_eq!(Event::parse(&line[..end]), None, "{}", &line[..end]);
            }
        }
    }

    #[test]
    fn a_prepared_transaction_is_promised_once_its_decision_ended() {
        let mut story = Story::new(2);
        story.tell(&Event::Preparing(1, vec![post(0, 1, 5)]));
        story.tell(&Event::Prepared(1));
        story.tell(&Event::Decided(1, true));
        assert_eq!(story.decisions(), BTreeMap::from([(1, true)]));
        story.tell(&Event::Ended(1));
        assert_eq!(story.candidate(0, |_, _| false).0[&0].balance, 5);
        assert!(story.doubts.is_empty());
    }
}
