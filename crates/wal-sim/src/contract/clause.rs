//! What a clause of the contract is: a promise, its check, and what is said when it is broken.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use wal_io::Storage;

use super::check::Flaw;

/// A promise that was found broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("clause `{clause}` ({promise}): {what}")]
#[non_exhaustive]
pub struct Violation {
    /// The name of the clause.
    pub clause: &'static str,
    /// What it promises.
    pub promise: &'static str,
    /// What was found instead.
    pub what: String,
}

/// A disk whose power can be cut: what the crash part of the contract is checked on.
///
/// Implemented by simulated disks, such as that of this crate.
pub trait PowerCut: 'static {
    /// The storage as programs see it now.
    fn storage(&self) -> Arc<dyn Storage>;

    /// Cuts the power and gives the storage found when it is back.
    ///
    /// `seed` decides what survives of that which was not durable; the same calls and the same
    /// seed leave the same bytes. Handles and locks from before may fail from now on, and must
    /// not reach what is found.
    fn cut(&self, seed: u64) -> Arc<dyn Storage>;

    /// Makes the next sync of a file fail; `false` if the disk cannot do that.
    ///
    /// The clauses about failed syncs are then taken for kept.
    fn fail_next_sync(&self) -> bool {
        false
    }
}

/// Makes a new, empty disk.
pub(super) type Make<'a> = &'a dyn Fn() -> Box<dyn PowerCut>;

/// One promise, and how it is checked.
#[derive(Clone, Copy)]
pub struct Clause {
    pub(super) name: &'static str,
    pub(super) promise: &'static str,
    pub(super) check: fn(&dyn Storage) -> Result<(), Flaw>,
}

impl Clause {
    /// The name: an identifier, also that of the test which
    /// [`contract_tests!`](crate::contract_tests) makes of the clause.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What is promised, in a sentence.
    #[must_use]
    pub fn promise(&self) -> &'static str {
        self.promise
    }

    /// Checks the promise on `storage`, which must be empty and is left in any state.
    ///
    /// # Errors
    ///
    /// The first thing found to be otherwise.
    pub fn check(&self, storage: &dyn Storage) -> Result<(), Violation> {
        (self.check)(storage).map_err(|flaw| self.violated_by(flaw))
    }

    fn violated_by(&self, flaw: Flaw) -> Violation {
        Violation { clause: self.name, promise: self.promise, what: flaw.to_string() }
    }
}

impl fmt::Debug for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clause").field(&self.name).finish()
    }
}

/// One promise about a loss of power, and how it is checked.
#[derive(Clone, Copy)]
pub struct PowerClause {
    pub(super) name: &'static str,
    pub(super) promise: &'static str,
    pub(super) check: fn(Make<'_>) -> Result<(), Flaw>,
}

impl PowerClause {
    /// The name: an identifier.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What is promised, in a sentence.
    #[must_use]
    pub fn promise(&self) -> &'static str {
        self.promise
    }

    /// Checks the promise on disks which `make` makes, each new and empty; about 50 are needed.
    ///
    /// # Errors
    ///
    /// The first thing found to be otherwise.
    pub fn check<P: PowerCut>(&self, make: impl Fn() -> P) -> Result<(), Violation> {
        let make = || -> Box<dyn PowerCut> { Box::new(make()) };
        (self.check)(&make).map_err(|flaw| Violation {
            clause: self.name,
            promise: self.promise,
            what: flaw.to_string(),
        })
    }
}

impl fmt::Debug for PowerClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PowerClause").field(&self.name).finish()
    }
}
