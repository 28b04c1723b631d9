//! Which savepoints and nested top actions of a transaction still count.
//!
//! Each gets a number. A rollback voids the numbers behind the one it goes back to, so that nobody
//! goes back to what is not there any more. Pure. Two numbers are kept for each rollback, and for
//! each nested top action that a savepoint parts from the one before it.

/// Numbers given out, and those which are void.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    last: u64,
    /// Void numbers, first and last of each run; runs ascend.
    void: Vec<(u64, u64)>,
}

impl Marks {
    /// The next number.
    pub(super) const fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Voids all numbers behind `serial`.
    pub(super) fn void_after(&mut self, serial: u64) {
        self.void_from(serial + 1);
    }

    /// Voids `serial` and all numbers behind it.
    pub(super) fn void_from(&mut self, serial: u64) {
        while self.void.last().is_some_and(|(first, _)| *first >= serial) {
            self.void.pop();
        }
        match self.void.last_mut() {
            _ if serial > self.last => {}
            Some((_, last)) if *last + 1 >= serial => *last = self.last,
            _ => self.void.push((serial, self.last)),
        }
    }

    /// Whether `serial` still counts.
    pub(super) fn is_valid(&self, serial: u64) -> bool {
        // Asked at the end of each nested top action: a transaction may have had many.
        let behind = self.void.partition_point(|(first, _)| *first <= serial);
        let run = behind.checked_sub(1).and_then(|last| self.void.get(last));
        serial <= self.last && run.is_none_or(|(_, last)| *last < serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_voids_what_came_after_its_savepoint_and_nothing_that_comes_later() {
        let mut marks = Marks::default();
        let (first, second, third) = (marks.next(), marks.next(), marks.next());
        marks.void_after(first);
        let fourth = marks.next();
        assert!(marks.is_valid(first) && marks.is_valid(fourth));
        assert!(!marks.is_valid(second) && !marks.is_valid(third));
        assert!(!marks.is_valid(fourth + 1), "never given out");
    }

    #[test]
    fn every_number_among_many_runs_is_told_apart() {
        let mut marks = Marks::default();
        for _ in 0..100 {
            let (savepoint, nested) = (marks.next(), marks.next());
            marks.void_from(nested);
            assert!(marks.is_valid(savepoint) && !marks.is_valid(nested));
        }
        assert_eq!(marks.void.len(), 100);
        assert!((1..=200).all(|serial| marks.is_valid(serial) == (serial % 2 == 1)));
    }

    #[test]
    fn a_loop_over_one_savepoint_keeps_one_run() {
        let mut marks = Marks::default();
        let outer = marks.next();
        for _ in 0..1_000 {
            let inner = marks.next();
            marks.void_after(outer);
            assert!(!marks.is_valid(inner));
        }
        assert_eq!(marks.void.len(), 1);
        assert!(marks.is_valid(outer));
    }
}
