//! wip
#![allow(dead_code)]
mod page;
mod error;
mod node;
mod ops;
mod locks;
mod file;
mod pool;
mod changes;
mod tree;
mod map;
mod shape;
mod check;
mod store;
mod options;
mod transaction;
mod engine;
pub use engine::Tree;
pub use error::Error;
pub use options::Options;
pub use page::PageFault;
pub use store::Resolver;
pub use transaction::Transaction;
