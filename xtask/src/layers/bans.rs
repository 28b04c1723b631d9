//! What a crate could name, and must not know.
//!
//! A ban is a path; the check is textual and sees live code only, so tests may use files.

use crate::module_tree::ModuleTree;
use crate::outcome::Finding;

/// Paths that a crate may not name.
struct Ban {
    /// The crate.
    name: &'static str,
    place: Where,
    paths: &'static [&'static [&'static str]],
    why: &'static str,
}

/// The part of a crate that a ban concerns.
enum Where {
    Everywhere,
    /// This module and all below it.
    Within(&'static str),
    /// All but these modules and what is below them.
    Outside(&'static [&'static str]),
}

/// By what each crate does *not* know: see `docs/ARCHITECTURE.md`.
const BANS: &[Ban] = &[
    Ban {
        name: "wal-format",
        place: Where::Everywhere,
        paths: &[
            &["std", "fs"],
            &["std", "net"],
            &["std", "env"],
            &["std", "process"],
            &["std", "time"],
            &["std", "thread"],
            &["std", "sync"],
        ],
        why: "wal-format is bytes only: no files, no clock, no threads",
    },
    Ban {
        name: "wal-format",
        place: Where::Within("segment_header"),
        paths: &[&["crate", "kind"], &["crate", "RecordKind"]],
        why: "a segment header knows nothing of records",
    },
    Ban {
        name: "wal-format",
        place: Where::Within("decode"),
        paths: &[&["crate", "encode"], &["crate", "segment_header"]],
        why: "reader and writer meet only in the layout and the header types",
    },
    Ban {
        name: "wal-format",
        place: Where::Within("encode"),
        paths: &[&["crate", "decode"], &["crate", "segment_header"]],
        why: "reader and writer meet only in the layout and the header types",
    },
    Ban {
        name: "wal-io",
        place: Where::Everywhere,
        paths: &[
            &["wal_format", "decode_record"],
            &["wal_format", "decode_header_at"],
            &["wal_format", "RecordRef"],
            &["wal_format", "RecordIter"],
            &["wal_format", "EpochTracker"],
            &["wal_format", "find_record_candidate"],
            &["wal_format", "RecordDraft"],
            &["wal_format", "RecordKind"],
            &["wal_format", "encoded_bytes"],
            &["wal_format", "body"],
        ],
        why: "wal-io never looks inside a record",
    },
    Ban {
        name: "wal-commit",
        place: Where::Everywhere,
        paths: &[&["std", "fs"], &["wal_format", "decode_record"], &["wal_format", "RecordRef"]],
        why: "wal-commit writes through a sink, and reads nothing back",
    },
    Ban {
        name: "wal-commit",
        place: Where::Outside(&["sync"]),
        paths: &[
            &["parking_lot"],
            &["spin"],
            &["atomic_wait"],
            &["loom"],
            &["shuttle"],
            &["std", "sync", "atomic"],
            &["std", "sync", "Mutex"],
            &["std", "sync", "Condvar"],
            &["std", "sync", "mpsc"],
        ],
        why: "the model checker sees only what comes from sync.rs",
    },
    Ban {
        name: "wal-recovery",
        place: Where::Everywhere,
        paths: &[&["std", "fs"], &["std", "time", "Instant"], &["std", "time", "SystemTime"]],
        why: "wal-recovery reads through wal-io, and reads no clock",
    },
    Ban {
        name: "wal-recovery",
        place: Where::Outside(&["aries", "scan"]),
        paths: &[&["std", "thread"]],
        why: "wal-recovery starts no thread, but for those of a parallel redo and a scan's helper",
    },
    Ban {
        name: "wal",
        place: Where::Everywhere,
        paths: &[&["std", "fs"]],
        why: "wal is wiring: files belong to wal-io",
    },
];

impl Where {
    /// Whether the ban concerns the module whose topmost ancestor below the root is `top`.
    fn holds(&self, top: Option<&str>) -> bool {
        match *self {
            Self::Everywhere => true,
            Self::Within(name) => top == Some(name),
            Self::Outside(names) => top.is_none_or(|top| !names.contains(&top)),
        }
    }
}

/// All uses of a banned path in the crate `name`.
pub(super) fn check(name: &str, tree: &ModuleTree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ban in BANS.iter().filter(|ban| ban.name == name) {
        let concerned = tree.modules.iter().filter(|module| {
            !module.test_only && ban.place.holds(module.path.first().map(String::as_str))
        });
        for module in concerned {
            for path in &module.paths {
                if ban.paths.iter().any(|banned| path.goes_through(banned)) {
                    findings.push(Finding::at(
                        &module.file,
                        module.line(path.offset),
                        format!("`{}`: {}", path.segments.join("::"), ban.why),
                        "take what is needed through an argument or a trait of a lower crate",
                    ));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, module: &str, text: &str) -> usize {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lib.rs"), format!("mod {module};")).unwrap();
        std::fs::write(dir.path().join(format!("{module}.rs")), text).unwrap();
        check(name, &ModuleTree::read(&dir.path().join("lib.rs")).unwrap()).len()
    }

    #[test]
    fn every_ban_fires_inline_and_in_a_use() {
        for ban in BANS {
            let module = if let Where::Within(name) = ban.place { name } else { "any" };
            for path in ban.paths {
                let path = path.join("::");
                assert_eq!(findings(ban.name, module, &format!("use {path};")), 1, "{path}");
                let inline = format!("fn f() {{ {path}::x() }}");
                assert_eq!(findings(ban.name, module, &inline), 1, "{path}");
            }
        }
    }

    #[test]
    fn a_grouped_use_hides_nothing() {
        assert_eq!(findings("wal-format", "any", "use std::{fmt, fs::File, io};"), 1);
        assert_eq!(findings("wal-io", "any", "use wal_format::{Lsn, decode_record};"), 1);
    }

    #[test]
    fn other_crates_and_other_modules_are_free() {
        assert_eq!(findings("wal-io", "any", "use std::fs::File;"), 0);
        assert_eq!(findings("wal-format", "layout", "use crate::kind::RecordKind;"), 0);
        assert_eq!(findings("wal-commit", "sync", "use std::sync::atomic::AtomicU64;"), 0);
    }

    #[test]
    fn tests_may_use_files() {
        let test = "#[cfg(test)]\nmod tests { use std::fs; }";
        assert_eq!(findings("wal-format", "any", test), 0);
    }
}
