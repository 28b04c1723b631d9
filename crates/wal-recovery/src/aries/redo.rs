//! Redo: the second pass, which repeats history on the pages that may lack some of it.
//!
//! ```text
//!   in the dirty-page table?  ──no──►  not applied: it is in storage, or the page was freed
//!   LSN at least recLSN?      ──no──►  not applied: it was in storage when the page became dirty
//!   page LSN older?           ──no──►  not applied; recLSN rises past the page LSN
//!   apply, and set the page LSN: winners, losers and compensations alike; nothing is logged
//! ```
//!
//! Changes come in the order of the log, so once a page was read, its recLSN alone decides and the
//! page is not asked again. An [`Applier`] is given all changes, or those of some pages only: what
//! it does to a page depends on nothing but the page and its own changes. This is what makes
//! redo by several threads end in the same bytes.
//!
//! Source: ARIES, "Redo pass"; statements 20 to 25 and 32.

use std::num::NonZeroU32;

use wal_format::layout::{RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES};
use wal_format::{Lsn, LsnRange, PageId, RecordRef, decode_header_at};

use super::change::{Action, Change};
use super::engine_call::call_engine;
use super::page_map::{PageMap, part_of};
use super::pages::{LogicalRedo, PageState, PageStore};
use super::tables::Tables;
use super::walk::next_run;
use crate::error::RecoveryError;
use crate::progress::{Pace, Phase, Progress};
use crate::report::RedoReport;
use crate::scan::Run;
use crate::source::LogSource;

/// What is known of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It was not looked at.
    Unread,
    /// It was read; nothing was applied to it.
    Read,
    /// Changes were applied to it.
    Changed,
    /// Its bytes are not whole.
    Torn,
    /// It cannot be reached.
    Offline,
}

/// A page of the dirty-page table.
#[derive(Clone, Copy, Debug)]
struct Owed {
    /// Its recLSN. An image counts from here, whatever the page LSN says.
    rec_lsn: Lsn,
    /// Any other change counts from here: recLSN, risen past the page LSN.
    from: Lsn,
    /// The last change met so far: what the page holds when redo is through.
    last: Lsn,
    standing: Standing,
}

/// Applies changes to the pages of a dirty-page table.
#[derive(Debug)]
pub(super) struct Applier {
    /// Where in `owed` a page stands. A change is looked up once, when the engine hears of it.
    slots: PageMap<usize>,
    owed: Vec<(PageId, Owed)>,
    /// The end of the log: no page can name a change at or behind it.
    end: Lsn,
    pub(super) report: RedoReport,
}

impl Owed {
    const fn since(rec_lsn: Lsn) -> Self {
        Self { rec_lsn, from: rec_lsn, last: rec_lsn, standing: Standing::Unread }
    }
}

/// Changes of which an engine hears before the first of them is made: as many fetches as a
/// processor can have under way.
const ANNOUNCED: usize = 16;

/// Where a change stands in a run, and what it changes. The most frequent kind can be made from
/// this alone; the others are decoded again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    at: u32,
    offset: u32,
    bytes: u32,
    /// Where in the run the bytes stand which are put in place.
    put_from: Option<NonZeroU32>,
    page: PageId,
}

impl Place {
    /// The change in `record`, `at` bytes into its run.
    #[inline]
    pub(super) fn new(
        at: usize,
        record: &RecordRef<'_>,
        change: &Change<'_>,
    ) -> Result<Self, RecoveryError> {
        let end = at + record.header.unpadded_bytes();
        let changed = |_| RecoveryError::Changed { lsn: record.lsn() };
        let (offset, bytes, put) = match change.action {
            Action::Put { offset, bytes } => {
                debug_assert!(record.body.ends_with(bytes), "the new bytes are the body's last");
                (offset, bytes.len(), true)
            }
            Action::Image(image) => (0, image.len(), false),
            Action::Logical { .. } | Action::Free => (0, 0, false),
        };
        let bytes_at = u32::try_from(end.saturating_sub(bytes)).map_err(changed)?;
        Ok(Self {
            at: u32::try_from(at).map_err(changed)?,
            offset,
            bytes: u32::try_from(bytes).map_err(changed)?,
            put_from: NonZeroU32::new(bytes_at).filter(|_| put),
            page: change.page,
        })
    }

    const fn at(self) -> usize {
        self.at as usize
    }

    /// The change, without decoding its record again.
    fn put<'a>(&self, held: &'a [u8]) -> Option<Change<'a>> {
        let from = self.put_from?.get() as usize;
        let bytes = held.get(from..from + self.bytes as usize)?;
        Some(Change { page: self.page, action: Action::Put { offset: self.offset, bytes } })
    }
}

/// What redo leaves to others: pages that it could not bring up to date, and what it learnt of all.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// Pages that were torn, and for which no image followed; with their recLSN.
    pub(super) torn: Vec<(PageId, Lsn)>,
    /// Pages that were offline.
    pub(super) offline: Vec<PageId>,
    /// The last change of each page that has others than its recLSN.
    pub(super) last: Vec<(PageId, Lsn)>,
}

/// Does again, on this thread, what may be missing in the pages of `tables`.
pub(super) fn redo<E: PageStore + ?Sized>(
    source: &LogSource,
    tables: &Tables,
    end: Lsn,
    engine: &mut E,
    progress: &mut dyn Progress,
) -> Result<(RedoReport, Unfinished), RecoveryError> {
    let Some(range) = redo_range(tables, end) else {
        return Ok((RedoReport::default(), Unfinished::default()));
    };
    let mut applier = Applier::new(tables, end, |_| true);
    let mut scanner = source.scan(range);
    let mut pace = Pace::start(Phase::Replay, range, progress);
    let (mut records, mut bytes) = (0, 0);
    let (mut held, mut places) = (Vec::new(), Vec::new());
    // A run is proven whole before its changes are applied: each loop stays in its own memory, and
    // the pages of one change can be fetched while another is applied.
    while let Some(run) = next_run(&mut scanner, end, &mut held)? {
        places.clear();
        records += run.prove(&held, |place, record| {
            if let Some(change) = Change::of(record)? {
                places.push(Place::new(place, record, &change)?);
            }
            Ok(())
        })?;
        applier.take_run(engine, &run, &places, &held).map_err(|(_, error)| error)?;
        bytes += held.len() as u64;
        pace.reach(scanner.position(), progress);
    }
    pace.finish(range.end, progress);
    let unfinished = applier.finish(engine)?;
    Ok((RedoReport { range, records, bytes, threads: 1, ..applier.report }, unfinished))
}

/// From the oldest change that may be missing to the end of the log (statement 19): the first may
/// lie before the checkpoint.
pub(super) fn redo_range(tables: &Tables, end: Lsn) -> Option<LsnRange> {
    tables.dirty.oldest().map(|start| LsnRange::new(start, end))
}

impl Applier {
    /// For those pages of the dirty-page table which `mine` chooses; `end` is the end of the log.
    pub(super) fn new(tables: &Tables, end: Lsn, mine: impl Fn(PageId) -> bool) -> Self {
        let pages = tables.dirty.iter().filter(|dirty| mine(dirty.page));
        Self::of(pages.map(|dirty| (dirty.page, Owed::since(dirty.rec_lsn))).collect(), end)
    }

    /// For one page alone.
    pub(super) fn of_page(page: PageId, rec_lsn: Lsn, end: Lsn) -> Self {
        Self::of(vec![(page, Owed::since(rec_lsn))], end)
    }

    fn of(owed: Vec<(PageId, Owed)>, end: Lsn) -> Self {
        let slots = owed.iter().enumerate().map(|(slot, (page, _))| (*page, slot)).collect();
        Self { slots, owed, end, report: RedoReport::default() }
    }

    /// Whether a change of `page` belongs to the `index`-th of `parts`.
    pub(super) fn is_of_part(page: PageId, index: usize, parts: usize) -> bool {
        part_of(page, parts) == index
    }

    /// Takes the next change of the log, at `lsn`.
    #[inline]
    pub(super) fn take<E: PageStore + ?Sized>(
        &mut self,
        engine: &mut E,
        lsn: Lsn,
        change: &Change<'_>,
    ) -> Result<(), RecoveryError> {
        let slot = self.slots.get(&change.page).copied();
        self.take_at(engine, slot, lsn, change)
    }

    /// Takes a change whose page stands at `slot` of the table; `None`: nowhere.
    #[inline]
    fn take_at<E: PageStore + ?Sized>(
        &mut self,
        engine: &mut E,
        slot: Option<usize>,
        lsn: Lsn,
        change: &Change<'_>,
    ) -> Result<(), RecoveryError> {
        // Statement 21, in its order: the table, the recLSN, and only then the page.
        let Some((_, owed)) = slot.and_then(|slot| self.owed.get_mut(slot)) else {
            self.report.skipped_clean += 1;
            return Ok(());
        };
        if lsn < owed.rec_lsn {
            self.report.skipped_before += 1;
            return Ok(());
        }
        if owed.standing == Standing::Unread {
            look(engine, change.page, owed, lsn, self.end)?;
        }
        if !matches!(change.action, Action::Free) {
            owed.last = lsn;
        }
        let restores = matches!(change.action, Action::Image(_));
        match owed.standing {
            Standing::Offline => self.report.put_off += 1,
            // What is owed to a torn page waits for an image (statement 25).
            Standing::Torn if !restores => {}
            _ if !restores && lsn < owed.from => self.report.skipped_newer += 1,
            _ => apply(engine, lsn, change, owed, &mut self.report)?,
        }
        Ok(())
    }

    /// Takes the changes at `places` of a run whose records are proven, and whose bytes are `held`.
    /// A failure comes with the address of its record.
    ///
    /// The engine hears of some changes before the first of them is made, so that it can fetch
    /// their pages all at once.
    pub(super) fn take_run<E: PageStore + ?Sized>(
        &mut self,
        engine: &mut E,
        run: &Run,
        places: &[Place],
        held: &[u8],
    ) -> Result<(), (Lsn, RecoveryError)> {
        let mut slots = [None; ANNOUNCED];
        for some in places.chunks(ANNOUNCED) {
            self.announce(engine, run, some, &mut slots)?;
            for (place, slot) in some.iter().zip(slots) {
                let lsn = run.address_of(place.at());
                let taken = match place.put(held) {
                    Some(change) => self.take_at(engine, slot, lsn, &change),
                    None => self.take_proven(engine, slot, lsn, held.get(place.at()..)),
                };
                taken.map_err(|error| (lsn, error))?;
            }
        }
        Ok(())
    }

    /// Looks up the pages of `places`, and tells the engine of those changes which it may have to
    /// make.
    fn announce<E: PageStore + ?Sized>(
        &self,
        engine: &mut E,
        run: &Run,
        places: &[Place],
        slots: &mut [Option<usize>; ANNOUNCED],
    ) -> Result<(), (Lsn, RecoveryError)> {
        let first = run.address_of(places.first().map_or(0, |place| place.at()));
        let told = call_engine(first, || {
            for (place, slot) in places.iter().zip(slots) {
                *slot = self.slots.get(&place.page).copied();
                let owed = slot.and_then(|slot| self.owed.get(slot));
                let lsn = run.address_of(place.at());
                let wanted = |owed: &Owed| lsn >= owed.from && owed.standing != Standing::Offline;
                if owed.is_some_and(|(_, owed)| wanted(owed)) {
                    engine.expect_change(place.page, place.offset, place.bytes as usize);
                }
            }
            Ok(())
        });
        told.map_err(|error| (first, error))
    }

    /// Takes the change in a record which is proven, and with which `record` begins.
    fn take_proven<E: PageStore + ?Sized>(
        &mut self,
        engine: &mut E,
        slot: Option<usize>,
        lsn: Lsn,
        record: Option<&[u8]>,
    ) -> Result<(), RecoveryError> {
        let changed = RecoveryError::Changed { lsn };
        let record = record.unwrap_or_default();
        // The header tells where the body lies.
        let Ok(header) = decode_header_at(record, lsn) else { return Err(changed) };
        let body_at = RECORD_HEADER_BYTES + header.extension_bytes();
        let Some(body) = record.get(body_at..header.unpadded_bytes()) else { return Err(changed) };
        let change = Change::decode(header.kind, body)
            .map_err(|source| RecoveryError::BadBody { lsn, kind: header.kind, source })?;
        match change {
            Some(change) => self.take_at(engine, slot, lsn, &change),
            None => Ok(()),
        }
    }

    /// Every change was taken. Pages that none of them concerned are looked at too: they stay in
    /// the table, so that somebody must write them.
    pub(super) fn finish<E: PageStore + ?Sized>(
        &mut self,
        engine: &mut E,
    ) -> Result<Unfinished, RecoveryError> {
        let mut unfinished = Unfinished::default();
        for (page, owed) in &mut self.owed {
            if owed.standing == Standing::Unread {
                look(engine, *page, owed, self.end, self.end)?;
            }
            if owed.last > owed.rec_lsn {
                unfinished.last.push((*page, owed.last));
            }
            match owed.standing {
                Standing::Torn => unfinished.torn.push((*page, owed.rec_lsn)),
                Standing::Offline => unfinished.offline.push(*page),
                _ => {}
            }
        }
        unfinished.torn.sort_unstable();
        unfinished.offline.sort_unstable();
        Ok(unfinished)
    }
}

/// Reads what the page says of itself, before the change at `lsn` is held against it.
fn look<E: PageStore + ?Sized>(
    engine: &mut E,
    page: PageId,
    owed: &mut Owed,
    lsn: Lsn,
    end: Lsn,
) -> Result<(), RecoveryError> {
    owed.standing = match call_engine(lsn, || engine.page_state(page))? {
        PageState::Torn => Standing::Torn,
        PageState::Offline => Standing::Offline,
        PageState::At(page_lsn) => {
            if page_lsn >= end {
                // Statement 2: no record of this log can have been applied to it.
                return Err(RecoveryError::PageLsnBeyondEnd { page, page_lsn, end });
            }
            if page_lsn >= lsn {
                // Statement 22: what the page holds need not be held against it again. Yet it may
                // hold it in a cache only, so the engine is to write it before it counts (rule 1).
                owed.from = owed.from.max(past(page_lsn));
            }
            if page_lsn >= lsn || lsn >= end {
                call_engine(lsn, || engine.mark_dirty(page))?;
            }
            Standing::Read
        }
    };
    Ok(())
}

/// The lowest address behind `lsn` at which a record can stand.
fn past(lsn: Lsn) -> Lsn {
    lsn.checked_add(RECORD_ALIGN_BYTES as u64).unwrap_or(Lsn::MAX)
}

/// Puts the change in place.
fn apply<E: PageStore + ?Sized>(
    engine: &mut E,
    lsn: Lsn,
    change: &Change<'_>,
    owed: &mut Owed,
    report: &mut RedoReport,
) -> Result<(), RecoveryError> {
    let page = change.page;
    match change.action {
        Action::Put { offset, bytes } => {
            call_engine(lsn, || engine.write(page, offset, bytes, lsn))?;
        }
        Action::Logical { operation, redo } => {
            let redo = LogicalRedo { page, operation, redo };
            call_engine(lsn, || engine.redo_logical(&redo, lsn))?;
        }
        Action::Image(image) => {
            call_engine(lsn, || engine.write_image(page, image, lsn))?;
            report.images += 1;
            report.torn_rebuilt += u64::from(owed.standing == Standing::Torn);
            // The page is as it was then: everything behind the image is owed again.
            owed.from = past(lsn);
        }
        // Analysis took a freed page out of the table; a recLSN behind the end of its former life
        // is why this is not met (statement 24).
        Action::Free => return Ok(()),
    }
    report.applied += 1;
    if owed.standing != Standing::Changed {
        owed.standing = Standing::Changed;
        // Once for every page: an engine that forgets the LSN would be given everything twice.
        check_lsn(engine, page, lsn)?;
    }
    Ok(())
}

/// Whether the page holds the change at `lsn`, by its own word.
pub(super) fn check_lsn<E: PageStore + ?Sized>(
    engine: &mut E,
    page: PageId,
    lsn: Lsn,
) -> Result<(), RecoveryError> {
    match call_engine(lsn, || engine.page_state(page))? {
        PageState::At(found) if found == lsn => Ok(()),
        PageState::At(found) => Err(RecoveryError::PageLsnNotSet { page, lsn, found }),
        PageState::Torn => Err(RecoveryError::TornPage { page, lsn }),
        PageState::Offline => Err(RecoveryError::PageOffline { page }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::body::{Clr, Compensation, Logical, PageFree, PageImage, Update};
    use wal_format::{
        Epoch, LogId, RecordDraft, RecordKind, RecordSeed, TxnId, TxnLink, decode_record,
    };

    const PAGE: PageId = PageId::new(7);

    /// Whether what a place says of a record, `at` bytes into a run, is what the record says.
    fn agrees(kind: RecordKind, parts: &[&[u8]], in_txn: bool, at: usize) -> bool {
        let seed = RecordSeed::new(LogId::from_bytes([7; 16]), Epoch::FIRST);
        let link = TxnLink { txn_id: TxnId::new(3), prev_lsn: Lsn::NONE };
        let draft = RecordDraft::new(kind, parts);
        let draft = if in_txn { draft.in_txn(link) } else { draft };
        let mut held = vec![0xee; at + draft.encoded_bytes()];
        draft.encode_into(&seed, Lsn::FIRST, None, &mut held[at..]).unwrap();
        let record = decode_record(&held[at..], Lsn::FIRST, &seed).unwrap();
        let change = Change::of(&record).unwrap().expect("a change");
        let place = Place::new(at, &record, &change).unwrap();
        match (place.put(&held), change.action) {
            (Some(put), Action::Put { .. }) => put == change,
            (None, Action::Put { .. }) | (Some(_), _) => false,
            (None, _) => true,
        }
    }

    #[test]
    fn a20_the_bytes_that_a_place_puts_are_those_of_its_record() {
        let bytes: Vec<u8> = (0..40).collect();
        for (before, after) in (0..20).flat_map(|before| (0..20).map(move |after| (before, after)))
        {
            let (before, after) = (&bytes[..before], &bytes[20..20 + after]);
            let update = Update { page: PAGE, offset: 5, before, after };
            let action = Compensation::Bytes { page: PAGE, offset: 5, image: after };
            let clr = Clr { undo_next: Lsn::NONE, compensated: Lsn::FIRST, action };
            for (in_txn, at) in [(false, 0), (true, 0), (false, 8), (true, 4096)] {
                let parts = update.parts(&update.encode_head()).map(<[u8]>::to_vec);
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                assert!(agrees(RecordKind::UPDATE, &parts, in_txn, at), "{update:?} at {at}");
                let parts = clr.parts(&clr.encode_head()).map(<[u8]>::to_vec);
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                assert!(agrees(RecordKind::CLR, &parts, in_txn, at), "{clr:?} at {at}");
            }
        }
    }

    #[test]
    fn a20_other_changes_are_decoded_again() {
        let logical = Logical { page: PAGE, operation: 1, redo: b"add", undo: b"take" };
        let [head, redo, undo] = [&logical.encode_head()[..], b"add", b"take"];
        assert!(agrees(RecordKind::LOGICAL, &[head, redo, undo], true, 8));
        let image = PageImage { page: PAGE, image: b"whole" };
        assert!(agrees(
            RecordKind::PAGE_IMAGE,
            &[&image.encode_head().unwrap(), b"whole"],
            false,
            8
        ));
        assert!(agrees(RecordKind::PAGE_FREE, &[&PageFree { page: PAGE }.encode()], true, 8));
    }

    #[test]
    fn a_run_that_is_shorter_than_a_place_says_puts_nothing() {
        let place =
            Place { at: 0, offset: 0, bytes: 8, put_from: NonZeroU32::new(u32::MAX), page: PAGE };
        assert_eq!(place.put(&[0; 64]), None);
    }
}
