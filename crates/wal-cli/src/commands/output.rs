//! What the commands share: printing, progress, JSON shapes.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wal::{LogView, Lsn, LsnRange, Phase, Progress};

use crate::exit::{Exit, Failure};

/// Opens the log read-only, with a progress line when a person watches.
pub(crate) fn open_view(dir: &Path) -> Result<LogView, Failure> {
    let mut watcher = Watcher::default();
    Ok(LogView::open_with(dir, &mut watcher)?)
}

/// Standard output with a buffer that is flushed once, at the end.
pub(crate) fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::with_capacity(256 << 10, io::stdout().lock())
}

/// One line of text.
pub(crate) fn line(out: &mut impl Write, text: impl std::fmt::Display) -> Result<(), Failure> {
    writeln!(out, "{text}").map_err(Failure::output)
}

/// Ends the output, and says by the exit code when the log is less than what was promised.
pub(crate) fn finish(mut out: impl Write, view: &LogView) -> Result<Exit, Failure> {
    out.flush().map_err(Failure::output)?;
    if !view.verdict().is_damage() {
        return Ok(Exit::Done);
    }
    eprintln!("wal: {}", view.verdict());
    Ok(Exit::of(view.verdict()))
}

/// One JSON value on a line of its own.
pub(crate) fn json_line(out: &mut impl Write, value: &serde_json::Value) -> Result<(), Failure> {
    writeln!(out, "{value}").map_err(Failure::output)
}

/// Shows how far long work has come, on standard error and only to a terminal.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    bar: Option<ProgressBar>,
}

impl Progress for Watcher {
    fn advance(&mut self, phase: Phase, range: LsnRange, at: Lsn) {
        if !io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(bytes_bar);
        bar.set_length(range.bytes());
        bar.set_position(at.get().saturating_sub(range.start.get()));
        bar.set_message(phase.to_string());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar over bytes with a rate and an estimate, shown only to a terminal; it begins when drawn.
pub(crate) fn scrub_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = bytes_bar();
    bar.set_message("scrub");
    bar
}

fn bytes_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} eta {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A counter of lines for `append`, shown only to a terminal.
pub(crate) fn line_counter(quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {pos} records, {per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar over `turns` turns of equal length with an estimate, shown only to a terminal.
pub(crate) fn turns_bar(turns: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(turns);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} eta {eta}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Colours for standard output: only where a person sees it, and did not ask for none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    pub(crate) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: io::stdout().is_terminal() && !unwanted }
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    fn with(self, colour: &str, text: &str) -> String {
        if self.on { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Puts `body` into a JSON object: as `body` where it is text, as `body_hex` where it is not.
pub(crate) fn put_body(line: &mut serde_json::Value, body: &[u8]) {
    match std::str::from_utf8(body) {
        Ok(text) => line["body"] = text.into(),
        Err(_) => line["body_hex"] = hex(body).into(),
    }
}

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn colours_are_there_only_when_they_are_on() {
        let text = |on| (Paint { on }.good("fine"), Paint { on }.bad("not"));
        assert_eq!(text(false), ("fine".to_owned(), "not".to_owned()));
        let (good, bad) = text(true);
        assert_eq!((good.as_str(), bad.as_str()), ("\x1b[32mfine\x1b[0m", "\x1b[31mnot\x1b[0m"));
    }

    #[test]
    fn a_body_is_text_where_it_can_be_and_hex_where_it_cannot() {
        let mut line = json!({});
        put_body(&mut line, "tea".as_bytes());
        assert_eq!(line, json!({ "body": "tea" }));
        let mut line = json!({});
        put_body(&mut line, &[0xff, 0x00]);
        assert_eq!(line, json!({ "body_hex": "ff00" }));
    }
}
