//! Which files there are, and what is in them: lines of a log under a load, beside the bare device.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wal_bench::{Line, Sheet};

/// What one command wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Commits,
    InFlight,
    Rotations,
    Appends,
    Scan,
    Recovery,
    PeersCommits,
    PeersAppends,
}

impl Kind {
    /// In the order of the page.
    pub(crate) const ALL: [Self; 8] = [
        Self::Commits,
        Self::InFlight,
        Self::Rotations,
        Self::Appends,
        Self::Scan,
        Self::Recovery,
        Self::PeersCommits,
        Self::PeersAppends,
    ];

    /// What its files begin with.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Commits => "commits",
            Self::InFlight => "in-flight",
            Self::Rotations => "rotations",
            Self::Appends => "appends",
            Self::Scan => "scan",
            Self::Recovery => "recovery",
            Self::PeersCommits => "peers-commits",
            Self::PeersAppends => "peers-appends",
        }
    }

    /// What it is called on the page.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Commits => "Durable commits",
            Self::InFlight => "Several bare writers at once",
            Self::Rotations => "Rotations",
            Self::Appends => "Appends without sync",
            Self::Scan => "Scan",
            Self::Recovery => "Recovery",
            Self::PeersCommits => "Durable commits, other logs",
            Self::PeersAppends => "Appends and reading back, other logs",
        }
    }

    /// The command which writes its files.
    pub(crate) const fn command(self) -> &'static str {
        match self {
            Self::Commits => "cargo xtask bench commit",
            Self::InFlight => "cargo xtask bench in-flight",
            Self::Rotations => "cargo xtask bench rotations",
            Self::Appends => "cargo xtask bench append",
            Self::Scan => "cargo xtask bench scan",
            Self::Recovery => "cargo xtask bench recovery",
            Self::PeersCommits => "cargo xtask bench peers",
            Self::PeersAppends => "cargo xtask bench peers --appends",
        }
    }
}

/// What is shown of a kind: of each size of bodies the newest figures, and the file which they are
/// from, the smallest bodies first. Sizes may have been measured one by one.
pub(crate) fn newest(results: &Path, kind: Kind) -> io::Result<Vec<(PathBuf, Sheet)>> {
    let mut shown: Vec<(u64, PathBuf, Sheet)> = Vec::new();
    let mut seen = Vec::new();
    for path in files(results, kind)?.into_iter().rev() {
        let sheet = Sheet::read(&path)?;
        let bodies = numbers(&sheet, BODY_BYTES);
        if bodies.is_empty() && shown.is_empty() {
            return Ok(vec![(path, sheet)]);
        }
        let fresh: Vec<u64> = bodies.into_iter().filter(|body| !seen.contains(body)).collect();
        if let Some(&least) = fresh.first() {
            shown.push((least, path, sheet.only(BODY_BYTES, &fresh)));
            seen.extend(fresh);
        }
    }
    shown.sort_by_key(|(least, _, _)| *least);
    Ok(shown.into_iter().map(|(_, path, sheet)| (path, sheet)).collect())
}

/// The column of the bytes of a body.
pub(crate) const BODY_BYTES: &str = "body_bytes";

/// The files of a kind, the oldest first: names end with the time.
fn files(results: &Path, kind: Kind) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(results)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let time = name.strip_prefix(kind.name()).and_then(|rest| rest.strip_prefix('-'));
        let time = time.and_then(|rest| rest.strip_suffix(".csv"));
        if time.is_some_and(|time| time.starts_with(|first: char| first.is_ascii_digit())) {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The file of curves that was written with `path`.
pub(crate) fn curves_of(kind: Kind, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let rest = name.strip_prefix(kind.name()).unwrap_or_default();
    path.with_file_name(format!("{}-latencies{rest}", kind.name()))
}

/// The values of a column, each once, in order of size.
pub(crate) fn numbers(sheet: &Sheet, column: &str) -> Vec<u64> {
    let number = |line: Line<'_>| line.number(column).map(|number| number as u64);
    let mut all: Vec<u64> = sheet.rows().filter_map(number).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The logs, each once, as they come.
pub(crate) fn logs(sheet: &Sheet) -> Vec<&str> {
    let mut all = Vec::new();
    for line in sheet.rows() {
        let log = line.text("log");
        if !all.contains(&log) {
            all.push(log);
        }
    }
    all
}

/// A number of a log under a load.
pub(crate) fn number(sheet: &Sheet, log: &str, load: &[(&str, u64)], column: &str) -> Option<f64> {
    let is = |line: &Line<'_>| {
        let fits = |(name, value): &(&str, u64)| line.number(name) == Some(*value as f64);
        line.text("log") == log && load.iter().all(fits)
    };
    sheet.rows().find(is)?.number(column)
}

/// The same, over the bare device's.
pub(crate) fn of_raw(sheet: &Sheet, log: &str, load: &[(&str, u64)], column: &str) -> Option<f64> {
    let raw = number(sheet, "raw", load, column).filter(|raw| *raw != 0.0)?;
    Some(number(sheet, log, load, column)? / raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_found_by_its_time_and_kinds_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "commits-2026-01-01T000000Z.csv",
            "commits-2026-02-01T000000Z.csv",
            "commits-latencies-2026-03-01T000000Z.csv",
            "commits-2026-04-01T000000Z.json",
            "peers-commits-2026-05-01T000000Z.csv",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = newest(dir.path(), Kind::Commits).unwrap();
        let [(found, _)] = &found[..] else { panic!("not one: {found:?}") };
        assert!(found.ends_with("commits-2026-02-01T000000Z.csv"));
        let curves = curves_of(Kind::Commits, found);
        assert!(curves.ends_with("commits-latencies-2026-02-01T000000Z.csv"));
        assert_eq!(newest(dir.path(), Kind::Scan).unwrap(), []);
    }

    #[test]
    fn each_size_of_bodies_is_shown_from_the_newest_file_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        for (day, sizes) in
            [(1, "raw,4096,1\nraw,128,2\n"), (2, "raw,4096,3\n"), (3, "raw,128,4\n")]
        {
            let text = format!("log,body_bytes,day\n{sizes}");
            fs::write(dir.path().join(format!("scan-2026-01-0{day}T000000Z.csv")), text).unwrap();
        }
        let found = newest(dir.path(), Kind::Scan).unwrap();
        let days: Vec<String> = found
            .iter()
            .flat_map(|(_, sheet)| sheet.rows().map(|line| line.text("day").to_owned()))
            .collect();
        assert_eq!(days, ["4", "3"]);
    }

    #[test]
    fn a_figure_is_held_against_the_bare_device_of_its_load() {
        let sheet = Sheet::from_text("log,threads,rate\nraw,1,10\nwal,1,9\nraw,2,20\nwal,2,30\n");
        assert_eq!(of_raw(&sheet, "wal", &[("threads", 2)], "rate"), Some(1.5));
        assert_eq!(of_raw(&sheet, "wal", &[("threads", 4)], "rate"), None);
        assert_eq!((logs(&sheet), numbers(&sheet, "threads")), (vec!["raw", "wal"], vec![1, 2]));
    }
}
