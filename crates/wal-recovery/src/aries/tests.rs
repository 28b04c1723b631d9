//! Transactions, undo and checkpoints over a log and pages in memory.
//!
//! The names of the tests are those of the statements which they hold the code to.

mod log;
mod pages;
mod restart;

mod bad_logs;
mod checkpoints;
mod doubt;
mod early_release;
mod engine_errors;
mod logging;
mod nested;
mod promises;
mod random;
mod savepoints;
mod space;
mod threads;
mod undoing;
mod write_ahead;
