//! The figures as files: CSV with a line a log and load, JSON with every round, all named by the
//! time they were taken and holding what machine they are of.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::baseline;
use crate::child::Common;
use crate::machine::Machine;
use crate::peer::Failure;
use crate::sheet::Sheet;

/// Files of one run, in one directory; none if no directory was named.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    name: &'a str,
    results: Option<&'a Path>,
    machine: Machine,
    wal_options: String,
}

impl<'a> Report<'a> {
    /// Before anything runs: tells the machine, and looks whether it is busy with other things.
    pub(crate) fn begin(name: &'a str, common: &'a Common) -> Self {
        let wal_options = format!("{:?}", baseline::options());
        let machine = Machine::here(common.dir.as_deref());
        eprintln!("machine: {}", machine.in_words());
        eprintln!("log options: {wal_options}");
        if machine.is_busy() {
            println!(
                "BUSY: the load was {} before this began; other work shows in the figures. A \
                 latency of 4 ms, or of another tick of the scheduler, is a wait for a processor.",
                machine.load_before
            );
        }
        Self { name, results: common.results.as_deref(), machine, wal_options }
    }

    fn path(&self, results: &Path, part: &str, ending: &str) -> PathBuf {
        let Self { name, machine, .. } = self;
        results.join(format!("{name}{part}-{}.{ending}", machine.taken))
    }

    /// Writes `<name><part>-<time>.csv`, under a note of the machine, one of how it was done, and
    /// the notes of `sheet`.
    pub(crate) fn write_csv(&self, part: &str, how: &str, mut sheet: Sheet) -> Result<(), Failure> {
        let Some(results) = self.results else { return Ok(()) };
        fs::create_dir_all(results)?;
        let machine = self.machine.in_words();
        let own = std::mem::take(&mut sheet.notes);
        sheet.notes = vec![machine, format!("wal options: {}", self.wal_options), how.to_owned()];
        sheet.notes.extend(own);
        if self.machine.is_busy() {
            sheet.notes.push("BUSY: other work on the machine shows in these figures".to_owned());
        }
        let path = self.path(results, part, "csv");
        fs::write(&path, sheet.to_text())?;
        println!("written: {}", path.display());
        Ok(())
    }

    /// Writes `<name>-<time>.json`, the machine beside the figures.
    pub(crate) fn write_json(&self, figures: &impl Serialize) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Whole<'a, T> {
            machine: &'a Machine,
            wal_options: &'a str,
            figures: &'a T,
        }
        let Some(results) = self.results else { return Ok(()) };
        fs::create_dir_all(results)?;
        let path = self.path(results, "", "json");
        let whole = Whole { machine: &self.machine, wal_options: &self.wal_options, figures };
        serde_json::to_writer_pretty(fs::File::create(&path)?, &whole)?;
        println!("written: {}", path.display());
        Ok(())
    }
}

/// A number, or nothing where there is none.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_carry_their_time_in_the_name_and_the_machine_within() {
        let dir = tempfile::tempdir().unwrap();
        let path = Some(dir.path().to_owned());
        let common = Common { rounds: 5, dir: path.clone(), results: path };
        let report = Report::begin("commits", &common);
        let mut sheet = Sheet::new(&["log"]);
        sheet.push(["wal".to_owned()]);
        sheet.notes.push("wal: the defaults".to_owned());
        report.write_csv("-curves", "five rounds", sheet).unwrap();
        report.write_json(&[1, 2]).unwrap();
        let path = dir.path().join(format!("commits-curves-{}.csv", report.machine.taken));
        let read = Sheet::read(&path).unwrap();
        assert!(read.notes[0].contains(&report.machine.kernel), "{:?}", read.notes);
        assert_eq!(read.notes[2], "five rounds");
        assert!(read.notes.iter().any(|note| note == "wal: the defaults"));
        assert_eq!(read.rows().next().unwrap().text("log"), "wal");
        let json = dir.path().join(format!("commits-{}.json", report.machine.taken));
        let json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
        assert_eq!(json["figures"][1], 2);
        assert_eq!(json["machine"]["taken"], report.machine.taken);
    }

    #[test]
    fn without_a_directory_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let common = Common { rounds: 5, dir: Some(dir.path().to_owned()), results: None };
        let report = Report::begin("commits", &common);
        report.write_csv("", "", Sheet::new(&["log"])).unwrap();
        report.write_json(&1).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
