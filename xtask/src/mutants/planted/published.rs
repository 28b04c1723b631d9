//! Bugs that published logs were found to have, by running them; those of them that no other file
//! plants.

use super::bug::{Edit, Finder, Mutant};

const PREPARE: &str = "crates/wal-io/src/store/prepare.rs";
const REDO_ONLY: &str = "crates/wal-recovery/src/redo_only.rs";

pub(super) static BUGS: &[Mutant] = &[
    Mutant {
        found_by: Finder::Log,
        name: "commit-left-in-the-buffer",
        about: "the end of what is pending stays in the buffer when the sync is issued",
        edits: &[Edit {
            file: "crates/wal-commit/src/driver.rs",
            find: "self.sink()?.write(range.start, &[IoSlice::new(bytes)])",
            replace: "let bytes = bytes.get(..bytes.len().saturating_sub(24)).unwrap_or(bytes);\n            \
                      self.sink()?.write(range.start, &[IoSlice::new(bytes)])",
        }],
    },
    // Sleeps although nobody is there to wake it: shown where leaders are chosen, for elsewhere it
    // only keeps a test from ending.
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "",
            name: "group::tests::one_leads",
        },
        name: "lone-commit-waits",
        about: "a commit waits for another one to come, for ever when it is alone",
        edits: &[Edit {
            file: "crates/wal-commit/src/group.rs",
            find: "let free = !self.is_busy();",
            replace: "let free = self.next_id > 0 && !self.is_busy();",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "rotation-over-a-sealed-segment",
        about: "the first rotation after a reopening overwrites the segment before it",
        edits: &[
            Edit {
                file: PREPARE,
                find: "self.make_in(work, after, wish, Naming::New)",
                replace: "self.make_in(work, after, wish, Naming::Replacing)",
            },
            Edit {
                file: PREPARE,
                find: "self.new_header(after.cap, capacity_bytes, flags, predecessor, self.head())",
                replace: "let again = self.epoch().get() > 1 && after.name.epoch == self.epoch();\n        \
                          let base = if again { after.name.base } else { after.cap };\n        \
                          self.new_header(base, capacity_bytes, flags, predecessor, self.head())",
            },
        ],
    },
    Mutant {
        found_by: Finder::Log,
        name: "newest-segment-only",
        about: "replay reads the newest segment, and none before it",
        edits: &[Edit {
            file: REDO_ONLY,
            find: "let range = LsnRange::new(start, log.range.end);",
            replace: "let mut newest = log.source.links().iter().rev().map(|link| link.range().start);\n        \
                      let newest = newest.find(|base| *base < log.range.end).unwrap_or(start);\n        \
                      let range = LsnRange::new(start.max(newest), log.range.end);",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "active-segment-read-twice",
        about: "replay reads the newest segment with all others, and once more",
        edits: &[Edit {
            file: REDO_ONLY,
            find: "let mut report = replay::replay(log.source, bounds, engine, progress)?;",
            replace: "let mut report = replay::replay(log.source, bounds, engine, progress)?;\n        \
                      let mut newest = log.source.links().iter().rev().map(|link| link.range().start);\n        \
                      let newest = newest.find(|base| *base < range.end).unwrap_or(start);\n        \
                      let range = LsnRange::new(start.max(newest), range.end);\n        \
                      replay::replay(log.source, Bounds { range, ..bounds }, engine, progress)?;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "replay-keyed-by-repeating-ids",
        about: "a commit replays all records under its transaction's number, which each opening \
                gives out again",
        edits: &[Edit {
            file: "crates/wal-recovery/src/redo_only/replay.rs",
            find: "let end = chain.replay(&mut members)?;",
            replace: "let range = LsnRange::new(self.bounds.range.start, chain.commit);\n        \
                      let mut scanner = members.records.source().scan(range);\n        \
                      let mut found = Vec::new();\n        \
                      loop {\n            \
                          match scanner.next()? {\n                \
                              Step::Record(record) => found.extend(\n                    \
                                  record\n                        \
                                      .txn\n                        \
                                      .filter(|link| link.txn_id == chain.txn)\n                        \
                                      .filter(|_| record.kind().is_engine())\n                        \
                                      .map(|_| record.lsn()),\n                \
                              ),\n                \
                              Step::Jump { .. } => {}\n                \
                              Step::Stopped(_) => break,\n            \
                          }\n        \
                      }\n        \
                      for lsn in found {\n            \
                          members.apply(lsn)?;\n        \
                      }\n        \
                      let end = ChainEnd::Whole;",
        }],
    },
];
