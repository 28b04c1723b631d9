//! A kernel that does as it is told: holds the memory, writes short, fails, panics.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use wal_io::backend::MemoryStorage;
use wal_io::{Access, Storage};

use super::*;
use crate::kernel::{Ended, Kernel, SyncEnd};

/// What the double does with an order.
#[derive(Debug)]
enum Does {
    /// Writes so many bytes into the file below, and answers.
    Answers { writes: usize, write: i32, sync: SyncEnd },
    /// Keeps the memory until it is told; then looks whether it is as it was.
    Holds { began: Sender<()>, goes_on: Receiver<()> },
    /// Panics, the memory in the kernel.
    Panics,
    /// Takes nothing.
    Refuses,
}

/// What the doubles saw.
#[derive(Debug, Default)]
struct Seen {
    orders: usize,
    syncs: usize,
    /// Memory that changed while the kernel had it.
    changed: usize,
    /// Kernels let go while they had their memory.
    let_go: usize,
}

#[derive(Debug)]
struct Double {
    memory: Vec<u8>,
    in_kernel: bool,
    does: Vec<Does>,
    below: Below,
    seen: Arc<Mutex<Seen>>,
}

impl Kernel for Double {
    fn memory(&mut self) -> Option<&mut [u8]> {
        (!self.in_kernel).then_some(&mut self.memory)
    }

    fn run(&mut self, order: &Order<'_>) -> Result<Ended, Unsent> {
        assert!(!self.in_kernel, "handed over twice");
        self.seen.lock().unwrap().orders += 1;
        assert_eq!(order.file.as_raw_fd(), self.below.known.as_raw_fd(), "the file it was lent");
        self.in_kernel = true;
        let ended = match self.does.remove(0) {
            Does::Answers { writes, write, sync } => {
                let bytes = &self.memory[..writes];
                self.below.file.write_at(&[IoSlice::new(bytes)], order.offset).unwrap();
                Ended { write, sync }
            }
            Does::Holds { began, goes_on } => {
                let before = self.memory.clone();
                began.send(()).unwrap();
                goes_on.recv().unwrap();
                self.seen.lock().unwrap().changed += usize::from(before != self.memory);
                let bytes = &self.memory[..order.bytes];
                self.below.file.write_at(&[IoSlice::new(bytes)], order.offset).unwrap();
                let write = i32::try_from(order.bytes).unwrap();
                Ended { write, sync: SyncEnd::None }
            }
            Does::Panics => panic!("the waiter panics"),
            Does::Refuses => {
                self.in_kernel = false;
                return Err(Unsent(io::Error::other("not taken")));
            }
        };
        self.in_kernel = false;
        Ok(ended)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.seen.lock().unwrap().let_go += usize::from(self.in_kernel);
    }
}

/// A file in memory that has a descriptor, and counts its syncs.
#[derive(Clone, Debug)]
struct Below {
    file: Arc<dyn LogFile>,
    known: Arc<File>,
    seen: Arc<Mutex<Seen>>,
    fails: bool,
}

impl LogFile for Below {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_at(bufs, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.seen.lock().unwrap().syncs += 1;
        if self.fails { Err(io::Error::other("the sync fails")) } else { Ok(()) }
    }
    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(&*self.known))
    }
}

/// A file over lanes of 100 bytes whose kernels do `does`, one list a lane; the last is used first.
fn file(joining: Joining, does: Vec<Vec<Does>>, fails: bool) -> (UringFile, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let storage = MemoryStorage::new();
    storage.create("log", 1000).unwrap();
    let file: Arc<dyn LogFile> = storage.open("log", Access::Write).unwrap().into();
    let known = Arc::new(tempfile::tempfile().unwrap());
    let below = Below { file, known, seen: Arc::clone(&seen), fails };
    let lane = |does| {
        let (memory, below) = (vec![0; 100], below.clone());
        let seen = Arc::clone(&seen);
        Box::new(Double { memory, in_kernel: false, does, below, seen }) as Box<dyn Kernel>
    };
    let lanes = does.into_iter().map(lane).collect();
    let common = Common::new(Lanes::new(lanes, 100), joining);
    (UringFile::new(Box::new(below), common), seen)
}

fn answers(writes: usize, write: i32, sync: SyncEnd) -> Vec<Vec<Does>> {
    vec![vec![Does::Answers { writes, write, sync }]]
}

fn write(file: &UringFile, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let (one, two) = bytes.split_at(bytes.len() / 3);
    file.write_durable_at(&[IoSlice::new(one), IoSlice::new(two)], offset)
}

fn back(file: &UringFile, bytes: usize) -> Vec<u8> {
    let mut back = vec![0; bytes];
    assert_eq!(file.read_at(&mut back, 0).unwrap(), bytes);
    back
}

#[test]
fn a_flush_that_fits_a_lane_is_one_order_and_no_call_beside_it() {
    let (file, seen) = file(Joining::Durable, answers(60, 60, SyncEnd::None), false);
    assert_eq!(write(&file, &[7; 60], 0).unwrap(), 60);
    assert_eq!(back(&file, 61), [[7; 60].as_slice(), &[0]].concat());
    let seen = seen.lock().unwrap();
    assert_eq!((seen.orders, seen.syncs), (1, 0));
}

#[test]
fn a_short_durable_write_reports_what_is_durable_and_no_more() {
    let (file, seen) = file(Joining::Durable, answers(20, 20, SyncEnd::None), false);
    assert_eq!(write(&file, &[7; 60], 0).unwrap(), 20);
    assert_eq!(seen.lock().unwrap().syncs, 0);
}

#[test]
fn a_short_write_that_broke_its_link_is_synced_before_it_is_reported() {
    let cancelled = SyncEnd::Linked(-libc::ECANCELED);
    let (file, seen) = file(Joining::Linked, answers(20, 20, cancelled), false);
    assert_eq!(write(&file, &[7; 60], 0).unwrap(), 20);
    assert_eq!(seen.lock().unwrap().syncs, 1);
}

#[test]
fn a_short_write_whose_sync_then_fails_is_an_error() {
    let cancelled = SyncEnd::Linked(-libc::ECANCELED);
    let (file, seen) = file(Joining::Linked, answers(20, 20, cancelled), true);
    write(&file, &[7; 60], 0).unwrap_err();
    assert_eq!(seen.lock().unwrap().syncs, 1, "and it is not tried again");
}

#[test]
fn a_failed_linked_sync_is_final() {
    let failed = SyncEnd::Linked(-libc::EIO);
    let (file, seen) = file(Joining::Linked, answers(60, 60, failed), false);
    assert_eq!(write(&file, &[7; 60], 0).unwrap_err().raw_os_error(), Some(libc::EIO));
    let seen = seen.lock().unwrap();
    assert_eq!((seen.orders, seen.syncs), (1, 0), "neither is tried again");
}

#[test]
fn a_failed_write_is_final() {
    for (joining, sync) in [
        (Joining::Durable, SyncEnd::None),
        (Joining::Linked, SyncEnd::Linked(-libc::ECANCELED)),
        (Joining::Linked, SyncEnd::Linked(0)),
    ] {
        let (file, seen) = file(joining, answers(0, -libc::EIO, sync), false);
        write(&file, &[7; 60], 0).unwrap_err();
        let seen = seen.lock().unwrap();
        assert_eq!((seen.orders, seen.syncs), (1, 0), "{joining:?}");
    }
}

#[test]
fn what_does_not_get_into_the_ring_goes_by_two_calls() {
    let (file, seen) = file(Joining::Durable, vec![vec![Does::Refuses]], false);
    assert_eq!(write(&file, &[7; 60], 0).unwrap(), 60);
    assert_eq!(back(&file, 60), [7; 60]);
    assert_eq!(seen.lock().unwrap().syncs, 1);
}

#[test]
fn what_is_longer_than_a_lane_goes_by_two_calls() {
    let (file, seen) = file(Joining::Durable, answers(0, 0, SyncEnd::None), false);
    assert_eq!(write(&file, &[7; 101], 0).unwrap(), 101);
    let seen = seen.lock().unwrap();
    assert_eq!((seen.orders, seen.syncs), (0, 1));
}

#[test]
fn memory_in_the_kernel_is_not_given_to_the_next_flush() {
    let ((began, holding), (let_go, goes_on)) = (mpsc::channel(), mpsc::channel());
    let held = vec![Does::Holds { began, goes_on }];
    let (file, seen) = file(Joining::Durable, vec![held], false);
    thread::scope(|scope| {
        let first = scope.spawn(|| write(&file, &[1; 60], 0).unwrap());
        holding.recv().unwrap();
        // Asks for memory while the only lane's is in the kernel.
        assert_eq!(write(&file, &[2; 60], 60).unwrap(), 60);
        let_go.send(()).unwrap();
        assert_eq!(first.join().unwrap(), 60);
    });
    assert_eq!(back(&file, 120), [[1; 60], [2; 60]].concat());
    let seen = seen.lock().unwrap();
    assert_eq!((seen.orders, seen.changed, seen.syncs), (1, 0, 1));
}

#[test]
fn two_lanes_carry_two_flushes_at_once() {
    let lane = || {
        let ((began, holding), (let_go, goes_on)) = (mpsc::channel(), mpsc::channel());
        (vec![Does::Holds { began, goes_on }], holding, let_go)
    };
    let ((one, one_began, end_one), (two, two_began, end_two)) = (lane(), lane());
    let (file, seen) = file(Joining::Durable, vec![one, two], false);
    thread::scope(|scope| {
        scope.spawn(|| write(&file, &[1; 60], 0).unwrap());
        scope.spawn(|| write(&file, &[2; 60], 60).unwrap());
        // Both have begun before either ends.
        one_began.recv().unwrap();
        two_began.recv().unwrap();
        end_one.send(()).unwrap();
        end_two.send(()).unwrap();
    });
    assert_eq!(back(&file, 120), [[1; 60], [2; 60]].concat());
    let seen = seen.lock().unwrap();
    assert_eq!((seen.orders, seen.changed), (2, 0));
}

#[test]
fn memory_left_in_the_kernel_by_a_panic_is_never_used_again() {
    let (file, seen) = file(Joining::Durable, vec![vec![Does::Panics]], false);
    assert!(catch_unwind(AssertUnwindSafe(|| write(&file, &[1; 60], 0))).is_err());
    assert_eq!(seen.lock().unwrap().let_go, 1, "its ring waits when it is let go");
    assert_eq!(file.common.lanes.idle(), 0);
    assert_eq!(write(&file, &[2; 60], 0).unwrap(), 60);
    let seen = seen.lock().unwrap();
    assert_eq!((seen.orders, seen.syncs), (1, 1));
}

#[test]
fn a_lane_comes_back_after_an_error() {
    let (file, _) = file(Joining::Durable, answers(0, -libc::EIO, SyncEnd::None), false);
    write(&file, &[7; 60], 0).unwrap_err();
    assert_eq!(file.common.lanes.idle(), 1);
}

#[test]
fn impossible_places_are_refused_by_the_file_below() {
    let (file, seen) = file(Joining::Durable, answers(0, 0, SyncEnd::None), false);
    assert_eq!(write(&file, &[], 0).unwrap(), 0);
    for offset in [u64::MAX, i64::MAX as u64] {
        write(&file, &[1; 60], offset).unwrap_err();
    }
    assert_eq!(seen.lock().unwrap().orders, 0);
}
