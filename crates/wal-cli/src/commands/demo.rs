//! `wal demo`: a short tour, with a real process that is killed.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::Args;

use super::output::{line, stdout};
use crate::exit::{Exit, Failure};

/// Acknowledgements to wait for before the writer is killed.
const ACKNOWLEDGED: usize = 300;
const LINES: usize = 5000;

/// Show in a temporary directory what the log does: append, kill, recover, find damage, save.
///
/// Starts this command as other processes, prints what it starts, and judges what comes out. What
/// was made is removed at the end. Exit codes: 0 all went as promised, 1 it did not.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the directory for a look around.
    #[arg(long)]
    keep: bool,
}

struct Stage {
    program: PathBuf,
    dir: PathBuf,
}

impl Demo {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::io("wal", error))?;
        let ground = tempfile::Builder::new().prefix("wal-demo-").tempdir();
        let ground = ground.map_err(|error| Failure::io("a temporary directory", error))?;
        let stage = Stage { program, dir: ground.path().to_owned() };
        let played = stage.play();
        if self.keep {
            let path = ground.keep();
            tell(format!("\nAll of it is left in {}.", path.display()))?;
        } else {
            ground.close().map_err(|error| Failure::io("the temporary directory", error))?;
        }
        played?;
        Ok(Exit::Done)
    }
}

impl Stage {
    fn play(&self) -> Result<(), Failure> {
        let log = self.dir.join("log");
        tell("1. A writer appends, and says of each record when it is durable. We kill it.")?;
        let acknowledged = self.append_and_kill(&log)?;
        tell(format!("   {acknowledged} records were acknowledged when it died, by SIGKILL."))?;
        tell("\n2. What did it leave?")?;
        self.show(&["verify", &text(&log)], &[0, 3])?;
        let found = count_lines(&self.show_quietly(&["cat", &text(&log)])?);
        demand(found >= acknowledged, "an acknowledged record is lost")?;
        let others = found - acknowledged;
        let said = format!("   {found} records are there: the {acknowledged}, and {others} more.");
        tell(said)?;
        tell("\n3. The next writer recovers by opening, and goes on.")?;
        self.feed(&log, "a record after the crash\n")?;
        let after = count_lines(&self.show_quietly(&["cat", &text(&log)])?);
        demand(after == found + 1, "the log did not go on where it ended")?;
        self.show(&["verify", &text(&log)], &[0])?;
        tell("\n4. Now a bit decays in the middle.")?;
        flip(&log)?;
        self.show(&["verify", &text(&log)], &[4])?;
        let refused = self.start(&["append", &text(&log)])?;
        demand(refused.status.code() == Some(4), "a damaged log was opened")?;
        tell("   A writer refuses to open it, so that nothing makes it worse.")?;
        tell("\n5. What is whole can be saved, into a log of its own.")?;
        let saved = self.dir.join("saved");
        self.show(&["salvage", &text(&log), &text(&saved)], &[4])?;
        let left = count_lines(&self.show_quietly(&["cat", &text(&saved)])?);
        demand(left + 1 == after, "more was lost than the one record")?;
        tell(format!("\nOf {after} records the one that decayed is lost, and everybody was told."))
    }

    /// Appends until enough is acknowledged; gives how many were.
    fn append_and_kill(&self, log: &Path) -> Result<usize, Failure> {
        tell(format!("   $ seq 1 {LINES} | wal append LOG --ack"))?;
        let mut child = Command::new(&self.program)
            .args(["append", &text(log), "--ack", "--segment-bytes", "65536"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::io("wal append", error))?;
        let (stdin, output) = (child.stdin.take(), child.stdout.take());
        // In a thread of its own: the writer stops reading when nobody reads its acknowledgements.
        let feeder = std::thread::spawn(move || {
            let Some(mut stdin) = stdin else { return };
            for number in 1..=LINES {
                // The writer is gone: that is what we are here for.
                if writeln!(stdin, "record {number}").is_err() {
                    return;
                }
            }
        });
        let failed = |error| Failure::io("wal append", error);
        let mut acknowledged = 0;
        if let Some(output) = output {
            let mut lines = BufReader::new(output).lines();
            for _ in 0..ACKNOWLEDGED {
                acknowledged += usize::from(lines.next().transpose().map_err(failed)?.is_some());
            }
            child.kill().map_err(failed)?;
            // What it had said before it died counts as well.
            acknowledged += lines.map_while(Result::ok).count();
        }
        child.wait().map_err(failed)?;
        demand(feeder.join().is_ok() && acknowledged > 0, "the writer did not write")?;
        Ok(acknowledged)
    }

    fn feed(&self, log: &Path, input: &str) -> Result<(), Failure> {
        tell("   $ echo 'a record after the crash' | wal append LOG")?;
        let failed = |error| Failure::io("wal append", error);
        let mut child = Command::new(&self.program)
            .args(["append", &text(log)])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(failed)?;
        }
        let status = child.wait().map_err(failed)?;
        demand(status.success(), "the next writer failed")
    }

    /// Runs a command, shows it and what it says, and demands how it ends.
    fn show(&self, args: &[&str], codes: &[i32]) -> Result<(), Failure> {
        let output = self.start(args)?;
        let place = format!("{}/", self.dir.display());
        let short = |text: &str| text.replace(&place, "");
        tell(format!("   $ wal {}", short(&args.join(" "))))?;
        for said in String::from_utf8_lossy(&output.stdout).lines() {
            tell(format!("   | {}", short(said)))?;
        }
        let code = output.status.code();
        demand(
            code.is_some_and(|code| codes.contains(&code)),
            "a command ended otherwise than promised",
        )
    }

    fn show_quietly(&self, args: &[&str]) -> Result<Vec<u8>, Failure> {
        Ok(self.start(args)?.stdout)
    }

    fn start(&self, args: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(&self.program);
        let output = command.args(args).stdin(Stdio::null()).output();
        output.map_err(|error| Failure::io("wal", error))
    }
}

/// Flips a bit in the body of a record which is certainly there.
fn flip(log: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::io("the log", error);
    let name = fs::read_dir(log)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(failed)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .min();
    let Some(name) = name else { return demand(false, "there is no segment") };
    let mut bytes = fs::read(&name).map_err(failed)?;
    let wanted: &[u8] = b"record 100";
    let at = bytes.windows(wanted.len()).position(|part| part == wanted);
    if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
        *byte ^= 1;
    }
    fs::write(&name, bytes).map_err(failed)?;
    demand(at.is_some(), "there is no record 100")
}

fn demand(kept: bool, broken: &str) -> Result<(), Failure> {
    if kept { Ok(()) } else { Err(Failure::Input(format!("the demonstration failed: {broken}"))) }
}

fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn tell(what: impl std::fmt::Display) -> Result<(), Failure> {
    let mut out = stdout();
    line(&mut out, what)?;
    out.flush().map_err(Failure::output)
}
