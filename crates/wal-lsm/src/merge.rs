//! Several sorted sources as one: of equal keys the one from the newest source counts.

use std::iter::Peekable;

use crate::entry::Entry;
use crate::error::LsmError;

/// A sorted source.
pub(crate) type Source<'a> = Box<dyn Iterator<Item = Result<Entry, LsmError>> + 'a>;

/// Merges sources, the newest first. Deleted keys are among what comes out.
pub(crate) struct Merge<'a> {
    sources: Vec<Peekable<Source<'a>>>,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(newest_first: Vec<Source<'a>>) -> Self {
        Self { sources: newest_first.into_iter().map(Iterator::peekable).collect() }
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Entry, LsmError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut lowest: Option<Vec<u8>> = None;
        for source in &mut self.sources {
            match source.peek() {
                Some(Ok((key, _))) if lowest.as_ref().is_none_or(|lowest| key < lowest) => {
                    lowest = Some(key.clone());
                }
                Some(Err(_)) => return source.next(),
                _ => {}
            }
        }
        let lowest = lowest?;
        let mut newest = None;
        for source in &mut self.sources {
            let same = source.next_if(|entry| matches!(entry, Ok((key, _)) if *key == lowest));
            newest = newest.or(same);
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(entries: &[(&str, Option<&str>)]) -> Source<'static> {
        let owned = |text: &str| text.as_bytes().to_vec();
        let entries: Vec<Entry> =
            entries.iter().map(|(key, value)| (owned(key), value.map(owned))).collect();
        Box::new(entries.into_iter().map(Ok))
    }

    #[test]
    fn the_newest_of_equal_keys_counts_and_all_come_in_order() {
        let newest = source(&[("b", None), ("d", Some("4"))]);
        let oldest = source(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
        let merged: Vec<Entry> = Merge::new(vec![newest, oldest]).map(Result::unwrap).collect();
        let keys: Vec<&[u8]> = merged.iter().map(|(key, _)| key.as_slice()).collect();
        assert_eq!(keys, [b"a", b"b", b"c", b"d"]);
        assert_eq!(merged[1].1, None);
    }

    #[test]
    fn an_error_of_any_source_comes_out() {
        let broken: Source<'_> = Box::new(std::iter::once(Err(LsmError::Foreign { what: "x" })));
        let mut merge = Merge::new(vec![source(&[("a", None)]), broken]);
        assert!(merge.any(|entry| entry.is_err()));
    }
}
