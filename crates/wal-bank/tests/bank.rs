//! A slice of the bank in the crash lab, and a bank that is killed on real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;

use wal_bank::{Books, Case, Effort, KILL_SHAPE, Kills, Seen};

fn explore(name: &str, effort: Effort) -> wal_bank::Figures {
    let case = Case::parse(name).unwrap().0;
    case.explore(effort, &Seen::default()).unwrap_or_else(|broken| panic!("{broken}"))
}

const SHALLOW: Effort = Effort { states: 2, depth: 1, threads: 2 };

#[test]
fn the_money_is_there_wherever_the_power_goes() {
    let figures = explore("bank-whole/14:2", SHALLOW);
    assert!(figures.states() > 100 && figures.restart.losers > 50, "{}", figures.to_json());
}

#[test]
fn torn_pages_are_mended_by_their_images() {
    let figures = explore("bank-torn/10:3", SHALLOW);
    assert!(figures.states() > 100, "{}", figures.to_json());
}

#[test]
fn the_reference_engine_keeps_its_books() {
    let figures = explore("bank-tree/16:2", SHALLOW);
    assert!(figures.states() > 50 && figures.restart.clrs > 50, "{}", figures.to_json());
}

#[test]
fn restarts_cut_in_every_step_converge() {
    // Which cuts fall into undo is up to the seed: the slice of `cargo xtask sim` holds it to a floor.
    let effort = Effort { states: 1, depth: 2, threads: 2 };
    let figures = explore("bank-whole/6:5", effort);
    let missed = figures.below_floor(1);
    assert!(missed.iter().all(|step| *step == "undo"), "{missed:?} {}", figures.to_json());
    assert!(figures.restart.clrs > 100, "{}", figures.to_json());
}

#[test]
fn equal_runs_end_in_the_same_hash_on_any_number_of_threads() {
    let run = |threads| explore("bank-whole/5:4", Effort { threads, ..SHALLOW }).coverage;
    assert_eq!(run(1), run(2));
}

#[test]
fn a_bank_killed_on_real_files_keeps_what_it_promised() {
    let dir = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_wal-bank"));
    let bank = Kills { dir: dir.path().join("bank"), seed: 7, program };
    let (mut books, mut promised) = (Books::empty(KILL_SHAPE.accounts), 0);
    for number in 0..6 {
        let killed = bank.once(number, &mut books).unwrap();
        assert_eq!(killed.broken, None, "kill {number}");
        promised += killed.promised;
    }
    assert!(promised > 0, "it was killed before it did anything, each time");
}
