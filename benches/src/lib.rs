//! The benchmarks: what a log must do to be measured, the raw work it is held against, whose turn it
//! is, and where the figures go.
//!
//! A figure means nothing alone: every benchmark has a baseline in the same group of the same run,
//! doing the same bytes without a log, and what counts is the ratio of the two.
//!
//! The programs are `wal-measure` here, `wal-peers` in the workspace `peers`, which brings other
//! logs, and `wal-plot`, which draws what both wrote.

mod baseline;
mod machine;
mod memory_pages;
mod table;
mod sheet;
mod usage;

mod peer;
mod batches;
mod in_use;
mod latencies;
mod checksums;
mod child;
mod results;
mod bare;
mod ours;
#[cfg(all(target_os = "linux", feature = "io-uring"))]
mod uring;
#[cfg(feature = "metrics")]
mod listeners;

mod run;
mod syncs;
mod turns;
mod commits;
mod appends;
mod shares;
mod rotations;
mod made;
mod scans;
mod recovery;
mod openings;
mod once;

pub use appends::{Arguments as AppendArguments, run as measure_appends};
pub use bare::{
    APPENDS as BARE_APPENDS, DIRECT as BARE_DIRECT, DSYNC as BARE_DSYNC, IN_FLIGHT, RAW as BARE,
    TWO as BARE_TWO,
};
pub use baseline::{BODY_BYTES, body, options};
pub use batches::Batches;
pub use child::Common;
pub use commits::{print_options, run as measure_commits};
#[cfg(feature = "metrics")]
pub use listeners::ENTRIES as LISTENED;
pub use machine::{Machine, describe};
pub use memory_pages::{MemoryPages, PAGE_BYTES, look_at};
pub use once::Once;
pub use openings::{Arguments as OpeningArguments, run as measure_openings};
pub use ours::{
    BATCHES as OURS_IN_BATCHES, ENTRY as OURS, FLIGHTS as OUR_FLIGHTS, IN_TASKS as OURS_IN_TASKS,
    NEW as OURS_NEW, POLICIES as OUR_POLICIES, READINGS as OUR_READINGS,
    RECYCLING as OURS_RECYCLING, REUSING as OURS_REUSING,
};
pub use peer::{Awaited, Clock, Committer, Committers, Entry, Failure, Load, Open, Peer};
pub use recovery::{Arguments as RecoveryArguments, run as measure_recovery};
pub use rotations::{Arguments as RotationArguments, run as measure_rotations};
pub use scans::{Arguments as ScanArguments, run as measure_scans};
pub use shares::{Arguments as ShareArguments, tasks as measure_tasks, watched as measure_watched};
pub use sheet::{Line, Sheet};
pub use table::{Row, STEADY, median, print_table};
pub use turns::{Arguments as CommitArguments, chosen};
#[cfg(all(target_os = "linux", feature = "io-uring"))]
pub use uring::{ENTRIES as URING, refused as uring_refused};
