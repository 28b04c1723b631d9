//! Every reading command on a healthy, a torn, a damaged, a foreign, a huge and an empty log: what
//! it prints, how it ends, and that it changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod logs;

use logs::{State, TestLog, code, json, stderr, stdout, wal};

/// A command with its exit code on each log, in the order of [`State::ALL`].
const COMMANDS: [(&[&str], [i32; 6]); 12] = [
    (&["cat"], [0, 0, 4, 5, 0, 0]),
    (&["cat", "--json"], [0, 0, 4, 5, 0, 0]),
    (&["dump"], [0, 0, 4, 5, 0, 0]),
    (&["dump", "--json", "--hex"], [0, 0, 4, 5, 0, 0]),
    (&["dump", "--decoder", "sed -u 's/.*/seen/'"], [0, 0, 4, 5, 0, 0]),
    // The torn log was not closed: nobody waits for that.
    (&["dump", "--follow", "--limit", "1"], [0, 0, 0, 5, 0, 0]),
    (&["verify"], [0, 3, 4, 5, 0, 0]),
    (&["verify", "--json", "--from", "4096"], [0, 3, 4, 5, 0, 0]),
    (&["inspect"], [0, 0, 4, 5, 0, 0]),
    (&["inspect", "--json"], [0, 0, 4, 5, 0, 0]),
    (&["stat"], [0, 0, 4, 5, 0, 0]),
    // Where nothing is wrong and no transaction is found, that is said as a failure.
    (&["txn", "1"], [0, 0, 4, 5, 0, 1]),
];

#[test]
fn every_reading_command_ends_as_documented_on_every_log_and_changes_nothing() {
    for (index, state) in State::ALL.into_iter().enumerate() {
        let log = TestLog::new(state);
        let before = log.contents();
        for (command, codes) in COMMANDS {
            let mut args = vec![command[0], log.name()];
            args.extend(&command[1..]);
            let output = wal(&args);
            let said = stderr(&output);
            assert_eq!(code(&output), codes[index], "{state:?} {command:?}: {said}");
            // `verify` answers on its output; all others say there only what they found.
            let must_say = codes[index] != 0 && command[0] != "verify";
            assert!(!must_say || said.starts_with("wal: "), "{state:?} {command:?}: {said}");
            assert!(!said.contains("panicked"), "{state:?} {command:?}: {said}");
        }
        assert_eq!(log.contents(), before, "{state:?}");
    }
}

#[test]
fn the_verdict_on_each_log_is_named() {
    let names = ["clean-end", "torn-tail", "corrupt", "foreign-segment", "clean-end", "clean-end"];
    for (state, name) in State::ALL.into_iter().zip(names) {
        let log = TestLog::new(state);
        let verdict = &json(&["verify", log.name()])[0];
        assert_eq!(verdict["verdict"], name, "{state:?}");
        let inspected = &json(&["inspect", log.name()])[0];
        assert_eq!(inspected["verdict"], name, "{state:?}");
        assert_eq!(inspected["end"], verdict["end"], "{state:?}");
    }
}

#[test]
fn the_flipped_bit_of_the_damaged_log_is_named() {
    let log = TestLog::new(State::Damaged);
    let said = stdout(&wal(&["verify", log.name()]));
    assert!(said.contains("bit 3 of byte 0 of the body of the record at"), "{said}");
    let bit = &json(&["verify", log.name()])[0]["flipped_bit"];
    assert_eq!((bit["bit"].as_u64(), bit["byte"].as_u64()), (Some(3), Some(0)));
    assert_eq!(bit["part"], "body");
    assert!(json(&["verify", TestLog::new(State::Healthy).name()])[0]["flipped_bit"].is_null());
}

#[test]
fn a_range_before_the_damage_is_whole() {
    let log = TestLog::new(State::Damaged);
    let at = json(&["verify", log.name()])[0]["end"].to_string();
    let before = wal(&["verify", log.name(), "--to", &at]);
    assert_eq!(code(&before), 0, "{}", stdout(&before));
    assert!(stdout(&before).contains("whole up to the end of the range"));
    assert_eq!(code(&wal(&["verify", log.name(), "--from", &at])), 4);
    let counted = &json(&["verify", log.name(), "--to", &at])[0];
    // The opening and three records.
    assert_eq!((counted["records"].as_u64(), counted["damaged"].as_bool()), (Some(4), Some(false)));
}

#[test]
fn a_range_that_ends_before_it_begins_is_refused() {
    let log = TestLog::new(State::Healthy);
    for verb in ["verify", "inspect", "dump"] {
        let output = wal(&[verb, log.name(), "--from", "20000", "--to", "10000"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(code(&output), 1, "{verb}: {said}");
        assert!(said.contains("lies before `--from"), "{said}");
    }
}

#[test]
fn how_the_log_was_left_is_told() {
    for (state, left) in [
        (State::Healthy, "closed cleanly"),
        (State::Torn, "not closed: in use, or left without a close"),
    ] {
        let log = TestLog::new(state);
        for verb in ["verify", "inspect"] {
            let said = stdout(&wal(&[verb, log.name()]));
            assert!(said.contains(left), "{verb}: {said}");
        }
    }
    let said = stdout(&wal(&["verify", TestLog::new(State::Damaged).name()]));
    assert!(!said.contains("closed cleanly") && !said.contains("not closed"), "{said}");
}

#[test]
fn the_map_shows_what_is_durable_torn_and_damaged() {
    let shown = |state| stdout(&wal(&["inspect", TestLog::new(state).name(), "--color", "never"]));
    let healthy = shown(State::Healthy);
    for word in
        ["█", "·", "C checkpoint", "R replay starts", "checkpoint in force", "closed cleanly"]
    {
        assert!(healthy.contains(word), "{word}: {healthy}");
    }
    assert!(shown(State::Torn).contains("✗ end of what can be read"));
    assert!(shown(State::Damaged).contains("╳"));
    assert!(shown(State::Huge).contains("10 GiB"));
}

#[test]
fn the_page_needs_nothing_else_and_shows_map_and_charts() {
    for state in State::ALL {
        let log = TestLog::new(state);
        let file = log.path.with_extension("html");
        let args = ["inspect", log.name(), "--html", file.to_str().unwrap()];
        let output = wal(&args);
        assert_eq!(code(&output), [0, 0, 4, 5, 0, 0][state as usize], "{}", stderr(&output));
        let page = std::fs::read_to_string(file).unwrap();
        for banned in ["<script", "http-equiv", " src=", "@import", "url("] {
            assert!(!page.contains(banned), "{banned}");
        }
        let addresses = page.matches("http").count();
        assert_eq!(addresses, page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(page.contains("<h2>Segments</h2>") && page.ends_with("</html>\n"), "{state:?}");
        assert!(page.matches("<svg").count() > if state == State::Empty { 1 } else { 3 });
    }
    let unwritable = wal(&["inspect", TestLog::new(State::Empty).name(), "--html", "/no/such/x"]);
    assert_eq!(code(&unwritable), 1, "{}", stderr(&unwritable));
}

#[test]
fn colours_are_there_only_when_asked_for_and_never_in_json() {
    let log = TestLog::new(State::Healthy);
    for command in [
        &["inspect", log.name()][..],
        &["dump", log.name()],
        &["txn", log.name(), "1"],
        &["verify", log.name()],
    ] {
        let coloured = |flags: &[&str]| {
            let mut args = command.to_vec();
            args.extend(flags);
            stdout(&wal(&args)).contains('\x1b')
        };
        assert!(coloured(&["--color", "always"]), "{command:?}");
        assert!(!coloured(&["--color", "never"]), "{command:?}");
        assert!(!coloured(&[]), "{command:?}");
        assert!(!coloured(&["--color", "always", "--json"]), "{command:?}");
    }
    assert_eq!(code(&wal(&["inspect", log.name(), "--color", "sometimes"])), 2);
    assert_eq!(code(&wal(&["--quiet", "inspect", log.name()])), 0);
}
