//! The ways of making one write durable, and the time that each takes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::file::{Aligned, FILE_BYTES, Mode, Space, make};

/// What follows a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    Data,
    All,
    /// The write itself was durable.
    Nothing,
}

/// One way of making writes durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Its name in JSON.
    pub(crate) name: &'static str,
    /// Its name for a person.
    pub(crate) about: &'static str,
    pub(crate) block_bytes: usize,
    /// Writers at the same time, each with a file of its own.
    pub(crate) at_once: usize,
    mode: Mode,
    space: Space,
    sync: Sync,
}

const BUFFERED: Mode = Mode { direct: false, write_through: false };
const THROUGH: Mode = Mode { direct: false, write_through: true };
const DIRECT: Mode = Mode { direct: true, write_through: true };

const DATA_SYNC: Way = Way {
    name: "data_sync",
    about: "write, fdatasync",
    block_bytes: 4096,
    at_once: 1,
    mode: BUFFERED,
    space: Space::Zeros,
    sync: Sync::Data,
};

/// All ways, the default of the log first.
pub(crate) const WAYS: [Way; 10] = [
    DATA_SYNC,
    Way { name: "full_sync", about: "write, fsync", sync: Sync::All, ..DATA_SYNC },
    Way {
        name: "write_through",
        about: "O_DSYNC write",
        mode: THROUGH,
        sync: Sync::Nothing,
        ..DATA_SYNC
    },
    Way {
        name: "direct_write_through",
        about: "O_DIRECT, O_DSYNC write",
        mode: DIRECT,
        sync: Sync::Nothing,
        ..DATA_SYNC
    },
    Way { name: "block_512", about: "512 B, fdatasync", block_bytes: 512, ..DATA_SYNC },
    Way { name: "block_16384", about: "16 KiB, fdatasync", block_bytes: 16 << 10, ..DATA_SYNC },
    Way {
        name: "reserved",
        about: "fdatasync, space reserved and not written",
        space: Space::Reserved,
        ..DATA_SYNC
    },
    Way { name: "growing", about: "fdatasync, file grows", space: Space::Growing, ..DATA_SYNC },
    Way { name: "two_at_once", about: "fdatasync, 2 files at once", at_once: 2, ..DATA_SYNC },
    Way { name: "four_at_once", about: "fdatasync, 4 files at once", at_once: 4, ..DATA_SYNC },
];

/// Longest time that the figures tell apart from longer ones: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// What was measured of one way.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) way: Way,
    /// Nanoseconds of each durable write.
    times: Histogram<u64>,
    /// Time of all writers together.
    elapsed: Duration,
}

impl Measured {
    fn new(way: Way) -> Option<Self> {
        let times = Histogram::new_with_max(LONGEST_NS, 3).ok()?;
        Some(Self { way, times, elapsed: Duration::ZERO })
    }

    /// Durable writes.
    pub(crate) fn count(&self) -> u64 {
        self.times.len()
    }

    /// Durable writes a second, all writers together.
    pub(crate) fn per_second(&self) -> f64 {
        if self.elapsed.is_zero() {
            return 0.0;
        }
        self.count() as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds within which this share of the writes was done, 0.5 for half of them.
    pub(crate) fn within_us(&self, share: f64) -> f64 {
        self.times.value_at_quantile(share) as f64 / 1e3
    }

    /// Microseconds of the slowest.
    pub(crate) fn max_us(&self) -> f64 {
        self.times.max() as f64 / 1e3
    }
}

/// A way, its open files, and what was measured so far.
#[derive(Debug)]
pub(crate) struct Trial {
    files: Vec<File>,
    /// Where each writes next.
    at: u64,
    pub(crate) measured: Measured,
}

impl Trial {
    /// Makes the files of a way in `dir`. `None`: the file system or the platform has no such way.
    pub(crate) fn prepare(dir: &Path, way: Way) -> io::Result<Option<Self>> {
        let mut files = Vec::new();
        for _ in 0..way.at_once {
            match make(dir, way.space, way.mode) {
                Ok(file) => files.push(file),
                Err(error) if is_unsupported(&error) && way.name != DATA_SYNC.name => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Measured::new(way).map(|measured| Self { files, at: 0, measured }))
    }

    /// Writes for so long, and once at the least.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<()> {
        let Self { files, at, measured } = self;
        let (way, start) = (measured.way, Instant::now());
        let from = *at;
        let outcomes: Vec<io::Result<Vec<u64>>> = thread::scope(|scope| {
            let writers: Vec<_> = files
                .iter()
                .map(|file| scope.spawn(move || write(file, way, from, start, time)))
                .collect();
            let broke = || io::Error::other("a writer panicked");
            writers.into_iter().map(|it| it.join().unwrap_or_else(|_| Err(broke()))).collect()
        });
        measured.elapsed += start.elapsed();
        for times in outcomes {
            for time in times? {
                measured.times.saturating_record(time);
                *at += way.block_bytes as u64;
            }
        }
        Ok(())
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

/// Durable writes one after the other; gives the nanoseconds of each.
fn write(file: &File, way: Way, from: u64, start: Instant, time: Duration) -> io::Result<Vec<u64>> {
    let block = Aligned::new(way.block_bytes);
    let mut times = Vec::new();
    let mut at = from;
    loop {
        let began = Instant::now();
        // A growing file grows; the others are gone round in.
        let offset = if way.space == Space::Growing { at } else { at % FILE_BYTES };
        file.write_all_at(block.bytes(), offset)?;
        match way.sync {
            Sync::Data => file.sync_data()?,
            Sync::All => file.sync_all()?,
            Sync::Nothing => {}
        }
        times.push(u64::try_from(began.elapsed().as_nanos()).unwrap_or(LONGEST_NS));
        at += way.block_bytes as u64;
        if start.elapsed() >= time {
            return Ok(times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_writes_at_least_once_and_counts_what_it_did() {
        let dir = tempfile::tempdir().unwrap();
        for way in WAYS {
            let Some(mut trial) = Trial::prepare(dir.path(), way).unwrap() else { continue };
            trial.run(Duration::ZERO).unwrap();
            trial.run(Duration::ZERO).unwrap();
            let measured = &trial.measured;
            assert_eq!(measured.count(), 2 * way.at_once as u64, "{}", way.name);
            assert!(measured.per_second() > 0.0 && measured.within_us(0.5) > 0.0, "{}", way.name);
            assert!(measured.within_us(0.5) <= measured.max_us(), "{}", way.name);
        }
    }

    #[test]
    fn ways_have_names_of_their_own() {
        let mut names = WAYS.map(|way| way.name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WAYS.len());
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = Trial::prepare(&dir.path().join("none"), DATA_SYNC).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
