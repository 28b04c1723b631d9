//! The lanes of a storage: each can carry one flush at a time, and there is no queue for them.
//!
//! Invariants: a lane is lent to one flush at a time; a lane whose memory the kernel may still
//! read, as after a panic, or that is of no more use, is never lent again.

use parking_lot::Mutex;

use crate::kernel::Kernel;

/// All lanes. Those in use are away.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// At most as many as there were at first; changed under its lock, by `take` and by the drop of
    /// a [`Lane`]. The one used last comes first: its memory is the nearest.
    idle: Mutex<Vec<Box<dyn Kernel>>>,
    /// Bytes that each carries.
    bytes: usize,
}

impl Lanes {
    /// Lanes of `bytes` each.
    pub(crate) fn new(lanes: Vec<Box<dyn Kernel>>, bytes: usize) -> Self {
        Self { idle: Mutex::new(lanes), bytes }
    }

    /// A lane for `bytes`; `None` when they are too many, or all lanes are away.
    pub(crate) fn take(&self, bytes: usize) -> Option<Lane<'_>> {
        if bytes > self.bytes {
            return None;
        }
        let kernel = self.idle.lock().pop()?;
        Some(Lane { lanes: self, kernel: Some(kernel) })
    }

    #[cfg(test)]
    pub(crate) fn idle(&self) -> usize {
        self.idle.lock().len()
    }

    fn give_back(&self, mut kernel: Box<dyn Kernel>) {
        // Out of the lock: dropping a lane waits until the kernel is done with its memory.
        if kernel.memory().is_some() {
            self.idle.lock().push(kernel);
        }
    }
}

/// A lane on loan; it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Lane<'a> {
    lanes: &'a Lanes,
    /// Here until the drop.
    kernel: Option<Box<dyn Kernel>>,
}

impl Lane<'_> {
    /// The kernel's end of it.
    pub(crate) fn kernel(&mut self) -> Option<&mut dyn Kernel> {
        match &mut self.kernel {
            Some(kernel) => Some(&mut **kernel),
            None => None,
        }
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        if let Some(kernel) = self.kernel.take() {
            self.lanes.give_back(kernel);
        }
    }
}
