//! Parts of a list of buffers, for calls that go on where another one stopped.

use std::io::IoSlice;

/// The bytes `start..end` of the concatenation of `bufs`, without copying them.
pub(crate) fn slices_between<'a>(
    bufs: &'a [IoSlice<'_>],
    start: usize,
    end: usize,
) -> Vec<IoSlice<'a>> {
    let mut slices = Vec::with_capacity(bufs.len());
    let mut at = 0_usize;
    for buf in bufs {
        let from = start.saturating_sub(at).min(buf.len());
        let to = end.saturating_sub(at).min(buf.len());
        if let Some(part) = buf.get(from..to).filter(|part| !part.is_empty()) {
            slices.push(IoSlice::new(part));
        }
        at += buf.len();
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_cut_without_copying() {
        let bufs = [b"abc".as_slice(), b"", b"def"].map(IoSlice::new);
        for start in 0..=6 {
            for end in start..=6 {
                let cut: Vec<u8> =
                    slices_between(&bufs, start, end).iter().flat_map(|s| s.to_vec()).collect();
                assert_eq!(cut, b"abcdef"[start..end]);
            }
        }
    }
}
