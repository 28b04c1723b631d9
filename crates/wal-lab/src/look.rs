//! Looking at the files of a log from outside, before an opening mends them.
//!
//! Opens nothing for writing and changes nothing. What the log says of itself is held against it.

use std::sync::Arc;

use wal::{LogView, Lsn, Verdict};
use wal_format::layout::BLOCK_BYTES;
use wal_io::SegmentName;
use wal_sim::{Faults, SimDisk};

/// What the log on `disk` is found to be by looking, before an opening mends it: its verdict, in
/// words. A record begun behind the end is a torn tail, whatever the log calls it.
#[must_use]
pub fn look(disk: &SimDisk) -> Option<String> {
    let disk = disk.fork();
    disk.set_faults(Faults::new());
    let view = LogView::open_in(Arc::new(disk.clone())).ok()?;
    let (verdict, end) = (view.verdict().clone(), view.end());
    let behind = view.survey().links.iter().find(|link| link.range().contains(end)).map(|link| {
        let bytes = disk.contents(&link.name.to_string()).unwrap_or_default();
        let from = usize::try_from(link.offset_of(end)).unwrap_or(usize::MAX);
        bytes.get(from..).is_some_and(|behind| is_begun(behind, end))
    });
    if verdict == Verdict::CleanEnd && behind == Some(true) {
        return Some("a torn tail: a record was begun behind the end".to_owned());
    }
    Some(verdict.to_string())
}

/// Whether `behind`, the bytes at `end`, are those of a record begun there: not zeros, and not what
/// an older segment left in a file that is used again, whose records name lower addresses.
fn is_begun(behind: &[u8], end: Lsn) -> bool {
    let address = behind.get(8..16).and_then(|bytes| bytes.first_chunk());
    let address = address.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let older = address >= Lsn::FIRST.get() && address < end.get() && address.is_multiple_of(8);
    behind.iter().take(8).any(|byte| *byte != 0) && !older
}

/// A segment all of whose records lie below `head`: another one begins behind it, and not above.
#[must_use]
pub fn below_head(disk: &SimDisk, head: Lsn) -> Option<String> {
    let files = disk.files();
    // Nothing but the header is left of a file that only keeps its addresses from being used again.
    let segments = files.iter().filter(|(_, len)| *len > BLOCK_BYTES as u64);
    let mut segments: Vec<(SegmentName, &String)> =
        segments.filter_map(|(name, _)| Some((SegmentName::parse(name)?, name))).collect();
    segments.sort_by_key(|(segment, _)| segment.base);
    let mut pairs = segments.iter().zip(segments.iter().skip(1));
    let below = pairs.find(|((one, _), (next, _))| one.base < next.base && next.base <= head);
    below.map(|((_, name), _)| (*name).clone())
}

#[cfg(test)]
mod tests {
    use wal::RedoOnly;

    use super::*;
    use crate::engine::Engine;

    /// Where in its file a log with one record ends, and its disk after a kill.
    fn killed() -> (SimDisk, String, u64) {
        let disk = SimDisk::new();
        let options = wal::Options::default().segment_bytes(64 << 10).threads(wal::Threads::None);
        let mut engine = Engine::default();
        let opening = options.recover_with(RedoOnly::default());
        let wal = opening.open_in(Arc::new(disk.clone()), &mut engine).unwrap();
        wal.append(b"12345678").unwrap().wait_durable().unwrap();
        drop(wal);
        let view = LogView::open_in(Arc::new(disk.fork())).unwrap();
        let link = view.survey().links[0];
        (disk, link.name.to_string(), link.offset_of(view.end()))
    }

    #[test]
    fn a_record_begun_behind_the_end_is_a_torn_tail_and_zeros_are_none() {
        let (disk, name, end) = killed();
        assert_eq!(look(&disk).unwrap(), Verdict::CleanEnd.to_string());
        disk.overwrite(&name, end + 4, &[1]).unwrap();
        assert_ne!(look(&disk).unwrap(), Verdict::CleanEnd.to_string());
    }

    #[test]
    fn a_segment_that_the_head_has_passed_is_told() {
        let disk = SimDisk::new();
        let options = wal::Options::default().segment_bytes(64 << 10).threads(wal::Threads::None);
        let opening = options.recover_with(RedoOnly::default());
        let wal = opening.open_in(Arc::new(disk.clone()), &mut Engine::default()).unwrap();
        let first = LogView::open_in(Arc::new(disk.fork())).unwrap().survey().links[0].name;
        wal.append(&[1; 40 << 10]).unwrap().wait_durable().unwrap();
        let first = first.to_string();
        let mut names: Vec<SegmentName> =
            disk.names().iter().filter_map(|name| SegmentName::parse(name)).collect();
        names.sort_by_key(|name| name.base);
        assert_eq!(names.len(), 2, "a log that fills has its next segment ready");
        let next = names[1].base;
        assert_eq!(below_head(&disk, next), Some(first));
        assert_eq!(below_head(&disk, Lsn::new(next.get() - 8).unwrap()), None);
    }
}
