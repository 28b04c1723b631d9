//! A bank on the reference engine: accounts and their journals are keys of a B+tree.
//!
//! ```text
//! account u32 | serial u64, all ones for the balance      big-endian, so that they sort
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use wal::{Decision, Progress, Savepoint, Storage};
use wal_btree::{Transaction, Tree};

use crate::engine::{Engine, Restart, Shape, Tally};
use crate::error::BankError;
use crate::records::{restart_of, tally};
use crate::story::{Account, Books, Serial};

/// The balance stands behind all entries.
const BALANCE: Serial = Serial::MAX;

/// A bank on a B+tree.
#[derive(Debug)]
pub struct TreeBank {
    tree: Tree,
    accounts: Account,
}

impl From<wal_btree::Error> for BankError {
    fn from(error: wal_btree::Error) -> Self {
        Self::Engine(error.into())
    }
}

fn key(account: Account, serial: Serial) -> [u8; 12] {
    let mut key = [0; 12];
    for (place, byte) in key.iter_mut().zip(sorting(account, serial)) {
        *place = byte;
    }
    key
}

/// The bytes of a key, the most significant first.
fn sorting(account: Account, serial: Serial) -> impl Iterator<Item = u8> {
    let account = account.to_le_bytes().into_iter().rev();
    account.chain(serial.to_le_bytes().into_iter().rev())
}

fn parse(key: &[u8]) -> Option<(Account, Serial)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |it, byte| it << 8 | u64::from(*byte));
    let (account, serial) = key.split_at_checked(4).filter(|(_, serial)| serial.len() == 8)?;
    Some((u32::try_from(number(account)).ok()?, number(serial)))
}

fn amount(value: &[u8]) -> Result<i64, BankError> {
    let bytes: Result<[u8; 8], _> = value.try_into();
    bytes.map(i64::from_le_bytes).map_err(|_| BankError::Books("no amount".to_owned()))
}

impl Engine for TreeBank {
    type Txn = Transaction;
    type Savepoint = Option<Savepoint>;

    const NAME: &'static str = "tree";
    const TELLS_STEPS: bool = false;

    fn open(
        storage: Arc<dyn Storage>,
        shape: Shape,
        decisions: BTreeMap<Serial, bool>,
        _progress: Box<dyn Progress>,
    ) -> Result<Self, BankError> {
        let resolver = move |name: &[u8]| {
            let serial = name.first_chunk::<8>().map(|it| Serial::from_le_bytes(*it));
            match serial.and_then(|serial| decisions.get(&serial)) {
                Some(true) => Decision::Commit,
                Some(false) => Decision::Abort,
                None => Decision::Wait,
            }
        };
        let options = wal_btree::Options::default()
            .log(shape.log_options())
            .page_bytes(512)
            .frames(shape.pool_pages)
            .page_images(shape.images)
            .redo_threads(shape.redo_threads)
            .resolver(resolver);
        let tree = Tree::open(options, Arc::clone(&storage), storage)?;
        Ok(Self { tree, accounts: shape.accounts })
    }

    fn restart(&self) -> Restart {
        restart_of(self.tree.recovery())
    }

    fn books(&mut self) -> Result<Books, BankError> {
        let mut books = Books::empty(self.accounts);
        for (name, value) in self.tree.check()? {
            let (account, serial) =
                parse(&name).ok_or_else(|| BankError::Books("no key of the bank's".to_owned()))?;
            let ledger = books.0.entry(account).or_default();
            if serial == BALANCE {
                ledger.balance = amount(&value)?;
            } else {
                ledger.entries.insert(serial, amount(&value)?);
            }
        }
        Ok(books)
    }

    fn begin(&mut self) -> Transaction {
        self.tree.begin()
    }

    fn post(
        &mut self,
        txn: &mut Transaction,
        account: Account,
        serial: Serial,
        posted: i64,
    ) -> Result<(), BankError> {
        let before = txn.get(&key(account, BALANCE))?;
        let before = before.as_deref().map_or(Ok(0), amount)?;
        txn.put(&key(account, BALANCE), &(before + posted).to_le_bytes())?;
        txn.insert(&key(account, serial), &posted.to_le_bytes())?;
        Ok(())
    }

    fn fold(
        &mut self,
        txn: &mut Transaction,
        account: Account,
        serial: Serial,
    ) -> Result<(), BankError> {
        let (first, last) = (key(account, 0), key(account, BALANCE));
        let mut sum = 0;
        for (name, value) in txn.scan(first.as_slice()..last.as_slice())? {
            sum += amount(&value)?;
            txn.delete(&name)?;
        }
        txn.insert(&key(account, serial), &sum.to_le_bytes())?;
        Ok(())
    }

    fn savepoint(&mut self, txn: &mut Transaction) -> Option<Savepoint> {
        txn.savepoint().ok()
    }

    fn rollback_to(
        &mut self,
        txn: &mut Transaction,
        to: Option<Savepoint>,
    ) -> Result<(), BankError> {
        let to = to.ok_or_else(|| BankError::Books("there was no savepoint".to_owned()))?;
        Ok(txn.rollback_to(to)?)
    }

    fn prepare(
        &mut self,
        txn: Transaction,
        serial: Serial,
        _locks: &[Account],
    ) -> Result<(), BankError> {
        txn.prepare(&serial.to_le_bytes())?;
        Ok(())
    }

    /// The locks are those which nobody else gets: of all transactions in doubt together.
    fn in_doubt(&mut self) -> Result<BTreeMap<Serial, Vec<Account>>, BankError> {
        let probe = self.tree.begin();
        let locked = |account: &Account| {
            matches!(probe.get(&key(*account, BALANCE)), Err(wal_btree::Error::Conflict))
        };
        let locks: Vec<Account> = (0..self.accounts).filter(locked).collect();
        let named = self.tree.in_doubt()?.into_iter();
        let serials = named.filter_map(|it| Some(u64::from_le_bytes(*it.global_id.first_chunk()?)));
        Ok(serials.map(|serial| (serial, locks.clone())).collect())
    }

    fn decide(&mut self, serial: Serial, commit: bool) -> Result<(), BankError> {
        let named = self.tree.in_doubt()?;
        let found = named.into_iter().find(|it| it.global_id == serial.to_le_bytes());
        let missing = || BankError::Books(format!("transaction {serial} is not in doubt"));
        let decision = if commit { Decision::Commit } else { Decision::Abort };
        Ok(self.tree.resolve(found.ok_or_else(missing)?.txn, decision)?)
    }

    fn commit(&mut self, txn: Transaction) -> Result<(), BankError> {
        Ok(txn.commit()?)
    }

    fn abort(&mut self, txn: Transaction) -> Result<(), BankError> {
        Ok(txn.abort()?)
    }

    fn write_pages(&mut self, _count: usize, _sync: bool) -> Result<(), BankError> {
        Ok(self.tree.write_pages()?)
    }

    fn checkpoint(&mut self) -> Result<(), BankError> {
        self.tree.checkpoint()?;
        Ok(())
    }

    /// Every checkpoint truncates.
    fn truncate(&mut self) -> Result<(), BankError> {
        Ok(())
    }

    fn tally(&mut self) -> Result<Tally, BankError> {
        tally(self.tree.log())
    }

    fn close(self) -> Result<(), BankError> {
        Ok(self.tree.close()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_account_and_serial_with_the_balance_last() {
        let keys = [key(0, 7), key(0, 256), key(0, BALANCE), key(1, 0), key(256, 3)];
        assert!(keys.is_sorted());
        assert_eq!(parse(&key(256, 3)), Some((256, 3)));
        assert_eq!(parse(b"other"), None);
    }
}
