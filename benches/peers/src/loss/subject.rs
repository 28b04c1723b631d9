//! What is asked of a log whose losses are counted, and the bodies it is given.

use std::path::Path;

use wal_bench::Failure;

/// A log, and how it is used.
#[derive(Clone, Copy)]
pub struct Subject {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// The version which `Cargo.lock` holds.
    pub version: &'static str,
    /// Which of its ways to commit is used.
    pub way: &'static str,
    /// Opens it in a directory, new or used, as its users open it to write.
    pub open: fn(&Path) -> Result<Box<dyn Log>, Failure>,
    /// Opens it and hands over every body which its own recovery gives back.
    pub read: fn(&Path) -> Result<Vec<Vec<u8>>, Failure>,
}

/// A log which is open to be written.
pub trait Log {
    /// Returns when the log acknowledges the commit of `body`.
    ///
    /// # Errors
    ///
    /// The log's own.
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure>;

    /// Has the kernel take the record of `body`, and acknowledges nothing.
    ///
    /// # Errors
    ///
    /// The log's own.
    fn begin(&mut self, body: &[u8]) -> Result<(), Failure>;
}

/// Bytes of a body: letters only, for some of these logs hold text.
const BODY_BYTES: usize = 128;

const COMMITTED: &str = "committed-";

/// The body of commit `number`.
pub fn body(number: u64) -> Vec<u8> {
    padded(format!("{COMMITTED}{number:08}-"))
}

/// Which commit `body` is of, if it is whole.
pub fn number(found: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(found).ok()?;
    let number = text.strip_prefix(COMMITTED)?.split('-').next()?.parse().ok()?;
    (body(number) == found).then_some(number)
}

/// The body in the middle of which a process dies; no other holds its text.
pub fn torn_body() -> Vec<u8> {
    padded("never-acknowledged-".to_owned())
}

fn padded(head: String) -> Vec<u8> {
    let letters = ('a'..='z').cycle().take(BODY_BYTES.saturating_sub(head.len()));
    head.chars().chain(letters).map(|letter| letter as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_number_only_when_it_is_whole() {
        assert_eq!(number(&body(17)), Some(17));
        assert_eq!(body(17).len(), torn_body().len());
        let mut damaged = body(17);
        damaged[100] ^= 1;
        assert_eq!(number(&damaged), None);
        assert_eq!(number(&torn_body()), None);
        assert_eq!(number(b""), None);
    }
}
