//! How many syncs a process makes for its commits, counted under `strace`.
//!
//! A process that dies takes nothing from the kernel, so no crash here shows that a log never
//! syncs. The count does: whoever acknowledges without a sync has put nothing on the device.

use std::path::Path;
use std::process::{Command, Stdio};

use wal_bench::Failure;

use super::step::MARKS;

/// Whether syncs can be counted here.
pub fn can_be_counted() -> bool {
    Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// Runs `command` under `strace`: the syncs which it made between its marks.
///
/// # Errors
///
/// When it fails, or set no marks.
pub fn count(command: &Command, trace: &Path) -> Result<usize, Failure> {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=fsync,fdatasync,syncfs,openat", "-e", "signal=none"]);
    traced.arg("-o").arg(trace).arg(command.get_program()).args(command.get_args());
    let output = traced.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(format!("under strace: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    between_marks(&String::from_utf8_lossy(&std::fs::read(trace)?))
}

fn between_marks(trace: &str) -> Result<usize, Failure> {
    let is_mark = |mark: &'static str| move |line: &str| line.contains(mark);
    let lines: Vec<&str> = trace.lines().collect();
    let ends = MARKS.map(|mark| lines.iter().position(|line| is_mark(mark)(line)));
    let [Some(first), Some(last)] = ends else {
        return Err("the trace lacks the marks around the commits".into());
    };
    // A call which another thread cuts into has two lines; only the first has its name and "(".
    let is_sync =
        |line: &&&str| ["fsync(", "fdatasync(", "syncfs("].iter().any(|call| line.contains(call));
    Ok(lines.get(first..last).unwrap_or_default().iter().filter(is_sync).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_syncs_between_the_marks_count_and_each_once() {
        let [begins, ends] = MARKS;
        let trace = format!(
            "9 fsync(3) = 0\n9 openat(AT_FDCWD, \"{begins}\", 0) = -1\n\
             9 fdatasync(3 <unfinished ...>\n8 fsync(4) = 0\n9 <... fdatasync resumed>) = 0\n\
             9 openat(AT_FDCWD, \"{ends}\", 0) = -1\n9 fsync(3) = 0\n"
        );
        assert_eq!(between_marks(&trace).unwrap(), 2);
        assert!(between_marks("9 fsync(3) = 0").is_err());
    }
}
