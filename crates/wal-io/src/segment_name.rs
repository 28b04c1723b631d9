//! File names of a log directory, to and from what they mean.
//!
//! A live segment is `<base:016x>-<epoch:016x>.wal`: sixteen lower-case hexadecimal digits of the
//! base address, a hyphen, sixteen of the epoch. Nothing else is a live segment, so a name that
//! only looks like one is never read, and never removed. Names which end in `.tmp` belong to
//! steps that have not finished; scans ignore them (rule 1). This file knows no storage.

use std::fmt;

use wal_format::{Epoch, Lsn};

/// Name of the control file.
pub const CONTROL_NAME: &str = "control";
/// Name of the file whose lock is the right to write, on backends that need one.
pub const LOCK_NAME: &str = "lock";
/// Name of the file that holds back space, so that an opening works on a full disk (rule 16).
pub const SPARE_NAME: &str = "spare";
/// Beginning of the names of files that hold back space for records which were promised a place.
pub const RESERVE_PREFIX: &str = "reserve-";
/// Ending of names that are not live yet; scans ignore them, the next writer removes them.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Ending of the names of segments that were truncated and wait to be used again.
pub const RETIRED_SUFFIX: &str = ".old";

const SEGMENT_SUFFIX: &str = ".wal";
const HEX_DIGITS: usize = 16;

/// The name of a live segment: which run of the log it holds, and which opening made it.
///
/// Ordered by epoch, then base: the highest name in a directory is the tip of the chain (rule 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The opening which made the segment.
    pub epoch: Epoch,
    /// Address of the first byte after the header block.
    pub base: Lsn,
}

impl SegmentName {
    /// Reads a file name; `None` for everything that is not exactly a live segment's name.
    #[must_use]
    pub fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(SEGMENT_SUFFIX)?;
        let (base, epoch) = stem.split_once('-')?;
        let base = Lsn::new(parse_hex(base)?)?;
        let epoch = Epoch::new(parse_hex(epoch)?);
        (base >= Lsn::FIRST && epoch != Epoch::NONE).then_some(Self { epoch, base })
    }

    /// The name of the same segment while it is being made.
    #[must_use]
    pub fn temporary(&self) -> String {
        format!("{self}{TEMPORARY_SUFFIX}")
    }

    /// The name of the same segment once it was truncated, and its file is to be used again.
    #[must_use]
    pub fn retired(&self) -> String {
        format!("{self}{RETIRED_SUFFIX}")
    }
}

/// `from_str_radix` also takes a sign and upper case, and any number of digits.
fn parse_hex(digits: &str) -> Option<u64> {
    let strict = digits.len() == HEX_DIGITS
        && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    strict.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}{SEGMENT_SUFFIX}", self.base.get(), self.epoch.get())
    }
}

/// The name of the file with number `index` among those that hold back space.
#[must_use]
pub(crate) fn reserve_name(index: u64) -> String {
    format!("{RESERVE_PREFIX}{index:016x}")
}

/// The number of a file that holds back space; `None` for every other name.
#[must_use]
pub(crate) fn parse_reserve_name(file_name: &str) -> Option<u64> {
    parse_hex(file_name.strip_prefix(RESERVE_PREFIX)?)
}

/// Whether `file_name` is that of a segment which was truncated and waits to be used again.
#[must_use]
pub(crate) fn is_retired(file_name: &str) -> bool {
    parse_retired_name(file_name).is_some()
}

/// The name that a segment had before it was truncated; `None` for every other name.
#[must_use]
pub(crate) fn parse_retired_name(file_name: &str) -> Option<SegmentName> {
    SegmentName::parse(file_name.strip_suffix(RETIRED_SUFFIX)?)
}

/// Whether `file_name` belongs to a step that has not finished.
#[must_use]
pub fn is_temporary(file_name: &str) -> bool {
    file_name.ends_with(TEMPORARY_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(base: u64, epoch: u64) -> SegmentName {
        SegmentName { epoch: Epoch::new(epoch), base: Lsn::new(base).unwrap() }
    }

    #[test]
    fn a_name_comes_back_as_it_was() {
        for name in [name(4096, 1), name(1 << 40, u64::MAX), name(Lsn::MAX.get(), 1 << 16)] {
            assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        }
        assert_eq!(name(4096, 1).to_string(), "0000000000001000-0000000000000001.wal");
    }

    #[test]
    fn names_which_only_look_like_a_segment_are_not_one() {
        for text in [
            "",
            ".wal",
            "control",
            "0000000000001000-0000000000000001",
            "0000000000001000-0000000000000001.wal.tmp",
            "0000000000001000-0000000000000001.WAL",
            "000000000000100-0000000000000001.wal",
            "00000000000001000-0000000000000001.wal",
            "+000000000001000-0000000000000001.wal",
            "0000000000001000-000000000000000A.wal",
            "0000000000001000_0000000000000001.wal",
            "0000000000001000-0000000000000001-.wal",
            " 0000000000001000-0000000000000001.wal",
            "0000000000001001-0000000000000001.wal",
            "0000000000000008-0000000000000001.wal",
            "0000000000001000-0000000000000000.wal",
            "000000000000é00-0000000000000001.wal",
        ] {
            assert_eq!(SegmentName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn r01_a_temporary_name_is_never_live() {
        let temporary = name(4096, 1).temporary();
        assert!(is_temporary(&temporary));
        assert_eq!(SegmentName::parse(&temporary), None);
        assert!(!is_temporary(&name(4096, 1).to_string()));
    }

    #[test]
    fn a_retired_name_is_no_live_one_and_only_ours_are_taken() {
        let retired = name(4096, 1).retired();
        assert!(is_retired(&retired) && !is_temporary(&retired));
        assert_eq!(SegmentName::parse(&retired), None);
        for text in ["x.old", ".wal.old", "0000000000001000-0000000000000001.old"] {
            assert!(!is_retired(text), "{text}");
        }
    }

    #[test]
    fn a_name_that_holds_back_space_is_no_segment() {
        let name = reserve_name(17);
        assert_eq!(
            (parse_reserve_name(&name), name.as_str()),
            (Some(17), "reserve-0000000000000011")
        );
        assert_eq!((SegmentName::parse(&name), is_temporary(&name)), (None, false));
        for text in ["reserve-", "reserve-11", "spare", "reserve-0000000000000011.tmp"] {
            assert_eq!(parse_reserve_name(text), None, "{text}");
        }
    }

    #[test]
    fn r02_a_later_epoch_sorts_above_a_higher_base() {
        assert!(name(4096, 2) > name(1 << 30, 1));
        assert!(name(8192, 2) > name(4096, 2));
    }
}
