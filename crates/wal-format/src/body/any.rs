//! The body of any of the format's own kinds, for tools that show whatever they meet.

use super::{
    Abort, Begin, CheckpointBegin, CheckpointEnd, CheckpointPart, Clr, Commit, End, Logical,
    Opened, Padding, PageFree, PageImage, Prepare, RestorePoint, Time, Update, Watermark,
};
use crate::error::DecodeError;
use crate::kind::RecordKind;

/// A decoded body of one of the format's own kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the type of the same name")]
pub enum Body<'a> {
    Padding(Padding),
    Opened(Opened),
    Watermark(Watermark),
    Begin(Begin),
    Update(Update<'a>),
    Logical(Logical<'a>),
    Clr(Clr<'a>),
    Commit(Commit),
    Abort(Abort),
    Prepare(Prepare<'a>),
    End(End),
    CheckpointBegin(CheckpointBegin),
    CheckpointPart(CheckpointPart<'a>),
    CheckpointEnd(CheckpointEnd<'a>),
    PageImage(PageImage<'a>),
    RestorePoint(RestorePoint<'a>),
    PageFree(PageFree),
    Time(Time),
}

impl<'a> Body<'a> {
    /// Reads the raw body of a record of `kind`; decompress a compressed one first.
    ///
    /// `Ok(None)` for the engine's kinds and for kinds that this version does not know.
    ///
    /// # Errors
    ///
    /// As the `decode` of the kind: the record is valid, yet its body is not one of this version.
    #[inline]
    pub fn decode(kind: RecordKind, body: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match kind {
            RecordKind::PADDING => Self::Padding(Padding::decode(body)?),
            RecordKind::OPENED => Self::Opened(Opened::decode(body)?),
            RecordKind::WATERMARK => Self::Watermark(Watermark::decode(body)?),
            RecordKind::BEGIN => Self::Begin(Begin::decode(body)?),
            RecordKind::UPDATE => Self::Update(Update::decode(body)?),
            RecordKind::LOGICAL => Self::Logical(Logical::decode(body)?),
            RecordKind::CLR => Self::Clr(Clr::decode(body)?),
            RecordKind::COMMIT => Self::Commit(Commit::decode(body)?),
            RecordKind::ABORT => Self::Abort(Abort::decode(body)?),
            RecordKind::PREPARE => Self::Prepare(Prepare::decode(body)?),
            RecordKind::END => Self::End(End::decode(body)?),
            RecordKind::CHECKPOINT_BEGIN => Self::CheckpointBegin(CheckpointBegin::decode(body)?),
            RecordKind::CHECKPOINT_PART => Self::CheckpointPart(CheckpointPart::decode(body)?),
            RecordKind::CHECKPOINT_END => Self::CheckpointEnd(CheckpointEnd::decode(body)?),
            RecordKind::PAGE_IMAGE => Self::PageImage(PageImage::decode(body)?),
            RecordKind::RESTORE_POINT => Self::RestorePoint(RestorePoint::decode(body)?),
            RecordKind::PAGE_FREE => Self::PageFree(PageFree::decode(body)?),
            RecordKind::TIME => Self::Time(Time::decode(body)?),
            _ => return Ok(None),
        }))
    }

    /// What time it was when the record was made, in microseconds since the Unix epoch: for a time,
    /// an opening and the begin of a checkpoint. A commit's timestamp is the engine's, and no time.
    #[must_use]
    pub const fn unix_us(&self) -> Option<u64> {
        match self {
            Self::Time(it) => Some(it.unix_us),
            Self::Opened(it) => Some(it.opened_unix_us),
            Self::CheckpointBegin(it) => Some(it.begun_unix_us),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that no kind of the format accepts: not empty, not zero, and no UTF-8.
    const NONSENSE: &[u8] = b"\xff";

    #[test]
    fn no_kind_of_the_format_is_forgotten() {
        for kind in RecordKind::FORMAT_KINDS {
            assert!(Body::decode(*kind, NONSENSE).is_err(), "{kind} is not decoded");
        }
    }

    #[test]
    fn an_engines_body_is_its_own() {
        assert_eq!(Body::decode(RecordKind::DATA, NONSENSE), Ok(None));
        assert_eq!(Body::decode(RecordKind::new(0x3f).unwrap(), NONSENSE), Ok(None));
    }
}
