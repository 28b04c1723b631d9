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

/// Puts the table between its markers.
///
/// # Errors
///
/// When the page cannot be read or written, or has no markers.
pub(super) fn write_table(page: &Path, rows: &[Row]) -> Outcome {
    let text = replaced(&read(page)?, &of(rows))
        .ok_or_else(|| Failure::new(format!("{}: no `{BEGIN}`, `{END}`", page.display())))?;
    std::fs::write(page, text).map_err(|error| Failure::at(page, &error))
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
    fn the_table_takes_the_place_of_the_old_one() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb");
        let text = replaced(&page, "new\n").unwrap();
        assert_eq!(text, format!("a\n{BEGIN}\n\nnew\n\n{END}\nb"));
        assert_eq!(replaced("no markers", "new"), None);
    }
}
