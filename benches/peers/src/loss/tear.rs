//! Tears a record which a process died in: what of it and after it the file held beyond the middle
//! of its body is gone.
//!
//! A power loss within a write leaves a file too short, or of full length with zeros where the
//! bytes did not arrive. Both are made, alike for every log; where the record is, is found by its
//! body, for no format is known here.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use wal_bench::Failure;

/// What is left behind the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: the file ends there.
    Cut,
    /// Zeros up to where the file's bytes ended.
    Zeros,
}

/// Tears the record of `body` in the one file under `dir` which holds it.
///
/// # Errors
///
/// When no file holds `body`, or it is there twice: then nothing is done.
pub fn tear(dir: &Path, body: &[u8], rest: Rest) -> Result<(), Failure> {
    let mut found = Vec::new();
    for path in files(dir)? {
        let bytes = fs::read(&path)?;
        let at = bytes.windows(body.len()).enumerate().filter(|(_, window)| *window == body);
        found.extend(at.map(|(at, _)| (path.clone(), at as u64 + body.len() as u64 / 2)));
    }
    let [(path, middle)] = found.as_slice() else {
        return Err(format!("the torn body is {} times in the files", found.len()).into());
    };
    let file = OpenOptions::new().write(true).open(path)?;
    match rest {
        Rest::Cut => file.set_len(*middle)?,
        Rest::Zeros => zero(&file, path, *middle)?,
    }
    Ok(())
}

/// Zeros from `from` up to the last byte that is none.
fn zero(file: &File, path: &Path, from: u64) -> Result<(), Failure> {
    let end = fs::read(path)?.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let zeros = vec![0; end.saturating_sub(usize::try_from(from)?)];
    Ok(file.write_all_at(&zeros, from)?)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torn(rest: Rest) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        let path = dir.path().join("in/file");
        fs::write(&path, b"before-BODY-after\0\0").unwrap();
        tear(dir.path(), b"BODY", rest).unwrap();
        fs::read(path).unwrap()
    }

    #[test]
    fn what_is_behind_the_middle_is_gone_and_nothing_before_it() {
        assert_eq!(torn(Rest::Cut), b"before-BO");
        assert_eq!(torn(Rest::Zeros), b"before-BO\0\0\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn a_body_that_is_not_there_once_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(tear(dir.path(), b"BODY", Rest::Cut).is_err());
        fs::write(dir.path().join("file"), b"BODY BODY").unwrap();
        assert!(tear(dir.path(), b"BODY", Rest::Cut).is_err());
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"BODY BODY");
    }
}
