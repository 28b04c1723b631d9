//! Tables of figures on standard output.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

/// Cells of one row.
pub type Row = Vec<String>;

/// The middle one of `times`; zero of none.
#[must_use]
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Prints `rows` under `head`.
pub fn print_table(head: &[&str], rows: Vec<Row>) {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(head).add_rows(rows);
    println!("{table}");
}
