//! The lines that the demonstration appends: a file's, repeated or cut to the number asked for.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::outcome::{Failure, Outcome};

/// The lines of `file`, without their ends; repeated or cut to `count` when one is given.
///
/// # Errors
///
/// When the file cannot be read or holds nothing.
pub(super) fn load(file: &Path, count: Option<usize>) -> Outcome<Vec<Vec<u8>>> {
    let text = std::fs::read(file).map_err(|error| Failure::at(file, &error))?;
    let lines = split(&text);
    if lines.is_empty() {
        return Err(Failure::new(format!("{}: no lines to append", file.display())));
    }
    let count = count.unwrap_or(lines.len());
    Ok(lines.iter().cycle().take(count).map(|line| line.to_vec()).collect())
}

/// Writes the given lines, by index, as `<number>\t<line>`; numbers begin at 1.
///
/// # Errors
///
/// When the file cannot be written.
pub(super) fn write_numbered(file: &Path, lines: &[Vec<u8>], indices: &[usize]) -> Outcome {
    let at = |error: std::io::Error| Failure::at(file, &error);
    let mut out = BufWriter::new(std::fs::File::create(file).map_err(at)?);
    for index in indices {
        out.write_all(&body(lines, *index)).map_err(at)?;
        out.write_all(b"\n").map_err(at)?;
    }
    out.flush().map_err(at)
}

/// The record that holds the line with this index.
pub(super) fn body(lines: &[Vec<u8>], index: usize) -> Vec<u8> {
    let mut body = format!("{}\t", index + 1).into_bytes();
    body.extend_from_slice(lines.get(index).map_or(&[], Vec::as_slice));
    body
}

/// The index of the line that `body` says it is; `None` when it says none.
pub(super) fn index_of(body: &[u8]) -> Option<usize> {
    let tab = body.iter().position(|byte| *byte == b'\t')?;
    let number: usize = std::str::from_utf8(body.get(..tab)?).ok()?.parse().ok()?;
    number.checked_sub(1)
}

fn split(text: &[u8]) -> Vec<&[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() { Vec::new() } else { text.split(|byte| *byte == b'\n').collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_repeated_or_cut_to_the_number_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        std::fs::write(&file, b"one\n\nthree\xff").unwrap();
        let own: [&[u8]; 3] = [b"one", b"", b"three\xff"];
        assert_eq!(load(&file, None).unwrap(), own);
        assert_eq!(load(&file, Some(2)).unwrap(), own[..2]);
        assert_eq!(load(&file, Some(5)).unwrap()[3], b"one");
    }

    #[test]
    fn a_file_without_lines_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        std::fs::write(&file, "").unwrap();
        assert!(load(&file, None).is_err());
        assert!(load(&dir.path().join("gone"), None).is_err());
    }

    #[test]
    fn a_body_leads_back_to_its_line() {
        let lines = vec![b"one".to_vec(), b"a\tb".to_vec()];
        assert_eq!(body(&lines, 1), b"2\ta\tb");
        assert_eq!(index_of(&body(&lines, 1)), Some(1));
        for bad in [&b"no number"[..], b"x\ty", b"0\ty", b"", b"-1\t"] {
            assert_eq!(index_of(bad), None);
        }
    }

    #[test]
    fn the_remaining_lines_keep_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("in");
        write_numbered(&file, &[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], &[0, 2]).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"1\ta\n3\tc\n");
    }
}
