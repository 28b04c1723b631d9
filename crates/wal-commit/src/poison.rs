//! Why a log stopped promising.
//!
//! Poison is one way: the first cause stays, nothing is retried, and only a new opening, which
//! recovers, can promise again. This file holds the cause; the latch itself lies with the rest of
//! the shared state, so that it changes under the same lock as the positions.

use std::fmt;
use std::sync::Arc;

use wal_io::IoError;

/// What broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoisonKind {
    /// A write failed: what it covered is unknown.
    Write,
    /// A sync failed: what it covered may be lost, whatever a later sync says.
    Sync,
    /// A newer opening of the log has taken over.
    Superseded,
    /// Code of the caller or of the backend panicked inside the log.
    Panic,
    /// The log found itself in a state that cannot be.
    Invariant,
    /// The owner of the log asked for it.
    Requested,
}

/// The cause of poison, shared by everybody who is told about it.
#[derive(Clone)]
pub struct PoisonCause(Arc<Inner>);

struct Inner {
    kind: PoisonKind,
    text: String,
    source: Option<Arc<IoError>>,
}

impl PoisonCause {
    /// A cause of the owner's own, in words.
    #[must_use]
    pub fn requested(text: impl Into<String>) -> Self {
        Self::new(PoisonKind::Requested, text.into(), None)
    }

    /// A cause of the owner's own: a failure of the storage outside the commit path.
    #[must_use]
    pub fn storage(source: Arc<IoError>) -> Self {
        let kind = match *source {
            IoError::Superseded { .. } => PoisonKind::Superseded,
            _ => PoisonKind::Requested,
        };
        Self::new(kind, source.to_string(), Some(source))
    }

    pub(crate) fn write(source: IoError) -> Self {
        Self::new(PoisonKind::Write, source.to_string(), Some(Arc::new(source)))
    }

    pub(crate) fn sync(source: IoError) -> Self {
        Self::new(PoisonKind::Sync, source.to_string(), Some(Arc::new(source)))
    }

    pub(crate) fn panicked(who: &str) -> Self {
        Self::new(PoisonKind::Panic, format!("{who} panicked"), None)
    }

    pub(crate) fn invariant(what: &'static str) -> Self {
        Self::new(PoisonKind::Invariant, format!("broken invariant: {what}"), None)
    }

    fn new(kind: PoisonKind, text: String, source: Option<Arc<IoError>>) -> Self {
        Self(Arc::new(Inner { kind, text, source }))
    }

    /// What broke.
    #[must_use]
    pub fn kind(&self) -> PoisonKind {
        self.0.kind
    }

    /// The failed operation on the storage, when there was one.
    #[must_use]
    pub fn source(&self) -> Option<&Arc<IoError>> {
        self.0.source.as_ref()
    }

    /// The file concerned, when one is known.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self.0.source.as_deref() {
            Some(IoError::Failed { name, .. } | IoError::Malformed { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// Where in the file, in bytes, when it is known.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self.0.source.as_deref() {
            Some(IoError::Failed { offset, .. }) => *offset,
            _ => None,
        }
    }
}

impl fmt::Display for PoisonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for PoisonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoisonCause")
            .field("kind", &self.0.kind)
            .field("text", &self.0.text)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use wal_io::IoOp;

    #[test]
    fn a_cause_names_the_file_and_the_place() {
        let source = io::Error::other("the device is gone");
        let cause = PoisonCause::sync(IoError::failed_at(IoOp::Sync, "a.wal", 4096, source));
        assert_eq!((cause.kind(), cause.file()), (PoisonKind::Sync, Some("a.wal")));
        assert_eq!(cause.offset(), Some(4096));
        let text = cause.to_string();
        for part in ["sync", "a.wal", "4096", "the device is gone"] {
            assert!(text.contains(part), "{text:?} does not say {part:?}");
        }
    }

    #[test]
    fn a_takeover_is_told_from_other_failures() {
        let newer = wal_format::Epoch::new(9);
        let source = IoError::Superseded { ours: wal_format::Epoch::FIRST, newer };
        assert_eq!(PoisonCause::storage(Arc::new(source)).kind(), PoisonKind::Superseded);
        assert_eq!(PoisonCause::requested("enough").kind(), PoisonKind::Requested);
        assert!(PoisonCause::panicked("a callback").source().is_none());
    }
}
