//! Reading one partition: what counts, in the order of its log, and never a part before its batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wal::{ErrorKind, Lsn, RecordFlags, RecordRef, ReplayRecord};

use crate::across::{Entry, PartFate};
use crate::error::Error;
use crate::id::{BatchId, NOTE_KIND, Outcome, PART_KIND};
use crate::inspect::{Heading, heading};
use crate::shared::Shared;

/// Reads what is durable in one partition, forwards.
///
/// A part of a batch across partitions is shown once the batch is known to be committed: the reader
/// stops in front of a part until then, and passes over parts of aborted batches. Records of
/// transactions are shown as [`wal::Reader`] shows them.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    partition: usize,
    inner: wal::Reader,
    /// Looks for notes behind the parts of earlier openings.
    ahead: Option<wal::Reader>,
    /// Passing over the members that follow: of a part that never counts, or of a batch whose first
    /// members were truncated away.
    passing: bool,
}

/// What the reader makes of a record.
enum Seen {
    Give,
    Pass,
    Part(BatchId),
}

/// What comes next for a reader.
enum Next {
    Record,
    End,
    Undecided(Arc<Entry>),
}

impl Reader {
    pub(crate) fn new(shared: &Arc<Shared>, partition: usize, lsn: Lsn) -> Result<Self, Error> {
        let member = shared.member(partition)?;
        let of = |source| Error::of(&member.name, source);
        let inner = member.wal.read_from(lsn).map_err(of)?;
        let shared = Arc::clone(shared);
        let mut reader = Self { shared, partition, inner, ahead: None, passing: false };
        reader.seek_batch_start()?;
        Ok(reader)
    }

    /// The next record that counts; `None` at the durable end, or in front of a part whose batch is
    /// not decided. A later call finds what is there then.
    ///
    /// # Errors
    ///
    /// As [`wal::Reader::next`].
    ///
    /// # Cost
    ///
    /// As [`wal::Reader::next`]; each record is checked twice. For a part of an earlier opening the log is
    /// read ahead to its note, which is close; for one that a crash tore, to the end.
    #[allow(clippy::should_implement_trait, reason = "it lends, which an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<RecordRef<'_>>, Error> {
        match self.find_next()? {
            Next::Record => self.give(),
            Next::End | Next::Undecided(_) => Ok(None),
        }
    }

    /// Where the reader stands; a hold advanced to here keeps what it still needs.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.inner.position()
    }

    /// From the middle of a batch to its first record: whether it counts is said there.
    fn seek_batch_start(&mut self) -> Result<(), Error> {
        let follows = |record: RecordRef<'_>| {
            (record.lsn(), record.flags().contains(RecordFlags::BATCH_FOLLOWS))
        };
        let mut first = self
            .inner
            .next()
            .map_err(|source| wrap(&self.shared, self.partition, source))?
            .map(follows);
        while let Some((lsn, true)) = first {
            self.seek(lsn)?;
            let before =
                self.inner.prev().map_err(|source| wrap(&self.shared, self.partition, source))?;
            match before.map(follows) {
                None => {
                    // The batch began below the head: nothing says any more whether it counts.
                    self.passing = true;
                    return self.seek(lsn);
                }
                before => first = before,
            }
        }
        first.map_or(Ok(()), |(lsn, _)| self.seek(lsn))
    }

    fn seek(&mut self, lsn: Lsn) -> Result<(), Error> {
        self.inner.seek(lsn).map_err(|source| wrap(&self.shared, self.partition, source))
    }

    fn give(&mut self) -> Result<Option<RecordRef<'_>>, Error> {
        let (shared, partition) = (&self.shared, self.partition);
        self.inner.next().map_err(|source| wrap(shared, partition, source))
    }

    /// Moves in front of the next record that counts.
    fn find_next(&mut self) -> Result<Next, Error> {
        loop {
            let (shared, partition) = (&self.shared, self.partition);
            let next = self.inner.next().map_err(|source| wrap(shared, partition, source))?;
            let Some(record) = next else {
                return Ok(Next::End);
            };
            let lsn = record.lsn();
            self.passing &= record.flags().contains(RecordFlags::BATCH_FOLLOWS);
            match see(shared, partition, &record)? {
                Seen::Pass => {}
                Seen::Give if self.passing => {}
                Seen::Give => {
                    self.seek(lsn)?;
                    return Ok(Next::Record);
                }
                Seen::Part(id) => match self.fate_of(id, lsn)? {
                    PartFate::Counts => {}
                    PartFate::Never | PartFate::AskTheLog => self.passing = true,
                    PartFate::Undecided(entry) => {
                        self.seek(lsn)?;
                        return Ok(Next::Undecided(entry));
                    }
                },
            }
        }
    }

    /// What the part of batch `id` at `lsn` means.
    fn fate_of(&mut self, id: BatchId, lsn: Lsn) -> Result<PartFate, Error> {
        let fate = self.shared.across.fate_of(&self.shared.members, id);
        if !matches!(fate, PartFate::AskTheLog) {
            return Ok(fate);
        }
        let (shared, partition) = (&self.shared, self.partition);
        let of = |source| wrap(shared, partition, source);
        let mut ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => shared.member(partition)?.wal.read_from(lsn).map_err(of)?,
        };
        ahead.seek(lsn).map_err(of)?;
        // Every part that was whole has a note behind it, for an opening writes those that are missing.
        // One that was torn has none: there is one at most for each crash.
        let mut fate = PartFate::Never;
        while let Some(record) = ahead.next().map_err(of)? {
            if record.kind() == NOTE_KIND
                && let Heading::Note(note) = replayed(shared, partition, &record)?
                && note.id == id
            {
                if note.outcome == Outcome::Committed {
                    fate = PartFate::Counts;
                }
                break;
            }
        }
        self.ahead = Some(ahead);
        Ok(fate)
    }
}

fn wrap(shared: &Shared, partition: usize, source: wal::Error) -> Error {
    match shared.member(partition) {
        Ok(member) => Error::of(&member.name, source),
        Err(error) => error,
    }
}

fn see(shared: &Shared, partition: usize, record: &RecordRef<'_>) -> Result<Seen, Error> {
    if !matches!(record.kind(), PART_KIND | NOTE_KIND) {
        return Ok(if record.kind().is_engine() { Seen::Give } else { Seen::Pass });
    }
    Ok(match replayed(shared, partition, record)? {
        Heading::Part(head) => Seen::Part(head.id),
        Heading::Note(_) => Seen::Pass,
        Heading::Engine => Seen::Give,
    })
}

/// What the record is to this layer.
fn replayed(shared: &Shared, partition: usize, record: &RecordRef<'_>) -> Result<Heading, Error> {
    let mut view = ReplayRecord::new(record.lsn(), record.kind(), record.body);
    view.txn = record.txn.map(|link| link.txn_id);
    heading(partition, &view).map_err(|what| match shared.member(partition) {
        Ok(member) => Error::Contradiction { name: member.name.clone(), what },
        Err(error) => error,
    })
}

/// A reader which waits for more at the durable end, and for the decision in front of a part.
#[derive(Debug)]
pub struct Tail {
    reader: Reader,
}

impl Tail {
    pub(crate) fn new(shared: &Arc<Shared>, partition: usize, lsn: Lsn) -> Result<Self, Error> {
        Ok(Self { reader: Reader::new(shared, partition, lsn)? })
    }

    /// The next record that counts; waits for one, and gives `None` once the partitions are closed
    /// and this one is read to its end.
    ///
    /// # Errors
    ///
    /// As [`Reader::next`]; [`Error::InDoubt`] when what comes next is part of a batch which cannot be
    /// decided before the next opening.
    #[allow(clippy::should_implement_trait, reason = "it lends, which an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<RecordRef<'_>>, Error> {
        if self.wait(None)? { self.reader.give() } else { Ok(None) }
    }

    /// As [`next`](Self::next), waiting for at most `timeout`: `None` when the time is up as well.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<RecordRef<'_>>, Error> {
        if self.wait(Some(timeout))? { self.reader.give() } else { Ok(None) }
    }

    /// Where the reader stands; a hold advanced to here keeps what it still needs.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.reader.position()
    }

    /// Whether there is a record to read; false when the log is closed or the time is up.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            match self.reader.find_next()? {
                Next::Record => return Ok(true),
                Next::End => {}
                // Whoever placed the batch may never wait for it: this makes its parts durable.
                Next::Undecided(entry) => {
                    let shared = &self.reader.shared;
                    shared.across.decide(&shared.members, &entry, true)?;
                    continue;
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            let member = self.reader.shared.member(self.reader.partition)?;
            match member.wal.wait_beyond(self.reader.position(), left) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(false),
                // What became durable with the close itself is still to be read.
                Err(error) if error.kind() == ErrorKind::Closed => {
                    return Ok(matches!(self.reader.find_next()?, Next::Record));
                }
                Err(error) => return Err(Error::of(&member.name, error)),
            }
        }
    }
}
