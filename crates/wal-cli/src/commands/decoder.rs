//! The user's program which says what bodies mean: one process, a line a record in, a line out.
//!
//! To the decoder goes a JSON object a line, `{"lsn":…,"kind":…,"kind_number":…,"txn":…,
//! "compressed":…,"body_hex":…}`; back comes one line for each, in the same order. Whatever the
//! program does, nothing here waits for ever: writing and reading have threads of their own, so that
//! a decoder which answers late, all at once at its end, or never, blocks neither; answers that do
//! not come in time are an error.
//!
//! Invariant: at most [`OUTSTANDING_MAX`] records and [`OUTSTANDING_BYTES_MAX`] bytes are unanswered.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use wal::{Lsn, RecordFlags, RecordRef, TxnLink};

use super::output::hex;
use crate::exit::Failure;

/// Records sent and not answered. Enough for a program that fills a buffer before it writes.
const OUTSTANDING_MAX: usize = 16_384;
/// Bytes of lines sent and not answered.
const OUTSTANDING_BYTES_MAX: usize = 64 << 20;
/// Longest line of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Between two looks whether a decoder that closed its output has ended.
const NAP: Duration = Duration::from_millis(5);

/// A decoder at work.
#[derive(Debug)]
pub(crate) struct Decoder {
    child: Child,
    /// `None` once no more is sent.
    questions: Option<Sender<String>>,
    answers: Receiver<Answer>,
    outstanding: usize,
    outstanding_bytes: usize,
    timeout: Duration,
    is_over: bool,
}

#[derive(Debug)]
enum Answer {
    Line(String),
    TooLong,
    NotText,
    Failed(std::io::Error),
}

impl Decoder {
    /// Starts `program`, a command line for the shell.
    pub(crate) fn start(program: &str, timeout: Duration) -> Result<Self, Failure> {
        let mut child =
            shell(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(
                |error| Failure::Decoder(format!("`{program}` cannot be started: {error}")),
            )?;
        let (questions, to_send) = channel();
        let (found, answers) = channel();
        if let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) {
            // Neither is joined: a decoder that hangs must not hang us.
            let _writer = thread::spawn(move || send(stdin, &to_send));
            let _reader = thread::spawn(move || receive(stdout, &found));
        }
        Ok(Self {
            child,
            questions: Some(questions),
            answers,
            outstanding: 0,
            outstanding_bytes: 0,
            timeout,
            is_over: false,
        })
    }

    /// Sends a record; its answer comes from [`take`](Self::take), in the order of the records.
    pub(crate) fn ask(&mut self, record: &RecordRef<'_>) -> usize {
        let mut line = json!({
            "lsn": record.lsn().get(), "kind": record.kind().to_string(),
            "kind_number": record.kind().get(),
            "txn": record.txn.map(|TxnLink { txn_id, .. }| txn_id.get()),
            "compressed": record.flags().contains(RecordFlags::COMPRESSED),
            "body_hex": hex(record.body),
        })
        .to_string();
        line.push('\n');
        let bytes = line.len();
        self.outstanding += 1;
        self.outstanding_bytes += bytes;
        if let Some(questions) = &self.questions {
            // A writer that is gone has met a dead decoder; the answer that is missing tells it.
            let _dead = questions.send(line);
        }
        bytes
    }

    /// Whether so much is unanswered that the next answer must be taken first.
    pub(crate) const fn is_full(&self) -> bool {
        self.outstanding >= OUTSTANDING_MAX || self.outstanding_bytes >= OUTSTANDING_BYTES_MAX
    }

    /// The answer to the oldest unanswered record, that at `lsn`, which was sent as `bytes`. Waits
    /// for it if `must`, and is `None` if it is not there yet otherwise.
    pub(crate) fn take(
        &mut self,
        lsn: Lsn,
        bytes: usize,
        must: bool,
    ) -> Result<Option<String>, Failure> {
        let answer = if must {
            self.answers.recv_timeout(self.timeout)
        } else {
            self.answers.recv_timeout(Duration::ZERO)
        };
        let broken = |what: &str| Failure::Decoder(format!("{what} for the record at {lsn}"));
        match answer {
            Ok(Answer::Line(line)) => {
                self.outstanding -= 1;
                self.outstanding_bytes -= bytes.min(self.outstanding_bytes);
                Ok(Some(line))
            }
            Ok(Answer::TooLong) => Err(broken("gave a line that does not end")),
            Ok(Answer::NotText) => Err(broken("gave a line that is no UTF-8")),
            Ok(Answer::Failed(error)) => Err(broken(&format!("cannot be read: {error};"))),
            Err(RecvTimeoutError::Timeout) if !must => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(Failure::Decoder(format!(
                "gave no line for the record at {lsn} within {} s; it must write one a record, and \
                 flush it",
                self.timeout.as_secs_f64()
            ))),
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.wait()?;
                Err(broken(&format!("ended ({ended}) before it gave a line")))
            }
        }
    }

    /// No more records will come; what is outstanding may still be taken.
    pub(crate) fn end_questions(&mut self) {
        self.questions = None;
    }

    /// Waits for the end of the program, once all is answered.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.end_questions();
        match self.answers.recv_timeout(self.timeout) {
            Ok(_) => {
                return Err(Failure::Decoder("gave more lines than it was sent records".into()));
            }
            Err(RecvTimeoutError::Timeout) => return Err(self.does_not_end()),
            Err(RecvTimeoutError::Disconnected) => {}
        }
        let ended = self.wait()?;
        if ended.success() {
            return Ok(());
        }
        Err(Failure::Decoder(format!("failed ({ended})")))
    }

    fn wait(&mut self) -> Result<std::process::ExitStatus, Failure> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.is_over = true;
                    return Ok(status);
                }
                Ok(None) if Instant::now() < deadline => thread::sleep(NAP),
                Ok(None) => return Err(self.does_not_end()),
                Err(error) => return Err(Failure::Decoder(format!("is lost: {error}"))),
            }
        }
    }

    fn does_not_end(&self) -> Failure {
        let seconds = self.timeout.as_secs_f64();
        Failure::Decoder(format!("did not end within {seconds} s of the end of its input"))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        if !self.is_over {
            // It ended by itself meanwhile, or does now; either way it is taken off the table.
            let _gone = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

#[cfg(unix)]
fn shell(program: &str) -> Command {
    let mut command = Command::new("sh");
    // `exec`, so that the child is the decoder itself and can be ended.
    command.arg("-c").arg(format!("exec {program}"));
    command
}

#[cfg(not(unix))]
fn shell(program: &str) -> Command {
    let mut command = Command::new("cmd");
    command.arg("/C").arg(program);
    command
}

fn send(mut stdin: ChildStdin, questions: &Receiver<String>) {
    for line in questions {
        if stdin.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

fn receive(stdout: ChildStdout, found: &Sender<Answer>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = (&mut stdout).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line);
        let answer = match read {
            Ok(0) => return,
            Ok(count) if count as u64 == ANSWER_BYTES_MAX => Answer::TooLong,
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                String::from_utf8(line).map_or(Answer::NotText, Answer::Line)
            }
            Err(error) => Answer::Failed(error),
        };
        let is_last = !matches!(answer, Answer::Line(_));
        if found.send(answer).is_err() || is_last {
            return;
        }
    }
}
