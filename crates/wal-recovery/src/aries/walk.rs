//! The records of a range, one after the other, or in runs which the taker proves; a gap is an
//! error.

use wal_format::{Lsn, LsnRange, RecordRef};

use crate::error::RecoveryError;
use crate::progress::{Pace, Phase, Progress};
use crate::scan::{Cut, Run, Scanner, Step, StopReason};
use crate::source::LogSource;

/// Hands every record of `range` to `visit`, in order.
///
/// # Errors
///
/// - [`RecoveryError::Changed`]: the range is not whole, although it was when it was examined.
/// - [`RecoveryError::LostRecords`]: a salvage left a gap in it.
/// - That of `visit`, or of reading.
pub(super) fn each_record<F>(
    source: &LogSource,
    range: LsnRange,
    phase: Phase,
    progress: &mut dyn Progress,
    mut visit: F,
) -> Result<(), RecoveryError>
where
    F: FnMut(&RecordRef<'_>) -> Result<(), RecoveryError>,
{
    let mut scanner = source.scan_on(range, source.scan_threads());
    let mut pace = Pace::start(phase, range, progress);
    loop {
        // By reference: a step that is moved on is copied, record by record.
        match &scanner.next()? {
            Step::Record(record) => {
                // A record that crosses the end of what is proven is not part of the log.
                if record.end() > range.end {
                    return Err(RecoveryError::Changed { lsn: record.lsn() });
                }
                visit(record)?;
                pace.reach(record.end(), progress);
            }
            Step::Jump { from, to, after_loss: true } => {
                return Err(RecoveryError::LostRecords { from: *from, to: *to });
            }
            Step::Jump { .. } => {}
            Step::Stopped(stop) => {
                let ended = matches!(stop.why, StopReason::RangeEnd | StopReason::EndOfChain);
                // Statement 34: what lies behind a gap is never replayed. The log was whole up to
                // its end when it was examined, so a gap before that is a change.
                if !ended || stop.at < range.end {
                    return Err(RecoveryError::Changed { lsn: stop.at });
                }
                break;
            }
        }
    }
    pace.finish(range.end, progress);
    Ok(())
}

/// Bytes of log in one run: few enough to stay in a processor's cache until they are applied.
const RUN_BYTES: usize = 256 << 10;

/// Brings the next run of records into `bytes`; `None` at `end`, where the range ends.
///
/// # Errors
///
/// As [`each_record`].
pub(super) fn next_run(
    scanner: &mut Scanner,
    end: Lsn,
    bytes: &mut Vec<u8>,
) -> Result<Option<Run>, RecoveryError> {
    loop {
        match scanner.cut(RUN_BYTES, usize::MAX, bytes)? {
            Cut::Run(run) if scanner.position() > end => {
                return Err(RecoveryError::Changed { lsn: run.start });
            }
            Cut::Run(run) => return Ok(Some(run)),
            Cut::Jump { from, to, after_loss: true } => {
                return Err(RecoveryError::LostRecords { from, to });
            }
            Cut::Jump { .. } | Cut::Long => {}
            Cut::Stopped(stop) => {
                let ended = matches!(stop.why, StopReason::RangeEnd | StopReason::EndOfChain);
                // Statement 34, as above.
                if !ended || stop.at < end {
                    return Err(RecoveryError::Changed { lsn: stop.at });
                }
                return Ok(None);
            }
        }
    }
}
