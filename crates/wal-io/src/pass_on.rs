//! What a storage that is built on another one leaves to it, written once.
//!
//! A wrapper which forgets a provided method falls back on its default without a word: free space is
//! unknown, files are not used again. So the list is kept here, beside the trait.

/// Inside an `impl Storage`: passes every call that concerns names and the place as a whole on to a
/// field. What is left to write is [`create`](crate::Storage::create), `create_for` and `open`;
/// `entropy` and `unix_us`, where the storage below has its own.
///
/// # Example
///
/// ```
/// # use std::io;
/// # use wal_io::{Access, LogFile, Storage};
/// #[derive(Debug)]
/// struct Counted {
///     below: Box<dyn Storage>,
/// }
///
/// impl Storage for Counted {
///     wal_io::pass_on_names!(below);
///
///     fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
///         self.below.create(name, len)
///     }
///
///     fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
///         self.below.open(name, access)
///     }
/// }
/// ```
#[macro_export]
macro_rules! pass_on_names {
    ($below:ident) => {
        fn list(&self) -> ::std::io::Result<::std::vec::Vec<$crate::FileEntry>> {
            self.$below.list()
        }

        fn free_bytes(&self) -> ::std::io::Result<::std::option::Option<u64>> {
            self.$below.free_bytes()
        }

        fn overwrites_in_place(&self) -> bool {
            self.$below.overwrites_in_place()
        }

        fn rename(&self, from: &str, to: &str) -> ::std::io::Result<()> {
            self.$below.rename(from, to)
        }

        fn remove(&self, name: &str) -> ::std::io::Result<()> {
            self.$below.remove(name)
        }

        fn sync_dir(&self) -> ::std::io::Result<()> {
            self.$below.sync_dir()
        }

        fn lock(&self) -> ::std::io::Result<::std::boxed::Box<dyn $crate::StorageLock>> {
            self.$below.lock()
        }

        fn lock_holds(&self) -> ::std::io::Result<::std::boxed::Box<dyn $crate::StorageLock>> {
            self.$below.lock_holds()
        }

        fn place(&self) -> ::std::string::String {
            self.$below.place()
        }
    };
}
