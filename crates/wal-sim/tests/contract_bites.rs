//! Proof that the contract suite bites: for every clause a storage with one flaw, which it finds.
//!
//! A clause without a line here fails the test that counts them, so none can be added that nobody
//! has seen fire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "contract_bites/broken.rs"]
mod broken;

use std::sync::Arc;

use broken::{Broken, Flaw};
use wal_sim::contract::{self, CLAUSES, POWER_CLAUSES};

/// Which clause must find which flaw. Others may find it too.
const FOUND_BY: &[(Flaw, &str)] = &[
    (Flaw::CreateKeepsWhatWasThere, "created_files_hold_zeros"),
    (Flaw::CreateReplaces, "creating_an_existing_name_is_refused"),
    (Flaw::OpenCreates, "missing_names_are_not_found"),
    (Flaw::ReadsAreStale, "writes_are_read_back_by_every_handle"),
    (Flaw::ReadsGoOnPastTheEnd, "reads_stop_at_the_end"),
    (Flaw::ReadsNeedAlignment, "any_offset_and_length_can_be_read"),
    (Flaw::GapsHoldGarbage, "writes_beyond_the_end_leave_zeros_before_them"),
    (Flaw::OnlyTheFirstBufferIsWritten, "vectored_writes_concatenate"),
    (Flaw::WritesSpoilTheNextByte, "overwrites_change_nothing_beside_them"),
    (Flaw::EmptyWritesExtend, "empty_writes_change_nothing"),
    (Flaw::CutBytesComeBack, "lengths_can_be_cut_and_extended"),
    (Flaw::ReadHandlesWrite, "read_handles_refuse_to_write"),
    (Flaw::BlocksAreClaimedButNotKept, "writes_keep_to_blocks"),
    (Flaw::ImpossibleWritesSucceed, "impossible_offsets_are_errors"),
    (Flaw::WriteThroughHandlesCannotSync, "syncs_keep_what_is_written"),
    (Flaw::EmptyFilesAreNotListed, "lists_hold_every_file_with_its_length"),
    (Flaw::RenameKeepsTheOldName, "renames_move_a_file"),
    (Flaw::RenameDoesNotReplace, "renames_replace_a_file"),
    (Flaw::RemoveEmptiesTheFile, "removed_files_stay_usable"),
    (Flaw::LockDoesNotExclude, "the_lock_excludes_until_it_is_dropped"),
    (Flaw::LockIsListed, "the_lock_is_not_a_file_of_the_log"),
    (Flaw::HoldsLockDoesNotExclude, "the_lock_of_holds_excludes_beside_the_lock"),
    (Flaw::HoldsLockIsTheLock, "the_lock_of_holds_excludes_beside_the_lock"),
    (Flaw::PlaceIsEmpty, "places_have_a_name"),
    (Flaw::ClosingOneHandleClosesAll, "handles_are_independent"),
    (Flaw::HandlesStayWithTheirThread, "threads_write_and_read_disjoint_ranges"),
    (Flaw::CreateReplaces, "one_of_several_creators_wins"),
    (Flaw::LockDoesNotExclude, "one_of_several_lockers_wins"),
    (Flaw::RenameToItselfRemoves, "random_calls_agree_with_a_twin"),
];

/// The same for the clauses about power.
const FOUND_BY_A_CUT: &[(Flaw, &str)] = &[
    (Flaw::SyncDataDoesNothing, "synced_bytes_survive"),
    (Flaw::WriteThroughIsPlain, "write_through_bytes_survive"),
    (Flaw::SyncDataDoesNothing, "synced_lengths_survive"),
    (Flaw::CutLeavesGarbage, "unsynced_bytes_are_old_or_new"),
    (Flaw::SyncDirDoesNothing, "synced_entries_survive"),
    (Flaw::CutInventsAFile, "unsynced_entries_are_old_or_new"),
    (Flaw::RenameInTwoSteps, "renames_are_atomic"),
    (Flaw::FailedSyncsAreHidden, "failed_syncs_are_reported"),
    (Flaw::HandlesShareADescription, "failed_syncs_are_told_to_every_handle"),
    (Flaw::LockSurvivesTheCut, "power_cuts_free_the_lock"),
];

#[test]
fn a_storage_without_a_flaw_passes() {
    contract::run(|| Arc::new(Broken::new(Flaw::Nothing))).unwrap();
    contract::run_with_power_cuts(|| Broken::new(Flaw::Nothing)).unwrap();
}

#[test]
fn every_clause_has_a_flaw_that_it_must_find() {
    for clause in CLAUSES {
        let known = FOUND_BY.iter().any(|(_, name)| *name == clause.name());
        assert!(known, "nobody has seen `{}` fire", clause.name());
    }
    for clause in POWER_CLAUSES {
        let known = FOUND_BY_A_CUT.iter().any(|(_, name)| *name == clause.name());
        assert!(known, "nobody has seen `{}` fire", clause.name());
    }
}

#[test]
fn every_flaw_is_found_by_the_clause_made_for_it() {
    for (flaw, name) in FOUND_BY {
        let clause = contract::clause(name).unwrap();
        let result = clause.check(&Broken::new(*flaw));
        assert!(result.is_err(), "`{name}` did not find {flaw:?}");
    }
}

#[test]
fn every_flaw_that_power_shows_is_found_by_the_clause_made_for_it() {
    for (flaw, name) in FOUND_BY_A_CUT {
        let clause = POWER_CLAUSES.iter().find(|clause| clause.name() == *name).unwrap();
        let result = clause.check(|| Broken::new(*flaw));
        assert!(result.is_err(), "`{name}` did not find {flaw:?}");
    }
}

#[test]
fn r06_handles_that_share_a_description_are_caught_by_the_suite() {
    let broken = contract::run_with_power_cuts(|| Broken::new(Flaw::HandlesShareADescription));
    let names: Vec<&str> =
        broken.unwrap_err().violations().iter().map(|violation| violation.clause).collect();
    assert!(names.contains(&"failed_syncs_are_told_to_every_handle"), "{names:?}");
}

#[test]
fn a_flaw_that_only_power_shows_is_not_seen_without_a_cut() {
    // The reason why a backend of one's own needs a simulated device below it to be trusted.
    for flaw in [Flaw::SyncDataDoesNothing, Flaw::SyncDirDoesNothing, Flaw::WriteThroughIsPlain] {
        contract::run(|| Arc::new(Broken::new(flaw))).unwrap();
    }
}
