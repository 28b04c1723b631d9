//! Payloads of an engine's type, through the codec that comes with the format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wal_format::payload::{Bincode, PayloadCodec};

/// Everything that claims a length, nested.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Payload<'a> {
    Unit,
    Text(&'a str),
    Owned { name: String, numbers: Vec<u64>, flag: bool, letter: char },
    Nested(Vec<Vec<Option<Payload<'a>>>>),
    Map(BTreeMap<u16, Vec<String>>),
    Wide(Vec<[u64; 16]>),
}

/// Bytes are a payload or an error, within the limit; a payload has one form. Depth is bounded by
/// the cut: a type that holds itself recurses once for each few bytes.
pub(crate) fn payload(data: &[u8]) {
    let data = &data[..data.len().min(2048)];
    let codec = Bincode::new(1024);
    match codec.decode::<Payload<'_>>(data) {
        Ok(payload) => {
            assert!(data.len() <= codec.limit_bytes(), "longer than the limit");
            let again = codec.encode(&payload).expect("what was decoded encodes");
            assert_eq!(codec.decode::<Payload<'_>>(&again).expect("twice"), payload);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = codec.decode::<Vec<u8>>(data);
    let _ = codec.decode::<(u64, String, Option<Vec<u32>>)>(data);
}
