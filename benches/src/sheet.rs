//! A table of figures as CSV: lines of notes which begin with `#`, one line of names, lines of
//! values. What one command writes another reads.
//!
//! No value may hold a comma, a quote or the end of a line; such signs become blanks.

use std::fs;
use std::io;
use std::path::Path;

/// Such a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// What the figures are of.
    pub notes: Vec<String>,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// An empty table with columns of these names.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        let head = head.iter().map(|name| (*name).to_owned()).collect();
        Self { notes: Vec::new(), head, rows: Vec::new() }
    }

    /// Adds a line; a value that is missing is empty, one too many is left out.
    pub fn push(&mut self, values: impl IntoIterator<Item = String>) {
        let plain = |value: String| value.replace([',', '"', '\n', '\r'], " ");
        let mut row: Vec<String> = values.into_iter().map(plain).collect();
        row.resize(self.head.len(), String::new());
        self.rows.push(row);
    }

    /// Every line, in order.
    pub fn rows(&self) -> impl Iterator<Item = Line<'_>> {
        self.rows.iter().map(|values| Line { head: &self.head, values })
    }

    /// The notes, and the lines whose number in the column called `name` is one of `numbers`.
    #[must_use]
    pub fn only(&self, name: &str, numbers: &[u64]) -> Self {
        let is_one = |line: &Line<'_>| {
            line.number(name).is_some_and(|found| numbers.iter().any(|one| *one as f64 == found))
        };
        let kept = self.rows().filter(is_one).map(|line| line.values.to_vec()).collect();
        Self { notes: self.notes.clone(), head: self.head.clone(), rows: kept }
    }

    /// The table as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let notes = self.notes.iter().map(|note| format!("# {}", note.replace('\n', " ")));
        let rows = self.rows.iter().map(|row| row.join(","));
        let lines = notes.chain([self.head.join(",")]).chain(rows);
        lines.map(|line| line + "\n").collect()
    }

    /// The table which a text holds; lines of another length than the first are no part of it.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let (notes, lines): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with('#'));
        let cut = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<String>>();
        let mut lines = lines.into_iter().map(cut);
        let head = lines.next().unwrap_or_default();
        let rows = lines.filter(|row| row.len() == head.len()).collect();
        let note = |line: &str| line.trim_start_matches(['#', ' ']).to_owned();
        Self { notes: notes.into_iter().map(note).collect(), head, rows }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no text.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::from_text(&fs::read_to_string(path)?))
    }
}

/// One line, by the names of its columns.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    head: &'a [String],
    values: &'a [String],
}

impl<'a> Line<'a> {
    /// The value in the column called `name`; empty if there is no such column.
    #[must_use]
    pub fn text(&self, name: &str) -> &'a str {
        let column = self.head.iter().position(|one| one == name);
        column.and_then(|column| self.values.get(column)).map_or("", String::as_str)
    }

    /// The number there, if there is one.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name).parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_the_number_are_kept_and_all_notes() {
        let sheet = Sheet::from_text("# taken\nlog,body\nraw,128\nwal,4096\nold,\n");
        let only = sheet.only("body", &[128]);
        assert_eq!(only.to_text(), "# taken\nlog,body\nraw,128\n");
        assert_eq!(sheet.only("none", &[128]).rows().count(), 0);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut sheet = Sheet::new(&["log", "rate"]);
        sheet.notes.push("taken today, here".to_owned());
        sheet.push(["wal".to_owned(), "1.5".to_owned()]);
        sheet.push(["other".to_owned()]);
        let read = Sheet::from_text(&sheet.to_text());
        assert_eq!(read, sheet);
        let rates: Vec<Option<f64>> = read.rows().map(|line| line.number("rate")).collect();
        assert_eq!(rates, [Some(1.5), None]);
    }

    #[test]
    fn signs_with_a_meaning_become_blanks() {
        let mut sheet = Sheet::new(&["note"]);
        sheet.push(["a,b\"c\nd".to_owned()]);
        assert_eq!(sheet.rows().next().unwrap().text("note"), "a b c d");
        assert_eq!(Sheet::from_text(&sheet.to_text()), sheet);
    }

    #[test]
    fn a_column_that_is_not_there_is_empty_and_a_torn_line_is_left_out() {
        let sheet = Sheet::from_text("# n\na,b\n1,2\n3\n");
        assert_eq!(sheet.rows().count(), 1);
        assert_eq!(sheet.rows().next().unwrap().text("c"), "");
    }
}
