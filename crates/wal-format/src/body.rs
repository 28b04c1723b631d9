//! Fixed bodies of the format's own kinds.

mod checkpoint;
mod opened;
mod restore_point;
mod txn;

pub use checkpoint::CheckpointEnd;
pub use opened::Opened;
pub use restore_point::RestorePoint;
pub use txn::Commit;
