//! `docs/format.md` says what the code does: its tables are the constants, and its worked bytes
//! are what the encoder writes.
//!
//! Run with `WAL_FORMAT_UPDATE=1` to write the worked bytes into the page.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::annotate::{self, parse};
use common::{LOG_ID, lsn};
use wal_format::body::{Commit, Opened, Update};
use wal_format::layout::{self, BLOCK_BYTES, TABLES};
use wal_format::{
    Epoch, EpochTracker, Lsn, PageId, RecordDraft, RecordFlags, RecordIter, RecordKind, RecordSeed,
    SegmentFlags, SegmentHeader, TxnId, TxnLink,
};

const BEGIN: &str = "<!-- worked bytes: begin -->\n";
const END: &str = "<!-- worked bytes: end -->\n";
const TIME_BEGIN: &str = "<!-- worked time: begin -->\n";
const TIME_END: &str = "<!-- worked time: end -->\n";
const CAPACITY_BYTES: usize = 256;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/format.md")
}

fn page() -> String {
    fs::read_to_string(path()).unwrap()
}

/// The cells of the rows of the table that follows `marker`.
fn rows(page: &str, marker: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(marker).unwrap_or_else(|| panic!("no table after {marker}"));
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn every_table_of_the_page_is_the_layout_in_the_code() {
    let page = page();
    for table in TABLES {
        let shown: Vec<(usize, usize, String)> =
            rows(&page, &format!("<!-- layout: {} -->", table.name))
                .into_iter()
                .map(|row| (row[0].parse().unwrap(), row[1].parse().unwrap(), row[2].clone()))
                .collect();
        let coded: Vec<_> = table
            .fields
            .iter()
            .map(|field| (field.offset, field.bytes, format!("`{}`", field.name)))
            .collect();
        assert_eq!(shown, coded, "table of {}", table.name);
    }
}

#[test]
fn the_page_shows_no_layout_that_the_code_does_not_have() {
    let page = page();
    let shown: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("<!-- layout: ")?.strip_suffix(" -->"))
        .collect();
    assert_eq!(shown.len(), TABLES.len());
    for name in shown {
        assert!(TABLES.iter().any(|table| table.name == name), "{name}");
    }
}

#[test]
fn every_constant_of_the_page_is_the_one_in_the_code() {
    let coded = [
        ("FORMAT_VERSION", u64::from(layout::FORMAT_VERSION)),
        ("RECORD_ALIGN_BYTES", layout::RECORD_ALIGN_BYTES as u64),
        ("BLOCK_BYTES", layout::BLOCK_BYTES as u64),
        ("FIRST_LSN", layout::FIRST_LSN),
        ("BODY_BYTES_MAX", layout::BODY_BYTES_MAX as u64),
        ("HOLD_NAME_BYTES_MAX", layout::HOLD_NAME_BYTES_MAX as u64),
        ("CONTROL_SLOTS", layout::CONTROL_SLOTS as u64),
        ("CONTROL_CHECKPOINTS_MAX", layout::CONTROL_CHECKPOINTS_MAX as u64),
        ("RESTORE_POINT_NAME_BYTES_MAX", layout::RESTORE_POINT_NAME_BYTES_MAX as u64),
    ];
    let shown: Vec<(String, u64)> = rows(&page(), "## Constants")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].parse().unwrap()))
        .collect();
    let coded: Vec<_> =
        coded.into_iter().map(|(name, value)| (format!("`{name}`"), value)).collect();
    assert_eq!(shown, coded);
}

#[test]
fn every_magic_number_of_the_page_is_the_one_in_the_code() {
    for magic in [layout::SEGMENT_MAGIC, layout::CONTROL_MAGIC, layout::HOLD_MAGIC] {
        let hex: Vec<String> = magic.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(page().contains(&format!("`{}`", hex.join(" "))), "{hex:?}");
    }
}

#[test]
fn every_kind_of_the_page_is_the_one_in_the_code() {
    let shown: Vec<(String, String)> = rows(&page(), "### Kinds")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let coded: Vec<_> = RecordKind::FORMAT_KINDS
        .iter()
        .map(|kind| (format!("{:#04x}", kind.get()), format!("`{kind}`")))
        .collect();
    assert_eq!(shown, coded);
}

#[test]
fn every_flag_of_the_page_is_the_one_in_the_code() {
    let coded = [
        ("IN_TXN", RecordFlags::IN_TXN),
        ("BATCH_CONTINUES", RecordFlags::BATCH_CONTINUES),
        ("BATCH_FOLLOWS", RecordFlags::BATCH_FOLLOWS),
        ("COMPRESSED", RecordFlags::COMPRESSED),
    ];
    let shown = rows(&page(), "### Flags");
    assert_eq!(shown.len(), coded.len());
    for (row, (name, flag)) in shown.iter().zip(coded) {
        assert_eq!(row[1], format!("`{name}`"));
        assert_eq!(1_u8 << row[0].parse::<u8>().unwrap(), flag.bits(), "{name}");
    }
    // One bit more is unknown to the code, as it is to the page.
    assert_eq!(RecordFlags::new(1 << coded.len()), None);
}

#[test]
fn every_segment_flag_of_the_page_is_the_one_in_the_code() {
    for (bit, name, flag) in [
        (0, "OPENING", SegmentFlags::OPENING),
        (1, "BORN_DURABLE", SegmentFlags::BORN_DURABLE),
        (2, "AFTER_LOSS", SegmentFlags::AFTER_LOSS),
    ] {
        assert_eq!(flag.bits(), 1 << bit);
        assert!(page().contains(&format!("bit {bit} `{name}`")), "{name}");
    }
}

/// The segment that the page shows, and how many records it holds.
fn worked_segment() -> (Vec<u8>, usize) {
    let header = SegmentHeader {
        log_id: LOG_ID,
        base: Lsn::FIRST,
        epoch: Epoch::FIRST,
        capacity_bytes: CAPACITY_BYTES as u64,
        created_unix_us: 1_700_000_000_000_000,
        flags: SegmentFlags::NONE,
        predecessor: None,
        head: Lsn::FIRST,
    };
    let opened = Opened {
        epoch: Epoch::FIRST,
        previous_end: Lsn::FIRST,
        opened_unix_us: 1_700_000_000_000_000,
    };
    let update = Update { page: PageId::new(3), offset: 128, before: b"tea", after: b"rum" };
    let (opened, head) = (opened.encode(), update.encode_head());
    let commit = Commit { timestamp: 42 }.encode();
    let first = TxnLink { txn_id: TxnId::new(1), prev_lsn: Lsn::NONE };
    let second = TxnLink { prev_lsn: lsn(4192), ..first };
    let (opened, order, update, commit) =
        ([&opened[..]], [&b"order 17: 3 x tea"[..]], update.parts(&head), [&commit[..]]);
    let drafts = [
        RecordDraft::new(RecordKind::OPENED, &opened),
        RecordDraft::new(RecordKind::DATA, &order),
        RecordDraft::new(RecordKind::UPDATE, &update).in_txn(first),
        RecordDraft::new(RecordKind::COMMIT, &commit).in_txn(second),
    ];
    let mut file = header.encode().to_vec();
    file.resize(BLOCK_BYTES + CAPACITY_BYTES, 0);
    let mut at = BLOCK_BYTES;
    for draft in &drafts {
        let seed = RecordSeed::new(LOG_ID, Epoch::FIRST);
        at += draft.encode_into(&seed, lsn(at as u64), Some(Lsn::FIRST), &mut file[at..]).unwrap();
    }
    (file, drafts.len())
}

#[test]
fn the_worked_time_is_the_golden_one() {
    let vector = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/v1/record-time.hex");
    let expected = format!("```text\n{}```\n", fs::read_to_string(vector).unwrap());
    let page = page();
    let (before, rest) = page.split_once(TIME_BEGIN).unwrap();
    let (shown, after) = rest.split_once(TIME_END).unwrap();
    if std::env::var_os("WAL_FORMAT_UPDATE").is_some() {
        fs::write(path(), format!("{before}{TIME_BEGIN}{expected}{TIME_END}{after}")).unwrap();
        return;
    }
    assert_eq!(shown, expected, "run once with WAL_FORMAT_UPDATE=1, then read the difference");
}

#[test]
fn the_worked_bytes_are_what_the_encoder_writes() {
    let (file, records) = worked_segment();
    let expected = format!("```text\n{}```\n", annotate::segment(&file, Lsn::FIRST, records));
    let page = page();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if std::env::var_os("WAL_FORMAT_UPDATE").is_some() {
        fs::write(path(), format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(shown, expected, "run once with WAL_FORMAT_UPDATE=1, then read the difference");
}

#[test]
fn the_checksum_of_a_worked_record_comes_out_as_the_page_says() {
    let (file, _) = worked_segment();
    let record = &file[BLOCK_BYTES + 48..];
    let body_end = 24 + 17;
    let fed = [&LOG_ID.as_bytes()[..], &1_u64.to_le_bytes(), &record[4..body_end]].concat();
    let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&fed);
    assert_eq!(record[..4], checksum.to_le_bytes());
}

#[test]
fn the_worked_bytes_decode_to_the_records_that_the_page_names() {
    let page = page();
    let (_, rest) = page.split_once(BEGIN).unwrap();
    let (shown, _) = rest.split_once(END).unwrap();
    let file = parse(shown.trim_start_matches("```text\n").trim_end_matches("```\n"));
    let header = SegmentHeader::decode(&file).unwrap();
    let epochs = EpochTracker::new(header.log_id, header.epoch);
    let kinds: Vec<_> = RecordIter::new(&file[BLOCK_BYTES..], header.base, epochs)
        .map_while(Result::ok)
        .map(|record| record.kind())
        .collect();
    let named = [RecordKind::OPENED, RecordKind::DATA, RecordKind::UPDATE, RecordKind::COMMIT];
    assert_eq!(kinds, named);
}
