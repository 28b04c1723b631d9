//! The ways of making a write durable that are compared. A table; nothing here does anything.

/// One block: what the log writes at the least past the page cache.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// What a flush of many commits together writes.
pub(crate) const LARGE_BYTES: usize = 64 << 10;

/// How the space of a file was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// As the log prepares a segment: zeros, except where the file system copies on write.
    Prepared,
    /// Reserved, not written.
    Reserved,
    /// None: each write makes the file longer.
    Growing,
}

/// What makes a write durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// `fdatasync`.
    Data,
    /// `fsync`.
    All,
    /// The file was opened with `O_DSYNC`.
    WriteThrough,
    /// Nothing does: what the call alone costs.
    Nothing,
    /// No bytes are written: a file gets another name, and the directory is synced.
    Directory,
}

/// One way of making writes durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Its name in JSON, and in the advice.
    pub(crate) name: &'static str,
    /// Its name for a person.
    pub(crate) about: &'static str,
    pub(crate) bytes: usize,
    /// Writers at the same time.
    pub(crate) writers: usize,
    /// Whether they share a file, each with a handle and a stretch of its own, as flushes do.
    pub(crate) one_file: bool,
    /// Past the page cache.
    pub(crate) direct: bool,
    pub(crate) space: Space,
    pub(crate) sync: Sync,
}

impl Way {
    /// The way that it is compared with: write and `fdatasync` of as many bytes.
    pub(crate) const fn baseline(&self) -> &'static str {
        if self.bytes == LARGE_BYTES { DATA_SYNC_64K.name } else { DATA_SYNC.name }
    }

    /// So many writers, with a file each.
    const fn files(name: &'static str, about: &'static str, writers: usize) -> Self {
        Self { name, about, writers, ..DATA_SYNC }
    }

    /// So many writers, each in a stretch of one file.
    const fn in_one_file(name: &'static str, about: &'static str, writers: usize) -> Self {
        Self { name, about, writers, one_file: true, ..DATA_SYNC }
    }

    /// The same, past the page cache.
    const fn direct_in_one_file(name: &'static str, about: &'static str, writers: usize) -> Self {
        Self { name, about, writers, one_file: true, ..DIRECT }
    }

    const fn large(self, name: &'static str) -> Self {
        Self { name, bytes: LARGE_BYTES, ..self }
    }
}

/// What the log does unless it is told otherwise.
const DATA_SYNC: Way = Way {
    name: "data_sync",
    about: "write, fdatasync",
    bytes: BLOCK_BYTES,
    writers: 1,
    one_file: false,
    direct: false,
    space: Space::Prepared,
    sync: Sync::Data,
};
const DATA_SYNC_64K: Way = DATA_SYNC.large("data_sync_64k");

const WRITE_THROUGH: Way =
    Way { name: "write_through", about: "write, O_DSYNC", sync: Sync::WriteThrough, ..DATA_SYNC };
const DIRECT: Way = Way {
    name: "direct_write_through",
    about: "write, O_DIRECT and O_DSYNC",
    direct: true,
    ..WRITE_THROUGH
};
const FULL_SYNC: Way =
    Way { name: "full_sync", about: "write, fsync", sync: Sync::All, ..DATA_SYNC };
const RESERVED: Way = Way {
    name: "reserved",
    about: "write, fdatasync; space only reserved",
    space: Space::Reserved,
    ..DATA_SYNC
};
const GROWING: Way = Way {
    name: "growing",
    about: "write, fdatasync; the file grows",
    space: Space::Growing,
    ..DATA_SYNC
};
const WRITE_ONLY: Way =
    Way { name: "write_only", about: "write, no sync", sync: Sync::Nothing, ..DATA_SYNC };
const DIRECTORY: Way = Way {
    name: "directory_sync",
    about: "rename, fsync of the directory",
    bytes: 0,
    sync: Sync::Directory,
    ..DATA_SYNC
};

/// Most writers at the same time: as many as flushes may be in flight.
pub(crate) const WRITERS_MAX: usize = 8;

/// All ways, the default of the log first.
pub(crate) const WAYS: [Way; 23] = [
    DATA_SYNC,
    DATA_SYNC_64K,
    WRITE_THROUGH,
    WRITE_THROUGH.large("write_through_64k"),
    DIRECT,
    DIRECT.large("direct_write_through_64k"),
    FULL_SYNC,
    FULL_SYNC.large("full_sync_64k"),
    RESERVED,
    RESERVED.large("reserved_64k"),
    GROWING,
    GROWING.large("growing_64k"),
    Way::files("files_2", "write, fdatasync; 2 files at once", 2),
    Way::files("files_4", "write, fdatasync; 4 files at once", 4),
    Way::files("files_8", "write, fdatasync; 8 files at once", 8),
    Way::in_one_file("one_file_2", "write, fdatasync; 2 at once in one file", 2),
    Way::in_one_file("one_file_4", "write, fdatasync; 4 at once in one file", 4),
    Way::in_one_file("one_file_8", "write, fdatasync; 8 at once in one file", 8),
    Way::direct_in_one_file("direct_one_file_2", "write, O_DIRECT and O_DSYNC; 2 in one file", 2),
    Way::direct_in_one_file("direct_one_file_4", "write, O_DIRECT and O_DSYNC; 4 in one file", 4),
    Way::direct_in_one_file("direct_one_file_8", "write, O_DIRECT and O_DSYNC; 8 in one file", 8),
    DIRECTORY,
    WRITE_ONLY,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_have_names_of_their_own() {
        let mut names = WAYS.map(|way| way.name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WAYS.len());
    }

    #[test]
    fn every_way_is_compared_with_one_that_comes_before_it_and_has_as_many_bytes() {
        for (at, way) in WAYS.iter().enumerate() {
            let base = WAYS.iter().position(|it| it.name == way.baseline()).unwrap();
            assert!(base < 2 && base <= at.max(1), "{}", way.name);
            assert!(WAYS[base].bytes == way.bytes || way.sync == Sync::Directory, "{}", way.name);
        }
    }

    #[test]
    fn no_way_has_more_writers_than_there_are_files() {
        assert!(WAYS.iter().all(|way| (1..=WRITERS_MAX).contains(&way.writers)));
    }
}
