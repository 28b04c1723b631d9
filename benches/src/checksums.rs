//! CRC-32C, bare.

/// A checksum of some bytes, and those that follow them.
pub(crate) type Checksum = fn(u32, &[u8]) -> u32;

/// By the crate that is the quicker one for as many bytes, by the log's own choice of the two.
pub(crate) fn quicker(sum: u32, bytes: &[u8]) -> u32 {
    wal_format::crc32c_append(sum, bytes)
}

/// By the crate `crc32c` at any length: the processor's own instruction, of eight bytes at a time.
pub(crate) fn by_crc32c(sum: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(sum, bytes)
}
