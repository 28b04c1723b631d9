//! The contract between the log and the place it is kept in.
//!
//! Two small object-safe traits. A backend of one's own implements both and is held to the
//! contract by `wal_sim::contract::run`. What the log relies on, and nothing more:
//!
//! 1. Bytes written are read back by every handle of the same file at once.
//! 2. Bytes, and the length that holds them, survive power loss once [`LogFile::sync_data`] or
//!    [`LogFile::sync_all`] **on a handle of that file** returned success after the write, or, on
//!    a handle opened with [`Access::WriteThrough`], once the write returned.
//! 3. Without that, any subset of the 512-byte sectors written may survive, in any order.
//! 4. [`Storage::create`], [`Storage::rename`] and [`Storage::remove`] survive power loss once a
//!    later [`Storage::sync_dir`] returned success; before it, each may or may not have happened.
//! 5. A rename is atomic: either name, never both, never neither; it replaces an existing file.
//! 6. A sync which fails may have lost what it covered, and a later success proves nothing of it.

use std::fmt;
use std::io::{self, IoSlice};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a handle is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Reading only; nothing through this handle changes a byte.
    Read,
    /// Reading and writing; writes need a sync to be durable.
    Write,
    /// Reading and writing; a write returns when its bytes are durable (`O_DSYNC`).
    WriteThrough,
}

impl Access {
    /// Refuses a write through a handle for reading.
    pub(crate) fn check_writable(self) -> io::Result<()> {
        match self {
            Self::Read => Err(io::ErrorKind::PermissionDenied.into()),
            Self::Write | Self::WriteThrough => Ok(()),
        }
    }
}

/// What the space of a new file is made ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preparation {
    /// Many small syncs: zeros are written ahead where that makes each of them cheaper. It costs
    /// one write of every byte.
    #[default]
    Zeroed,
    /// Few syncs: the space is only reserved, if the file system can. The first sync of each part
    /// also writes what the file system notes about it.
    Reserved,
    /// As [`Zeroed`](Self::Zeroed), while others commit: where space can be reserved, it is, and
    /// whoever makes the file writes the zeros with [`LogFile::fill`], a piece at a time.
    Gradual,
}

/// A file in the directory of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Name without directory.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
}

/// One flat directory that holds one log.
///
/// Implementations are shared by threads. None of the calls may panic.
pub trait Storage: Send + Sync + fmt::Debug + 'static {
    /// All files, in any order. Entries which are not files are left out.
    ///
    /// # Errors
    ///
    /// Whatever the place reports; `NotFound` when it does not exist.
    fn list(&self) -> io::Result<Vec<FileEntry>>;

    /// Creates `name` with `len` bytes of zeros whose space is taken on the device.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; `StorageFull` when the space is not there, and then no file is left.
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>>;

    /// As [`create`](Self::create), for a file of which is known whether it is synced often. It
    /// reads as zeros either way. A place that makes no difference leaves this as it is.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    fn create_for(
        &self,
        name: &str,
        len: u64,
        preparation: Preparation,
    ) -> io::Result<Box<dyn LogFile>> {
        let _ = preparation;
        self.create(name, len)
    }

    /// Opens `name`; every call gives a handle of its own, with its own error state (rule 6).
    ///
    /// # Errors
    ///
    /// `NotFound`, `PermissionDenied`, or whatever the place reports.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>>;

    /// Whether writing over bytes of a file costs less than writing into a new one, so that files
    /// are better used again than removed. A place that copies on write says no, as this does.
    fn overwrites_in_place(&self) -> bool {
        false
    }

    /// Gives `from` the name `to`, replacing a file of that name.
    ///
    /// # Errors
    ///
    /// `NotFound`, or whatever the place reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes `name`. Open handles stay usable.
    ///
    /// # Errors
    ///
    /// `NotFound`, or whatever the place reports.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every creation, renaming and removal so far durable.
    ///
    /// # Errors
    ///
    /// Whatever the place reports; the entries concerned are then unknown.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the exclusive right to write, until the returned guard is dropped.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when somebody else has it.
    fn lock(&self) -> io::Result<Box<dyn StorageLock>>;

    /// Takes the exclusive right to truncate or to place a hold, until the returned guard is
    /// dropped, also by the end of its process.
    ///
    /// Held for moments, by any process that uses the place, whether or not it has the right to
    /// write: who truncates sees every hold, and no hold is placed on what is being removed. A
    /// place that says `Unsupported`, as this does, takes no holds but those of the writer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when somebody else has it; `Unsupported`.
    fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A name for people, used in errors: usually the path.
    fn place(&self) -> String;

    /// Fills `buf` with bytes that nobody can have drawn before: identities of logs come from here.
    ///
    /// The system's randomness, unless the place has its own: a simulated disk draws from its seed,
    /// so that equal runs write equal bytes. A backend for use leaves this as it is; two logs of one
    /// identity could be taken for each other.
    ///
    /// # Errors
    ///
    /// The system has no source of randomness.
    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        getrandom::fill(buf).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Now, in microseconds since 1970, for the information of people; nothing is decided by it.
    ///
    /// The system's clock, unless the place has its own; a clock before 1970 reads as 0.
    fn unix_us(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// Bytes that this place has left for files, or `None` where that is not known. Somebody else
    /// may take them at any moment: nothing but the time of a checkpoint is decided by it.
    ///
    /// # Errors
    ///
    /// Whatever the place reports.
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// The exclusive right to write a log; given back on drop.
pub trait StorageLock: Send + Sync + fmt::Debug {}

/// One open file. All calls are positional: there is no cursor, and threads share a handle.
pub trait LogFile: Send + Sync + fmt::Debug {
    /// Reads at `offset` into `buf`; returns the bytes read, 0 at or beyond the end of the file.
    ///
    /// Any offset and length is legal, whatever [`block_bytes`](Self::block_bytes) says.
    ///
    /// # Errors
    ///
    /// Whatever the device reports. May read less than asked; `Interrupted` may be retried.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the concatenation of `bufs` at `offset`; returns the bytes written.
    ///
    /// `offset` and the total length are multiples of [`block_bytes`](Self::block_bytes).
    /// Memory need not be aligned; a backend that needs aligned memory copies.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a misaligned call, `StorageFull`, or whatever the device reports. May
    /// write less than asked; `Interrupted` says that nothing was done, and may be retried. A
    /// handle that writes through reports another error where its sync may be what was interrupted.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes everything written to this file before the call durable, by any handle.
    ///
    /// # Errors
    ///
    /// Whatever the device reports, `Interrupted` included. It is never retried: see rule 6 of the
    /// module.
    fn sync_data(&self) -> io::Result<()>;

    /// As [`sync_data`](Self::sync_data), all metadata included.
    ///
    /// # Errors
    ///
    /// As [`sync_data`](Self::sync_data).
    fn sync_all(&self) -> io::Result<()>;

    /// Writes the concatenation of `bufs` at `offset`, as [`write_at`](Self::write_at) does, and
    /// makes the bytes that it reports durable, whether they are all or fewer. Of other bytes it
    /// says nothing.
    ///
    /// A backend for which the two are one call [says so](Self::joins_sync). This one does them
    /// one after the other.
    ///
    /// # Errors
    ///
    /// Those of both. Nothing is known of the bytes then, and no error is retried, `Interrupted`
    /// included: the write may have happened, and the sync failed.
    fn write_durable_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let written = self.write_at(bufs, offset)?;
        if written != 0 {
            self.sync_data()?;
        }
        Ok(written)
    }

    /// Whether [`write_durable_at`](Self::write_durable_at) is one call, and to be preferred.
    fn joins_sync(&self) -> bool {
        false
    }

    /// Length of the file in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the device reports.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    ///
    /// # Errors
    ///
    /// Whatever the device reports.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// The first offset from `offset` on which may hold anything else than zeros; `u64::MAX` when
    /// there is none.
    ///
    /// A backend that keeps no account of holes answers `offset`, as this does.
    ///
    /// # Errors
    ///
    /// Whatever the device reports.
    fn data_from(&self, offset: u64) -> io::Result<u64> {
        Ok(offset)
    }

    /// Cuts the file to `len` bytes, or extends it with zeros.
    ///
    /// # Errors
    ///
    /// Whatever the device reports.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Writes zeros over these bytes of a file created for [`Preparation::Gradual`], and sends them
    /// to the device, so that no later sync has them to write. Gives `false`, and does nothing,
    /// where that would save nobody anything: then it is so for every part of the file, as here.
    ///
    /// `offset` and `bytes` are multiples of [`block_bytes`](Self::block_bytes).
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at) and [`sync_data`](Self::sync_data).
    fn fill(&self, offset: u64, bytes: u64) -> io::Result<bool> {
        let _ = (offset, bytes);
        Ok(false)
    }

    /// All of the file is about to be written over, in pieces that may be smaller than what the
    /// backend reads at a time: it may bring the file into memory now, so that no later write
    /// waits for a read. A hint; does not wait.
    fn expect_writes(&self) {}

    /// Writes must start and end at multiples of this many bytes: 1, or a power of two from 512
    /// to 4,096.
    fn block_bytes(&self) -> usize {
        1
    }

    /// The open file of the system below this handle, for a backend that is built on this one.
    /// `None` where there is none.
    #[cfg(unix)]
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}
