//! Kinds of records.

use core::fmt;

/// What a record is, in one byte; zero is no kind.
///
/// | range | whose | an old reader which does not know it |
/// |---|---|---|
/// | `0x01..=0x3f` | the format's | stops: the log is of a newer version |
/// | `0x40..=0x7f` | the engine's | hands it to the engine |
/// | `0x80..=0xbf` | the format's | may skip it |
/// | `0xc0..=0xff` | the engine's | hands it to the engine |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKind(u8);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl RecordKind {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The kinds that the format itself defines, in order of their numbers.
            pub const FORMAT_KINDS: &'static [Self] = &[$(Self::$name),*];

            /// The name of the kind, as in `docs/format.md`; `None` for the engine's kinds and for
            /// unknown ones.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Fills space up to a block or segment boundary; its body is zero.
    PADDING = 0x01, "padding";
    /// First record of every opening of the log (rule 7).
    OPENED = 0x02, "opened";
    /// Says what is durable, and nothing else (rule 10).
    WATERMARK = 0x03, "watermark";
    /// A transaction begins.
    BEGIN = 0x04, "begin";
    /// Bytes of a page change: before and after image.
    UPDATE = 0x05, "update";
    /// A logical operation with its redo and undo descriptions.
    LOGICAL = 0x06, "logical";
    /// Compensation log record: redo-only, names what to undo next.
    CLR = 0x07, "clr";
    /// The transaction is committed.
    COMMIT = 0x08, "commit";
    /// The transaction is being rolled back.
    ABORT = 0x09, "abort";
    /// The transaction is in doubt: it can neither commit nor abort on its own.
    PREPARE = 0x0a, "prepare";
    /// Nothing is left to do for the transaction.
    END = 0x0b, "end";
    /// A checkpoint begins here.
    CHECKPOINT_BEGIN = 0x0c, "checkpoint-begin";
    /// Part of a checkpoint's tables.
    CHECKPOINT_PART = 0x0d, "checkpoint-part";
    /// The checkpoint is complete.
    CHECKPOINT_END = 0x0e, "checkpoint-end";
    /// A whole page, against torn page writes.
    PAGE_IMAGE = 0x0f, "page-image";
    /// A place that has a name, to recover to.
    RESTORE_POINT = 0x10, "restore-point";
    /// A page was freed; older records of it do not apply to its next life.
    PAGE_FREE = 0x11, "page-free";
    /// What time it was: records behind it were appended no earlier. Readers may skip it.
    TIME = 0x80, "time";
}

impl RecordKind {
    /// The bit of the kinds that a reader may skip when it does not know them.
    pub const SKIPPABLE_BIT: u8 = 0x80;
    /// The bit of the kinds that belong to the engine.
    pub const ENGINE_BIT: u8 = 0x40;
    /// The engine's first kind: an opaque body for an engine which needs no more than one kind.
    pub const DATA: Self = Self(Self::ENGINE_BIT);

    /// The kind with this number; `None` for zero.
    #[must_use]
    pub const fn new(raw: u8) -> Option<Self> {
        if raw == 0 { None } else { Some(Self(raw)) }
    }

    /// The engine's kind with number `index`, 0 to 63; `None` above.
    #[must_use]
    pub const fn engine(index: u8) -> Option<Self> {
        if index < 64 { Some(Self(Self::ENGINE_BIT | index)) } else { None }
    }

    /// The number of the kind.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether a reader that does not know the kind may pass over it.
    #[must_use]
    pub const fn is_skippable(self) -> bool {
        self.0 & Self::SKIPPABLE_BIT != 0
    }

    /// Whether the kind belongs to the engine.
    #[must_use]
    pub const fn is_engine(self) -> bool {
        self.0 & Self::ENGINE_BIT != 0
    }

    /// Whether this version can go past the kind: it knows it, may skip it, or it is the engine's.
    #[must_use]
    #[inline]
    pub const fn is_readable(self) -> bool {
        self.is_engine() || self.is_skippable() || self.name().is_some()
    }

    /// Whether a record of this kind may have a compressed body.
    ///
    /// Those that recovery itself reads are never compressed: reading a log needs no compressor.
    #[must_use]
    pub const fn is_compressible(self) -> bool {
        self.is_engine()
            || matches!(self, Self::UPDATE | Self::LOGICAL | Self::CLR | Self::PAGE_IMAGE)
    }

    /// Whether records of this kind are the log's own housekeeping, never an engine's data.
    #[must_use]
    pub const fn is_housekeeping(self) -> bool {
        matches!(self, Self::PADDING | Self::OPENED | Self::WATERMARK | Self::TIME)
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None if *self == Self::DATA => f.write_str("data"),
            None if self.is_engine() => write!(f, "engine-{:#04x}", self.0),
            None => write!(f, "unknown-{:#04x}", self.0),
        }
    }
}

impl fmt::Debug for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKind({self})")
    }
}
