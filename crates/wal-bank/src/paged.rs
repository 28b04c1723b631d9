//! The engine of this crate: pages of a [`Vault`], transactions of a [`PageLog`].

use std::collections::BTreeMap;
use std::sync::Arc;

use wal::{
    Aries, Decision, Lsn, LsnRange, PageLog, PageTransaction, Phase, Progress, Savepoint, Storage,
    TxnId,
};

use crate::engine::{Engine, Restart, Shape, Tally};
use crate::error::BankError;
use crate::page::{Entry, balance_at};
use crate::records::{restart_of, tally};
use crate::story::{Account, Books, Ledger, Serial};
use crate::vault::{
    INSERT, REMOVE, UNDO_SPLIT_BYTES, Vault, encode_locks, global_id, name_of, redo_of,
};

/// A bank on pages.
#[derive(Debug)]
pub struct PagedBank {
    // Order of drop: what the pool holds of the log first.
    vault: Vault,
    log: PageLog,
    shape: Shape,
}

impl PagedBank {
    fn insert(&mut self, txn: &mut PageTransaction, entry: Entry) -> Result<(), BankError> {
        let (page, slot) = match self.vault.room()? {
            Some(room) => room,
            None => {
                // ARIES §9: the page more stays, whatever becomes of this transaction.
                let nested = txn.nested_begin()?;
                self.vault.split(&mut |page, offset, before, after| {
                    Ok(txn.log_update(page, offset, before, after)?)
                })?;
                txn.nested_end(nested)?;
                let room = self.vault.room()?;
                room.ok_or_else(|| BankError::Books("no room after a split".to_owned()))?
            }
        };
        self.vault.pool.before_change(page)?;
        let redo = redo_of(slot, &entry);
        let undo = name_of(entry.account, entry.serial);
        let at = txn.log_logical(page, INSERT, &redo, &undo)?;
        self.vault.do_logical(page, INSERT, &redo, at)
    }

    fn remove(&mut self, txn: &mut PageTransaction, entry: Entry) -> Result<(), BankError> {
        let (page, slot, entry) = self.vault.find(entry.account, entry.serial)?;
        self.vault.pool.before_change(page)?;
        let redo = [u8::try_from(slot).unwrap_or(u8::MAX)];
        let undo = entry.encode();
        let at = txn.log_logical_reserving(page, REMOVE, &redo, &undo, UNDO_SPLIT_BYTES)?;
        self.vault.do_logical(page, REMOVE, &redo, at)
    }

    fn doubtful(&self, serial: Serial) -> Result<TxnId, BankError> {
        let named = self.log.in_doubt()?.into_iter().find(|it| it.global_id == global_id(serial));
        let missing = || BankError::Books(format!("transaction {serial} is not in doubt"));
        named.map(|it| it.txn).ok_or_else(missing)
    }
}

/// Progress that the opening owns.
struct Passed(Box<dyn Progress>);

impl Progress for Passed {
    fn advance(&mut self, phase: Phase, range: LsnRange, at: Lsn) {
        self.0.advance(phase, range, at);
    }
}

impl Engine for PagedBank {
    type Txn = PageTransaction;
    type Savepoint = Savepoint;

    const NAME: &'static str = "paged";
    const TELLS_STEPS: bool = true;

    fn open(
        storage: Arc<dyn Storage>,
        shape: Shape,
        decisions: BTreeMap<Serial, bool>,
        progress: Box<dyn Progress>,
    ) -> Result<Self, BankError> {
        let pool = (shape.pool_pages, shape.images);
        let mut vault = Vault::open(&storage, pool, shape.accounts, decisions)?;
        let strategy = Aries::new().redo_threads(shape.redo_threads);
        let opener = shape.log_options().recover_with(strategy).progress(Passed(progress));
        let log = opener.open_pages_in(storage, &mut vault)?;
        vault.pool.log_runs(log.write_ahead());
        Ok(Self { vault, log, shape })
    }

    fn restart(&self) -> Restart {
        restart_of(self.log.recovery())
    }

    fn books(&mut self) -> Result<Books, BankError> {
        let mut books = Books::empty(self.shape.accounts);
        for (account, ledger) in &mut books.0 {
            let balance = self.vault.balance(*account)?;
            *ledger = Ledger { balance, entries: BTreeMap::new() };
        }
        for Entry { account, serial, amount } in self.vault.entries(None)? {
            let twice = books.0.entry(account).or_default().entries.insert(serial, amount);
            if twice.is_some() {
                return Err(BankError::Books(format!("entry {serial} is there twice")));
            }
        }
        Ok(books)
    }

    fn begin(&mut self) -> PageTransaction {
        self.log.begin()
    }

    fn post(
        &mut self,
        txn: &mut PageTransaction,
        account: Account,
        serial: Serial,
        amount: i64,
    ) -> Result<(), BankError> {
        let after = self.vault.balance(account)? + amount;
        let (page, offset) = balance_at(account);
        self.vault.change(
            page,
            offset as usize,
            &after.to_le_bytes(),
            &mut |page, at, before, after| Ok(txn.log_update(page, at, before, after)?),
        )?;
        self.insert(txn, Entry { account, serial, amount })
    }

    fn fold(
        &mut self,
        txn: &mut PageTransaction,
        account: Account,
        serial: Serial,
    ) -> Result<(), BankError> {
        let entries = self.vault.entries(Some(account))?;
        let amount = entries.iter().map(|entry| entry.amount).sum();
        for entry in entries {
            self.remove(txn, entry)?;
        }
        self.insert(txn, Entry { account, serial, amount })
    }

    fn savepoint(&mut self, txn: &mut PageTransaction) -> Savepoint {
        txn.savepoint()
    }

    fn rollback_to(&mut self, txn: &mut PageTransaction, to: Savepoint) -> Result<(), BankError> {
        Ok(txn.rollback_to(&mut self.vault, to)?)
    }

    fn prepare(
        &mut self,
        mut txn: PageTransaction,
        serial: Serial,
        locks: &[Account],
    ) -> Result<(), BankError> {
        txn.prepare(&global_id(serial), &encode_locks(locks))?;
        Ok(())
    }

    fn in_doubt(&mut self) -> Result<BTreeMap<Serial, Vec<Account>>, BankError> {
        let mut found = BTreeMap::new();
        for doubt in self.log.in_doubt()? {
            let serial = doubt.global_id.first_chunk::<8>().map_or(0, |it| u64::from_le_bytes(*it));
            let locks = doubt.locks.as_chunks::<4>().0;
            found.insert(serial, locks.iter().map(|it| u32::from_le_bytes(*it)).collect());
        }
        Ok(found)
    }

    fn decide(&mut self, serial: Serial, commit: bool) -> Result<(), BankError> {
        let decision = if commit { Decision::Commit } else { Decision::Abort };
        let txn = self.doubtful(serial)?;
        Ok(self.log.resolve(txn, decision, &mut self.vault)?)
    }

    fn commit(&mut self, txn: PageTransaction) -> Result<(), BankError> {
        txn.commit()?;
        Ok(())
    }

    fn abort(&mut self, txn: PageTransaction) -> Result<(), BankError> {
        Ok(txn.abort(&mut self.vault)?)
    }

    fn write_pages(&mut self, count: usize, sync: bool) -> Result<(), BankError> {
        self.vault.pool.write_some(count)?;
        if sync { self.vault.pool.sync() } else { Ok(()) }
    }

    fn checkpoint(&mut self) -> Result<(), BankError> {
        self.log.checkpoint(b"bank")?;
        Ok(())
    }

    fn truncate(&mut self) -> Result<(), BankError> {
        self.log.truncate()?;
        Ok(())
    }

    fn tally(&mut self) -> Result<Tally, BankError> {
        tally(&self.log)
    }

    fn close(self) -> Result<(), BankError> {
        Ok(self.log.close()?)
    }
}
