//! `wal scrub`: sealed segments read again, slowly, to find decay.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use wal::{
    Access, ChainProblem, DamagedPlace, FileEntry, Finding, LogFile, LsnRange,
    Scrub as SealedSegments, Scrubbed, Storage, StorageLock,
};

use super::output::{json_line, line, scrub_bar, stdout};
use super::place;
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;

/// The longest sleep before a signal is looked for again.
const NAP: Duration = Duration::from_millis(50);

/// Read the sealed segments of a log again, at a limited rate, and report damage.
///
/// Past the page cache where the file system allows it (`O_DIRECT`, Linux), so that the device is
/// asked and not the memory. The log may be in use and is not changed; segments that are truncated
/// away meanwhile count as gone. Every damaged place is told: the first 64 of a segment one by one,
/// the others by their number. Exit codes: 0 all is whole, 4 damage or a missing segment, 5 a file
/// of another log or format. Interrupted, it reports what it has read, and ends by the signal.
#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Directory of the log.
    dir: PathBuf,
    /// Megabytes (10^6 bytes) a second to read at the most; 0 for no limit.
    #[arg(long, value_name = "MB/S", default_value_t = 50)]
    rate: u32,
    /// A JSON object a line: one a segment, and a summary.
    #[arg(long)]
    json: bool,
}

/// Reads at a limited rate, and not at all once a signal came.
#[derive(Debug)]
struct Throttled {
    inner: Arc<dyn Storage>,
    pace: Arc<Pace>,
}

#[derive(Debug)]
struct Pace {
    /// 0 for no limit.
    bytes_per_second: u64,
    started: Instant,
    read_bytes: AtomicU64,
    interrupt: Interrupt,
    bar: indicatif::ProgressBar,
}

impl Pace {
    /// Waits until `bytes` more may be read.
    fn take(&self, bytes: u64) -> io::Result<()> {
        let all = self.read_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.inc(bytes);
        loop {
            if self.interrupt.signal().is_some() {
                return Err(io::Error::other("interrupted"));
            }
            let due = match self.bytes_per_second {
                0 => Duration::ZERO,
                rate => Duration::from_secs_f64(all as f64 / rate as f64),
            };
            let left = due.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::PermissionDenied.into())
}

impl Storage for Throttled {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner.list()
    }
    fn create(&self, _: &str, _: u64) -> io::Result<Box<dyn LogFile>> {
        read_only()
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        let inner = self.inner.open(name, access)?;
        Ok(Box::new(ThrottledFile { inner, pace: Arc::clone(&self.pace) }))
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        read_only()
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        read_only()
    }
    fn sync_dir(&self) -> io::Result<()> {
        read_only()
    }
    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        read_only()
    }
    fn place(&self) -> String {
        self.inner.place()
    }
}

#[derive(Debug)]
struct ThrottledFile {
    inner: Box<dyn LogFile>,
    pace: Arc<Pace>,
}

impl LogFile for ThrottledFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.inner.read_at(buf, offset)?;
        self.pace.take(count as u64)?;
        Ok(count)
    }
    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        read_only()
    }
    fn sync_data(&self) -> io::Result<()> {
        read_only()
    }
    fn sync_all(&self) -> io::Result<()> {
        read_only()
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        read_only()
    }
}

/// What was read in all.
#[derive(Debug, Default)]
struct Totals {
    segments: u64,
    records: u64,
    bytes: u64,
    damaged: u64,
    places: u64,
    lost_bytes: u64,
    gone: u64,
    left: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segments, records, bytes, damaged, places, lost_bytes, gone, left } = self;
        write!(f, "{segments} sealed segments read, {records} records, {bytes} bytes; ")?;
        write!(f, "{damaged} damaged")?;
        if *damaged > 0 {
            write!(f, ", in {places} places of {lost_bytes} bytes")?;
        }
        if *gone > 0 {
            write!(f, ", {gone} truncated away meanwhile")?;
        }
        if *left > 0 {
            write!(f, "; interrupted, {left} not read")?;
        }
        Ok(())
    }
}

impl Scrub {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let interrupt = Interrupt::watch().map_err(|error| Failure::io("signals", error))?;
        let (storage, direct) = uncached(&self.dir)?;
        let pace = Arc::new(Pace {
            bytes_per_second: u64::from(self.rate) * 1_000_000,
            started: Instant::now(),
            read_bytes: AtomicU64::new(0),
            interrupt: interrupt.clone(),
            bar: scrub_bar(),
        });
        let throttled = Throttled { inner: storage, pace: Arc::clone(&pace) };
        let scrub = match (SealedSegments::open_in(Arc::new(throttled)), interrupt.signal()) {
            (Err(_), Some(signal)) => return Err(Failure::Interrupted(signal)),
            (scrub, _) => scrub?,
        };
        pace.bar.set_length(scrub.left().iter().map(|link| link.range().bytes()).sum());
        pace.bar.set_position(0);
        let mut out = stdout();
        let problems = scrub.problems().to_vec();
        self.print_problems(&problems, &mut out)?;
        let totals = self.read(scrub, &interrupt, &mut out)?;
        pace.bar.finish_and_clear();
        if self.json {
            json_line(&mut out, &totals.as_json(&problems, direct))?;
        } else {
            line(&mut out, &totals)?;
            if !direct {
                line(&mut out, "through the page cache, which may hide what the device has lost")?;
            }
        }
        out.flush().map_err(Failure::output)?;
        match interrupt.signal() {
            Some(signal) => Err(Failure::Interrupted(signal)),
            None if totals.damaged > 0 => Ok(Exit::Damaged),
            None => Ok(exit_of(&problems)),
        }
    }

    /// What is wrong with the files themselves, before any of them is read.
    fn print_problems(
        &self,
        problems: &[ChainProblem],
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        problems.iter().try_for_each(|problem| line(out, format_args!("wrong: {problem}")))
    }

    fn read(
        &self,
        mut scrub: SealedSegments,
        interrupt: &Interrupt,
        out: &mut impl Write,
    ) -> Result<Totals, Failure> {
        let mut totals = Totals::default();
        loop {
            let left = scrub.left().len() as u64;
            let Some(read) = scrub.next() else { return Ok(totals) };
            if interrupt.signal().is_some() {
                // What was being read was not read to its end.
                totals.left = left;
                return Ok(totals);
            }
            totals.count(&read);
            self.print(&read, out)?;
        }
    }

    fn print(&self, read: &Scrubbed, out: &mut impl Write) -> Result<(), Failure> {
        if self.json {
            return json_line(out, &segment_json(read));
        }
        let segment = read.segment;
        for DamagedPlace { range, offset, why, .. } in &read.places {
            let (LsnRange { start, end }, bytes) = (range, range.bytes());
            line(
                out,
                format_args!(
                    "damaged: `{segment}`, byte {offset}, LSN {start} to {end}, {bytes} bytes: {why}"
                ),
            )?;
        }
        match read.damaged_places - read.places.len() as u64 {
            0 => Ok(()),
            more => line(out, format_args!("damaged: `{segment}`, {more} more places behind")),
        }
    }
}

/// What files that are wrong come to: worse than another log's is one of this log's.
fn exit_of(problems: &[ChainProblem]) -> Exit {
    let is_foreign = |problem: &ChainProblem| {
        matches!(problem, ChainProblem::Foreign { .. } | ChainProblem::UnsupportedVersion { .. })
    };
    match problems {
        [] => Exit::Done,
        all if all.iter().all(is_foreign) => Exit::NotOurs,
        _ => Exit::Damaged,
    }
}

fn segment_json(read: &Scrubbed) -> serde_json::Value {
    let (at, offset, why) = match &read.finding {
        Finding::Damaged { at, offset, why } => (Some(at.get()), Some(*offset), Some(why)),
        _ => (None, None, None),
    };
    let place = |place: &DamagedPlace| {
        json!({
            "from": place.range.start.get(), "to": place.range.end.get(),
            "offset": place.offset, "why": place.why,
        })
    };
    json!({
        "segment": read.segment.to_string(), "base": read.range.start.get(),
        "end": read.range.end.get(), "records": read.records,
        "finding": name_of(&read.finding), "at": at, "offset": offset, "why": why,
        "places": read.places.iter().map(place).collect::<Vec<_>>(),
        "damaged_places": read.damaged_places, "damaged_bytes": read.damaged_bytes,
    })
}

impl Totals {
    fn count(&mut self, read: &Scrubbed) {
        self.records += read.records;
        match read.finding {
            Finding::Gone => self.gone += 1,
            _ => {
                self.segments += 1;
                self.bytes += read.range.bytes();
            }
        }
        self.damaged += u64::from(matches!(read.finding, Finding::Damaged { .. }));
        self.places += read.damaged_places;
        self.lost_bytes += read.damaged_bytes;
    }

    fn as_json(&self, problems: &[ChainProblem], direct: bool) -> serde_json::Value {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        json!({
            "problems": problems,
            "segments": self.segments, "records": self.records, "bytes": self.bytes,
            "damaged": self.damaged, "damaged_places": self.places,
            "damaged_bytes": self.lost_bytes, "gone": self.gone, "not_read": self.left,
            "past_page_cache": direct,
        })
    }
}

const fn name_of(finding: &Finding) -> &'static str {
    match finding {
        Finding::Whole => "whole",
        Finding::Gone => "gone",
        _ => "damaged",
    }
}

/// The files of a log past the page cache, if that is possible, and whether it is.
fn uncached(dir: &Path) -> Result<(Arc<dyn Storage>, bool), Failure> {
    // First: the other one would make a directory that is missing.
    let cached = place::readable(dir)?;
    #[cfg(target_os = "linux")]
    if let Ok(direct) = wal::DirectStorage::open(dir) {
        // Some file systems refuse it only when a file is opened.
        let entries = direct.list().unwrap_or_default();
        let first = entries.iter().find(|entry| entry.name.ends_with(".wal"));
        if first.is_some_and(|entry| direct.open(&entry.name, Access::Read).is_ok()) {
            return Ok((Arc::new(direct), true));
        }
    }
    Ok((Arc::new(cached), false))
}
