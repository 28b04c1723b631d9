//! The decision table of `verdict.rs`: every input meets exactly one row, every row is met.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use wal_recovery::{Facts, ROWS, StopClass, VerdictKind, decide};

/// All inputs there are.
fn inputs() -> impl Iterator<Item = Facts> {
    (0..1_u32 << 7).flat_map(|bits| {
        let is_set = move |bit: u32| bits >> bit & 1 == 1;
        StopClass::ALL.iter().map(move |&stop| Facts {
            newer_format: is_set(0),
            foreign: is_set(1),
            missing: is_set(2),
            damaged_header: is_set(3),
            head_unproven: is_set(4),
            stop,
            promised: is_set(5),
            records_behind: is_set(6),
        })
    })
}

/// A whole chain that ends where nothing was written.
const WHOLE: Facts = Facts {
    newer_format: false,
    foreign: false,
    missing: false,
    damaged_header: false,
    head_unproven: false,
    stop: StopClass::Blank,
    promised: false,
    records_behind: false,
};

fn verdict(facts: Facts) -> VerdictKind {
    decide(&facts).expect("no input is without a row").verdict
}

#[test]
fn each_input_meets_exactly_one_row() {
    let mut count = 0;
    for facts in inputs() {
        let met: Vec<_> = ROWS.iter().filter(|row| row.meets(&facts)).collect();
        assert_eq!(met.len(), 1, "{facts:?} meets {met:?}");
        count += 1;
    }
    assert_eq!(count, 384);
}

#[test]
fn each_row_is_met_and_each_verdict_is_given() {
    for row in ROWS {
        assert!(inputs().any(|facts| row.meets(&facts)), "{} is never met", row.label);
    }
    for kind in VerdictKind::ALL {
        assert!(ROWS.iter().any(|row| row.verdict == *kind), "nothing is ever {kind}");
    }
}

#[test]
fn r10_what_was_promised_is_never_called_a_torn_tail() {
    for facts in inputs().filter(|facts| facts.promised) {
        assert!(verdict(facts).is_damage(), "{facts:?}");
    }
}

#[test]
fn r10_what_nobody_was_promised_is_no_damage_in_a_whole_chain() {
    for facts in inputs() {
        let whole = Facts { stop: WHOLE.stop, promised: false, records_behind: false, ..facts };
        if whole == WHOLE && !facts.promised && facts.stop != StopClass::UnknownKind {
            assert!(!verdict(facts).is_damage(), "{facts:?}");
        }
    }
}

#[test]
fn a_clean_end_has_nothing_unusual_about_it() {
    let clean: Vec<Facts> =
        inputs().filter(|facts| verdict(*facts) == VerdictKind::CleanEnd).collect();
    assert_eq!(clean, [WHOLE]);
}

#[test]
fn a_newer_version_is_named_before_anything_it_may_explain() {
    for facts in inputs().filter(|facts| facts.newer_format) {
        assert_eq!(verdict(facts), VerdictKind::UnsupportedVersion);
    }
}

#[test]
fn a_chain_that_is_not_whole_is_always_damage() {
    for facts in inputs() {
        if facts.foreign || facts.missing || facts.damaged_header || facts.head_unproven {
            assert!(verdict(facts).is_damage(), "{facts:?}");
        }
    }
}

#[test]
fn the_page_on_recovery_shows_the_same_table() {
    let page = include_str!("../../../docs/recovery.md");
    let shown: Vec<(&str, &str)> = page
        .lines()
        .skip_while(|line| !line.starts_with("| what was found | verdict |"))
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.strip_suffix("` |")?.split_once(" | `"))
        .collect();
    let rows: Vec<(&str, &str)> = ROWS.iter().map(|row| (row.label, row.verdict.name())).collect();
    assert_eq!(shown, rows);
}
