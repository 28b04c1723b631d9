//! What a workload notes down while it runs: what it asked for, and what it was promised.
//!
//! The explorer looks at the notes at each operation of the disk, so that it knows what had been
//! promised when the power went there. A look costs a reference count; only a change after a look
//! copies the notes.

use std::sync::Arc;

use parking_lot::Mutex;

/// Notes of a workload, shared with the explorer; clones share them.
///
/// ```
/// use wal_sim::Notes;
///
/// let notes = Notes::<u32>::default();
/// let before = notes.get();
/// notes.update(|promised| *promised += 1);
/// assert_eq!((*before, *notes.get()), (0, 1));
/// ```
#[derive(Debug, Default)]
pub struct Notes<A> {
    /// How often they were changed, and the notes.
    inner: Arc<Mutex<(u64, Arc<A>)>>,
}

impl<A> Clone for Notes<A> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<A: Clone> Notes<A> {
    /// Changes the notes. Note what is asked for before asking, and a promise once it is made.
    ///
    /// `change` must not use the disk: the disk looks at the notes at each of its operations.
    pub fn update<T>(&self, change: impl FnOnce(&mut A) -> T) -> T {
        let mut inner = self.inner.lock();
        inner.0 += 1;
        change(Arc::make_mut(&mut inner.1))
    }

    /// The notes as they are now.
    #[must_use]
    pub fn get(&self) -> Arc<A> {
        Arc::clone(&self.inner.lock().1)
    }

    /// The notes, and how often they were changed.
    pub(crate) fn look(&self) -> (u64, Arc<A>) {
        let inner = self.inner.lock();
        (inner.0, Arc::clone(&inner.1))
    }
}
