//! The machine and the device that figures are of.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde::Serialize;

/// What the figures are of.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// When, to the second, as it may stand in the name of a file.
    pub taken: String,
    /// System, release and architecture.
    pub kernel: String,
    /// What the processor calls itself.
    pub processor: String,
    /// Threads which run at a time.
    pub processors: usize,
    /// Device and file system of the directory.
    pub device_and_file_system: String,
    /// Processors in use, or without work while something waited for a device, in the moment before.
    pub load_before: String,
    /// Whether the kernel flushes a cache of the device on a sync: `write back`, or `write through`.
    pub write_cache: String,
}

impl Machine {
    /// This one, and the device under `dir`; the directory for temporary files if it is not named.
    #[must_use]
    pub fn here(dir: Option<&Path>) -> Self {
        let dir = dir.map_or_else(std::env::temp_dir, Path::to_owned).display().to_string();
        let place = said("df", &["--output=source,fstype", &dir]);
        let place = place.lines().last().unwrap_or(UNKNOWN);
        let place = place.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            taken: said("date", &["-u", "+%Y-%m-%dT%H%M%SZ"]),
            kernel: said("uname", &["-srm"]),
            processor: processor(),
            processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            load_before: load(),
            write_cache: write_cache(&place),
            device_and_file_system: place,
        }
    }

    /// In one line.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self { taken, kernel, processor, processors, device_and_file_system, .. } = self;
        let Self { load_before, write_cache, .. } = self;
        format!(
            "taken {taken}; {kernel}; {processors} of {processor}, load {load_before} before; \
             {device_and_file_system}, cache of the device {write_cache}"
        )
    }

    /// Whether so much else ran just before that it will show in the figures.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.load_before.parse::<f64>().is_ok_and(|load| load > QUIET)
    }
}

/// The load of a machine which leaves its figures alone.
const QUIET: f64 = 0.5;

const UNKNOWN: &str = "unknown";

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or(UNKNOWN, |name| name.trim_start_matches([' ', '\t', ':'])).to_owned()
}

/// Looked at for so long: an average of minutes would still tell of the table before.
const LOOKED_AT: Duration = Duration::from_millis(500);

fn load() -> String {
    let before = ticks();
    thread::sleep(LOOKED_AT);
    let load = before.zip(ticks()).and_then(|(before, after)| {
        let share = busy_between(&before.ticks, &after.ticks)?;
        Some(share * after.processors as f64)
    });
    load.map_or_else(|| UNKNOWN.to_owned(), |load| format!("{load:.2}"))
}

/// What the processors did so far, each thing in ticks, all processors together.
struct Ticks {
    ticks: Vec<u64>,
    processors: usize,
}

fn ticks() -> Option<Ticks> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let all = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Option<Vec<u64>> = all.split_whitespace().map(|it| it.parse().ok()).collect();
    let of_one = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
    };
    Some(Ticks { ticks: ticks?, processors: text.lines().filter(of_one).count() })
}

/// The share of the time in which they did anything: of user, nice, system, idle and so on, all but idle.
fn busy_between(before: &[u64], after: &[u64]) -> Option<f64> {
    const IDLE: usize = 3;
    // Guests, behind these, are counted as users too.
    const ALL: usize = 8;
    let both = after.iter().zip(before).take(ALL);
    let passed: Vec<u64> = both.map(|(after, before)| after.saturating_sub(*before)).collect();
    let all = passed.iter().sum::<u64>();
    let idle = *passed.get(IDLE)?;
    (all > 0).then(|| (all - idle) as f64 / all as f64)
}

/// Of a whole disk; a partition or a volume on several disks has no such file.
fn write_cache(place: &str) -> String {
    let device = place.split_whitespace().next().and_then(|device| device.strip_prefix("/dev/"));
    let text = device.and_then(|device| {
        fs::read_to_string(format!("/sys/block/{device}/queue/write_cache")).ok()
    });
    text.map_or_else(|| UNKNOWN.to_owned(), |text| text.trim().to_owned())
}

/// What a program says, in one line; "unknown" if it says nothing.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// Prints where the benchmark runs, and with which options the log.
pub fn describe(dir: &Path) {
    eprintln!("machine: {}", Machine::here(Some(dir)).in_words());
    eprintln!("log options: {:?}", crate::baseline::options());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_processor_does_but_nothing_is_load() {
        let before = [10, 0, 10, 100, 0, 0, 0, 0, 10, 0];
        let after = [20, 0, 15, 175, 10, 0, 0, 0, 999, 0];
        let share = busy_between(&before, &after).unwrap();
        assert!((share - 0.25).abs() < 1e-9, "{share}");
        assert_eq!(busy_between(&before, &before), None, "no time has passed");
        assert_eq!(busy_between(&before[..2], &after[..2]), None);
        assert!(ticks().is_none_or(|found| found.ticks.len() > 4 && found.processors > 0));
    }

    #[test]
    fn a_loaded_machine_is_told_from_a_quiet_one() {
        let mut machine = Machine::here(None);
        for (load, busy) in [("0.10", false), ("2.50", true), (UNKNOWN, false)] {
            machine.load_before = load.to_owned();
            assert_eq!(machine.is_busy(), busy, "{load}");
            assert!(machine.in_words().contains(load));
        }
    }
}
