//! Holds in files, as the open log takes and regards them.
//!
//! What such a hold is, and the lock that it shares with truncations, is `persistent_hold`'s; that
//! truncations regard it is `log`'s.

use std::sync::Arc;

use wal_format::Lsn;

use crate::error::Error;
use crate::holds::HoldLimit;
use crate::log::Wal;
use crate::persistent_hold::{self, PersistentHold, PersistentHoldInfo};

impl Wal {
    /// As [`hold`](Self::hold), but the hold stays when this process ends, and is seen by other
    /// programs, until it is released: see [`PersistentHold`]. Its names are apart from those of
    /// other holds.
    ///
    /// # Durability
    ///
    /// The hold is durable when this returns.
    ///
    /// # Errors
    ///
    /// As [`PersistentHold::place`].
    ///
    /// # Cost
    ///
    /// Writes and syncs one small file, and the directory.
    pub fn hold_persistent(
        &self,
        name: &str,
        lsn: Lsn,
        limit: Option<HoldLimit>,
    ) -> Result<PersistentHold, Error> {
        let shared = self.shared();
        let _no_truncation_passes = shared.truncation.lock();
        let storage = shared.store.storage();
        let _nor_another_hold = persistent_hold::lock(storage.as_ref())?;
        let (log_id, head) = (self.log_id(), shared.store.head());
        let hold = PersistentHold::write_new(Arc::clone(storage), log_id, head, name, lsn, limit)?;
        self.note_persistent_holds()?;
        Ok(hold)
    }

    /// The persistent hold of this name, which an earlier process may have left.
    ///
    /// # Errors
    ///
    /// As [`PersistentHold::take_over`].
    pub fn persistent_hold(&self, name: &str) -> Result<Option<PersistentHold>, Error> {
        let storage = Arc::clone(self.shared().store.storage());
        PersistentHold::found_in(storage, self.log_id(), name)
    }

    /// The persistent holds on this log, whoever placed them.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io).
    pub fn persistent_holds(&self) -> Result<Vec<PersistentHoldInfo>, Error> {
        persistent_hold::list(self.shared().store.storage().as_ref(), self.log_id())
    }

    /// Reads which persistent holds may refuse appends.
    pub(crate) fn note_persistent_holds(&self) -> Result<(), Error> {
        let holds = self.persistent_holds()?;
        self.shared().holds.note_persistent(persistent_hold::refusing(holds));
        Ok(())
    }

    /// Refuses an append at `reserved` while a hold keeps too much.
    #[inline]
    pub(crate) fn admit(&self, reserved: Lsn) -> Result<(), Error> {
        // Of every append, so nothing else is done where no hold is near its limit.
        if self.shared().holds.admits_without_a_look(reserved) {
            return Ok(());
        }
        self.admit_after_a_look(reserved)
    }

    #[cold]
    fn admit_after_a_look(&self, reserved: Lsn) -> Result<(), Error> {
        let refused = self.shared().holds.admit(reserved);
        if refused.is_ok() || !self.shared().holds.has_persistent() {
            return refused;
        }
        // Another process may have moved or dropped its hold since it was read.
        self.note_persistent_holds()?;
        self.shared().holds.admit(reserved)
    }
}
