//! Everything provable in a chain, whatever is damaged in between.
//!
//! Where the scanner stops, this walk goes on: behind a place that cannot be read it looks for
//! the next true header, which carries exactly its own address, and says what lies between. It
//! ends where an ordinary opening would end too: at the first unreadable place that no evidence
//! shows to have been durable. It never follows what lies off the chain (rule 2).

use wal_format::body::Opened;
use wal_format::{Lsn, LsnRange, RecordKind, RecordRef, SegmentFlags};
use wal_io::{ChainLink, Survey};

use super::loss::{LossReason, LostRange};
use crate::error::RecoveryError;
use crate::resync::{decode_at, next_record};
use crate::source::LogSource;
use crate::window::Window;

/// What a walk meets next, in the order of addresses.
#[derive(Debug)]
pub(super) enum Met<'a> {
    /// The next segment; `created_unix_us` is from its header.
    Segment { created_unix_us: u64 },
    /// A valid record.
    Record(RecordRef<'a>),
    /// The log goes on further up, and nothing is missing.
    Jump,
    /// The log goes on behind what is lost.
    Lost(LostRange),
}

/// The chain of `survey`, with ends that a damaged header could not tell.
///
/// Where an opening's segment has lost its header, its first record still says where the log
/// ended before it; what the segment before holds beyond that was dropped then, and stays so.
pub(super) fn repair_caps(survey: &Survey, source: &LogSource) -> Result<LogSource, RecoveryError> {
    let mut links = survey.links.clone();
    for index in 1..links.len() {
        let Some(link) = links.get(index).copied() else { break };
        // What a damaged header is replaced by names no predecessor; only the first may not.
        if link.header.predecessor.is_some() {
            continue;
        }
        if let Some(opened) = first_opened(source, &link)?
            && let Some(before) = index.checked_sub(1).and_then(|index| links.get_mut(index))
        {
            before.cap = before.cap.min(opened.previous_end).max(before.name.base);
        }
    }
    let storage = std::sync::Arc::clone(source.storage());
    let epoch = source.highest_epoch();
    Ok(LogSource::new(storage, links, source.log_id()).with_highest_epoch(epoch))
}

fn first_opened(source: &LogSource, link: &ChainLink) -> Result<Option<Opened>, RecoveryError> {
    let mut window = Window::open(&**source.storage(), link)?;
    let opened = decode_at(source, &mut window, link.name.base, |record| {
        (record.kind() == RecordKind::OPENED).then(|| Opened::decode(record.body).ok()).flatten()
    })?;
    Ok(opened.ok().flatten())
}

/// Walks all of `source`; `durable` is the end of what evidence proves, `head` where the log
/// begins as far as anything tells.
pub(super) fn walk(
    source: &LogSource,
    head: Lsn,
    durable: Lsn,
    visit: &mut dyn FnMut(Met<'_>) -> Result<(), RecoveryError>,
) -> Result<(), RecoveryError> {
    let mut walk = Walk { source, durable, at: head, visit };
    let mut before: Option<&ChainLink> = None;
    for link in source.links() {
        walk.enter(before, link)?;
        if walk.segment(link)? {
            return Ok(());
        }
        before = Some(link);
    }
    // The newest segment is not there, and something says that it held what was durable.
    walk.lose(durable, None, LossReason::MissingSegment)
}

struct Walk<'s, 'v> {
    source: &'s LogSource,
    durable: Lsn,
    /// Everything before was met, or is told as lost.
    at: Lsn,
    visit: &'v mut dyn FnMut(Met<'_>) -> Result<(), RecoveryError>,
}

impl Walk<'_, '_> {
    /// Comes from the end of the segment before to the base of the next one.
    fn enter(&mut self, before: Option<&ChainLink>, link: &ChainLink) -> Result<(), RecoveryError> {
        let (base, header) = (link.name.base, link.header);
        let named = header.predecessor;
        let declared_loss = header.flags.contains(SegmentFlags::AFTER_LOSS);
        let follows = match (before, named) {
            (Some(before), Some(named)) => {
                (named.base, named.epoch) == (before.name.base, before.name.epoch)
            }
            // Its header is damaged: only an opening as its first record explains a jump.
            (Some(_), None) => first_opened(self.source, link)?
                .is_some_and(|opened| opened.previous_end <= self.at),
            (None, _) => false,
        };
        if declared_loss {
            self.lose(base, None, LossReason::LostBefore)?;
        } else if follows {
            if base > self.at {
                (self.visit)(Met::Jump)?;
            }
        } else {
            self.lose(base, None, LossReason::MissingSegment)?;
        }
        self.at = self.at.max(base);
        (self.visit)(Met::Segment { created_unix_us: header.created_unix_us })
    }

    /// Meets what a segment holds; says whether the log ends in it.
    fn segment(&mut self, link: &ChainLink) -> Result<bool, RecoveryError> {
        let mut window = Window::open(&**self.source.storage(), link)?;
        let end = link.range().end;
        while self.at < end {
            let (at, visit) = (self.at, &mut *self.visit);
            let found = decode_at(self.source, &mut window, at, |record| {
                (visit(Met::Record(*record)), record.end())
            })?;
            match found {
                Ok((visited, record_end)) => {
                    visited?;
                    self.at = record_end;
                }
                // Nobody was promised what stands here: the log ends as at any opening.
                Err(_) if at >= self.durable => return Ok(true),
                Err(why) => {
                    let next = next_record(self.source, &mut window, at)?;
                    let is_last = self.source.links().last() == Some(link);
                    let lost_to = next.unwrap_or(if is_last { end.min(self.durable) } else { end });
                    let place = Some((link.name, link.offset_of(at)));
                    self.lose(lost_to, place, LossReason::Damaged(why))?;
                    if next.is_none() && is_last {
                        return Ok(self.at >= self.durable);
                    }
                }
            }
        }
        Ok(false)
    }

    fn lose(
        &mut self,
        to: Lsn,
        place: Option<(wal_io::SegmentName, u64)>,
        why: LossReason,
    ) -> Result<(), RecoveryError> {
        if to <= self.at {
            return Ok(());
        }
        let range = LsnRange::new(self.at, to);
        self.at = to;
        (self.visit)(Met::Lost(LostRange { range, place, why }))
    }
}
