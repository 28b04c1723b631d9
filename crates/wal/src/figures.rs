//! What a running log publishes of itself: its statistics under their names.

use std::sync::{Arc, Weak};

use crate::log::{Shared, Stats, Wal};
use crate::published::{PublishedStats, Source, micros};

/// The figures of `wal`, until it is dropped; they do not keep it from that.
pub(crate) fn of(wal: &Wal) -> Source {
    let shared: Weak<Shared> = Arc::downgrade(wal.shared());
    Box::new(move || {
        let wal = Wal::of(shared.upgrade()?);
        Some(named(&wal, &wal.stats()))
    })
}

fn named(wal: &Wal, stats: &Stats) -> PublishedStats {
    let (at, commit) = (stats.positions, stats.commit);
    let mut published = PublishedStats::default();
    for (name, value) in [
        ("epoch", wal.epoch().get()),
        ("reserved", at.reserved.get()),
        ("written", at.written.get()),
        ("durable", at.durable.get()),
        ("head", stats.head.get()),
        ("segments", stats.segments),
        ("checkpoints", stats.checkpoints),
        ("active_transactions", stats.active_transactions),
        ("records", commit.records),
        ("record_bytes", commit.record_bytes),
        ("batches", commit.batches),
        ("flushes", commit.flushes),
        ("flush_time_us", micros(commit.flush_time)),
        ("syncs", commit.syncs),
        ("sync_time_us", micros(commit.sync_time)),
        ("sync_time_max_us", micros(commit.sync_time_max)),
        ("slow_syncs", commit.slow_syncs),
        ("waits_led", commit.waits_led),
        ("waits_followed", commit.waits_followed),
        ("largest_group", commit.largest_group),
        ("room_waits", commit.room_waits),
        ("segment_waits", commit.segment_waits),
        ("rotations", commit.rotations),
    ] {
        published.add(name, value);
    }
    published.holds = stats.holds.iter().map(|hold| (hold.name.clone(), hold.lsn)).collect();
    published
}
