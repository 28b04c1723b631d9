//! Following the log of another process: what is proven durable, as it becomes so.
//!
//! Two places in the log move on: a scout reads ahead over whatever is written, to learn from the
//! watermarks in it what is durable by now; behind it the records are handed out, up to there and no
//! further. A crash of the writer takes nothing back that was handed out, and an opening after it
//! changes none of these addresses, so that nothing is missed and nothing comes twice.
//!
//! Takes no lock, changes nothing, reads no clock: when to look again is left to the caller. What a
//! writer is about to write is never taken for damage (rule 22).
//!
//! Invariant: `position ≤ readable end ≤ what is proven durable`; the readable end never moves back.

use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use wal_format::{DecodeError, Epoch, LogId, Lsn, LsnRange, RecordRef};
use wal_io::{ChainLink, ControlView, Storage, Survey};

use crate::error::RecoveryError;
use crate::evidence::{Claims, Evidence};
use crate::examine::{Depth, claims_of, examine};
use crate::lookahead::look_behind;
use crate::reader::{LinkSource, LogReader};
use crate::scan::{Step, Stop, StopReason};
use crate::source::LogSource;
use crate::verdict::Verdict;

/// The scout goes no further ahead than this before what it proved is handed out.
const STRIDE_BYTES: u64 = 8 << 20;
/// A writer that truncates faster than this many looks is not a race any more.
const ATTEMPTS_MAX: usize = 16;
/// How far behind a place that cannot be read it is looked for proof that it was durable.
const PROOF_BYTES: u64 = 256 << 10;
/// Of the questions whether a place is damaged, asked while the scout stands there, the first, the
/// second, the fourth and so on looks for that proof, and each so many-th.
const LOOKS_APART: u32 = 64;

/// The chain as it was last looked at, and how far it may be read.
#[derive(Debug)]
struct Watched {
    storage: Arc<dyn Storage>,
    log_id: LogId,
    /// Changed by the follower's looks only; its reader asks within its calls.
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    links: Vec<ChainLink>,
    highest_epoch: Epoch,
    end: Lsn,
}

impl LinkSource for Watched {
    fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    fn log_id(&self) -> LogId {
        self.log_id
    }

    fn highest_epoch(&self) -> Epoch {
        self.seen.lock().highest_epoch
    }

    fn links(&self) -> Vec<ChainLink> {
        self.seen.lock().links.clone()
    }

    fn readable_end(&self) -> Lsn {
        self.seen.lock().end
    }
}

/// Reads a log that another process writes, housekeeping included, up to what is proven durable.
///
/// What a writer acknowledged last is proven by its next record, by the watermark record of a log
/// that has gone idle, or by its close: it comes that much later.
#[derive(Debug)]
pub struct LogFollower {
    reader: LogReader<Arc<Watched>>,
    control: ControlView,
    claims: Claims,
    /// Where the scout goes on reading: a record boundary.
    scout: Lsn,
    /// Where the scout stands, and how often it was asked whether that is damage.
    still: (Lsn, u32),
    /// Where the log was judged last, and whether something had proven that there must be more.
    judged: (Lsn, bool),
}

impl LogFollower {
    /// A follower of the log in `storage`, which stands at its head.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::NoLog`]: there is none.
    /// - [`RecoveryError::Refused`]: segments are missing, foreign, damaged or newer.
    /// - [`RecoveryError::Io`]: nothing was concluded.
    ///
    /// # Cost
    ///
    /// One look at the directory; no record is read yet.
    pub fn open(storage: &Arc<dyn Storage>) -> Result<Self, RecoveryError> {
        let survey = Survey::read(&**storage)?;
        if survey.is_empty() {
            return Err(RecoveryError::NoLog { place: survey.place });
        }
        let (true, Some(log_id)) = (survey.problems.is_empty(), survey.log_id) else {
            let verdict = examine(storage, Depth::Full, &mut ())?.verdict;
            return Err(RecoveryError::Refused(Box::new(verdict)));
        };
        let head = survey.links.first().map_or(Lsn::FIRST, |link| link.name.base);
        let seen =
            Seen { highest_epoch: survey.highest_epoch, end: head, links: survey.links.clone() };
        let storage = Arc::clone(storage);
        let watched = Arc::new(Watched { storage, log_id, seen: Mutex::new(seen) });
        let mut reader = LogReader::new(watched);
        reader.show_housekeeping(true);
        let claims = claims_of(&survey, log_id);
        let (still, judged) = ((Lsn::NONE, 0), (Lsn::NONE, false));
        Ok(Self { reader, claims, scout: head, still, judged, control: survey.control })
    }

    /// The boundary up to which records were handed out.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.reader.position()
    }

    /// Lowest address of the log when it was last looked at.
    #[must_use]
    pub fn head(&self) -> Lsn {
        self.reader.source().seen.lock().links.first().map_or(Lsn::FIRST, |link| link.name.base)
    }

    /// First address that is not proven durable, as far as was looked.
    #[must_use]
    pub fn readable_end(&self) -> Lsn {
        self.reader.source().readable_end()
    }

    /// Whether the log was closed cleanly, and everything in it was handed out.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let clean = self.control.current().and_then(|slot| slot.clean);
        clean.is_some_and(|(end, _)| end == self.position())
    }

    /// Stands at the head of the log as it is now, behind whatever was truncated.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::Io`].
    pub fn skip_to_head(&mut self) -> Result<Lsn, RecoveryError> {
        self.survey()?;
        if self.position() < self.head() {
            self.stand_at_head();
        }
        Ok(self.position())
    }

    /// Hands every record to `visit` that is proven durable now, in order, until it breaks off.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Truncated`]: the log was truncated past the position; see
    ///   [`skip_to_head`](Self::skip_to_head).
    /// - [`RecoveryError::Corrupt`]: the log is damaged at the position.
    /// - [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: try again.
    ///
    /// # Cost
    ///
    /// Reads and checks each record twice. With nothing new: two opens and 12 KiB read.
    pub fn drain<B>(
        &mut self,
        mut visit: impl FnMut(&RecordRef<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, RecoveryError> {
        let mut attempt = 1;
        loop {
            match self.hand_out(&mut visit) {
                Ok(Some(value)) => return Ok(Some(value)),
                Ok(None) => {
                    attempt = 1;
                    if !self.look()? {
                        return Ok(None);
                    }
                }
                // The chain may be another one by now: look again before saying so (rule 22).
                Err(RecoveryError::Truncated { .. } | RecoveryError::Corrupt { .. })
                    if attempt < ATTEMPTS_MAX && self.survey()? =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether what stands where the scout cannot go on is damage: a record there that decayed, or
    /// was lost, and is known to have been durable. For when nothing has come for a while.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::Refused`]: it is, and nothing behind it can be followed.
    /// [`RecoveryError::Io`]: nothing was concluded.
    ///
    /// # Cost
    ///
    /// One read of 4 KiB, and seldom of up to 512 KiB. Once for each place that is not blank the
    /// whole log, and once more when something proves that there must be a record.
    pub fn judge(&mut self) -> Result<(), RecoveryError> {
        if self.judged == (self.scout, true) {
            return Ok(());
        }
        let promised = self.is_promised()?;
        // A record that decayed before anything behind it was written looks like a torn tail; what
        // comes later proves that it is none.
        if !promised && (self.judged.0 == self.scout || !self.stands_before_bytes()?) {
            return Ok(());
        }
        self.judged = (self.scout, promised);
        let storage = Arc::clone(self.reader.source().storage());
        let found = examine(&storage, Depth::Full, &mut ())?;
        if found.verdict.is_damage() {
            return Err(RecoveryError::Refused(Box::new(found.verdict)));
        }
        Ok(())
    }

    /// Whether anything proves that a record must stand where the scout cannot go on.
    fn is_promised(&mut self) -> Result<bool, RecoveryError> {
        if self.claims.durable() > self.scout {
            return Ok(true);
        }
        let (at, asked) = self.still;
        let asked = if at == self.scout { asked.saturating_add(1) } else { 1 };
        self.still = (self.scout, asked);
        if !asked.is_power_of_two() && !asked.is_multiple_of(LOOKS_APART) {
            return Ok(false);
        }
        // Looked at, and not kept: what the verdict is then asked says it again.
        let mut claims = self.claims;
        let source = self.reader.source().view();
        match look_behind(&source, self.scout, PROOF_BYTES, &mut claims) {
            Ok(()) => Ok(claims.durable() > self.scout),
            Err(RecoveryError::Truncated { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn hand_out<B>(
        &mut self,
        visit: &mut impl FnMut(&RecordRef<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, RecoveryError> {
        while let Some(record) = self.reader.next()? {
            if let ControlFlow::Break(value) = visit(&record) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Learns what is durable by now; whether there is more to hand out.
    fn look(&mut self) -> Result<bool, RecoveryError> {
        let storage = Arc::clone(self.reader.source().storage());
        let before = self.readable_end();
        loop {
            let from = self.scout;
            self.read_ahead()?;
            self.grow();
            if self.readable_end() > before {
                return Ok(true);
            }
            if self.scout > from {
                continue;
            }
            let control = ControlView::read(&*storage)?;
            let end = self.reader.source().seen.lock().links.last().map(|link| link.range().end);
            let is_stale = control != self.control || end.is_none_or(|end| end <= self.scout);
            if !is_stale || !self.survey()? {
                return Ok(false);
            }
            self.note_truncation()?;
        }
    }

    /// Passes over what an opening skipped and truncation removed, and fails where records are gone.
    fn note_truncation(&mut self) -> Result<(), RecoveryError> {
        let lsn = self.position();
        let first = self.reader.source().seen.lock().links.first().copied();
        let Some(first) = first.filter(|first| lsn < first.name.base) else { return Ok(()) };
        if first.header.predecessor.is_none_or(|before| before.end > lsn) {
            return Err(RecoveryError::Truncated { lsn, head: first.name.base });
        }
        self.stand_at_head();
        Ok(())
    }

    /// Stands at the head of the log; everything before it was durable.
    fn stand_at_head(&mut self) {
        let head = self.head();
        let watched = Arc::clone(self.reader.source());
        let mut seen = watched.seen.lock();
        seen.end = seen.end.max(head);
        self.scout = self.scout.max(seen.end);
        drop(seen);
        self.reader.seek_to_head();
    }

    /// The scout goes on over what is written, for one stride.
    fn read_ahead(&mut self) -> Result<(), RecoveryError> {
        let source = self.reader.source().view();
        if !self.is_written(&source)? {
            return Ok(());
        }
        let stop = self.scout.checked_add(STRIDE_BYTES).unwrap_or(Lsn::MAX);
        let mut scanner = source.scan(LsnRange::new(self.scout, stop));
        loop {
            match scanner.next() {
                Ok(Step::Record(record)) => {
                    if let Some(durable) = record.durable() {
                        self.claims.add(Evidence::Watermark { record: record.lsn(), durable });
                    }
                }
                Ok(Step::Jump { .. }) => {}
                Ok(Step::Stopped(stop)) => {
                    self.scout = scanner.position();
                    return refuse_newer(&stop);
                }
                // What it read from was truncated; the survey that follows finds what is there.
                Err(RecoveryError::Truncated { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a record, or another segment, stands at the scout: cheaper than a scan to find none.
    fn is_written(&self, source: &LogSource) -> Result<bool, RecoveryError> {
        match source.read_record(self.scout, &mut Vec::new()) {
            Ok(_) => Ok(true),
            Err(RecoveryError::OutOfRange { .. }) => Ok(self.scout < source.range().end),
            Err(RecoveryError::Unreadable { .. } | RecoveryError::Truncated { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether anything but blank space stands where the scout cannot go on.
    fn stands_before_bytes(&self) -> Result<bool, RecoveryError> {
        match self.reader.source().view().read_record(self.scout, &mut Vec::new()) {
            Err(RecoveryError::Unreadable { source: DecodeError::Zeroed, .. }) => Ok(false),
            // Another address is what an earlier use of the file left there; or the right one, with
            // a bit flipped. What else it may be, the records behind it prove.
            Err(RecoveryError::Unreadable { source: DecodeError::WrongLsn { found }, .. }) => {
                Ok((found ^ self.scout.get()).is_power_of_two())
            }
            Err(RecoveryError::Unreadable { .. }) => Ok(true),
            Ok(_) | Err(RecoveryError::OutOfRange { .. } | RecoveryError::Truncated { .. }) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the directory again; whether the chain is another one, or more is proven.
    fn survey(&mut self) -> Result<bool, RecoveryError> {
        let watched = Arc::clone(self.reader.source());
        let survey = Survey::read(&**watched.storage())?;
        if survey.log_id != Some(watched.log_id) || !survey.problems.is_empty() {
            let verdict = examine(watched.storage(), Depth::Full, &mut ())?.verdict;
            if verdict.is_damage() {
                return Err(RecoveryError::Refused(Box::new(verdict)));
            }
        }
        if survey.log_id != Some(watched.log_id) {
            return Err(RecoveryError::Changed { lsn: self.position() });
        }
        let before = self.claims.durable();
        let claims = claims_of(&survey, watched.log_id);
        claims.strongest().into_iter().for_each(|proof| self.claims.add(proof));
        self.control = survey.control;
        let mut seen = watched.seen.lock();
        let is_other = seen.links != survey.links || seen.highest_epoch != survey.highest_epoch;
        if is_other {
            // What the scout read beyond the proven end may stand elsewhere now, or nowhere.
            self.scout = self.scout.min(seen.end);
        }
        seen.links = survey.links;
        seen.highest_epoch = survey.highest_epoch;
        Ok(is_other || self.claims.durable() > before)
    }

    /// Lets be read what the scout has passed and evidence proves durable.
    fn grow(&mut self) {
        let mut seen = self.reader.source().seen.lock();
        seen.end = seen.end.max(self.scout.min(self.claims.durable()));
    }
}

/// Nothing behind a record of a newer kind can be told.
fn refuse_newer(stop: &Stop) -> Result<(), RecoveryError> {
    let StopReason::UnknownKind(kind) = stop.why else { return Ok(()) };
    let name = stop.segment.map(|segment| segment.to_string()).unwrap_or_default();
    let verdict = Verdict::UnsupportedVersion { name, found: u32::from(kind.get()) };
    Err(RecoveryError::Refused(Box::new(verdict)))
}
