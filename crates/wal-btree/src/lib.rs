//! wip
mod page;
mod error;
mod node;
mod ops;
mod locks;
mod file;
mod pool;
pub use error::Error;
pub use page::PageFault;
