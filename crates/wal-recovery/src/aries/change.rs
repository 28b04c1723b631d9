//! What a record does to a page, when it is done again.
//!
//! Decoding stands here alone, so that analysis, redo and the rebuild of a torn page agree on what
//! a record says. Nothing here keeps state; bodies are borrowed.

use wal_format::body::{Body, Compensation, Update};
use wal_format::{DecodeError, PageId, RecordFlags, RecordKind, RecordRef};

use crate::error::RecoveryError;
use crate::redo_only::bad_body;

/// What the strategy calls itself.
pub(super) const STRATEGY: &str = "ARIES";

/// A change of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    /// The page.
    pub(super) page: PageId,
    /// What is done to it.
    pub(super) action: Action<'a>,
}

/// What is done to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action<'a> {
    /// Bytes are put in place.
    Put { offset: u32, bytes: &'a [u8] },
    /// An operation of the engine's.
    Logical { operation: u32, redo: &'a [u8] },
    /// The whole page.
    Image(&'a [u8]),
    /// Its life ends.
    Free,
}

/// The body of a record of a transaction or of a page; `None` for what does neither, and for what
/// a reader may pass over. The parts of checkpoints are not decoded here: one that is damaged is
/// passed over, whole.
///
/// # Errors
///
/// - [`RecoveryError::Unfit`]: a record of an engine's own kind, which only another strategy can
///   replay, or a compressed one.
/// - [`RecoveryError::BadBody`]: its kind cannot have that body.
pub(super) fn body_of<'a>(record: &RecordRef<'a>) -> Result<Option<Body<'a>>, RecoveryError> {
    let kind = record.kind();
    let unfit = kind.is_engine() && !kind.is_skippable();
    if unfit || record.flags().contains(RecordFlags::COMPRESSED) {
        return Err(RecoveryError::Unfit { lsn: record.lsn(), kind, strategy: STRATEGY });
    }
    if kind.is_housekeeping() || kind == RecordKind::RESTORE_POINT || of_checkpoint(kind) {
        return Ok(None);
    }
    if kind == RecordKind::COMMIT && record.body.is_empty() {
        return Ok(Some(Body::Commit(wal_format::body::Commit::default())));
    }
    Body::decode(kind, record.body).map_err(|source| bad_body(record, source))
}

const fn of_checkpoint(kind: RecordKind) -> bool {
    matches!(
        kind,
        RecordKind::CHECKPOINT_BEGIN | RecordKind::CHECKPOINT_PART | RecordKind::CHECKPOINT_END
    )
}

/// Whether records of this kind change pages; one comparison before anything is decoded.
pub(super) const fn changes_pages(kind: RecordKind) -> bool {
    matches!(
        kind,
        RecordKind::UPDATE
            | RecordKind::LOGICAL
            | RecordKind::CLR
            | RecordKind::PAGE_IMAGE
            | RecordKind::PAGE_FREE
    )
}

impl<'a> Change<'a> {
    /// The change in a record; `None` when it changes no page.
    ///
    /// # Errors
    ///
    /// As [`body_of`].
    #[inline]
    pub(super) fn of(record: &RecordRef<'a>) -> Result<Option<Self>, RecoveryError> {
        if !changes_pages(record.kind()) {
            return Ok(None);
        }
        // Nearly all are of this kind: the way through every kind of body costs twice as much.
        if record.kind() == RecordKind::UPDATE && !record.flags().contains(RecordFlags::COMPRESSED)
        {
            let update = Update::decode(record.body).map_err(|source| bad_body(record, source))?;
            return Ok(Self::in_body(&Body::Update(update)));
        }
        Ok(body_of(record)?.as_ref().and_then(Self::in_body))
    }

    /// The change in a body that was proven before; `None` when there is none.
    #[inline]
    pub(super) fn in_body(body: &Body<'a>) -> Option<Self> {
        let (page, action) = match *body {
            Body::Update(update) => {
                (update.page, Action::Put { offset: update.offset, bytes: update.after })
            }
            Body::Logical(logical) => {
                let (operation, redo) = (logical.operation, logical.redo);
                (logical.page, Action::Logical { operation, redo })
            }
            Body::Clr(clr) => match clr.action {
                Compensation::Nothing => return None,
                Compensation::Bytes { page, offset, image } => {
                    (page, Action::Put { offset, bytes: image })
                }
                Compensation::Logical { page, operation, redo } => {
                    (page, Action::Logical { operation, redo })
                }
            },
            Body::PageImage(image) => (image.page, Action::Image(image.image)),
            Body::PageFree(free) => (free.page, Action::Free),
            _ => return None,
        };
        (!page.is_none()).then_some(Self { page, action })
    }

    /// The change in the raw body of a record of `kind`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the kind cannot have that body.
    #[inline]
    pub(super) fn decode(kind: RecordKind, body: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        if !changes_pages(kind) {
            return Ok(None);
        }
        Ok(Body::decode(kind, body)?.as_ref().and_then(Self::in_body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::Lsn;
    use wal_format::body::{Clr, Logical};

    const PAGE: PageId = PageId::new(7);

    #[test]
    fn a20_a_compensation_is_a_change_like_any_other() {
        let lsn = Lsn::FIRST;
        let action = Compensation::Bytes { page: PAGE, offset: 3, image: b"old" };
        let clr = Clr { undo_next: Lsn::NONE, compensated: lsn, action };
        let change = Change::in_body(&Body::Clr(clr)).unwrap();
        assert_eq!(change, Change { page: PAGE, action: Action::Put { offset: 3, bytes: b"old" } });
    }

    #[test]
    fn redo_puts_the_after_image_and_never_the_before_image() {
        let update = Update { page: PAGE, offset: 1, before: b"old", after: b"new" };
        let change = Change::in_body(&Body::Update(update)).unwrap();
        assert_eq!(change.action, Action::Put { offset: 1, bytes: b"new" });
    }

    #[test]
    fn what_touches_no_page_is_no_change() {
        let nothing = Clr::end_of_nested_top_action(Lsn::FIRST);
        assert_eq!(Change::in_body(&Body::Clr(nothing)), None);
        let logical = Logical { page: PageId::NONE, operation: 1, redo: b"", undo: b"" };
        assert_eq!(Change::in_body(&Body::Logical(logical)), None);
    }
}
