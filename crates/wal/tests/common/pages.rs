//! A small engine that keeps pages, for the tests of the page log: numbers in slots, pages of one
//! sector with a checksum, a pool that writes pages whenever it is told to.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use wal::{
    Access, Aries, EngineError, Error, InDoubt, LogFile, Lsn, Options, PageId, PageLog, PageState,
    PageStore, PageTransaction, Storage, WriteAhead,
};

pub const PAGE_BYTES: usize = 512;
const HEAD_BYTES: usize = 16;
pub const SLOTS: u64 = ((PAGE_BYTES - HEAD_BYTES) / 8) as u64;
const FILE: &str = "pages";

struct Frame {
    bytes: [u8; PAGE_BYTES],
    dirty: bool,
}

/// The pages: checksum, LSN, then slots of eight bytes.
pub struct Pages {
    file: Box<dyn LogFile>,
    frames: BTreeMap<PageId, Frame>,
    rule: Option<Arc<dyn WriteAhead>>,
    /// What restart said of transactions in doubt: coordinator's name and locks.
    pub doubts: Vec<(Vec<u8>, Vec<u8>)>,
    pub offline: Vec<PageId>,
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

fn checksum(bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

impl Pages {
    /// The pages in a file beside the log.
    pub fn open(storage: &Arc<dyn Storage>) -> io::Result<Self> {
        let file = match storage.open(FILE, Access::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = storage.create(FILE, 0)?;
                file.sync_all()?;
                storage.sync_dir()?;
                file
            }
            opened => opened?,
        };
        let (frames, doubts, offline) = (BTreeMap::new(), Vec::new(), Vec::new());
        Ok(Self { file, frames, rule: None, doubts, offline })
    }

    fn offset(page: PageId) -> u64 {
        page.get() * PAGE_BYTES as u64
    }

    fn load(&mut self, page: PageId) -> io::Result<&mut Frame> {
        if !self.frames.contains_key(&page) {
            let mut bytes = [0; PAGE_BYTES];
            let mut at = 0;
            while at < PAGE_BYTES {
                match self.file.read_at(&mut bytes[at..], Self::offset(page) + at as u64)? {
                    0 => break,
                    count => at += count,
                }
            }
            self.frames.insert(page, Frame { bytes, dirty: false });
        }
        Ok(self.frames.get_mut(&page).unwrap())
    }

    fn is_whole(bytes: &[u8; PAGE_BYTES]) -> bool {
        bytes.iter().all(|byte| *byte == 0) || number(&bytes[..8]) == checksum(&bytes[8..])
    }

    /// What is in a slot.
    pub fn get(&mut self, page: u64, slot: u64) -> u64 {
        let at = HEAD_BYTES + 8 * slot as usize;
        let frame = self.load(PageId::new(page)).unwrap();
        assert!(Self::is_whole(&frame.bytes), "page {page} is torn after recovery");
        number(&frame.bytes[at..at + 8])
    }

    /// All numbers of the first `pages` pages.
    pub fn all(&mut self, pages: u64) -> Vec<u64> {
        (0..pages)
            .flat_map(|page| (0..SLOTS).map(move |slot| (page, slot)))
            .map(|(page, slot)| self.get(page, slot))
            .collect()
    }

    /// Puts a number into a slot, as part of a transaction.
    pub fn put(
        &mut self,
        txn: &mut PageTransaction,
        page: u64,
        slot: u64,
        value: u64,
    ) -> Result<Lsn, Error> {
        let before = self.get(page, slot).to_le_bytes();
        let offset = HEAD_BYTES as u32 + 8 * slot as u32;
        txn.update(self, PageId::new(page), offset, &before, &value.to_le_bytes())
    }

    fn lsn(bytes: &[u8; PAGE_BYTES]) -> Lsn {
        Lsn::new(number(&bytes[8..16])).unwrap()
    }

    /// Logs the image of a page, so that a torn write can be mended.
    pub fn image(&mut self, log: &PageLog, page: u64) -> Result<(), Error> {
        let page = PageId::new(page);
        let bytes = self.load(page).unwrap().bytes;
        let lsn = log.log_image(page, &bytes)?;
        self.write_image(page, &bytes, lsn).unwrap();
        Ok(())
    }

    /// Writes a page back, committed or not: steals it.
    pub fn steal(&mut self, page: u64) -> Result<(), EngineError> {
        self.steal_all(&[page])
    }

    /// Writes pages back, with one sync.
    pub fn steal_all(&mut self, pages: &[u64]) -> Result<(), EngineError> {
        let rule = self.rule.clone().ok_or("the log does not run")?;
        let mut written = Vec::new();
        for page in pages.iter().map(|page| PageId::new(*page)) {
            let frame = self.load(page)?;
            if !frame.dirty {
                continue;
            }
            let lsn = Self::lsn(&frame.bytes);
            let sum = checksum(&frame.bytes[8..]);
            frame.bytes[..8].copy_from_slice(&sum.to_le_bytes());
            let bytes = frame.bytes;
            rule.before_page_write(page, lsn)?;
            let count = self.file.write_at(&[IoSlice::new(&bytes)], Self::offset(page))?;
            assert_eq!(count, PAGE_BYTES);
            written.push((page, lsn));
        }
        if written.is_empty() {
            return Ok(());
        }
        self.file.sync_data()?;
        for (page, lsn) in written {
            self.frames.get_mut(&page).unwrap().dirty = false;
            rule.page_written(page, lsn);
        }
        Ok(())
    }

    /// Writes back what is dirty.
    pub fn clean(&mut self) -> Result<(), EngineError> {
        let pages: Vec<u64> = self.frames.keys().map(|page| page.get()).collect();
        self.steal_all(&pages)
    }

    /// Forgets what is in memory, which must be clean.
    pub fn forget(&mut self) {
        assert!(!self.is_dirty());
        self.frames.clear();
    }

    /// Whether anything is in memory only.
    pub fn is_dirty(&self) -> bool {
        self.frames.values().any(|frame| frame.dirty)
    }
}

impl PageStore for Pages {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        if self.offline.contains(&page) {
            return Ok(PageState::Offline);
        }
        let frame = self.load(page)?;
        // In memory the checksum is that of the last write.
        let whole = frame.dirty || Self::is_whole(&frame.bytes);
        Ok(if whole { PageState::At(Self::lsn(&frame.bytes)) } else { PageState::Torn })
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        let frame = self.load(page)?;
        let at = offset as usize;
        frame.bytes.get_mut(at..at + bytes.len()).ok_or("beyond the page")?.copy_from_slice(bytes);
        frame.bytes[8..16].copy_from_slice(&lsn.get().to_le_bytes());
        let sum = checksum(&frame.bytes[8..]);
        frame.bytes[..8].copy_from_slice(&sum.to_le_bytes());
        frame.dirty = true;
        Ok(())
    }

    fn write_image(&mut self, page: PageId, image: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        self.load(page)?.bytes = [0; PAGE_BYTES];
        self.write(page, 0, image, lsn)
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.load(page)?.dirty = true;
        Ok(())
    }

    fn in_doubt(&mut self, txn: &InDoubt<'_>) -> Result<wal::Decision, EngineError> {
        self.doubts.push((txn.global_id.to_vec(), txn.locks.to_vec()));
        Ok(wal::Decision::Wait)
    }

    fn log_runs(&mut self, log: &Arc<dyn WriteAhead>) -> Result<(), EngineError> {
        self.rule = Some(Arc::clone(log));
        Ok(())
    }
}

/// Opens the log and the pages beside it.
pub fn open_pages(storage: &Arc<dyn Storage>, options: Options) -> Result<(PageLog, Pages), Fault> {
    let mut pages = Pages::open(storage).map_err(Fault::File)?;
    let opener = options.recover_with(Aries::new());
    let log = opener.open_pages_in(Arc::clone(storage), &mut pages).map_err(Fault::Log)?;
    Ok((log, pages))
}

/// Why the engine did not come up.
#[derive(Debug)]
pub enum Fault {
    File(io::Error),
    Log(Error),
}
