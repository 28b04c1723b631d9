//! What the `wal` command says to the demonstration, line by line. Pure.
//!
//! ```text
//! wal append DIR FILE --threads N --durability durable --numbered-input --ack
//!     FILE     <number>\t<text>                 each line is the body of a record, as it stands
//!     stdout   <number> <lsn>                   one line per acknowledged record
//!     stderr   {"recovered_records":…,"dropped_bytes":…,"verdict":…,"recovery_us":…}   at the start
//!              {"records":n,"syncs":m}          now and then, and at the end
//! wal verify DIR --json   {"verdict":…}
//! wal cat DIR             the bodies, one a line, in the order of the log
//! wal cat DIR --json      {"lsn":…,"body":…}    one a line; `body_hex` where the body is no text
//! ```

use serde_json::Value;

use super::lines::index_of;

/// What the writer found when it opened the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) recovered_records: u64,
    pub(super) dropped_bytes: u64,
    pub(super) recovery_us: u64,
}

/// What the writer counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) syncs: u64,
}

/// One line of the writer's standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Opening(Opening),
    Counts(Counts),
    /// Words for people.
    Text(String),
}

/// `<number> <lsn>`, the line end included: a line cut short by the kill promises nothing.
pub(super) fn acknowledgement(line: &[u8]) -> Option<(usize, u64)> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (number, lsn) = text.split_once(' ')?;
    Some((number.parse().ok()?, address(lsn)?))
}

/// A line of standard error.
pub(super) fn note(line: &str) -> Note {
    let text = || Note::Text(line.to_owned());
    let Ok(value) = serde_json::from_str::<Value>(line) else { return text() };
    let number = |name: &str| value.get(name).and_then(Value::as_u64);
    let opening = || {
        Some(Opening {
            recovered_records: number("recovered_records")?,
            dropped_bytes: number("dropped_bytes")?,
            recovery_us: number("recovery_us")?,
        })
    };
    let counts = || Some(Counts { records: number("records")?, syncs: number("syncs")? });
    opening().map(Note::Opening).or_else(|| counts().map(Note::Counts)).unwrap_or_else(text)
}

/// The verdict in what `wal verify --json` prints.
pub(super) fn verdict(json: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let verdict = value.get("verdict")?;
    verdict.as_str().or_else(|| verdict.get("kind")?.as_str()).map(str::to_owned)
}

/// Whether a log of this verdict lost nothing that it can prove: a clean end, or a torn tail.
pub(super) fn is_sound(verdict: &str) -> bool {
    let letters: String =
        verdict.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_lowercase();
    letters == "cleanend" || letters == "torntail"
}

/// Address and line of one record of `wal cat --json`.
pub(super) fn addressed(json: &str) -> Option<(u64, usize)> {
    let value: Value = serde_json::from_str(json).ok()?;
    let lsn = value.get("lsn")?;
    let lsn = lsn.as_u64().or_else(|| address(lsn.as_str()?))?;
    let body = match value.get("body") {
        Some(text) => text.as_str()?.as_bytes().to_vec(),
        None => bytes_of_hex(value.get("body_hex")?.as_str()?)?,
    };
    Some((lsn, index_of(&body)?))
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// An LSN, decimal or hexadecimal behind `0x`.
fn address(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_a_whole_line_or_none() {
        assert_eq!(acknowledgement(b"17 4096\n"), Some((17, 4096)));
        assert_eq!(acknowledgement(b"17 0x1000\n"), Some((17, 4096)));
        for bad in [&b"17 40"[..], b"17\n", b"x 1\n", b"1 x\n", b"\n", b""] {
            assert_eq!(acknowledgement(bad), None);
        }
    }

    #[test]
    fn notes_are_told_from_words() {
        let opening = note(
            r#"{"recovered_records":3,"dropped_bytes":24,"verdict":"torn-tail","recovery_us":9}"#,
        );
        let expected = Opening { recovered_records: 3, dropped_bytes: 24, recovery_us: 9 };
        assert_eq!(opening, Note::Opening(expected));
        let counts = Counts { records: 8, syncs: 2 };
        assert_eq!(note(r#"{"records":8,"syncs":2}"#), Note::Counts(counts));
        assert_eq!(note("cannot open"), Note::Text("cannot open".to_owned()));
        assert_eq!(note("{}"), Note::Text("{}".to_owned()));
    }

    #[test]
    fn a_verdict_is_sound_when_nothing_proven_is_damaged() {
        for sound in ["CleanEnd", "clean-end", "TornTail", "torn_tail"] {
            assert!(is_sound(sound), "{sound}");
        }
        for bad in ["Corrupt", "MissingSegment", "HeadUnproven", "", "clean-ish"] {
            assert!(!is_sound(bad), "{bad}");
        }
        assert_eq!(verdict(br#"{"verdict":"clean-end"}"#).as_deref(), Some("clean-end"));
        let nested = br#"{"verdict":{"kind":"torn-tail","at":8}}"#;
        assert_eq!(verdict(nested).as_deref(), Some("torn-tail"));
        assert_eq!(verdict(b"nothing"), None);
    }

    #[test]
    fn a_record_in_json_says_where_it_is_and_which_line_it_holds() {
        assert_eq!(addressed(r#"{"lsn":4096,"kind":"data","body":"3\tx"}"#), Some((4096, 2)));
        assert_eq!(addressed(r#"{"lsn":"0x1000","body":"3\tx"}"#), Some((4096, 2)));
        assert_eq!(addressed(r#"{"lsn":4096,"body_hex":"3309ff"}"#), Some((4096, 2)));
        for bad in [r#"{"lsn":4096,"body":"x"}"#, r#"{"lsn":4096,"body_hex":"330"}"#, "{}"] {
            assert_eq!(addressed(bad), None);
        }
    }
}
