//! The `wal` command.
fn main() {}
