//! How `wal probe` tells what it found: to a person, and as JSON.

use std::io::Write;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use wal::SyncMethod;

use super::output::{Paint, json_line, line, stdout};
use crate::exit::Failure;
use crate::probe::advice::Advice;
use crate::probe::place::Place;
use crate::probe::rate::Rate;
use crate::probe::trial::Measured;
use crate::probe::way::Way;

/// All that was found.
pub(crate) struct Report {
    pub(crate) place: Place,
    pub(crate) rounds: u32,
    /// Preparation included.
    pub(crate) took: Duration,
    pub(crate) spread: f64,
    /// Ways that are not possible here, and why.
    pub(crate) refused: Vec<(Way, String)>,
    pub(crate) ways: Vec<Measured>,
    pub(crate) rates: Vec<Rate>,
    pub(crate) advice: Advice,
}

impl Report {
    pub(crate) fn print(&self, json: bool) -> Result<(), Failure> {
        let mut out = stdout();
        if json {
            json_line(&mut out, &self.as_json())?;
        } else {
            self.print_text(&mut out, Paint::of_stdout())?;
        }
        out.flush().map_err(Failure::output)
    }

    fn baseline(&self, of: &Measured) -> Option<&Measured> {
        self.ways.iter().find(|it| it.way.name == of.way.baseline())
    }

    /// How many times as much as the baseline of the same run, if that is anything.
    fn ratio(&self, of: &Measured, figure: impl Fn(&Measured) -> f64) -> Option<f64> {
        let base = figure(self.baseline(of)?);
        (base > 0.0).then(|| figure(of) / base)
    }

    fn as_json(&self) -> Value {
        let way = |it: &Measured| {
            json!({
                "name": it.way.name,
                "about": it.way.about,
                "bytes": it.way.bytes,
                "writers": it.way.writers,
                "writes": it.count(),
                "per_second": it.per_second(),
                "p50_us": it.within_us(0.5),
                "p99_us": it.within_us(0.99),
                "max_us": it.max_us(),
                "baseline": it.way.baseline(),
                "per_second_ratio": self.ratio(it, Measured::per_second),
                "p50_ratio": self.ratio(it, |it| it.within_us(0.5)),
                "p99_ratio": self.ratio(it, |it| it.within_us(0.99)),
                "spread": it.spread(),
            })
        };
        let rate = |it: &Rate| {
            json!({
                "name": it.name,
                "about": it.about,
                "bytes_per_second": it.bytes_per_second(),
            })
        };
        let refused = |(way, why): &(Way, String)| json!({ "name": way.name, "why": why });
        let advice = &self.advice;
        json!({
            "place": self.place,
            "rounds": self.rounds,
            "seconds": self.took.as_secs_f64(),
            "spread": self.spread,
            "ways": self.ways.iter().map(way).collect::<Vec<_>>(),
            "rates": self.rates.iter().map(rate).collect::<Vec<_>>(),
            "not_supported": self.refused.iter().map(refused).collect::<Vec<_>>(),
            "warnings": advice.warnings,
            "recommended": {
                "code": code(advice),
                "sync_method": format!("{:?}", advice.sync_method),
                "direct": advice.direct,
                "flushes_in_flight": advice.flushes_in_flight,
                "sync_policy": format!("{:?}", advice.sync_policy),
                "append_flags": append_flags(advice),
                "reasons": advice.reasons,
            },
        })
    }

    fn print_text(&self, out: &mut impl Write, paint: Paint) -> Result<(), Failure> {
        line(out, self.place.in_words())?;
        let (rounds, seconds) = (self.rounds, self.took.as_secs_f64());
        line(out, format_args!("{rounds} rounds in turns, {seconds:.1} s\n"))?;
        line(out, self.table())?;
        line(out, "x: times that of data_sync, of as many bytes, in the same run\n")?;
        for rate in &self.rates {
            let gigabytes = rate.bytes_per_second() / 1e9;
            line(out, format_args!("{}: {gigabytes:.2} GB/s", rate.about))?;
        }
        for (way, why) in &self.refused {
            line(out, format_args!("not possible here: {} ({why})", way.name))?;
        }
        for warning in &self.advice.warnings {
            let from = from(&warning.from);
            line(out, format_args!("{} {}{from}", paint.bad("warning:"), warning.text))?;
        }
        line(out, format_args!("\n{} {}", paint.good("recommended:"), code(&self.advice)))?;
        for reason in &self.advice.reasons {
            let (option, value) = (reason.option, &reason.value);
            line(out, format_args!("  {option}: {value}"))?;
            line(out, format_args!("      {}{}", reason.why, from(&reason.from)))?;
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header(["name", "what", "bytes", "a second", "x", "p50 us", "x", "p99 us", "x"]);
        for it in &self.ways {
            let share =
                |ratio: Option<f64>| ratio.map_or_else(String::new, |it| format!("{it:.2}"));
            table.add_row([
                it.way.name.to_owned(),
                it.way.about.to_owned(),
                it.way.bytes.to_string(),
                format!("{:.0}", it.per_second()),
                share(self.ratio(it, Measured::per_second)),
                format!("{:.1}", it.within_us(0.5)),
                share(self.ratio(it, |it| it.within_us(0.5))),
                format!("{:.1}", it.within_us(0.99)),
                share(self.ratio(it, |it| it.within_us(0.99))),
            ]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

fn from(measurements: &[&str]) -> String {
    if measurements.is_empty() {
        return String::new();
    }
    format!(" [{}]", measurements.join(", "))
}

/// The options as they are written in a program; what is the default is left out.
fn code(advice: &Advice) -> String {
    let mut code = "Options::default()".to_owned();
    if advice.sync_method != SyncMethod::default() {
        code += &format!(".sync_method(SyncMethod::{:?})", advice.sync_method);
    }
    if advice.direct {
        code += ".direct(true)";
    }
    if advice.flushes_in_flight != 1 {
        code += &format!(".flushes_in_flight({})", advice.flushes_in_flight);
    }
    if advice.sync_policy != wal::SyncPolicy::default() {
        code += &format!(".sync_policy(SyncPolicy::{:?})", advice.sync_policy);
    }
    code
}

/// The same for `wal append`, as far as it has such options.
fn append_flags(advice: &Advice) -> Vec<&'static str> {
    let mut flags = match advice.sync_method {
        SyncMethod::WriteThrough => vec!["--sync-method", "write-through"],
        SyncMethod::FullSync => vec!["--sync-method", "full-sync"],
        _ => Vec::new(),
    };
    if advice.direct {
        flags.push("--direct");
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::SyncPolicy;

    fn advice() -> Advice {
        Advice {
            sync_method: SyncMethod::DataSync,
            direct: false,
            flushes_in_flight: 1,
            sync_policy: SyncPolicy::Group,
            reasons: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn what_is_the_default_is_not_written_out() {
        assert_eq!(code(&advice()), "Options::default()");
        assert_eq!(append_flags(&advice()), [""; 0]);
    }

    #[test]
    fn other_options_are_written_as_a_program_writes_them() {
        let advice = Advice {
            sync_method: SyncMethod::WriteThrough,
            direct: true,
            flushes_in_flight: 4,
            sync_policy: SyncPolicy::EveryCommit,
            ..advice()
        };
        // The same as code, so that a name which changes does not compile.
        let _same = wal::Options::default()
            .sync_method(SyncMethod::WriteThrough)
            .direct(true)
            .flushes_in_flight(4)
            .sync_policy(SyncPolicy::EveryCommit);
        assert_eq!(
            code(&advice),
            "Options::default().sync_method(SyncMethod::WriteThrough).direct(true)\
             .flushes_in_flight(4).sync_policy(SyncPolicy::EveryCommit)"
        );
        assert_eq!(append_flags(&advice), ["--sync-method", "write-through", "--direct"]);
    }
}
