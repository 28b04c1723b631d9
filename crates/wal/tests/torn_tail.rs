//! The tail cut at every byte of the last three records, on every backend.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{body, contents, memory_of, open, overwrite, place_of, small};
use wal::{Access, MemoryStorage, Options, Storage};

const ACKNOWLEDGED: usize = 8;
const UNPROMISED: usize = 3;

/// How the bytes from the cut on are lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// The file ends at the cut.
    Shorter,
    /// The file keeps its length; the rest was never written.
    Zeroed,
    /// The rest holds what another time left there.
    Garbage,
}

/// A log whose last three records were written and not synced, and their addresses.
fn crashed_log(storage: Arc<dyn Storage>, options: Options) -> Vec<u64> {
    let (wal, _) = open(&storage, options).unwrap();
    for number in 0..ACKNOWLEDGED {
        wal.append(&body(number)).unwrap().wait_durable().unwrap();
    }
    let tickets: Vec<_> =
        (0..UNPROMISED).map(|number| wal.append(&body(ACKNOWLEDGED + number)).unwrap()).collect();
    tickets.last().unwrap().wait_written().unwrap();
    let mut bounds: Vec<u64> = tickets.iter().map(|ticket| ticket.lsn().get()).collect();
    bounds.push(tickets.last().unwrap().end().get());
    bounds
}

fn cut(storage: &dyn Storage, at: u64, loss: Loss) {
    let (name, offset) = place_of(storage, at);
    let file = storage.open(&name, Access::Write).unwrap();
    let len = file.len().unwrap();
    match loss {
        Loss::Shorter => file.set_len(offset).unwrap(),
        Loss::Zeroed => overwrite(storage, &name, offset, &vec![0; (len - offset) as usize]),
        Loss::Garbage => {
            let rest = vec![0xa5; (len - offset).min(300) as usize];
            overwrite(storage, &name, offset, &rest);
        }
    }
}

/// Opens after the cut, appends, opens again: what was acknowledged is there, and nothing else.
fn check(storage: &Arc<dyn Storage>, options: &Options, survivors: usize, case: &str) {
    let (wal, found) = open(storage, options.clone()).unwrap_or_else(|e| panic!("{case}: {e}"));
    let mut expected: Vec<Vec<u8>> = (0..ACKNOWLEDGED + survivors).map(body).collect();
    assert_eq!(found, expected, "{case}: first opening");
    wal.append(b"since").unwrap().wait_durable().unwrap();
    drop(wal);
    expected.push(b"since".to_vec());
    let (wal, found) = open(storage, options.clone()).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(found, expected, "{case}: second opening");
    drop(wal);
}

/// Cuts at every byte of the last three records; `rebuild` lays a crashed log out again.
fn cut_everywhere(
    image: &[(String, Vec<u8>)],
    bounds: &[u64],
    options: &Options,
    rebuild: impl Fn(&[(String, Vec<u8>)]) -> (Arc<dyn Storage>, Arc<dyn Storage>),
) {
    let mut cuts = 0;
    for loss in [Loss::Shorter, Loss::Zeroed, Loss::Garbage] {
        for at in bounds[0]..bounds[UNPROMISED] {
            let (plain, log) = rebuild(image);
            cut(plain.as_ref(), at, loss);
            let survivors = bounds[1..].iter().filter(|end| **end <= at).count();
            // The alignment bytes of a record are zero: losing them to zeros loses nothing.
            let lost_only_zeros = matches!(loss, Loss::Zeroed)
                && survivors < UNPROMISED
                && ends_in_zeros(image, at, bounds[survivors + 1]);
            check(
                &log,
                options,
                survivors + usize::from(lost_only_zeros),
                &format!("{loss:?} at {at}"),
            );
            cuts += 1;
        }
    }
    assert!(cuts >= 30, "only {cuts} cuts were tried");
}

fn ends_in_zeros(image: &[(String, Vec<u8>)], from: u64, to: u64) -> bool {
    let storage = memory_of(image);
    let (name, offset) = place_of(storage.as_ref(), from);
    let (_, bytes) = image.iter().find(|(file, _)| *file == name).unwrap();
    bytes[offset as usize..][..(to - from) as usize].iter().all(|byte| *byte == 0)
}

#[test]
fn a_tail_cut_at_every_byte_keeps_all_that_was_acknowledged_in_memory() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let bounds = crashed_log(Arc::clone(&storage), small());
    let image = contents(storage.as_ref());
    cut_everywhere(&image, &bounds, &small(), |image| {
        let storage = memory_of(image);
        (Arc::clone(&storage), storage)
    });
}

fn on_files(options: &Options, make: impl Fn(&std::path::Path) -> Option<Arc<dyn Storage>>) {
    let dir = tempfile::tempdir().unwrap();
    let Some(storage) = make(dir.path()) else {
        eprintln!("SKIPPED: this file system refuses O_DIRECT");
        return;
    };
    let bounds = crashed_log(Arc::clone(&storage), options.clone());
    let image = contents(storage.as_ref());
    drop(storage);
    let dirs = std::cell::RefCell::new(Vec::new());
    cut_everywhere(&image, &bounds, options, |image| {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in image {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let plain: Arc<dyn Storage> = Arc::new(wal::FileStorage::open(dir.path()).unwrap());
        let log = make(dir.path()).unwrap();
        // The one before can go: its log has been checked.
        dirs.replace(vec![dir]);
        (plain, log)
    });
}

#[test]
fn a_tail_cut_at_every_byte_keeps_all_that_was_acknowledged_in_files() {
    on_files(&small(), |dir| Some(Arc::new(wal::FileStorage::open(dir).unwrap())));
}

#[test]
fn a_tail_cut_at_every_byte_keeps_all_that_was_acknowledged_with_direct_io() {
    // A flush in whole blocks needs room for them.
    on_files(&small().buffer_bytes(64 << 10), |dir| {
        let storage = wal::DirectStorage::open(dir).ok()?;
        Some(Arc::new(storage))
    });
}

#[test]
fn a_tail_cut_at_every_byte_keeps_all_that_was_acknowledged_on_a_simulated_disk() {
    let storage: Arc<dyn Storage> = Arc::new(wal_sim::SimDisk::new());
    let bounds = crashed_log(Arc::clone(&storage), small());
    let image = contents(storage.as_ref());
    cut_everywhere(&image, &bounds, &small(), |image| {
        let disk = wal_sim::SimDisk::new();
        image.iter().for_each(|(name, bytes)| disk.put_file(name, bytes));
        (Arc::new(disk.clone()), Arc::new(disk))
    });
}
