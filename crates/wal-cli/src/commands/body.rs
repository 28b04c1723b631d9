//! What the body of a record says: as a few words for a person, and as fields for a program.

use serde_json::{Value, json};
use wal::{Body, Compensation, Lsn, Outcome, PageId, RecordFlags, RecordKind, RecordRef};

use super::output::hex;
use crate::time_arg;

/// Bytes of a body shown in a line of text.
const SHOWN_BYTES: usize = 48;

/// The fields of a body of the format's own kinds; `None` for the engine's, for compressed ones and
/// for bodies that are none of their kind.
pub(crate) fn fields(record: &RecordRef<'_>) -> Option<Value> {
    Some(match decoded(record)? {
        Body::Padding(padding) => json!({ "bytes": padding.bytes }),
        Body::Watermark(_) | Body::Abort(_) => json!({}),
        Body::Opened(it) => json!({
            "epoch": it.epoch.get(), "previous_end": it.previous_end.get(),
            "opened_unix_us": it.opened_unix_us,
        }),
        Body::Begin(it) => json!({ "isolation": it.isolation }),
        Body::Update(it) => json!({
            "page": it.page.get(), "offset": it.offset,
            "before_hex": hex(it.before), "after_hex": hex(it.after),
        }),
        Body::Logical(it) => json!({
            "page": page(it.page), "operation": it.operation,
            "redo_hex": hex(it.redo), "undo_hex": hex(it.undo),
        }),
        Body::Clr(it) => json!({
            "undo_next": it.undo_next.get(), "compensated": it.compensated.get(),
            "action": action_name(&it.action),
        }),
        Body::Commit(it) => json!({ "timestamp": it.timestamp }),
        Body::Prepare(it) => json!({
            "rollback_bytes": it.rollback_bytes, "global_id_hex": hex(it.global_id),
            "locks_hex": hex(it.locks),
        }),
        Body::End(it) => json!({ "outcome": outcome_name(it.outcome) }),
        Body::CheckpointBegin(it) => json!({ "begun_unix_us": it.begun_unix_us }),
        Body::CheckpointPart(it) => json!({
            "begin": it.begin.get(), "index": it.index,
            "transactions": it.txns().count(), "dirty_pages": it.dirty_pages().count(),
        }),
        Body::CheckpointEnd(it) => json!({
            "begin": it.begin.get(), "redo_from": it.redo_from.get(),
            "payload_bytes": it.payload.len(),
        }),
        Body::PageImage(it) => json!({ "page": it.page.get(), "image_bytes": it.image.len() }),
        Body::RestorePoint(it) => json!({ "name": it.name }),
        Body::PageFree(it) => json!({ "page": it.page.get() }),
        Body::Time(it) => json!({ "unix_us": it.unix_us }),
        _ => return None,
    })
}

/// What the record says, in a few words; the body itself where nobody but the engine knows.
pub(crate) fn words(record: &RecordRef<'_>) -> String {
    if record.flags().contains(RecordFlags::COMPRESSED) {
        return format!("compressed {}", raw(record));
    }
    let Some(body) = decoded(record) else { return raw(record) };
    match body {
        Body::Padding(_) | Body::Watermark(_) | Body::Abort(_) => String::new(),
        Body::Opened(it) => format!(
            "epoch {} on {}, the log ended at {}",
            it.epoch,
            time_arg::shown(it.opened_unix_us),
            it.previous_end
        ),
        Body::Begin(it) if it.isolation == 0 => String::new(),
        Body::Begin(it) => format!("isolation {}", it.isolation),
        Body::Update(it) => format!(
            "page {} at {}: {} to {}",
            it.page,
            it.offset,
            short(it.before),
            short(it.after)
        ),
        Body::Logical(it) => format!(
            "operation {} on {}: redo {}, undo {}",
            it.operation,
            on_page(it.page),
            short(it.redo),
            short(it.undo)
        ),
        Body::Clr(it) => clr_words(&it.action, it.compensated, it.undo_next),
        Body::Commit(it) if it.timestamp == 0 => String::new(),
        Body::Commit(it) => format!("timestamp {}", it.timestamp),
        Body::Prepare(it) => format!("global id {}", short(it.global_id)),
        Body::End(it) => outcome_name(it.outcome).to_owned(),
        Body::CheckpointBegin(it) => format!("on {}", time_arg::shown(it.begun_unix_us)),
        Body::CheckpointPart(it) => format!(
            "part {} of the checkpoint begun at {}: {} transactions, {} dirty pages",
            it.index,
            it.begin,
            it.txns().count(),
            it.dirty_pages().count()
        ),
        Body::CheckpointEnd(it) => format!(
            "begun at {}, replay from {}; {} bytes of the engine's",
            it.begin,
            it.redo_from,
            it.payload.len()
        ),
        Body::PageImage(it) => format!("page {}, {} bytes", it.page, it.image.len()),
        Body::RestorePoint(it) => format!("{:?}", it.name),
        Body::PageFree(it) => format!("page {}", it.page),
        Body::Time(it) => {
            format!("on {}, {} µs", time_arg::shown(it.unix_us), it.unix_us % 1_000_000)
        }
        _ => raw(record),
    }
}

/// `undo_next` of a compensation record.
pub(crate) fn undo_next(record: &RecordRef<'_>) -> Option<Lsn> {
    match decoded(record)? {
        Body::Clr(it) => Some(it.undo_next),
        _ => None,
    }
}

/// How the transaction ended, where the record says it.
pub(crate) fn outcome(record: &RecordRef<'_>) -> Option<Outcome> {
    match decoded(record)? {
        Body::End(it) => Some(it.outcome),
        _ => None,
    }
}

/// When the record was written, in microseconds since 1970, where it says so.
pub(crate) fn written_us(record: &RecordRef<'_>) -> Option<u64> {
    decoded(record)?.unix_us().filter(|us| *us > 0)
}

pub(crate) const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Committed => "committed",
        Outcome::RolledBack => "rolled-back",
        _ => "unknown",
    }
}

fn decoded<'a>(record: &RecordRef<'a>) -> Option<Body<'a>> {
    if record.flags().contains(RecordFlags::COMPRESSED) {
        return None;
    }
    Body::decode(record.kind(), record.body).ok().flatten()
}

fn clr_words(action: &Compensation<'_>, compensated: Lsn, undo_next: Lsn) -> String {
    let undone = if compensated == Lsn::NONE {
        "ends a nested action".to_owned()
    } else {
        format!("undoes {compensated}")
    };
    let next = if undo_next == Lsn::NONE { "nothing".to_owned() } else { undo_next.to_string() };
    format!("{undone} ({}), next to undo: {next}", action_name(action))
}

const fn action_name(action: &Compensation<'_>) -> &'static str {
    match action {
        Compensation::Nothing => "nothing",
        Compensation::Bytes { .. } => "bytes",
        Compensation::Logical { .. } => "operation",
    }
}

fn page(page: PageId) -> Option<u64> {
    (page != PageId::NONE).then(|| page.get())
}

fn on_page(of: PageId) -> String {
    page(of).map_or_else(|| "no page".to_owned(), |number| format!("page {number}"))
}

/// A body as text where an engine wrote text, else as hex; the start of it.
fn raw(record: &RecordRef<'_>) -> String {
    if record.kind() == RecordKind::PADDING {
        return String::new();
    }
    let start = record.body.get(..SHOWN_BYTES).unwrap_or(record.body);
    let more = if start.len() < record.body.len() { "…" } else { "" };
    match std::str::from_utf8(start) {
        Ok(text) if record.kind().is_engine() => format!("{text:?}{more}"),
        // A character that the limit cuts is no reason to show none.
        Err(error) if record.kind().is_engine() && error.error_len().is_none() => {
            let whole = start.get(..error.valid_up_to()).unwrap_or_default();
            format!("{:?}{more}", String::from_utf8_lossy(whole))
        }
        _ => format!("{}{more}", hex(start)),
    }
}

/// At most eight bytes as hex, or how many there are.
fn short(bytes: &[u8]) -> String {
    match bytes.len() {
        0 => "nothing".to_owned(),
        1..=8 => hex(bytes),
        count => format!("{count} bytes"),
    }
}

/// Begin and start of replay of the checkpoint that the record completes.
pub(crate) fn checkpoint(record: &RecordRef<'_>) -> Option<(Lsn, Lsn)> {
    match decoded(record)? {
        Body::CheckpointEnd(it) => Some((it.begin, it.redo_from)),
        _ => None,
    }
}
