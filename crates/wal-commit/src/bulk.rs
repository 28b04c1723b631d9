//! Batches of records of one piece each, as bulk loads are: right where the log ends, where nothing
//! is to be decided.
//!
//! A batch holds the whole lock, however short it is: what the brief one is held for must be short.

use wal_format::layout::BODY_BYTES_MAX;
use wal_format::{Lsn, RecordDraft, RecordFlags, RecordKind, encode_plain, encoded_bytes};

use crate::append::Placed;
use crate::checksum::{LATER_BYTES_MAX, encode, finish};
use crate::place::batch_flags;
use crate::reserve::step;
use crate::segments::Patience;
use crate::shared::{Shared, State};

/// A batch that takes more gets the checksums of its short records from whoever writes, however far
/// that is behind: they would keep all others from the log for long.
pub(crate) const FINISHED_BYTES_MAX: usize = 64 << 10;

/// A record in no transaction, and all of its body.
pub(crate) type Piece<'r> = (RecordKind, &'r [u8]);

impl Shared {
    /// Appends the records as one batch, if nothing is to be decided first and none is refused.
    /// `None`, and nothing has changed, otherwise.
    pub(crate) fn append_bulk(&self, records: &[Piece<'_>], patience: Patience) -> Option<Placed> {
        if self.short_below == 0 {
            // A log that tells the time has something to decide always.
            return None;
        }
        let bytes = self.bulk_bytes(records)?;
        let mut state = self.lock_to_append();
        let lsn = self.place_bulk(&mut state, records, bytes)?;
        let count = records.len() as u64;
        state.stats.batches += u64::from(count > 1);
        self.count_unasked(&mut state, count, bytes as u64);
        self.write_out(state, patience);
        Some(Placed { lsn, end: step(lsn, bytes as u64) })
    }

    /// Bytes that they take in the log; `None` if that is refused.
    fn bulk_bytes(&self, records: &[Piece<'_>]) -> Option<usize> {
        let (mut bytes, mut longest) = (0_usize, 0);
        for (_, body) in records {
            bytes = bytes.saturating_add(encoded_bytes(body.len(), false));
            longest = longest.max(body.len());
        }
        let allowed = longest <= BODY_BYTES_MAX && bytes as u64 <= self.batch_bytes_max;
        (allowed && !records.is_empty()).then_some(bytes)
    }

    /// Encodes the records, which take so many bytes, right where the log ends, if that is
    /// [clear](State::is_clear).
    fn place_bulk(&self, state: &mut State, records: &[Piece<'_>], bytes: usize) -> Option<Lsn> {
        if !state.is_clear(bytes) {
            return None;
        }
        let (first, claim) = (state.cursor.end(), self.claim());
        let finishes = state.finishes(step(first, bytes as u64)) && bytes <= FINISHED_BYTES_MAX;
        let space = state.parts.peek(bytes)?;
        let (mut lsn, mut rest) = (first, &mut *space);
        for (index, (kind, body)) in records.iter().enumerate() {
            let flags = batch_flags(index, records.len());
            let (place, behind) = rest.split_at_mut_checked(encoded_bytes(body.len(), false))?;
            if !self.put_piece((*kind, body), flags, lsn, claim, place) {
                return None;
            }
            lsn = step(lsn, place.len() as u64);
            rest = behind;
        }
        if finishes {
            finish(&self.seed, space).ok()?;
        }
        self.note_put(state, first, claim, (records.len() as u64, bytes))
    }

    /// Encodes a record where it goes; a long one has its checksum then.
    #[inline]
    fn put_piece(
        &self,
        (kind, body): Piece<'_>,
        flags: RecordFlags,
        lsn: Lsn,
        claim: Option<Lsn>,
        place: &mut [u8],
    ) -> bool {
        if body.len() <= LATER_BYTES_MAX {
            return encode_plain(kind, flags, body, &self.seed, lsn, claim, place);
        }
        let parts = [body];
        let draft = RecordDraft::new(kind, &parts).with_flags(flags);
        encode(&draft, &self.seed, lsn, claim, place).is_ok()
    }
}
