//! Bugs in segments made ahead: how long they are, how they are filled, and what they are promised to.

use super::bug::{Edit, Finder, Mutant};

pub(super) static BUGS: &[Mutant] = &[
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::growing::beside_commits",
        },
        name: "zeros-over-the-header",
        about: "a segment is filled with zeros from its first byte, after its header was written",
        edits: &[Edit {
            file: "crates/wal-io/src/store/gradual.rs",
            find: "let mut at = HEADER_BYTES;",
            replace: "let mut at = 0;",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::growing::r16_on_a_full_disk",
        },
        name: "short-segment-refused-held-space",
        about: "on a full disk the next segment, which would be short, is not made in the space that \
                is held back for it",
        edits: &[Edit {
            file: "crates/wal-io/src/store/prepare.rs",
            find: "if wish.or_normal { normal } else { wish.capacity_bytes }",
            replace: "if wish.or_normal { wish.capacity_bytes.min(normal) } else { wish.capacity_bytes }",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "",
            name: "earmark::tests::a_short_successor_counts_for_nothing",
        },
        name: "short-successor-promised",
        about: "a successor counts for what is promised although a normal one, which is held back for \
                that, may take its place",
        edits: &[Edit {
            file: "crates/wal-commit/src/earmark.rs",
            find: "if bytes < self.segment_bytes { 0 } else",
            replace: "if bytes == 0 { 0 } else",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::growing::r12_nobody_rests",
        },
        name: "rests-while-the-log-fills-up",
        about: "the next segment is filled at leisure although the log is about to need it",
        edits: &[Edit {
            file: "crates/wal-io/src/store/gradual.rs",
            find: "u128::from(filled) * way < gone * u128::from(bytes)",
            replace: "u128::from(filled) * way < gone / u128::from(bytes)",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::growing::r15_behind_a_close",
        },
        name: "unfinished-file-removed-behind-a-close",
        about: "the file of a segment that is being filled is removed after the directory was given \
                back, where another process may be making one of the same name",
        edits: &[Edit {
            file: "crates/wal-io/src/store/gradual.rs",
            find: "if !work.closed {",
            replace: "if work.closed || !work.closed {",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::growing::r12_whoever_waits",
        },
        name: "hurry-unheard-while-late",
        about: "a segment whose zeros are late is filled to its end, a sync a piece, although appends wait for it",
        edits: &[Edit {
            file: "crates/wal-io/src/store/gradual.rs",
            find: "return rest(Duration::ZERO);",
            replace: "return Rested::Over;",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::growing::r12_whoever_waits",
        },
        name: "zeros-before-whoever-waits",
        about: "an append that waits for the next segment waits for all of its zeros",
        edits: &[Edit {
            file: "crates/wal-io/src/store/gradual.rs",
            find: "Rested::Hurry => break,",
            replace: "Rested::Hurry => {}",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::growing::r12_what_is_not_filled",
        },
        name: "lost-race-run-to-its-end",
        about: "the next segment is filled on although the log will need it before it can be finished",
        edits: &[Edit {
            file: "crates/wal-io/src/store/gradual.rs",
            find: "< self.margin_bytes / 2",
            replace: "< self.margin_bytes / 100_000_000",
        }],
    },
];
