//! What the example `toy_engine` tells its readers: the sound engine passes above its floors, each
//! planted bug of its recovery is found in a moment, and what a failure prints shows it again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../examples/toy_engine.rs"]
#[allow(dead_code)]
mod toy_engine;

use toy_engine::{Bug, Lab, floors};

#[test]
fn the_sound_engine_passes_above_its_floors() {
    let coverage = Lab::default().run(|_, _| ()).unwrap();
    assert_eq!(coverage.below(&floors()), [""; 0], "{}", coverage.to_json());
}

#[test]
fn three_runs_of_the_lab_end_in_the_same_hash() {
    let hash = |seed| Lab { seed, cases: 2, ..Lab::default() }.run(|_, _| ()).unwrap().hash;
    assert_eq!([hash(5), hash(5)], [hash(5); 2]);
    assert_ne!(hash(5), hash(6));
}

#[test]
fn each_planted_bug_is_found_and_replayed_as_its_failure_prints_it() {
    for bug in [Bug::TrustsLengths, Bug::LeavesTheTail, Bug::TrustsTheCache] {
        let failure = Lab { bug, ..Lab::default() }.run(|_, _| ()).unwrap_err();
        // The command names a seed and a case; only they go into the replay.
        let command = failure.replay();
        let seed: u64 =
            command.split("--seed ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let case = command.split('\'').nth(1).unwrap();
        let again = Lab { bug, seed, ..Lab::default() }.replay(case).unwrap_err();
        assert_eq!(again.reason, failure.reason, "{bug:?}");
        let sound = Lab { seed, ..Lab::default() }.replay(case);
        assert!(sound.is_ok() || sound.unwrap_err().reason.contains("does not exist"), "{bug:?}");
    }
}
