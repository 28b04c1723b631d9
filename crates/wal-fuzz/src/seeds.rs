//! Where a corpus starts: the golden vectors, damaged ones included, and a few chosen damages.

use std::path::{Path, PathBuf};

use crate::mutate::Draw;

/// The folder of the corpus.
#[must_use]
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// The bytes of a golden vector of format 1.
///
/// # Panics
///
/// When there is none of this name, or it is malformed.
#[must_use]
pub fn vector(name: &str) -> Vec<u8> {
    let file = vectors().join(name).with_extension("hex");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, rest) = line.split_once("  ").unwrap_or_else(|| panic!("{name}: {line}"));
        let digits = rest.split('|').next().unwrap_or_default().trim();
        match digits.strip_prefix("zero ") {
            Some(count) => bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), 0),
            None => bytes.extend(
                digits.split_whitespace().map(|digits| u8::from_str_radix(digits, 16).unwrap()),
            ),
        }
    }
    bytes
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wal-format/vectors/v1")
}

/// Names and bytes of all golden vectors whose name starts with one of `prefixes`.
fn all(prefixes: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(vectors())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .map(|name| (name.clone(), vector(&name)))
        .collect();
    found.sort();
    found
}

/// Names and bytes of what the corpus of `target` starts with.
#[must_use]
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let records = || all(&["record-", "damaged-", "batch"]);
    match target {
        "record" | "records" | "canary" => records(),
        "look_ahead" => {
            records().into_iter().map(|(name, bytes)| (name, looked_for(&bytes))).collect()
        }
        "segment_header" => all(&["segment-"]),
        "control_slot" => all(&["control-"]),
        "body" => {
            records().into_iter().filter_map(|(name, bytes)| Some((name, body(&bytes)?))).collect()
        }
        "compressed" => compressed(),
        "payload" => payloads(),
        "log" => damages(),
        _ => Vec::new(),
    }
}

/// The record, with what the search wants before it: an address, the bits of an epoch, a range.
fn looked_for(bytes: &[u8]) -> Vec<u8> {
    let address = (8192_u64 - 16) << 2;
    let mut seed = address.to_le_bytes().to_vec();
    seed.extend(2_u16.to_le_bytes());
    seed.extend(1_u64.to_le_bytes());
    seed.extend(200_000_u64.to_le_bytes());
    seed.extend([0; 16]);
    seed.extend(bytes);
    seed
}

/// Kind and body of a record.
fn body(bytes: &[u8]) -> Option<Vec<u8>> {
    let kind = *bytes.get(22)?;
    let head = if bytes.get(23)? & 1 == 1 { 40 } else { 24 };
    let len = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    let mut seed = vec![kind];
    seed.extend(bytes.get(head..head + len)?);
    Some(seed)
}

fn compressed() -> Vec<(String, Vec<u8>)> {
    let stored = body(&vector("record-data-compressed")).unwrap_or_default();
    let text = b"to be or not to be, that is ".repeat(4);
    vec![
        ("stored".to_owned(), stored.get(1..).unwrap_or_default().to_vec()),
        ("text".to_owned(), text),
        ("zeros".to_owned(), vec![0; 300]),
        ("claims-much".to_owned(), [&(1_u32 << 30).to_le_bytes()[..], &[0; 40]].concat()),
    ]
}

fn payloads() -> Vec<(String, Vec<u8>)> {
    let claims = |variant: u32, len: u64| {
        let mut bytes = variant.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(b"some bytes behind it, more than twenty");
        bytes
    };
    let mut seeds: Vec<_> =
        (0..6).map(|variant| (format!("variant-{variant}"), claims(variant, 2))).collect();
    seeds.push(("claims-much".to_owned(), claims(1, u64::MAX)));
    seeds.push(("claims-many-wide".to_owned(), claims(5, 1 << 56)));
    seeds
}

/// Each kind of damage alone, to each log; and each log without any.
fn damages() -> Vec<(String, Vec<u8>)> {
    let mut draw = Draw::new(17);
    let mut seeds = Vec::new();
    for base in 0..4_u8 {
        seeds.push((format!("log-{base}"), vec![base]));
        for what in 0..12_u8 {
            for file in 0..5_u8 {
                let mut seed = vec![base, what, file];
                seed.extend((0..11).map(|_| draw.below(256) as u8));
                // Where something is, not in the zeros behind it.
                seed[5] = 0;
                seeds.push((format!("log-{base}-{what:02}-{file}"), seed));
            }
        }
    }
    seeds
}
