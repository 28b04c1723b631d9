//! One way's turns, and the time that each of its writes took.

use std::io::{self, IoSlice};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::aligned::Aligned;
use super::ground::{Ground, Stretch};
use super::way::{Space, Sync, Way};
use crate::interrupt::Interrupt;

/// Longest time that the figures tell apart from longer ones: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// What was measured of one way.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) way: Way,
    /// Nanoseconds of each write, over all rounds.
    times: Histogram<u64>,
    /// Median nanoseconds of each round.
    medians: Vec<u64>,
    /// Writes a second of each round, all writers together.
    rates: Vec<f64>,
}

/// What one writer did in one turn.
#[derive(Debug)]
struct Written {
    times: Vec<u64>,
    began: Instant,
    ended: Instant,
}

impl Measured {
    /// Nothing yet.
    pub(crate) fn new(way: Way) -> Result<Self, hdrhistogram::CreationError> {
        let times = Histogram::new_with_max(LONGEST_NS, 3)?;
        Ok(Self { way, times, medians: Vec::new(), rates: Vec::new() })
    }

    /// Durable writes.
    pub(crate) fn count(&self) -> u64 {
        self.times.len()
    }

    /// Durable writes a second, all writers together: the median of the rounds.
    pub(crate) fn per_second(&self) -> f64 {
        let mut rates = self.rates.clone();
        rates.sort_unstable_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or_default()
    }

    /// Microseconds within which this share of the writes was done, 0.5 for half of them.
    pub(crate) fn within_us(&self, share: f64) -> f64 {
        self.times.value_at_quantile(share) as f64 / 1e3
    }

    /// Microseconds of the slowest.
    pub(crate) fn max_us(&self) -> f64 {
        self.times.max() as f64 / 1e3
    }

    /// The largest median of a round over the smallest: 1 on a quiet machine, or without rounds.
    pub(crate) fn spread(&self) -> f64 {
        match (self.medians.iter().min(), self.medians.iter().max()) {
            (Some(&least), Some(&most)) if least > 0 => most as f64 / least as f64,
            _ => 1.0,
        }
    }

    /// Writes for so long, and once at the least, unless a signal came.
    pub(crate) fn turn(
        &mut self,
        ground: &Ground,
        time: Duration,
        interrupt: &Interrupt,
    ) -> io::Result<()> {
        let written = if self.way.sync == Sync::Directory {
            vec![rename(ground, self.count(), time, interrupt)?]
        } else {
            let stretches = ground.stretches(&self.way)?;
            let written = self.write(&stretches, time, interrupt)?;
            if self.way.sync == Sync::Nothing {
                // Or the first sync of the next turn would have all of it to write.
                stretches.iter().try_for_each(|stretch| stretch.file.sync_all())?;
            }
            written
        };
        self.take(&written);
        Ok(())
    }

    /// All writers at once, each in its stretch, from one moment on.
    fn write(
        &self,
        stretches: &[Stretch],
        time: Duration,
        interrupt: &Interrupt,
    ) -> io::Result<Vec<Written>> {
        let (way, start) = (self.way, Barrier::new(stretches.len()));
        // Prepared files are gone on in where the last turn ended; others are new each time.
        let done = self.count() / way.writers as u64 * way.bytes as u64;
        let from = if way.space == Space::Prepared { done } else { 0 };
        thread::scope(|scope| {
            let start = &start;
            let writers: Vec<_> = stretches
                .iter()
                .map(|stretch| {
                    scope.spawn(move || {
                        let block = Aligned::new(way.bytes);
                        start.wait();
                        write(stretch, way, block.bytes(), from, time, interrupt)
                    })
                })
                .collect();
            let broke = || io::Error::other("a writer panicked");
            writers.into_iter().map(|it| it.join().unwrap_or_else(|_| Err(broke()))).collect()
        })
    }

    fn take(&mut self, written: &[Written]) {
        let mut times: Vec<u64> = written.iter().flat_map(|it| it.times.iter().copied()).collect();
        let began = written.iter().map(|it| it.began).min();
        let ended = written.iter().map(|it| it.ended).max();
        if let (Some(began), Some(ended)) = (began, ended) {
            let seconds = ended.saturating_duration_since(began).as_secs_f64();
            if seconds > 0.0 {
                self.rates.push(times.len() as f64 / seconds);
            }
        }
        for &time in &times {
            self.times.saturating_record(time);
        }
        times.sort_unstable();
        self.medians.extend(times.get(times.len() / 2));
    }
}

/// Durable writes one after the other.
fn write(
    stretch: &Stretch,
    way: Way,
    block: &[u8],
    from: u64,
    time: Duration,
    interrupt: &Interrupt,
) -> io::Result<Written> {
    let (bytes, file) = (block.len() as u64, &*stretch.file);
    let goes_round = way.space == Space::Prepared;
    let mut at = from;
    repeat(time, interrupt, || {
        if !goes_round && at + bytes > stretch.bytes {
            // What comes now was written before, and would be another figure.
            return Ok(false);
        }
        let offset = stretch.start + at % stretch.bytes;
        let written = file.write_at(&[IoSlice::new(block)], offset)?;
        if written < block.len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the system wrote a part only"));
        }
        match way.sync {
            Sync::Data => file.sync_data()?,
            Sync::All => file.sync_all()?,
            Sync::WriteThrough | Sync::Nothing | Sync::Directory => {}
        }
        at += bytes;
        Ok(true)
    })
}

fn rename(
    ground: &Ground,
    count: u64,
    time: Duration,
    interrupt: &Interrupt,
) -> io::Result<Written> {
    let mut count = count;
    repeat(time, interrupt, || {
        ground.rename(count)?;
        count += 1;
        Ok(true)
    })
}

/// Does `work` until it says that there is no more, the time is up, or a signal came.
fn repeat(
    time: Duration,
    interrupt: &Interrupt,
    mut work: impl FnMut() -> io::Result<bool>,
) -> io::Result<Written> {
    let began = Instant::now();
    let (mut times, mut before) = (Vec::new(), began);
    while interrupt.signal().is_none() && work()? {
        let now = Instant::now();
        let took = now.saturating_duration_since(before).as_nanos();
        times.push(u64::try_from(took).unwrap_or(LONGEST_NS));
        before = now;
        if now.saturating_duration_since(began) >= time {
            break;
        }
    }
    Ok(Written { times, began, ended: before })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::ground::FILE_BYTES;
    use crate::probe::way::WAYS;

    fn ground() -> (tempfile::TempDir, Ground) {
        let dir = tempfile::tempdir().unwrap();
        let mut ground = Ground::make(dir.path()).unwrap();
        (0..Ground::STEPS).for_each(|step| ground.prepare(step).unwrap());
        (dir, ground)
    }

    #[test]
    fn every_way_writes_at_least_once_a_turn_and_counts_what_it_did() {
        let (_dir, ground) = ground();
        for way in WAYS.into_iter().filter(|way| ground.refusal(way).is_none()) {
            let mut measured = Measured::new(way).unwrap();
            for _ in 0..2 {
                measured.turn(&ground, Duration::ZERO, &Interrupt::default()).unwrap();
            }
            assert_eq!(measured.count(), 2 * way.writers as u64, "{}", way.name);
            assert_eq!(measured.medians.len(), 2);
            assert!(measured.within_us(0.5) <= measured.max_us(), "{}", way.name);
        }
    }

    #[test]
    fn a_reserved_file_is_written_once_and_a_turn_ends_with_it() {
        let (_dir, ground) = ground();
        let way = WAYS.into_iter().find(|way| way.name == "reserved_64k").unwrap();
        let way = Way { sync: Sync::Nothing, ..way };
        let mut measured = Measured::new(way).unwrap();
        let writes = FILE_BYTES / way.bytes as u64;
        for turn in 1..=2 {
            measured.turn(&ground, Duration::from_secs(600), &Interrupt::default()).unwrap();
            assert_eq!(measured.count(), turn * writes);
        }
    }

    #[test]
    fn after_a_signal_nothing_is_written() {
        let (_dir, ground) = ground();
        let mut measured = Measured::new(WAYS[0]).unwrap();
        measured.turn(&ground, Duration::from_secs(600), &Interrupt::raised(2)).unwrap();
        assert_eq!((measured.count(), measured.spread()), (0, 1.0));
        assert_eq!(measured.per_second(), 0.0);
    }

    #[test]
    fn the_spread_is_between_the_medians_of_rounds() {
        let mut measured = Measured::new(WAYS[0]).unwrap();
        let now = Instant::now();
        for times in [[10, 100, 9_999], [10, 50, 60], [1, 80, 90]] {
            let ended = now + Duration::from_nanos(times.iter().sum());
            measured.take(&[Written { times: times.to_vec(), began: now, ended }]);
        }
        assert_eq!(measured.spread(), 2.0);
    }

    #[test]
    fn writers_at_once_count_for_the_time_that_they_had_together_in_the_median_round() {
        let mut measured = Measured::new(Way { writers: 2, ..WAYS[0] }).unwrap();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        for seconds in [1, 4, 2] {
            let written = |from: u32, to: u32| Written {
                times: vec![500_000_000; 2],
                began: start + second * from,
                ended: start + second * to,
            };
            measured.take(&[written(0, 1), written(seconds - 1, seconds)]);
        }
        assert_eq!(measured.per_second(), 2.0);
    }
}
