//! What must hold for any bytes whatever, one function for each decoder and one for whole logs.
//!
//! A check takes bytes, feeds them to what it checks, and panics when a property does not hold.
//! Two drivers share it: libFuzzer, through the shells in `fuzz/targets`, and the test
//! `tests/replay.rs`, which needs nothing but a stable compiler: it replays the corpus in
//! `fuzz/corpus` and seeded mutations of it ([`mutate`]).
//!
//! A panic is the result here, so the lints against panicking are off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod input;
pub mod mutate;
mod records;
mod blocks;
mod bodies;
mod payloads;
mod log;
mod canary;
pub mod seeds;

/// A check, and the name of its target and of its folder in the corpus.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the target and of its folder.
    pub name: &'static str,
    /// Panics when a property does not hold for these bytes.
    pub check: fn(&[u8]),
}

/// All targets but the canary.
pub const TARGETS: &[Target] = &[
    Target { name: "record", check: records::one },
    Target { name: "records", check: records::many },
    Target { name: "look_ahead", check: records::look_ahead },
    Target { name: "segment_header", check: blocks::segment_header },
    Target { name: "control_slot", check: blocks::control_slot },
    Target { name: "body", check: bodies::body },
    Target { name: "compressed", check: bodies::compressed },
    Target { name: "payload", check: payloads::payload },
    Target { name: "log", check: log::log },
];

/// A decoder which trusts a length: whoever drives checks must see it fail.
pub const CANARY: Target = Target { name: "canary", check: canary::canary };

/// The check of this name.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn target(name: &str) -> Target {
    let all = TARGETS.iter().chain([&CANARY]);
    *all.into_iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no `{name}`"))
}
