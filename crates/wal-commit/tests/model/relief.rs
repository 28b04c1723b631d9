//! Whoever completes the number that a leader gathers leads in its place: with failures, a close,
//! a record past the buffer and two slots.

use super::*;

/// Two committers who come back, so that whoever leads the second flush waits for the other one.
fn two_come_back(first: impl FnOnce() + Send + 'static, second: impl FnOnce() + Send + 'static) {
    let other = thread::spawn(second);
    first();
    other.join().unwrap();
}

/// Whoever completes the number leads in place of the leader that gathers, which must not lead as
/// well: a third committer would find a baton without a slot.
#[test]
fn a_leader_that_was_relieved_does_not_lead_as_well() {
    model(3, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::Group);
        let others = [1, 2].map(|commits| {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || {
                (0..commits).for_each(|_| assert!(commit(&log, &oracle, 8)));
            })
        });
        assert!(commit(&log, &oracle, 8));
        assert!(commit(&log, &oracle, 8));
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn a_leader_that_was_relieved_hears_of_a_failed_sync() {
    for fail_sync in [2, 3] {
        model(5, move || {
            let oracle = Oracle { fail_sync, ..Oracle::default() };
            let (log, oracle) = start(oracle, SyncPolicy::Group);
            let commits = || {
                let (log, oracle) = (log.clone(), oracle.clone());
                move || {
                    // Whether there is an acknowledgement is for the device to say, and whether it
                    // is true for `commit`.
                    for _ in 0..2 {
                        commit(&log, &oracle, 8);
                    }
                }
            };
            two_come_back(commits(), commits());
            if oracle.failed.load(SeqCst) {
                assert!(!commit(&log, &oracle, 8), "poison ends all promises");
            }
            check(&log, &oracle);
        });
    }
}

#[test]
fn a_close_meets_a_leader_that_gathers() {
    model(5, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::Group);
        let (mine, its) = ((log.clone(), oracle.clone()), (log.clone(), oracle.clone()));
        let closes = move || {
            assert!(commit(&mine.0, &mine.1, 8));
            let end = mine.0.close().unwrap();
            assert_eq!(mine.1.synced.load(SeqCst), end.get());
        };
        let commits = move || {
            for _ in 0..2 {
                match append(&its.0, 8) {
                    Err(error) => assert!(matches!(error, CommitError::Closed), "{error}"),
                    Ok(ticket) => assert!(acknowledge(&its.0, &its.1, &ticket), "close keeps it"),
                }
            }
        };
        two_come_back(closes, commits);
        check(&log, &oracle);
    });
}

#[test]
fn a_record_past_the_buffer_meets_a_leader_that_gathers() {
    model(4, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::Group);
        let commits = |bodies: [usize; 2]| {
            let (log, oracle) = (log.clone(), oracle.clone());
            move || bodies.into_iter().for_each(|bytes| assert!(commit(&log, &oracle, bytes)))
        };
        // More than the limit for batches in the smallest buffer.
        two_come_back(commits([8, 240]), commits([8, 8]));
        check(&log, &oracle);
    });
}

#[test]
fn with_two_slots_a_relieved_leader_gives_its_baton_and_no_other() {
    model(2, || {
        let (log, bytes) = start_slots_by(SyncPolicy::Group, Bytes::default(), 2);
        let commits = |times: usize| {
            let (log, bytes) = (log.clone(), bytes.clone());
            move || (0..times).for_each(|_| assert!(commit_in_slots(&log, &bytes)))
        };
        // With two slots a third one is needed to find no baton.
        let third = thread::spawn(commits(1));
        two_come_back(commits(2), commits(2));
        third.join().unwrap();
        // The shortest past the buffer takes all batons: one that was lost would be waited for.
        append(&log, 328).unwrap().wait_durable().unwrap();
        assert_eq!(log.positions().durable, log.positions().reserved);
    });
}

/// Something that happens once, and somebody who waits for it: no choice for the model.
#[derive(Debug, Default)]
struct Once(loom::sync::Mutex<bool>, loom::sync::Condvar);

impl Once {
    fn happen(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let mut happened = self.0.lock().unwrap();
        while !*happened {
            happened = self.1.wait(happened).unwrap();
        }
    }
}

/// The first write is in the air until the second one is.
#[derive(Debug, Default)]
pub(crate) struct Together {
    writes: AtomicU64,
    first: Once,
    second: Once,
}

impl Together {
    pub(crate) fn meet(&self) {
        match self.writes.fetch_add(1, SeqCst) {
            0 => {
                self.first.happen();
                self.second.wait();
            }
            1 => self.second.happen(),
            _ => {}
        }
    }
}

/// Whoever relieves a leader may go home before the leader's bytes, which another flush has written
/// without a sync, are durable. Nobody calls the leader then: it must see for itself.
#[test]
fn a_relieved_leader_is_not_left_with_what_nobody_syncs() {
    model(2, || {
        let bytes = Bytes { together: Some(Together::default()), ..Bytes::default() };
        let (log, bytes) = start_slots_by(SyncPolicy::Group, bytes, 2);
        let together = bytes.together.as_ref().unwrap();
        let landed = Arc::new(Once::default());
        let first = append(&log, 8).unwrap();
        // Through one slot: written, then durable.
        let relieves = {
            let landed = landed.clone();
            thread::spawn(move || {
                first.wait_written().unwrap();
                landed.happen();
                first.wait_durable().unwrap();
            })
        };
        together.first.wait();
        let second = append(&log, 8).unwrap();
        // Through the other one, with the leader's bytes.
        let writes = {
            let log = log.clone();
            thread::spawn(move || append(&log, 8).unwrap().wait_written().unwrap())
        };
        landed.wait();
        // Two for each slot: the leader gathers, and one other completes the number.
        log.expect(4);
        second.wait_durable().unwrap();
        assert!(log.positions().durable >= second.end());
        [relieves, writes].into_iter().for_each(|thread| thread.join().unwrap());
    });
}
