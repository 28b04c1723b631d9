//! Every offset and size of the format, in one place.
//!
//! `docs/format.md` shows the same numbers as tables; a test compares the two.
//! Encoders and decoders meet here and in the header types, nowhere else.

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

// --- record header -----------------------------------------------------------------------

/// Size of a record header, in bytes.
pub const RECORD_HEADER_BYTES: usize = 24;
/// Size of the transactional extension that follows the header of an in-transaction record.
pub const TXN_LINK_BYTES: usize = 16;
/// Longest body of one record, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 30;

pub(crate) const RECORD_CHECKSUM: usize = 0;
pub(crate) const RECORD_BODY_LEN: usize = 4;
pub(crate) const RECORD_LSN: usize = 8;
pub(crate) const RECORD_DURABLE_BACK: usize = 16;
pub(crate) const RECORD_EPOCH: usize = 20;
pub(crate) const RECORD_KIND: usize = 22;
pub(crate) const RECORD_FLAGS: usize = 23;
/// The checksum covers the record from here to the end of its body.
pub(crate) const RECORD_CHECKED_FROM: usize = RECORD_BODY_LEN;

const _: () = assert!(RECORD_FLAGS + 1 == RECORD_HEADER_BYTES, "every byte has a name");
const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(RECORD_ALIGN_BYTES));
const _: () = assert!(TXN_LINK_BYTES.is_multiple_of(RECORD_ALIGN_BYTES));

/// `durable_back` of a record which claims nothing about what was durable.
pub(crate) const DURABLE_BACK_UNKNOWN: u32 = u32::MAX;

// --- segment header ----------------------------------------------------------------------

/// First bytes of every segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"WALSEG\r\n";
pub(crate) const SEGMENT_CHECKSUM: usize = 8;
pub(crate) const SEGMENT_VERSION: usize = 12;
pub(crate) const SEGMENT_LOG_ID: usize = 16;
pub(crate) const SEGMENT_BASE: usize = 32;
pub(crate) const SEGMENT_EPOCH: usize = 40;
pub(crate) const SEGMENT_CAPACITY: usize = 48;
pub(crate) const SEGMENT_CREATED: usize = 56;
pub(crate) const SEGMENT_FLAGS: usize = 64;
pub(crate) const SEGMENT_RESERVED: usize = 68;
pub(crate) const SEGMENT_PRED_BASE: usize = 72;
pub(crate) const SEGMENT_PRED_EPOCH: usize = 80;
pub(crate) const SEGMENT_PRED_END: usize = 88;
pub(crate) const SEGMENT_HEAD: usize = 96;
/// From here to the end of the block, zero.
pub(crate) const SEGMENT_ZERO: usize = 104;

// --- control slot ------------------------------------------------------------------------

/// First bytes of every slot of the control file.
pub const CONTROL_MAGIC: [u8; 8] = *b"WALCTL\r\n";
/// The control file holds this many slots, each in a block of its own.
pub const CONTROL_SLOTS: usize = 2;
/// A slot can name this many retained checkpoints.
pub const CONTROL_CHECKPOINTS_MAX: usize = 8;
pub(crate) const CONTROL_CHECKSUM: usize = 8;
pub(crate) const CONTROL_VERSION: usize = 12;
pub(crate) const CONTROL_LOG_ID: usize = 16;
pub(crate) const CONTROL_SEQUENCE: usize = 32;
pub(crate) const CONTROL_EPOCH: usize = 40;
pub(crate) const CONTROL_HEAD: usize = 48;
pub(crate) const CONTROL_NEWEST_BASE: usize = 56;
pub(crate) const CONTROL_NEWEST_EPOCH: usize = 64;
pub(crate) const CONTROL_DURABLE: usize = 72;
pub(crate) const CONTROL_CLEAN_END: usize = 80;
pub(crate) const CONTROL_CLEAN_EPOCH: usize = 88;
pub(crate) const CONTROL_CHECKPOINT_COUNT: usize = 96;
pub(crate) const CONTROL_RESERVED: usize = 100;
pub(crate) const CONTROL_CHECKPOINTS: usize = 104;
/// Size of one checkpoint pointer: begin, redo-from, record, end; each an LSN.
pub(crate) const CONTROL_CHECKPOINT_BYTES: usize = 32;
/// From here to the end of the block, zero.
pub(crate) const CONTROL_ZERO: usize =
    CONTROL_CHECKPOINTS + CONTROL_CHECKPOINTS_MAX * CONTROL_CHECKPOINT_BYTES;

const _: () = assert!(SEGMENT_ZERO < BLOCK_BYTES && CONTROL_ZERO < BLOCK_BYTES);

// --- bodies ------------------------------------------------------------------------------

/// Size of the fixed head of a checkpoint-end body, in bytes.
pub const CHECKPOINT_END_HEAD_BYTES: usize = 16;
