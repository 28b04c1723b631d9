//! A block: a payload with a checksum that knows the file and the offset it belongs to.
//!
//! ```text
//! CRC-32C u32 | payload length u32 | payload | zeros up to a multiple of 4,096
//! ```
//!
//! The checksum begins with the number of the table and the offset of the block, so that a block
//! which a device put somewhere else fails it. Blocks are padded so that any backend takes them.

use std::io::IoSlice;

use wal_io::{LogFile, read_full_at, write_full_at};

use crate::error::LsmError;

/// Blocks begin and end at multiples of this many bytes.
pub(crate) const ALIGN_BYTES: usize = 4096;
const HEAD_BYTES: usize = 8;

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of its table.
    pub(crate) table: u64,
    pub(crate) offset: u64,
    /// Length with its padding.
    pub(crate) bytes: u32,
}

/// The file of a table.
pub(crate) fn file_name(table: u64) -> String {
    format!("{table:08}.table")
}

fn checksum(table: u64, offset: u64, sealed: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&table.to_le_bytes()), &offset.to_le_bytes());
    crc32c::crc32c_append(place, sealed)
}

/// Writes `payload` as the block at `offset`; not synced.
///
/// # Errors
///
/// [`LsmError::Io`]: give the file up.
pub(crate) fn write(
    file: &dyn LogFile,
    table: u64,
    offset: u64,
    payload: &[u8],
) -> Result<Place, LsmError> {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut sealed = vec![0; HEAD_BYTES - 4];
    sealed.copy_from_slice(&len.to_le_bytes());
    sealed.extend_from_slice(payload);
    let head = checksum(table, offset, &sealed).to_le_bytes();
    sealed.splice(0..0, head);
    sealed.resize(sealed.len().next_multiple_of(ALIGN_BYTES), 0);
    write_full_at(file, &file_name(table), &[IoSlice::new(&sealed)], offset)?;
    let bytes = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
    Ok(Place { table, offset, bytes })
}

/// The payload of the block at `place`.
///
/// # Errors
///
/// [`LsmError::Io`], or [`LsmError::Damaged`].
pub(crate) fn read(file: &dyn LogFile, place: Place) -> Result<Vec<u8>, LsmError> {
    let Place { table, offset, bytes } = place;
    let damaged = |what| LsmError::Damaged { file: file_name(table), offset, what };
    let mut block = vec![0; bytes as usize];
    let count = read_full_at(file, &file_name(table), &mut block, offset)?;
    block.truncate(count);
    let (head, sealed) = block.split_first_chunk::<4>().ok_or(damaged("the file ends here"))?;
    let (len, rest) = sealed.split_first_chunk::<4>().ok_or(damaged("the file ends here"))?;
    let len = u32::from_le_bytes(*len) as usize;
    let payload = rest.get(..len).ok_or(damaged("a length that is none"))?;
    let sealed = sealed.get(..len + 4).ok_or(damaged("a length that is none"))?;
    if checksum(table, offset, sealed) != u32::from_le_bytes(*head) {
        return Err(damaged("the checksum does not fit"));
    }
    Ok(payload.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_io::Storage;
    use wal_io::backend::MemoryStorage;

    fn file() -> Box<dyn LogFile> {
        MemoryStorage::new().create("x", 0).unwrap()
    }

    #[test]
    fn a_block_comes_back_and_every_flipped_byte_of_it_shows() {
        let file = file();
        let place = write(file.as_ref(), 7, 4096, b"payload").unwrap();
        assert_eq!(read(file.as_ref(), place).unwrap(), b"payload");
        for at in 0..(8 + b"payload".len()) as u64 {
            let mut byte = [0];
            file.read_at(&mut byte, 4096 + at).unwrap();
            file.write_at(&[IoSlice::new(&[byte[0] ^ 1])], 4096 + at).unwrap();
            assert!(read(file.as_ref(), place).is_err(), "byte {at}");
            file.write_at(&[IoSlice::new(&byte)], 4096 + at).unwrap();
        }
    }

    #[test]
    fn a_block_of_another_table_or_offset_fails_its_checksum() {
        let file = file();
        let place = write(file.as_ref(), 7, 0, b"payload").unwrap();
        assert!(read(file.as_ref(), Place { table: 8, ..place }).is_err());
        let mut block = vec![0; place.bytes as usize];
        file.read_at(&mut block, 0).unwrap();
        file.write_at(&[IoSlice::new(&block)], 4096).unwrap();
        assert!(read(file.as_ref(), Place { offset: 4096, ..place }).is_err());
    }

    #[test]
    fn a_block_larger_than_the_padding_comes_back_and_a_cut_one_is_told() {
        let file = file();
        let place = write(file.as_ref(), 1, 0, &[5; 9000]).unwrap();
        assert_eq!(place.bytes, 12_288);
        assert_eq!(read(file.as_ref(), place).unwrap(), [5; 9000]);
        file.set_len(6000).unwrap();
        assert!(matches!(read(file.as_ref(), place), Err(LsmError::Damaged { .. })));
    }
}
