//! Bytes as text, each field on a line of its own with its name, and back.
//!
//! A line is an offset, the bytes, and after a bar the name and value of the field. Long runs of
//! zeros are written as `zero N`. Lines that start with `#` say things about the whole.

use std::fmt::Write;

use wal_format::layout::{BLOCK_BYTES, TABLES, Table};
use wal_format::{Lsn, RecordFlags, RecordKind, decode_header_at};

const ZEROS_MIN: usize = 64;
const LINE_BYTES: usize = 16;

/// Bytes being written as text.
pub(crate) struct Annotated<'a> {
    bytes: &'a [u8],
    at: usize,
    text: String,
}

impl<'a> Annotated<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, text: String::new() }
    }

    pub(crate) fn note(&mut self, note: &str) {
        writeln!(self.text, "# {note}").unwrap();
    }

    /// The next block is laid out as `table`; for a control slot, pointers are not taken apart.
    pub(crate) fn table(&mut self, name: &str) {
        let table = table(name);
        for field in table.fields {
            self.run(field.name, field.bytes);
        }
    }

    /// The next record, as far as its header can be believed; anything else as bare bytes.
    pub(crate) fn record(&mut self, lsn: Lsn) {
        let rest = &self.bytes[self.at..];
        let Ok(header) = decode_header_at(rest, lsn) else {
            return self.run("bytes", rest.len());
        };
        if header.encoded_bytes() > rest.len() {
            return self.run("bytes", rest.len());
        }
        let end = self.at + header.encoded_bytes();
        self.table("record header");
        if header.flags.contains(RecordFlags::IN_TXN) {
            self.table("transactional extension");
        }
        let body_end = self.at + header.body_len as usize;
        if header.flags.contains(RecordFlags::COMPRESSED) {
            self.table("compressed body");
        } else if let Some(table) = header.kind.name().and_then(find_table) {
            if table.bytes <= header.body_len as usize {
                self.table(table.name);
            }
            if header.kind == RecordKind::CHECKPOINT_PART {
                self.entries(body_end);
            }
        }
        self.run("body", body_end - self.at);
        self.run("alignment", end - self.at);
    }

    fn entries(&mut self, end: usize) {
        let (txn, page) = (table("transaction entry"), table("dirty-page entry"));
        while self.at + txn.bytes <= end {
            self.table(txn.name);
        }
        while self.at + page.bytes <= end {
            self.table(page.name);
        }
    }

    /// The next `bytes` bytes, under a name.
    pub(crate) fn run(&mut self, name: &str, bytes: usize) {
        let run = &self.bytes[self.at..self.at + bytes];
        if run.len() >= ZEROS_MIN && run.iter().all(|byte| *byte == 0) {
            writeln!(self.text, "{:04x}  zero {bytes} | {name}", self.at).unwrap();
            self.at += bytes;
            return;
        }
        for (index, line) in run.chunks(LINE_BYTES).enumerate() {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            write!(self.text, "{:04x}  {}", self.at, hex.join(" ")).unwrap();
            let label = if index == 0 { label(name, run) } else { String::new() };
            writeln!(self.text, "{}", if label.is_empty() { label } else { format!(" | {label}") })
                .unwrap();
            self.at += line.len();
        }
    }

    pub(crate) fn finish(self) -> String {
        assert_eq!(self.at, self.bytes.len(), "every byte is shown");
        self.text
    }
}

/// A whole segment file: its header, then records up to zeroed space.
pub(crate) fn segment(bytes: &[u8], base: Lsn, records: usize) -> String {
    let mut text = Annotated::new(bytes);
    text.note("the header block");
    text.table("segment header");
    for _ in 0..records {
        let lsn = base.checked_add((text.at - BLOCK_BYTES) as u64).unwrap();
        text.note(&format!("the record at address {lsn}, file offset {}", text.at));
        text.record(lsn);
    }
    text.note("not written yet");
    text.run("zero", bytes.len() - text.at);
    text.finish()
}

fn label(name: &str, run: &[u8]) -> String {
    let number = |bytes: &[u8]| {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(wide)
    };
    match (name, run.len()) {
        ("body" | "alignment" | "magic" | "bytes" | "reserved" | "zero", _) => name.to_owned(),
        ("checksum", 4) => format!("checksum = {:#010x}", number(run)),
        ("kind", 1) => format!(
            "kind = {}",
            RecordKind::new(run[0]).map_or("0".into(), |kind| kind.to_string())
        ),
        (_, 1 | 2 | 4 | 8) => match number(run) {
            u64::MAX => format!("{name} = none"),
            value => format!("{name} = {value}"),
        },
        _ => name.to_owned(),
    }
}

fn find_table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

pub(crate) fn table(name: &str) -> &'static Table {
    find_table(name).unwrap_or_else(|| panic!("no layout is called {name}"))
}

/// The bytes that a text stands for.
pub(crate) fn parse(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let data = line.split('|').next().unwrap();
        let mut words = data.split_whitespace();
        let offset = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        assert_eq!(offset, bytes.len(), "a line is out of place: {line}");
        match data.split_once("zero ") {
            Some((_, count)) => bytes.resize(offset + count.trim().parse::<usize>().unwrap(), 0),
            None => bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap())),
        }
    }
    bytes
}
