//! `wal hold`: who keeps a log from being truncated.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets};
use serde_json::json;
use wal::{HoldLimit, Lsn, OverLimit, PersistentHold, PersistentHoldInfo, Storage, Survey};

use super::output::{json_line, line, stdout};
use super::place;
use crate::exit::{Exit, Failure};
use crate::lsn_arg;

/// List, place and drop the holds that keep a log from being truncated.
///
/// Holds in files: they outlive their process and may be placed by any. Those that a writer takes
/// in its own memory are not seen from outside, unless it publishes its figures (see `wal top`).
#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the holds of a log: where, since when, by which process, and what they keep.
    ///
    /// Reads no records, and works beside a running writer.
    List {
        /// Directory of the log.
        dir: PathBuf,
        /// A JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Keep a log from an LSN on, until the hold is dropped.
    Place {
        /// Directory of the log.
        dir: PathBuf,
        /// Name: ASCII letters, digits, `.`, `_` and `-`.
        name: String,
        /// Keep everything from this LSN on; by default the whole log.
        #[arg(long, value_parser = lsn_arg::lsn)]
        at: Option<Lsn>,
        /// Bytes that it may keep.
        #[arg(long, value_name = "BYTES")]
        limit: Option<u64>,
        /// What happens beyond the limit.
        #[arg(long, value_enum, default_value_t = Over::Drop, requires = "limit")]
        over: Over,
    },
    /// Drop a hold, whoever placed it: its owner will find the log truncated.
    Drop {
        /// Directory of the log.
        dir: PathBuf,
        /// Name of the hold.
        name: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Over {
    /// The next truncation drops the hold.
    Drop,
    /// Each truncation warns of it.
    Warn,
    /// Appends are refused, from the writer's next truncation or opening on.
    Refuse,
}

impl Hold {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::List { dir, json } => list(&dir, json),
            Command::Place { dir, name, at, limit, over } => {
                let over = match over {
                    Over::Drop => OverLimit::DropHold,
                    Over::Warn => OverLimit::Warn,
                    Over::Refuse => OverLimit::RefuseAppends,
                };
                let limit = limit.map(|bytes| HoldLimit { bytes, over });
                let hold = PersistentHold::place(&dir, &name, at, limit)?;
                let at = hold.lsn()?.unwrap_or(Lsn::NONE);
                say(format!("hold `{name}` keeps the log from {at} on"))
            }
            Command::Drop { dir, name } => {
                let Some(hold) = wal::drop_persistent_hold(&dir, &name)? else {
                    let text = format!("there is no hold `{name}`; see `wal hold list`");
                    return Err(Failure::Input(text));
                };
                match hold.lsn {
                    Some(lsn) => {
                        say(format!("dropped hold `{name}`, which kept the log from {lsn} on"))
                    }
                    None => say(format!("dropped hold `{name}`, whose file could not be trusted")),
                }
            }
        }
    }
}

fn say(text: String) -> Result<Exit, Failure> {
    let mut out = stdout();
    line(&mut out, text)?;
    out.flush().map_err(Failure::output)?;
    Ok(Exit::Done)
}

fn list(dir: &Path, json: bool) -> Result<Exit, Failure> {
    let holds = wal::persistent_holds(dir)?;
    let survey = place::survey(dir)?;
    let now = place::readable(dir)?.unix_us();
    let mut out = stdout();
    if json {
        for hold in &holds {
            json_line(&mut out, &as_json(hold, &survey, now))?;
        }
    } else if holds.is_empty() {
        line(&mut out, "no hold")?;
    } else {
        line(&mut out, table(&holds, &survey, now))?;
    }
    out.flush().map_err(Failure::output)?;
    Ok(Exit::Done)
}

/// Bytes of segment files that the hold keeps.
fn kept_bytes(hold: &PersistentHoldInfo, survey: &Survey) -> u64 {
    let from = hold.lsn.unwrap_or(Lsn::FIRST);
    survey.links.iter().filter(|link| link.cap > from).map(|link| link.file_bytes).sum()
}

/// Whether a process of this number runs; `None` where that cannot be told.
fn runs(owner: Option<u32>) -> Option<bool> {
    let proc = Path::new("/proc/self");
    owner.filter(|_| proc.exists()).map(|owner| Path::new("/proc").join(owner.to_string()).exists())
}

/// What a hold is, as `hold list` and `top` tell it.
pub(crate) fn as_json(
    hold: &PersistentHoldInfo,
    survey: &Survey,
    now_unix_us: u64,
) -> serde_json::Value {
    let seconds = |since: u64| now_unix_us.saturating_sub(since) / 1_000_000;
    json!({
        "name": hold.name, "lsn": hold.lsn.map(Lsn::get),
        "limit_bytes": hold.limit.map(|limit| limit.bytes),
        "over": hold.limit.map(|limit| over_name(limit.over)),
        "placed_unix_us": hold.placed_unix_us, "moved_unix_us": hold.moved_unix_us,
        "age_seconds": hold.lsn.map(|_| seconds(hold.placed_unix_us)),
        "still_seconds": hold.lsn.map(|_| seconds(hold.moved_unix_us)),
        "owner": hold.owner, "owner_runs": runs(hold.owner),
        "kept_file_bytes": kept_bytes(hold, survey),
        "fault": hold.fault.map(|fault| fault.to_string()),
    })
}

const fn over_name(over: OverLimit) -> &'static str {
    match over {
        OverLimit::RefuseAppends => "refuse",
        OverLimit::DropHold => "drop",
        _ => "warn",
    }
}

fn table(holds: &[PersistentHoldInfo], survey: &Survey, now: u64) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["hold", "keeps from", "bytes of files", "limit", "placed", "moved", "owner"]);
    for hold in holds {
        let limit = hold.limit.map_or_else(
            || "none".to_owned(),
            |limit| format!("{}, then {}", limit.bytes, over_name(limit.over)),
        );
        let at = hold.lsn.map_or_else(|| "the start".to_owned(), |lsn| lsn.to_string());
        let (placed, moved) = match hold.fault {
            Some(_) => ("-".to_owned(), "-".to_owned()),
            None => (ago(now, hold.placed_unix_us), ago(now, hold.moved_unix_us)),
        };
        let owner = match (hold.fault, hold.owner, runs(hold.owner)) {
            (Some(fault), ..) => fault.to_string(),
            (None, Some(owner), Some(false)) => format!("process {owner}, not running"),
            (None, Some(owner), _) => format!("process {owner}"),
            (None, None, _) => "-".to_owned(),
        };
        let kept = kept_bytes(hold, survey).to_string();
        table.add_row([hold.name.clone(), at, kept, limit, placed, moved, owner]);
    }
    table
}

/// A time before now, in the largest unit that is not 0.
fn ago(now_unix_us: u64, then_unix_us: u64) -> String {
    let seconds = now_unix_us.saturating_sub(then_unix_us) / 1_000_000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        let second = 1_000_000;
        for (seconds, text) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7300, "2 h ago"),
            (90_000, "1 days ago"),
        ] {
            assert_eq!(ago(seconds * second, 0), text);
        }
        assert_eq!(ago(0, second), "0 s ago", "a clock that was set back");
    }
}
