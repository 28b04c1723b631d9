//! A copy of the repository's sources, brought up to date in place so that little is rebuilt.

use std::fs;
use std::path::Path;

use crate::outcome::{Failure, Outcome};

/// Directories that no build needs.
const LEFT_OUT: &[&str] = &["target", ".git", ".ci", ".github"];

/// Brings `to` up to date with `from`; a file that is the same keeps its time.
///
/// # Errors
///
/// When a file cannot be read or written.
pub(super) fn tree(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to).map_err(|error| Failure::at(to, &error))?;
    let entries = fs::read_dir(from).map_err(|error| Failure::at(from, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Failure::at(from, &error))?;
        let (path, name) = (entry.path(), entry.file_name());
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        if path.is_dir() {
            tree(&path, &to.join(name))?;
        } else if path.is_file() {
            let bytes = fs::read(&path).map_err(|error| Failure::at(&path, &error))?;
            write_bytes(&to.join(name), &bytes)?;
        }
    }
    Ok(())
}

/// Writes `text` to `path`, unless it is there already.
///
/// # Errors
///
/// When the file cannot be written.
pub(super) fn write(path: &Path, text: &str) -> Outcome {
    write_bytes(path, text.as_bytes())
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Outcome {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(|error| Failure::at(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_its_original_and_leaves_out_what_is_built() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("src")).unwrap();
        fs::create_dir_all(from.join("target")).unwrap();
        fs::write(from.join("src/lib.rs"), "one").unwrap();
        fs::write(from.join("target/big"), "built").unwrap();
        tree(&from, &to).unwrap();
        write(&to.join("src/lib.rs"), "a bug").unwrap();
        tree(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("src/lib.rs")).unwrap(), "one");
        assert!(!to.join("target").exists());
    }
}
