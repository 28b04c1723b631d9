//! Fixed bodies of the format's own kinds.
//!
//! Encoders give a fixed head as an array and, where byte strings follow it, the body in `parts`
//! for [`RecordDraft`](crate::RecordDraft), so that images are not copied together first. Decoders
//! borrow. Lengths are checked against the body, counts are never trusted, and reserved bytes must
//! be zero: a body that this version did not write is an error and not a guess.

mod opened;
mod filler;
mod txn;
mod change;
mod checkpoint;
mod checkpoint_part;
mod aries_end;
mod page;
mod restore_point;
mod time;
mod any;

pub use any::Body;
pub use aries_end::AriesEnd;
pub use change::{Clr, Compensation, Logical, Update};
pub use checkpoint::{CheckpointBegin, CheckpointEnd};
pub use checkpoint_part::{CheckpointPart, DirtyPage, DirtyPages, TxnEntries, TxnEntry, TxnState};
pub use filler::{Padding, Watermark};
pub use opened::Opened;
pub use page::{PageFree, PageImage};
pub use restore_point::RestorePoint;
pub use time::Time;
pub use txn::{Abort, Begin, Commit, End, Outcome, Prepare};
