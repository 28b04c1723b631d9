//! The table of planted bugs: what each needed to be found, for people and for the documentation.

use std::path::Path;

use crate::outcome::{Failure, Outcome};
use crate::workspace::read;

const BEGIN: &str = "<!-- mutants: begin -->";
const END: &str = "<!-- mutants: end -->";

/// One planted bug and what came of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Crash states judged until it was found.
    pub(super) states: u64,
    pub(super) caught: Option<Caught>,
}

/// Where a bug was found.
#[derive(Debug)]
pub(super) struct Caught {
    pub(super) case: String,
    pub(super) state: String,
    pub(super) reason: String,
}

impl Caught {
    /// States have names of their own; a test has none. Cases have colons, tests have paths.
    fn is_test(&self) -> bool {
        self.state.is_empty() && (self.case.contains("::") || !self.case.contains(':'))
    }
}

impl Row {
    pub(super) fn is_caught(&self) -> bool {
        self.caught.is_some()
    }

    /// The row as a line of progress.
    pub(super) fn told(&self) -> String {
        match &self.caught {
            Some(caught) => format!(
                "found after {:>7} states  {:<36} {}: {}",
                self.states, self.name, caught.case, caught.reason
            ),
            None => format!("NOT FOUND in {:>6} states  {}", self.states, self.name),
        }
    }
}

/// The table, in Markdown.
pub(super) fn of(rows: &[Row]) -> String {
    let mut text = String::from(
        "| planted bug | what is wrong | found in | crash states needed |\n|---|---|---|---:|\n",
    );
    for row in rows {
        let (found, states) = match &row.caught {
            Some(caught) if caught.is_test() => {
                (format!("`{}`", name(caught)), "a test".to_owned())
            }
            Some(caught) => (format!("`{}`", name(caught)), row.states.to_string()),
            None => ("not found".to_owned(), format!("> {}", row.states)),
        };
        text.push_str(&format!("| {} | {} | {found} | {states} |\n", row.name, row.about));
    }
    text
}

fn name(caught: &Caught) -> String {
    if caught.state.is_empty() {
        return caught.case.clone();
    }
    format!("{}:{}", caught.case, caught.state)
}

/// Puts the rows into the table between its markers: each in the place of the row of its name, new
/// ones behind.
///
/// # Errors
///
/// When the page cannot be read or written, or has no markers.
pub(super) fn write_table(page: &Path, rows: &[Row]) -> Outcome {
    let text = read(page)?;
    let text = replaced(&text, &merged(&text, &of(rows)))
        .ok_or_else(|| Failure::new(format!("{}: no `{BEGIN}`, `{END}`", page.display())))?;
    std::fs::write(page, text).map_err(|error| Failure::at(page, &error))
}

/// `table`, with the rows of the old one on `page` that are not in it.
fn merged(page: &str, table: &str) -> String {
    let name = |line: &str| line.split('|').nth(1).map(str::trim).unwrap_or_default().to_owned();
    let is_row = |line: &&str| line.starts_with("| ") && name(line) != "planted bug";
    let old = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let mut fresh: Vec<&str> = table.lines().filter(is_row).collect();
    let mut lines: Vec<&str> = table.lines().take(2).collect();
    for row in old.map_or("", |(old, _)| old).lines().filter(is_row) {
        match fresh.iter().position(|line| name(line) == name(row)) {
            Some(at) => lines.push(fresh.remove(at)),
            None => lines.push(row),
        }
    }
    lines.extend(fresh);
    lines.join("\n") + "\n"
}

fn replaced(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(caught: bool) -> Row {
        let caught = caught.then(|| Caught {
            case: "mixed:1".to_owned(),
            state: "wide:3.1".to_owned(),
            reason: "gone".to_owned(),
        });
        Row { name: "skip", about: "does nothing", states: 12, caught }
    }

    #[test]
    fn a_row_says_where_and_after_how_many_states() {
        let text = of(&[row(true), row(false)]);
        assert!(text.contains("| skip | does nothing | `mixed:1:wide:3.1` | 12 |"), "{text}");
        assert!(text.contains("| not found | > 12 |"), "{text}");
        assert!(row(true).told().contains("gone") && row(false).told().starts_with("NOT FOUND"));
    }

    #[test]
    fn what_a_test_found_took_no_states_whatever_the_path_of_the_test() {
        for (case, told) in
            [("a_test", true), ("module::tests::a_test", true), ("mixed/1:1", false)]
        {
            let caught =
                Caught { case: case.to_owned(), state: String::new(), reason: String::new() };
            let text = of(&[Row { states: 0, caught: Some(caught), ..row(true) }]);
            assert_eq!(text.contains("| a test |"), told, "{text}");
        }
    }

    #[test]
    fn rows_that_were_not_run_stay_as_they_were() {
        let old = Row { name: "other", ..row(false) };
        let page = format!("a\n{BEGIN}\n\n{}\n{END}\nb", of(&[row(false), old]));
        let new = Row { name: "new", ..row(true) };
        let table = merged(&page, &of(&[row(true), new]));
        let rows: Vec<&str> =
            table.lines().skip(2).map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(rows, ["skip", "other", "new"]);
        assert!(table.contains("wide:3.1") && table.contains("not found"), "{table}");
    }

    #[test]
    fn the_table_takes_the_place_of_the_old_one() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb");
        let text = replaced(&page, "new\n").unwrap();
        assert_eq!(text, format!("a\n{BEGIN}\n\nnew\n\n{END}\nb"));
        assert_eq!(replaced("no markers", "new"), None);
    }
}
