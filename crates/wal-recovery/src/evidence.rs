//! What proves that a place in the log was durable (rule 10).
//!
//! [`Evidence`] is one proof, with the address up to which it reaches; [`Claims`] keeps the
//! strongest one seen. Pure: nothing here reads a file. Who may claim what is decided by the
//! callers; a claim is never believed beyond its own end.

use std::fmt;

use wal_format::Lsn;
use wal_io::SegmentName;

/// One proof that everything before an address was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// A valid record says what was durable when it was encoded.
    Watermark {
        /// Address of the record that says so.
        record: Lsn,
        /// Everything before this was durable.
        durable: Lsn,
    },
    /// The control file remembers a durable end.
    ControlDurable {
        /// Everything before this was durable.
        durable: Lsn,
    },
    /// The log was closed cleanly.
    CleanMark {
        /// Where it ended.
        end: Lsn,
    },
    /// A checkpoint was durable before the control file named it.
    Checkpoint {
        /// Address of the record that completes it.
        record: Lsn,
        /// First address after that record.
        end: Lsn,
    },
    /// An opening made a segment after everything before it was durable.
    OpeningHeader {
        /// The segment it made.
        segment: SegmentName,
        /// Where the segment before ends.
        end: Lsn,
    },
    /// A segment whose records were durable before it took its name (rule 1).
    BornDurable {
        /// The segment.
        segment: SegmentName,
        /// Where it ends.
        end: Lsn,
    },
    /// A segment takes its name only after its header is durable (rule 1).
    LiveName {
        /// The segment.
        segment: SegmentName,
    },
}

impl Evidence {
    /// The address before which everything is proven durable.
    #[must_use]
    pub const fn proven_end(&self) -> Lsn {
        match *self {
            Self::Watermark { durable, .. } | Self::ControlDurable { durable } => durable,
            Self::CleanMark { end }
            | Self::Checkpoint { end, .. }
            | Self::OpeningHeader { end, .. }
            | Self::BornDurable { end, .. } => end,
            Self::LiveName { segment } => segment.base,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watermark { record, durable } => {
                write!(f, "the record at {record} says that all before {durable} was durable")
            }
            Self::ControlDurable { durable } => {
                write!(f, "the control file says that all before {durable} was durable")
            }
            Self::CleanMark { end } => write!(f, "the log was closed cleanly at {end}"),
            Self::Checkpoint { record, end } => {
                write!(f, "the control file names the checkpoint at {record}, durable up to {end}")
            }
            Self::OpeningHeader { segment, end } => {
                write!(f, "the opening that made `{segment}` found all before {end} durable")
            }
            Self::BornDurable { segment, end } => {
                write!(f, "`{segment}` was durable up to {end} before it took its name")
            }
            Self::LiveName { segment } => {
                write!(f, "the header of `{segment}` was durable before it took its name")
            }
        }
    }
}

/// The strongest proof seen so far.
///
/// Invariant: `strongest` is the first proof given among those which reach furthest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claims {
    strongest: Option<Evidence>,
}

impl Claims {
    /// Takes one more proof into account.
    pub fn add(&mut self, evidence: Evidence) {
        if evidence.proven_end() > self.durable() {
            self.strongest = Some(evidence);
        }
    }

    /// Everything before this address is proven durable; [`Lsn::NONE`] when nothing is.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.strongest.map_or(Lsn::NONE, |evidence| evidence.proven_end())
    }

    /// The proof that reaches furthest.
    #[must_use]
    pub const fn strongest(&self) -> Option<Evidence> {
        self.strongest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    #[test]
    fn the_proof_that_reaches_furthest_counts_whatever_the_order() {
        let weak = Evidence::ControlDurable { durable: lsn(8192) };
        let strong = Evidence::CleanMark { end: lsn(12_288) };
        for order in [[weak, strong], [strong, weak]] {
            let mut claims = Claims::default();
            assert_eq!((claims.durable(), claims.strongest()), (Lsn::NONE, None));
            order.into_iter().for_each(|evidence| claims.add(evidence));
            assert_eq!((claims.durable(), claims.strongest()), (lsn(12_288), Some(strong)));
        }
    }

    #[test]
    fn a_proof_says_where_it_comes_from() {
        let segment = SegmentName { epoch: wal_format::Epoch::new(3), base: lsn(8192) };
        let said = Evidence::OpeningHeader { segment, end: lsn(6000) }.to_string();
        assert!(said.contains("6000") && said.contains(&segment.to_string()), "{said}");
    }
}
