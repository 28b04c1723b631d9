//! Why bytes are not what they were taken for, or cannot be written.
//!
//! Both types are small and `Copy`: a scanner meets one at every place that is not a record.

use thiserror::Error;

/// Bytes that are not a valid record, header or slot, and the first reason why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes are needed before anything can be said: `needed` in all, from the same start.
    ///
    /// Check `needed` against what the segment can still hold before allocating.
    #[error("{needed} bytes are needed to decode this, fewer were given")]
    Incomplete {
        /// Bytes needed from the start of the record or block.
        needed: u64,
    },
    /// The header is all zero: space that was never written.
    #[error("zeroed space, not a record")]
    Zeroed,
    /// The kind is zero, in a header that is not all zero.
    #[error("record kind 0 does not exist")]
    KindZero,
    /// The header names another address than the one it was read at.
    #[error("a record of address {found} stands here")]
    WrongLsn {
        /// The address that the header carries.
        found: u64,
    },
    /// The header was written by another opening of the log than the one in force.
    #[error("the record carries epoch bits {found:#06x}, another epoch is in force")]
    WrongEpoch {
        /// The low 16 bits of the epoch that the header carries.
        found: u16,
    },
    /// Flag bits that this version does not know.
    #[error("unknown flag bits {found:#010x}")]
    UnknownFlags {
        /// All flag bits found.
        found: u32,
    },
    /// A length larger than the format allows.
    #[error("length {found} is larger than the format allows")]
    TooLong {
        /// The length found, in bytes.
        found: u64,
    },
    /// A length smaller than the fields which it must hold, or not exactly theirs.
    #[error("length {found} does not fit the fields of this kind")]
    BadLength {
        /// The length found, in bytes.
        found: u64,
    },
    /// The checksum does not match the bytes.
    #[error("checksum mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    BadChecksum {
        /// The checksum in the bytes.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// Alignment or reserved bytes which must be zero are not.
    #[error("bytes that must be zero are not")]
    NotZero,
    /// The magic number is missing: this is not a block of ours.
    #[error("magic number missing")]
    BadMagic,
    /// Written by a newer version of the format; nothing was judged beyond that.
    #[error("format version {found} is newer than this program reads")]
    UnsupportedVersion {
        /// The version found.
        found: u32,
    },
    /// A field holds a value outside its range.
    #[error("field `{field}` holds an impossible value")]
    BadField {
        /// The name of the field, as in `docs/format.md`.
        field: &'static str,
    },
    /// A compressed body does not decompress to the length that it states.
    #[error("the compressed body is damaged")]
    BadCompression,
    /// The buffer given is too small for the decompressed body; nothing is wrong with the bytes.
    #[error("{needed} bytes are needed for the decompressed body, the buffer has {given}")]
    BufferTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
}

/// A record or header that cannot be written. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The body is longer than [`BODY_BYTES_MAX`](crate::layout::BODY_BYTES_MAX).
    #[error("a body of {bytes} bytes is longer than a record can hold")]
    BodyTooLong {
        /// Length of the body, in bytes.
        bytes: u64,
    },
    /// The buffer is too small.
    #[error("{needed} bytes are needed, the buffer has {given}")]
    BufferTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// A field holds a value outside its range.
    #[error("field `{field}` holds an impossible value")]
    BadField {
        /// The name of the field, as in `docs/format.md`.
        field: &'static str,
    },
}
