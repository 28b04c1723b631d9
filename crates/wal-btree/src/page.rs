//! One page: its header, its checksum, its LSN.
//!
//! ```text
//! | offset | size | field      |                                                   |
//! |-------:|-----:|------------|---------------------------------------------------|
//! |      0 |    4 | checksum   | CRC-32C of everything behind it                   |
//! |      4 |    8 | page LSN   | the last record applied                           |
//! |     12 |    8 | page id    | where it belongs: a write that went astray shows  |
//! |     20 |    … | body       | what `node` and `map` make of it; this is logged  |
//! ```
//!
//! Checksum and id are filled in when the page is written and have no meaning in memory. A page of
//! zeros is one to which nothing was ever applied: a file may grow by holes.

use wal_format::{Lsn, PageId};

/// Where the logged part of a page begins.
pub(crate) const BODY: usize = 20;
const CRC_BYTES: usize = 4;
const LSN: usize = 4;
const ID: usize = 12;

/// Bytes that are no page, or that lie outside of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// The checksum does not fit, or belongs to another page.
    #[error("it is torn: its checksum does not fit")]
    Torn,
    /// The bytes to be put there are not within the body of a page.
    #[error("{bytes} bytes at {offset} are not within its body")]
    OutOfBounds {
        /// Where they were to go.
        offset: u32,
        /// How many there are.
        bytes: usize,
    },
    /// A slot, a cell or a count is not what it can be.
    #[error("its contents are damaged")]
    Damaged,
    /// There is nothing, not even an image, where the tree or a map says that something was put.
    #[error("it is missing: it holds nothing, and something was put there")]
    Missing,
}

/// A page in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page(Box<[u8]>);

impl Page {
    /// A page to which nothing was ever applied.
    pub(crate) fn zeroed(page_bytes: usize) -> Self {
        Self(vec![0; page_bytes].into())
    }

    /// What was read from storage as page `id`.
    ///
    /// # Errors
    ///
    /// [`PageFault::Torn`]: only an image can bring it back (a25).
    pub(crate) fn unsealed(bytes: Vec<u8>, id: PageId) -> Result<Self, PageFault> {
        let page = Self(bytes.into());
        if page.0.iter().all(|byte| *byte == 0) {
            return Ok(page);
        }
        let whole = page.u32_at(0) == Some(checksum(&page.0))
            && page.u64_at(ID) == Some(id.get())
            && page.u64_at(LSN).and_then(Lsn::new).is_some();
        if whole { Ok(page) } else { Err(PageFault::Torn) }
    }

    /// An image from the log, which has a checksum of its own.
    pub(crate) fn from_image(image: &[u8]) -> Self {
        Self(image.into())
    }

    /// The bytes to write as page `id`.
    pub(crate) fn sealed(&self, id: PageId) -> Vec<u8> {
        let mut bytes = self.0.to_vec();
        put(&mut bytes, ID, &id.get().to_le_bytes());
        let crc = checksum(&bytes);
        put(&mut bytes, 0, &crc.to_le_bytes());
        bytes
    }

    /// Address of the last record applied; [`Lsn::NONE`] if none ever was.
    pub(crate) fn lsn(&self) -> Lsn {
        self.u64_at(LSN).and_then(Lsn::new).unwrap_or(Lsn::NONE)
    }

    /// Changes together with the bytes that the record changed (a21).
    pub(crate) fn set_lsn(&mut self, lsn: Lsn) {
        put(&mut self.0, LSN, &lsn.get().to_le_bytes());
    }

    /// Puts `bytes` into the body; `offset` counts from the start of the page.
    pub(crate) fn put(&mut self, offset: u32, bytes: &[u8]) -> Result<(), PageFault> {
        let fault = PageFault::OutOfBounds { offset, bytes: bytes.len() };
        let from = usize::try_from(offset).map_err(|_| fault)?;
        let to = from.checked_add(bytes.len()).ok_or(fault)?;
        let target = self.0.get_mut(from..to).filter(|_| from >= BODY).ok_or(fault)?;
        target.copy_from_slice(bytes);
        Ok(())
    }

    /// The whole page.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The part that is logged.
    pub(crate) fn body(&self) -> &[u8] {
        self.0.get(BODY..).unwrap_or_default()
    }

    /// The whole page, for whoever keeps its header as it is.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn u64_at(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes.get(CRC_BYTES..).unwrap_or_default())
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(target) = bytes.get_mut(at..at + value.len()) {
        target.copy_from_slice(value);
    }
}

/// A run of bytes in which two pages differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference<'a> {
    /// Where it starts, counted from the start of the page.
    pub(crate) offset: u32,
    /// What the older page has there.
    pub(crate) before: &'a [u8],
    /// What the newer one has.
    pub(crate) after: &'a [u8],
}

/// Runs of equal bytes shorter than this are logged with their neighbours: a record has a head.
const GAP_BYTES: usize = 64;

/// Where the bodies of two pages differ.
pub(crate) fn differences<'a>(old: &'a Page, new: &'a Page) -> Vec<Difference<'a>> {
    let bytes = old.0.len().min(new.0.len());
    let differs = |at: &usize| old.0.get(*at) != new.0.get(*at);
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for at in (BODY..bytes).filter(differs) {
        match runs.last_mut() {
            Some((_, end)) if at - *end < GAP_BYTES => *end = at + 1,
            _ => runs.push((at, at + 1)),
        }
    }
    let difference = |(from, to): (usize, usize)| {
        let (before, after) = (old.0.get(from..to)?, new.0.get(from..to)?);
        Some(Difference { offset: u32::try_from(from).ok()?, before, after })
    };
    runs.into_iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID_7: PageId = PageId::new(7);

    fn page() -> Page {
        let mut page = Page::zeroed(512);
        page.put(100, b"body").unwrap();
        page.set_lsn(Lsn::new(4096).unwrap());
        page
    }

    #[test]
    fn a_page_comes_back_as_it_was_written() {
        let back = Page::unsealed(page().sealed(ID_7), ID_7).unwrap();
        assert_eq!(back.lsn().get(), 4096);
        assert_eq!(differences(&back, &page()), []);
    }

    #[test]
    fn a25_every_flipped_bit_is_seen() {
        let bytes = page().sealed(ID_7);
        for bit in 0..bytes.len() * 8 {
            let mut torn = bytes.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Page::unsealed(torn, ID_7), Err(PageFault::Torn), "bit {bit}");
        }
    }

    #[test]
    fn a_write_that_went_to_another_page_is_seen() {
        let strayed = Page::unsealed(page().sealed(PageId::new(8)), ID_7);
        assert_eq!(strayed, Err(PageFault::Torn));
    }

    #[test]
    fn a_hole_of_the_file_is_a_page_to_which_nothing_was_applied() {
        let hole = Page::unsealed(vec![0; 512], ID_7).unwrap();
        assert_eq!(hole.lsn(), Lsn::NONE);
    }

    #[test]
    fn nothing_is_put_into_the_header_or_beyond_the_end() {
        let mut page = page();
        for offset in [0, 19, 509, u32::MAX] {
            assert!(page.put(offset, b"four").is_err(), "{offset}");
        }
    }

    #[test]
    fn differences_lead_from_one_page_to_the_other() {
        let (old, mut new) = (page(), page());
        for at in [20, 30, 99, 400, 511] {
            new.bytes_mut()[at] = 0xee;
        }
        let runs = differences(&old, &new);
        assert_eq!(runs.len(), 4, "20 and 30 are one run, and 99 and 400 are far: {runs:?}");
        let mut redone = old.clone();
        for run in &runs {
            redone.put(run.offset, run.after).unwrap();
        }
        assert_eq!(redone, new);
    }
}
