//! The part of a log that a command looks at: by address, and by time.

use std::ops::ControlFlow;

use clap::Args;
use wal::{LogView, Lsn, LsnRange, RecordRef};

use super::body;
use crate::exit::Failure;
use crate::lsn_arg;

/// From where to where, the same flags for every command that reads records.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct RangeArgs {
    /// Start at the first record at or after this LSN; decimal, or hexadecimal with `0x`.
    #[arg(long, value_parser = lsn_arg::lsn, value_name = "LSN")]
    pub(crate) from: Option<Lsn>,
    /// Stop before this LSN.
    #[arg(long, value_parser = lsn_arg::lsn, value_name = "LSN")]
    pub(crate) to: Option<Lsn>,
}

impl RangeArgs {
    /// The addresses asked for. The first need not be the start of a record.
    pub(crate) fn range(&self) -> Result<LsnRange, Failure> {
        let (start, end) = (self.from.unwrap_or(Lsn::NONE), self.to.unwrap_or(Lsn::MAX));
        if end < start {
            return Err(Failure::Input(format!("`--to {end}` lies before `--from {start}`")));
        }
        Ok(LsnRange::new(start, end))
    }

    /// Whether all of the log was asked for.
    pub(crate) const fn is_all(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// Hands the records that start in `range` to `visit`. Reads from the start of the segment that
/// holds the first of them: a range may start within a record.
pub(crate) fn for_each_in<B>(
    view: &LogView,
    range: LsnRange,
    mut visit: impl FnMut(&RecordRef<'_>) -> ControlFlow<B>,
) -> Result<Option<B>, Failure> {
    let links = &view.survey().links;
    let before = links.iter().rev().find(|link| link.name.base <= range.start);
    let start = before.map_or_else(|| view.head(), |link| link.name.base);
    let whole = LsnRange::new(start, range.end);
    Ok(view.for_each(whole, |record| {
        if record.lsn() < range.start { ControlFlow::Continue(()) } else { visit(record) }
    })?)
}

/// What of `range` may have been written from `since` on and before `until`, both in microseconds
/// since 1970, as far as the log tells times: openings, checkpoints and time records do. Errs on the
/// side of showing more.
pub(crate) fn narrowed(
    view: &LogView,
    range: LsnRange,
    since: Option<u64>,
    until: Option<u64>,
) -> Result<LsnRange, Failure> {
    let mut narrow = range;
    if since.is_none() && until.is_none() {
        return Ok(range);
    }
    let stopped = for_each_in(view, range, |record| {
        let Some(written) = body::written_us(record) else { return ControlFlow::Continue(()) };
        if since.is_some_and(|since| written < since) {
            narrow.start = record.lsn();
        }
        match until {
            Some(until) if written >= until => ControlFlow::Break(record.lsn()),
            _ => ControlFlow::Continue(()),
        }
    })?;
    narrow.end = stopped.unwrap_or(narrow.end);
    Ok(LsnRange::new(narrow.start, narrow.end.max(narrow.start)))
}
