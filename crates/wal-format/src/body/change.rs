//! Bodies of the records that change pages: physical, logical, and compensation.
//!
//! Redo is page-oriented: each body names the one page it touches. Undo may be logical and may
//! touch another page; then the compensation record (CLR) names the page it really touched.
//! The images are borrowed; nothing here knows what they mean.
//!
//! Source: Mohan et al., ARIES, TODS 17(1), 1992, "Log records".

use crate::bytes::{put, u32_at, u64_at};
use crate::error::DecodeError;
use crate::fields::{link_at, page_at, reserved_from, split_head, split_rest, stored_len, u8_at};
use crate::ids::PageId;
use crate::layout::{
    CLR_ACTION, CLR_COMPENSATED, CLR_HEAD_BYTES, CLR_OPERAND, CLR_PAGE, CLR_RESERVED,
    CLR_UNDO_NEXT, LOGICAL_HEAD_BYTES, LOGICAL_OPERATION, LOGICAL_PAGE, LOGICAL_REDO_BYTES,
    UPDATE_BEFORE_BYTES, UPDATE_HEAD_BYTES, UPDATE_OFFSET, UPDATE_PAGE,
};
use crate::lsn::Lsn;

/// The body of [`RecordKind::UPDATE`](crate::RecordKind::UPDATE): bytes of a page, before and
/// after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// The page.
    pub page: PageId,
    /// Where in the page both images start, in bytes.
    pub offset: u32,
    /// What stood there; empty in a change that is never undone.
    pub before: &'a [u8],
    /// What stands there now; empty in a change that is only undone.
    pub after: &'a [u8],
}

impl<'a> Update<'a> {
    /// Bytes of the fixed head.
    pub const HEAD_BYTES: usize = UPDATE_HEAD_BYTES;

    /// The fixed head; [`parts`](Self::parts) puts the images behind it.
    #[must_use]
    pub fn encode_head(&self) -> [u8; UPDATE_HEAD_BYTES] {
        let mut head = [0; UPDATE_HEAD_BYTES];
        put(&mut head, UPDATE_PAGE, &self.page.get().to_le_bytes());
        put(&mut head, UPDATE_OFFSET, &self.offset.to_le_bytes());
        put(&mut head, UPDATE_BEFORE_BYTES, &stored_len(self.before));
        head
    }

    /// The body in parts, for [`RecordDraft`](crate::RecordDraft).
    #[must_use]
    pub const fn parts<'b>(&'b self, head: &'b [u8; UPDATE_HEAD_BYTES]) -> [&'b [u8]; 3] {
        [head, self.before, self.after]
    }

    /// Reads the body; the images are borrowed from it.
    ///
    /// # Errors
    ///
    /// - [`DecodeError::BadLength`]: shorter than its fields say.
    /// - [`DecodeError::BadField`]: no page, or an image beyond what a page offset can name.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, rest) = split_head::<UPDATE_HEAD_BYTES>(body)?;
        let page = page_at(head, UPDATE_PAGE)?;
        let (before, after) = split_rest(rest, u32_at(head, UPDATE_BEFORE_BYTES))?;
        let offset = u32_at(head, UPDATE_OFFSET);
        check_reach(offset, before.len().max(after.len()), "offset")?;
        Ok(Self { page, offset, before, after })
    }
}

/// The body of [`RecordKind::LOGICAL`](crate::RecordKind::LOGICAL): an operation of the engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logical<'a> {
    /// The page that redo touches; [`PageId::NONE`] if it touches none.
    pub page: PageId,
    /// The engine's number for the operation.
    pub operation: u32,
    /// What the engine needs to do it again.
    pub redo: &'a [u8],
    /// What the engine needs to compensate it; it may do so on another page.
    pub undo: &'a [u8],
}

impl<'a> Logical<'a> {
    /// Bytes of the fixed head.
    pub const HEAD_BYTES: usize = LOGICAL_HEAD_BYTES;

    /// The fixed head; [`parts`](Self::parts) puts the rest behind it.
    #[must_use]
    pub fn encode_head(&self) -> [u8; LOGICAL_HEAD_BYTES] {
        let mut head = [0; LOGICAL_HEAD_BYTES];
        put(&mut head, LOGICAL_PAGE, &self.page.get().to_le_bytes());
        put(&mut head, LOGICAL_OPERATION, &self.operation.to_le_bytes());
        put(&mut head, LOGICAL_REDO_BYTES, &stored_len(self.redo));
        head
    }

    /// The body in parts, for [`RecordDraft`](crate::RecordDraft).
    #[must_use]
    pub const fn parts<'b>(&'b self, head: &'b [u8; LOGICAL_HEAD_BYTES]) -> [&'b [u8]; 3] {
        [head, self.redo, self.undo]
    }

    /// Reads the body; its byte strings are borrowed.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`]: shorter than its fields say.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, rest) = split_head::<LOGICAL_HEAD_BYTES>(body)?;
        let (redo, undo) = split_rest(rest, u32_at(head, LOGICAL_REDO_BYTES))?;
        Ok(Self {
            page: PageId::new(u64_at(head, LOGICAL_PAGE)),
            operation: u32_at(head, LOGICAL_OPERATION),
            redo,
            undo,
        })
    }
}

/// What a compensation record does when it is redone. It is never undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compensation<'a> {
    /// Nothing: a dummy CLR. With [`Clr::undo_next`] before a nested top action it keeps that
    /// action whatever becomes of its transaction.
    Nothing,
    /// Puts bytes of a page back.
    Bytes {
        /// The page.
        page: PageId,
        /// Where in the page, in bytes.
        offset: u32,
        /// What stands there now: the before image of the update compensated.
        image: &'a [u8],
    },
    /// Does an operation of the engine's.
    Logical {
        /// The page that was really touched, which may differ from that of the record
        /// compensated; [`PageId::NONE`] if none was.
        page: PageId,
        /// The engine's number for the operation.
        operation: u32,
        /// What the engine needs to do it again.
        redo: &'a [u8],
    },
}

const ACTION_NOTHING: u8 = 0;
const ACTION_BYTES: u8 = 1;
const ACTION_LOGICAL: u8 = 2;

/// The body of [`RecordKind::CLR`](crate::RecordKind::CLR), a compensation log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clr<'a> {
    /// What to undo next: the `prev_lsn` of the record compensated, so that nothing is undone
    /// twice. [`Lsn::NONE`] when the transaction is undone to its beginning.
    pub undo_next: Lsn,
    /// The record compensated; [`Lsn::NONE`] when it ends a nested top action. Always after
    /// `undo_next`.
    pub compensated: Lsn,
    /// What redo does.
    pub action: Compensation<'a>,
}

impl<'a> Clr<'a> {
    /// Bytes of the fixed head.
    pub const HEAD_BYTES: usize = CLR_HEAD_BYTES;

    /// The dummy CLR which ends a nested top action: a rollback from here goes on at `before`,
    /// the last record of the transaction before the action.
    #[must_use]
    pub const fn end_of_nested_top_action(before: Lsn) -> Self {
        Self { undo_next: before, compensated: Lsn::NONE, action: Compensation::Nothing }
    }

    /// The page which redo touches, if any.
    #[must_use]
    pub const fn page(&self) -> PageId {
        match self.action {
            Compensation::Nothing => PageId::NONE,
            Compensation::Bytes { page, .. } | Compensation::Logical { page, .. } => page,
        }
    }

    /// The fixed head; [`parts`](Self::parts) puts the redo bytes behind it.
    #[must_use]
    pub fn encode_head(&self) -> [u8; CLR_HEAD_BYTES] {
        let (action, operand) = match self.action {
            Compensation::Nothing => (ACTION_NOTHING, 0),
            Compensation::Bytes { offset, .. } => (ACTION_BYTES, offset),
            Compensation::Logical { operation, .. } => (ACTION_LOGICAL, operation),
        };
        let mut head = [0; CLR_HEAD_BYTES];
        put(&mut head, CLR_UNDO_NEXT, &self.undo_next.get().to_le_bytes());
        put(&mut head, CLR_COMPENSATED, &self.compensated.get().to_le_bytes());
        put(&mut head, CLR_PAGE, &self.page().get().to_le_bytes());
        put(&mut head, CLR_OPERAND, &operand.to_le_bytes());
        put(&mut head, CLR_ACTION, &[action]);
        head
    }

    /// The body in parts, for [`RecordDraft`](crate::RecordDraft).
    #[must_use]
    pub const fn parts<'b>(&'b self, head: &'b [u8; CLR_HEAD_BYTES]) -> [&'b [u8]; 2] {
        let redo: &'b [u8] = match self.action {
            Compensation::Nothing => &[],
            Compensation::Bytes { image, .. } => image,
            Compensation::Logical { redo, .. } => redo,
        };
        [head, redo]
    }

    /// Reads the body; the redo bytes are borrowed from it.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`], [`DecodeError::BadField`] or [`DecodeError::NotZero`]: not such
    /// a body. Among them: `undo_next` at or after the record compensated, which would undo it
    /// for ever.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, redo) = split_head::<CLR_HEAD_BYTES>(body)?;
        reserved_from(head, CLR_RESERVED)?;
        let undo_next = link_at(head, CLR_UNDO_NEXT, "undo_next")?;
        let compensated = link_at(head, CLR_COMPENSATED, "compensated")?;
        if !compensated.is_none() && undo_next >= compensated {
            return Err(DecodeError::BadField { field: "undo_next" });
        }
        let operand = u32_at(head, CLR_OPERAND);
        let action = match u8_at(head, CLR_ACTION) {
            ACTION_NOTHING => decode_nothing(head, redo)?,
            ACTION_BYTES => {
                check_reach(operand, redo.len(), "operand")?;
                let page = page_at(head, CLR_PAGE)?;
                Compensation::Bytes { page, offset: operand, image: redo }
            }
            ACTION_LOGICAL => {
                let page = PageId::new(u64_at(head, CLR_PAGE));
                Compensation::Logical { page, operation: operand, redo }
            }
            _ => return Err(DecodeError::BadField { field: "action" }),
        };
        Ok(Self { undo_next, compensated, action })
    }
}

/// A dummy CLR: it names no page, and holds nothing to redo.
fn decode_nothing<'a>(
    head: &[u8; CLR_HEAD_BYTES],
    redo: &'a [u8],
) -> Result<Compensation<'a>, DecodeError> {
    if !redo.is_empty() {
        return Err(DecodeError::BadLength { found: (CLR_HEAD_BYTES + redo.len()) as u64 });
    }
    if !PageId::new(u64_at(head, CLR_PAGE)).is_none() {
        return Err(DecodeError::BadField { field: "page" });
    }
    if u32_at(head, CLR_OPERAND) != 0 {
        return Err(DecodeError::BadField { field: "operand" });
    }
    Ok(Compensation::Nothing)
}

/// An image must end where a 32-bit offset in a page can still point.
fn check_reach(offset: u32, bytes: usize, field: &'static str) -> Result<(), DecodeError> {
    if u64::from(offset) + bytes as u64 > u64::from(u32::MAX) {
        return Err(DecodeError::BadField { field });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    #[test]
    fn an_update_comes_back_as_it_was() {
        for (before, after) in
            [(&b"old"[..], &b"new"[..]), (b"", b"new"), (b"old", b""), (b"", b"")]
        {
            let update = Update { page: PageId::new(7), offset: 100, before, after };
            assert_eq!(Update::decode(&update.parts(&update.encode_head()).concat()), Ok(update));
        }
    }

    #[test]
    fn an_image_that_reaches_beyond_every_page_is_refused() {
        let update =
            Update { page: PageId::new(7), offset: u32::MAX - 2, before: b"", after: b"new" };
        assert_eq!(
            Update::decode(&update.parts(&update.encode_head()).concat()),
            Err(DecodeError::BadField { field: "offset" })
        );
    }

    #[test]
    fn an_update_names_its_page() {
        let update = Update { page: PageId::NONE, offset: 0, before: b"", after: b"x" };
        assert_eq!(
            Update::decode(&update.parts(&update.encode_head()).concat()),
            Err(DecodeError::BadField { field: "page" })
        );
    }

    #[test]
    fn a_stored_length_is_never_trusted() {
        let mut body = [0_u8; UPDATE_HEAD_BYTES + 4];
        for claimed in [5, 1 << 20, u32::MAX] {
            put(&mut body, UPDATE_BEFORE_BYTES, &claimed.to_le_bytes());
            let refused = Err(DecodeError::BadLength { found: u64::from(claimed) });
            assert_eq!(Update::decode(&body).map(|_| ()), refused);
            put(&mut body, LOGICAL_REDO_BYTES, &claimed.to_le_bytes());
            assert_eq!(Logical::decode(&body).map(|_| ()), refused);
        }
    }

    #[test]
    fn a_logical_operation_comes_back_as_it_was() {
        for page in [PageId::new(0), PageId::NONE] {
            let logical = Logical { page, operation: 9, redo: b"insert k", undo: b"delete k" };
            assert_eq!(
                Logical::decode(&logical.parts(&logical.encode_head()).concat()),
                Ok(logical)
            );
        }
    }

    #[test]
    fn every_form_of_compensation_comes_back_as_it_was() {
        let bytes = Compensation::Bytes { page: PageId::new(4), offset: 16, image: b"old" };
        let logical = Compensation::Logical { page: PageId::new(5), operation: 2, redo: b"k" };
        for action in [Compensation::Nothing, bytes, logical] {
            let clr = Clr { undo_next: lsn(4096), compensated: lsn(8192), action };
            assert_eq!(Clr::decode(&clr.parts(&clr.encode_head()).concat()), Ok(clr));
        }
        let dummy = Clr::end_of_nested_top_action(lsn(4096));
        assert_eq!(Clr::decode(&dummy.encode_head()), Ok(dummy));
    }

    #[test]
    fn a_compensation_that_would_undo_itself_for_ever_is_refused() {
        for undo_next in [lsn(8192), lsn(9000)] {
            let clr = Clr { undo_next, compensated: lsn(8192), action: Compensation::Nothing };
            assert_eq!(
                Clr::decode(&clr.encode_head()),
                Err(DecodeError::BadField { field: "undo_next" })
            );
        }
    }

    #[test]
    fn a_dummy_with_a_page_or_bytes_is_refused() {
        let head = Clr::end_of_nested_top_action(lsn(4096)).encode_head();
        let mut with_page = head;
        put(&mut with_page, CLR_PAGE, &3_u64.to_le_bytes());
        assert_eq!(Clr::decode(&with_page), Err(DecodeError::BadField { field: "page" }));
        let with_bytes = [&head[..], b"x"].concat();
        assert_eq!(Clr::decode(&with_bytes), Err(DecodeError::BadLength { found: 33 }));
        let mut with_operand = head;
        put(&mut with_operand, CLR_OPERAND, &1_u32.to_le_bytes());
        assert_eq!(Clr::decode(&with_operand), Err(DecodeError::BadField { field: "operand" }));
        let mut unknown = head;
        put(&mut unknown, CLR_ACTION, &[3]);
        assert_eq!(Clr::decode(&unknown), Err(DecodeError::BadField { field: "action" }));
    }
}
