//! What the figures say about the options of a log. Pure: from figures to advice.
//!
//! Each piece of advice names the measurements it came from, by their names in JSON. Where the
//! figures cannot be believed nothing is concluded from them, and the defaults stay.

use serde::Serialize;
use wal::{FilesystemKind, SyncMethod, SyncPolicy};

/// One figure of a way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) p50_us: f64,
    pub(crate) per_second: f64,
}

/// What was found, as far as advice depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Findings<'a> {
    pub(crate) figures: &'a [Figure],
    pub(crate) file_system: FilesystemKind,
    /// What the kernel thinks of the device's cache: `write back` or `write through`.
    pub(crate) write_cache: Option<&'a str>,
    /// Why there is no direct I/O here.
    pub(crate) direct_refused: Option<&'a str>,
    /// The largest median of a round of `data_sync` over the smallest.
    pub(crate) spread: f64,
    /// Threads that wanted to run in the minute before.
    pub(crate) load_before: Option<f64>,
}

/// The options to choose, and why.
#[derive(Clone, Debug)]
pub(crate) struct Advice {
    pub(crate) sync_method: SyncMethod,
    pub(crate) direct: bool,
    pub(crate) flushes_in_flight: usize,
    pub(crate) sync_policy: SyncPolicy,
    /// One for each option above, and for what the log does by itself.
    pub(crate) reasons: Vec<Reason>,
    /// What to know before any of it is believed.
    pub(crate) warnings: Vec<Warning>,
}

/// Why an option has the value that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reason {
    /// As it is called in code.
    pub(crate) option: &'static str,
    /// As it is written in code.
    pub(crate) value: String,
    pub(crate) why: String,
    /// Measurements.
    pub(crate) from: Vec<&'static str>,
}

/// Something that speaks against the place, or against the figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    /// One word, for programs.
    pub(crate) about: &'static str,
    pub(crate) text: String,
    /// Measurements.
    pub(crate) from: Vec<&'static str>,
}

/// A way other than the default must take so much of its time at the most: less is noise.
const WORTH: f64 = 0.9;

/// Twice as many flushes at a time are worth it from this gain on.
const TOGETHER: f64 = 1.3;

/// A block cannot be durable on any block device within this time: the fastest take more for the
/// transfer, the interrupt and the way back through the kernel.
const NO_DEVICE_US: f64 = 5.0;

/// A sync that did something makes a write take so many times as long as without it.
const DID_SOMETHING: f64 = 2.0;

/// Sixteen blocks that take so many times as long as one: bytes cost more than syncs.
const BY_BYTES: f64 = 8.0;

/// From here on a sync is worth a thought about who has to wait for it: 20 ms.
const SLOW_US: f64 = 20_000.0;

/// Rounds that differ by more mean that something else had the device.
const STEADY: f64 = 1.5;

/// The load of a machine which leaves figures alone.
const QUIET: f64 = 0.5;

/// Writers at once cannot gain more than so many times their number.
const IMPOSSIBLE: f64 = 1.5;

/// From how many writers at once something can be said, in the order they are tried.
const FLUSHES: [usize; 3] = [2, 4, 8];
const FILES: [&str; 3] = ["files_2", "files_4", "files_8"];
const ONE_FILE: [&str; 3] = ["one_file_2", "one_file_4", "one_file_8"];
const DIRECT_ONE_FILE: [&str; 3] = ["direct_one_file_2", "direct_one_file_4", "direct_one_file_8"];

/// What to choose; the defaults unless something else was clearly better.
pub(crate) fn advise(findings: &Findings<'_>) -> Advice {
    let mut warnings = of_place(findings);
    let unbelievable = too_fast(findings).or_else(|| starved(findings));
    let mut advice = match (&unbelievable, findings.of("data_sync")) {
        (None, Some(_)) if !findings.file_system.is_volatile() => believed(findings),
        _ => defaults(unbelievable.as_ref()),
    };
    warnings.extend(unbelievable);
    warnings.extend(of_figures(findings));
    advice.warnings = warnings;
    advice
}

impl Findings<'_> {
    fn of(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// How many times as long `name` takes as `base`, by medians.
    fn times(&self, name: &str, base: &str) -> Option<f64> {
        let (one, other) = (self.of(name)?.p50_us, self.of(base)?.p50_us);
        (other > 0.0).then(|| one / other)
    }

    /// How many times as many writes `name` makes durable in a second as `base`.
    fn gain(&self, name: &str, base: &str) -> Option<f64> {
        let (one, other) = (self.of(name)?.per_second, self.of(base)?.per_second);
        (other > 0.0).then(|| one / other)
    }
}

/// The defaults, where nothing can be concluded.
fn defaults(unbelievable: Option<&Warning>) -> Advice {
    let from = unbelievable.map_or_else(Vec::new, |warning| warning.from.clone());
    let why = match unbelievable {
        Some(_) => "the figures are no measure of a device: nothing is concluded from them",
        None => "nothing that survives power loss was measured: the defaults stay",
    };
    let reason = Reason { option: "Options", value: "default()".into(), why: why.into(), from };
    Advice {
        sync_method: SyncMethod::DataSync,
        direct: false,
        flushes_in_flight: 1,
        sync_policy: SyncPolicy::Group,
        reasons: vec![reason],
        warnings: Vec::new(),
    }
}

fn believed(findings: &Findings<'_>) -> Advice {
    let (sync_method, direct, of_method) = method(findings);
    let (flushes_in_flight, of_flushes) = flushes(findings, direct);
    let (sync_policy, of_policy) = policy(findings);
    let mut reasons = of_method;
    reasons.push(of_flushes);
    reasons.push(of_policy);
    reasons.extend(preparation(findings));
    Advice { sync_method, direct, flushes_in_flight, sync_policy, reasons, warnings: Vec::new() }
}

/// How bytes are made durable: `sync_method` and `direct`.
fn method(findings: &Findings<'_>) -> (SyncMethod, bool, Vec<Reason>) {
    let through = SyncMethod::WriteThrough;
    let choices = [
        ("write_through", "write_through_64k", through, false),
        ("direct_write_through", "direct_write_through_64k", through, true),
    ];
    let mut best: Option<(&'static str, f64, SyncMethod, bool)> = None;
    let mut spoiled = None;
    for (name, large, method, direct) in choices {
        let Some(times) = findings.times(name, "data_sync") else { continue };
        if times >= WORTH {
            continue;
        }
        match findings.times(large, "data_sync_64k") {
            Some(with_more) if with_more > 1.0 / WORTH => {
                spoiled = Some((name, large, times, with_more));
            }
            _ if best.is_none_or(|(_, least, ..)| times < least) => {
                best = Some((name, times, method, direct));
            }
            _ => {}
        }
    }
    let (method, direct, why, from) = match (best, spoiled) {
        (Some((name, times, method, direct)), _) => {
            let why = format!("it takes {times:.2} of the median time of write and fdatasync");
            (method, direct, why, vec![name, "data_sync"])
        }
        (None, Some((name, large, times, with_more))) => {
            let why = format!(
                "{name} takes {times:.2} of its time for a block, but {with_more:.2} for 64 KiB"
            );
            (SyncMethod::DataSync, false, why, vec![name, "data_sync", large, "data_sync_64k"])
        }
        (None, None) => {
            let why = format!("no other way takes less than {WORTH} of its median time");
            let measured = choices.iter().map(|choice| choice.0);
            let measured = measured.filter(|name| findings.of(name).is_some());
            let from = measured.chain(["data_sync"]).collect();
            (SyncMethod::DataSync, false, why, from)
        }
    };
    let value = format!("SyncMethod::{method:?}");
    let mut reasons =
        vec![Reason { option: "sync_method", value, why: why.clone(), from: from.clone() }];
    reasons.push(of_direct(findings, direct, why, from));
    (method, direct, reasons)
}

fn of_direct(
    findings: &Findings<'_>,
    direct: bool,
    why: String,
    from: Vec<&'static str>,
) -> Reason {
    let reason = |why, from| Reason { option: "direct", value: direct.to_string(), why, from };
    if direct {
        return reason(format!("{why}; each small flush then fills a block of 4 KiB"), from);
    }
    if let Some(refused) = findings.direct_refused {
        return reason(format!("it is refused here: {refused}"), Vec::new());
    }
    match findings.times("direct_write_through", "data_sync") {
        Some(times) => {
            let why = format!(
                "O_DIRECT and O_DSYNC take {times:.2} of the time; `true` only for devices which \
                 ruin the sector being written when power fails"
            );
            reason(why, vec!["direct_write_through", "data_sync"])
        }
        None => reason("it was not measured".into(), Vec::new()),
    }
}

/// How many flushes may be on their way at once.
fn flushes(findings: &Findings<'_>, direct: bool) -> (usize, Reason) {
    let (names, base) =
        if direct { (DIRECT_ONE_FILE, "direct_write_through") } else { (ONE_FILE, "data_sync") };
    let said = |flushes: usize, why: String, from: Vec<&'static str>| {
        (flushes, Reason { option: "flushes_in_flight", value: flushes.to_string(), why, from })
    };
    let Some(device) = best_of(findings, FILES, "data_sync") else {
        return said(1, "several at once were not measured".into(), vec![]);
    };
    let in_one_file = best_of(findings, names, base);
    match in_one_file {
        Some(Best { flushes, gain, name, .. }) if flushes > 1 => {
            let why = format!(
                "{flushes} at once in one file make {gain:.2} times as many writes durable as \
                 one; it is a limit, below which the log tries what pays"
            );
            said(flushes, why, vec![name, base])
        }
        _ if device.flushes > 1 => {
            let why = format!(
                "the device takes several at a time ({:.2} times as many with {} files), but \
                 flushes of one file, as the log's are, wait for each other",
                device.gain, device.flushes
            );
            let from = names.into_iter().filter(|name| findings.of(name).is_some());
            said(1, why, [device.name, base].into_iter().chain(from).collect())
        }
        _ => {
            let why = format!(
                "the device takes one flush after the other: more files at once make no more \
                 than {:.2} times as many writes durable as one",
                device.most
            );
            let from = FILES.into_iter().filter(|name| findings.of(name).is_some());
            said(1, why, from.chain(["data_sync"]).collect())
        }
    }
}

/// The number of flushes at once that pays, and what it gains.
#[derive(Clone, Copy, Debug)]
struct Best {
    flushes: usize,
    gain: f64,
    name: &'static str,
    /// The largest gain of all, whether it pays or not.
    most: f64,
}

/// Takes more only for what is gained over fewer. `None`: not measured.
fn best_of(findings: &Findings<'_>, names: [&'static str; 3], base: &'static str) -> Option<Best> {
    let mut best: Option<Best> = None;
    for (flushes, name) in FLUSHES.into_iter().zip(names) {
        let Some(gain) = findings.gain(name, base) else { continue };
        let mut now = best.unwrap_or(Best { flushes: 1, gain: 1.0, name: base, most: gain });
        now.most = now.most.max(gain);
        if gain >= TOGETHER * now.gain {
            now = Best { flushes, gain, name, ..now };
        }
        best = Some(now);
    }
    best
}

/// Group commit, always: commits are smaller than a block, and those that share one save all of a
/// sync. The figures say how far that goes.
fn policy(findings: &Findings<'_>) -> (SyncPolicy, Reason) {
    let mut from = vec!["data_sync_64k", "data_sync"];
    let why = match findings.times("data_sync_64k", "data_sync") {
        Some(times) if times >= BY_BYTES => format!(
            "64 KiB take {times:.2} times as long as 4 KiB: commits gain by sharing a sync as \
             long as they fit a few blocks together, and pay for bytes beyond"
        ),
        Some(times) => format!(
            "64 KiB take {times:.2} times as long as 4 KiB: commits that share a sync cost \
             little more than one"
        ),
        None => {
            from.clear();
            "64 KiB were not measured".to_owned()
        }
    };
    let policy = SyncPolicy::Group;
    (policy, Reason { option: "sync_policy", value: format!("SyncPolicy::{policy:?}"), why, from })
}

/// What the log does by itself about space. No option: it recognises the file system.
fn preparation(findings: &Findings<'_>) -> Option<Reason> {
    let from = vec!["reserved", "data_sync"];
    let said = |value: &str, why| {
        Some(Reason { option: "Preparation (no option)", value: value.into(), why, from })
    };
    if findings.file_system.copies_on_write() {
        let why = format!(
            "{} copies on write: zeros written ahead would buy nothing, and the log writes none",
            findings.file_system
        );
        return said("Preparation::Reserved", why);
    }
    let times = findings.times("reserved", "data_sync")?;
    let growing = findings.times("growing", "data_sync").map_or_else(String::new, |growing| {
        format!(", and a file that grows {growing:.2} times as long")
    });
    let worth = if times > 1.0 / WORTH {
        "zeros written ahead are worth it; the log writes them where it syncs often"
    } else {
        "zeros written ahead buy little here; the log writes them all the same where it syncs often"
    };
    let why =
        format!("space that is only reserved takes {times:.2} times as long{growing}: {worth}");
    said("Preparation::Zeroed", why)
}

/// Whether a sync takes less time than anything durable could.
fn too_fast(findings: &Findings<'_>) -> Option<Warning> {
    let said = |text, from| Some(Warning { about: "too_fast", text, from });
    let synced = findings.of("data_sync")?.p50_us;
    if synced < NO_DEVICE_US {
        let text = format!(
            "a write and fdatasync takes {synced:.1} us: no durable device is so fast. Something \
             answers before the bytes are safe, and commits will be lost with the power"
        );
        return said(text, vec!["data_sync"]);
    }
    let times = findings.times("data_sync", "write_only")?;
    if times < DID_SOMETHING {
        let text = format!(
            "a write with fdatasync takes only {times:.2} times as long as one without: the sync \
             seems to do nothing, and commits will be lost with the power"
        );
        return said(text, vec!["data_sync", "write_only"]);
    }
    None
}

/// Whether one writer alone waited for something else than the device.
///
/// With all processors taken a lone writer gets one only with the next tick of the scheduler, after
/// each sync; many at once hide that from each other. Then no figure of a lone writer means much.
fn starved(findings: &Findings<'_>) -> Option<Warning> {
    let families =
        [(FILES, "data_sync"), (ONE_FILE, "data_sync"), (DIRECT_ONE_FILE, "direct_write_through")];
    for (names, base) in families {
        for (writers, name) in FLUSHES.into_iter().zip(names) {
            let Some(gain) = findings.gain(name, base) else { continue };
            if gain > IMPOSSIBLE * writers as f64 {
                let text = format!(
                    "{writers} writers at once make {gain:.1} times as many writes durable as \
                     one: one alone waited for a processor, not for the device. Measure again \
                     when the machine is quiet"
                );
                return Some(Warning { about: "starved", text, from: vec![name, base] });
            }
        }
    }
    None
}

/// What the file system and the device say of themselves.
fn of_place(findings: &Findings<'_>) -> Vec<Warning> {
    let fs = findings.file_system;
    let said = |about, text| Warning { about, text, from: Vec::new() };
    let mut warnings = Vec::new();
    if fs.is_volatile() {
        warnings.push(said("volatile", format!("{fs} is memory: nothing survives power loss")));
    } else if fs.is_network() {
        let text = format!("{fs}: syncs and locks are another machine's word");
        warnings.push(said("network", text));
    } else if matches!(fs, FilesystemKind::Overlay | FilesystemKind::Fuse) {
        let text = format!(
            "{fs}: a sync is worth what lies below makes of it; measure, and keep the log, on the \
             file system itself (in a container: on a volume)"
        );
        warnings.push(said("layered", text));
    }
    if findings.write_cache == Some("write through") {
        let text = "the kernel sends this device no flushes (write through): what is durable \
                    rests on the device having no volatile cache"
            .to_owned();
        warnings.push(said("write_through_cache", text));
    }
    warnings
}

/// What the figures say of themselves.
fn of_figures(findings: &Findings<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(load) = findings.load_before.filter(|load| *load > QUIET) {
        let text = format!("{load:.2} threads wanted to run in the minute before: it is busy here");
        warnings.push(Warning { about: "busy", text, from: Vec::new() });
    }
    if findings.spread > STEADY {
        let text = format!(
            "medians of the rounds differ by {:.2} times: something else uses the machine, and \
             ratios mean little; measure again when it is quiet",
            findings.spread
        );
        warnings.push(Warning { about: "unsteady", text, from: vec!["data_sync"] });
    }
    if let Some(figure) = findings.of("data_sync").filter(|figure| figure.p50_us >= SLOW_US) {
        let text = format!(
            "a sync takes {:.0} ms. Where the last moments may be lost with the power, \
             SyncPolicy::Periodic lets commits return without it",
            figure.p50_us / 1e3
        );
        warnings.push(Warning { about: "slow", text, from: vec!["data_sync"] });
    }
    warnings
}

#[cfg(test)]
mod tests;
