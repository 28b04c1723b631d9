//! The bank's pages: balances changed in place, a journal whose entries move.
//!
//! Balances are physical changes. An entry of the journal is put in and taken out by logical
//! operations, for it may have moved when it is to be taken back: a full journal gets a page more
//! and half of a page moves there, in a nested top action which stays whatever becomes of the
//! transaction.
//!
//! Left to others: who may change what (locks, by account, are the caller's), and when pages are
//! written (`pool`).

use std::collections::BTreeMap;
use std::sync::Arc;

use wal_format::{Lsn, PageId};
use wal_io::Storage;
use wal_recovery::RecoveryError;
use wal_recovery::aries::{
    Decision, EngineError, InDoubt, LogicalRedo, LogicalUndo, PageState, PageStore, UndoScope,
    WriteAhead,
};

use crate::error::BankError;
use crate::page::{
    BALANCES, BODY_AT, Bytes, Entry, SLOT_BYTES, SLOTS, balance_at, entries, free_slot, slot_at,
};
use crate::pool::Pool;
use crate::story::{Account, Serial};

/// Puts an entry into a slot. Redo: slot u8, entry. Undo: account u32, serial u64.
pub(crate) const INSERT: u32 = 1;
/// Frees a slot. Redo: slot u8. Undo: the entry.
pub(crate) const REMOVE: u32 = 2;

/// What the split of a page may log when a removal is taken back: three changes and their end.
pub(crate) const UNDO_SPLIT_BYTES: u64 = 4 * (128 + 2 * (SLOTS * SLOT_BYTES) as u64);

const HEADER: PageId = PageId::new(0);

/// Logs bytes of a page before and after; gives the address.
pub(crate) type LogUpdate<'a> =
    &'a mut dyn FnMut(PageId, u32, &[u8], &[u8]) -> Result<Lsn, BankError>;

/// What a restart was told of a prepared transaction: its locks.
pub(crate) type Locks = Vec<Account>;

/// The pages of a bank.
#[derive(Debug)]
pub(crate) struct Vault {
    pub(crate) pool: Pool,
    accounts: Account,
    /// What the coordinator decided.
    decisions: BTreeMap<Serial, bool>,
    /// Transactions in doubt that restart met, and the locks they have again.
    pub(crate) in_doubt: BTreeMap<Serial, Locks>,
}

/// The name of a transaction for its coordinator.
pub(crate) fn global_id(serial: Serial) -> [u8; 8] {
    serial.to_le_bytes()
}

pub(crate) fn encode_locks(locks: &[Account]) -> Vec<u8> {
    locks.iter().flat_map(|account| account.to_le_bytes()).collect()
}

/// What is logged to take an insertion back.
pub(crate) fn name_of(account: Account, serial: Serial) -> Vec<u8> {
    [&account.to_le_bytes()[..], &serial.to_le_bytes()].concat()
}

/// What is logged to put `entry` into `slot` again.
pub(crate) fn redo_of(slot: usize, entry: &Entry) -> Vec<u8> {
    let mut redo = vec![u8::try_from(slot).unwrap_or(u8::MAX)];
    redo.extend_from_slice(&entry.encode());
    redo
}

impl Vault {
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        pool: (usize, bool),
        accounts: Account,
        decisions: BTreeMap<Serial, bool>,
    ) -> Result<Self, BankError> {
        let pool = Pool::open(storage.as_ref(), pool.0, pool.1)?;
        Ok(Self { pool, accounts, decisions, in_doubt: BTreeMap::new() })
    }

    fn first_journal(&self) -> u64 {
        1 + u64::from(self.accounts.div_ceil(BALANCES))
    }

    fn journal_pages(&mut self) -> Result<u64, BankError> {
        let bytes = self.pool.read(HEADER)?;
        let count = bytes.get(BODY_AT..).and_then(|body| body.first_chunk::<4>());
        Ok(count.map_or(0, |count| u64::from(u32::from_le_bytes(*count))))
    }

    fn journal(&mut self) -> Result<impl Iterator<Item = PageId> + use<>, BankError> {
        let first = self.first_journal();
        Ok((first..first + self.journal_pages()?).map(PageId::new))
    }

    pub(crate) fn balance(&mut self, account: Account) -> Result<i64, BankError> {
        let (page, offset) = balance_at(account);
        let bytes = self.pool.read(page)?;
        let balance = bytes.get(offset as usize..).and_then(|from| from.first_chunk::<8>());
        Ok(balance.map_or(0, |bytes| i64::from_le_bytes(*bytes)))
    }

    /// The entries of an account, or of all.
    pub(crate) fn entries(&mut self, account: Option<Account>) -> Result<Vec<Entry>, BankError> {
        let mut found = Vec::new();
        for page in self.journal()? {
            let all = entries(self.pool.read(page)?).map(|(_, entry)| entry);
            found.extend(all.filter(|entry| account.is_none_or(|it| it == entry.account)));
        }
        Ok(found)
    }

    /// Where an entry is now.
    pub(crate) fn find(
        &mut self,
        account: Account,
        serial: Serial,
    ) -> Result<(PageId, usize, Entry), BankError> {
        for page in self.journal()? {
            let found = entries(self.pool.read(page)?)
                .find(|(_, entry)| (entry.account, entry.serial) == (account, serial));
            if let Some((slot, entry)) = found {
                return Ok((page, slot, entry));
            }
        }
        Err(BankError::Books(format!("entry {serial} of account {account} is not in the journal")))
    }

    /// A page of the journal with a free slot, if there is one.
    pub(crate) fn room(&mut self) -> Result<Option<(PageId, usize)>, BankError> {
        for page in self.journal()? {
            if let Some(slot) = free_slot(self.pool.read(page)?) {
                return Ok(Some((page, slot)));
            }
        }
        Ok(None)
    }

    /// Makes room: a page more, to which half of the last one moves. To be logged within a nested
    /// top action.
    pub(crate) fn split(&mut self, log: LogUpdate<'_>) -> Result<(), BankError> {
        let count = self.journal_pages()?;
        let (new, old) = (self.first_journal() + count, self.first_journal() + count.max(1) - 1);
        if count > 0 {
            let moved = SLOTS / 2 * SLOT_BYTES;
            let bytes: Bytes = *self.pool.read(PageId::new(old))?;
            let half = bytes.get(BODY_AT..BODY_AT + moved).unwrap_or_default().to_vec();
            let empty = vec![0; half.len()];
            self.change(PageId::new(new), BODY_AT, &half, log)?;
            self.change(PageId::new(old), BODY_AT, &empty, log)?;
        }
        let count = u32::try_from(count + 1).unwrap_or(u32::MAX);
        self.change(HEADER, BODY_AT, &count.to_le_bytes(), log)
    }

    /// Logs a physical change with what was there before, and makes it.
    pub(crate) fn change(
        &mut self,
        page: PageId,
        offset: usize,
        after: &[u8],
        log: LogUpdate<'_>,
    ) -> Result<(), BankError> {
        self.pool.before_change(page)?;
        let bytes = self.pool.read(page)?;
        let before = bytes.get(offset..offset + after.len()).unwrap_or_default().to_vec();
        let at = log(page, u32::try_from(offset).unwrap_or(u32::MAX), &before, after)?;
        self.pool.put(page, offset, after, at)
    }

    pub(crate) fn do_logical(
        &mut self,
        page: PageId,
        operation: u32,
        redo: &[u8],
        at: Lsn,
    ) -> Result<(), BankError> {
        let known = match (operation, redo.split_first()) {
            (INSERT, Some((slot, entry))) if entry.len() == SLOT_BYTES => Some((slot, entry)),
            (REMOVE, Some((slot, []))) => Some((slot, &[0; SLOT_BYTES][..])),
            _ => None,
        };
        let Some((slot, entry)) = known.filter(|(slot, _)| usize::from(**slot) < SLOTS) else {
            return Err(BankError::Books(format!("operation {operation} is none of the bank's")));
        };
        self.pool.put(page, slot_at(usize::from(*slot)), entry, at)
    }

    fn undo(&mut self, undo: &LogicalUndo<'_>, scope: &mut dyn UndoScope) -> Result<(), BankError> {
        match undo.operation {
            INSERT => {
                let named = undo.undo.split_first_chunk::<4>();
                let (account, rest) = named.ok_or_else(|| unknown(undo))?;
                let serial = rest.first_chunk::<8>().ok_or_else(|| unknown(undo))?;
                let (account, serial) = (u32::from_le_bytes(*account), u64::from_le_bytes(*serial));
                let (page, slot, _) = self.find(account, serial)?;
                self.pool.before_change(page)?;
                let redo = [u8::try_from(slot).unwrap_or(u8::MAX)];
                let at = scope.compensate(page, REMOVE, &redo)?;
                self.do_logical(page, REMOVE, &redo, at)
            }
            REMOVE => {
                let entry = Entry::decode(undo.undo).ok_or_else(|| unknown(undo))?;
                let (page, slot) = match self.room()? {
                    Some(room) => room,
                    None => {
                        self.split(&mut |page, offset, before, after| {
                            Ok(scope.log_update(page, offset, before, after)?)
                        })?;
                        scope.end_nested()?;
                        self.room()?.ok_or_else(|| BankError::Books("no room".to_owned()))?
                    }
                };
                self.pool.before_change(page)?;
                let redo = redo_of(slot, &entry);
                let at = scope.compensate(page, INSERT, &redo)?;
                self.do_logical(page, INSERT, &redo, at)
            }
            _ => Err(unknown(undo)),
        }
    }
}

fn unknown(undo: &LogicalUndo<'_>) -> BankError {
    BankError::Books(format!("operation {} at {} is none of the bank's", undo.operation, undo.lsn))
}

impl PageStore for Vault {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        Ok(self.pool.state(page)?)
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        Ok(self.pool.put(page, offset as usize, bytes, lsn)?)
    }

    fn write_logged(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        log: &mut dyn FnMut() -> Result<Lsn, RecoveryError>,
    ) -> Result<(), EngineError> {
        self.pool.before_change(page)?;
        let lsn = log()?;
        Ok(self.pool.put(page, offset as usize, bytes, lsn)?)
    }

    fn write_image(&mut self, page: PageId, image: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        Ok(self.pool.put_image(page, image, lsn)?)
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        Ok(self.pool.mark_dirty(page)?)
    }

    fn redo_logical(&mut self, redo: &LogicalRedo<'_>, lsn: Lsn) -> Result<(), EngineError> {
        Ok(self.do_logical(redo.page, redo.operation, redo.redo, lsn)?)
    }

    fn undo_logical(
        &mut self,
        undo: &LogicalUndo<'_>,
        scope: &mut dyn UndoScope,
    ) -> Result<(), EngineError> {
        Ok(self.undo(undo, scope)?)
    }

    fn in_doubt(&mut self, txn: &InDoubt<'_>) -> Result<Decision, EngineError> {
        let named: Result<[u8; 8], _> = txn.global_id.try_into();
        let serial = Serial::from_le_bytes(named.map_err(|_| "a name that is none of the bank's")?);
        let locks = txn.locks.as_chunks::<4>().0;
        let locks = locks.iter().map(|account| u32::from_le_bytes(*account)).collect();
        self.in_doubt.insert(serial, locks);
        Ok(match self.decisions.get(&serial) {
            Some(true) => Decision::Commit,
            Some(false) => Decision::Abort,
            None => Decision::Wait,
        })
    }

    fn log_runs(&mut self, log: &Arc<dyn WriteAhead>) -> Result<(), EngineError> {
        self.pool.log_runs(Arc::clone(log));
        Ok(())
    }
}
