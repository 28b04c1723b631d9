//! An engine that keeps pages, as small as it can be: the log does transactions, rollback and
//! restart; the engine gives it two things, the LSN of a page and a way to put bytes into it.
//!
//! `cargo run --example pages` transfers money, crashes in the middle of a transfer, and comes back.

use std::collections::BTreeMap;

use wal::{
    Aries, EngineError, Error, Lsn, Options, PageId, PageLog, PageState, PageStore, PageTransaction,
};

/// Pages in memory: what a crash leaves of them is nothing, so everything comes from the log. A
/// real engine has them in files, behind a pool that writes them when it likes.
#[derive(Default)]
struct Pages(BTreeMap<PageId, (Lsn, [u8; 8])>);

impl PageStore for Pages {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        Ok(PageState::At(self.0.get(&page).map_or(Lsn::NONE, |(lsn, _)| *lsn)))
    }

    fn write(&mut self, page: PageId, at: u32, bytes: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        let (page_lsn, contents) = self.0.entry(page).or_default();
        let place = at as usize..at as usize + bytes.len();
        contents.get_mut(place).ok_or("beyond the page")?.copy_from_slice(bytes);
        *page_lsn = lsn;
        Ok(())
    }

    fn mark_dirty(&mut self, _: PageId) -> Result<(), EngineError> {
        Ok(()) // Nothing is ever written here, so there is nothing to write again.
    }
}

impl Pages {
    fn balance(&self, account: u64) -> u64 {
        self.0.get(&PageId::new(account)).map_or(0, |(_, bytes)| u64::from_le_bytes(*bytes))
    }

    fn set(&mut self, txn: &mut PageTransaction, account: u64, to: u64) -> Result<Lsn, Error> {
        let before = self.balance(account).to_le_bytes();
        txn.update(self, PageId::new(account), 0, &before, &to.to_le_bytes())
    }
}

fn open(path: &std::path::Path) -> Result<(PageLog, Pages), Error> {
    let mut pages = Pages::default();
    let options = Options::default().segment_bytes(1 << 20);
    let log = options.recover_with(Aries::new()).open_pages(path, &mut pages)?;
    Ok((log, pages))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("bank.wal");
    let (log, mut pages) = open(&path)?;
    let mut txn = log.begin();
    pages.set(&mut txn, 1, 100)?;
    txn.commit()?; // durable

    let mut transfer = log.begin();
    pages.set(&mut transfer, 1, 60)?;
    let savepoint = transfer.savepoint();
    pages.set(&mut transfer, 3, 40)?; // the wrong account
    transfer.rollback_to(&mut pages, savepoint)?;
    pages.set(&mut transfer, 2, 40)?;
    log.sync()?; // in the log, and not committed
    drop((transfer, log, pages)); // as if the power went

    let (log, pages) = open(&path)?;
    println!("{:?}", [1, 2, 3].map(|account| pages.balance(account)));
    assert_eq!([1, 2, 3].map(|account| pages.balance(account)), [100, 0, 0]);
    Ok(log.close()?)
}
