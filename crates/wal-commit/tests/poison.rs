//! One failed sync, no later promise: poison, and everybody who must hear of it.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use common::{
    Disk, Gate, append, inline, start, stop_in_syncs, superseded, threaded, try_to_append,
};
use wal_commit::{CommitError, Durability, Fate, PoisonCause, PoisonKind, SyncPolicy};
use wal_format::{RecordDraft, RecordKind};

fn kind_of(error: &CommitError) -> PoisonKind {
    match error {
        CommitError::Poisoned { cause, .. } => cause.kind(),
        other => panic!("not poisoned: {other}"),
    }
}

#[test]
fn a_failed_sync_is_told_with_its_place_and_never_tried_again() {
    for (log, disk) in [inline(), threaded()] {
        append(&log, b"kept").wait_durable().unwrap();
        let durable = log.positions().durable;
        disk.fail_sync(2);
        let ticket = append(&log, b"lost");
        let error = ticket.wait_durable().unwrap_err();
        assert_eq!((kind_of(&error), error.fate()), (PoisonKind::Sync, Fate::Unknown));
        let text = error.to_string();
        for part in ["1.wal", "lost its cache", "byte", "reopened"] {
            assert!(text.contains(part), "{text:?} does not say {part:?}");
        }
        // The sink panics if anything is tried again.
        assert_eq!(kind_of(&ticket.wait_durable().unwrap_err()), PoisonKind::Sync);
        assert_eq!(kind_of(&log.sync().unwrap_err()), PoisonKind::Sync);
        assert_eq!(kind_of(&log.flush().unwrap_err()), PoisonKind::Sync);
        assert_eq!(kind_of(&log.close().unwrap_err()), PoisonKind::Sync);
        assert_eq!(log.positions().durable, durable, "positions stay");
        assert_eq!(disk.calls(), (2, 2));
    }
}

#[test]
fn a_failed_write_poisons_before_any_sync() {
    let (log, disk) = inline();
    disk.fail_write(1);
    let error = append(&log, b"x").wait_durable().unwrap_err();
    assert_eq!((kind_of(&error), error.fate()), (PoisonKind::Write, Fate::Unknown));
    assert_eq!(disk.calls(), (1, 0));
    assert_eq!(log.positions().written, log.positions().durable);
}

#[test]
fn what_was_durable_stays_acknowledged() {
    let (log, disk) = inline();
    let kept = append(&log, b"kept");
    kept.wait_durable().unwrap();
    disk.fail_sync(2);
    append(&log, b"lost").wait_durable().unwrap_err();
    kept.wait_durable().unwrap();
    assert!(kept.is_durable());
    log.wait(kept.end(), Durability::Durable, None).unwrap();
}

#[test]
fn appends_are_refused_and_nothing_of_them_is_written() {
    let (log, disk) = inline();
    disk.fail_write(1);
    append(&log, b"x").wait_durable().unwrap_err();
    let reserved = log.positions().reserved;
    for body in [&b"small"[..], &[1; 300_000]] {
        let error = try_to_append(&log, body).unwrap_err();
        assert_eq!((kind_of(&error), error.fate()), (PoisonKind::Write, Fate::NotCommitted));
    }
    let draft = RecordDraft::new(RecordKind::DATA, &[b"x"]);
    assert!(log.try_append(&draft, &mut |_| {}).is_err());
    assert!(log.append_batch(&[draft, draft], &mut |_, _| {}).is_err());
    assert_eq!(log.positions().reserved, reserved);
}

#[test]
fn every_waiter_hears_of_one_failed_sync() {
    let (log, disk) = threaded();
    let (in_sync, go) = stop_in_syncs(&disk);
    disk.fail_sync(1);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| append(&log, b"leader").wait_durable());
        in_sync.pass();
        let tickets: Vec<_> = (0..3).map(|_| append(&log, b"follower")).collect();
        let followers: Vec<_> =
            tickets.into_iter().map(|ticket| scope.spawn(move || ticket.wait_durable())).collect();
        let reader = scope.spawn(|| log.wait_beyond(log.positions().durable, None));
        go.open();
        assert_eq!(kind_of(&leader.join().unwrap().unwrap_err()), PoisonKind::Sync);
        for follower in followers {
            assert_eq!(kind_of(&follower.join().unwrap().unwrap_err()), PoisonKind::Sync);
        }
        assert!(reader.join().unwrap().is_err());
    });
    assert_eq!(disk.calls().1, 1);
}

#[test]
fn poison_from_outside_takes_back_the_promise_of_a_sync_that_runs() {
    let (log, disk) = inline();
    let owner = log.clone();
    disk.on_sync(move |_| owner.poison(PoisonCause::requested("replay went wrong")));
    let before = log.positions().durable;
    let error = append(&log, b"x").wait_durable().unwrap_err();
    assert_eq!(kind_of(&error), PoisonKind::Requested);
    assert_eq!(log.positions().durable, before, "a poisoned log publishes nothing");
    log.poison(PoisonCause::requested("again"));
    let first = log.poison_cause().unwrap().to_string();
    assert_eq!(first, "replay went wrong", "the first cause stays");
    // The hook owns the log, and the log its disk: nobody would ever free either.
    disk.on_sync(|_| {});
}

#[test]
fn a_panic_in_the_hook_poisons_and_goes_on() {
    let (log, disk) = inline();
    let draft = RecordDraft::new(RecordKind::DATA, &[b"x"]);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        log.append(&draft, &mut |_| panic!("deliberate: the hook panics"))
    }));
    assert!(panicked.is_err(), "the panic is the caller's own");
    assert!(log.is_poisoned());
    assert_eq!(kind_of(&log.sync().unwrap_err()), PoisonKind::Panic);
    assert_eq!(disk.calls(), (0, 0), "what the hook did not see is not written");
}

#[test]
fn a_panic_in_the_leader_poisons_and_wakes_everybody() {
    let (log, disk) = threaded();
    let (in_sync, go) = stop_in_syncs(&disk);
    disk.panic_in_sync(1);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| {
            let ticket = append(&log, b"leader");
            catch_unwind(AssertUnwindSafe(|| ticket.wait_durable())).is_err()
        });
        in_sync.pass();
        let ticket = append(&log, b"follower");
        let follower = scope.spawn(move || ticket.wait_durable());
        go.open();
        assert!(leader.join().unwrap(), "the panic reaches the leader's caller");
        assert_eq!(kind_of(&follower.join().unwrap().unwrap_err()), PoisonKind::Panic);
    });
    assert_eq!(kind_of(&log.close().unwrap_err()), PoisonKind::Panic);
}

#[test]
fn a_panic_in_a_callback_poisons_but_keeps_what_is_durable() {
    for (log, _disk) in [inline(), threaded()] {
        let ticket = append(&log, b"x");
        let told = Gate::new();
        let tell = told.clone();
        ticket.on_durable(Box::new(move |outcome| {
            tell.open();
            outcome.unwrap();
            panic!("deliberate: the callback panics");
        }));
        told.pass();
        ticket.wait_durable().unwrap();
        // The callback runs before poison is set: wait for it on something poison ends.
        let error = log.wait_beyond(ticket.end(), None).unwrap_err();
        assert_eq!(kind_of(&error), PoisonKind::Panic);
    }
}

#[test]
fn a_takeover_by_a_newer_opening_poisons() {
    let (log, disk) = start(Disk::new(8192), |config| {
        config.threads = wal_commit::Threads::None;
        config.policy = SyncPolicy::Never;
    });
    disk.fail_prepare(Some(superseded));
    let error = loop {
        match try_to_append(&log, &[1; 1000]) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CommitError::NotPrepared(_)) || log.is_poisoned(), "{error}");
    assert_eq!(kind_of(&log.sync().unwrap_err()), PoisonKind::Superseded);
}

#[test]
fn callbacks_hear_of_poison_too() {
    let (log, disk) = threaded();
    disk.fail_sync(1);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let done = Gate::new();
    let (tell, inside) = (done.clone(), heard.clone());
    append(&log, b"x").on_durable(Box::new(move |outcome| {
        inside.lock().unwrap().push(kind_of(&outcome.unwrap_err()));
        tell.open();
    }));
    done.pass();
    assert_eq!(*heard.lock().unwrap(), [PoisonKind::Sync]);
}

#[test]
fn a_callback_which_comes_too_late_hears_at_once() {
    let (log, disk) = inline();
    disk.fail_sync(1);
    let ticket = append(&log, b"x");
    ticket.wait_durable().unwrap_err();
    let heard = Arc::new(Mutex::new(None));
    let inside = heard.clone();
    ticket.on_durable(Box::new(move |outcome| {
        *inside.lock().unwrap() = Some(kind_of(&outcome.unwrap_err()));
    }));
    assert_eq!(*heard.lock().unwrap(), Some(PoisonKind::Sync));
}
