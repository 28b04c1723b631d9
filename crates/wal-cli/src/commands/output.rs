//! What the commands share: printing, progress, JSON shapes.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use wal::{LogView, Lsn, LsnRange, Phase, Progress};

use crate::exit::{Exit, Failure};

/// How every command speaks; the same flags for all.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Manner {
    /// Colours in text on standard output; `auto`: on a terminal, unless `NO_COLOR` is set.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Colours,
    /// No progress bars and no remarks on standard error, only errors.
    #[arg(long, short, global = true)]
    quiet: bool,
}

/// When there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Colours {
    #[default]
    Auto,
    Always,
    Never,
}

/// Set once, before any command runs.
static MANNER: OnceLock<Manner> = OnceLock::new();

impl Manner {
    /// From now on all output is like this.
    pub(crate) fn keep(self) {
        // A second one would be a second command in one process; there is none.
        let _first_counts = MANNER.set(self);
    }

    fn kept() -> Self {
        MANNER.get().copied().unwrap_or_default()
    }
}

/// Whether a person watches standard error, and has not asked for silence: bars and counters.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal() && !Manner::kept().quiet
}

/// A remark on standard error; errors are [`Failure`]s.
pub(crate) fn remark(text: impl std::fmt::Display) {
    if !Manner::kept().quiet {
        eprintln!("wal: {text}");
    }
}

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

/// How the log was left.
pub(crate) fn left_as(view: &LogView) -> &'static str {
    if view.is_clean() {
        "closed cleanly"
    } else if view.verdict().is_damage() {
        "damaged"
    } else {
        "not closed: in use, or left without a close"
    }
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
        if !is_watched() {
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
    if quiet || !is_watched() {
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
    if !is_watched() {
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
        Self {
            on: match Manner::kept().color {
                Colours::Auto => io::stdout().is_terminal() && !unwanted,
                Colours::Always => true,
                Colours::Never => false,
            },
        }
    }

    /// What is worth a second look, and no fault.
    pub(crate) fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What a line is about.
    pub(crate) fn key(self, text: &str) -> String {
        self.with("36", text)
    }

    /// What may be passed over.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("90", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
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

/// A number of bytes with two or three digits and a unit.
pub(crate) fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
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
    fn bytes_have_a_unit_a_person_reads() {
        let said: Vec<String> =
            [0, 1023, 1024, 10 << 10, 64 << 20, 10 << 30].map(bytes_text).to_vec();
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "10 KiB", "64 MiB", "10 GiB"]);
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
