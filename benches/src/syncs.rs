//! How often a log really syncs: a run of its own under `strace`, not timed.
//!
//! A thread is answered only after a sync which began after it asked. So of a log which keeps its
//! promise, a lone thread's every commit costs at least one sync; a log with fewer is marked.
//!
//! Counted are calls which sync, writes to files opened to sync each of them, and single writes
//! asked to; not calls which only start writing. A log which submits to `io_uring` hides its syncs
//! from `strace` and is not judged.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::peer::Failure;
use crate::run::MARKS;

/// What a trace tells.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) enum Syncs {
    /// Syncs of a commit, on average.
    PerCommit(f64),
    /// The log submits in a way which the trace does not see into.
    Hidden,
}

const CALLS: &str = "trace=fsync,fdatasync,msync,syncfs,sync,\
                     openat,open,write,writev,pwrite64,pwritev,pwritev2,io_uring_enter";

/// Whether syncs can be counted here.
pub(crate) fn can_be_counted() -> bool {
    Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// Runs `command` under `strace`; it marks where its `commits` begin and end.
pub(crate) fn count(command: &Command, trace: &Path, commits: u64) -> Result<Syncs, Failure> {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-y", "-qq", "-s0", "--seccomp-bpf", "-e", CALLS, "-e", "signal=none"]);
    traced.arg("-o").arg(trace).arg(command.get_program()).args(command.get_args());
    let output = traced.output()?;
    if !output.status.success() {
        return Err(format!("under strace: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8_lossy(&std::fs::read(trace)?).into_owned();
    read(&text, commits)
}

/// Reads a trace.
fn read(text: &str, commits: u64) -> Result<Syncs, Failure> {
    let mut synced_files = HashSet::new();
    let (mut counting, mut syncs) = (None, 0_u64);
    for line in text.lines() {
        // "1234  fdatasync(5</dir/file>) = 0", or without the end when another thread cuts in.
        let Some((call, rest)) =
            line.split_once(char::is_whitespace).and_then(|(_, call)| call.trim().split_once('('))
        else {
            continue;
        };
        match call {
            "openat" | "open" => {
                if rest.contains(MARKS[0]) {
                    counting = Some(true);
                } else if rest.contains(MARKS[1]) {
                    counting = Some(false);
                } else if rest.contains("O_DSYNC") || rest.contains("O_SYNC") {
                    synced_files.extend(rest.split('"').nth(1));
                }
            }
            _ if counting != Some(true) => {}
            "io_uring_enter" => return Ok(Syncs::Hidden),
            "fsync" | "fdatasync" | "syncfs" | "sync" => syncs += 1,
            "msync" if rest.contains("MS_SYNC") => syncs += 1,
            "pwritev2" if rest.contains("RWF_DSYNC") || rest.contains("RWF_SYNC") => syncs += 1,
            _ => {
                let file = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                if file.is_some_and(|(file, _)| synced_files.contains(file)) {
                    syncs += 1;
                }
            }
        }
    }
    match counting {
        Some(false) => Ok(Syncs::PerCommit(syncs as f64 / commits as f64)),
        _ => Err("the trace lacks the marks around the counted commits".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(lines: &[&str]) -> String {
        let mark = |mark: &str| format!("9 openat(AT_FDCWD</d>, \"{mark}\", O_RDONLY) = -1 ENOENT");
        format!(
            "{}\n{}\n{}\n9 fsync(3</d/a>) = 0",
            mark(MARKS[0]),
            lines.join("\n"),
            mark(MARKS[1])
        )
    }

    #[test]
    fn syncs_between_the_marks_are_counted_once_each() {
        let lines = [
            "9 write(3</d/a>, \"\"..., 9) = 9",
            "9 msync(0x7f, 4096, MS_ASYNC) = 0",
            "9 fdatasync(3</d/a> <unfinished ...>",
            "8 fsync(4</d/b>) = 0",
            "9 <... fdatasync resumed>) = 0",
        ];
        assert_eq!(read(&trace(&lines), 4).unwrap(), Syncs::PerCommit(0.5));
    }

    #[test]
    fn writes_to_a_file_opened_to_sync_each_are_counted() {
        let opened = "9 openat(AT_FDCWD</d>, \"/d/a\", O_RDWR|O_DSYNC) = 3</d/a>\n";
        let lines =
            ["9 pwrite64(3</d/a>, \"\"..., 9, 0) = 9", "9 pwrite64(4</d/b>, \"\"..., 9, 0) = 9"];
        let text = format!("{opened}{}", trace(&lines));
        assert_eq!(read(&text, 1).unwrap(), Syncs::PerCommit(1.0));
    }

    #[test]
    fn a_log_that_never_syncs_has_none() {
        let lines = ["9 write(3</d/a>, \"\"..., 9) = 9"];
        assert_eq!(read(&trace(&lines), 1).unwrap(), Syncs::PerCommit(0.0));
    }

    #[test]
    fn a_ring_hides_syncs_and_missing_marks_are_an_error() {
        assert_eq!(read(&trace(&["9 io_uring_enter(3, 1) = 1"]), 1).unwrap(), Syncs::Hidden);
        assert!(read("9 fsync(3</d/a>) = 0", 1).is_err());
    }
}
