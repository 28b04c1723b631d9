//! How long commits took: a histogram of three digits, from a nanosecond on.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::peer::Failure;

/// Times of commits.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(into = "Vec<(u64, u64)>", try_from = "Vec<(u64, u64)>")]
pub struct Latencies(Histogram<u64>);

/// An hour.
const NANOS_MAX: u64 = 3_600_000_000_000;

/// The shares at which a curve is drawn: closer and closer to all.
const SHARES: [f64; 22] = [
    0.0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.997,
    0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999,
];

impl Latencies {
    /// None yet.
    ///
    /// # Errors
    ///
    /// None that is known: bounds and digits are in range.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self(Histogram::new_with_max(NANOS_MAX, 3)?))
    }

    /// Adds one; one that took more than an hour counts as an hour.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Adds all of another.
    ///
    /// # Errors
    ///
    /// None that is known: all have the same bounds.
    pub fn add(&mut self, other: &Self) -> Result<(), Failure> {
        Ok(self.0.add(&other.0)?)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Microseconds within which this share of the commits was done, 0.5 for half of them.
    #[must_use]
    pub fn within_micros(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }

    /// Shares, and the microseconds within which each was done; no share that so few commits
    /// cannot tell.
    pub fn curve(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let told = |share: &f64| (1.0 - share) * self.count() as f64 >= 1.0;
        SHARES.into_iter().filter(told).map(|share| (share, self.within_micros(share)))
    }
}

impl From<Latencies> for Vec<(u64, u64)> {
    fn from(latencies: Latencies) -> Self {
        let recorded = latencies.0.iter_recorded();
        recorded.map(|at| (at.value_iterated_to(), at.count_at_value())).collect()
    }
}

impl TryFrom<Vec<(u64, u64)>> for Latencies {
    type Error = Failure;

    fn try_from(counts: Vec<(u64, u64)>) -> Result<Self, Failure> {
        let mut latencies = Self::new()?;
        for (nanos, count) in counts {
            latencies.0.record_n(nanos, count)?;
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanos: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::new().unwrap();
        nanos.into_iter().for_each(|nanos| latencies.record(nanos));
        latencies
    }

    fn near(found: f64, expected: f64) -> bool {
        (found / expected - 1.0).abs() < 0.001
    }

    #[test]
    fn shares_are_those_of_the_sorted_times() {
        let latencies = of((1..=1000).rev().map(|micros| micros * 1000));
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let found = latencies.within_micros(share);
            assert!(near(found, micros), "{share}: {found}");
        }
    }

    #[test]
    fn they_come_through_json_as_they_were() {
        let latencies = of([1, 1, 5_000, 123_456_789, 3_000_000_000_000]);
        let text = serde_json::to_string(&latencies).unwrap();
        let read: Latencies = serde_json::from_str(&text).unwrap();
        assert_eq!(read.0, latencies.0);
    }

    #[test]
    fn rounds_are_added_up() {
        let mut all = of([1_000, 1_000]);
        all.add(&of([9_000_000])).unwrap();
        assert_eq!(all.count(), 3);
        assert!(near(all.within_micros(1.0), 9_000.0));
    }

    #[test]
    fn a_curve_tells_no_more_than_was_measured() {
        let latencies = of((1..=100).map(|micros| micros * 1000));
        assert_eq!(latencies.curve().last().map(|(share, _)| share), Some(0.99));
        assert_eq!(of([]).curve().count(), 0);
    }
}
