//! What a batch across partitions costs beside single commits, and how long an opening takes, in one run.
//!
//! `cargo run --release -p wal-partitions --example cost [DIRECTORY] [MEGABYTES]`: the directory decides
//! which device is measured. The three are taken in turns, and each round gives a quotient.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wal::{Options, ReplayRecord};
use wal_partitions::{Directories, Opener, Partitions};

const PARTITIONS: usize = 4;
const ROUNDS: usize = 60;
const PER_ROUND: u32 = 10;
const BODY: [u8; 256] = [7; 256];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let megabytes: u64 = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let scratch = tempfile::tempdir_in(parent)?;
    let root = scratch.path().join("root");
    let (partitions, ..) = open(&root, 1)?;

    let (mut one, mut four, mut batch) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one.push(timed(|| single(&partitions, 1))?);
        four.push(timed(|| single(&partitions, PARTITIONS))?);
        batch.push(timed(|| across(&partitions))?);
    }
    println!("commits of 256 bytes, one thread, medians of {ROUNDS} rounds:");
    println!("  one partition             {:>8.1} us", median(&one));
    println!("  four, one after the other {:>8.1} us", median(&four));
    println!("  a batch across four       {:>8.1} us", median(&batch));
    println!("  batch / four commits      {:>8.2}", quotient(&batch, &four));
    println!("  batch / one commit        {:>8.2}", quotient(&batch, &one));

    fill(&partitions, megabytes << 20)?;
    partitions.close()?;
    drop(partitions);
    for threads in [1, 2, 1, 2] {
        let (partitions, records, took) = open(&root, threads)?;
        println!("{megabytes} MiB, {records} records, {threads} threads: opened in {took:?}");
        partitions.close()?;
    }
    Ok(())
}

fn open(root: &PathBuf, threads: usize) -> Result<(Partitions, u64, Duration), Box<dyn Error>> {
    struct Count(u64);
    impl wal::RedoTarget for Count {
        type Error = std::convert::Infallible;
        fn redo(&mut self, _: &ReplayRecord<'_>) -> Result<(), Self::Error> {
            self.0 += 1;
            Ok(())
        }
    }
    let mut counts = [const { Count(0) }; PARTITIONS];
    let began = Instant::now();
    let opener = Opener::new(Options::default()).threads(threads);
    let partitions = opener.recover(&Directories::new(root), PARTITIONS, &mut counts)?;
    let took = began.elapsed();
    Ok((partitions, counts.iter().map(|count| count.0).sum(), took))
}

/// A durable commit in each of the first `count` partitions.
fn single(partitions: &Partitions, count: usize) -> Result<(), Box<dyn Error>> {
    for partition in partitions.iter().take(count) {
        partition.append(&BODY)?.wait_durable()?;
    }
    Ok(())
}

fn across(partitions: &Partitions) -> Result<(), Box<dyn Error>> {
    let body = [&BODY[..]];
    let parts = [0, 1, 2, 3].map(|index| (index, &body[..]));
    Ok(partitions.append_across(&parts)?.wait_durable()?)
}

/// Fills the logs, with a batch across all after each hundred records.
fn fill(partitions: &Partitions, bytes: u64) -> Result<(), Box<dyn Error>> {
    let rounds = bytes / (BODY.len() as u64 * PARTITIONS as u64 * 100);
    for _ in 0..rounds {
        for partition in partitions.iter() {
            let bodies = [BODY; 100];
            let _ordered = partition.append_batch(&bodies)?;
        }
        let body = [&BODY[..]];
        let _ordered = partitions.append_across(&[0, 1, 2, 3].map(|index| (index, &body[..])))?;
    }
    Ok(partitions.sync()?)
}

fn timed(mut call: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    for _ in 0..PER_ROUND {
        call()?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(PER_ROUND))
}

fn quotient(above: &[f64], below: &[f64]) -> f64 {
    median(&above.iter().zip(below).map(|(above, below)| above / below).collect::<Vec<_>>())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
