//! Accounts in four partitions, by the hash of their name, and transfers between them: each is a batch
//! across two partitions, so that no crash makes money or loses it.
//!
//! `cargo run -p wal-partitions --example transfers [DIRECTORY]`: run it again on the same directory, or
//! kill it; the sum stays.

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};

use wal::{CheckpointView, Options, RedoTarget, ReplayRecord};
use wal_partitions::{Directories, Opener, Partitions};

const PARTITIONS: usize = 4;

/// Balances of one partition. A record is what changed: the name, and the balance from then on.
#[derive(Default)]
struct Accounts(BTreeMap<String, i64>);

impl Accounts {
    fn apply(&mut self, record: &[u8]) -> Result<(), String> {
        let (balance, name) = record.split_first_chunk::<8>().ok_or("a record is too short")?;
        let name = String::from_utf8(name.to_vec()).map_err(|error| error.to_string())?;
        self.0.insert(name, i64::from_le_bytes(*balance));
        Ok(())
    }

    fn record(name: &str, balance: i64) -> Vec<u8> {
        [&balance.to_le_bytes()[..], name.as_bytes()].concat()
    }

    /// All of them, each with its length before it.
    fn snapshot(&self) -> Vec<u8> {
        let records = self.0.iter().map(|(name, balance)| Self::record(name, *balance));
        records.flat_map(|record| [&[record.len() as u8][..], &record].concat()).collect()
    }
}

impl RedoTarget for Accounts {
    type Error = String;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), String> {
        let mut rest = checkpoint.payload;
        while let Some((length, after)) = rest.split_first() {
            let (record, after) =
                after.split_at_checked(usize::from(*length)).ok_or("a snapshot is cut short")?;
            self.apply(record)?;
            rest = after;
        }
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), String> {
        self.apply(record.body)
    }
}

/// Which partition an account lives in. It must be the same for ever, on every machine: an engine for
/// use brings a hash function of its own.
fn home(name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    (hasher.finish() % PARTITIONS as u64) as usize
}

struct Bank {
    partitions: Partitions,
    accounts: Vec<Accounts>,
}

impl Bank {
    fn balance(&self, name: &str) -> i64 {
        self.accounts.get(home(name)).and_then(|at| at.0.get(name)).copied().unwrap_or(0)
    }

    fn transfer(&mut self, from: &str, to: &str, amount: i64) -> Result<(), Box<dyn Error>> {
        let debit = Accounts::record(from, self.balance(from) - amount);
        let credit = Accounts::record(to, self.balance(to) + amount);
        let ticket = if home(from) == home(to) {
            self.partitions.append_across(&[(home(from), &[&debit, &credit])])?
        } else {
            self.partitions.append_across(&[(home(from), &[&debit]), (home(to), &[&credit])])?
        };
        // What is applied before this returns could be told to somebody and be gone after a crash.
        ticket.wait_durable()?;
        for (name, record) in [(from, &debit), (to, &credit)] {
            if let Some(accounts) = self.accounts.get_mut(home(name)) {
                accounts.apply(record)?;
            }
        }
        Ok(())
    }

    fn sum(&self) -> i64 {
        self.accounts.iter().flat_map(|accounts| accounts.0.values()).sum()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let root = std::env::args().nth(1).map_or(scratch.path().join("bank"), Into::into);
    let opener = Opener::new(Options::default().segment_bytes(1 << 20)).threads(2);
    let mut accounts: Vec<Accounts> = (0..PARTITIONS).map(|_| Accounts::default()).collect();
    let partitions = opener.recover(&Directories::new(root), PARTITIONS, &mut accounts)?;
    let mut bank = Bank { partitions, accounts };
    println!("recovered: the sum of all accounts is {}", bank.sum());
    for number in 0..100_i64 {
        let (from, to) =
            (format!("account {}", number % 7), format!("account {}", number % 11 + 7));
        bank.transfer(&from, &to, number)?;
    }
    // One thread: nothing changes between the begin of a checkpoint and its snapshot.
    let accounts = &bank.accounts;
    bank.partitions.checkpoint_all(|partition, _| {
        accounts.get(partition.index()).map(Accounts::snapshot).unwrap_or_default()
    })?;
    bank.partitions.truncate_all()?;
    let across = bank.partitions.stats().across;
    println!("{} transfers across partitions; the sum is {}", across.committed, bank.sum());
    bank.partitions.close()?;
    Ok(())
}
