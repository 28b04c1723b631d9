//! Which file system a directory lies on: whether its promises can be taken at their word.
//!
//! Only names and properties. Whom to warn is decided above; how much to write ahead is decided
//! by `space`.

use std::fmt;

/// The file system under a log.
///
/// Told apart because they differ in what a sync is worth, and in whether writing zeros ahead
/// makes later syncs cheaper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FilesystemKind {
    /// ext2, ext3 or ext4: they share one number.
    Ext,
    /// XFS.
    Xfs,
    /// F2FS, for flash.
    F2fs,
    /// Btrfs: copies on write.
    Btrfs,
    /// ZFS: copies on write.
    Zfs,
    /// Bcachefs: copies on write.
    Bcachefs,
    /// Overlay: the layer below decides what a sync is worth.
    Overlay,
    /// Memory: nothing survives a restart.
    Tmpfs,
    /// Memory, without a limit: nothing survives a restart.
    Ramfs,
    /// NFS.
    Nfs,
    /// SMB or CIFS.
    Smb,
    /// Ceph.
    Ceph,
    /// AFS.
    Afs,
    /// Lustre.
    Lustre,
    /// 9P: usually a directory of the host of a virtual machine.
    NineP,
    /// A file system in user space, or virtiofs: its server decides what a sync is worth.
    Fuse,
    /// One with this number in `statfs`, not known here.
    Other(u64),
    /// The platform was not asked.
    Unknown,
}

impl FilesystemKind {
    /// Whether everything is lost when the machine restarts.
    #[must_use]
    pub fn is_volatile(self) -> bool {
        matches!(self, Self::Tmpfs | Self::Ramfs)
    }

    /// Whether another machine keeps the bytes, so that locks and syncs are that machine's word.
    #[must_use]
    pub fn is_network(self) -> bool {
        matches!(self, Self::Nfs | Self::Smb | Self::Ceph | Self::Afs | Self::Lustre | Self::NineP)
    }

    /// Whether overwriting allocates anew, so that zeros written ahead buy nothing.
    #[must_use]
    pub fn copies_on_write(self) -> bool {
        matches!(self, Self::Btrfs | Self::Zfs | Self::Bcachefs)
    }

    /// The kind with the number `magic` in `statfs`.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    fn from_magic(magic: u64) -> Self {
        // The numbers of linux/magic.h, and of the modules outside the kernel's tree.
        match magic {
            0xEF53 => Self::Ext,
            0x5846_5342 => Self::Xfs,
            0xF2F5_2010 => Self::F2fs,
            0x9123_683E => Self::Btrfs,
            0x2FC1_2FC1 => Self::Zfs,
            0xCA45_1A4E => Self::Bcachefs,
            0x794C_7630 => Self::Overlay,
            0x0102_1994 => Self::Tmpfs,
            0x8584_58F6 => Self::Ramfs,
            0x6969 => Self::Nfs,
            0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Self::Smb,
            0x00C3_6400 => Self::Ceph,
            0x5346_414F | 0x6B41_4653 => Self::Afs,
            0x0BD0_0BD0 => Self::Lustre,
            0x0102_1997 => Self::NineP,
            0x6573_5546 => Self::Fuse,
            other => Self::Other(other),
        }
    }

    /// The file system which holds the open `file`; `Unknown` where the platform cannot be asked.
    ///
    /// Cost: one system call.
    pub(super) fn of(file: &std::fs::File) -> Self {
        #[cfg(target_os = "linux")]
        {
            // The field is signed on some architectures and narrower on others: the low 32 bits
            // hold every number there is.
            rustix::fs::fstatfs(file)
                .map_or(Self::Unknown, |stat| Self::from_magic(stat.f_type as u64 & 0xFFFF_FFFF))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = file;
            Self::Unknown
        }
    }
}

impl fmt::Display for FilesystemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext => "ext4",
            Self::Xfs => "XFS",
            Self::F2fs => "F2FS",
            Self::Btrfs => "Btrfs",
            Self::Zfs => "ZFS",
            Self::Bcachefs => "bcachefs",
            Self::Overlay => "overlayfs",
            Self::Tmpfs => "tmpfs",
            Self::Ramfs => "ramfs",
            Self::Nfs => "NFS",
            Self::Smb => "SMB",
            Self::Ceph => "Ceph",
            Self::Afs => "AFS",
            Self::Lustre => "Lustre",
            Self::NineP => "9P",
            Self::Fuse => "FUSE",
            Self::Other(magic) => return write!(f, "file system 0x{magic:x}"),
            Self::Unknown => "an unknown file system",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_file_systems_are_volatile_and_disks_are_not() {
        assert!(FilesystemKind::from_magic(0x0102_1994).is_volatile());
        assert!(FilesystemKind::from_magic(0x8584_58F6).is_volatile());
        assert!(!FilesystemKind::from_magic(0xEF53).is_volatile());
        assert!(!FilesystemKind::Unknown.is_volatile());
    }

    #[test]
    fn network_file_systems_are_told_apart() {
        for magic in [0x6969, 0xFF53_4D42, 0xFE53_4D42, 0x00C3_6400, 0x0102_1997] {
            assert!(FilesystemKind::from_magic(magic).is_network(), "0x{magic:x}");
        }
        assert!(!FilesystemKind::from_magic(0x5846_5342).is_network());
    }

    #[test]
    fn an_unknown_number_is_kept_and_printed() {
        let kind = FilesystemKind::from_magic(0x1234);
        assert_eq!(kind, FilesystemKind::Other(0x1234));
        assert_eq!(kind.to_string(), "file system 0x1234");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn shared_memory_is_recognised_as_tmpfs() {
        let Ok(dir) = std::fs::File::open("/dev/shm") else {
            eprintln!("SKIPPED: this machine has no /dev/shm");
            return;
        };
        assert_eq!(FilesystemKind::of(&dir), FilesystemKind::Tmpfs);
    }
}
