//! Which logs belong together: a small checksummed file in the root, written once.
//!
//! ```text
//! 0 magic `WALPARTS` | 8 version u32 | 12 bytes u32, all of it | 16 root id, 16 bytes | 32 count u32
//! | 36 per partition: log id, 16 bytes; length of its name, u8; the name | CRC-32C of all before
//! ```
//!
//! It never changes: no write of it can be torn under a running set of partitions. What follows it,
//! up to a block, is zero.

use std::io::{self, IoSlice};

use wal::{Access, IoError, IoOp, LogFile, LogId, Storage};

use crate::error::Error;
use crate::id::PARTITIONS_MAX;

/// Name of the file.
pub(crate) const FILE: &str = "partitions";
const FILE_IN_THE_MAKING: &str = "partitions.tmp";

const MAGIC: &[u8; 8] = b"WALPARTS";
const VERSION: u32 = 1;
const FIXED_BYTES: usize = 36;
const NAME_BYTES_MAX: usize = 64;
const FILE_BYTES_MAX: u64 = (FIXED_BYTES + PARTITIONS_MAX * (17 + NAME_BYTES_MAX) + 4096) as u64;

/// The logs of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Identity of the set.
    pub(crate) root: [u8; 16],
    /// Name and log of each partition, in their order.
    pub(crate) partitions: Vec<(String, LogId)>,
}

/// Refuses names and numbers of partitions that cannot be.
pub(crate) fn check_names(names: &[String]) -> Result<(), Error> {
    if names.is_empty() || names.len() > PARTITIONS_MAX {
        let count = names.len();
        return Err(Error::refused(format!("{count} partitions: 1 to {PARTITIONS_MAX} can be")));
    }
    for (at, name) in names.iter().enumerate() {
        if !is_name(name.as_bytes()) {
            return Err(Error::refused(format!(
                "`{name}` is no name of a partition: 1 to {NAME_BYTES_MAX} of a-z, 0-9, - and _"
            )));
        }
        if names.iter().take(at).any(|before| before == name) {
            return Err(Error::refused(format!("two partitions are called `{name}`")));
        }
    }
    Ok(())
}

fn is_name(name: &[u8]) -> bool {
    let plain =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(plain)
}

impl Manifest {
    /// The names, for people.
    pub(crate) fn names(&self) -> Vec<String> {
        self.partitions.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.root);
        bytes.extend(u32::try_from(self.partitions.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (name, log) in &self.partitions {
            bytes.extend(log.as_bytes());
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend(name.as_bytes());
        }
        let total = u32::try_from(bytes.len() + 4).unwrap_or(u32::MAX);
        bytes[12..16].copy_from_slice(&total.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// The manifest in `file`, or what is wrong with it.
    pub(crate) fn decode(file: &[u8]) -> Result<Self, &'static str> {
        let fixed = file.first_chunk::<FIXED_BYTES>().ok_or("it is too short")?;
        if fixed[..8] != MAGIC[..] {
            return Err("it is something else");
        }
        let number = |at: usize| {
            let bytes = fixed.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>());
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        if number(8) != VERSION {
            return Err("a newer version of this library wrote it");
        }
        let total = usize::try_from(number(12)).map_err(|_| "its length is impossible")?;
        let (body, checksum) =
            file.get(..total).and_then(<[u8]>::split_last_chunk::<4>).ok_or("it is cut short")?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
            return Err("its checksum does not match");
        }
        let mut root = [0; 16];
        root.copy_from_slice(&fixed[16..32]);
        let mut rest = body.get(FIXED_BYTES..).ok_or("it is cut short")?;
        let mut partitions = Vec::new();
        while let Some((log, after)) = rest.split_first_chunk::<16>() {
            let (length, after) = after.split_first().ok_or("a name is cut short")?;
            let (name, after) =
                after.split_at_checked(usize::from(*length)).ok_or("a name is cut short")?;
            if !is_name(name) {
                return Err("a name is none");
            }
            partitions.push((String::from_utf8_lossy(name).into_owned(), LogId::from_bytes(*log)));
            rest = after;
        }
        if !rest.is_empty() || partitions.len() != number(32) as usize || partitions.is_empty() {
            return Err("its partitions are not as many as it says");
        }
        Ok(Self { root, partitions })
    }

    /// Reads the manifest; `None` when there is none.
    pub(crate) fn read(root: &dyn Storage) -> Result<Option<Self>, Error> {
        let failed = |op, source| Error::root(IoError::failed(op, FILE, source));
        let files = root.list().map_err(|source| failed(IoOp::List, source))?;
        let Some(entry) = files.iter().find(|entry| entry.name == FILE) else {
            return Ok(None);
        };
        let wrong = |what| Error::Manifest { place: root.place(), what };
        if entry.len > FILE_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let file = root.open(FILE, Access::Read).map_err(|source| failed(IoOp::Open, source))?;
        let mut bytes = vec![0; usize::try_from(entry.len).unwrap_or(0)];
        read_all(file.as_ref(), &mut bytes).map_err(|source| failed(IoOp::Read, source))?;
        Self::decode(&bytes).map(Some).map_err(wrong)
    }

    /// Writes the manifest, which was not there before: durable when it returns.
    pub(crate) fn write(&self, root: &dyn Storage) -> Result<(), Error> {
        let failed = |op, source| Error::root(IoError::failed(op, FILE, source));
        match root.remove(FILE_IN_THE_MAKING) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(failed(IoOp::Remove, source));
            }
            _ => {}
        }
        let file =
            root.create(FILE_IN_THE_MAKING, 0).map_err(|source| failed(IoOp::Create, source))?;
        let mut bytes = self.encode();
        bytes.resize(bytes.len().next_multiple_of(file.block_bytes().max(1)), 0);
        write_all(file.as_ref(), &bytes).map_err(|source| failed(IoOp::Write, source))?;
        file.sync_all().map_err(|source| failed(IoOp::Sync, source))?;
        root.rename(FILE_IN_THE_MAKING, FILE).map_err(|source| failed(IoOp::Rename, source))?;
        root.sync_dir().map_err(|source| failed(IoOp::SyncDir, source))
    }
}

fn read_all(file: &dyn LogFile, bytes: &mut [u8]) -> io::Result<()> {
    let mut at = 0;
    while let Some(left) = bytes.get_mut(at..).filter(|left| !left.is_empty()) {
        match file.read_at(left, at as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_all(file: &dyn LogFile, bytes: &[u8]) -> io::Result<()> {
    let mut at = 0;
    while let Some(left) = bytes.get(at..).filter(|left| !left.is_empty()) {
        match file.write_at(&[IoSlice::new(left)], at as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wal::MemoryStorage;

    use super::*;

    fn manifest() -> Manifest {
        let partitions = (0..3).map(|at| (format!("p{at}"), LogId::from_bytes([at; 16]))).collect();
        Manifest { root: [9; 16], partitions }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_written_and_no_manifest_is_none() {
        let root = MemoryStorage::new();
        assert_eq!(Manifest::read(&root).unwrap(), None);
        manifest().write(&root).unwrap();
        assert_eq!(Manifest::read(&root).unwrap(), Some(manifest()));
        let names: Vec<String> = root.list().unwrap().into_iter().map(|file| file.name).collect();
        assert_eq!(names, [FILE]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let sound = manifest().encode();
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&bytes).is_err(), "bit {bit}");
        }
        for len in 0..sound.len() {
            assert!(Manifest::decode(&sound[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let refused = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            check_names(&names).unwrap_err().to_string()
        };
        assert!(refused(&[]).contains("0 partitions"));
        assert!(refused(&["a", "a"]).contains("two partitions"));
        for name in ["", "../a", "A", "a b"] {
            assert!(refused(&[name]).contains("is no name"), "{name}");
        }
    }
}
