//! The table that a person reads.

use comfy_table::{Cell, CellAlignment, Table, presets};

/// One row: a writer, from its start to the look at what it left.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// Which kill, or how else the writer ended.
    pub(super) ending: String,
    pub(super) acknowledged: usize,
    pub(super) recovered: usize,
    pub(super) lost: usize,
    pub(super) kept: usize,
    /// Bytes, when there was an opening afterwards that could drop any.
    pub(super) dropped_bytes: Option<u64>,
    pub(super) syncs_per_commit: Option<f64>,
    pub(super) recovery_us: Option<u64>,
}

/// All rows, and their sum below.
pub(super) fn render(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header([
        "writer",
        "acknowledged",
        "recovered",
        "lost",
        "unacknowledged\nbut kept",
        "torn tail\ndropped",
        "syncs per\ncommit",
        "time to\nrecover",
    ]);
    for row in rows.iter().chain([&sum(rows)]) {
        table.add_row(
            [
                row.ending.clone(),
                grouped(row.acknowledged as u64),
                grouped(row.recovered as u64),
                grouped(row.lost as u64),
                grouped(row.kept as u64),
                or_dash(row.dropped_bytes, |bytes| format!("{} B", grouped(bytes))),
                or_dash(row.syncs_per_commit, |ratio| format!("{ratio:.3}")),
                or_dash(row.recovery_us, duration),
            ]
            .map(Cell::new),
        );
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// A number with a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn sum(rows: &[Row]) -> Row {
    let of = |field: fn(&Row) -> usize| rows.iter().map(field).sum();
    let times = rows.iter().filter_map(|row| row.recovery_us);
    Row {
        ending: "all".to_owned(),
        acknowledged: of(|row| row.acknowledged),
        recovered: of(|row| row.recovered),
        lost: rows.last().map_or(0, |row| row.lost),
        kept: of(|row| row.kept),
        dropped_bytes: Some(rows.iter().filter_map(|row| row.dropped_bytes).sum()),
        syncs_per_commit: None,
        recovery_us: Some(times.sum()),
    }
}

fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown: Vec<String> = [0, 999, 1_000, 200_000, 1_234_567].map(grouped).into();
        assert_eq!(shown, ["0", "999", "1,000", "200,000", "1,234,567"]);
    }

    #[test]
    fn times_have_a_unit_that_fits() {
        assert_eq!([999, 1_500, 2_500_000].map(duration), ["999 µs", "1.5 ms", "2.50 s"]);
    }

    #[test]
    fn the_last_row_sums_and_what_is_unknown_is_a_dash() {
        let row = |ending: &str, acknowledged| Row {
            ending: ending.to_owned(),
            acknowledged,
            ..Row::default()
        };
        let text = render(&[row("kill 1", 1_200), row("finished", 34)]);
        let last = text.lines().rev().nth(1).unwrap();
        assert!(last.contains("all") && last.contains("1,234"), "{text}");
        assert!(text.contains('-'));
    }

    /// What is lost stays lost, so each row counts it again and the sum does not.
    #[test]
    fn a_line_that_stays_lost_is_counted_once() {
        let row = Row { lost: 1, ..Row::default() };
        assert_eq!(sum(&[row.clone(), row]).lost, 1);
    }
}
