//! The machine and the device that figures are of.

use std::fs;
use std::path::Path;
use std::process::Command;

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
    /// Threads which wanted to run in the minute before, on average.
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

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or(UNKNOWN).to_owned()
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
    fn a_loaded_machine_is_told_from_a_quiet_one() {
        let mut machine = Machine::here(None);
        for (load, busy) in [("0.10", false), ("2.50", true), (UNKNOWN, false)] {
            machine.load_before = load.to_owned();
            assert_eq!(machine.is_busy(), busy, "{load}");
            assert!(machine.in_words().contains(load));
        }
    }
}
