//! Every operating command on a healthy, a torn, a damaged, a foreign, a huge and an empty log: how
//! it ends, and that it changes nothing that it is not there to change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod logs;

use std::fs;

use logs::{State, TestLog, code, stderr, stdout, wal};

/// A command with its exit code on each log, in the order of [`State::ALL`]. `DIR` is the log, `NEW`
/// a place for another one.
const COMMANDS: [(&[&str], [i32; 6]); 9] = [
    (&["segments", "DIR", "--checksum"], [0, 0, 4, 5, 0, 0]),
    (&["scrub", "DIR", "--rate", "0"], [0, 0, 0, 5, 0, 0]),
    (&["checkpoint", "list", "DIR"], [0, 0, 4, 5, 0, 0]),
    (&["hold", "list", "DIR"], [0, 0, 0, 0, 0, 0]),
    (&["truncate", "DIR", "--before", "8192", "--dry-run"], [0, 0, 4, 5, 0, 0]),
    (&["top", "DIR", "--once", "--interval", "50"], [0, 0, 0, 0, 0, 0]),
    (&["salvage", "DIR", "NEW"], [0, 0, 4, 0, 0, 0]),
    (&["copy", "DIR", "NEW"], [0, 0, 4, 5, 0, 0]),
    (&["hold", "drop", "DIR", "none"], [1, 1, 1, 1, 1, 1]),
];

#[test]
fn every_operating_command_ends_as_documented_on_every_log_and_changes_nothing_of_it() {
    let mut wrong = Vec::new();
    for (index, state) in State::ALL.into_iter().enumerate() {
        let log = TestLog::new(state);
        let before = log.contents();
        let new = log.path.with_extension("new");
        for (command, codes) in COMMANDS {
            let place = |word: &&str| match *word {
                "DIR" => log.name().to_owned(),
                "NEW" => new.to_str().unwrap().to_owned(),
                word => word.to_owned(),
            };
            let args: Vec<String> = command.iter().map(place).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let output = wal(&args);
            let said = stderr(&output);
            assert!(!said.contains("panicked"), "{state:?} {command:?}: {said}");
            if code(&output) != codes[index] {
                wrong.push(format!("{state:?} {command:?}: {} {said}", code(&output)));
            }
            if new.exists() {
                let copied = wal(&["verify", new.to_str().unwrap()]);
                assert_eq!(code(&copied), 0, "{state:?} {command:?}: {}", stdout(&copied));
                fs::remove_dir_all(&new).unwrap();
            }
        }
        assert_eq!(log.contents(), before, "{state:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn truncate_takes_the_logs_that_a_writer_takes_and_no_other() {
    for (state, expected) in State::ALL.into_iter().zip([0, 0, 0, 5, 0, 0]) {
        // The damage lies before the checkpoint, where an opening does not look.
        if state == State::Huge {
            // A writer makes segments of that size.
            continue;
        }
        let log = TestLog::new(state);
        let output = wal(&["truncate", log.name(), "--before", "8192"]);
        assert_eq!(code(&output), expected, "{state:?}: {}", stderr(&output));
    }
}
