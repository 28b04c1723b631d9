//! A crash as text: of each file, which sectors were durable, written, and survived.
//!
//! Looks at the disk that lost power and at what was left; changes neither.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::disk::SimDisk;
use crate::image::{Image, Sector};
use crate::state::State;

/// What the letters mean; printed under each picture.
pub(crate) const LEGEND: &str =
    ". zeros  = durable  + written and survived  - written and lost  o an older write  ! a mix";

/// Lines drawn at most; a picture is for people.
const FILES_MAX: usize = 40;

/// Sector runs drawn at most in one line.
const RUNS_MAX: usize = 60;

/// Draws the disk `cut`, which lost power, and what was `left` of it.
pub(crate) fn draw(cut: &SimDisk, left: &SimDisk) -> String {
    // One after the other: the two may be the same disk.
    let cut = cut.state.lock().clone();
    let left = left.state.lock().clone();
    let written = cut.dir.written();
    let names: BTreeSet<&str> = written
        .keys()
        .chain(cut.dir.durable().keys())
        .chain(left.dir.written().keys())
        .map(|name| &**name)
        .collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut picture = String::new();
    for name in names.iter().take(FILES_MAX) {
        let _ = writeln!(picture, "    {name:width$}  {}", line(&cut, &left, name));
    }
    if names.len() > FILES_MAX {
        let _ = writeln!(picture, "    and {} more files", names.len() - FILES_MAX);
    }
    let _ = write!(picture, "    {LEGEND}");
    picture
}

fn line(cut: &State, left: &State, name: &str) -> String {
    let was = cut.dir.written().get(name);
    let name_of = match (was, cut.dir.durable().get(name)) {
        (Some(one), Some(other)) if one == other => "name durable",
        (Some(_), _) => "name written",
        (None, _) => "name removed",
    };
    let Some(found) = left.dir.written().get(name) else { return format!("{name_of}, lost") };
    let Some(after) = left.inodes.get(found).map(|inode| inode.written()) else {
        return name_of.to_owned();
    };
    let Some(before) = cut.inodes.get(found) else {
        return format!("{name_of}, not of this run: {}", sectors(after, |_, _| '?'));
    };
    let (written, durable) = (before.written(), before.durable());
    let letter = |index: u64, sector: &Sector| -> char {
        let is = |image: &Image| image.sector(index) == *sector;
        match (before.sectors.get(&index), sector.is_zero()) {
            (None, true) if is(durable) => '.',
            (None, false) if is(durable) => '=',
            (Some(_), _) if is(written) => '+',
            (Some(_), _) if is(durable) => '-',
            (Some(pending), _)
                if pending.versions.iter().any(|version| version.sector == *sector) =>
            {
                'o'
            }
            _ => '!',
        }
    };
    format!(
        "{name_of}, {} bytes durable, {} written, {} left: {}",
        durable.len(),
        written.len(),
        after.len(),
        sectors(after, letter)
    )
}

/// One letter a sector, runs of a letter as a number: `=3 + -2`.
fn sectors(image: &Image, letter: impl Fn(u64, &Sector) -> char) -> String {
    let mut runs: Vec<(char, u64)> = Vec::new();
    for index in 0..image.sectors().min(1 << 16) {
        let letter = letter(index, &image.sector(index));
        match runs.last_mut() {
            Some((last, count)) if *last == letter => *count += 1,
            _ => runs.push((letter, 1)),
        }
    }
    let text = |&(letter, count): &(char, u64)| match count {
        1 => letter.to_string(),
        _ => format!("{letter}{count}"),
    };
    let mut drawn: Vec<String> = runs.iter().take(RUNS_MAX).map(text).collect();
    if runs.len() > RUNS_MAX {
        drawn.push("and so on".to_owned());
    }
    drawn.join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use wal_io::Storage;

    use super::*;
    use crate::choice::{Newest, Oldest, Reading, Script};

    /// Two durable sectors of a name that is, the second written again; a third that is new.
    fn cut() -> SimDisk {
        let disk = SimDisk::new();
        let file = disk.create("log", 2048).unwrap();
        let write = |fill: u8, sector: u64| {
            file.write_at(&[IoSlice::new(&[fill; 512])], sector * 512).unwrap();
        };
        write(1, 0);
        write(1, 1);
        file.sync_all().unwrap();
        disk.sync_dir().unwrap();
        write(2, 1);
        write(3, 1);
        write(2, 2);
        disk.create("new", 0).unwrap();
        disk
    }

    fn drawn(script: &str) -> String {
        let script = Script::parse(script).unwrap();
        draw(&cut(), &cut().crash_by(&mut Reading::new(&script)))
    }

    #[test]
    fn a_picture_shows_what_became_of_each_sector() {
        let newest = draw(&cut(), &cut().crash_by(&mut Newest));
        assert!(newest.contains("log  name durable, 2048 bytes durable, 2048 written, 2048 left"));
        assert!(newest.contains(": = +2 .\n"), "{newest}");
        let oldest = draw(&cut(), &cut().crash_by(&mut Oldest));
        assert!(oldest.contains(": = -2 .\n"), "{oldest}");
        assert!(oldest.contains("new  name written, lost"), "{oldest}");
        // Answers: the name, the length, the second sector, the third.
        assert!(drawn("0,0,1,0").contains(": = o - .\n"), "{}", drawn("0,0,1,0"));
        assert!(drawn("0,0,2t0-9,1").contains(": = ! + .\n"), "{}", drawn("0,0,2t0-9,1"));
    }

    #[test]
    fn a_disk_may_be_drawn_beside_itself() {
        let disk = cut();
        assert!(draw(&disk, &disk).contains("log"));
    }
}
