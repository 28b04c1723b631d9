//! Each branch of the advice, from figures made up for it.

use super::*;

/// Figures of a disk on which everything costs the same and nothing pays, with changes.
fn figures(changes: &[(&'static str, f64)]) -> Vec<Figure> {
    let names = [
        "data_sync",
        "data_sync_64k",
        "write_through",
        "write_through_64k",
        "direct_write_through",
        "direct_write_through_64k",
        "reserved",
        "growing",
        "write_only",
        "files_2",
        "files_4",
        "files_8",
        "one_file_2",
        "one_file_4",
        "one_file_8",
        "direct_one_file_2",
        "direct_one_file_4",
        "direct_one_file_8",
    ];
    let figure = |name: &'static str| {
        let usual = if name == "write_only" { 4.0 } else { 100.0 };
        let changed = changes.iter().find(|change| change.0 == name).map(|change| change.1);
        let p50_us = changed.unwrap_or(usual);
        Figure { name, p50_us, per_second: 1e6 / p50_us }
    };
    names.map(figure).to_vec()
}

fn findings(figures: &[Figure]) -> Findings<'_> {
    Findings {
        figures,
        file_system: FilesystemKind::Ext,
        write_cache: Some("write back"),
        direct_refused: None,
        spread: 1.0,
        load_before: Some(0.1),
    }
}

fn advised(changes: &[(&'static str, f64)]) -> Advice {
    advise(&findings(&figures(changes)))
}

fn reason<'a>(advice: &'a Advice, option: &str) -> &'a Reason {
    advice.reasons.iter().find(|reason| reason.option.starts_with(option)).unwrap()
}

fn warned(advice: &Advice) -> Vec<&'static str> {
    advice.warnings.iter().map(|warning| warning.about).collect()
}

#[test]
fn every_option_of_a_plain_disk_is_the_default_and_names_its_measurements() {
    let advice = advised(&[]);
    assert_eq!((advice.sync_method, advice.direct), (SyncMethod::DataSync, false));
    assert_eq!((advice.flushes_in_flight, advice.sync_policy), (1, SyncPolicy::Group));
    assert_eq!(warned(&advice), [""; 0]);
    let options = ["sync_method", "direct", "flushes_in_flight", "sync_policy", "Preparation"];
    assert_eq!(advice.reasons.len(), options.len());
    for option in options {
        let reason = reason(&advice, option);
        assert!(reason.from.contains(&"data_sync"), "{reason:?}");
    }
}

#[test]
fn every_measurement_that_advice_names_is_a_way_that_is_measured() {
    use crate::probe::way::WAYS;
    let names = WAYS.map(|way| way.name);
    assert!(figures(&[]).iter().all(|figure| names.contains(&figure.name)));
    let cases: [&[(&'static str, f64)]; 5] = [
        &[],
        &[("one_file_2", 50.0), ("data_sync_64k", 900.0)],
        &[("files_4", 25.0)],
        &[("write_through", 50.0), ("write_through_64k", 200.0)],
        &[("data_sync", 1.0)],
    ];
    for changes in cases {
        let advice = advised(changes);
        let reasons = advice.reasons.iter().flat_map(|it| &it.from);
        let warnings = advice.warnings.iter().flat_map(|it| &it.from);
        assert!(reasons.chain(warnings).all(|name| names.contains(name)), "{advice:?}");
    }
}

#[test]
fn another_method_needs_a_clear_lead() {
    assert_eq!(advised(&[("write_through", 95.0)]).sync_method, SyncMethod::DataSync);
    let clear = advised(&[("write_through", 80.0)]);
    assert_eq!((clear.sync_method, clear.direct), (SyncMethod::WriteThrough, false));
    assert_eq!(reason(&clear, "sync_method").value, "SyncMethod::WriteThrough");
    assert_eq!(reason(&clear, "sync_method").from, ["write_through", "data_sync"]);
}

#[test]
fn of_two_better_methods_the_faster_is_chosen() {
    let direct = advised(&[("write_through", 80.0), ("direct_write_through", 60.0)]);
    assert_eq!((direct.sync_method, direct.direct), (SyncMethod::WriteThrough, true));
    assert!(reason(&direct, "direct").why.contains("fills a block"));
    let cached = advised(&[("write_through", 60.0), ("direct_write_through", 80.0)]);
    assert_eq!((cached.sync_method, cached.direct), (SyncMethod::WriteThrough, false));
}

#[test]
fn a_method_that_is_slower_with_many_bytes_is_not_chosen() {
    let advice = advised(&[("direct_write_through", 60.0), ("direct_write_through_64k", 150.0)]);
    assert_eq!((advice.sync_method, advice.direct), (SyncMethod::DataSync, false));
    let reason = reason(&advice, "sync_method");
    assert!(reason.why.contains("1.50 for 64 KiB"), "{}", reason.why);
    assert!(reason.from.contains(&"direct_write_through_64k"));
}

#[test]
fn where_direct_is_refused_the_advice_says_so() {
    let mut figures = figures(&[]);
    figures.retain(|figure| !figure.name.starts_with("direct"));
    let refused = Findings { direct_refused: Some("tmpfs refuses it"), ..findings(&figures) };
    let advice = advise(&refused);
    assert!(reason(&advice, "direct").why.contains("tmpfs refuses it"));
    assert!(!reason(&advice, "sync_method").from.contains(&"direct_write_through"));
}

#[test]
fn a_device_that_serialises_flushes_gets_one() {
    let advice = advised(&[("files_2", 90.0), ("files_4", 85.0), ("files_8", 80.0)]);
    assert_eq!(advice.flushes_in_flight, 1);
    let reason = reason(&advice, "flushes_in_flight");
    assert!(reason.why.contains("one flush after the other"), "{}", reason.why);
    assert!(reason.why.contains("1.25 times"), "{}", reason.why);
    assert_eq!(reason.from, ["files_2", "files_4", "files_8", "data_sync"]);
}

#[test]
fn a_device_that_overlaps_flushes_gets_as_many_as_pay() {
    let two = [("files_2", 55.0), ("one_file_2", 55.0), ("one_file_4", 50.0), ("one_file_8", 48.0)];
    assert_eq!(advised(&two).flushes_in_flight, 2);
    let eight =
        [("files_2", 55.0), ("one_file_2", 55.0), ("one_file_4", 30.0), ("one_file_8", 15.0)];
    let advice = advised(&eight);
    assert_eq!(advice.flushes_in_flight, 8);
    assert_eq!(reason(&advice, "flushes_in_flight").from, ["one_file_8", "data_sync"]);
}

#[test]
fn more_flushes_that_lose_what_fewer_gained_are_not_taken() {
    let advice = advised(&[("one_file_2", 50.0), ("one_file_4", 95.0), ("one_file_8", 120.0)]);
    assert_eq!(advice.flushes_in_flight, 2);
}

#[test]
fn flushes_that_overlap_only_in_files_of_their_own_are_no_use_to_a_log() {
    let advice = advised(&[("files_2", 55.0), ("files_4", 30.0)]);
    assert_eq!(advice.flushes_in_flight, 1);
    let reason = reason(&advice, "flushes_in_flight");
    assert!(reason.why.contains("wait for each other"), "{}", reason.why);
    assert!(reason.from.contains(&"files_4") && reason.from.contains(&"one_file_2"));
}

#[test]
fn with_direct_io_the_flushes_past_the_cache_count() {
    let advice = advised(&[
        ("direct_write_through", 60.0),
        ("direct_one_file_2", 30.0),
        ("direct_one_file_4", 15.0),
        ("direct_one_file_8", 14.0),
    ]);
    assert_eq!((advice.direct, advice.flushes_in_flight), (true, 4));
    let from = &reason(&advice, "flushes_in_flight").from;
    assert_eq!(from, &["direct_one_file_4", "direct_write_through"]);
}

#[test]
fn commits_share_syncs_and_the_advice_says_how_far_that_goes() {
    let why = |changes| {
        let advice = advised(changes);
        assert_eq!(advice.sync_policy, SyncPolicy::Group);
        let reason = reason(&advice, "sync_policy");
        assert_eq!(reason.value, "SyncPolicy::Group");
        reason.why.clone()
    };
    assert!(why(&[("data_sync_64k", 900.0)]).contains("pay for bytes beyond"));
    assert!(why(&[("data_sync_64k", 300.0)]).contains("little more than one"));
}

#[test]
fn zeros_are_worth_it_only_where_reserved_space_is_slower() {
    let worth = advised(&[("reserved", 190.0), ("growing", 150.0)]);
    let said = reason(&worth, "Preparation");
    assert!(said.why.contains("1.90") && said.why.contains("are worth it"), "{}", said.why);
    let little = advised(&[("reserved", 101.0)]);
    assert!(reason(&little, "Preparation").why.contains("buy little"));
}

#[test]
fn a_file_system_that_copies_on_write_gets_no_zeros() {
    let figures = figures(&[("reserved", 190.0)]);
    let advice = advise(&Findings { file_system: FilesystemKind::Btrfs, ..findings(&figures) });
    assert_eq!(reason(&advice, "Preparation").value, "Preparation::Reserved");
}

#[test]
fn a_sync_faster_than_any_device_is_a_warning_and_nothing_is_concluded() {
    let advice = advised(&[("data_sync", 2.0), ("write_only", 0.5), ("files_2", 0.5)]);
    assert_eq!(warned(&advice), ["too_fast"]);
    assert_eq!(advice.warnings[0].from, ["data_sync"]);
    assert_eq!((advice.sync_method, advice.flushes_in_flight), (SyncMethod::DataSync, 1));
    assert_eq!((advice.reasons.len(), advice.reasons[0].value.as_str()), (1, "default()"));
    assert_eq!(advice.reasons[0].from, ["data_sync"]);
}

#[test]
fn a_sync_that_adds_nothing_to_a_write_is_a_warning_however_slow_the_machine() {
    let advice = advised(&[("data_sync", 30.0), ("write_only", 25.0)]);
    assert_eq!(warned(&advice), ["too_fast"]);
    assert_eq!(advice.warnings[0].from, ["data_sync", "write_only"]);
    assert_eq!(warned(&advised(&[("data_sync", 60.0), ("write_only", 25.0)])), [""; 0]);
}

#[test]
fn writers_that_gain_more_than_their_number_show_a_machine_that_is_busy() {
    let advice = advised(&[("one_file_2", 30.0), ("write_through", 50.0)]);
    assert_eq!(warned(&advice), ["starved"]);
    assert_eq!(advice.warnings[0].from, ["one_file_2", "data_sync"]);
    assert_eq!((advice.sync_method, advice.flushes_in_flight), (SyncMethod::DataSync, 1));
    assert_eq!(advice.reasons[0].value, "default()");
    let direct = advised(&[("direct_write_through", 50.0), ("direct_one_file_8", 4.0)]);
    assert_eq!((warned(&direct), direct.direct), (vec!["starved"], false));
}

#[test]
fn a_load_from_before_is_warned_of_and_the_figures_are_believed() {
    let figures = figures(&[("write_through", 50.0)]);
    let advice = advise(&Findings { load_before: Some(0.6), ..findings(&figures) });
    assert_eq!((warned(&advice), advice.sync_method), (vec!["busy"], SyncMethod::WriteThrough));
    let unknown = advise(&Findings { load_before: None, ..findings(&figures) });
    assert_eq!(warned(&unknown), [""; 0]);
}

#[test]
fn memory_is_warned_of_and_nothing_is_concluded() {
    let figures = figures(&[("write_through", 10.0)]);
    let memory = Findings { file_system: FilesystemKind::Tmpfs, ..findings(&figures) };
    let advice = advise(&memory);
    assert_eq!(warned(&advice), ["volatile"]);
    assert_eq!((advice.sync_method, advice.reasons.len()), (SyncMethod::DataSync, 1));
}

#[test]
fn layers_networks_and_caches_that_are_not_flushed_are_warned_of_and_believed() {
    let figures = figures(&[]);
    for (file_system, about) in [
        (FilesystemKind::Overlay, "layered"),
        (FilesystemKind::Fuse, "layered"),
        (FilesystemKind::Nfs, "network"),
    ] {
        let advice = advise(&Findings { file_system, ..findings(&figures) });
        assert_eq!(warned(&advice), [about]);
        assert!(advice.reasons.len() > 1);
    }
    let unflushed = Findings { write_cache: Some("write through"), ..findings(&figures) };
    assert_eq!(warned(&advise(&unflushed)), ["write_through_cache"]);
}

#[test]
fn rounds_that_differ_and_slow_syncs_are_warned_of() {
    let quiet = figures(&[]);
    assert_eq!(warned(&advise(&Findings { spread: 1.6, ..findings(&quiet) })), ["unsteady"]);
    let slow = quiet.iter().map(|figure| Figure {
        p50_us: 250.0 * figure.p50_us,
        per_second: figure.per_second / 250.0,
        ..*figure
    });
    let slow: Vec<Figure> = slow.collect();
    let advice = advise(&findings(&slow));
    assert_eq!(warned(&advice), ["slow"]);
    assert!(advice.warnings[0].text.contains("25 ms"), "{}", advice.warnings[0].text);
}

#[test]
fn without_figures_the_defaults_stay() {
    let advice = advise(&findings(&[]));
    assert_eq!((advice.sync_method, advice.sync_policy), (SyncMethod::DataSync, SyncPolicy::Group));
    assert_eq!((advice.reasons.len(), advice.warnings.len()), (1, 0));
    assert!(advice.reasons[0].why.contains("nothing"));
}

#[test]
fn what_was_not_measured_is_said_to_be_so() {
    let only = [figures(&[])[0]];
    let advice = advise(&findings(&only));
    assert_eq!((advice.flushes_in_flight, advice.direct), (1, false));
    for option in ["direct", "flushes_in_flight", "sync_policy"] {
        assert!(reason(&advice, option).why.contains("not measured"), "{option}");
    }
}
