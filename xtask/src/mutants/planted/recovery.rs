//! Bugs in reading, judging, resuming and replaying.

use super::bug::{Edit, Finder, Mutant};

const RESUME: &str = "crates/wal-recovery/src/resume.rs";
const EXAMINE: &str = "crates/wal-recovery/src/examine.rs";
const AHEAD: &str = "crates/wal-recovery/src/scan/ahead.rs";
const SETTLE: &str = "crates/wal-recovery/src/redo_only/settle.rs";

pub(super) static BUGS: &[Mutant] = &[
    Mutant {
        found_by: Finder::Test {
            package: "wal-recovery",
            target: "",
            name: "scan::ahead::tests::a_damaged_record_is_met",
        },
        name: "scan-run-unproven",
        about: "a scan on two threads hands out a run whose headers were read and nobody proved",
        edits: &[Edit {
            file: AHEAD,
            find: "let Ok(proven) = tracker.prove(rest, lsn) else { break };",
            replace: "let Ok(header) = wal_format::decode_header_at(rest, lsn) else { break };\n            \
                      let (encoded_bytes, kind) = (header.encoded_bytes(), header.kind);\n            \
                      let proven = wal_format::ProvenRecord { encoded_bytes, kind };",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-recovery",
            target: "",
            name: "scan::ahead::tests::what_was_proven_under_another_epoch",
        },
        name: "scan-run-of-another-epoch",
        about: "a scan on two threads hands out what was proven under an epoch no longer in force",
        edits: &[Edit {
            file: AHEAD,
            find: "if is_behind || is_here && self.assumed != epoch {",
            replace: "if is_behind || is_here && self.assumed > epoch {",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "length-trusted",
        about: "a record with a plausible header is taken without its checksum",
        edits: &[Edit {
            file: "crates/wal-format/src/decode.rs",
            find: "if computed != header.checksum {",
            replace: "if computed != header.checksum && header.body_len == 0 {",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "appends-in-a-torn-tail",
        about: "an unclean log goes on in place",
        edits: &[Edit {
            file: RESUME,
            find: "= if examined.clean {",
            replace: "= if examined.clean || !examined.verdict.is_damage() {",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "unproven-tail-trusted",
        about: "what may be in the cache only is taken for durable",
        edits: &[Edit {
            file: RESUME,
            find: "let predecessor = if unproven.is_empty() {",
            replace: "let predecessor = if start <= end {",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "housekeeping-kept",
        about: "each opening of a crash loop leaves a segment",
        edits: &[Edit {
            file: RESUME,
            find: "let end = examined.housekeeping_from;",
            replace: "let end = examined.end;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "look-ahead-skipped",
        about: "evidence behind the first unreadable place is not believed",
        edits: &[Edit {
            file: EXAMINE,
            find: "look_ahead(&source, &scan.stop, &mut claims, progress)?",
            replace: "look_ahead(&source, &scan.stop, &mut Claims::default(), progress)?",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "control-is-no-evidence",
        about: "the durable end in the control file is not believed",
        edits: &[Edit {
            file: EXAMINE,
            find: "claims.add(Evidence::ControlDurable { durable: slot.durable });",
            replace: "let _ = slot.durable;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "cap-ignored",
        about: "a segment is read beyond where its successor says that it ends",
        edits: &[Edit {
            file: "crates/wal-io/src/build_chain.rs",
            find: "return Some((found, named.end));",
            replace: "return Some((found, found.end()));",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "aborted-work-replayed",
        about: "an abort is taken for a commit",
        edits: &[Edit {
            file: SETTLE,
            find: "RecordKind::COMMIT => return self.settle_commit(record, after_begin),",
            replace: "RecordKind::COMMIT | RecordKind::ABORT => {\n                \
                      return self.settle_commit(record, after_begin);\n            }",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "uncommitted-work-replayed",
        about: "records of a transaction count where they stand",
        edits: &[Edit {
            file: SETTLE,
            find: "Some(link) => self.active.touch(link.txn_id),",
            replace: "Some(_) => self.redo(record, None)?,",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "half-batches-replayed",
        about: "members of a batch count before its last one is there",
        edits: &[Edit {
            file: "crates/wal-recovery/src/redo_only/batch.rs",
            find: "self.state = State::Open { first: lsn };\n                \
                   BatchStep::Held { orphan: None }",
            replace: "BatchStep::Alone",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "checkpoint-replayed-again",
        about: "what the checkpoint holds is replayed as well",
        edits: &[Edit {
            file: SETTLE,
            find: "let after_begin = position >= self.begin;",
            replace: "let after_begin = position >= self.opened.min(self.begin);",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "commit-order-lost",
        about: "a transaction that commits behind the checkpoint is taken to be in it",
        edits: &[Edit {
            file: SETTLE,
            find: "let damaged = self.active.end(txn);\n        if !after_begin {",
            replace: "let damaged = self.active.end(txn);\n        \
                      let last = record.txn.map_or(Lsn::NONE, |link| link.prev_lsn);\n        \
                      if !after_begin || last < self.begin {",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "verdict-always-clean",
        about: "the report of a recovery calls every end clean",
        edits: &[Edit {
            file: "crates/wal-recovery/src/redo_only.rs",
            find: "report.verdict = verdict.to_string();",
            replace: "report.verdict = Verdict::CleanEnd.to_string();",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "reader-leaves-out-large-records",
        about: "readers pass over records of more than 600 bytes, in either direction",
        edits: &[
            Edit {
                file: "crates/wal-recovery/src/reader.rs",
                find: "if self.shows(located.header.kind) {",
                replace: "if self.shows(located.header.kind)\n                \
                          && located.end().distance_from(lsn).unwrap_or(0) <= 600\n            {",
            },
            Edit {
                file: "crates/wal-recovery/src/reader.rs",
                find: "if self.shows(located.header.kind) && located.end() <= self.end {",
                replace: "if self.shows(located.header.kind)\n                \
                          && located.end() <= self.end\n                \
                          && located.end().distance_from(lsn).unwrap_or(0) <= 600\n            {",
            },
        ],
    },
];
