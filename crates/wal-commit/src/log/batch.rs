//! Appending several records at once, all or none.

use std::sync::Arc;

use wal_format::{Lsn, RecordDraft, RecordKind};

use super::GroupCommit;
use crate::bulk::Piece;
use crate::error::CommitError;
use crate::segments::Patience;
use crate::ticket::Ticket;

impl GroupCommit {
    /// Appends records which are replayed all, or none. The batch flags are set here.
    ///
    /// `reserved` is called for each record, as in [`append`](Self::append). The ticket is for
    /// all of them.
    ///
    /// # Errors
    ///
    /// [`CommitError::Empty`]; [`CommitError::BatchTooLong`] beyond
    /// [`batch_bytes_max`](Self::batch_bytes_max) (rule 18); else as [`append`](Self::append).
    pub fn append_batch(
        &self,
        drafts: &[RecordDraft<'_>],
        reserved: &mut dyn FnMut(usize, Lsn),
    ) -> Result<Ticket, CommitError> {
        self.append_all(drafts, reserved, Patience::Wait)
    }

    /// As [`append_batch`](Self::append_batch), and refuses instead of waiting.
    ///
    /// # Errors
    ///
    /// [`CommitError::WouldBlock`]: nothing changed, try again. Else as
    /// [`append_batch`](Self::append_batch).
    pub fn try_append_batch(
        &self,
        drafts: &[RecordDraft<'_>],
        reserved: &mut dyn FnMut(usize, Lsn),
    ) -> Result<Ticket, CommitError> {
        self.append_all(drafts, reserved, Patience::Refuse)
    }

    /// As [`append_batch`](Self::append_batch), of records of one piece each, in no transaction, and
    /// without a hook: their kinds and bodies.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    ///
    /// # Cost
    ///
    /// As [`append`](Self::append), a part of it for each record beyond the first, and no allocation,
    /// where nothing is to be decided first.
    pub fn append_batch_unhooked(
        &self,
        records: &[(RecordKind, &[u8])],
    ) -> Result<Ticket, CommitError> {
        self.append_pieces(records, Patience::Wait)
    }

    /// As [`append_batch_unhooked`](Self::append_batch_unhooked), and refuses instead of waiting.
    ///
    /// # Errors
    ///
    /// As [`try_append_batch`](Self::try_append_batch).
    pub fn try_append_batch_unhooked(
        &self,
        records: &[(RecordKind, &[u8])],
    ) -> Result<Ticket, CommitError> {
        self.append_pieces(records, Patience::Refuse)
    }

    fn append_pieces(
        &self,
        records: &[Piece<'_>],
        patience: Patience,
    ) -> Result<Ticket, CommitError> {
        match self.shared().append_bulk(records, patience) {
            Some(placed) => Ok(Ticket::new(Arc::clone(self.shared()), placed)),
            None => self.append_pieces_slowly(records, patience),
        }
    }

    /// As [`append_pieces`](Self::append_pieces), where there is something to decide or to refuse.
    #[inline(never)]
    fn append_pieces_slowly(
        &self,
        records: &[Piece<'_>],
        patience: Patience,
    ) -> Result<Ticket, CommitError> {
        let parts: Vec<[&[u8]; 1]> = records.iter().map(|(_, body)| [*body]).collect();
        let drafts: Vec<RecordDraft<'_>> = records
            .iter()
            .zip(&parts)
            .map(|((kind, _), parts)| RecordDraft::new(*kind, parts))
            .collect();
        self.append_all(&drafts, &mut |_, _| {}, patience)
    }
}
