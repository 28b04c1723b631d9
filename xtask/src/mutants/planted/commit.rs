//! Bugs in the commit path and the facade: order, durability levels, batches, obligations.

use super::bug::{Edit, Finder, Mutant};

const DRIVER: &str = "crates/wal-commit/src/driver.rs";

pub(super) static BUGS: &[Mutant] = &[
    Mutant {
        found_by: Finder::Log,
        name: "acknowledge-before-sync",
        about: "the durable end moves on before the sync that would make it true",
        edits: &[Edit {
            file: DRIVER,
            find: "        let started = Instant::now();\n        let mut any = false;",
            replace: "        let due = self.due;\n        \
                      self.publish(|shared, state| {\n            \
                      state.runway.synced(due);\n            \
                      shared.marks.sync(state.runway.durable())\n        \
                      })?;\n        \
                      let started = Instant::now();\n        let mut any = false;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "acknowledge-without-sync",
        about: "a wait for durability never syncs",
        edits: &[Edit {
            file: DRIVER,
            find: "sink.sync().map_err(PoisonCause::sync)?;",
            replace: "let _ = &sink;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "written-is-a-no-op",
        about: "a wait until a record is written returns at once",
        edits: &[Edit {
            file: "crates/wal/src/ticket.rs",
            find: "self.wait(Durability::Written)",
            replace: "Ok(())",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "",
            name: "runway::tests::what_lies_behind_a_hole",
        },
        name: "acknowledge-out-of-order",
        about: "a flush that lands first is acknowledged over the hole before it",
        edits: &[Edit {
            file: "crates/wal-commit/src/runway.rs",
            find: "            && !leg.in_the_air\n            && leg.unsynced == 0",
            replace: "            && leg.unsynced == 0",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "",
            name: "runway::tests::a_sync_covers_what_its_own_slot_wrote",
        },
        name: "any-slot-will-do",
        about: "a sync through one slot counts for what was written through another",
        edits: &[Edit {
            file: "crates/wal-commit/src/runway.rs",
            find: "leg.unsynced &= !slots;",
            replace: "leg.unsynced &= slots & 0;",
        }],
    },
    Mutant {
        found_by: Finder::Threads,
        name: "acknowledge-over-a-hole",
        about: "flushes in flight count as written and synced before they land",
        edits: &[
            Edit {
                file: "crates/wal-commit/src/runway.rs",
                find: "            && !leg.in_the_air\n            && leg.unsynced == 0",
                replace: "            && leg.unsynced == 0",
            },
            Edit {
                file: "crates/wal-commit/src/runway.rs",
                find: "self.legs.iter().take_while(|leg| !leg.in_the_air);",
                replace: "self.legs.iter();",
            },
        ],
    },
    Mutant {
        found_by: Finder::Model { name: "a_leader_that_was_relieved_does_not_lead_as_well" },
        name: "relieved-leader-leads-too",
        about: "who gathered goes on with a baton that somebody else has taken over",
        edits: &[Edit {
            file: "crates/wal-commit/src/gather.rs",
            find: "offer.is_none_or(|offer| state.group.offer.keep(offer)).then_some(state)",
            replace: "let _ = offer.is_none_or(|offer| state.group.offer.keep(offer));\n        \
                      Some(state)",
        }],
    },
    Mutant {
        found_by: Finder::Model { name: "a_relieved_leader_is_not_left_with_what_nobody_syncs" },
        name: "relieved-leader-waits-for-nobody",
        about: "a relieved leader waits although nobody is left who would call it",
        edits: &[Edit {
            file: DRIVER,
            find: "(!relieved || state.group.is_idle())",
            replace: "!relieved",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "",
            name: "group::tests::while_others_write_nobody_is_called",
        },
        name: "called-for-a-flush-that-helps-nobody",
        about: "those whose bytes are in the air call each other until they are written",
        edits: &[Edit {
            file: "crates/wal-commit/src/group.rs",
            find: "let work = if self.held > 0 { work } else { Work::Write };",
            replace: "let work = Work::Write;",
        }],
    },
    Mutant {
        found_by: Finder::Model { name: "gathering_loses_nobody" },
        name: "baton-taken-over-and-not-used",
        about: "who completes the number relieves the leader that gathers, and leads nobody",
        edits: &[Edit {
            file: DRIVER,
            find: "let led = if completes {\n                self.fly(state, level, Some(end))",
            replace: "let led = if completes {\n                drop(state);\n                Ok(())",
        }],
    },
    Mutant {
        found_by: Finder::Model { name: "a_relieved_leader_gives_its_baton_and_no_other" },
        name: "baton-lost-in-a-take-over",
        about: "who relieves a leader takes a second baton with the first and gives one back",
        edits: &[Edit {
            file: "crates/wal-commit/src/group.rs",
            find: "self.offer.stands() && self.missing() <= 1 && self.offer.accept()",
            replace: "self.offer.stands()
            && self.missing() <= 1
            && self.offer.accept()
            && self.take_more(1) < 2",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "",
            name: "group::tests::only_who_completes_the_number_takes_the_baton_over",
        },
        name: "one-leader-relieved-twice",
        about: "two committers take over the one baton of a leader that gathers",
        edits: &[Edit {
            file: "crates/wal-commit/src/offer.rs",
            find: "let accepted = self.standing.take();",
            replace: "let accepted = self.standing;",
        }],
    },
    Mutant {
        found_by: Finder::Model { name: "two_flushes_that_land_before_the_next_leader_runs" },
        name: "second-leader-forgotten",
        about: "a crowd that was asked for a leader twice hears it once: a baton is lost",
        edits: &[Edit {
            file: "crates/wal-commit/src/gate.rs",
            find: "self.word.add(LEADER_WANTED);",
            replace: "if self.word.get() < LEADER_WANTED { self.word.add(LEADER_WANTED); }",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "reach",
            name: "a_record_that_finds_nothing_to_decide_counts_too",
        },
        name: "limit-forgotten-by-a-quick-append",
        about: "an append under the brief lock reaches a limit, and nobody is asked for the sync",
        edits: &[Edit {
            file: "crates/wal-commit/src/append.rs",
            find: "let due = self.counts_unasked &&",
            replace: "let due = false &&",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "untracked",
            name: "a_log_that_was_opened_without_a_successor_is_given_one_ahead_of_need",
        },
        name: "quick-append-asks-for-no-segment",
        about: "an append under the brief lock leaves the next segment to whoever needs it",
        edits: &[Edit {
            file: "crates/wal-commit/src/settle.rs",
            find: "let ahead = self.prepares_ahead && !self.preparing",
            replace: "let ahead = false && !self.preparing",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "idle",
            name: "an_idle_log_sleeps_for_good_until_it_is_appended_to_or_synced",
        },
        name: "quick-append-rouses-nobody",
        about: "an append under the brief lock leaves an idle log asleep: no period runs any more",
        edits: &[Edit {
            file: "crates/wal-commit/src/settle.rs",
            find: "            && !self.hibernating\n",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "untracked",
            name: "a_log_that_is_closing_takes_no_short_record_either",
        },
        name: "quick-append-into-a-closing-log",
        about: "an append under the brief lock takes records that the close does not write",
        edits: &[Edit {
            file: "crates/wal-commit/src/settle.rs",
            find: "            && self.phase == Phase::Open\n",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "untracked",
            name: "a_poisoned_log_takes_no_short_record_either",
        },
        name: "quick-append-into-a-poisoned-log",
        about: "an append under the brief lock goes on after the log has stopped promising",
        edits: &[Edit {
            file: "crates/wal-commit/src/settle.rs",
            find: "let usual = self.poison.is_none()\n            && ",
            replace: "let usual = ",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "untracked",
            name: "a_short_record_keeps_out_of_one_that_is_written_past_the_buffer",
        },
        name: "quick-append-beside-an-oversized-record",
        about: "an append under the brief lock gets in while a record is written past the buffer",
        edits: &[Edit {
            file: "crates/wal-commit/src/settle.rs",
            find: "            && !self.exclusive\n",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "untracked",
            name: "who_appends_writes_out_what_is_worth_a_call_and_syncs_nothing",
        },
        name: "baton-taken-and-not-used",
        about: "an append under the brief lock takes the baton, and writes nothing",
        edits: &[Edit {
            file: "crates/wal-commit/src/append.rs",
            find: "        if leads {\n",
            replace: "        if leads && due {\n",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "bulk",
            name: "a_batch_of_plain_records_is_the_batch_of_their_drafts",
        },
        name: "plain-batch-without-flags",
        about: "members of a batch of plain records stand alone",
        edits: &[Edit {
            file: "crates/wal-commit/src/bulk.rs",
            find: "batch_flags(index, records.len())",
            replace: "batch_flags(index.min(0), records.len().min(1))",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "bulk",
            name: "a_batch_counts_for_a_limit",
        },
        name: "limit-forgotten-by-a-plain-batch",
        about: "a batch of plain records reaches a limit, and nobody is asked for the sync",
        edits: &[Edit {
            file: "crates/wal-commit/src/bulk.rs",
            find: "self.count_unasked(&mut state, count",
            replace: "self.count_unasked(&mut state, count.min(0)",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "bulk",
            name: "what_drafts_are_refused_for_plain_records_are_too",
        },
        name: "plain-batch-into-a-closed-log",
        about: "a batch of plain records goes where the log ends without a look whether it may",
        edits: &[Edit {
            file: "crates/wal-commit/src/bulk.rs",
            find: "if !state.is_clear(bytes) {",
            replace: "if state.parts.end() != state.cursor.end() {",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-commit",
            target: "bulk",
            name: "a_batch_that_the_buffer_could_take_is_refused_where_a_segment_could_not",
        },
        name: "plain-batch-of-any-length",
        about: "a batch of plain records may be longer than the next segment can take (rule 18)",
        edits: &[Edit {
            file: "crates/wal-commit/src/bulk.rs",
            find: "bytes as u64 <= self.batch_bytes_max;",
            replace: "bytes as u64 <= u64::MAX;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "watermark-too-far",
        about: "records claim that all reserved before them was durable",
        edits: &[Edit {
            file: "crates/wal-commit/src/shared.rs",
            find: "Some(self.marks.durable()).filter",
            replace: "Some(self.marks.reserved()).filter",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "watermark-never",
        about: "records claim nothing",
        edits: &[Edit {
            file: "crates/wal-commit/src/shared.rs",
            find: "Some(self.marks.durable()).filter(|durable| !durable.is_none())",
            replace: "None",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "batch-flags-dropped",
        about: "members of a batch stand alone",
        edits: &[Edit {
            file: "crates/wal-commit/src/place.rs",
            find: "let mut flags = RecordFlags::NONE;",
            replace: "let (mut flags, index, count) = (RecordFlags::NONE, index.min(0), count.min(1));",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "short-records-without-checksum",
        about: "short records leave the buffer before anybody has put in their checksums",
        edits: &[Edit {
            file: "crates/wal-commit/src/buffer.rs",
            find: "checksum::finish(seed, records)?;",
            replace: "if records.is_empty() {\n            checksum::finish(seed, records)?;\n        }",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "oversized-unsynced",
        about: "an oversized record counts as durable once it is written",
        edits: &[Edit {
            file: "crates/wal-commit/src/oversized.rs",
            find: "flight.publish_written(span.after.end)?;\n        Ok(span)",
            replace: "flight.publish_written(span.after.end)?;\n        \
                      let _ = self.marks.sync(span.after.end);\n        Ok(span)",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "padding-forgotten",
        about: "a record past the buffer leaves the rest of the segment before it unpadded",
        edits: &[Edit {
            file: "crates/wal-commit/src/oversized.rs",
            find: "if !span.before.is_empty() {",
            replace: "if false {",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "padding-over-acknowledged",
        about: "padding past the buffer begins where its block does, over records that were acknowledged",
        edits: &[Edit {
            file: "crates/wal-commit/src/padding.rs",
            find: "let mut at = record.start;\n    while at < record.end {\n        \
                   let bytes = LsnRange::new(at, record.end).bytes().min(WRITE_BYTES);\n        \
                   let first = at == record.start;",
            replace: "let floor = Lsn::new(record.start.get() / BLOCK * BLOCK).unwrap_or(record.start);\n    \
                      let mut at = floor;\n    while at < record.end {\n        \
                      let bytes = LsnRange::new(at, record.end).bytes().min(WRITE_BYTES);\n        \
                      let first = at == floor;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "buffer-used-again-before-it-is-flushed",
        about: "a flush leaves its memory to the records behind it before it has written it",
        edits: &[Edit {
            file: "crates/wal-commit/src/buffer.rs",
            find: "Some(std::mem::replace(&mut self.filling, next))",
            replace: "let mut taken = std::mem::replace(&mut self.filling, next);\n        \
                      std::mem::swap(&mut taken.bytes, &mut self.filling.bytes);\n        Some(taken)",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "failed-sync-does-not-poison",
        about: "a sync that fails is told, and the next one believed",
        edits: &[
            Edit {
                file: DRIVER,
                find: "if let Err(cause) = outcome {\n            \
                       self.shared.poison_locked(&mut state, cause, &mut wakes);",
                replace: "let mut told = None;\n        if let Err(cause) = outcome {\n            \
                          if cause.kind() == crate::poison::PoisonKind::Sync {\n                \
                          told = Some(cause);\n            } else {\n                \
                          self.shared.poison_locked(&mut state, cause, &mut wakes);\n            }",
            },
            Edit {
                file: DRIVER,
                find: "let failed = state.poison.clone();",
                replace: "let failed = state.poison.clone().or(told);",
            },
            Edit {
                file: "crates/wal-io/src/store/appender.rs",
                find: "self.failed |= synced.is_err();",
                replace: "",
            },
        ],
    },
    Mutant {
        found_by: Finder::Log,
        name: "clean-mark-before-sync",
        about: "closing marks the log clean without its last sync",
        edits: &[Edit {
            file: "crates/wal-commit/src/close.rs",
            find: "if self.promises { flight.sync() } else { Ok(()) }",
            replace: "Ok(())",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "truncate-past-a-hold",
        about: "retention holds hold nothing",
        edits: &[Edit {
            file: "crates/wal/src/log.rs",
            find: "(Obligation::Hold, shared.holds.lowest(reserved)),",
            replace: "(Obligation::Hold, shared.holds.lowest(reserved).filter(|_| false)),",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "checkpoint-forgets-transactions",
        about: "replay starts at the checkpoint although transactions began before it",
        edits: &[Edit {
            file: "crates/wal/src/checkpoint.rs",
            find: "let (number, redo_from) = begun;",
            replace: "let (number, _) = begun;\n        let redo_from = ticket.lsn();",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "checkpoint-before-its-record",
        about: "the control file names a checkpoint whose record is only written",
        edits: &[Edit {
            file: "crates/wal/src/checkpoint.rs",
            find: "ticket.wait_durable()?;",
            replace: "ticket.wait_written()?;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "positions-lie-after-recovery",
        about: "a log is closed without waiting for what is in its buffer",
        edits: &[Edit {
            file: "crates/wal-commit/src/close.rs",
            find: "flight.write_pending()?;\n        if let Some(padding)",
            replace: "if let Some(padding)",
        }],
    },
];
