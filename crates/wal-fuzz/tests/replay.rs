//! The corpus, and seeded mutations of it, through every check, without libFuzzer.
//!
//! `WAL_FUZZ_ROUNDS` asks for more mutations of each file, `WAL_FUZZ_SEED` for others. To add the
//! seeds of a new target to the corpus, run once with `WAL_FUZZ_UPDATE=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::panic::catch_unwind;
use std::{env, fs};

use wal_fuzz::mutate::mutated;
use wal_fuzz::seeds::{self, corpus};
use wal_fuzz::{CANARY, TARGETS, Target};

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Names and bytes of the corpus of a target.
fn files(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(corpus().join(target))
        .unwrap_or_else(|error| panic!("{target}: {error}; run once with WAL_FUZZ_UPDATE=1"))
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Runs every file and `rounds` mutations of each; what panicked first, and how many ran.
fn replay(target: Target, rounds: u64) -> (Option<String>, u64) {
    let files = files(target.name);
    let first = number("WAL_FUZZ_SEED", 0);
    let mut ran = 0;
    for (index, (name, bytes)) in files.iter().enumerate() {
        for round in 0..=rounds {
            let seed = first.wrapping_add(round << 20 | index as u64);
            let other = &files[(index + round as usize) % files.len()].1;
            let input = if round == 0 { bytes.clone() } else { mutated(bytes, other, seed) };
            ran += 1;
            if catch_unwind(|| (target.check)(&input)).is_err() {
                let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
                return (Some(format!("{}: {name}, mutation {seed}: {hex}", target.name)), ran);
            }
        }
    }
    (None, ran)
}

fn holds(name: &str, rounds: u64) {
    let (failure, ran) = replay(wal_fuzz::target(name), number("WAL_FUZZ_ROUNDS", rounds));
    assert!(failure.is_none(), "{}", failure.unwrap());
    println!("{name}: {ran} inputs");
    assert!(ran > rounds);
}

/// `WAL_FUZZ_INPUT` is `target:hex`, as a failure prints it: runs that input alone.
#[test]
fn an_input_that_failed_is_run_again() {
    let Ok(input) = env::var("WAL_FUZZ_INPUT") else { return };
    let (name, hex) = input.split_once(':').expect("target:hex");
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect();
    (wal_fuzz::target(name).check)(&bytes);
}

#[test]
fn the_canary_is_found() {
    let (failure, _) = replay(CANARY, 200);
    assert!(failure.is_some(), "a decoder which trusts a length went unnoticed");
}

#[test]
fn the_corpus_holds_every_seed() {
    for target in TARGETS.iter().chain([&CANARY]) {
        let dir = corpus().join(target.name);
        let wanted = seeds::of(target.name);
        assert!(wanted.len() > 1, "{}", target.name);
        for (name, bytes) in wanted {
            if env::var_os("WAL_FUZZ_UPDATE").is_some() {
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join(&name), &bytes).unwrap();
            }
            let stored = fs::read(dir.join(&name)).unwrap_or_default();
            assert!(stored == bytes, "{}/{name}: run once with WAL_FUZZ_UPDATE=1", target.name);
        }
    }
}

#[test]
fn a_record_is_valid_only_as_it_was_encoded() {
    holds("record", 200);
}

#[test]
fn a_walk_accounts_for_every_byte() {
    holds("records", 200);
}

#[test]
fn the_quick_search_finds_what_a_slow_one_does() {
    holds("look_ahead", 200);
}

#[test]
fn a_segment_header_is_valid_only_as_it_was_encoded() {
    holds("segment_header", 2000);
}

#[test]
fn a_control_slot_is_valid_only_as_it_was_encoded() {
    holds("control_slot", 2000);
}

#[test]
fn a_body_is_made_of_its_own_bytes() {
    holds("body", 400);
}

#[test]
fn a_compressed_body_stays_within_its_length() {
    holds("compressed", 1000);
}

#[test]
fn a_payload_stays_within_its_limit() {
    holds("payload", 1000);
}

#[test]
fn a_damaged_log_is_refused_or_shorter() {
    holds("log", 2);
}
