//! A page: 512 bytes with a checksum, its LSN, and slots.
//!
//! ```text
//! CRC-32C u32 | zeros u32 | LSN u64 | body                                   little-endian
//! page 0       body: pages of the journal u32
//! pages 1..    body: balances i64, four to a page
//! the others   body: slots of the journal: account + 1 u32 | zeros u32 | serial u64 | amount i64
//! ```
//!
//! The checksum begins with the number of the page. 512 bytes are a sector of the simulated disk:
//! a page tears only where sectors do.

use wal_format::{Lsn, PageId};

use crate::story::{Account, Serial};

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 512;
/// Where the body begins.
pub(crate) const BODY_AT: usize = 16;
const LSN_AT: usize = 8;
/// Bytes of a slot of the journal.
pub(crate) const SLOT_BYTES: usize = 24;
/// Slots of the journal in a page: few, so that pages split.
pub(crate) const SLOTS: usize = 8;
/// Balances in a page.
pub(crate) const BALANCES: u32 = 4;

/// The bytes of a page.
pub(crate) type Bytes = [u8; PAGE_BYTES];

/// An entry of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) account: Account,
    pub(crate) serial: Serial,
    pub(crate) amount: i64,
}

impl Entry {
    pub(crate) fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        let (account, rest) = slot.split_at_mut(8);
        let (serial, amount) = rest.split_at_mut(8);
        account.copy_from_slice(&(u64::from(self.account) + 1).to_le_bytes());
        serial.copy_from_slice(&self.serial.to_le_bytes());
        amount.copy_from_slice(&self.amount.to_le_bytes());
        slot
    }

    /// The entry in a slot; `None` when the slot is free.
    pub(crate) fn decode(slot: &[u8]) -> Option<Self> {
        let &[account, serial, amount] = slot.as_chunks::<8>().0 else { return None };
        let account = u64::from_le_bytes(account).checked_sub(1)?;
        Some(Self {
            account: u32::try_from(account).ok()?,
            serial: u64::from_le_bytes(serial),
            amount: i64::from_le_bytes(amount),
        })
    }
}

/// Where a slot of the journal lies in its page.
pub(crate) const fn slot_at(slot: usize) -> usize {
    BODY_AT + slot * SLOT_BYTES
}

/// The page and the offset of an account's balance.
pub(crate) fn balance_at(account: Account) -> (PageId, u32) {
    let page = 1 + account / BALANCES;
    (PageId::new(u64::from(page)), BODY_AT as u32 + 8 * (account % BALANCES))
}

/// The entries of a page of the journal, with their slots.
pub(crate) fn entries(bytes: &Bytes) -> impl Iterator<Item = (usize, Entry)> + '_ {
    let slots = bytes.get(BODY_AT..).unwrap_or_default().chunks_exact(SLOT_BYTES).take(SLOTS);
    slots.enumerate().filter_map(|(slot, bytes)| Entry::decode(bytes).map(|entry| (slot, entry)))
}

/// The first free slot.
pub(crate) fn free_slot(bytes: &Bytes) -> Option<usize> {
    let slots = bytes.get(BODY_AT..).unwrap_or_default().chunks_exact(SLOT_BYTES).take(SLOTS);
    slots.enumerate().find(|(_, bytes)| Entry::decode(bytes).is_none()).map(|(slot, _)| slot)
}

pub(crate) fn lsn(bytes: &Bytes) -> Lsn {
    let raw = bytes.get(LSN_AT..BODY_AT).and_then(|raw| raw.first_chunk::<8>());
    raw.and_then(|raw| Lsn::new(u64::from_le_bytes(*raw))).unwrap_or(Lsn::NONE)
}

pub(crate) fn set_lsn(bytes: &mut Bytes, lsn: Lsn) {
    if let Some(place) = bytes.get_mut(LSN_AT..BODY_AT) {
        place.copy_from_slice(&lsn.get().to_le_bytes());
    }
}

fn checksum(page: PageId, bytes: &Bytes) -> u32 {
    let seed = crc32c::crc32c(&page.get().to_le_bytes());
    crc32c::crc32c_append(seed, bytes.get(4..).unwrap_or_default())
}

/// Puts the checksum in.
pub(crate) fn seal(page: PageId, bytes: &mut Bytes) {
    let sum = checksum(page, bytes).to_le_bytes();
    if let Some(place) = bytes.first_chunk_mut::<4>() {
        *place = sum;
    }
}

/// Whether the page is as it was sealed, or was never written.
pub(crate) fn is_whole(page: PageId, bytes: &Bytes) -> bool {
    let sum = bytes.first_chunk::<4>().map_or(0, |sum| u32::from_le_bytes(*sum));
    sum == checksum(page, bytes) || bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_from_its_slot_and_a_free_slot_holds_none() {
        let entry = Entry { account: 0, serial: 7, amount: -3 };
        assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        assert_eq!(Entry::decode(&[0; SLOT_BYTES]), None);
    }

    #[test]
    fn a_sealed_page_is_whole_at_its_own_place_only() {
        let mut bytes = [0; PAGE_BYTES];
        assert!(is_whole(PageId::new(4), &bytes), "never written");
        let mark = Lsn::new(8192).unwrap();
        set_lsn(&mut bytes, mark);
        seal(PageId::new(4), &mut bytes);
        assert!(is_whole(PageId::new(4), &bytes) && !is_whole(PageId::new(5), &bytes));
        assert_eq!(lsn(&bytes), mark);
        bytes[511] ^= 1;
        assert!(!is_whole(PageId::new(4), &bytes));
    }

    #[test]
    fn balances_of_two_accounts_never_share_bytes() {
        let mut places: Vec<_> = (0..20).map(balance_at).collect();
        places.dedup();
        assert_eq!(places.len(), 20);
        assert!(places.iter().all(|(_, at)| *at as usize + 8 <= PAGE_BYTES));
    }
}
