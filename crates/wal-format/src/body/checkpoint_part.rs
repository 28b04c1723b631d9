//! The body of [`RecordKind::CHECKPOINT_PART`](crate::RecordKind::CHECKPOINT_PART): entries of the
//! transaction table and of the dirty-page table.
//!
//! A fuzzy checkpoint writes its tables over as many parts as they need. Entries have a fixed
//! size, the counts are checked against the length of the body, and the iterators decode one
//! entry at a time: nothing is allocated on the word of a count.

use core::iter::FusedIterator;
use core::slice::ChunksExact;

use alloc::vec::Vec;

use crate::bytes::{put, u32_at, u64_at};
use crate::error::{DecodeError, EncodeError};
use crate::fields::{
    address_at, bad_length, exact, link_at, page_at, reserved_from, split_head, u8_at,
};
use crate::ids::{PageId, TxnId};
use crate::layout::{
    BODY_BYTES_MAX, CHECKPOINT_PART_BEGIN, CHECKPOINT_PART_HEAD_BYTES, CHECKPOINT_PART_INDEX,
    CHECKPOINT_PART_PAGES, CHECKPOINT_PART_RESERVED, CHECKPOINT_PART_TXNS, DIRTY_PAGE_BYTES,
    DIRTY_PAGE_PAGE, DIRTY_PAGE_REC_LSN, TXN_ENTRY_BYTES, TXN_ENTRY_FIRST_LSN, TXN_ENTRY_LAST_LSN,
    TXN_ENTRY_PREPARE_LSN, TXN_ENTRY_RESERVED, TXN_ENTRY_STATE, TXN_ENTRY_TXN_ID,
    TXN_ENTRY_UNDO_NEXT,
};
use crate::lsn::Lsn;

/// Where a transaction of the table stands. One that has ended is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TxnState {
    /// Running; undone at restart unless it commits later.
    Active = 1,
    /// Being rolled back; undo goes on where it stopped.
    RollingBack = 2,
    /// In doubt; kept, with its locks, until its coordinator decides.
    Prepared = 3,
    /// Committed; it only lacks its end record.
    Committed = 4,
}

impl TxnState {
    const fn from_stored(raw: u8) -> Option<Self> {
        match raw {
            1 => Some(Self::Active),
            2 => Some(Self::RollingBack),
            3 => Some(Self::Prepared),
            4 => Some(Self::Committed),
            _ => None,
        }
    }
}

/// One entry of the transaction table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnEntry {
    /// The transaction.
    pub txn_id: TxnId,
    /// Where it stands.
    pub state: TxnState,
    /// Its first record; the log is kept from there while it lasts.
    pub first_lsn: Lsn,
    /// Its last record; never before the first.
    pub last_lsn: Lsn,
    /// What to undo next; [`Lsn::NONE`] when nothing is left to undo.
    pub undo_next: Lsn,
    /// Its prepare record, which holds what re-acquires its locks; [`Lsn::NONE`] if it was never
    /// prepared.
    pub prepare_lsn: Lsn,
}

impl TxnEntry {
    /// Bytes of an entry.
    pub const BYTES: usize = TXN_ENTRY_BYTES;

    /// The entry as stored.
    #[must_use]
    pub fn encode(&self) -> [u8; TXN_ENTRY_BYTES] {
        let mut entry = [0; TXN_ENTRY_BYTES];
        put(&mut entry, TXN_ENTRY_TXN_ID, &self.txn_id.get().to_le_bytes());
        put(&mut entry, TXN_ENTRY_FIRST_LSN, &self.first_lsn.get().to_le_bytes());
        put(&mut entry, TXN_ENTRY_LAST_LSN, &self.last_lsn.get().to_le_bytes());
        put(&mut entry, TXN_ENTRY_UNDO_NEXT, &self.undo_next.get().to_le_bytes());
        put(&mut entry, TXN_ENTRY_PREPARE_LSN, &self.prepare_lsn.get().to_le_bytes());
        put(&mut entry, TXN_ENTRY_STATE, &[self.state as u8]);
        entry
    }

    /// Reads one entry.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`], [`DecodeError::BadField`] or [`DecodeError::NotZero`]: not such
    /// an entry. A prepared transaction must name its prepare record, and every address must lie
    /// between the first record and the last.
    pub fn decode(entry: &[u8]) -> Result<Self, DecodeError> {
        let entry = exact::<TXN_ENTRY_BYTES>(entry)?;
        reserved_from(entry, TXN_ENTRY_RESERVED)?;
        let txn_id = TxnId::new(u64_at(entry, TXN_ENTRY_TXN_ID));
        if txn_id == TxnId::NONE {
            return Err(DecodeError::BadField { field: "txn_id" });
        }
        let state = TxnState::from_stored(u8_at(entry, TXN_ENTRY_STATE))
            .ok_or(DecodeError::BadField { field: "state" })?;
        let first_lsn = address_at(entry, TXN_ENTRY_FIRST_LSN, "first_lsn")?;
        let last_lsn = address_at(entry, TXN_ENTRY_LAST_LSN, "last_lsn")?;
        if last_lsn < first_lsn {
            return Err(DecodeError::BadField { field: "last_lsn" });
        }
        let within = |offset, field| {
            let lsn = link_at(entry, offset, field)?;
            let inside = lsn.is_none() || (first_lsn <= lsn && lsn <= last_lsn);
            if inside { Ok(lsn) } else { Err(DecodeError::BadField { field }) }
        };
        let undo_next = within(TXN_ENTRY_UNDO_NEXT, "undo_next")?;
        let prepare_lsn = within(TXN_ENTRY_PREPARE_LSN, "prepare_lsn")?;
        if state == TxnState::Prepared && prepare_lsn.is_none() {
            return Err(DecodeError::BadField { field: "prepare_lsn" });
        }
        Ok(Self { txn_id, state, first_lsn, last_lsn, undo_next, prepare_lsn })
    }
}

/// One entry of the dirty-page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirtyPage {
    /// The page.
    pub page: PageId,
    /// Its recLSN: the record which made the clean page dirty. Redo of the page starts there.
    pub rec_lsn: Lsn,
}

impl DirtyPage {
    /// Bytes of an entry.
    pub const BYTES: usize = DIRTY_PAGE_BYTES;

    /// The entry as stored.
    #[must_use]
    pub fn encode(&self) -> [u8; DIRTY_PAGE_BYTES] {
        let mut entry = [0; DIRTY_PAGE_BYTES];
        put(&mut entry, DIRTY_PAGE_PAGE, &self.page.get().to_le_bytes());
        put(&mut entry, DIRTY_PAGE_REC_LSN, &self.rec_lsn.get().to_le_bytes());
        entry
    }

    /// Reads one entry.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`] or [`DecodeError::BadField`]: not such an entry.
    pub fn decode(entry: &[u8]) -> Result<Self, DecodeError> {
        let entry = exact::<DIRTY_PAGE_BYTES>(entry)?;
        let rec_lsn = address_at(entry, DIRTY_PAGE_REC_LSN, "rec_lsn")?;
        Ok(Self { page: page_at(entry, DIRTY_PAGE_PAGE)?, rec_lsn })
    }
}

/// Part of a checkpoint's tables, borrowed from a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPart<'a> {
    /// The begin record of the checkpoint that this part belongs to.
    pub begin: Lsn,
    /// Which part of that checkpoint this is, counted from 0.
    pub index: u32,
    txns: &'a [u8],
    pages: &'a [u8],
}

impl<'a> CheckpointPart<'a> {
    /// Bytes of the fixed head, before the entries.
    pub const HEAD_BYTES: usize = CHECKPOINT_PART_HEAD_BYTES;

    /// Appends the body with these entries to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BodyTooLong`]: more entries than a record can hold; `out` is unchanged.
    /// Split them over several parts.
    pub fn encode_into(
        begin: Lsn,
        index: u32,
        txns: &[TxnEntry],
        pages: &[DirtyPage],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let bytes = part_bytes(txns.len() as u64, pages.len() as u64);
        let (Ok(txn_count), Ok(page_count), true) =
            (u32::try_from(txns.len()), u32::try_from(pages.len()), bytes <= BODY_BYTES_MAX as u64)
        else {
            return Err(EncodeError::BodyTooLong { bytes });
        };
        let mut head = [0; CHECKPOINT_PART_HEAD_BYTES];
        put(&mut head, CHECKPOINT_PART_BEGIN, &begin.get().to_le_bytes());
        put(&mut head, CHECKPOINT_PART_INDEX, &index.to_le_bytes());
        put(&mut head, CHECKPOINT_PART_TXNS, &txn_count.to_le_bytes());
        put(&mut head, CHECKPOINT_PART_PAGES, &page_count.to_le_bytes());
        out.reserve(bytes as usize);
        out.extend_from_slice(&head);
        txns.iter().for_each(|entry| out.extend_from_slice(&entry.encode()));
        pages.iter().for_each(|entry| out.extend_from_slice(&entry.encode()));
        Ok(())
    }

    /// Reads the body; entries are decoded when they are asked for.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`], [`DecodeError::BadField`] or [`DecodeError::NotZero`]: not such
    /// a body, or not exactly as long as its counts say.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, entries) = split_head::<CHECKPOINT_PART_HEAD_BYTES>(body)?;
        reserved_from(head, CHECKPOINT_PART_RESERVED)?;
        let begin = address_at(head, CHECKPOINT_PART_BEGIN, "begin")?;
        let txn_count = u64::from(u32_at(head, CHECKPOINT_PART_TXNS));
        let page_count = u64::from(u32_at(head, CHECKPOINT_PART_PAGES));
        if part_bytes(txn_count, page_count) != body.len() as u64 {
            return Err(bad_length(body));
        }
        let (txns, pages) = entries
            .split_at_checked(txn_count as usize * TXN_ENTRY_BYTES)
            .ok_or(bad_length(body))?;
        Ok(Self { begin, index: u32_at(head, CHECKPOINT_PART_INDEX), txns, pages })
    }

    /// The entries of the transaction table in this part.
    #[must_use]
    pub fn txns(&self) -> TxnEntries<'a> {
        TxnEntries { entries: self.txns.chunks_exact(TXN_ENTRY_BYTES) }
    }

    /// The entries of the dirty-page table in this part.
    #[must_use]
    pub fn dirty_pages(&self) -> DirtyPages<'a> {
        DirtyPages { entries: self.pages.chunks_exact(DIRTY_PAGE_BYTES) }
    }
}

/// Bytes of a part with so many entries. Two 32-bit counts cannot overflow it.
const fn part_bytes(txns: u64, pages: u64) -> u64 {
    CHECKPOINT_PART_HEAD_BYTES as u64
        + txns * TXN_ENTRY_BYTES as u64
        + pages * DIRTY_PAGE_BYTES as u64
}

macro_rules! entries {
    ($(#[$doc:meta])* $name:ident, $entry:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name<'a> {
            entries: ChunksExact<'a, u8>,
        }

        impl Iterator for $name<'_> {
            type Item = Result<$entry, DecodeError>;

            fn next(&mut self) -> Option<Self::Item> {
                self.entries.next().map($entry::decode)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.entries.size_hint()
            }
        }

        impl ExactSizeIterator for $name<'_> {}
        impl FusedIterator for $name<'_> {}
    };
}

entries! {
    /// Entries of the transaction table in one part; each is decoded when it is asked for.
    TxnEntries, TxnEntry
}

entries! {
    /// Entries of the dirty-page table in one part; each is decoded when it is asked for.
    DirtyPages, DirtyPage
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    fn entry(state: TxnState) -> TxnEntry {
        let prepare_lsn = if state == TxnState::Prepared { lsn(6000) } else { Lsn::NONE };
        TxnEntry {
            txn_id: TxnId::new(state as u64),
            state,
            first_lsn: lsn(4096),
            last_lsn: lsn(8192),
            undo_next: lsn(5000),
            prepare_lsn,
        }
    }

    const STATES: [TxnState; 4] =
        [TxnState::Active, TxnState::RollingBack, TxnState::Prepared, TxnState::Committed];

    #[test]
    fn tables_come_back_as_they_were() {
        let txns = STATES.map(entry);
        let pages = [
            DirtyPage { page: PageId::new(0), rec_lsn: lsn(4096) },
            DirtyPage { page: PageId::new(9), rec_lsn: lsn(7000) },
        ];
        for (txns, pages) in [(&txns[..], &pages[..]), (&txns, &[]), (&[], &pages), (&[], &[])] {
            let mut body = vec![];
            CheckpointPart::encode_into(lsn(9000), 3, txns, pages, &mut body).unwrap();
            let part = CheckpointPart::decode(&body).unwrap();
            assert_eq!((part.begin, part.index), (lsn(9000), 3));
            assert_eq!(part.txns().len(), txns.len());
            assert_eq!(part.txns().collect::<Result<Vec<_>, _>>().unwrap(), txns);
            assert_eq!(part.dirty_pages().collect::<Result<Vec<_>, _>>().unwrap(), pages);
        }
    }

    #[test]
    fn counts_are_never_trusted() {
        let mut body = vec![];
        CheckpointPart::encode_into(lsn(9000), 0, &[entry(TxnState::Active)], &[], &mut body)
            .unwrap();
        // Three dirty pages take as many bytes as one transaction: both counts are needed.
        for (txns, pages) in
            [(0, 0), (2, 0), (1, 1), (u32::MAX, 0), (0, u32::MAX), (u32::MAX, u32::MAX)]
        {
            put(&mut body, CHECKPOINT_PART_TXNS, &u32::to_le_bytes(txns));
            put(&mut body, CHECKPOINT_PART_PAGES, &u32::to_le_bytes(pages));
            assert_eq!(CheckpointPart::decode(&body), Err(DecodeError::BadLength { found: 72 }));
        }
    }

    #[test]
    fn a_prepared_transaction_without_its_prepare_record_is_refused() {
        let lost = TxnEntry { prepare_lsn: Lsn::NONE, ..entry(TxnState::Prepared) };
        assert_eq!(
            TxnEntry::decode(&lost.encode()),
            Err(DecodeError::BadField { field: "prepare_lsn" })
        );
    }

    #[test]
    fn addresses_outside_the_life_of_the_transaction_are_refused() {
        let good = entry(TxnState::Active);
        let bad = [
            (TxnEntry { last_lsn: lsn(4088), ..good }, "last_lsn"),
            (TxnEntry { first_lsn: lsn(8200), ..good }, "last_lsn"),
            (TxnEntry { first_lsn: Lsn::NONE, ..good }, "first_lsn"),
            (TxnEntry { undo_next: lsn(8200), ..good }, "undo_next"),
            (TxnEntry { undo_next: lsn(8), ..good }, "undo_next"),
            (TxnEntry { prepare_lsn: lsn(8200), ..good }, "prepare_lsn"),
            (TxnEntry { txn_id: TxnId::NONE, ..good }, "txn_id"),
        ];
        for (entry, field) in bad {
            assert_eq!(TxnEntry::decode(&entry.encode()), Err(DecodeError::BadField { field }));
        }
    }

    #[test]
    fn a_damaged_entry_does_not_hide_the_others() {
        let mut body = vec![];
        let pages =
            [4096, 4104, 4112].map(|raw| DirtyPage { page: PageId::new(1), rec_lsn: lsn(raw) });
        CheckpointPart::encode_into(lsn(9000), 0, &[], &pages, &mut body).unwrap();
        body[CHECKPOINT_PART_HEAD_BYTES + DIRTY_PAGE_BYTES + DIRTY_PAGE_REC_LSN] = 1;
        let found: Vec<_> = CheckpointPart::decode(&body).unwrap().dirty_pages().collect();
        assert_eq!(found[0], Ok(pages[0]));
        assert_eq!(found[1], Err(DecodeError::BadField { field: "rec_lsn" }));
        assert_eq!(found[2], Ok(pages[2]));
    }
}
