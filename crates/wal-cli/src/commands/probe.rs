//! `wal probe`: what durable writes cost in a directory, and which options fit it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::output::{json_line, line, stdout};
use crate::exit::{Exit, Failure};
use crate::probe::advice::{Advice, Figure, advise};
use crate::probe::way::{Measured, Trial, WAYS, Way};

/// Rounds over all ways, in turns: what else the device has to do befalls all of them.
const ROUNDS: u32 = 5;

/// Measure what durable writes cost in a directory, and recommend options.
///
/// Writes up to 200 MB into files without names, which are gone when the command ends, however it
/// ends. Other work on the device shows in the figures.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// Directory on the device and file system to measure.
    dir: PathBuf,
    /// Seconds to measure for, all ways together.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Probe {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let failed = |source| Failure::io(self.dir.display().to_string(), source);
        let bar = progress();
        let (mut trials, mut missing) = (Vec::new(), Vec::new());
        for way in WAYS {
            bar.set_message(format!("preparing {}", way.about));
            match Trial::prepare(&self.dir, way).map_err(failed)? {
                Some(trial) => trials.push(trial),
                None => missing.push(way),
            }
        }
        let turns = ROUNDS * u32::try_from(trials.len()).unwrap_or(1).max(1);
        let time = Duration::from_secs(u64::from(self.seconds)) / turns;
        bar.set_length(u64::from(turns));
        for _ in 0..ROUNDS {
            for trial in &mut trials {
                bar.set_message(trial.measured.way.about);
                trial.run(time).map_err(failed)?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        let measured: Vec<Measured> = trials.into_iter().map(|trial| trial.measured).collect();
        let advice = advise(&measured.iter().map(figure).collect::<Vec<_>>());
        let mut out = stdout();
        if self.json {
            json_line(&mut out, &as_json(&self.dir, &measured, &missing, &advice))?;
        } else {
            print_text(&mut out, &measured, &missing, &advice)?;
        }
        out.flush().map_err(Failure::output)?;
        Ok(Exit::Done)
    }
}

fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {msg}");
    let bar = ProgressBar::new(1);
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn figure(measured: &Measured) -> Figure {
    Figure {
        name: measured.way.name,
        p50_us: measured.within_us(0.5),
        per_second: measured.per_second(),
    }
}

fn as_json(
    dir: &std::path::Path,
    measured: &[Measured],
    missing: &[Way],
    advice: &Advice,
) -> Value {
    let ways: Vec<Value> = measured
        .iter()
        .map(|it| {
            json!({
                "name": it.way.name,
                "about": it.way.about,
                "block_bytes": it.way.block_bytes,
                "at_once": it.way.at_once,
                "writes": it.count(),
                "per_second": it.per_second(),
                "p50_us": it.within_us(0.5),
                "p99_us": it.within_us(0.99),
                "p999_us": it.within_us(0.999),
                "max_us": it.max_us(),
            })
        })
        .collect();
    json!({
        "dir": dir.display().to_string(),
        "ways": ways,
        "not_supported": missing.iter().map(|way| way.name).collect::<Vec<_>>(),
        "recommended": {
            "sync_method": advice.sync_method,
            "direct": advice.direct,
            "reasons": advice.reasons,
        },
    })
}

fn print_text(
    out: &mut impl Write,
    measured: &[Measured],
    missing: &[Way],
    advice: &Advice,
) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["durable writes", "a second", "p50 us", "p99 us", "p99.9 us", "max us"]);
    for it in measured {
        table.add_row([
            it.way.about.to_owned(),
            format!("{:.0}", it.per_second()),
            format!("{:.0}", it.within_us(0.5)),
            format!("{:.0}", it.within_us(0.99)),
            format!("{:.0}", it.within_us(0.999)),
            format!("{:.0}", it.max_us()),
        ]);
    }
    line(out, &table)?;
    for way in missing {
        line(out, format!("not supported here: {}", way.about))?;
    }
    let direct = if advice.direct { ", direct" } else { "" };
    line(out, format!("recommended: {}{direct}", advice.sync_method))?;
    advice.reasons.iter().try_for_each(|reason| line(out, format!("  {reason}")))
}
