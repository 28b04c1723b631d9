//! The writer that is killed: a child process, and what it says.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use super::protocol::{Counts, Note, Opening, acknowledgement, note};
use crate::outcome::{Failure, Outcome};

/// A writer that says nothing for so long is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(120);
const SIGKILL: i32 = 9;
/// Acknowledgements read ahead of whoever takes them. So few that a writer whose acknowledgements are
/// not taken soon waits for its pipe, and does not finish before it is killed.
const READ_AHEAD: usize = 64;

/// A running `wal append`; killed and waited for when dropped.
pub(super) struct Writer {
    child: Child,
    /// Line number and address of each acknowledgement, or a line that is none.
    acknowledgements: Receiver<Result<(usize, u64), String>>,
    /// `None` once it has been waited for.
    notes: Option<JoinHandle<Notes>>,
}

/// All that the writer said on standard error.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) opening: Option<Opening>,
    pub(super) counts: Option<Counts>,
    /// Words for people, the last few lines.
    text: Vec<String>,
}

/// How the writer ended.
pub(super) struct Ending {
    status: ExitStatus,
    pub(super) notes: Notes,
}

impl Writer {
    /// Starts appending the numbered lines of `input` to the log in `dir`.
    ///
    /// # Errors
    ///
    /// When the command cannot start.
    pub(super) fn start(wal: &Path, dir: &Path, input: &Path, threads: usize) -> Outcome<Self> {
        let mut child = Command::new(wal)
            .arg("append")
            .arg(dir)
            .arg(input)
            .args(["--threads", &threads.to_string(), "--durability", "durable"])
            .args(["--numbered-input", "--ack"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::at(wal, &error))?;
        let missing = || Failure::new("the writer has no standard output");
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let (sender, acknowledgements) = sync_channel(READ_AHEAD);
        // Both end when the child does, at the latest: their pipes close with it, and whoever drops
        // this drops the receiver.
        spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let whole = line.ends_with(b"\n");
                let said = acknowledgement(&line)
                    .ok_or_else(|| String::from_utf8_lossy(&line).trim_end().to_owned());
                if whole && sender.send(said).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let notes = Some(spawn(move || collect_notes(BufReader::new(stderr))));
        Ok(Self { child, acknowledgements, notes })
    }

    /// The next acknowledgement; `None` when there will be no more.
    ///
    /// # Errors
    ///
    /// When the writer says something else, or nothing for two minutes.
    pub(super) fn next(&self) -> Outcome<Option<(usize, u64)>> {
        match self.acknowledgements.recv_timeout(SILENCE_MAX) {
            Ok(Ok(acknowledged)) => Ok(Some(acknowledged)),
            Ok(Err(line)) => Err(Failure::new(format!("the writer said `{line}`"))),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                Err(Failure::new(format!("no acknowledgement for {SILENCE_MAX:?}")))
            }
        }
    }

    /// Sends SIGKILL: the process gets no chance to do anything more.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub(super) fn kill(&mut self) -> Outcome {
        self.child.kill().map_err(|error| Failure::new(format!("cannot kill the writer: {error}")))
    }

    /// Waits for the end. Take all acknowledgements first.
    ///
    /// # Errors
    ///
    /// When waiting fails.
    pub(super) fn finish(mut self) -> Outcome<Ending> {
        let status = self
            .child
            .wait()
            .map_err(|error| Failure::new(format!("cannot wait for the writer: {error}")))?;
        let notes = self.notes.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ok(Ending { status, notes })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ending {
    /// Succeeds when the signal ended the writer.
    ///
    /// # Errors
    ///
    /// When it ended before, on its own.
    pub(super) fn expect_killed(&self) -> Outcome {
        if self.status.signal() == Some(SIGKILL) {
            Ok(())
        } else if self.status.success() {
            Err(Failure::new(
                "the writer had finished before it could be killed; give it more with --lines",
            ))
        } else {
            self.expect_success()
        }
    }

    /// Succeeds when the writer did.
    ///
    /// # Errors
    ///
    /// With the last of what it said.
    pub(super) fn expect_success(&self) -> Outcome {
        if self.status.success() {
            return Ok(());
        }
        let said = self.notes.text.join("\n    ");
        Err(Failure::new(format!("the writer ended with {}:\n    {said}", self.status)))
    }
}

fn collect_notes(lines: impl BufRead) -> Notes {
    let mut notes = Notes::default();
    for line in lines.lines().map_while(Result::ok) {
        match note(&line) {
            Note::Opening(opening) => notes.opening = Some(opening),
            Note::Counts(counts) => notes.counts = Some(counts),
            Note::Text(text) => {
                if notes.text.len() == 20 {
                    notes.text.remove(0);
                }
                notes.text.push(text);
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that does what `text`, a piece of shell, says.
    fn script(dir: &Path, text: &str) -> Writer {
        std::fs::write(dir.join("behave"), text).unwrap();
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/stand_in.sh");
        Writer::start(&stand_in, dir, dir, 1).unwrap()
    }

    #[test]
    fn a_killed_writer_has_acknowledged_what_it_printed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = script(
            dir.path(),
            "echo '{\"records\":1,\"syncs\":1}' >&2; echo 1 8; printf '2 1'; \
                                exec sleep 600",
        );
        assert_eq!(writer.next().unwrap(), Some((1, 8)));
        writer.kill().unwrap();
        assert_eq!(writer.next().unwrap(), None);
        let ending = writer.finish().unwrap();
        ending.expect_killed().unwrap();
        assert!(ending.expect_success().is_err());
    }

    #[test]
    fn a_writer_whose_acknowledgements_nobody_takes_waits_to_be_killed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = script(dir.path(), "exec seq -f '%.0f 8' 100000");
        assert_eq!(writer.next().unwrap(), Some((1, 8)));
        // Time enough to print them all, if it could.
        std::thread::sleep(Duration::from_millis(200));
        writer.kill().unwrap();
        while writer.next().unwrap().is_some() {}
        writer.finish().unwrap().expect_killed().unwrap();
    }

    #[test]
    fn a_writer_that_fails_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let writer = script(dir.path(), "echo 'cannot open the log' >&2; exit 3");
        assert_eq!(writer.next().unwrap(), None);
        let failure = writer.finish().unwrap().expect_killed().unwrap_err().to_string();
        assert!(failure.contains("cannot open the log"), "{failure}");
    }

    #[test]
    fn a_writer_that_finished_first_was_not_killed() {
        let dir = tempfile::tempdir().unwrap();
        let writer = script(dir.path(), "echo '{\"records\":4,\"syncs\":2}' >&2");
        assert_eq!(writer.next().unwrap(), None);
        let ending = writer.finish().unwrap();
        assert_eq!(ending.notes.counts, Some(Counts { records: 4, syncs: 2 }));
        assert!(ending.expect_killed().is_err());
        ending.expect_success().unwrap();
    }

    #[test]
    fn a_writer_that_says_anything_else_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let writer = script(dir.path(), "echo hello");
        assert!(writer.next().is_err());
    }
}
