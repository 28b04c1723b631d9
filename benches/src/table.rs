//! Tables of figures on standard output, and the middle of several figures.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

/// What the bare device may differ by from round to round for the ratios to mean something.
pub const STEADY: f64 = 1.5;

/// Cells of one row.
pub type Row = Vec<String>;

/// The middle one of `times`; zero of none.
#[must_use]
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The middle one of `values`.
pub(crate) fn middle(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// One figure over another, where there are both and the other is not zero.
#[must_use]
pub(crate) fn ratio(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    part.zip(whole).filter(|(_, whole)| *whole != 0.0).map(|(part, whole)| part / whole)
}

/// A figure with so many digits after the point, or an empty cell.
#[must_use]
pub(crate) fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}

/// Prints `rows` under `head`; a column in which no row has anything is left out.
pub fn print_table(head: &[&str], rows: Vec<Row>) {
    let told = told(head.len(), &rows);
    let kept = |cells: Row| -> Row {
        let cells = cells.into_iter().zip(told.iter().copied());
        cells.filter(|(_, told)| *told).map(|(cell, _)| cell).collect()
    };
    let head: Row = head.iter().map(|name| (*name).to_owned()).collect();
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(kept(head)).add_rows(rows.into_iter().map(kept));
    println!("{table}");
}

/// Of each column, whether any row has something in it.
fn told(columns: usize, rows: &[Row]) -> Vec<bool> {
    let is_told = |column: usize| {
        rows.iter().any(|row: &Row| row.get(column).is_some_and(|cell| !cell.is_empty()))
    };
    (0..columns).map(is_told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_taken_by_size_not_by_place() {
        assert_eq!(middle([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(middle([]), None);
        let times = [3, 1, 2].map(Duration::from_secs);
        assert_eq!(median(&times), Duration::from_secs(2));
    }

    #[test]
    fn a_column_is_kept_when_any_row_has_something_in_it() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["a", "", ""]), row(["b", "", "1"])];
        assert_eq!(told(3, &rows), [true, false, true]);
        assert_eq!(told(2, &[]), [false, false]);
    }

    #[test]
    fn a_ratio_needs_both_figures() {
        assert_eq!(ratio(Some(1.0), Some(2.0)), Some(0.5));
        assert_eq!(ratio(Some(1.0), None), None);
        assert_eq!(ratio(Some(1.0), Some(0.0)), None);
        assert_eq!((cell(Some(0.456), 2), cell(None, 2)), ("0.46".to_owned(), String::new()));
    }
}
