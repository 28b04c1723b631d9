//! What a real directory does when the system says no: full, forbidden, taken by another process.
//!
//! Some of it needs a process of its own, under a limit: those tests run this file again.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use wal_io::backend::FileStorage;
use wal_io::{IoError, Storage};

/// Tells a second run of this file that it is the child, and in which directory it works.
const CHILD: &str = "WAL_IO_TEST_DIRECTORY";

fn child_directory() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// This file again, running only `test`, after `setup` in a shell.
fn child(setup: &str, test: &str, directory: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{setup} exec \"$0\" --exact {test} --nocapture"))
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, directory);
    command
}

/// Every backend on a directory that this machine has.
fn storages(directory: &Path) -> Vec<Arc<dyn Storage>> {
    #[allow(unused_mut, reason = "only Linux has a second one")]
    let mut all: Vec<Arc<dyn Storage>> = vec![Arc::new(FileStorage::open(directory).unwrap())];
    #[cfg(target_os = "linux")]
    match wal_io::backend::DirectStorage::open(directory) {
        Ok(direct) => all.push(Arc::new(direct)),
        Err(error) => eprintln!("SKIPPED for direct I/O: {error}"),
    }
    all
}

#[test]
fn r16_a_create_that_fails_half_way_leaves_no_file() {
    if let Some(directory) = child_directory() {
        for storage in storages(&directory) {
            let error = storage.create("large", 1 << 20).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
            assert!(storage.list().unwrap().is_empty(), "a failed create left a file");
            let small = storage.create("small", 4096).unwrap();
            assert_eq!(small.len().unwrap(), 4096, "the storage is usable after the failure");
            storage.remove("small").unwrap();
        }
        return;
    }
    // The limit of 64 blocks is 32 or 64 KiB, depending on the shell; the signal that comes with
    // exceeding it would otherwise end the child.
    let dir = tempfile::tempdir().unwrap();
    let test = "r16_a_create_that_fails_half_way_leaves_no_file";
    let output = child("trap '' XFSZ; ulimit -f 64;", test, dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("1 passed"), "the child ran nothing: {stdout}");
}

#[test]
#[cfg(target_os = "linux")]
fn r16_a_create_larger_than_the_device_is_refused_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    for storage in storages(dir.path()) {
        let error = storage.create("huge", 1 << 60).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert!(storage.list().unwrap().is_empty());
    }
}

#[test]
fn a_lock_is_refused_to_a_second_process_and_granted_when_the_first_is_killed() {
    let test = "a_lock_is_refused_to_a_second_process_and_granted_when_the_first_is_killed";
    if let Some(directory) = child_directory() {
        let _lock = FileStorage::open(directory).unwrap().lock().unwrap();
        println!("locked");
        io::stdout().flush().unwrap();
        // Until the parent kills this process, or is gone itself.
        let _ = io::stdin().read_line(&mut String::new());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        child("", test, dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = io::BufRead::lines(io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("locked")), "the child never had the lock");

    let storage = FileStorage::open(dir.path()).unwrap();
    let error = storage.lock().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(error.to_string().contains(&child.id().to_string()), "{error}");

    child.kill().unwrap();
    child.wait().unwrap();
    storage.lock().unwrap();
}

#[test]
fn a_lock_excludes_another_storage_over_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    let all = storages(dir.path());
    let again = FileStorage::open(dir.path()).unwrap();
    for storage in &all {
        let lock = storage.lock().unwrap();
        assert_eq!(again.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        drop(again.lock().unwrap());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_place_without_permission_is_an_error_of_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
    // Mode bits do not bind root; what the kernel shows under /sys binds everybody.
    let bound = std::fs::read_dir(dir.path()).is_err();
    let forbidden = if bound { dir.path().join("log") } else { "/sys/kernel/wal-test".into() };
    let error = FileStorage::open(&forbidden).unwrap_err();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let IoError::Failed { source, name, .. } = &error else { panic!("{error:?}") };
    assert!(
        matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ),
        "{error}"
    );
    assert_eq!(Path::new(name), forbidden);
}

#[test]
fn a_handle_keeps_its_file_when_the_name_is_given_away() {
    let dir = tempfile::tempdir().unwrap();
    for storage in storages(dir.path()) {
        let file = storage.create("old.tmp", 4096).unwrap();
        storage.rename("old.tmp", "new").unwrap();
        file.write_at(&[IoSlice::new(&[7; 4096])], 0).unwrap();
        file.sync_all().unwrap();
        let mut back = [0; 4096];
        let other = storage.open("new", wal_io::Access::Read).unwrap();
        assert_eq!(other.read_at(&mut back, 0).unwrap(), 4096);
        assert_eq!(back, [7; 4096]);
        storage.remove("new").unwrap();
    }
}
