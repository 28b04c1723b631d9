//! A decoder with a planted fault: what drives checks has to find it, or finds nothing.

use wal_format::decode_header_at;

use wal_format::Lsn;

use crate::records::START;

/// Believes the length in a header, as long as the header itself is plausible.
pub(crate) fn canary(data: &[u8]) {
    let Some(lsn) = Lsn::new(START) else { return };
    if let Ok(header) = decode_header_at(data, lsn) {
        let body = &data[24..24 + header.body_len as usize];
        assert!(body.len() <= data.len());
    }
}
