//! Rebuilding torn pages from the log alone.
//!
//! A torn page for which no image followed its recLSN is rebuilt from further back: from the
//! newest image of it that the log retains, or, if its life began within the retained log, from
//! nothing. All its changes since are applied; no page LSN is asked, for a torn page has none.
//!
//! Two passes over the log for all torn pages together; only restarts that met some pay for it.
//!
//! Source: ARIES, "Media recovery"; statement 25.

use wal_format::{Lsn, PageId, RecordRef};

use super::change::{Action, Change};
use super::engine_call::call_engine;
use super::page_map::PageMap;
use super::pages::{LogicalRedo, PageStore};
use super::redo::check_lsn;
use crate::error::RecoveryError;

/// Hands the records of the log from an address on to a visitor, in order.
pub(super) type Scan<'s> = dyn FnMut(
        Lsn,
        &mut dyn FnMut(&RecordRef<'_>) -> Result<(), RecoveryError>,
    ) -> Result<(), RecoveryError>
    + 's;

/// Where a page can be rebuilt from.
#[derive(Clone, Copy, Debug)]
struct Base {
    /// The image; or the first change of a life that began with nothing.
    lsn: Lsn,
    /// What was applied last.
    applied: Lsn,
}

/// Rebuilds `torn`, pages and their recLSN, from the log which `scan` hands out from `head` on.
///
/// # Errors
///
/// [`RecoveryError::TornPage`]: the log does not reach back far enough for one of them.
pub(super) fn rebuild<E: PageStore + ?Sized>(
    head: Lsn,
    torn: &[(PageId, Lsn)],
    engine: &mut E,
    scan: &mut Scan<'_>,
) -> Result<(), RecoveryError> {
    let mut bases = find_bases(head, torn, scan)?;
    for (page, lsn) in torn {
        if !bases.contains_key(page) {
            return Err(RecoveryError::TornPage { page: *page, lsn: *lsn });
        }
    }
    let Some(from) = bases.values().map(|base| base.lsn).min() else { return Ok(()) };
    scan(from, &mut |record| {
        let Some(change) = Change::of(record)? else { return Ok(()) };
        match bases.get_mut(&change.page) {
            Some(base) if base.lsn <= record.lsn() => reapply(engine, record.lsn(), &change, base),
            _ => Ok(()),
        }
    })?;
    for (page, base) in &bases {
        check_lsn(engine, *page, base.applied)?;
    }
    Ok(())
}

/// The newest place of each page from which it can be rebuilt.
fn find_bases(
    head: Lsn,
    torn: &[(PageId, Lsn)],
    scan: &mut Scan<'_>,
) -> Result<PageMap<Base>, RecoveryError> {
    // Whether the next change of the page is the first of a life.
    let mut begins: PageMap<bool> =
        torn.iter().map(|(page, _)| (*page, head <= Lsn::FIRST)).collect();
    let mut bases = PageMap::default();
    scan(head, &mut |record| {
        let Some(change) = Change::of(record)? else { return Ok(()) };
        let Some(begins) = begins.get_mut(&change.page) else { return Ok(()) };
        match change.action {
            Action::Free => {
                *begins = true;
                bases.remove(&change.page);
            }
            Action::Image(_) => {
                *begins = false;
                bases.insert(change.page, Base { lsn: record.lsn(), applied: Lsn::NONE });
            }
            _ if *begins => {
                *begins = false;
                bases.insert(change.page, Base { lsn: record.lsn(), applied: Lsn::NONE });
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(bases)
}

fn reapply<E: PageStore + ?Sized>(
    engine: &mut E,
    lsn: Lsn,
    change: &Change<'_>,
    base: &mut Base,
) -> Result<(), RecoveryError> {
    let page = change.page;
    if base.lsn == lsn && !matches!(change.action, Action::Image(_)) {
        call_engine(lsn, || engine.write_image(page, &[], Lsn::NONE))?;
    }
    match change.action {
        Action::Put { offset, bytes } => {
            call_engine(lsn, || engine.write(page, offset, bytes, lsn))?;
        }
        Action::Logical { operation, redo } => {
            let redo = LogicalRedo { page, operation, redo };
            call_engine(lsn, || engine.redo_logical(&redo, lsn))?;
        }
        Action::Image(image) => call_engine(lsn, || engine.write_image(page, image, lsn))?,
        Action::Free => return Ok(()),
    }
    base.applied = lsn;
    Ok(())
}
