//! `wal probe`: what durable writes cost in a directory, and which options fit it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;

use super::output::turns_bar;
use super::probe_report::Report;
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::probe::advice::{Figure, Findings, advise};
use crate::probe::ground::Ground;
use crate::probe::place::Place;
use crate::probe::rate::Rate;
use crate::probe::trial::Measured;
use crate::probe::way::WAYS;

/// Rounds over all ways, in turns: what else the device has to do befalls all of them.
const ROUNDS: u32 = 5;

/// Measure what durable writes cost in a directory, and recommend options.
///
/// Each way of making a write durable has a turn in each of five rounds, in files as the log
/// prepares them. They take up to 176 MiB in a temporary directory, which is removed when the
/// command ends, also when it fails or is interrupted; after `kill -9` it stays, as `.wal-probe-…`.
/// Other work on the device shows in the figures; what other ways take is told in times of write
/// and fdatasync in the same run.
///
/// Exit codes: 0 measured, whatever the figures and warnings say; 1 the directory cannot be
/// written to, or a write failed; 6 there is no such directory. No log is touched.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// Directory on the device and file system to measure.
    dir: PathBuf,
    /// Seconds to take altogether. Very slow devices take longer: each way writes once in each
    /// round at the least.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// All that is measured.
struct Trials {
    ways: Vec<Measured>,
    rates: Vec<Rate>,
}

impl Probe {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let interrupt = Interrupt::watch().map_err(|error| Failure::io("signals", error))?;
        let started = Instant::now();
        let mut ground = Ground::make(&self.dir)?;
        let place = Place::of(&self.dir, ground.filesystem());
        let bar = turns_bar(Ground::STEPS);
        let measured = self.prepare(&mut ground, &interrupt, &bar).and_then(|mut trials| {
            let end = started + Duration::from_secs(u64::from(self.seconds));
            self.measure(&mut trials, &ground, end, &interrupt, &bar).map(|()| trials)
        });
        bar.finish_and_clear();
        let report = measured.map(|trials| report(&ground, place, trials, started.elapsed()));
        let removed = ground.remove().map_err(|error| self.failed(error));
        if let Some(signal) = interrupt.signal() {
            return removed.and(Err(Failure::Interrupted(signal)));
        }
        let report = report?;
        removed?;
        report.print(self.json)?;
        Ok(Exit::Done)
    }

    fn failed(&self, source: std::io::Error) -> Failure {
        Failure::io(self.dir.display().to_string(), source)
    }

    fn prepare(
        &self,
        ground: &mut Ground,
        interrupt: &Interrupt,
        bar: &ProgressBar,
    ) -> Result<Trials, Failure> {
        bar.set_message("preparing files");
        for step in 0..Ground::STEPS {
            if interrupt.signal().is_some() {
                break;
            }
            ground.prepare(step).map_err(|error| self.failed(error))?;
            bar.inc(1);
        }
        let possible = WAYS.into_iter().filter(|way| ground.refusal(way).is_none());
        let ways: Result<Vec<Measured>, _> = possible.map(Measured::new).collect();
        let ways = ways.map_err(|error| Failure::Input(error.to_string()))?;
        Ok(Trials { ways, rates: Rate::all(ground.direct_refusal().is_none()) })
    }

    /// In rounds, each of which begins with another one.
    fn measure(
        &self,
        trials: &mut Trials,
        ground: &Ground,
        end: Instant,
        interrupt: &Interrupt,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let Trials { ways, rates } = trials;
        let all = ways.len() + rates.len();
        let mut left = ROUNDS * u32::try_from(all).unwrap_or(u32::MAX / ROUNDS);
        bar.reset();
        bar.set_length(u64::from(left));
        for round in 0..ROUNDS as usize {
            for turn in 0..all {
                if interrupt.signal().is_some() {
                    return Ok(());
                }
                // What one turn took too much, or left, is shared by all that follow.
                let time = end.saturating_duration_since(Instant::now()) / left.max(1);
                let at = (turn + round * all / ROUNDS as usize) % all;
                let done = if let Some(way) = ways.get_mut(at) {
                    bar.set_message(way.way.about);
                    way.turn(ground, time, interrupt)
                } else if let Some(rate) = rates.get_mut(at - ways.len()) {
                    bar.set_message(rate.about);
                    rate.turn(ground, time, interrupt)
                } else {
                    Ok(())
                };
                done.map_err(|error| self.failed(error))?;
                left = left.saturating_sub(1);
                bar.inc(1);
            }
        }
        Ok(())
    }
}

/// What the figures are, and what they say.
fn report(ground: &Ground, place: Place, trials: Trials, took: Duration) -> Report {
    let Trials { ways, rates } = trials;
    let figure = |it: &Measured| Figure {
        name: it.way.name,
        p50_us: it.within_us(0.5),
        per_second: it.per_second(),
    };
    let figures: Vec<Figure> = ways.iter().filter(|it| it.count() > 0).map(figure).collect();
    let base = ways.iter().find(|it| it.way.name == it.way.baseline());
    let spread = base.map_or(1.0, Measured::spread);
    let write_cache = place.device.as_ref().and_then(|device| device.write_cache.as_deref());
    let advice = advise(&Findings {
        figures: &figures,
        file_system: ground.filesystem(),
        write_cache,
        direct_refused: ground.direct_refusal(),
        spread,
        load_before: place.load_before,
    });
    let refused = WAYS.into_iter().filter_map(|way| {
        let why = ground.refusal(&way)?;
        Some((way, why.to_owned()))
    });
    Report { place, rounds: ROUNDS, took, spread, refused: refused.collect(), ways, rates, advice }
}
