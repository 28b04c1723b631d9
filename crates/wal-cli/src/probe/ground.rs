//! The temporary directory that is measured in, and the files in it.
//!
//! Removed with everything in it when the value is dropped. Files through the page cache and past
//! it are different ones: a direct write has to throw cached pages out, which is no figure of the
//! device.

use std::io;
use std::path::Path;

use tempfile::TempDir;
#[cfg(target_os = "linux")]
use wal::DirectStorage;
use wal::{Access, FileStorage, LogFile, Preparation, Storage};

use super::way::{BLOCK_BYTES, Space, Sync, WRITERS_MAX, Way};

/// Bytes of each file; what is written goes round in a prepared one.
pub(crate) const FILE_BYTES: u64 = 16 << 20;

/// Files that are prepared through the page cache; the first is also read.
const PREPARED: u64 = WRITERS_MAX as u64;

const DIRECT_NAME: &str = "direct";
const RESERVED_NAME: &str = "reserved";
const GROWING_NAME: &str = "growing";
const MOVING_NAMES: [&str; 2] = ["name-a", "name-b"];

/// An own directory below the one to be measured.
#[derive(Debug)]
pub(crate) struct Ground {
    cached: FileStorage,
    /// Or why there is none.
    direct: Result<Box<dyn Storage>, String>,
    dir: TempDir,
}

/// What a turn writes through: a handle for each writer, and where its stretch lies.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) file: Box<dyn LogFile>,
    pub(crate) start: u64,
    pub(crate) bytes: u64,
}

impl Ground {
    /// An empty directory in `dir`.
    pub(crate) fn make(dir: &Path) -> Result<Self, wal::Error> {
        // A missing directory and a file are told by name, and nothing is created.
        let outer = FileStorage::open_existing(dir)?;
        let failed = |source| wal::IoError::Failed {
            op: wal::IoOp::Create,
            name: dir.join(".wal-probe-…").display().to_string(),
            offset: None,
            source,
        };
        let dir = tempfile::Builder::new().prefix(".wal-probe-").tempdir_in(outer.path());
        let dir = dir.map_err(failed)?;
        let cached = FileStorage::open_existing(dir.path())?;
        Ok(Self { cached, direct: direct(dir.path()), dir })
    }

    /// How many calls of [`prepare`](Self::prepare) it takes.
    pub(crate) const STEPS: u64 = PREPARED + 2;

    /// Makes the next of the files that every turn finds; `step` counts from 0.
    pub(crate) fn prepare(&mut self, step: u64) -> io::Result<()> {
        match step {
            0..PREPARED => self.cached.create(&prepared(step), FILE_BYTES)?.sync_all()?,
            PREPARED => {
                self.cached.create(MOVING_NAMES[0], 0)?;
                self.cached.create(GROWING_NAME, 0)?.sync_all()?;
            }
            _ => self.prepare_direct()?,
        }
        self.cached.sync_dir()
    }

    /// Some file systems refuse direct I/O only when it is tried.
    fn prepare_direct(&mut self) -> io::Result<()> {
        let Ok(storage) = &self.direct else { return Ok(()) };
        match storage.create(DIRECT_NAME, FILE_BYTES) {
            Ok(file) => file.sync_all(),
            Err(error) if is_refusal(&error) => {
                self.direct = Err(error.to_string());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Why `way` cannot be tried here.
    pub(crate) fn refusal(&self, way: &Way) -> Option<&str> {
        if way.direct { self.direct_refusal() } else { None }
    }

    /// Why there is no direct I/O here.
    pub(crate) fn direct_refusal(&self) -> Option<&str> {
        self.direct.as_ref().err().map(String::as_str)
    }

    /// Opens what a turn of `way` writes through, in files as they were at the first turn.
    pub(crate) fn stretches(&self, way: &Way) -> io::Result<Vec<Stretch>> {
        match way.space {
            Space::Prepared => {}
            Space::Reserved => self.reserve()?,
            Space::Growing => {
                let file = self.cached.open(GROWING_NAME, Access::Write)?;
                file.set_len(0)?;
                file.sync_all()?;
            }
        }
        let share = if way.one_file { FILE_BYTES / way.writers as u64 } else { FILE_BYTES };
        let stretch = |writer: u64| -> io::Result<Stretch> {
            let start = if way.one_file { writer * share } else { 0 };
            Ok(Stretch { file: self.open(way, writer)?, start, bytes: share })
        };
        (0..way.writers as u64).map(stretch).collect()
    }

    fn open(&self, way: &Way, writer: u64) -> io::Result<Box<dyn LogFile>> {
        let through = way.sync == Sync::WriteThrough;
        let access = if through { Access::WriteThrough } else { Access::Write };
        if way.direct {
            return self.direct()?.open(DIRECT_NAME, access);
        }
        match way.space {
            Space::Prepared => {
                self.cached.open(&prepared(if way.one_file { 0 } else { writer }), access)
            }
            Space::Reserved => self.cached.open(RESERVED_NAME, access),
            Space::Growing => self.cached.open(GROWING_NAME, access),
        }
    }

    fn direct(&self) -> io::Result<&dyn Storage> {
        match &self.direct {
            Ok(storage) => Ok(&**storage),
            Err(why) => Err(io::Error::new(io::ErrorKind::Unsupported, why.clone())),
        }
    }

    fn reserve(&self) -> io::Result<()> {
        match self.cached.remove(RESERVED_NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.cached.create_for(RESERVED_NAME, FILE_BYTES, Preparation::Reserved)?;
        file.sync_all()?;
        self.cached.sync_dir()
    }

    /// A file to be read, in the page cache or past it.
    pub(crate) fn to_read(&self, past_cache: bool) -> io::Result<Box<dyn LogFile>> {
        if past_cache {
            self.direct()?.open(DIRECT_NAME, Access::Read)
        } else {
            self.cached.open(&prepared(0), Access::Read)
        }
    }

    /// Gives a file another name, durably; `count` says how often that was done before.
    pub(crate) fn rename(&self, count: u64) -> io::Result<()> {
        let [a, b] = MOVING_NAMES;
        let (from, to) = if count.is_multiple_of(2) { (a, b) } else { (b, a) };
        self.cached.rename(from, to)?;
        self.cached.sync_dir()
    }

    /// The file system it lies on.
    pub(crate) fn filesystem(&self) -> wal::FilesystemKind {
        self.cached.filesystem()
    }

    /// Removes everything, and says if that fails.
    pub(crate) fn remove(self) -> io::Result<()> {
        self.dir.close()
    }
}

fn prepared(number: u64) -> String {
    format!("prepared-{number}")
}

#[cfg(target_os = "linux")]
fn direct(dir: &Path) -> Result<Box<dyn Storage>, String> {
    let boxed = |storage| -> Box<dyn Storage> { Box::new(storage) };
    DirectStorage::open(dir).map(boxed).map_err(|error| match error {
        // Without the name of a directory that nobody knows.
        wal::IoError::Failed { source, .. } => source.to_string(),
        other => other.to_string(),
    })
}

#[cfg(not(target_os = "linux"))]
fn direct(_: &Path) -> Result<Box<dyn Storage>, String> {
    Err("direct I/O is there on Linux only".to_owned())
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

const _: () = assert!(
    FILE_BYTES.is_multiple_of((WRITERS_MAX * BLOCK_BYTES) as u64),
    "stretches of one file are whole blocks"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::way::WAYS;

    #[test]
    fn a_ground_has_a_handle_for_each_writer_and_is_gone_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut ground = Ground::make(dir.path()).unwrap();
        (0..Ground::STEPS).for_each(|step| ground.prepare(step).unwrap());
        for way in WAYS.iter().filter(|way| ground.refusal(way).is_none()) {
            let stretches = ground.stretches(way).unwrap();
            assert_eq!(stretches.len(), way.writers, "{}", way.name);
            let expected = if way.space == Space::Growing { 0 } else { FILE_BYTES };
            for (at, stretch) in stretches.iter().enumerate() {
                assert_eq!(stretch.file.len().unwrap(), expected, "{}", way.name);
                let start = if way.one_file { at as u64 * stretch.bytes } else { 0 };
                assert_eq!(stretch.start, start, "{}", way.name);
            }
        }
        drop(ground);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_move_forth_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut ground = Ground::make(dir.path()).unwrap();
        ground.prepare(PREPARED).unwrap();
        (0..3).for_each(|count| ground.rename(count).unwrap());
        assert!(ground.dir.path().join(MOVING_NAMES[1]).exists());
        ground.remove().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_by_name_and_stays_away() {
        let dir = tempfile::tempdir().unwrap();
        let error = Ground::make(&dir.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), wal::ErrorKind::NotALog);
        assert!(error.to_string().contains("none"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
