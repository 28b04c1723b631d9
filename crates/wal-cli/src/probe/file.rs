//! A file without a name, opened as a way of writing wants it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Bytes of each file; what is written goes round in it.
pub(super) const FILE_BYTES: u64 = 16 << 20;

/// What an address must be a multiple of for a device to take bytes without a copy.
const ALIGN_BYTES: usize = 4096;

/// How the space of a file was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// Zeros were written and synced, as the log does.
    Zeros,
    /// Reserved, not written.
    Reserved,
    /// None: each write makes the file longer.
    Growing,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mode {
    /// Past the cache of the kernel.
    pub(super) direct: bool,
    /// A write returns when it is durable.
    pub(super) write_through: bool,
}

/// A file in `dir` with its space made.
pub(super) fn make(dir: &Path, space: Space, mode: Mode) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(dir)?;
    match space {
        Space::Zeros => {
            let zeros = vec![0; 1 << 20];
            for _ in 0..FILE_BYTES / zeros.len() as u64 {
                file.write_all(&zeros)?;
            }
        }
        Space::Reserved => reserve(&file)?,
        Space::Growing => {}
    }
    file.sync_all()?;
    reopen(file, mode)
}

#[cfg(target_os = "linux")]
fn reserve(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES)?)
}

#[cfg(not(target_os = "linux"))]
fn reserve(file: &File) -> io::Result<()> {
    file.set_len(FILE_BYTES)
}

/// The same file, opened anew as `mode` wants it.
#[cfg(target_os = "linux")]
fn reopen(file: File, mode: Mode) -> io::Result<File> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{Mode as Permissions, OFlags};

    let mut flags = OFlags::RDWR | OFlags::CLOEXEC;
    flags.set(OFlags::DIRECT, mode.direct);
    flags.set(OFlags::DSYNC, mode.write_through);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(File::from(rustix::fs::open(path, flags, Permissions::empty())?))
}

#[cfg(not(target_os = "linux"))]
fn reopen(file: File, mode: Mode) -> io::Result<File> {
    if mode == Mode::default() { Ok(file) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Memory from which bytes can be written past the cache.
pub(super) struct Aligned {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Aligned {
    /// So many bytes, not all the same.
    pub(super) fn new(bytes: usize) -> Self {
        let memory: Vec<u8> = (0..bytes + ALIGN_BYTES).map(|at| at as u8).collect();
        let start = memory.as_ptr().align_offset(ALIGN_BYTES);
        Self { memory, start, bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..).and_then(|rest| rest.get(..self.bytes)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_leave_nothing_behind_and_have_the_space_they_should() {
        let dir = tempfile::tempdir().unwrap();
        for (space, bytes) in
            [(Space::Zeros, FILE_BYTES), (Space::Reserved, FILE_BYTES), (Space::Growing, 0)]
        {
            let file = make(dir.path(), space, Mode::default()).unwrap();
            assert_eq!(file.metadata().unwrap().len(), bytes, "{space:?}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{space:?} has a name");
        }
    }

    #[test]
    fn aligned_memory_is_aligned_and_long_enough() {
        for bytes in [512, 4096, 65_536] {
            let memory = Aligned::new(bytes);
            assert_eq!(memory.bytes().len(), bytes);
            assert_eq!(memory.bytes().as_ptr().align_offset(ALIGN_BYTES), 0);
        }
    }
}
