//! Typed payloads: values of the engine's as bodies, through serde.
//!
//! The codec is the engine's choice. Nothing of the log's own goes through it: headers and fixed
//! bodies have layouts of their own, and a log can be read without knowing any payload type.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Turns values into bodies and back.
///
/// Implementors promise: what they encode they decode to an equal value; they never decode more
/// bytes than their limit; bytes that are no such value are an error, never a panic.
pub trait PayloadCodec {
    /// Why a value cannot be encoded, or bytes cannot be decoded.
    type Error: core::error::Error + Send + Sync + 'static;

    /// Appends the bytes of `value` to `out`, which is left as it was if that fails.
    ///
    /// # Errors
    ///
    /// The value has no form in this codec, or one longer than its limit.
    fn encode_into<T>(&self, value: &T, out: &mut Vec<u8>) -> Result<(), Self::Error>
    where
        T: Serialize + ?Sized;

    /// The bytes of `value`.
    ///
    /// # Errors
    ///
    /// As [`encode_into`](Self::encode_into).
    fn encode<T>(&self, value: &T) -> Result<Vec<u8>, Self::Error>
    where
        T: Serialize + ?Sized,
    {
        let mut out = Vec::new();
        self.encode_into(value, &mut out)?;
        Ok(out)
    }

    /// The value that all of `bytes` stand for; it may borrow from them.
    ///
    /// # Errors
    ///
    /// The bytes are no such value, are longer than the limit, or go on after the value.
    fn decode<'de, T>(&self, bytes: &'de [u8]) -> Result<T, Self::Error>
    where
        T: Deserialize<'de>;
}

#[cfg(feature = "bincode")]
pub use self::with_bincode::{Bincode, BincodeError};

#[cfg(feature = "bincode")]
mod with_bincode {
    use super::PayloadCodec;
    use crate::layout::BODY_BYTES_MAX;
    use alloc::vec::Vec;
    use bincode::{DefaultOptions, Options};
    use serde::{Deserialize, Serialize};
    use thiserror::Error;

    /// The codec of bincode 1.3: little-endian, integers of fixed size, nothing after the value.
    ///
    /// Values are not self-describing: the engine gives every version of a type a kind of its own
    /// or a version field.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Bincode {
        limit_bytes: usize,
    }

    impl Default for Bincode {
        /// Limited by what a record can hold.
        fn default() -> Self {
            Self::new(BODY_BYTES_MAX)
        }
    }

    impl Bincode {
        /// A codec for values of at most `limit_bytes`; no more than [`BODY_BYTES_MAX`].
        #[must_use]
        pub const fn new(limit_bytes: usize) -> Self {
            let limit_bytes =
                if limit_bytes > BODY_BYTES_MAX { BODY_BYTES_MAX } else { limit_bytes };
            Self { limit_bytes }
        }

        /// The longest form of a value, in bytes.
        #[must_use]
        pub const fn limit_bytes(&self) -> usize {
            self.limit_bytes
        }
    }

    /// The limit is not bincode's to check: it would measure a value once more when writing, and
    /// sets its limit aside when reading from a slice.
    fn options() -> impl Options {
        DefaultOptions::new()
            .with_little_endian()
            .with_fixint_encoding()
            .reject_trailing_bytes()
            .with_no_limit()
    }

    /// Why [`Bincode`] refused a value or bytes. Nothing was written.
    #[derive(Debug, Error)]
    #[non_exhaustive]
    pub enum BincodeError {
        /// More bytes than the limit.
        #[error("a payload of {bytes} bytes is longer than the limit of {limit}")]
        TooLong {
            /// Length of the payload, in bytes.
            bytes: u64,
            /// The limit, in bytes.
            limit: usize,
        },
        /// The value has no form in this codec, or the bytes are no such value.
        #[error("the payload does not fit its type")]
        Mismatch(#[source] bincode::Error),
    }

    impl PayloadCodec for Bincode {
        type Error = BincodeError;

        /// # Cost
        ///
        /// Two passes over the value, the first of which only measures it; one copy.
        fn encode_into<T>(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BincodeError>
        where
            T: Serialize + ?Sized,
        {
            let bytes = options().serialized_size(value).map_err(BincodeError::Mismatch)?;
            if bytes > self.limit_bytes as u64 {
                return Err(BincodeError::TooLong { bytes, limit: self.limit_bytes });
            }
            let start = out.len();
            out.reserve(bytes as usize);
            options().serialize_into(&mut *out, value).map_err(|error| {
                out.truncate(start);
                BincodeError::Mismatch(error)
            })
        }

        /// # Cost
        ///
        /// One pass. Byte strings and text are measured against `bytes` before they are allocated;
        /// other sequences grow as their elements are read, after at most 1 MiB at once, which is
        /// serde's own bound. A sequence whose elements take no bytes is not bounded by its input:
        /// do not put one into a log.
        fn decode<'de, T>(&self, bytes: &'de [u8]) -> Result<T, BincodeError>
        where
            T: Deserialize<'de>,
        {
            if bytes.len() > self.limit_bytes {
                return Err(BincodeError::TooLong {
                    bytes: bytes.len() as u64,
                    limit: self.limit_bytes,
                });
            }
            options().deserialize(bytes).map_err(BincodeError::Mismatch)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use alloc::string::String;
        use alloc::{format, vec};

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Order {
            id: u64,
            lines: Vec<(String, u32)>,
        }

        fn order() -> Order {
            Order { id: 17, lines: vec![("tea".into(), 3), ("scones".into(), 2)] }
        }

        #[test]
        fn a_value_comes_back_as_it_was() {
            let bytes = Bincode::default().encode(&order()).unwrap();
            assert_eq!(Bincode::default().decode::<Order>(&bytes).unwrap(), order());
        }

        #[test]
        fn a_value_may_borrow_from_its_bytes() {
            let bytes = Bincode::default().encode("three times tea").unwrap();
            let text: &str = Bincode::default().decode(&bytes).unwrap();
            assert_eq!(text.as_ptr(), bytes[8..].as_ptr());
        }

        #[test]
        fn integers_are_little_endian_and_of_fixed_size() {
            assert_eq!(Bincode::default().encode(&0x0102_u32).unwrap(), [2, 1, 0, 0]);
        }

        #[test]
        fn the_limit_holds_both_ways_and_leaves_the_buffer_alone() {
            let bytes = Bincode::default().encode(&order()).unwrap();
            let narrow = Bincode::new(bytes.len() - 1);
            let mut out = vec![1, 2, 3];
            let refused = narrow.encode_into(&order(), &mut out).unwrap_err();
            assert!(
                matches!(refused, BincodeError::TooLong { bytes: 49, limit: 48 }),
                "{refused:?}"
            );
            assert_eq!(out, [1, 2, 3]);
            assert!(matches!(
                narrow.decode::<Order>(&bytes),
                Err(BincodeError::TooLong { bytes: 49, limit: 48 })
            ));
            assert!(Bincode::new(bytes.len()).decode::<Order>(&bytes).is_ok());
        }

        #[test]
        fn a_hostile_length_is_refused_and_not_allocated() {
            for claimed in [u64::MAX, 1 << 40, 9] {
                let bytes = [&claimed.to_le_bytes()[..], b"8 bytes!"].concat();
                assert!(Bincode::default().decode::<String>(&bytes).is_err());
                assert!(Bincode::default().decode::<&[u8]>(&bytes).is_err());
                assert!(Bincode::default().decode::<Vec<u64>>(&bytes).is_err());
            }
        }

        #[test]
        fn bytes_after_the_value_and_bytes_cut_off_are_refused() {
            let bytes = Bincode::default().encode(&order()).unwrap();
            for len in 0..bytes.len() {
                assert!(Bincode::default().decode::<Order>(&bytes[..len]).is_err(), "{len}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(Bincode::default().decode::<Order>(&longer).is_err());
        }

        #[test]
        fn an_error_names_its_cause() {
            let refused = Bincode::default().decode::<bool>(&[2]).unwrap_err();
            assert!(format!("{refused}").contains("does not fit its type"));
            assert!(core::error::Error::source(&refused).is_some());
        }
    }
}
