//! The contract of [`wal_io::Storage`] as a suite: hold a backend of your own to it.
//!
//! ```
//! use std::sync::Arc;
//! use wal_io::backend::MemoryStorage;
//!
//! // The closure makes an empty storage each time; every clause gets one of its own.
//! wal_sim::contract::run(|| Arc::new(MemoryStorage::new()))?;
//! # Ok::<(), wal_sim::contract::Broken>(())
//! ```
//!
//! [`contract_tests!`](crate::contract_tests) makes a `#[test]` of every clause instead. What only
//! a loss of power can show is checked on simulated disks, which implement [`PowerCut`]: see
//! [`run_with_power_cuts`].
//!
//! The suite knows a backend only through its traits: no clause depends on timing, on an order of
//! listing, or on anything the documentation of the traits leaves open. Its random calls come from
//! fixed seeds, so a failure repeats.

#[macro_use]
mod check;
mod clause;
mod files;
mod names;
mod sharing;
mod twin;
mod power;

use std::fmt;
use std::sync::Arc;

use wal_io::Storage;

pub use clause::{Clause, PowerClause, PowerCut, Violation};

/// Every clause that needs no loss of power.
pub const CLAUSES: &[Clause] = &[
    files::CREATED_FILES_HOLD_ZEROS,
    files::CREATING_AN_EXISTING_NAME_IS_REFUSED,
    files::MISSING_NAMES_ARE_NOT_FOUND,
    files::WRITES_ARE_READ_BACK_BY_EVERY_HANDLE,
    files::READS_STOP_AT_THE_END,
    files::ANY_OFFSET_AND_LENGTH_CAN_BE_READ,
    files::WRITES_BEYOND_THE_END_LEAVE_ZEROS_BEFORE_THEM,
    files::VECTORED_WRITES_CONCATENATE,
    files::OVERWRITES_CHANGE_NOTHING_BESIDE_THEM,
    files::EMPTY_WRITES_CHANGE_NOTHING,
    files::LENGTHS_CAN_BE_CUT_AND_EXTENDED,
    files::READ_HANDLES_REFUSE_TO_WRITE,
    files::WRITES_KEEP_TO_BLOCKS,
    files::IMPOSSIBLE_OFFSETS_ARE_ERRORS,
    files::SYNCS_KEEP_WHAT_IS_WRITTEN,
    names::LISTS_HOLD_EVERY_FILE_WITH_ITS_LENGTH,
    names::RENAMES_MOVE_A_FILE,
    names::RENAMES_REPLACE_A_FILE,
    names::REMOVED_FILES_STAY_USABLE,
    names::THE_LOCK_EXCLUDES_UNTIL_IT_IS_DROPPED,
    names::THE_LOCK_IS_NOT_A_FILE_OF_THE_LOG,
    names::THE_LOCK_OF_HOLDS_EXCLUDES_BESIDE_THE_LOCK,
    names::PLACES_HAVE_A_NAME,
    sharing::HANDLES_ARE_INDEPENDENT,
    sharing::THREADS_WRITE_AND_READ_DISJOINT_RANGES,
    sharing::ONE_OF_SEVERAL_CREATORS_WINS,
    sharing::ONE_OF_SEVERAL_LOCKERS_WINS,
    twin::RANDOM_CALLS_AGREE_WITH_A_TWIN,
];

/// Every clause that needs a loss of power.
pub const POWER_CLAUSES: &[PowerClause] = &[
    power::SYNCED_BYTES_SURVIVE,
    power::WRITE_THROUGH_BYTES_SURVIVE,
    power::SYNCED_LENGTHS_SURVIVE,
    power::UNSYNCED_BYTES_ARE_OLD_OR_NEW,
    power::SYNCED_ENTRIES_SURVIVE,
    power::UNSYNCED_ENTRIES_ARE_OLD_OR_NEW,
    power::RENAMES_ARE_ATOMIC,
    power::FAILED_SYNCS_ARE_REPORTED,
    power::FAILED_SYNCS_ARE_TOLD_TO_EVERY_HANDLE,
    power::POWER_CUTS_FREE_THE_LOCK,
];

/// Every promise that was found broken; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    violations: Vec<Violation>,
}

impl Broken {
    /// The promises, in the order of the clauses.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    fn check(results: impl Iterator<Item = Result<(), Violation>>) -> Result<(), Self> {
        let violations: Vec<Violation> = results.filter_map(Result::err).collect();
        if violations.is_empty() { Ok(()) } else { Err(Self { violations }) }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the storage breaks {} clauses of its contract", self.violations.len())?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n- {violation}"))
    }
}

impl std::error::Error for Broken {}

/// Checks every clause that needs no loss of power, each on a storage of its own.
///
/// `make` makes an empty storage each time it is called; it is called once a clause.
///
/// # Errors
///
/// [`Broken`], with every violation found.
pub fn run(make: impl Fn() -> Arc<dyn Storage>) -> Result<(), Broken> {
    Broken::check(CLAUSES.iter().map(|clause| clause.check(&*make())))
}

/// Checks every clause that needs a loss of power.
///
/// `make` makes a new, empty disk each time it is called.
///
/// # Errors
///
/// [`Broken`], with every violation found.
pub fn run_with_power_cuts<P: PowerCut>(make: impl Fn() -> P) -> Result<(), Broken> {
    Broken::check(POWER_CLAUSES.iter().map(|clause| clause.check(&make)))
}

/// The clause of that name, among those that need no loss of power.
#[must_use]
pub fn clause(name: &str) -> Option<&'static Clause> {
    CLAUSES.iter().find(|clause| clause.name() == name)
}

/// Makes a `#[test]` of every clause of the [contract](crate::contract) that needs no loss of
/// power.
///
/// Takes an expression which makes a closure; the closure makes an empty storage, an
/// `Arc<dyn Storage>`, each time it is called. Use it once a module.
///
/// ```
/// mod my_backend {
///     wal_sim::contract_tests!(|| std::sync::Arc::new(wal_io::backend::MemoryStorage::new()));
/// }
/// ```
#[macro_export]
macro_rules! contract_tests {
    (@names) => { $crate::contract_tests! { @list array [] } };
    (@tests [$make:expr] $($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                let make = $make;
                let storage: ::std::sync::Arc<dyn ::wal_io::Storage> = make();
                let clause = $crate::contract::clause(stringify!($name));
                assert!(clause.is_some(), "the contract has no such clause");
                let result = clause.map(|clause| clause.check(&*storage));
                assert_eq!(result, Some(Ok(())));
            }
        )+
    };
    (@array [] $($name:ident)+) => { [$(stringify!($name)),+] };
    (@list tests [$make:expr]) => { $crate::contract_tests! { @list (@tests [$make]) } };
    (@list array []) => { $crate::contract_tests! { @list (@array []) } };
    (@list ($($head:tt)+)) => {
        $crate::contract_tests! {
            $($head)+
            created_files_hold_zeros
            creating_an_existing_name_is_refused
            missing_names_are_not_found
            writes_are_read_back_by_every_handle
            reads_stop_at_the_end
            any_offset_and_length_can_be_read
            writes_beyond_the_end_leave_zeros_before_them
            vectored_writes_concatenate
            overwrites_change_nothing_beside_them
            empty_writes_change_nothing
            lengths_can_be_cut_and_extended
            read_handles_refuse_to_write
            writes_keep_to_blocks
            impossible_offsets_are_errors
            syncs_keep_what_is_written
            lists_hold_every_file_with_its_length
            renames_move_a_file
            renames_replace_a_file
            removed_files_stay_usable
            the_lock_excludes_until_it_is_dropped
            the_lock_is_not_a_file_of_the_log
            the_lock_of_holds_excludes_beside_the_lock
            places_have_a_name
            handles_are_independent
            threads_write_and_read_disjoint_ranges
            one_of_several_creators_wins
            one_of_several_lockers_wins
            random_calls_agree_with_a_twin
        }
    };
    ($make:expr) => { $crate::contract_tests! { @list tests [$make] } };
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_io::backend::MemoryStorage;

    #[test]
    fn the_macro_makes_a_test_of_every_clause() {
        let names: Vec<&str> = CLAUSES.iter().map(Clause::name).collect();
        assert_eq!(crate::contract_tests!(@names).as_slice(), names);
    }

    #[test]
    fn every_clause_can_be_found_by_its_name() {
        for expected in CLAUSES {
            assert_eq!(clause(expected.name()).map(Clause::promise), Some(expected.promise()));
        }
        assert!(clause("no such clause").is_none());
    }

    #[test]
    fn a_broken_promise_is_reported_with_its_clause() {
        let storage = MemoryStorage::new();
        // Not empty, as the suite demands: the first creation is refused.
        for name in ["a.wal", "b.wal"] {
            storage.create(name, 0).unwrap();
        }
        let broken = run(|| Arc::new(storage.clone())).unwrap_err();
        assert!(!broken.violations().is_empty());
        let text = broken.to_string();
        assert!(text.contains("clause `created_files_hold_zeros`"), "{text}");
    }
}
