//! Promising space, and taking more of it from the disk when there is not enough.
//!
//! What fits is decided in `earmark`, without a lock. Only what does not fit comes to the slow way
//! here, where one caller has segments held back for all, outside of the lock.

use std::sync::Arc;

use crate::error::CommitError;
use crate::shared::Shared;

impl Shared {
    /// Promises that records of `bytes` in all can be appended later.
    pub(crate) fn earmark(&self, bytes: u64) -> Result<(), CommitError> {
        let inflated = bytes.saturating_mul(self.earmarks.inflation);
        if bytes == 0 {
            return Ok(());
        }
        // Beyond all measure: counted in, if only until it is found not to fit, it would go round.
        if inflated >= u64::MAX / 4 {
            return Err(CommitError::NoRoom { bytes });
        }
        if self.earmarks.promise(inflated) {
            return Ok(());
        }
        self.check_process()?;
        let _one_at_a_time = self.earmarks.growth.lock();
        loop {
            if self.earmarks.promise(inflated) {
                return Ok(());
            }
            let (preparer, wanted) = {
                let state = self.lock();
                state.appendable()?;
                let preparer = state.preparer.clone().ok_or(CommitError::Closed)?;
                (preparer, self.earmarks.wanted(inflated, state.cursor.successor_bytes()))
            };
            let held = preparer.hold_back(wanted).map_err(Arc::new);
            let mut state = self.lock();
            self.count_held(&mut state, preparer.held_back());
            drop(state);
            match held {
                Ok(held) if held >= wanted => {}
                Ok(_) => return Err(CommitError::NoRoom { bytes }),
                Err(error) => return Err(CommitError::unprepared(error)),
            }
        }
    }

    /// Takes back a promise, used or not.
    pub(crate) fn unearmark(&self, bytes: u64) {
        self.earmarks.take_back(bytes.saturating_mul(self.earmarks.inflation));
    }
}
