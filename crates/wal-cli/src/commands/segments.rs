//! `wal segments`: the files of a log, as an archiver needs to know them.

use std::path::PathBuf;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::json;
use wal::{Access, ChainLink, LogFile, LogView, Storage};

use super::output::{finish, json_line, line, open_view, stdout};
use super::place;
use crate::exit::{Exit, Failure};

/// Bytes of the header block before the log in each file.
const HEADER_BYTES: u64 = 4096;
const READ_BYTES: usize = 1 << 20;

/// List the segments of a log: what each holds, and whether it is ready to be archived.
///
/// A sealed and durable segment never changes any more in its first `archive_bytes` bytes: the
/// header, and the log up to its end. What a file may have behind them is dead, and is cut off
/// one day. The checksum, CRC-32C, is over these bytes. The whole log is read once to find its
/// end; it is not changed, and may be in use: a segment that is truncated away meanwhile is
/// listed as gone.
#[derive(Debug, Args)]
pub(crate) struct Segments {
    /// Directory of the log.
    dir: PathBuf,
    /// Only segments that are sealed and durable.
    #[arg(long)]
    sealed: bool,
    /// Add the checksum of each sealed segment, which reads it once more.
    #[arg(long)]
    checksum: bool,
    /// A JSON object a line.
    #[arg(long)]
    json: bool,
}

struct Row {
    link: ChainLink,
    sealed: bool,
    durable: bool,
    checksum: Option<u32>,
    gone: bool,
}

impl Row {
    fn archive_bytes(&self) -> u64 {
        HEADER_BYTES + self.link.range().bytes()
    }

    fn state(&self) -> &'static str {
        match (self.gone, self.sealed, self.durable) {
            (true, ..) => "gone",
            (_, true, true) => "sealed, durable",
            (_, true, false) => "sealed",
            (_, false, _) => "open",
        }
    }
}

impl Segments {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let view = open_view(&self.dir)?;
        let storage = place::readable(&self.dir)?;
        let mut rows = Vec::new();
        for link in &view.survey().links {
            let row = self.row(&view, &storage, link)?;
            if !self.sealed || row.sealed && row.durable {
                rows.push(row);
            }
        }
        let mut out = stdout();
        if self.json {
            for row in &rows {
                json_line(&mut out, &as_json(row))?;
            }
        } else {
            line(&mut out, self.table(&rows))?;
        }
        finish(out, &view)
    }

    fn row(&self, view: &LogView, storage: &dyn Storage, link: &ChainLink) -> Result<Row, Failure> {
        let mut row = Row {
            link: *link,
            sealed: link.cap <= view.end(),
            durable: link.cap <= view.durable(),
            checksum: None,
            gone: false,
        };
        if self.checksum && row.sealed {
            match checksum(storage, &link.name.to_string(), row.archive_bytes()) {
                Ok(sum) => row.checksum = Some(sum),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => row.gone = true,
                Err(error) => return Err(Failure::io(link.name.to_string(), error)),
            }
        }
        Ok(row)
    }

    fn table(&self, rows: &[Row]) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        let mut header = vec!["segment", "base", "end", "epoch", "bytes to archive", "state"];
        header.extend(self.checksum.then_some("CRC-32C"));
        table.set_header(header);
        for row in rows {
            let link = &row.link;
            let mut cells = vec![
                link.name.to_string(),
                link.header.base.to_string(),
                link.cap.to_string(),
                link.header.epoch.to_string(),
                row.archive_bytes().to_string(),
                row.state().to_owned(),
            ];
            let sum = row.checksum.map_or_else(|| "-".to_owned(), |sum| format!("{sum:08x}"));
            cells.extend(self.checksum.then_some(sum));
            table.add_row(cells);
        }
        table
    }
}

fn as_json(row: &Row) -> serde_json::Value {
    let link = &row.link;
    json!({
        "segment": link.name.to_string(), "base": link.header.base.get(), "end": link.cap.get(),
        "epoch": link.header.epoch.get(), "log_id": link.header.log_id.to_string(),
        "file_bytes": link.file_bytes, "archive_bytes": row.archive_bytes(),
        "sealed": row.sealed, "durable": row.durable, "gone": row.gone,
        "created_unix_us": link.header.created_unix_us,
        "crc32c": row.checksum.map(|sum| format!("{sum:08x}")),
    })
}

/// CRC-32C of the first `bytes` bytes of a file.
fn checksum(storage: &dyn Storage, name: &str, bytes: u64) -> std::io::Result<u32> {
    let file: Box<dyn LogFile> = storage.open(name, Access::Read)?;
    let mut buf = vec![0; READ_BYTES];
    let (mut at, mut sum) = (0, 0);
    while at < bytes {
        let want = usize::try_from(bytes - at).unwrap_or(READ_BYTES).min(READ_BYTES);
        let part = buf.get_mut(..want).unwrap_or_default();
        let count = file.read_at(part, at)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        sum = wal::crc32c_append(sum, part.get(..count).unwrap_or_default());
        at += count as u64;
    }
    Ok(sum)
}
