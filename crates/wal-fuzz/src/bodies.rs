//! Bodies of every kind, and compressed bodies.

use wal_format::RecordKind;
use wal_format::body::Body;
use wal_format::compress::{compress_body, decompress_into, raw_bytes};

/// The first byte is the kind, the rest its body; every kind sees every body too.
pub(crate) fn body(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let kinds = RecordKind::new(*first).into_iter().chain(RecordKind::FORMAT_KINDS.iter().copied());
    for kind in kinds {
        let Ok(Some(decoded)) = Body::decode(kind, body) else { continue };
        lies_within(&decoded, body);
    }
}

/// What a body of variable length holds is made of its own bytes, and no more of them.
fn lies_within(decoded: &Body<'_>, body: &[u8]) {
    let total = |parts: &[&[u8]]| {
        assert!(parts.iter().map(|part| part.len()).sum::<usize>() <= body.len());
    };
    match decoded {
        Body::Opened(opened) => assert!(opened.encode()[..] == *body),
        Body::Begin(begin) => assert!(begin.encode()[..] == *body),
        Body::Commit(commit) => assert!(commit.encode()[..] == *body),
        Body::CheckpointBegin(begin) => assert!(begin.encode()[..] == *body),
        Body::PageFree(free) => assert!(free.encode()[..] == *body),
        Body::End(end) => assert!(end.encode()[..] == *body),
        Body::Update(update) => assert!(update.parts(&update.encode_head()).concat() == *body),
        Body::Logical(logical) => assert!(logical.parts(&logical.encode_head()).concat() == *body),
        Body::Clr(clr) => assert!(clr.parts(&clr.encode_head()).concat() == *body),
        Body::CheckpointEnd(end) => assert!(end.parts(&end.encode_head()).concat() == *body),
        Body::Prepare(prepare) => total(&[prepare.global_id, prepare.locks]),
        Body::PageImage(image) => total(&[image.image]),
        Body::CheckpointPart(part) => {
            let entries = part.txns().count() + part.dirty_pages().count();
            assert!(entries * 8 <= body.len(), "more entries than bytes for them");
        }
        _ => {}
    }
}

/// What does not decompress is refused within bounds; what was compressed comes back.
pub(crate) fn compressed(data: &[u8]) {
    if let Ok(raw) = raw_bytes(data) {
        assert!(raw <= data.len() * 255, "room on the word of a few bytes");
        if raw <= 1 << 24 {
            let mut out = vec![0xee; raw + 16];
            let decompressed = decompress_into(data, &mut out);
            assert!(decompressed.is_err() || decompressed == Ok(raw));
            assert_eq!(out[raw..], [0xee; 16], "written beyond the stated length");
            assert!(decompress_into(data, &mut vec![0; raw - 1]).is_err());
        }
    }
    let mut stored = vec![1, 2, 3];
    if compress_body(data, 0, &mut stored) {
        assert!(stored.len() - 3 < data.len());
        let mut out = vec![0; data.len()];
        assert_eq!(decompress_into(&stored[3..], &mut out), Ok(data.len()));
        assert!(out == data, "another body came back");
    }
    assert_eq!(stored[..3], [1, 2, 3]);
}
