//! Single records of a log in use, each fetched by its address.
//!
//! For undo, which follows the chain of a transaction back: one read for each record, however long
//! the log is. Segments stay open between reads; nothing is read ahead and nothing is scanned.
//!
//! Left to others: what may be read (the source says), and what the records mean.

use wal_format::{Lsn, RecordRef};
use wal_io::{ChainLink, SegmentReader};

use crate::error::RecoveryError;
use crate::reader::LinkSource;
use crate::source::LogSource;
use crate::window::open_segment;

/// Segments kept open; the one opened longest ago goes first.
const OPEN_MAX: usize = 4;

/// Fetches records by address from a log that grows, rotates and is truncated meanwhile.
#[derive(Debug)]
pub struct AddressedReader<S: LinkSource> {
    source: S,
    view: LogSource,
    open: Vec<SegmentReader>,
}

impl<S: LinkSource> AddressedReader<S> {
    /// A reader of `source`; nothing is read yet.
    #[must_use]
    pub fn new(source: S) -> Self {
        let view = source.view();
        Self { source, view, open: Vec::new() }
    }

    /// Reads the record at `lsn` into `buf`, which is reused and grows as needed.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::BeyondEnd`]: the source does not let that be read yet.
    /// - Else as [`LogSource::read_record`].
    ///
    /// # Cost
    ///
    /// One read of 4 KiB, and of the rest of a longer record; an open for a segment that was not
    /// read lately.
    pub fn read<'b>(
        &mut self,
        lsn: Lsn,
        buf: &'b mut Vec<u8>,
    ) -> Result<RecordRef<'b>, RecoveryError> {
        let end = self.source.readable_end();
        if lsn >= end {
            return Err(RecoveryError::BeyondEnd { lsn, end });
        }
        if self.fill(lsn, buf).is_err() {
            // The chain may have changed since it was looked at (rule 22): once more, as it is now.
            self.view = self.source.view();
            self.open.clear();
            self.fill(lsn, buf)?;
        }
        let link = must_cover(&self.view, lsn)?;
        self.view.decode_held(lsn, link, buf)
    }

    /// Brings the bytes of a valid record into `buf`.
    fn fill(&mut self, lsn: Lsn, buf: &mut Vec<u8>) -> Result<(), RecoveryError> {
        let link = must_cover(&self.view, lsn)?;
        let held = self.open.iter().position(|reader| reader.link().name == link.name);
        let index = match held {
            Some(index) => index,
            None => {
                if self.open.len() == OPEN_MAX {
                    self.open.remove(0);
                }
                self.open.push(open_segment(&**self.view.storage(), link)?);
                self.open.len() - 1
            }
        };
        match self.open.get(index) {
            Some(reader) => self.view.read_through(reader, lsn, link, buf),
            None => Err(RecoveryError::Changed { lsn }),
        }
    }
}

fn must_cover(view: &LogSource, lsn: Lsn) -> Result<&ChainLink, RecoveryError> {
    view.link_of(lsn).map(|(_, link)| link).ok_or_else(|| {
        let range = view.range();
        RecoveryError::OutOfRange { lsn, head: range.start, end: range.end }
    })
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::{Arc, Mutex};

    use wal_format::{
        Epoch, LogId, RecordDraft, RecordKind, RecordSeed, SegmentFlags, SegmentHeader,
    };
    use wal_io::backend::MemoryStorage;
    use wal_io::{SegmentName, Storage};

    use super::*;

    const LOG: LogId = LogId::from_bytes([7; 16]);
    const CAPACITY: u64 = 64 << 10;

    /// A log of segments which each hold records of one size, readable up to an end.
    #[derive(Debug)]
    struct Growing {
        storage: Arc<dyn Storage>,
        links: Mutex<Vec<ChainLink>>,
        end: Mutex<Lsn>,
    }

    impl LinkSource for Growing {
        fn storage(&self) -> &Arc<dyn Storage> {
            &self.storage
        }

        fn log_id(&self) -> LogId {
            LOG
        }

        fn highest_epoch(&self) -> Epoch {
            Epoch::FIRST
        }

        fn links(&self) -> Vec<ChainLink> {
            self.links.lock().unwrap().clone()
        }

        fn readable_end(&self) -> Lsn {
            *self.end.lock().unwrap()
        }
    }

    fn growing() -> Arc<Growing> {
        let storage = Arc::new(MemoryStorage::new());
        Arc::new(Growing { storage, links: Mutex::default(), end: Mutex::new(Lsn::FIRST) })
    }

    /// Adds a segment with one record of `body_bytes` at its start; gives its address.
    fn add(log: &Growing, body_bytes: usize) -> Lsn {
        let base = log.links.lock().unwrap().last().map_or(Lsn::FIRST, |link| link.cap);
        let header = SegmentHeader {
            log_id: LOG,
            base,
            epoch: Epoch::FIRST,
            capacity_bytes: CAPACITY,
            created_unix_us: 0,
            flags: SegmentFlags::NONE,
            predecessor: None,
            head: Lsn::FIRST,
        };
        let name = SegmentName { epoch: header.epoch, base };
        let file_bytes = CAPACITY + 4096;
        let file = log.storage.create(&name.to_string(), file_bytes).unwrap();
        let body = vec![3; body_bytes];
        let parts = [&body[..]];
        let draft = RecordDraft::new(RecordKind::DATA, &parts);
        let mut out = vec![0; draft.encoded_bytes()];
        draft.encode_into(&RecordSeed::new(LOG, Epoch::FIRST), base, None, &mut out).unwrap();
        file.write_at(&[IoSlice::new(&out)], 4096).unwrap();
        let link = ChainLink { name, header, cap: header.end().unwrap(), file_bytes };
        log.links.lock().unwrap().push(link);
        *log.end.lock().unwrap() = base.checked_add(out.len() as u64).unwrap();
        base
    }

    #[test]
    fn a_record_is_found_in_segments_that_came_later() {
        let log = growing();
        let mut buf = Vec::new();
        let first = add(&log, 10);
        let mut reader = AddressedReader::new(Arc::clone(&log));
        let mut all = vec![(first, 10)];
        for body_bytes in [9000, 4096 - 24, 4096 - 16, 1, 2, 3, 0] {
            all.push((add(&log, body_bytes), body_bytes));
            for (lsn, body_bytes) in all.iter().rev() {
                let record = reader.read(*lsn, &mut buf).unwrap();
                assert_eq!((record.lsn(), record.body.len()), (*lsn, *body_bytes));
            }
        }
        assert!(reader.open.len() <= OPEN_MAX);
    }

    #[test]
    fn nothing_is_read_beyond_what_the_source_lets_be_read() {
        let log = growing();
        let lsn = add(&log, 10);
        *log.end.lock().unwrap() = lsn;
        let mut reader = AddressedReader::new(Arc::clone(&log));
        let refused = reader.read(lsn, &mut Vec::new()).map(|record| record.lsn());
        assert!(matches!(refused, Err(RecoveryError::BeyondEnd { .. })), "{refused:?}");
    }

    #[test]
    fn an_address_without_a_record_is_a_typed_error() {
        let log = growing();
        let (first, _) = (add(&log, 100), add(&log, 10));
        let mut reader = AddressedReader::new(Arc::clone(&log));
        let inside = first.checked_add(8).unwrap();
        let refused = reader.read(inside, &mut Vec::new()).map(|record| record.lsn());
        assert!(matches!(refused, Err(RecoveryError::Unreadable { .. })), "{refused:?}");
        log.links.lock().unwrap().remove(0);
        log.storage.remove(&SegmentName { epoch: Epoch::FIRST, base: first }.to_string()).unwrap();
        reader = AddressedReader::new(Arc::clone(&log));
        let refused = reader.read(first, &mut Vec::new()).map(|record| record.lsn());
        assert!(matches!(refused, Err(RecoveryError::OutOfRange { .. })), "{refused:?}");
    }
}
