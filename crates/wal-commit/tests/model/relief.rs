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
