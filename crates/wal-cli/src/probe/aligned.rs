//! Memory that a device can take bytes from without a copy.

/// What an address must be a multiple of.
const ALIGN_BYTES: usize = 4096;

/// Bytes whose first one has an aligned address.
#[derive(Debug)]
pub(super) struct Aligned {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Aligned {
    /// So many bytes, not all the same.
    pub(super) fn new(bytes: usize) -> Self {
        let memory: Vec<u8> = (0..bytes + ALIGN_BYTES).map(|at| at as u8).collect();
        let start = memory.as_ptr().align_offset(ALIGN_BYTES);
        Self { memory, start, bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..).and_then(|rest| rest.get(..self.bytes)).unwrap_or_default()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let bytes = self.bytes;
        let rest = self.memory.get_mut(self.start..).unwrap_or_default();
        rest.get_mut(..bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_there_and_start_at_a_whole_address() {
        for bytes in [512, 4096, 65_536] {
            let mut memory = Aligned::new(bytes);
            assert_eq!(memory.bytes().len(), bytes);
            assert_eq!(memory.bytes_mut().len(), bytes);
            assert_eq!(memory.bytes().as_ptr().align_offset(ALIGN_BYTES), 0);
        }
    }
}
