//! One entry, in a record of the log and in a block alike: a key, and its value or that it is gone.
//!
//! ```text
//! key length u16 | value length u32, all ones: deleted | key | value       little-endian
//! ```

use crate::error::LsmError;

/// Bytes that a key may have; at least one.
pub const KEY_BYTES_MAX: usize = 1024;
/// Bytes that a value may have.
pub const VALUE_BYTES_MAX: usize = 256 << 10;

const DELETED: u32 = u32::MAX;

/// A key and its value; no value: deleted.
pub(crate) type Entry = (Vec<u8>, Option<Vec<u8>>);

/// Checks the lengths, and appends the entry to `out`.
///
/// # Errors
///
/// [`LsmError::Size`]; nothing was appended.
pub(crate) fn encode(key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), LsmError> {
    let value_bytes = value.map_or(0, <[u8]>::len);
    let size = LsmError::Size { key: key.len(), value: value_bytes };
    if key.is_empty() || key.len() > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
        return Err(size);
    }
    let (Ok(key_len), Ok(value_len)) = (u16::try_from(key.len()), u32::try_from(value_bytes))
    else {
        return Err(size);
    };
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&value.map_or(DELETED, |_| value_len).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value.unwrap_or_default());
    Ok(())
}

/// The first entry of `bytes`, and what follows it; `None` when there is no whole one.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (key_len, rest) = bytes.split_first_chunk::<2>()?;
    let (value_len, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key_len)))?;
    let value_len = u32::from_le_bytes(*value_len);
    if key.is_empty() {
        return None;
    }
    if value_len == DELETED {
        return Some(((key.to_vec(), None), rest));
    }
    let (value, rest) = rest.split_at_checked(usize::try_from(value_len).ok()?)?;
    Some(((key.to_vec(), Some(value.to_vec())), rest))
}

/// The entry that is all of `bytes`, as in a record of the log.
///
/// # Errors
///
/// [`LsmError::Foreign`].
pub(crate) fn decode_whole(bytes: &[u8]) -> Result<Entry, LsmError> {
    match decode(bytes) {
        Some((entry, [])) => Ok(entry),
        _ => Err(LsmError::Foreign { what: "a record that is no entry" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_and_a_deleted_one_differs_from_an_empty_one() {
        let mut bytes = Vec::new();
        encode(b"a", Some(b""), &mut bytes).unwrap();
        encode(b"b", None, &mut bytes).unwrap();
        let (first, rest) = decode(&bytes).unwrap();
        assert_eq!(first, (b"a".to_vec(), Some(Vec::new())));
        assert_eq!(decode_whole(rest).unwrap(), (b"b".to_vec(), None));
    }

    #[test]
    fn no_cut_entry_is_decoded() {
        let mut bytes = Vec::new();
        encode(b"key", Some(b"value"), &mut bytes).unwrap();
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_none(), "{end}");
        }
    }

    #[test]
    fn keys_and_values_out_of_bounds_are_refused() {
        let long = vec![0; VALUE_BYTES_MAX + 1];
        let refused = |key: &[u8], value: &[u8]| encode(key, Some(value), &mut Vec::new()).is_err();
        assert!(refused(b"", b"") && refused(&long[..KEY_BYTES_MAX + 1], b""));
        assert!(refused(b"k", &long) && !refused(&long[..KEY_BYTES_MAX], b""));
    }
}
