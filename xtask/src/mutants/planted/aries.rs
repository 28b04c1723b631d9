//! Bugs of ARIES: those that small implementations have, group by group.

use super::bug::{Edit, Finder, Mutant};

const ANALYSIS: &str = "crates/wal-recovery/src/aries/analysis.rs";
const CHECKPOINT: &str = "crates/wal-recovery/src/aries/checkpoint.rs";
const LOSERS: &str = "crates/wal-recovery/src/aries/losers.rs";
const REDO: &str = "crates/wal-recovery/src/aries/redo.rs";
const TABLES: &str = "crates/wal-recovery/src/aries/tables.rs";
const UNDO: &str = "crates/wal-recovery/src/aries/undo.rs";

/// A test of analysis, by the beginning of its name.
const fn analysis_test(name: &'static str) -> Finder {
    Finder::Test { package: "wal-recovery", target: "aries_analysis", name }
}

pub(super) static BUGS: &[Mutant] = &[
    // Logging.
    // It ends in the same books, and shows in the tables only.
    Mutant {
        found_by: Finder::Test { package: "wal-recovery", target: "", name: "a04_" },
        name: "aries-commit-is-end",
        about: "a commit removes its transaction from the table before it is ended",
        edits: &[Edit {
            file: TABLES,
            find: "if effect == Effect::End {",
            replace: "if matches!(effect, Effect::End | Effect::Commit) {",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-loser-without-end",
        about: "a loser gets no end record, and is rolled back at every restart",
        edits: &[Edit {
            file: LOSERS,
            find: "then = self.append_end(txn, Outcome::RolledBack).map(|()| Lsn::NONE);",
            replace: "then = Ok(Lsn::NONE);",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-compensation-walked-through",
        about: "undo goes from a compensation to the record before it: what was undone is undone again",
        edits: &[Edit {
            file: UNDO,
            find: "if clr.undo_next < cursor => return Ok(clr.undo_next),",
            replace: "if clr.undo_next < cursor => return Ok(prev_lsn),",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-undo-next-is-itself",
        about: "a compensation names the record compensated as the next to undo",
        edits: &[Edit {
            file: UNDO,
            find: "undo_next: prev_lsn,\n            compensated: lsn,",
            replace: "undo_next: lsn,\n            compensated: lsn,",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-nested-action-undone",
        about: "the record that ends a nested top action leads back into it",
        edits: &[Edit {
            file: "crates/wal-recovery/src/aries/savepoint.rs",
            find: "Clr::end_of_nested_top_action(nested.before)",
            replace: "Clr::end_of_nested_top_action(self.manager.undo_next(self.id))",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-page-before-its-log",
        about: "a page is written without waiting for its log",
        edits: &[Edit {
            file: "crates/wal-recovery/src/aries/pool_log.rs",
            find: "if self.log.durable() <= page_lsn {",
            replace: "if self.log.durable() <= page_lsn && page_lsn.is_none() {",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-commit-not-waited-for",
        about: "a commit is acknowledged before its record is durable",
        edits: &[Edit {
            file: "crates/wal-recovery/src/aries/ordered_commit.rs",
            find: "if !end.is_none() {",
            replace: "if end == Lsn::MAX {",
        }],
    },
    // Checkpoints.
    Mutant {
        found_by: Finder::Bank,
        name: "aries-rec-lsn-after-append",
        about: "recLSN is read after the append: it is the address behind the record",
        edits: &[Edit {
            file: TABLES,
            find: "self.dirty.changed(page, lsn);",
            replace: "self.dirty.changed(page, lsn.checked_add(64).unwrap_or(lsn));",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-rec-lsn-stuck",
        about: "a page stays as dirty as it was the first time, however often it is written",
        edits: &[Edit {
            file: "crates/wal-recovery/src/aries/dirty_pages.rs",
            find: "if dirt.last_lsn <= page_lsn {",
            replace: "if dirt.last_lsn < dirt.rec_lsn {",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-truncates-what-it-needs",
        about: "a checkpoint needs the log from its begin only: truncation passes dirty pages and \
                transactions",
        edits: &[Edit {
            file: CHECKPOINT,
            find: "copied.redo_from = oldest.map_or(copied.redo_from, |lsn| lsn.min(copied.redo_from));",
            replace: "let _ = oldest;",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-master-before-end",
        about: "the master record names a checkpoint whose end record is not durable",
        edits: &[Edit {
            file: CHECKPOINT,
            find: "self.log.wait_durable(pointer.end)?;",
            replace: "",
        }],
    },
    // Analysis.
    Mutant {
        found_by: analysis_test("a16_"),
        name: "aries-tables-overwrite-newer-state",
        about: "the tables of the checkpoint count for all that was logged before its end record",
        edits: &[Edit {
            file: ANALYSIS,
            find: "Some(entry) if lsn <= entry.last_lsn => return Ok(()),",
            replace: "Some(entry) if lsn <= entry.last_lsn || lsn < self.known_from => return Ok(()),",
        }],
    },
    Mutant {
        found_by: analysis_test("a16_"),
        name: "aries-ended-transaction-back",
        about: "a transaction that ended while the checkpoint was taken stays in the table",
        edits: &[Edit {
            file: ANALYSIS,
            find: "self.tables.record(lsn, Some(txn), without_page(effect))",
            replace: "let effect = if effect == Effect::End && lsn < self.known_from {\n            \
                      Effect::None\n        } else {\n            effect\n        };\n        \
                      self.tables.record(lsn, Some(txn), without_page(effect))",
        }],
    },
    Mutant {
        found_by: analysis_test("a16_"),
        name: "aries-analysis-from-the-end-record",
        about: "analysis starts at the end record of the checkpoint",
        edits: &[Edit {
            file: ANALYSIS,
            find: "map_or(log.range.start, |tables| tables.pointer.begin)",
            replace: "map_or(log.range.start, |tables| tables.pointer.record)",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-analysis-from-the-head",
        about: "analysis starts at the head of the log, whatever the checkpoint says",
        edits: &[Edit {
            file: ANALYSIS,
            find: "map_or(log.range.start, |tables| tables.pointer.begin)",
            replace: "map_or(log.range.start, |_| log.range.start)",
        }],
    },
    Mutant {
        found_by: Finder::Test { package: "wal", target: "aries_log", name: "a01_" },
        name: "aries-identifiers-again",
        about: "what a checkpoint says of identifiers is not believed: they are given out again",
        edits: &[Edit {
            file: ANALYSIS,
            find: "reading.tables.txns.saw_id(checkpoint.next_txn_id.saturating_sub(1));",
            replace: "",
        }],
    },
    // Redo.
    Mutant {
        found_by: Finder::Bank,
        name: "aries-compensations-not-applied",
        about: "redo counts compensations and does not apply them",
        edits: &[Edit {
            file: "crates/wal-recovery/src/aries/change.rs",
            find: "            | RecordKind::CLR\n",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-off-by-one",
        about: "a change at the very recLSN of its page is passed over",
        edits: &[Edit {
            file: REDO,
            find: "if !restores && lsn < owed.from =>",
            replace: "if !restores && lsn <= owed.from =>",
        }],
    },
    // Repeated once more, history ends where it did: this shows in what redo counts.
    Mutant {
        found_by: Finder::Test { package: "wal-recovery", target: "aries_redo", name: "a2" },
        name: "aries-page-lsn-ignored",
        about: "changes are applied to pages that hold them already",
        edits: &[Edit {
            file: REDO,
            find: "owed.from = owed.from.max(past(page_lsn));",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-only-winners-redone",
        about: "redo passes over the changes of losers",
        edits: &[Edit {
            file: REDO,
            find: "            if let Some(change) = Change::of(record)? {\n",
            replace: "            let won = record.txn.is_none_or(|it| tables.txns.get(it.txn_id).is_none());\n            \
                      if let Some(change) = Change::of(record)?.filter(|_| won) {\n",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-page-cache-trusted",
        about: "a page that restart finds new enough counts as written",
        edits: &[Edit {
            file: REDO,
            find: "if page_lsn >= lsn || lsn >= end {",
            replace: "if page_lsn >= Lsn::MAX {",
        }],
    },
    // Undo.
    Mutant {
        found_by: Finder::Bank,
        name: "aries-undo-starts-again",
        about: "undo starts again from the last change, although some were compensated",
        edits: &[Edit {
            file: TABLES,
            find: "Effect::Compensation { undo_next, .. } => entry.undo_next = undo_next,",
            replace: "Effect::Compensation { .. } => {}",
        }],
    },
    Mutant {
        found_by: Finder::Test { package: "wal-recovery", target: "", name: "undo_of_n_records" },
        name: "aries-undo-scans-the-log",
        about: "each record to undo is found by scanning the log from its head",
        edits: &[Edit {
            file: UNDO,
            find: "let record = self.manager.log.read(cursor, buf)?;\n        self.records_read += 1;",
            replace: "self.manager.log.scan(Lsn::FIRST, &mut |_| Ok(()))?;\n        \
                      let record = self.manager.log.read(cursor, buf)?;\n        \
                      self.records_read += 1;",
        }],
    },
    Mutant {
        found_by: Finder::Bank,
        name: "aries-in-doubt-undone",
        about: "transactions in doubt are rolled back with the losers",
        edits: &[Edit {
            file: LOSERS,
            find: "let losers = state.unowned(&[TxnState::Active, TxnState::RollingBack]);\n        \
                   losers.iter()",
            replace: "let losers = state.unowned(&[\n            TxnState::Active,\n            \
                      TxnState::RollingBack,\n            TxnState::Prepared,\n        ]);\n        \
                      losers.iter()",
        }],
    },
];
