//! Bodies that say nothing: of padding and of a bare watermark.
//!
//! What such a record has to say stands in its header.

use crate::bytes::all_zero;
use crate::error::DecodeError;
use crate::fields::bad_length;

/// The body of [`RecordKind::PADDING`](crate::RecordKind::PADDING): zeros up to a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Bytes of the body, all zero.
    pub bytes: usize,
}

impl Padding {
    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotZero`]: bytes hide in the padding (rule 13).
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if all_zero(body) { Ok(Self { bytes: body.len() }) } else { Err(DecodeError::NotZero) }
    }
}

/// The body of [`RecordKind::WATERMARK`](crate::RecordKind::WATERMARK): empty; the watermark is
/// the header's (rule 10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark;

impl Watermark {
    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`]: the body is not empty.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.is_empty() { Ok(Self) } else { Err(bad_length(body)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r13_padding_is_zero_and_checked() {
        assert_eq!(Padding::decode(&[0; 40]), Ok(Padding { bytes: 40 }));
        assert_eq!(Padding::decode(b""), Ok(Padding { bytes: 0 }));
        assert_eq!(Padding::decode(&[0, 0, 1]), Err(DecodeError::NotZero));
    }

    #[test]
    fn a_watermark_has_no_body() {
        assert_eq!(Watermark::decode(b""), Ok(Watermark));
        assert_eq!(Watermark::decode(&[0]), Err(DecodeError::BadLength { found: 1 }));
    }
}
