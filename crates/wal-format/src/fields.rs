//! Taking checked fields out of blocks and bodies.
//!
//! [`bytes`](crate::bytes) moves bits; here a length or a value that the format forbids becomes
//! an error with the name of the field.

use crate::bytes::{all_zero, array_at, u64_at};
use crate::error::DecodeError;
use crate::ids::PageId;
use crate::lsn::Lsn;

/// The address at `offset`; [`Lsn::NONE`] is let through.
#[inline]
pub(crate) fn lsn_at(bytes: &[u8], offset: usize, field: &'static str) -> Result<Lsn, DecodeError> {
    Lsn::new(u64_at(bytes, offset)).ok_or(DecodeError::BadField { field })
}

/// The address at `offset`: none, or one that a record can have.
#[inline]
pub(crate) fn link_at(
    bytes: &[u8],
    offset: usize,
    field: &'static str,
) -> Result<Lsn, DecodeError> {
    let lsn = lsn_at(bytes, offset, field)?;
    if lsn.is_none() || lsn >= Lsn::FIRST { Ok(lsn) } else { Err(DecodeError::BadField { field }) }
}

/// The address at `offset`, which must be one that a record can have.
#[inline]
pub(crate) fn address_at(
    bytes: &[u8],
    offset: usize,
    field: &'static str,
) -> Result<Lsn, DecodeError> {
    let lsn = lsn_at(bytes, offset, field)?;
    if lsn >= Lsn::FIRST { Ok(lsn) } else { Err(DecodeError::BadField { field }) }
}

/// The page at `offset`, which must be one.
#[inline]
pub(crate) fn page_at(bytes: &[u8], offset: usize) -> Result<PageId, DecodeError> {
    match PageId::new(u64_at(bytes, offset)) {
        PageId::NONE => Err(DecodeError::BadField { field: "page" }),
        page => Ok(page),
    }
}

/// The byte at `offset`.
#[inline]
pub(crate) fn u8_at(bytes: &[u8], offset: usize) -> u8 {
    let [byte] = array_at(bytes, offset);
    byte
}

/// The fixed head of a body and what follows it.
#[inline]
pub(crate) fn split_head<const N: usize>(body: &[u8]) -> Result<(&[u8; N], &[u8]), DecodeError> {
    body.split_first_chunk::<N>().ok_or(bad_length(body))
}

/// A body which is its fixed head and nothing else.
#[inline]
pub(crate) fn exact<const N: usize>(body: &[u8]) -> Result<&[u8; N], DecodeError> {
    match split_head::<N>(body)? {
        (head, []) => Ok(head),
        _ => Err(bad_length(body)),
    }
}

/// Two byte strings that follow a head, of which the first has a stored length.
#[inline]
pub(crate) fn split_rest(rest: &[u8], first_bytes: u32) -> Result<(&[u8], &[u8]), DecodeError> {
    rest.split_at_checked(first_bytes as usize)
        .ok_or(DecodeError::BadLength { found: u64::from(first_bytes) })
}

/// Reserved bytes from `offset` to the end of the head: an error unless they are zero.
#[inline]
pub(crate) fn reserved_from(head: &[u8], offset: usize) -> Result<(), DecodeError> {
    if all_zero(head.get(offset..).unwrap_or_default()) {
        Ok(())
    } else {
        Err(DecodeError::NotZero)
    }
}

/// The error for a body whose length is not that of its kind.
#[inline]
pub(crate) const fn bad_length(body: &[u8]) -> DecodeError {
    DecodeError::BadLength { found: body.len() as u64 }
}

/// A length as the format stores it. One that does not fit saturates: its body is longer than
/// any record may be, so the encoder of the record refuses it.
#[inline]
pub(crate) fn stored_len(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}
