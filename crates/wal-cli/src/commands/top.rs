//! `wal top`: a log while it runs, from outside its process.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use wal::{PersistentHoldInfo, PublishedStats, Storage, Survey};

use super::hold;
use super::output::{json_line, line, stdout};
use super::place;
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;

/// Show a running log: rates, batches, syncs, what is not durable yet, segments and holds.
///
/// From outside nobody sees more than the files tell: segments, the durable end as it was noted
/// last, holds in files. The rest is known of a process that publishes its figures
/// (`Options::publish_stats`); of any other `top` says that it is not known. Nothing is changed.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Directory of the log.
    dir: PathBuf,
    /// Milliseconds between two looks.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=3_600_000))]
    interval: u64,
    /// Look twice, one interval apart, print and end.
    #[arg(long)]
    once: bool,
    /// A JSON object a look.
    #[arg(long)]
    json: bool,
}

/// What one look saw.
struct Look {
    at: Instant,
    now_unix_us: u64,
    survey: Survey,
    holds: Vec<PersistentHoldInfo>,
    published: Option<PublishedStats>,
}

impl Look {
    fn at(dir: &Path) -> Result<Self, Failure> {
        Ok(Self {
            at: Instant::now(),
            now_unix_us: place::readable(dir)?.unix_us(),
            survey: place::survey(dir)?,
            holds: wal::persistent_holds(dir)?,
            published: PublishedStats::read(dir)?,
        })
    }

    fn figure(&self, name: &str) -> Option<u64> {
        self.published.as_ref()?.get(name)
    }

    /// How old the published figures are.
    fn age(&self) -> Option<Duration> {
        let then = self.figure("unix_us")?;
        Some(Duration::from_micros(self.now_unix_us.saturating_sub(then)))
    }

    /// Whether whoever published the figures has stopped: it missed five turns.
    fn is_stale(&self) -> bool {
        let interval = Duration::from_micros(self.figure("interval_us").unwrap_or(0));
        self.age().is_some_and(|age| age > (interval * 5).max(Duration::from_secs(2)))
    }
}

/// What lies between two looks.
struct Change<'a> {
    before: &'a Look,
    now: &'a Look,
}

impl Change<'_> {
    /// How much a counter has grown; `None` where it is not known of both looks, or of two
    /// openings.
    fn grown(&self, name: &str) -> Option<u64> {
        let same = self.before.figure("epoch") == self.now.figure("epoch") && !self.now.is_stale();
        let both = (self.before.figure(name)?, self.now.figure(name)?);
        same.then(|| both.1.saturating_sub(both.0))
    }

    fn per_second(&self, name: &str) -> Option<f64> {
        let published = Duration::from_micros(self.grown("unix_us")?);
        let time = published.as_secs_f64();
        (time > 0.0).then(|| self.grown(name).map(|grown| grown as f64 / time)).flatten()
    }

    fn mean(&self, sum: &str, count: &str) -> Option<f64> {
        let (sum, count) = (self.grown(sum)?, self.grown(count)?);
        (count > 0).then(|| sum as f64 / count as f64)
    }

    fn as_json(&self) -> Value {
        let now = self.now;
        let control = now.survey.control.current();
        let holds: Vec<Value> = now
            .holds
            .iter()
            .map(|held| hold::as_json(held, &now.survey, now.now_unix_us))
            .collect();
        let published = now.published.as_ref().map(|published| {
            published.figures.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
        });
        let published: Option<serde_json::Map<String, Value>> = published;
        let memory: Vec<Value> = now
            .published
            .iter()
            .flat_map(|it| &it.holds)
            .map(|(name, lsn)| json!({ "name": name, "lsn": lsn.get() }))
            .collect();
        json!({
            "seconds": (now.at - self.before.at).as_secs_f64(),
            "segments": now.survey.links.len(),
            "file_bytes": now.survey.links.iter().map(|link| link.file_bytes).sum::<u64>(),
            "head": now.survey.links.first().map(|link| link.header.base.get()),
            "newest_segment": now.survey.links.last().map(|link| link.name.to_string()),
            "durable_noted": control.map(|slot| slot.durable.get()),
            "epoch": control.map(|slot| slot.epoch.get()),
            "holds": holds, "published": published, "holds_in_memory": memory,
            "published_age_us": now.age().map(|age| age.as_micros() as u64),
            "stale": now.is_stale(),
            "records_per_second": self.per_second("records"),
            "bytes_per_second": self.per_second("record_bytes"),
            "syncs_per_second": self.per_second("syncs"),
            "records_per_flush": self.mean("records", "flushes"),
            "sync_us": self.mean("sync_time_us", "syncs"),
            "flush_us": self.mean("flush_time_us", "flushes"),
            "durable_lag_bytes": self.lag(),
        })
    }

    /// Bytes that are reserved and not durable.
    fn lag(&self) -> Option<u64> {
        let now = self.now;
        Some(now.figure("reserved")?.saturating_sub(now.figure("durable")?))
    }

    fn lines(&self, dir: &Path) -> Vec<String> {
        let now = self.now;
        let (links, control) = (&now.survey.links, now.survey.control.current());
        let bytes: u64 = links.iter().map(|link| link.file_bytes).sum();
        let head = links.first().map_or(0, |link| link.header.base.get());
        let noted = control.map_or_else(|| "unknown".to_owned(), |slot| slot.durable.to_string());
        let mut lines = vec![
            format!("{}", dir.display()),
            format!("segments   {}, {bytes} bytes of files, from {head}", links.len()),
            format!("durable    at least to {noted}, noted at the last rotation or checkpoint"),
        ];
        lines.extend(self.process_lines());
        for held in &now.holds {
            let at = held.lsn.map_or_else(|| "the start".to_owned(), |lsn| lsn.to_string());
            lines.push(format!("hold       {} from {at}, in a file", held.name));
        }
        for (name, lsn) in now.published.iter().flat_map(|it| &it.holds) {
            lines.push(format!("hold       {name} from {lsn}, in the memory of the process"));
        }
        lines
    }

    /// What only the process itself knows.
    fn process_lines(&self) -> Vec<String> {
        let now = self.now;
        let Some(process) = now.figure("process") else {
            return vec![
                "process    publishes no figures: rates, batches, syncs and lag are not known"
                    .to_owned(),
            ];
        };
        if now.is_stale() {
            let age = now.age().unwrap_or_default().as_secs();
            return vec![format!(
                "process    {process} published last {age} s ago: gone, or stopped"
            )];
        }
        let rate = |name| shown(self.per_second(name), 0);
        let figure = |name| now.figure(name).map_or_else(|| "-".to_owned(), |it| it.to_string());
        vec![
            format!("process    {process}, epoch {}", figure("epoch")),
            format!(
                "ends       reserved {}, written {}, durable {}; {} bytes not durable",
                figure("reserved"),
                figure("written"),
                figure("durable"),
                self.lag().map_or_else(|| "-".to_owned(), |lag| lag.to_string())
            ),
            format!(
                "records    {} a second, {} bytes a second",
                rate("records"),
                rate("record_bytes")
            ),
            format!(
                "flushes    {} a second, {} records each, {} µs each",
                rate("flushes"),
                shown(self.mean("records", "flushes"), 1),
                shown(self.mean("flush_time_us", "flushes"), 0)
            ),
            format!(
                "syncs      {} a second, {} µs each, {} µs the longest ever, {} slow",
                rate("syncs"),
                shown(self.mean("sync_time_us", "syncs"), 0),
                figure("sync_time_max_us"),
                figure("slow_syncs")
            ),
            format!(
                "waiting    {} times for room, {} for a segment; {} transactions run",
                figure("room_waits"),
                figure("segment_waits"),
                figure("active_transactions")
            ),
        ]
    }
}

fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

impl Top {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let interrupt = Interrupt::watch().map_err(|error| Failure::io("signals", error))?;
        let redraw = !self.json && !self.once && io::stdout().is_terminal();
        let mut before = Look::at(&self.dir)?;
        let mut out = stdout();
        loop {
            self.wait(&interrupt);
            if interrupt.signal().is_some() {
                // This is how one leaves it.
                return Ok(Exit::Done);
            }
            let now = Look::at(&self.dir)?;
            let change = Change { before: &before, now: &now };
            if self.json {
                json_line(&mut out, &change.as_json())?;
            } else {
                if redraw {
                    // Home, and clear what was drawn before.
                    write!(out, "\x1b[H\x1b[2J").map_err(Failure::output)?;
                }
                for text in change.lines(&self.dir) {
                    line(&mut out, text)?;
                }
            }
            out.flush().map_err(Failure::output)?;
            if self.once {
                return Ok(Exit::Done);
            }
            before = now;
        }
    }

    fn wait(&self, interrupt: &Interrupt) {
        let until = Instant::now() + Duration::from_millis(self.interval);
        while interrupt.signal().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}
