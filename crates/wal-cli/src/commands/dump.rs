//! `wal dump`: every field of every header.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wal::{LogView, Lsn, LsnRange, RecordFlags, RecordKind, RecordRef};

use super::output::{finish, hex, json_line, open_view, put_body, stdout};
use crate::exit::{Exit, Failure};
use crate::lsn_arg;

/// Body bytes shown in a line of text.
const SHOWN_BYTES: usize = 48;

/// Print every record with every field of its header, housekeeping included.
///
/// Unlike `cat` this shows what is in the log, not what would replay: records of aborted and
/// unfinished transactions too.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// Directory of the log.
    dir: PathBuf,
    /// Start at the first record at or after this LSN.
    #[arg(long, value_parser = lsn_arg::lsn)]
    from: Option<Lsn>,
    /// Stop before this LSN.
    #[arg(long, value_parser = lsn_arg::lsn)]
    to: Option<Lsn>,
    /// Only records of this kind: a name (`data`, `commit`, `opened`, ...) or a number. May be
    /// given several times.
    #[arg(long, value_parser = lsn_arg::kind)]
    kind: Vec<RecordKind>,
    /// Stop after this many records.
    #[arg(long)]
    limit: Option<u64>,
    /// A JSON object a line; first one a segment, then one a record.
    #[arg(long)]
    json: bool,
}

impl Dump {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let view = open_view(&self.dir)?;
        let mut out = stdout();
        self.segments(&view, &mut out)?;
        // A range that starts inside a record is legal here: reading starts at the head and what
        // lies before the range is passed over.
        let range = LsnRange::new(view.head(), self.to.unwrap_or(Lsn::MAX));
        let mut left = self.limit.unwrap_or(u64::MAX);
        let ended = view.for_each(range, |record| {
            if left == 0 {
                return ControlFlow::Break(Ok(()));
            }
            if !self.wants(record) {
                return ControlFlow::Continue(());
            }
            left -= 1;
            match self.print(&mut out, record) {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => ControlFlow::Break(Err(failure)),
            }
        })?;
        ended.unwrap_or(Ok(()))?;
        finish(out, &view)
    }

    fn wants(&self, record: &RecordRef<'_>) -> bool {
        self.from.is_none_or(|from| record.lsn() >= from)
            && (self.kind.is_empty() || self.kind.contains(&record.kind()))
    }

    fn segments(&self, view: &LogView, out: &mut impl Write) -> Result<(), Failure> {
        for link in &view.survey().links {
            let header = &link.header;
            if self.json {
                let pred = header.predecessor.map(|pred| {
                    json!({ "base": pred.base.get(), "epoch": pred.epoch.get(), "end": pred.end.get() })
                });
                json_line(
                    out,
                    &json!({
                        "segment": link.name.to_string(), "log_id": header.log_id.to_string(),
                        "base": header.base.get(), "epoch": header.epoch.get(),
                        "capacity_bytes": header.capacity_bytes, "cap": link.cap.get(),
                        "file_bytes": link.file_bytes, "created_unix_us": header.created_unix_us,
                        "flags": header.flags.bits(), "predecessor": pred, "head": header.head.get(),
                    }),
                )?;
            } else {
                writeln!(
                    out,
                    "segment {}  base {}  epoch {}  capacity {}  ends {}  flags {:#x}",
                    link.name,
                    header.base,
                    header.epoch,
                    header.capacity_bytes,
                    link.cap,
                    header.flags.bits()
                )
                .map_err(Failure::output)?;
            }
        }
        Ok(())
    }

    fn print(&self, out: &mut impl Write, record: &RecordRef<'_>) -> Result<(), Failure> {
        let header = &record.header;
        if self.json {
            let mut line = json!({
                "lsn": header.lsn.get(), "end": record.end().get(),
                "checksum": format!("{:#010x}", header.checksum), "body_len": header.body_len,
                "durable": record.durable().map(Lsn::get), "durable_back": header.durable_back,
                "epoch": record.epoch.get(), "kind": header.kind.to_string(),
                "kind_number": header.kind.get(), "flags": flag_names(header.flags),
                "txn": record.txn.map(|link| link.txn_id.get()),
                "prev_lsn": record.txn.map(|link| link.prev_lsn.get()),
            });
            put_body(&mut line, record.body);
            return json_line(out, &line);
        }
        write!(
            out,
            "{:>12}  {:<16}  {:>8} B  epoch {}  durable {}  crc {:#010x}",
            header.lsn.get(),
            header.kind.to_string(),
            header.body_len,
            record.epoch,
            record.durable().map_or_else(|| "-".to_owned(), |lsn| lsn.to_string()),
            header.checksum
        )
        .map_err(Failure::output)?;
        if let Some(link) = record.txn {
            write!(out, "  txn {} after {}", link.txn_id, link.prev_lsn)
                .map_err(Failure::output)?;
        }
        let flags = flag_names(header.flags);
        if !flags.is_empty() {
            write!(out, "  [{}]", flags.join(" ")).map_err(Failure::output)?;
        }
        writeln!(out, "  {}", shown(record)).map_err(Failure::output)
    }
}

fn flag_names(flags: RecordFlags) -> Vec<&'static str> {
    [
        (RecordFlags::IN_TXN, "in-txn"),
        (RecordFlags::BATCH_CONTINUES, "batch-continues"),
        (RecordFlags::BATCH_FOLLOWS, "batch-follows"),
        (RecordFlags::COMPRESSED, "compressed"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| name)
    .collect()
}

fn shown(record: &RecordRef<'_>) -> String {
    if record.kind() == RecordKind::PADDING {
        return String::new();
    }
    let start = record.body.get(..SHOWN_BYTES).unwrap_or(record.body);
    let more = if start.len() < record.body.len() { "…" } else { "" };
    match std::str::from_utf8(start) {
        Ok(text) if record.kind().is_engine() => format!("{text:?}{more}"),
        _ => format!("{}{more}", hex(start)),
    }
}
