//! Bodies that are appended in batches.

use crate::peer::{Committer, Failure};

/// Records of a batch: a small part of what the logs that take them hold.
const BATCH: usize = 256;

/// What a thread appends with, a batch at a time, by `append`; its bodies are all the same.
pub struct Batches<F: FnMut(&[&[u8]]) -> Result<(), Failure> + Send> {
    append: F,
    body: Vec<u8>,
    waiting: usize,
}

impl<F: FnMut(&[&[u8]]) -> Result<(), Failure> + Send> Batches<F> {
    /// Hands batches to `append`.
    pub const fn new(append: F) -> Self {
        Self { append, body: Vec::new(), waiting: 0 }
    }

    fn append(&mut self) -> Result<(), Failure> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting == 0 { Ok(()) } else { (self.append)(&vec![self.body.as_slice(); waiting]) }
    }
}

impl<F: FnMut(&[&[u8]]) -> Result<(), Failure> + Send> Committer for Batches<F> {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        if self.body != body {
            self.append()?;
            self.body = body.to_vec();
        }
        self.waiting += 1;
        if self.waiting >= BATCH { self.append() } else { Ok(()) }
    }
}

impl<F: FnMut(&[&[u8]]) -> Result<(), Failure> + Send> Drop for Batches<F> {
    fn drop(&mut self) {
        // What was not taken is missing when all is read back.
        let _ = self.append();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_is_handed_on_once() {
        let mut batches = Vec::new();
        let mut committer = Batches::new(|bodies: &[&[u8]]| {
            batches.push((bodies.len(), bodies[0].to_vec()));
            Ok(())
        });
        (0..300).for_each(|_| committer.commit(b"one").unwrap());
        committer.commit(b"other").unwrap();
        drop(committer);
        let expected = [(256, b"one".to_vec()), (44, b"one".to_vec()), (1, b"other".to_vec())];
        assert_eq!(batches, expected);
    }
}
