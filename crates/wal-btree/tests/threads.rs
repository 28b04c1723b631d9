//! Several threads on one tree: transfers keep their sum, whoever wins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{contents, key};
use wal::{MemoryStorage, Storage};
use wal_btree::{Error, Options, Tree};
use wal_sim::SimRng;

const ACCOUNTS: u32 = 120;
const START: u64 = 1_000;

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

/// A balance, and what makes pages split.
fn value(balance: u64) -> Vec<u8> {
    [&balance.to_le_bytes()[..], &vec![7; (balance % 60) as usize]].concat()
}

/// Moves `amount`; `Conflict` when somebody else is at one of the accounts.
fn transfer(tree: &Tree, from: u32, to: u32, amount: u64) -> Result<(), Error> {
    let mut txn = tree.begin();
    let source = number(&txn.get(&key(from))?.unwrap());
    let target = number(&txn.get(&key(to))?.unwrap());
    if from != to && source >= amount {
        txn.put(&key(from), &value(source - amount))?;
        txn.put(&key(to), &value(target + amount))?;
    }
    if amount.is_multiple_of(5) { txn.abort() } else { txn.commit() }
}

#[test]
fn transfers_of_several_threads_keep_their_sum() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let options = Options::default().page_bytes(512).frames(12);
    let tree = Tree::open(options, Arc::clone(&storage), storage).unwrap();
    let mut txn = tree.begin();
    for account in 0..ACCOUNTS {
        txn.insert(&key(account), &value(START)).unwrap();
    }
    txn.commit().unwrap();
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (tree, done) = (tree.clone(), &done);
            scope.spawn(move || {
                let mut rng = SimRng::new(seed);
                for _ in 0..200 {
                    let mut below = |end: u64| rng.below(end);
                    let (from, to) = (below(ACCOUNTS.into()) as u32, below(ACCOUNTS.into()) as u32);
                    match transfer(&tree, from, to, below(90)) {
                        Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                        Err(Error::Conflict) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let tree = tree.clone();
        scope.spawn(move || {
            for _ in 0..20 {
                tree.checkpoint().unwrap();
                tree.check().unwrap();
            }
        });
    });
    assert!(done.load(Ordering::Relaxed) > 400);
    let sum: u64 = contents(&tree).values().map(|value| number(value)).sum();
    assert_eq!(sum, u64::from(ACCOUNTS) * START);
    tree.close().unwrap();
}
