//! The bytes of a write-ahead log, and nothing else.
//!
//! This crate turns records, segment headers and control slots into bytes and back.
//! It never sees a file, a clock or a thread, needs no `std`, and forbids `unsafe`:
//! a tool or replica that only reads or writes the bytes depends on this crate alone.
//!
//! `docs/format.md` is the specification; its tables are checked against [`layout`] by a test.
//!
//! The modules below are in reading order: each uses only those above it.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(clippy::indexing_slicing)]

extern crate alloc;

pub mod layout;
mod bytes;
mod error;
mod ids;
mod lsn;
mod kind;
mod crc;
mod fields;
mod record_header;
pub mod body;
mod segment_header;
mod control;
mod hold;
mod encode;
mod plain;
mod decode;
mod epochs;
mod records;
mod times;
mod look_ahead;
pub mod compress;
#[cfg(feature = "serde")]
pub mod payload;

pub use control::{CheckpointPointer, ControlSlot};
pub use crc::{RecordSeed, append as crc32c_append};
pub use decode::{
    ProvenRecord, RecordRef, decode_header_at, decode_record, prove_record, read_proven,
};
pub use encode::{RecordDraft, encoded_bytes, write_checksums};
pub use epochs::{EpochCandidates, EpochTracker, TrackedRecord, resolve_epoch};
pub use error::{DecodeError, EncodeError};
pub use hold::HoldRecord;
pub use ids::{Epoch, LogId, PageId, TxnId};
pub use kind::RecordKind;
pub use look_ahead::find_record_candidate;
pub use lsn::{Lsn, LsnRange};
pub use plain::encode_plain;
pub use record_header::{RecordFlags, RecordHeader, TxnLink};
pub use records::RecordIter;
pub use segment_header::{Predecessor, SegmentFlags, SegmentHeader};
pub use times::RecordTimes;
