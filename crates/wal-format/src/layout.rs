//! Every offset and size of the format, in one place.
//!
//! `docs/format.md` shows the same numbers as tables; a test compares the two through [`TABLES`].
//! Encoders and decoders meet here and in the header types, nowhere else.
//!
//! Invariant, checked at compile time: every byte of a fixed layout belongs to exactly one field.

/// Version of the format this crate writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Every record starts at a multiple of this many bytes, in the log and in its segment.
pub const RECORD_ALIGN_BYTES: usize = 8;

/// Size of the header block of a segment and of each slot of the control file, in bytes.
///
/// One block of every common device: a header never shares a block with a record.
pub const BLOCK_BYTES: usize = 4096;

/// Address of the first record of a new log.
///
/// Not zero, so that a zero address can mean "none"; a multiple of [`BLOCK_BYTES`],
/// so that address and file offset are aligned alike.
pub const FIRST_LSN: u64 = BLOCK_BYTES as u64;

/// Longest body of one record, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 30;

/// First bytes of every segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"WALSEG\r\n";

/// First bytes of every slot of the control file.
pub const CONTROL_MAGIC: [u8; 8] = *b"WALCTL\r\n";

/// First bytes of the file of a persistent hold.
pub const HOLD_MAGIC: [u8; 8] = *b"WALHLD\r\n";

/// Longest name of a persistent hold, in bytes.
pub const HOLD_NAME_BYTES_MAX: usize = 128;

/// The control file holds this many slots, each in a block of its own.
pub const CONTROL_SLOTS: usize = 2;

/// A slot can name this many retained checkpoints.
pub const CONTROL_CHECKPOINTS_MAX: usize = 8;

/// Longest name of a restore point, in bytes.
pub const RESTORE_POINT_NAME_BYTES_MAX: usize = 255;

/// `durable_back` of a record which claims nothing about what was durable.
pub(crate) const DURABLE_BACK_UNKNOWN: u32 = u32::MAX;

/// The checksum covers a record from here to the end of its body.
pub(crate) const RECORD_CHECKED_FROM: usize = RECORD_BODY_LEN;

/// One field of a fixed layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, as in `docs/format.md`.
    pub name: &'static str,
    /// Where it starts, in bytes from the start of its layout.
    pub offset: usize,
    /// Its size in bytes.
    pub bytes: usize,
}

/// A fixed layout: a header, a block, or the fixed head of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, as in `docs/format.md`; for a body the name of the kind.
    pub name: &'static str,
    /// Its size in bytes.
    pub bytes: usize,
    /// Its fields, in order, without gaps.
    pub fields: &'static [Field],
}

impl Table {
    /// Whether the fields follow one another without gap or overlap and fill the layout.
    const fn is_gapless(&self) -> bool {
        let mut fields = self.fields;
        let mut end = 0;
        while let Some((field, rest)) = fields.split_first() {
            if field.offset != end || field.bytes == 0 {
                return false;
            }
            end += field.bytes;
            fields = rest;
        }
        end == self.bytes
    }
}

macro_rules! tables {
    ($(
        $(#[$doc:meta])*
        $name:literal, $size:ident = $size_bytes:literal {
            $($field:ident = $offset:literal, $bytes:literal, $field_name:literal;)*
        }
    )*) => {
        $(
            $(#[$doc])*
            pub const $size: usize = $size_bytes;
            $(pub(crate) const $field: usize = $offset;)*
            const _: () = assert!(
                Table {
                    name: $name,
                    bytes: $size,
                    fields: &[$(Field { name: $field_name, offset: $offset, bytes: $bytes }),*],
                }
                .is_gapless(),
                "every byte has one name"
            );
        )*

        /// Every fixed layout of the format, for tools that show or check bytes by name.
        pub const TABLES: &[Table] = &[$(
            Table {
                name: $name,
                bytes: $size,
                fields: &[$(Field { name: $field_name, offset: $offset, bytes: $bytes }),*],
            }
        ),*];
    };
}

// Each line: constant, offset, size, name in `docs/format.md`. The page says what they mean.
tables! {
    /// Size of a record header, in bytes.
    "record header", RECORD_HEADER_BYTES = 24 {
        RECORD_CHECKSUM = 0, 4, "checksum";
        RECORD_BODY_LEN = 4, 4, "body_len";
        RECORD_LSN = 8, 8, "lsn";
        RECORD_DURABLE_BACK = 16, 4, "durable_back";
        RECORD_EPOCH = 20, 2, "epoch";
        RECORD_KIND = 22, 1, "kind";
        RECORD_FLAGS = 23, 1, "flags";
    }
    /// Size of the transactional extension that follows the header of an in-transaction record.
    "transactional extension", TXN_LINK_BYTES = 16 {
        TXN_LINK_TXN_ID = 0, 8, "txn_id";
        TXN_LINK_PREV_LSN = 8, 8, "prev_lsn";
    }
    /// Size of what precedes the LZ4 block in a compressed body, in bytes.
    "compressed body", COMPRESSED_HEAD_BYTES = 4 {
        COMPRESSED_RAW_BYTES = 0, 4, "raw_bytes";
    }
    /// Size of a segment header; [`BLOCK_BYTES`].
    "segment header", SEGMENT_HEADER_BYTES = 4096 {
        SEGMENT_MAGIC_AT = 0, 8, "magic";
        SEGMENT_CHECKSUM = 8, 4, "checksum";
        SEGMENT_VERSION = 12, 4, "version";
        SEGMENT_LOG_ID = 16, 16, "log_id";
        SEGMENT_BASE = 32, 8, "base";
        SEGMENT_EPOCH = 40, 8, "epoch";
        SEGMENT_CAPACITY = 48, 8, "capacity";
        SEGMENT_CREATED = 56, 8, "created_unix_us";
        SEGMENT_FLAGS = 64, 4, "flags";
        SEGMENT_RESERVED = 68, 4, "reserved";
        SEGMENT_PRED_BASE = 72, 8, "predecessor_base";
        SEGMENT_PRED_EPOCH = 80, 8, "predecessor_epoch";
        SEGMENT_PRED_END = 88, 8, "predecessor_end";
        SEGMENT_HEAD = 96, 8, "head";
        SEGMENT_ZERO = 104, 3992, "zero";
    }
    /// Size of a slot of the control file; [`BLOCK_BYTES`].
    "control slot", CONTROL_SLOT_BYTES = 4096 {
        CONTROL_MAGIC_AT = 0, 8, "magic";
        CONTROL_CHECKSUM = 8, 4, "checksum";
        CONTROL_VERSION = 12, 4, "version";
        CONTROL_LOG_ID = 16, 16, "log_id";
        CONTROL_SEQUENCE = 32, 8, "sequence";
        CONTROL_EPOCH = 40, 8, "epoch";
        CONTROL_HEAD = 48, 8, "head";
        CONTROL_NEWEST_BASE = 56, 8, "newest_base";
        CONTROL_NEWEST_EPOCH = 64, 8, "newest_epoch";
        CONTROL_DURABLE = 72, 8, "durable";
        CONTROL_CLEAN_END = 80, 8, "clean_end";
        CONTROL_CLEAN_EPOCH = 88, 8, "clean_epoch";
        CONTROL_CHECKPOINT_COUNT = 96, 4, "checkpoint_count";
        CONTROL_RESERVED = 100, 4, "reserved";
        CONTROL_CHECKPOINTS = 104, 256, "checkpoints";
        CONTROL_ZERO = 360, 3736, "zero";
    }
    /// Size of one checkpoint pointer in a control slot.
    "checkpoint pointer", CONTROL_CHECKPOINT_BYTES = 32 {
        CHECKPOINT_POINTER_BEGIN = 0, 8, "begin";
        CHECKPOINT_POINTER_REDO_FROM = 8, 8, "redo_from";
        CHECKPOINT_POINTER_RECORD = 16, 8, "record";
        CHECKPOINT_POINTER_END = 24, 8, "end";
    }
    /// Size of the file of a persistent hold; [`BLOCK_BYTES`].
    "hold", HOLD_BYTES = 4096 {
        HOLD_MAGIC_AT = 0, 8, "magic";
        HOLD_CHECKSUM = 8, 4, "checksum";
        HOLD_VERSION = 12, 4, "version";
        HOLD_LOG_ID = 16, 16, "log_id";
        HOLD_LSN = 32, 8, "lsn";
        HOLD_LIMIT = 40, 8, "limit_bytes";
        HOLD_PLACED = 48, 8, "placed_unix_us";
        HOLD_MOVED = 56, 8, "moved_unix_us";
        HOLD_OWNER = 64, 4, "owner";
        HOLD_OVER = 68, 1, "over";
        HOLD_NAME_BYTES = 69, 1, "name_bytes";
        HOLD_RESERVED = 70, 2, "reserved";
        HOLD_NAME = 72, 128, "name";
        HOLD_ZERO = 200, 3896, "zero";
    }
    /// Size of the body of an opened record.
    "opened", OPENED_BYTES = 24 {
        OPENED_EPOCH = 0, 8, "epoch";
        OPENED_PREVIOUS_END = 8, 8, "previous_end";
        OPENED_UNIX_US = 16, 8, "opened_unix_us";
    }
    /// Size of the body of a begin record.
    "begin", BEGIN_BYTES = 8 {
        BEGIN_ISOLATION = 0, 1, "isolation";
        BEGIN_FLAGS = 1, 1, "flags";
        BEGIN_RESERVED = 2, 6, "reserved";
    }
    /// Size of the fixed head of an update body; the images follow.
    "update", UPDATE_HEAD_BYTES = 16 {
        UPDATE_PAGE = 0, 8, "page";
        UPDATE_OFFSET = 8, 4, "offset";
        UPDATE_BEFORE_BYTES = 12, 4, "before_bytes";
    }
    /// Size of the fixed head of a logical body; redo and undo bytes follow.
    "logical", LOGICAL_HEAD_BYTES = 16 {
        LOGICAL_PAGE = 0, 8, "page";
        LOGICAL_OPERATION = 8, 4, "operation";
        LOGICAL_REDO_BYTES = 12, 4, "redo_bytes";
    }
    /// Size of the fixed head of a CLR body; the redo bytes follow.
    "clr", CLR_HEAD_BYTES = 32 {
        CLR_UNDO_NEXT = 0, 8, "undo_next";
        CLR_COMPENSATED = 8, 8, "compensated";
        CLR_PAGE = 16, 8, "page";
        CLR_OPERAND = 24, 4, "operand";
        CLR_ACTION = 28, 1, "action";
        CLR_RESERVED = 29, 3, "reserved";
    }
    /// Size of the body of a commit record.
    "commit", COMMIT_BYTES = 8 {
        COMMIT_TIMESTAMP = 0, 8, "timestamp";
    }
    /// Size of the fixed head of a prepare body; global id and locks follow.
    "prepare", PREPARE_HEAD_BYTES = 16 {
        PREPARE_ROLLBACK_BYTES = 0, 8, "rollback_bytes";
        PREPARE_GLOBAL_ID_BYTES = 8, 4, "global_id_bytes";
        PREPARE_RESERVED = 12, 4, "reserved";
    }
    /// Size of the body of an end record.
    "end", END_BYTES = 8 {
        END_OUTCOME = 0, 1, "outcome";
        END_RESERVED = 1, 7, "reserved";
    }
    /// Size of the body of a checkpoint-begin record.
    "checkpoint-begin", CHECKPOINT_BEGIN_BYTES = 8 {
        CHECKPOINT_BEGIN_UNIX_US = 0, 8, "begun_unix_us";
    }
    /// Size of the fixed head of a checkpoint-part body; the entries follow.
    "checkpoint-part", CHECKPOINT_PART_HEAD_BYTES = 24 {
        CHECKPOINT_PART_BEGIN = 0, 8, "begin";
        CHECKPOINT_PART_INDEX = 8, 4, "index";
        CHECKPOINT_PART_TXNS = 12, 4, "txn_count";
        CHECKPOINT_PART_PAGES = 16, 4, "page_count";
        CHECKPOINT_PART_RESERVED = 20, 4, "reserved";
    }
    /// Size of one entry of the transaction table in a checkpoint part.
    "transaction entry", TXN_ENTRY_BYTES = 48 {
        TXN_ENTRY_TXN_ID = 0, 8, "txn_id";
        TXN_ENTRY_FIRST_LSN = 8, 8, "first_lsn";
        TXN_ENTRY_LAST_LSN = 16, 8, "last_lsn";
        TXN_ENTRY_UNDO_NEXT = 24, 8, "undo_next";
        TXN_ENTRY_PREPARE_LSN = 32, 8, "prepare_lsn";
        TXN_ENTRY_STATE = 40, 1, "state";
        TXN_ENTRY_RESERVED = 41, 7, "reserved";
    }
    /// Size of one entry of the dirty-page table in a checkpoint part.
    "dirty-page entry", DIRTY_PAGE_BYTES = 16 {
        DIRTY_PAGE_PAGE = 0, 8, "page";
        DIRTY_PAGE_REC_LSN = 8, 8, "rec_lsn";
    }
    /// Size of the fixed head of a checkpoint-end body; the payload follows.
    "checkpoint-end", CHECKPOINT_END_HEAD_BYTES = 16 {
        CHECKPOINT_END_BEGIN = 0, 8, "begin";
        CHECKPOINT_END_REDO_FROM = 8, 8, "redo_from";
    }
    /// Size of the fixed head of the payload of an ARIES checkpoint-end; the engine's bytes follow.
    "ARIES checkpoint-end payload", ARIES_END_HEAD_BYTES = 16 {
        ARIES_END_PARTS = 0, 4, "parts";
        ARIES_END_RESERVED = 4, 4, "reserved";
        ARIES_END_NEXT_TXN_ID = 8, 8, "next_txn_id";
    }
    /// Size of the fixed head of a page-image body; the image follows.
    "page-image", PAGE_IMAGE_HEAD_BYTES = 8 {
        PAGE_IMAGE_PAGE = 0, 8, "page";
    }
    /// Size of the body of a page-free record.
    "page-free", PAGE_FREE_BYTES = 8 {
        PAGE_FREE_PAGE = 0, 8, "page";
    }
    /// Size of the body of a time record.
    "time", TIME_BYTES = 8 {
        TIME_UNIX_US = 0, 8, "unix_us";
    }
}

const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(RECORD_ALIGN_BYTES));
const _: () = assert!(TXN_LINK_BYTES.is_multiple_of(RECORD_ALIGN_BYTES));
const _: () = assert!(SEGMENT_HEADER_BYTES == BLOCK_BYTES && CONTROL_SLOT_BYTES == BLOCK_BYTES);
const _: () = assert!(HOLD_BYTES == BLOCK_BYTES && HOLD_NAME + HOLD_NAME_BYTES_MAX == HOLD_ZERO);
const _: () = assert!(
    CONTROL_CHECKPOINTS + CONTROL_CHECKPOINTS_MAX * CONTROL_CHECKPOINT_BYTES == CONTROL_ZERO,
    "a slot has room for every checkpoint it may name"
);
