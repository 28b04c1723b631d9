//! Bugs of batches across partitions.

use super::bug::{Edit, Finder, Mutant};

const ACROSS: &str = "crates/wal-partitions/src/across.rs";
const CHECKPOINT: &str = "crates/wal-partitions/src/checkpoint.rs";
const FILTER: &str = "crates/wal-partitions/src/filter.rs";
const OPEN: &str = "crates/wal-partitions/src/open.rs";
const SHARED: &str = "crates/wal-partitions/src/shared.rs";
const TICKET: &str = "crates/wal-partitions/src/ticket.rs";

/// The disks of the partitions, losing power together.
const CRASH: Finder =
    Finder::Test { package: "wal-partitions", target: "crash", name: "a_batch_is_there_whole" };

pub(super) static BUGS: &[Mutant] = &[
    Mutant {
        found_by: CRASH,
        name: "partitions-acknowledge-early",
        about: "a batch is acknowledged when its first participant is durable",
        edits: &[
            Edit { file: TICKET, find: "            begin_syncs(&mut tickets);", replace: "" },
            Edit {
                file: TICKET,
                find: "for (partition, ticket) in tickets.iter() {",
                replace: "for (partition, ticket) in tickets.iter().take(1) {",
            },
            Edit {
                file: TICKET,
                find: "if level == Durability::Durable { self.decided() } else { Ok(()) }",
                replace: "Ok(())",
            },
        ],
    },
    Mutant {
        found_by: CRASH,
        name: "partitions-decide-early",
        about: "a batch is called committed, and noted so, before its parts are durable",
        edits: &[Edit {
            file: ACROSS,
            find: "            if !wait && !member.has_durable(end) {
                return Ok(None);
            }
            member.make_durable(end).map_err(|source| in_doubt(entry, member, source))?;",
            replace: "            let _ = (wait, member, end);",
        }],
    },
    Mutant {
        found_by: CRASH,
        name: "partitions-checkpoint-undecided",
        about: "a checkpoint is completed behind a part which others may still have to ask about",
        edits: &[Edit {
            file: CHECKPOINT,
            find: "shared.across.settle_all_of(&shared.members, partition)?;",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-partitions",
            target: "api",
            name: "truncation_keeps_what_decides",
        },
        name: "partitions-truncate-decision",
        about: "a part is truncated while another participant has no durable note of its batch",
        edits: &[
            Edit {
                file: SHARED,
                find: "member.hold.advance(self.across.needed_from(partition, reserved));",
                replace: "let _ = partition;
        member.hold.advance(reserved);",
            },
            Edit {
                file: SHARED,
                find: "if let Err(error) = self.across.settle_all_of(&self.members, partition) {",
                replace: "if let Err(error) = self.across.settle_all_of(&self.members, usize::MAX) {",
            },
        ],
    },
    Mutant {
        found_by: CRASH,
        name: "partitions-replay-undecided",
        about: "recovery replays a part of a batch that is aborted",
        edits: &[Edit { file: FILTER, find: "self.to_skip = head.members,", replace: "{}" }],
    },
    Mutant {
        found_by: CRASH,
        name: "partitions-resolution-not-durable",
        about: "what an opening decided is not durable before new records are appended",
        edits: &[Edit { file: OPEN, find: ".filter(|_| promises)", replace: ".filter(|_| false)" }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-partitions",
            target: "api",
            name: "a_reader_shows_nothing_of_a_part",
        },
        name: "partitions-read-torn",
        about: "a reader shows what is left of a part that a crash tore",
        edits: &[Edit {
            file: ACROSS,
            find: "        } else if ours {
            PartFate::Counts",
            replace: "        } else if ours || true {
            PartFate::Counts",
        }],
    },
];
