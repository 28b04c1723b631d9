//! Being asked to stop: by `Ctrl-C`, by a closed terminal, by whoever ends the process politely.
//!
//! The first signal is only noted, so that what was made can be removed. The second one ends the
//! process at once: a device may hang for ever.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Which signal has come, if any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// 0 for none. Set by the handler; nothing else is published by it.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// From now on signals are noted here.
    pub(crate) fn watch() -> io::Result<Self> {
        let (watch, second) = (Self::default(), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the first signal finds the flag not set yet.
            flag::register_conditional_default(signal, Arc::clone(&second))?;
            flag::register(signal, Arc::clone(&second))?;
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&watch.signal), number)?;
        }
        Ok(watch)
    }

    /// The signal that came.
    pub(crate) fn signal(&self) -> Option<i32> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }

    #[cfg(test)]
    pub(crate) fn raised(signal: usize) -> Self {
        Self { signal: Arc::new(AtomicUsize::new(signal)) }
    }
}

/// Ends the process as `signal` would have; returns only where that is not possible.
pub(crate) fn die_by(signal: i32) {
    // What it reports is that it could not: the caller then ends by an exit code.
    let _tried = low_level::emulate_default_handler(signal);
}
