//! Records as lines: text for people, JSON for programs, and what a decoder says of them.

use std::collections::VecDeque;
use std::io::Write;

use serde_json::{Value, json};
use wal::{Lsn, RecordFlags, RecordRef};

use super::body;
use super::decoder::Decoder;
use super::output::{Paint, hex, put_body};
use crate::exit::Failure;

/// Bytes in a line of a hex dump.
const HEX_LINE_BYTES: usize = 16;

/// Prints records in order.
#[derive(Debug)]
pub(crate) struct RecordPrinter<W> {
    out: W,
    json: bool,
    hex: bool,
    paint: Paint,
    decoder: Option<Decoder>,
    /// Lines that wait for the decoder's word, oldest first.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    lsn: Lsn,
    /// Bytes of the question; `None` for a record which the decoder is not asked about.
    asked: Option<usize>,
    line: Line,
}

#[derive(Debug)]
enum Line {
    Text(String),
    Json(Value),
}

impl<W: Write> RecordPrinter<W> {
    pub(crate) fn new(out: W, json: bool, hex: bool, decoder: Option<Decoder>) -> Self {
        let paint = Paint::of_stdout();
        Self { out, json, hex, paint, decoder, waiting: VecDeque::new() }
    }

    /// A line that is no record, in its place among them.
    pub(crate) fn note(&mut self, text: &str, value: Value) -> Result<(), Failure> {
        self.settle(true)?;
        let line = if self.json { Line::Json(value) } else { Line::Text(format!("{text}\n")) };
        self.write(line)
    }

    /// Prints a record, and in JSON since when it can be there, where the log tells that.
    pub(crate) fn record_at(
        &mut self,
        record: &RecordRef<'_>,
        unix_us: Option<u64>,
    ) -> Result<(), Failure> {
        let line = if self.json {
            let mut line = self.json_of(record);
            line["unix_us"] = unix_us.into();
            Line::Json(line)
        } else {
            Line::Text(self.text_of(record))
        };
        let Some(decoder) = &mut self.decoder else { return self.write(line) };
        let is_asked = !record.kind().is_housekeeping();
        let asked = is_asked.then(|| decoder.ask(record));
        self.waiting.push_back(Waiting { lsn: record.lsn(), asked, line });
        self.settle(false)
    }

    /// Everything printed so far is with the reader.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.settle(true)?;
        self.out.flush().map_err(Failure::output)
    }

    /// Prints what is left, and waits for the decoder's end.
    pub(crate) fn finish(mut self) -> Result<W, Failure> {
        if let Some(decoder) = &mut self.decoder {
            decoder.end_questions();
        }
        self.settle(true)?;
        if let Some(decoder) = self.decoder.take() {
            decoder.finish()?;
        }
        self.out.flush().map_err(Failure::output)?;
        Ok(self.out)
    }

    /// Prints the lines whose answers are there; all of them if `must`. Where much is unanswered it
    /// waits for some, never for all: a decoder may answer in blocks, and has the last one only
    /// when it is asked more.
    fn settle(&mut self, must: bool) -> Result<(), Failure> {
        while let Some(first) = self.waiting.front() {
            let answer = match (first.asked, &mut self.decoder) {
                (Some(bytes), Some(decoder)) => {
                    let must = must || decoder.is_full();
                    match decoder.take(first.lsn, bytes, must)? {
                        Some(answer) => Some(answer),
                        None => return Ok(()),
                    }
                }
                _ => None,
            };
            let Some(Waiting { line, .. }) = self.waiting.pop_front() else { return Ok(()) };
            self.write(match answer {
                Some(answer) => decoded(line, answer),
                None => line,
            })?;
        }
        Ok(())
    }

    fn write(&mut self, line: Line) -> Result<(), Failure> {
        match line {
            Line::Text(text) => self.out.write_all(text.as_bytes()),
            Line::Json(value) => writeln!(self.out, "{value}"),
        }
        .map_err(Failure::output)
    }

    fn json_of(&self, record: &RecordRef<'_>) -> Value {
        let header = &record.header;
        let mut line = json!({
            "lsn": header.lsn.get(), "end": record.end().get(),
            "checksum": format!("{:#010x}", header.checksum), "body_len": header.body_len,
            "durable": record.durable().map(Lsn::get), "durable_back": header.durable_back,
            "epoch": record.epoch.get(), "kind": header.kind.to_string(),
            "kind_number": header.kind.get(), "flags": flag_names(header.flags),
            "txn": record.txn.map(|link| link.txn_id.get()),
            "prev_lsn": record.txn.map(|link| link.prev_lsn.get()),
        });
        if let Some(fields) = body::fields(record) {
            line["fields"] = fields;
        }
        if self.hex {
            line["body_hex"] = hex(record.body).into();
        } else {
            put_body(&mut line, record.body);
        }
        line
    }

    fn text_of(&self, record: &RecordRef<'_>) -> String {
        let (header, paint) = (&record.header, self.paint);
        let kind = format!("{:<16}", header.kind.to_string());
        let kind = match record.kind() {
            kind_number if kind_number.is_housekeeping() => paint.dim(&kind),
            kind_number if kind_number.is_engine() => kind,
            _ => paint.key(&kind),
        };
        let durable = record.durable().map_or_else(|| "-".to_owned(), |lsn| lsn.to_string());
        let mut text = format!(
            "{:>12}  {kind}  {:>8} B  epoch {}  durable {durable}  {}",
            header.lsn.get(),
            header.body_len,
            record.epoch,
            paint.dim(&format!("crc {:#010x}", header.checksum)),
        );
        if let Some(link) = record.txn {
            text.push_str(&format!("  txn {} after {}", link.txn_id, link.prev_lsn));
        }
        let flags = flag_names(header.flags);
        if !flags.is_empty() {
            text.push_str(&format!("  [{}]", flags.join(" ")));
        }
        let words = body::words(record);
        if !words.is_empty() {
            text.push_str("  ");
            text.push_str(&words);
        }
        text.push('\n');
        if self.hex {
            hex_lines(&mut text, record.body);
        }
        text
    }
}

/// A line with what the decoder said: a JSON value where it gave one, else its text.
fn decoded(line: Line, answer: String) -> Line {
    match line {
        Line::Text(text) => Line::Text(format!("{text}              {answer}\n")),
        Line::Json(mut value) => {
            value["decoded"] = serde_json::from_str(&answer).unwrap_or(Value::String(answer));
            Line::Json(value)
        }
    }
}

/// Offset, sixteen bytes, and the letters among them.
fn hex_lines(text: &mut String, body: &[u8]) {
    for (index, line) in body.chunks(HEX_LINE_BYTES).enumerate() {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = |byte: &u8| {
            if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }
        };
        let letters: String = line.iter().map(letter).collect();
        let offset = index * HEX_LINE_BYTES;
        text.push_str(&format!("              {offset:06x}  {:<47}  {letters}\n", bytes.join(" ")));
    }
}

pub(crate) fn flag_names(flags: RecordFlags) -> Vec<&'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hex_dump_shows_offsets_bytes_and_letters() {
        let mut text = String::new();
        hex_lines(&mut text, b"seventeen letters\x00");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("000000  73 65 76") && lines[0].ends_with("seventeen letter"));
        assert!(lines[1].starts_with("000010  73 00") && lines[1].ends_with("s."), "{}", lines[1]);
    }
}
