//! What this process has used: processor time and memory; and what a device has written meanwhile.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Time, processor time and bytes up to some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    at: Instant,
    cpu: Duration,
    device_bytes: Option<u64>,
}

/// What was used from one moment to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// Seconds between the two.
    pub seconds: f64,
    /// Seconds of processors, all threads and the kernel's work for them.
    pub cpu_seconds: f64,
    /// Bytes which the device wrote, for whomever; where there is one that counts them.
    pub device_bytes: Option<u64>,
}

impl Usage {
    /// Up to now, with the device under `dir`.
    ///
    /// What the kernel counts of a process itself is no use: a few bytes changed in a page cached in
    /// one piece with many others count as all of these.
    #[must_use]
    pub(crate) fn now(dir: &Path) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            at: Instant::now(),
            cpu: Duration::try_from(cpu).unwrap_or_default(),
            device_bytes: device_bytes(dir),
        }
    }

    /// From this moment to a later one.
    #[must_use]
    pub(crate) fn until(&self, later: &Self) -> Used {
        let bytes = later.device_bytes.zip(self.device_bytes);
        Used {
            seconds: later.at.duration_since(self.at).as_secs_f64(),
            cpu_seconds: later.cpu.saturating_sub(self.cpu).as_secs_f64(),
            device_bytes: bytes.map(|(later, earlier)| later.saturating_sub(earlier)),
        }
    }
}

/// The most bytes of memory of its own that this process ever had: all that was resident, without
/// the pages of files. A bound from above where a file was mapped and is not any more.
#[must_use]
pub(crate) fn anonymous_bytes_max() -> Option<u64> {
    let kib = |name| field("/proc/self/status", name);
    let files = kib("RssFile:")? + kib("RssShmem:")?;
    Some(kib("VmHWM:")?.saturating_sub(files) << 10)
}

/// Bytes written so far to the device under `dir`, a partition or a whole one.
fn device_bytes(dir: &Path) -> Option<u64> {
    const SECTOR_BYTES: u64 = 512;
    let device = fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    // The seventh number: sectors written.
    let sectors: u64 = text.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * SECTOR_BYTES)
}

/// The number behind `name` in a file of the kernel.
fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn time_and_bytes_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let before = Usage::now(dir.path());
        // Noise: a device or a file system may make next to nothing of zeros.
        let mix = |word: u64| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        let noise: Vec<u8> = (1..=1 << 17).flat_map(|word| mix(mix(word)).to_le_bytes()).collect();
        let file = fs::File::create_new(dir.path().join("f")).unwrap();
        (&file).write_all(&noise).unwrap();
        file.sync_all().unwrap();
        let used = before.until(&Usage::now(dir.path()));
        assert!(used.seconds >= 0.0 && used.cpu_seconds >= 0.0);
        // A directory in memory has no device.
        assert!(used.device_bytes.is_none_or(|bytes| bytes >= 1 << 20));
    }

    #[test]
    fn memory_of_its_own_is_counted() {
        const BYTES: usize = 64 << 20;
        let memory = std::hint::black_box(vec![1_u8; BYTES]);
        assert!(anonymous_bytes_max().is_some_and(|bytes| bytes > BYTES as u64));
        drop(memory);
    }
}
