//! Bugs in the backend for io_uring, and where a write and its sync become one call.

use super::bug::{Edit, Finder, Mutant};

const APPENDER: &str = "crates/wal-io/src/store/appender.rs";
const KERNEL: &str = "crates/wal-uring/src/kernel.rs";

const fn store_test(name: &'static str) -> Finder {
    Finder::Test { package: "wal-io", target: "", name }
}

const fn ring_test(name: &'static str) -> Finder {
    Finder::Test { package: "wal-uring", target: "", name }
}

pub(super) static BUGS: &[Mutant] = &[
    Mutant {
        found_by: ring_test("file::tests::memory_left_in_the_kernel_by_a_panic"),
        name: "lane-lent-while-the-kernel-reads",
        about: "a lane goes back to the others while the kernel may still read its memory",
        edits: &[Edit {
            file: "crates/wal-uring/src/lanes.rs",
            find: "if kernel.memory().is_some() {",
            replace: "if kernel.memory().is_some() || true {",
        }],
    },
    Mutant {
        found_by: ring_test("ring::tests::memory_is_out_of_reach"),
        name: "buffer-reused-while-the-kernel-reads",
        about: "a ring gives its memory away with an order under way; needs io_uring to be found",
        edits: &[Edit {
            file: "crates/wal-uring/src/ring.rs",
            find: "if self.owed != 0 || self.stuck {",
            replace: "if self.stuck {",
        }],
    },
    Mutant {
        found_by: ring_test("kernel::tests::a_short_write_that_broke_the_link"),
        name: "short-link-taken-for-durable",
        about: "a short write whose link broke counts as durable, though no sync was tried",
        edits: &[Edit {
            file: KERNEL,
            find: "if bytes < order.bytes => {\n                Ok(Outcome::Written(bytes))",
            replace: "if bytes < order.bytes => {\n                Ok(Outcome::Durable(bytes))",
        }],
    },
    Mutant {
        found_by: ring_test("file::tests::a_failed_linked_sync_is_final"),
        name: "linked-sync-retried",
        about: "a linked sync that failed is tried again, as if it had not been tried",
        edits: &[Edit {
            file: KERNEL,
            find: "Err(failure(\"the sync\", sync))",
            replace: "Ok(Outcome::Written(bytes))",
        }],
    },
    Mutant {
        found_by: store_test("store::tests::joining::bytes_that_wait_for_a_sync"),
        name: "joined-over-unsynced",
        about: "a joined call is made beside bytes that wait for a sync, and never get one",
        edits: &[Edit {
            file: APPENDER,
            find: "            && !self.current.unsynced\n",
            replace: "",
        }],
    },
    Mutant {
        found_by: store_test("store::tests::joining::a_segment_left_behind"),
        name: "joined-before-the-segment-left",
        about: "a joined call passes over the unsynced end of the segment before",
        edits: &[Edit {
            file: APPENDER,
            find: "&& !self.current.unsynced\n            && self.left.is_empty()",
            replace: "",
        }],
    },
];
