//! How far the log may grow until an append has anything to decide. Pure.
//!
//! Ends of the log are compared as they are: an append that ends below all of these finds nothing.

/// What the device is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// Nobody has a baton.
    Idle,
    /// There is one to be had, and more than one in all.
    Shared,
    /// There is none to be had.
    Busy,
}

/// Ends of the log, told ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clearance {
    /// An append that ends here or before finds nothing to decide.
    to: u64,
    /// One that ends behind this has its checksum at once.
    finish_from: u64,
    /// One that ends here or behind takes the baton for what waits.
    write_from: u64,
}

const NEVER: u64 = u64::MAX;

impl Clearance {
    /// Everything is to be decided.
    pub(crate) const NONE: Self = Self { to: 0, finish_from: NEVER, write_from: NEVER };

    /// Of a log that may grow to `limit`, where what waits is worth a call at `enough`.
    pub(crate) fn new(device: Device, limit: u64, enough: u64) -> Self {
        match device {
            Device::Idle => Self { to: limit, write_from: enough, ..Self::NONE },
            // Whether one more baton is worth it is decided with all of the lock.
            Device::Shared => Self { to: limit.min(enough.saturating_sub(1)), ..Self::NONE },
            // Whoever has it comes back for what waits. If that is much, those who append are ahead
            // of those who write and sync, and take the checksums off them.
            Device::Busy => Self { to: limit, finish_from: enough, ..Self::NONE },
        }
    }

    /// An append that ends there finds nothing to decide.
    #[inline]
    pub(crate) const fn covers(&self, end: u64) -> bool {
        end <= self.to
    }

    /// A record that ends there is to have its checksum at once.
    #[inline]
    pub(crate) const fn finishes(&self, end: u64) -> bool {
        end > self.finish_from
    }

    /// Whoever appends up to there is to take the baton, and write.
    #[inline]
    pub(crate) const fn writes(&self, end: u64) -> bool {
        end >= self.write_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an append that ends at 400, 408 and 800 finds, of a log that may grow to 800.
    fn told(device: Device) -> [[bool; 3]; 3] {
        let clearance = Clearance::new(device, 800, 408);
        [400, 408, 800]
            .map(|end| [clearance.covers(end), clearance.finishes(end), clearance.writes(end)])
    }

    #[test]
    fn what_waits_is_written_by_the_append_that_makes_it_enough() {
        let goes_on = [true, false, false];
        assert_eq!(told(Device::Idle), [goes_on, [true, false, true], [true, false, true]]);
        assert_eq!(told(Device::Busy), [goes_on, goes_on, [true, true, false]]);
        let decides = [false, false, false];
        assert_eq!(told(Device::Shared), [goes_on, decides, decides]);
    }

    #[test]
    fn nothing_goes_beyond_the_limit() {
        for device in [Device::Idle, Device::Shared, Device::Busy] {
            assert!(!Clearance::new(device, 800, 408).covers(808));
            assert!(!Clearance::new(device, 400, 408).covers(408));
        }
        assert!(!Clearance::NONE.covers(8));
    }
}
