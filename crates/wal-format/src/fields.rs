//! Taking checked fields out of blocks and bodies.
//!
//! [`bytes`](crate::bytes) moves bits; here a length or a value that the format forbids becomes
//! an error with the name of the field.

use crate::bytes::{all_zero, u64_at};
use crate::error::DecodeError;
use crate::lsn::Lsn;

/// The address at `offset`; [`Lsn::NONE`] is let through.
pub(crate) fn lsn_at(bytes: &[u8], offset: usize, field: &'static str) -> Result<Lsn, DecodeError> {
    Lsn::new(u64_at(bytes, offset)).ok_or(DecodeError::BadField { field })
}

/// The address at `offset`, which must be one that a record can have.
pub(crate) fn address_at(
    bytes: &[u8],
    offset: usize,
    field: &'static str,
) -> Result<Lsn, DecodeError> {
    let lsn = lsn_at(bytes, offset, field)?;
    if lsn < Lsn::FIRST { Err(DecodeError::BadField { field }) } else { Ok(lsn) }
}

/// The fixed head of a body and what follows it.
pub(crate) fn split_head<const N: usize>(body: &[u8]) -> Result<(&[u8; N], &[u8]), DecodeError> {
    body.split_first_chunk::<N>().ok_or(DecodeError::BadLength { found: body.len() as u64 })
}

/// A body which is its fixed head and nothing else.
pub(crate) fn exact<const N: usize>(body: &[u8]) -> Result<&[u8; N], DecodeError> {
    match split_head::<N>(body)? {
        (head, []) => Ok(head),
        _ => Err(DecodeError::BadLength { found: body.len() as u64 }),
    }
}

/// Two byte strings that follow a head, of which the first has a stored length.
#[allow(dead_code)]
pub(crate) fn split_rest(rest: &[u8], first_bytes: u32) -> Result<(&[u8], &[u8]), DecodeError> {
    rest.split_at_checked(first_bytes as usize)
        .ok_or(DecodeError::BadLength { found: u64::from(first_bytes) })
}

/// Reserved bytes: an error unless they are all zero.
#[allow(dead_code)]
pub(crate) fn reserved(bytes: &[u8]) -> Result<(), DecodeError> {
    if all_zero(bytes) { Ok(()) } else { Err(DecodeError::NotZero) }
}

/// A length as the format stores it. One that does not fit saturates: its body is longer than
/// any record, so the encoder of the record refuses it.
#[allow(dead_code)]
pub(crate) fn stored_len(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}
