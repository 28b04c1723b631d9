//! A real small file system that fills up: tmpfs and ext4, mounted where the caller may mount.
//!
//! Rule 16 on a real kernel: what was acknowledged survives a full disk; a full disk is named; the
//! log can be looked at and opened again while it is full; and it goes on once there is room.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    BUFFERED, Backend, DIRECT, WRITE_THROUGH, acknowledged, append, lines, look, skip, text,
};
use tempfile::TempDir;

/// A mounted file system; goes with it.
struct Mount {
    point: PathBuf,
    /// The image, and the point.
    _home: TempDir,
}

impl Mount {
    /// `None`, said loudly, where mounting is not allowed.
    fn new(prepare: impl FnOnce(&Path) -> Option<Vec<String>>) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let point = home.path().join("mount");
        fs::create_dir(&point).unwrap();
        let arguments = prepare(home.path())?;
        if !ran("mount", &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &point) {
            return None;
        }
        Some(Self { point, _home: home })
    }

    fn tmpfs() -> Option<Self> {
        Self::new(|_| Some(["-t", "tmpfs", "-o", "size=1m", "tmpfs"].map(str::to_owned).to_vec()))
    }

    fn ext4() -> Option<Self> {
        Self::new(|home| {
            let image = home.join("image");
            fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
            // No journal: it would take most of so small a disk.
            let made = ran("mkfs.ext4", &["-q", "-F", "-m", "0", "-O", "^has_journal"], &image);
            made.then(|| vec!["-o".into(), "loop".into(), image.to_str().unwrap().to_owned()])
        })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmount = |flags: &[&str]| {
            let status = Command::new("umount").args(flags).arg(&self.point).status();
            status.is_ok_and(|status| status.success())
        };
        // A second panic would hide the first, so a mount that is still busy is only detached.
        if !unmount(&[]) && !unmount(&["--lazy"]) {
            eprintln!("LEFT MOUNTED: {}", self.point.display());
        }
    }
}

fn ran(program: &str, arguments: &[&str], last: &Path) -> bool {
    match Command::new(program).args(arguments).arg(last).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => skip(&format!("{program}: {}", text(&output.stderr).trim())),
        Err(error) => skip(&format!("{program}: {error}")),
    }
}

/// Fills the disk with the log itself, then lets it go on.
fn fill(mount: Option<Mount>, backend: Backend, threads: &[&str]) {
    let Some(mount) = mount else { return };
    let ballast = mount.point.join("ballast");
    fs::write(&ballast, vec![0x5a; 300 << 10]).unwrap();
    let dir = mount.point.join("log");
    let input = lines(1, 1000);
    let first = append(&dir, &input, backend, threads);
    let said = text(&first.stderr);
    assert_eq!(first.status.code(), Some(1), "{said}");
    assert!(said.contains("space"), "a full disk is named: {said}");
    let mut expected = acknowledged(&first);
    expected.sort_unstable();
    assert!(expected.len() > 3 && expected.len() < input.len(), "{}", expected.len());
    holds(&dir, &expected);

    // Full to the last block, and opened all the same.
    stuff(&mount.point.join("stuffing"));
    for round in 0..3 {
        let reopened = append(&dir, &[], backend, threads);
        assert!(reopened.status.success(), "round {round}: {}", text(&reopened.stderr));
        holds(&dir, &expected);
    }
    let more = append(&dir, &lines(2001, 2300), backend, threads);
    assert_eq!(more.status.code(), Some(1), "still full: {}", text(&more.stderr));
    expected.extend(acknowledged(&more));
    holds(&dir, &expected);

    // Room again.
    fs::remove_file(mount.point.join("stuffing")).unwrap();
    fs::remove_file(ballast).unwrap();
    let again = append(&dir, &lines(3001, 3004), backend, threads);
    assert!(again.status.success(), "{}", text(&again.stderr));
    expected.extend(acknowledged(&again));
    holds(&dir, &expected);
    assert_eq!(look(&dir).verify, 0);
}

/// Writes until there is no room for another block.
fn stuff(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    for size in [65_536, 4096] {
        while file.write_all(&vec![0xa5; size]).and_then(|()| file.sync_data()).is_ok() {}
    }
}

/// Each of `expected` is there, unaltered.
fn holds(dir: &Path, expected: &[u64]) {
    let left = look(dir);
    assert!([0, 3].contains(&left.verify), "{}", left.verify);
    for number in expected {
        let line = &lines(*number, *number)[0];
        assert!(left.lines.contains(line), "line {number} was acknowledged and is lost");
    }
}

#[test]
fn r16_a_full_tmpfs_loses_nothing_and_opens_again() {
    fill(Mount::tmpfs(), BUFFERED, &["--single-threaded"]);
    fill(Mount::tmpfs(), WRITE_THROUGH, &["--threads", "4"]);
}

#[test]
fn r16_a_full_ext4_loses_nothing_and_opens_again() {
    fill(Mount::ext4(), BUFFERED, &["--single-threaded"]);
    fill(Mount::ext4(), BUFFERED, &["--threads", "4"]);
}

#[test]
fn r16_a_full_ext4_past_the_page_cache_loses_nothing_and_opens_again() {
    fill(Mount::ext4(), DIRECT, &["--single-threaded"]);
    fill(Mount::ext4(), DIRECT, &["--threads", "4"]);
}
