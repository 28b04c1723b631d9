//! What bounds an opening: how fast bytes are read, and checked. Context, no advice.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use super::aligned::Aligned;
use super::ground::Ground;
use crate::interrupt::Interrupt;

/// Bytes of one read, and of one checksum.
const CHUNK_BYTES: usize = 256 << 10;

/// What is done with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Read { past_cache: bool },
    Checksum,
}

/// One thing to be done with bytes, and its rate in each round.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    /// Its name in JSON.
    pub(crate) name: &'static str,
    /// Its name for a person.
    pub(crate) about: &'static str,
    work: Work,
    /// Bytes a second, of each round.
    rounds: Vec<f64>,
}

impl Rate {
    /// All that is measured; past the page cache only where the file system allows that.
    pub(crate) fn all(direct: bool) -> Vec<Self> {
        let rate = |name, about, work| Self { name, about, work, rounds: Vec::new() };
        let checksum = if cfg!(debug_assertions) {
            "CRC-32C in memory, compiled without optimisation"
        } else {
            "CRC-32C in memory"
        };
        let mut all = vec![
            rate("crc32c", checksum, Work::Checksum),
            rate("read_cached", "read in sequence, cached", Work::Read { past_cache: false }),
        ];
        if direct {
            let work = Work::Read { past_cache: true };
            all.push(rate("read_direct", "read in sequence, O_DIRECT", work));
        }
        all
    }

    /// Median of the rounds, in bytes a second.
    pub(crate) fn bytes_per_second(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort_unstable_by(f64::total_cmp);
        rounds.get(rounds.len() / 2).copied().unwrap_or_default()
    }

    /// Goes on for so long, and does one chunk at the least.
    pub(crate) fn turn(
        &mut self,
        ground: &Ground,
        time: Duration,
        interrupt: &Interrupt,
    ) -> io::Result<()> {
        let mut chunk = Aligned::new(CHUNK_BYTES);
        let file = match self.work {
            Work::Read { past_cache } => Some(ground.to_read(past_cache)?),
            Work::Checksum => None,
        };
        let (mut bytes, mut at) = (0, 0);
        let began = Instant::now();
        loop {
            let done = match &file {
                Some(file) => file.read_at(chunk.bytes_mut(), at)?,
                None => {
                    black_box(wal::crc32c_append(0, black_box(chunk.bytes())));
                    chunk.bytes().len()
                }
            };
            // From the beginning again, at the end of the file.
            at = if done == 0 { 0 } else { at + done as u64 };
            bytes += done;
            if began.elapsed() >= time || interrupt.signal().is_some() {
                break;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        if seconds > 0.0 {
            self.rounds.push(bytes as f64 / seconds);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rate_is_of_bytes_that_were_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut ground = Ground::make(dir.path()).unwrap();
        (0..Ground::STEPS).for_each(|step| ground.prepare(step).unwrap());
        let direct = ground.to_read(true).is_ok();
        for mut rate in Rate::all(direct) {
            assert_eq!(rate.bytes_per_second(), 0.0, "{}: nothing was done yet", rate.name);
            rate.turn(&ground, Duration::ZERO, &Interrupt::default()).unwrap();
            assert!(rate.bytes_per_second() > 0.0, "{}", rate.name);
        }
    }
}
