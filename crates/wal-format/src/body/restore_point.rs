//! The body of [`RecordKind::RESTORE_POINT`](crate::RecordKind::RESTORE_POINT).

use crate::error::{DecodeError, EncodeError};
use crate::fields::bad_length;
use crate::layout::RESTORE_POINT_NAME_BYTES_MAX;

/// A place in the log that has a name, to recover to.
///
/// Names need not be unique; a restore names which one it means by its address if they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestorePoint<'a> {
    /// The name, 1 to 255 bytes of UTF-8.
    pub name: &'a str,
}

impl<'a> RestorePoint<'a> {
    /// Longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = RESTORE_POINT_NAME_BYTES_MAX;

    /// The body: the bytes of the name.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BadField`]: the name is empty or too long.
    pub const fn encode(&self) -> Result<&'a [u8], EncodeError> {
        if self.name.is_empty() || self.name.len() > Self::NAME_BYTES_MAX {
            return Err(EncodeError::BadField { field: "name" });
        }
        Ok(self.name.as_bytes())
    }

    /// Reads the body; the name is borrowed from it.
    ///
    /// # Errors
    ///
    /// - [`DecodeError::BadLength`]: empty, or longer than a name may be.
    /// - [`DecodeError::BadField`]: not UTF-8.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        if body.is_empty() || body.len() > Self::NAME_BYTES_MAX {
            return Err(bad_length(body));
        }
        let name =
            core::str::from_utf8(body).map_err(|_| DecodeError::BadField { field: "name" })?;
        Ok(Self { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_as_it_was() {
        for name in ["a", "before the migration, für alle"] {
            let point = RestorePoint { name };
            assert_eq!(RestorePoint::decode(point.encode().unwrap()), Ok(point));
        }
    }

    #[test]
    fn a_name_has_1_to_255_bytes_of_utf_8() {
        let long = [b'x'; 256];
        let name = core::str::from_utf8(&long).unwrap();
        let refused = Err(EncodeError::BadField { field: "name" });
        assert_eq!(RestorePoint { name }.encode(), refused);
        assert_eq!(RestorePoint { name: "" }.encode(), refused);
        assert!(RestorePoint::decode(&long[..255]).is_ok());
        assert_eq!(RestorePoint::decode(&long), Err(DecodeError::BadLength { found: 256 }));
        assert_eq!(RestorePoint::decode(b""), Err(DecodeError::BadLength { found: 0 }));
        assert_eq!(RestorePoint::decode(b"\xff"), Err(DecodeError::BadField { field: "name" }));
    }
}
