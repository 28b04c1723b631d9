//! Bugs in the files: segments, names, the control file, truncation.

use super::bug::{Edit, Finder, Mutant};

const APPENDER: &str = "crates/wal-io/src/store/appender.rs";
const POSITIONAL: &str = "crates/wal-io/src/backend/positional.rs";
const DIRECTORY: &str = "crates/wal-io/src/store/directory.rs";
const CONTROL: &str = "crates/wal-io/src/control_file.rs";
const CREATE: &str = "crates/wal-io/src/store/create.rs";
const RESUME: &str = "crates/wal-io/src/store/resume.rs";
const RETIRE: &str = "crates/wal-io/src/store/retire.rs";
const RECYCLE: &str = "crates/wal-io/src/store/recycle.rs";

pub(super) static BUGS: &[Mutant] = &[
    Mutant {
        found_by: Finder::Log,
        name: "directory-not-synced",
        about: "a segment's name is used before the directory is synced",
        edits: &[Edit {
            file: DIRECTORY,
            find: ".and_then(|()| sync_dir(storage));\n    if named.is_err()",
            replace: ";\n    if named.is_err()",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "renamed-before-sync",
        about: "a segment takes its name before its contents are durable",
        edits: &[Edit {
            file: DIRECTORY,
            find: "let synced = file.sync_all();\n    drop(file);",
            replace: "let synced: std::io::Result<()> = Ok(());\n    drop(file);",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "run-renamed-before-sync",
        about: "a rewritten tail takes its name before its contents are durable",
        edits: &[Edit {
            file: "crates/wal-io/src/store/run.rs",
            find: "let finished = finish_segment(self.store.storage.as_ref(), file, name, \
                   Naming::New);",
            replace: "let storage = self.store.storage.as_ref();\n        \
                      let live = name.to_string();\n        \
                      let finished = storage\n            .rename(&name.temporary(), &live)\n            \
                      .and_then(|()| file.sync_all())\n            \
                      .and_then(|()| storage.sync_dir())\n            \
                      .map_err(|error| IoError::failed(crate::error::IoOp::Sync, live, error));",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "recycled-too-early",
        about: "an empty segment's header changes while its old name may come back",
        edits: &[Edit {
            file: DIRECTORY,
            find: "// The old name must be gone for good before the header under it changes.\n    \
                   sync_dir(storage)?;",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "retired-name-not-durable",
        about: "a truncated segment is written over while its old name may come back",
        edits: &[
            Edit {
                file: RETIRE,
                find: "let synced = sync_dir(self.storage.as_ref());\n        \
                       let mut work = self.work.lock();\n        work.watch(synced)?;",
                replace: "let mut work = self.work.lock();",
            },
            Edit {
                file: RECYCLE,
                find: "if !self.recycled.settled {\n            sync_dir(storage)?;",
                replace: "if !self.recycled.settled {\n            let _ = storage;",
            },
        ],
    },
    Mutant {
        found_by: Finder::Log,
        name: "recycled-header-unsynced",
        about: "a file used before takes its name while its new header may be lost",
        edits: &[Edit {
            file: DIRECTORY,
            find: "finish_segment(storage, file, link.name, naming)?;\n    \
                   tracing::debug!(segment = %link.name, \"segment ready, in a file",
            replace: "drop(file);\n    let _ = naming;\n    let live = link.name.to_string();\n    \
                      storage\n        .rename(&temporary, &live)\n        \
                      .map_err(|error| IoError::failed(IoOp::Rename, live, error))?;\n    \
                      sync_dir(storage)?;\n    \
                      tracing::debug!(segment = %link.name, \"segment ready, in a file",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::recycling::a_segment_into_which_a_flush",
        },
        name: "recycled-under-a-flush",
        about: "a truncated segment is used again while a flush into it is in the air",
        edits: &[Edit {
            file: RECYCLE,
            find: "link.cap == link.end() && link.cap <= durable",
            replace: "link.cap == link.end() && (link.cap <= durable || link.cap > durable)",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::recycling::a_reopening_takes_over",
        },
        name: "retired-names-believed",
        about: "an opening writes over a truncated segment whose new name only the cache may hold",
        edits: &[Edit {
            file: RECYCLE,
            find: "if !self.recycled.settled {\n            sync_dir(storage)?;",
            replace: "if !self.recycled.settled {\n            let _ = storage;",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-io",
            target: "",
            name: "store::tests::recycling::a_replacement_that_fails",
        },
        name: "replacement-takes-its-name-back",
        about: "a segment made in held-back space for another one removes it when its name is in doubt",
        edits: &[Edit {
            file: DIRECTORY,
            find: "finish_segment(storage, file, link.name, naming)?;\n    \
                   tracing::debug!(segment = %link.name, \"segment ready, in a file",
            replace: "let _ = naming;\n    finish_segment(storage, file, link.name, Naming::New)?;\n    \
                      tracing::debug!(segment = %link.name, \"segment ready, in a file",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal",
            target: "recycling",
            name: "nothing_of_a_later_life",
        },
        name: "later-life-used-again",
        about: "a log put back to an older state goes on in files that hold its own later records",
        edits: &[Edit {
            file: RECYCLE,
            find: ".is_some_and(|end| end <= head)",
            replace: ".is_some_and(|end| end <= head || end > head)",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal",
            target: "short_successor",
            name: "r18_a_batch_that_is_longer",
        },
        name: "short-successor-refuses",
        about: "what fits into a normal segment is refused where the one that stands ready is short",
        edits: &[Edit {
            file: "crates/wal-commit/src/append.rs",
            find: "Plan::TooLarge if state.cursor.successor_bytes() < self.segment_bytes => {",
            replace: "Plan::TooLarge if state.cursor.successor_bytes() > self.segment_bytes => {",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal",
            target: "aries_full_disk",
            name: "a09_fill_the_log",
        },
        name: "retired-space-hoarded",
        about: "on a full disk truncated segments keep the space that was to be promised",
        edits: &[Edit {
            file: "crates/wal-io/src/store/held_back.rs",
            find: "self.hold_back_retired(&mut work, &name).unwrap_or(Err(error))",
            replace: "Err(error)",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal",
            target: "recycling",
            name: "r22_a_scan_from_another_process",
        },
        name: "recycled-with-readers",
        about: "a scan calls damage what was written over a segment that was truncated",
        edits: &[Edit {
            file: "crates/wal-recovery/src/scan.rs",
            find: "window.check_current(&*self.storage)?;",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal",
            target: "recycling",
            name: "a_log_in_files_used_before_closes_cleanly",
        },
        name: "stale-bytes-at-a-clean-end",
        about: "a clean end is followed by what the file held before",
        edits: &[Edit {
            file: RETIRE,
            find: "blank_at(self.storage.as_ref(), &active, end)?;",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "sealed-segment-unsynced",
        about: "rotation forgets to sync the segment it leaves",
        edits: &[Edit {
            file: APPENDER,
            find: "self.left.push(before);",
            replace: "drop(before);",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "wrong-file-synced",
        about: "after a rotation only the segment left behind is synced",
        edits: &[Edit {
            file: APPENDER,
            find: "            self.sync_those_left()?;\n",
            replace: "            return self.sync_those_left();\n",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-cli",
            target: "inject",
            name: "an_interrupted_sync_has_failed_and_is_not_repeated",
        },
        name: "interrupted-sync-repeated",
        about: "a sync that a signal interrupted is made again, and the second success believed",
        edits: &[Edit {
            file: POSITIONAL,
            find: "Ok(rustix::fs::fdatasync(file)?)",
            replace: "file.sync_data()",
        }],
    },
    Mutant {
        found_by: Finder::Test {
            package: "wal-cli",
            target: "inject",
            name: "an_interrupted_write_that_syncs_is_not_repeated",
        },
        name: "interrupted-write-through-repeated",
        about: "a write that syncs is made again after a signal interrupted it",
        edits: &[Edit {
            file: POSITIONAL,
            find: "if access == Access::WriteThrough && is_interrupted(&error)",
            replace: "if false && access == Access::WriteThrough && is_interrupted(&error)",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "sync-before-write",
        about: "each write is preceded by its sync",
        edits: &[Edit {
            file: APPENDER,
            find: "let written = self.write_all(at, bufs);",
            replace: "let _ = self.sync_all_files();\n        \
                      let written = self.write_all(at, bufs);\n        \
                      self.left.clear();\n        self.current.unsynced = false;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "failed-sync-ignored",
        about: "a sync that fails counts as done",
        edits: &[Edit {
            file: APPENDER,
            find: ".map_err(|error| IoError::failed(IoOp::Sync, &*self.name, error))?;\n        \
                   self.unsynced = false;",
            replace: ".unwrap_or_default();\n        self.unsynced = false;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "failed-sync-retried",
        about: "a sync that fails is tried again, and the second success believed",
        edits: &[Edit {
            file: APPENDER,
            find: "SyncMethod::DataSync => self.file.sync_data(),",
            replace: "SyncMethod::DataSync => {\n                \
                      self.file.sync_data().or_else(|_| self.file.sync_data())\n            }",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "single-control-slot",
        about: "the control file is always written over the same slot",
        edits: &[Edit {
            file: CONTROL,
            find: "if sequence(first) <= sequence(second) { 0 } else { 1 }",
            replace: "if sequence(first) <= sequence(second) { 1 } else { 1 }",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "control-slot-unsynced",
        about: "what the control file says counts before it is durable",
        edits: &[Edit {
            file: CONTROL,
            find: "file.sync_data().map_err(|error| IoError::failed(IoOp::Sync, CONTROL_NAME, \
                   error))",
            replace: "Ok(())",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "registered-before-it-exists",
        about: "the control file names a segment that is not durable yet",
        edits: &[Edit {
            file: "crates/wal-io/src/store/prepare.rs",
            find: "let early = if wish.room == Room::Held { held(work) } else { None };",
            replace: "let (base, epoch) = (after.cap, self.epoch());\n        \
                      self.update_control(work, |slot| {\n            \
                      (slot.newest_base, slot.newest_epoch) = (base, epoch);\n        })?;\n        \
                      let early = if wish.room == Room::Held { held(work) } else { None };",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "epoch-forgotten",
        about: "an opening writes under the epoch of the one before",
        edits: &[Edit {
            file: CREATE,
            find: "let epoch = next_epoch(survey.highest_epoch, openings)?;",
            replace: "let epoch = next_epoch(survey.highest_epoch, openings - openings)?;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "clean-mark-not-cleared",
        about: "an opening leaves the mark of the last clean close",
        edits: &[Edit {
            file: CREATE,
            find: "control.update_both(|slot| (slot.epoch, slot.clean) = (epoch, None))?;",
            replace: "control.update_both(|slot| slot.epoch = epoch)?;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "addresses-used-again",
        about: "an unclean opening goes on at the end that it found",
        edits: &[Edit {
            file: RESUME,
            find: "let base = above\n            .max(work.address_end)\n            \
                   .max(predecessor.end)",
            replace: "let base = predecessor\n            .end",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "head-never-recorded",
        about: "segments are removed without a durable head",
        edits: &[Edit {
            file: RETIRE,
            find: "self.update_both_slots(&mut work, |slot| slot.head = head)?;",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "truncation-frees-nothing",
        about: "the head moves on, and every file stays",
        edits: &[Edit {
            file: RETIRE,
            find: "remove_if_there(self.storage.as_ref(), &link.name.to_string())?;\n            \
                   truncation.segments += 1;",
            replace: "truncation.segments += 1;",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "head-after-removal",
        about: "segments are removed before the head is durable",
        edits: &[
            Edit {
                file: RETIRE,
                find: "self.update_both_slots(&mut work, |slot| slot.head = head)?;",
                replace: "",
            },
            Edit {
                file: RETIRE,
                find: "let truncation = self.remove_truncated(&retired, head)?;",
                replace: "let truncation = self.remove_truncated(&retired, head)?;\n        \
                          let mut work = self.work.lock();\n        \
                          self.update_both_slots(&mut work, |slot| slot.head = head)?;\n        \
                          drop(work);",
            },
        ],
    },
    Mutant {
        found_by: Finder::Log,
        name: "truncate-past-a-checkpoint",
        about: "what the retained checkpoints need is removed",
        edits: &[
            Edit {
                file: RETIRE,
                find: "needed.map_or(lsn, |needed| needed.min(lsn))",
                replace: "needed.map_or(lsn, |_| lsn)",
            },
            Edit {
                file: "crates/wal/src/log.rs",
                find: "(Obligation::Checkpoint, retained),",
                replace: "(Obligation::Checkpoint, retained.filter(|_| false)),",
            },
        ],
    },
    Mutant {
        found_by: Finder::Log,
        name: "active-segment-removed",
        about: "truncation takes a segment that is needed in part",
        edits: &[Edit {
            file: RETIRE,
            find: "take_while(|link| link.cap <= limit)",
            replace: "take_while(|link| link.name.base <= limit)",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "shrunk-too-far",
        about: "a capped segment is cut a block too short",
        edits: &[Edit {
            file: RETIRE,
            find: "link.offset_of(link.cap).next_multiple_of(HEADER_BYTES)",
            replace: "(link.offset_of(link.cap) / HEADER_BYTES * HEADER_BYTES)",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "spare-kept-for-ever",
        about: "an opening on a full disk does not give up the spare",
        edits: &[Edit {
            file: "crates/wal-io/src/store/space.rs",
            find: "remove_if_there(storage, SPARE_NAME)?;",
            replace: "",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "temporary-files-kept",
        about: "an opening leaves unfinished files where they are",
        edits: &[Edit {
            file: RETIRE,
            find: "while let Some(name) = work.temporary.last() {",
            replace: "while let Some(name) = work.temporary.last().filter(|_| false) {",
        }],
    },
    Mutant {
        found_by: Finder::Log,
        name: "dead-files-kept",
        about: "what is off the chain is never removed",
        edits: &[
            Edit {
                file: RETIRE,
                find: "while let Some(dead) = work.dead.last().copied() {",
                replace: "while let Some(dead) = work.dead.last().copied().filter(|_| false) {",
            },
            Edit {
                file: RETIRE,
                find: "for dead in std::mem::take(&mut work.dead) {",
                replace: "for dead in std::mem::take(&mut work.dead).into_iter().take(0) {",
            },
        ],
    },
];
