//! Bodies of records: everything in them follows from a number, so that any alteration shows.
//!
//! The number stands in the first eight bytes. Its highest bits say how long the body is.

use wal_sim::SimRng;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Up to 700 bytes: several to a sector, some over two.
    Small,
    /// One to six kilobytes: a segment of 64 KiB is full after a few.
    Medium,
    /// Larger than the log's buffer takes: written past it.
    Large,
    /// Larger than a segment of 64 KiB.
    Huge,
}

const CLASS_SHIFT: u32 = 60;

/// Marks records which a check appends after a recovery.
const MARKER: u64 = 1 << 59;

/// The number of the `serial`th record, of this size.
#[must_use]
pub const fn number(serial: u64, size: Size) -> u64 {
    let class = match size {
        Size::Small => 0,
        Size::Medium => 1,
        Size::Large => 2,
        Size::Huge => 3,
    };
    serial | class << CLASS_SHIFT
}

/// The number of the `serial`th record that a check appends.
#[must_use]
pub const fn marker(serial: u64) -> u64 {
    serial | MARKER
}

/// Whether a check appended this record, and not a workload.
#[must_use]
pub const fn is_marker(number: u64) -> bool {
    number & MARKER != 0
}

/// The number without what says how long the body is, for people.
#[must_use]
pub const fn serial(number: u64) -> u64 {
    number & (MARKER - 1)
}

/// The body of record `number`.
#[must_use]
pub fn body(number: u64) -> Vec<u8> {
    let mut rng = SimRng::new(number);
    let bytes = match number >> CLASS_SHIFT {
        0 => 8 + rng.below(700),
        1 => 1024 + rng.below(5000),
        2 => 9000 + rng.below(30_000),
        _ => 70_000 + rng.below(20_000),
    };
    let bytes = usize::try_from(bytes).unwrap_or(8);
    let mut body = Vec::with_capacity(bytes + 8);
    body.extend_from_slice(&number.to_le_bytes());
    while body.len() < bytes {
        body.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    body.truncate(bytes);
    body
}

/// The number in a body; `None` if the rest of it is not what that number demands.
#[must_use]
pub fn read(found: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*found.first_chunk::<8>()?);
    (body(number) == found).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_back_and_every_alteration_shows() {
        for size in [Size::Small, Size::Medium, Size::Large, Size::Huge] {
            let number = number(7, size);
            let mut bytes = body(number);
            assert_eq!(read(&bytes), Some(number));
            bytes.push(0);
            assert_eq!(read(&bytes), None, "one byte more");
            bytes.pop();
            *bytes.last_mut().unwrap() ^= 1;
            assert_eq!(read(&bytes), None, "one bit");
        }
        assert_eq!(read(&[1, 2, 3]), None);
    }

    #[test]
    fn sizes_are_what_they_are_called() {
        let longest = |size| (0..200).map(|serial| body(number(serial, size)).len()).max();
        assert!(longest(Size::Small).unwrap() < 720);
        assert!((0..200).all(|serial| body(number(serial, Size::Large)).len() > 8192));
        assert!((0..50).all(|serial| body(number(serial, Size::Huge)).len() > 65_536));
        assert!(is_marker(marker(3)) && !is_marker(number(3, Size::Huge)));
        assert_eq!(serial(number(3, Size::Huge)), 3);
    }
}
