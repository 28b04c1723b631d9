//! Fixed bodies of the format's own kinds.

mod opened;

pub use opened::Opened;
