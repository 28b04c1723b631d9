//! What lies under a directory: file system, mount, device, machine. As far as Linux tells.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wal::FilesystemKind;

/// What figures are of. `None` is what nobody tells.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Place {
    /// As it was given.
    pub(crate) dir: String,
    /// As the log recognises it, which decides how it prepares space.
    pub(crate) file_system: String,
    /// Unit in which the file system gives space away.
    pub(crate) file_system_block_bytes: Option<u64>,
    pub(crate) mount: Option<Mount>,
    pub(crate) device: Option<Device>,
    /// System, release and architecture.
    pub(crate) kernel: String,
    /// Threads which run at a time.
    pub(crate) processors: usize,
    /// Threads which wanted to run in the minute before, on average.
    pub(crate) load_before: Option<f64>,
}

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Mount {
    /// Where it hangs in the tree.
    pub(crate) point: PathBuf,
    /// What is mounted; a device, if it starts with a slash.
    pub(crate) source: String,
    /// The file system's own name.
    pub(crate) kind: String,
    pub(crate) options: String,
    /// Major and minor number.
    pub(crate) device: String,
}

/// What the kernel thinks of a block device.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Device {
    /// `write back`: a sync flushes the device's cache. `write through`: there is none to flush.
    pub(crate) write_cache: Option<String>,
    pub(crate) rotational: Option<bool>,
    pub(crate) logical_block_bytes: Option<u64>,
    pub(crate) physical_block_bytes: Option<u64>,
}

impl Place {
    /// What lies under `dir`, which the log recognises as `file_system`.
    pub(crate) fn of(dir: &Path, file_system: FilesystemKind) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let absolute = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let mount = mount_of(&mounts, &absolute);
        let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = format!("{} {release} {}", std::env::consts::OS, std::env::consts::ARCH);
        Self {
            dir: dir.display().to_string(),
            file_system: file_system.to_string(),
            file_system_block_bytes: block_bytes(&absolute),
            device: mount.as_ref().and_then(Device::of),
            mount,
            kernel: kernel.split_whitespace().collect::<Vec<_>>().join(" "),
            processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            load_before: load(),
        }
    }

    /// In one line.
    pub(crate) fn in_words(&self) -> String {
        let device = self.mount.as_ref().map_or("an unknown device", |mount| &mount.source);
        let cache = self.device.as_ref().and_then(|device| device.write_cache.as_deref());
        let cache = cache.map(|cache| format!(" (cache: {cache})")).unwrap_or_default();
        let block = self.file_system_block_bytes;
        let block = block.map(|bytes| format!(", blocks of {bytes} bytes")).unwrap_or_default();
        let load = self.load_before.map(|load| format!(", load {load:.2} before"));
        let load = load.unwrap_or_default();
        let Self { dir, file_system, kernel, processors, .. } = self;
        format!(
            "{dir}: {file_system} on {device}{cache}{block}; {kernel}, {processors} processors{load}"
        )
    }
}

impl Device {
    /// A partition has no queue of its own: the disk around it has.
    fn of(mount: &Mount) -> Option<Self> {
        let named = || fs::canonicalize(&mount.source).ok()?.file_name().map(PathBuf::from);
        let by_number = PathBuf::from("/sys/dev/block").join(&mount.device);
        // Some file systems have a number that is no device's; their source has a name.
        let by_name = named().map(|name| Path::new("/sys/class/block").join(name));
        let queues = [Some(by_number), by_name].into_iter().flatten().filter_map(|device| {
            let device = fs::canonicalize(device).ok()?;
            let own = device.join("queue");
            if own.is_dir() { Some(own) } else { Some(device.parent()?.join("queue")) }
        });
        let queue = queues.into_iter().find(|queue| queue.is_dir())?;
        let said = |name: &str| read(queue.join(name));
        let number = |name: &str| said(name)?.parse().ok();
        Some(Self {
            write_cache: said("write_cache"),
            rotational: said("rotational").map(|text| text == "1"),
            logical_block_bytes: number("logical_block_size"),
            physical_block_bytes: number("physical_block_size"),
        })
    }
}

fn load() -> Option<f64> {
    read("/proc/loadavg")?.split(' ').next()?.parse().ok()
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(unix)]
fn block_bytes(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|metadata| metadata.blksize())
}

#[cfg(not(unix))]
fn block_bytes(_: &Path) -> Option<u64> {
    None
}

/// The last mount of the longest point that `path` lies below.
fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let below = mountinfo.lines().filter_map(parse).filter(|it| path.starts_with(&it.point));
    // Of equals the last is taken: it hides those before it.
    below.max_by_key(|mount| mount.point.components().count())
}

/// `36 35 98:0 /root /point options [fields…] - kind source options`
fn parse(line: &str) -> Option<Mount> {
    let (first, second) = line.split_once(" - ")?;
    let mut first = first.split(' ').skip(2);
    let device = first.next()?.to_owned();
    let point = PathBuf::from(unescaped(first.nth(1)?));
    let options = first.next()?.to_owned();
    let mut second = second.split(' ');
    let kind = second.next()?.to_owned();
    let source = unescaped(second.next()?);
    Some(Mount { point, source, kind, options, device })
}

/// Blanks and backslashes stand as a backslash and three octal digits.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped {
            Some(escaped) if byte == b'\\' => {
                bytes.push(escaped);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
27 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
28 27 0:30 / /data rw,noatime shared:2 master:1 - tmpfs tmpfs rw
29 27 8:1 / /data rw,nosuid - xfs /dev/sda1 rw
30 27 8:2 / /data/my\\040disk rw - ext4 /dev/sdb\\0401 rw
nonsense
";

    #[test]
    fn the_deepest_mount_counts_and_of_two_at_one_point_the_last() {
        let source = |path: &str| mount_of(MOUNTS, Path::new(path)).unwrap().source;
        assert_eq!(source("/var/log"), "/dev/vda");
        assert_eq!(source("/data/log"), "/dev/sda1");
        assert_eq!(source("/database"), "/dev/vda", "a name that begins alike lies elsewhere");
        assert_eq!(source("/data/my disk/log"), "/dev/sdb 1");
        assert!(mount_of("", Path::new("/")).is_none());
    }

    #[test]
    fn a_mount_has_its_fields_wherever_the_optional_ones_end() {
        let mount = mount_of(MOUNTS, Path::new("/data")).unwrap();
        assert_eq!((mount.kind.as_str(), mount.options.as_str()), ("xfs", "rw,nosuid"));
        assert_eq!(mount.device, "8:1");
    }

    #[test]
    fn a_backslash_which_begins_no_number_stays() {
        assert_eq!(unescaped(r"a\040b\134c\x\04"), r"a b\c\x\04");
    }

    #[test]
    fn a_place_is_told_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(dir.path(), FilesystemKind::Xfs);
        let words = place.in_words();
        assert!(words.contains("XFS on ") && words.contains("processors"), "{words}");
        assert!(!words.contains('\n'));
    }
}
