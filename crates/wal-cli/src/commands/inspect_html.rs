//! The page of `wal inspect --html`: one file, no script, nothing to load.

use std::collections::BTreeMap;

use wal::{RecordKind, Verdict};

use super::census::{Census, STRETCHES, Stretch, Tally};
use super::findings::{Found, census_text, extent};
use super::map::{Ground, Map, Row};
use super::output::{bytes_text, left_as};
use super::svg::{Bars, Series, WIDTH, escaped, push};
use crate::time_arg;

/// Segments drawn on a page.
const ROWS_MAX: usize = 96;
const ROW_HEIGHT: f64 = 26.0;
const GAP_HEIGHT: f64 = 18.0;
const MAP_LEFT: f64 = 130.0;
const MAP_RIGHT: f64 = 90.0;
/// Kinds that have a colour of their own; the rest are one.
const KINDS_MAX: usize = 7;
const COLOURS: [&str; KINDS_MAX + 1] =
    ["#3b6ea8", "#d98b2b", "#5a9e57", "#b5544d", "#7d62a8", "#4aa3a2", "#c46a9b", "#a0a0a0"];

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2126; --paper: #fcfcfa; --faint: #d9dcdf; --dim: #68717a; --gap: #a3362e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --paper: #16191c; --faint: #363c42; --dim: #97a1ab; --gap: #ef8a80; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 980px; margin: 32px auto; padding: 0 20px; }
h1 { font-size: 22px; margin: 0 0 2px; } h2 { font-size: 16px; margin: 30px 0 6px; }
p { margin: 4px 0; } .dim, .legend { color: var(--dim); font-size: 13px; }
.verdict { padding: 8px 12px; border-left: 5px solid; margin: 14px 0; }
.good { border-color: #5a9e57; } .warn { border-color: #d98b2b; } .bad { border-color: #b5544d; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--dim); }
svg .number { text-anchor: end; } svg .sign { font-weight: 700; fill: var(--ink); text-anchor: middle; }
svg .grid { stroke: var(--faint); } svg .gap { fill: var(--gap); font-weight: 600; } svg .stem { stroke: var(--ink); }
.legend span { margin-right: 14px; white-space: nowrap; }
.legend i { display: inline-block; width: 11px; height: 11px; margin-right: 5px; vertical-align: -1px;
  border: 1px solid var(--faint); }
table { border-collapse: collapse; font-size: 14px; } th { text-align: left; font-weight: 600; }
td, th { padding: 3px 18px 3px 0; border-bottom: 1px solid var(--faint); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
";

/// The page about the log at `place`.
pub(crate) fn page(place: &str, found: &Found<'_>) -> String {
    let Found { view, census, .. } = found;
    let mut out =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    let title = escaped(place);
    push(&mut out, format_args!("<title>{title}</title>\n<style>{STYLE}</style></head><body>\n"));
    let id = view.log_id().map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let closed = left_as(view);
    push(&mut out, format_args!("<h1>{title}</h1>\n"));
    push(
        &mut out,
        format_args!("<p class=\"dim\">log {id}, epoch {}, {closed}</p>\n", view.epoch()),
    );
    let class = match view.verdict() {
        Verdict::CleanEnd => "good",
        Verdict::TornTail { .. } => "warn",
        _ => "bad",
    };
    let verdict = escaped(&view.verdict().to_string());
    push(&mut out, format_args!("<p class=\"verdict {class}\">{verdict}</p>\n"));
    push(&mut out, format_args!("<p>{}.</p>\n", escaped(&extent(view))));
    push(&mut out, format_args!("<p>{}.</p>\n", escaped(&census_text(census))));
    if let Some((first, last)) = census.times {
        let (first, last) = (time_arg::shown(first), time_arg::shown(last));
        push(
            &mut out,
            format_args!(
                "<p class=\"dim\">Openings and checkpoints tell times from {first} to {last}.</p>\n"
            ),
        );
    }
    out.push_str("<h2>Segments</h2>\n");
    out.push_str(&map(found));
    charts(&mut out, census);
    tables(&mut out, found);
    out.push_str("</body></html>\n");
    out
}

fn charts(out: &mut String, census: &Census) {
    if census.all.records == 0 {
        return;
    }
    let bytes = bytes_text(census.stretch_bytes());
    let stretch = format!("a bar is {bytes} of log");
    let by_kind =
        |value: fn(&Tally) -> u64, in_bytes| chart_of_kinds(census, value, in_bytes).svg();
    section(out, "Records over the log", &stretch, &by_kind(|tally| tally.records, false));
    section(out, "Bytes over the log", &stretch, &by_kind(|tally| tally.bytes, true));
    let mean = |it: &Stretch| it.bytes() as f64 / it.records().max(1) as f64;
    let means = along(census, &[("mean bytes of a record", COLOURS[0], &mean)], true);
    section(out, "Mean size of a record over the log", &stretch, &means.svg());
    let syncs = |it: &Stretch| it.syncs as f64;
    let of_syncs = along(census, &[("syncs", COLOURS[4], &syncs)], false);
    let said = format!("{stretch}; durable ends that records tell of, each a sync at least");
    section(out, "Syncs over the log", &said, &of_syncs.svg());
    let group = |it: &Stretch| it.records() as f64 / it.syncs.max(1) as f64;
    let groups = along(census, &[("records a sync", COLOURS[5], &group)], false);
    section(out, "Records that shared a sync, mean", &stretch, &groups.svg());
    if census.batches + census.commits > 0 {
        let batches = |it: &Stretch| it.batches as f64;
        let commits = |it: &Stretch| it.transactions as f64;
        let series: [Measure<'_>; 2] =
            [("atomic batches", COLOURS[1], &batches), ("commits", COLOURS[2], &commits)];
        let both = along(census, &series, false);
        section(out, "Batches and commits over the log", &stretch, &both.svg());
    }
    if !census.sizes.is_empty() {
        section(out, "Bodies by size", "the engine's records", &sizes(census).svg());
    }
}

fn section(out: &mut String, title: &str, said: &str, svg: &str) {
    let (title, said) = (escaped(title), escaped(said));
    push(out, format_args!("<h2>{title}</h2>\n<p class=\"dim\">{said}</p>\n{svg}"));
}

fn count(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1} M", value / 1e6),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

fn size(value: f64) -> String {
    bytes_text(value as u64)
}

/// The kinds with a colour of their own, largest first.
fn coloured_kinds(census: &Census) -> Vec<RecordKind> {
    let mut kinds: Vec<(&RecordKind, &Tally)> = census.kinds.iter().collect();
    kinds.sort_by_key(|(kind, tally)| (std::cmp::Reverse(tally.bytes), **kind));
    kinds.into_iter().take(KINDS_MAX).map(|(kind, _)| *kind).collect()
}

fn chart_of_kinds(census: &Census, value: fn(&Tally) -> u64, in_bytes: bool) -> Bars {
    let kinds = coloured_kinds(census);
    let sum = |stretch: &Stretch, wanted: &dyn Fn(&RecordKind) -> bool| {
        let of = stretch.kinds.iter().filter(|(kind, _)| wanted(kind));
        of.map(|(_, tally)| value(tally)).sum::<u64>() as f64
    };
    let mut series: Vec<Series> = kinds
        .iter()
        .zip(COLOURS)
        .map(|(kind, colour)| Series {
            name: kind.to_string(),
            colour,
            values: census.stretches.iter().map(|it| sum(it, &|other| other == kind)).collect(),
        })
        .collect();
    if census.kinds.len() > kinds.len() {
        let values =
            census.stretches.iter().map(|it| sum(it, &|other| !kinds.contains(other))).collect();
        series.push(Series { name: "others".to_owned(), colour: COLOURS[KINDS_MAX], values });
    }
    Bars { series, ..along(census, &[], in_bytes) }
}

type Measure<'a> = (&'a str, &'static str, &'a dyn Fn(&Stretch) -> f64);

fn along(census: &Census, measures: &[Measure<'_>], in_bytes: bool) -> Bars {
    let start = census.range.start.get();
    let at = |index: usize| start.saturating_add(census.stretch_bytes() * index as u64);
    let series = measures
        .iter()
        .map(|(name, colour, measure)| Series {
            name: (*name).to_owned(),
            colour,
            values: census.stretches.iter().map(measure).collect(),
        })
        .collect();
    let end = census.range.end.get();
    Bars {
        series,
        under: [start, start + (end - start) / 2, end].map(|lsn| lsn.to_string()).to_vec(),
        columns: (0..STRETCHES).map(|index| format!("from {}", at(index))).collect(),
        show: if in_bytes { size } else { count },
        in_bytes,
    }
}

fn sizes(census: &Census) -> Bars {
    let largest = census.sizes.keys().last().copied().unwrap_or(0);
    let smallest = census.sizes.keys().next().copied().unwrap_or(0);
    let name = |bits: u32| match bits {
        0 => "empty".to_owned(),
        bits => format!("≥ {}", bytes_text(1 << (bits - 1))),
    };
    let bits: Vec<u32> = (smallest..=largest).collect();
    let values =
        bits.iter().map(|bits| census.sizes.get(bits).copied().unwrap_or(0) as f64).collect();
    let names: Vec<String> = bits.iter().map(|bits| name(*bits)).collect();
    let series = vec![Series { name: "records".to_owned(), colour: COLOURS[0], values }];
    Bars { series, under: names.clone(), columns: names, show: count, in_bytes: false }
}

const fn colour_of(ground: Ground) -> &'static str {
    match ground {
        Ground::Durable => "#5a9e57",
        Ground::Unproven => "#e0b040",
        Ground::Lost => "#b5544d",
        Ground::Blank => "rgba(128,138,148,.22)",
        Ground::Dead => "rgba(128,138,148,.07)",
    }
}

fn map(found: &Found<'_>) -> String {
    let map = Map::of(found.view, found.census, found.holds, ROWS_MAX);
    let largest = map.rows.iter().map(|row| row.end - row.start).max().unwrap_or(1).max(1);
    let (mut rows, mut y) = (String::new(), 4.0);
    for (index, row) in map.rows.iter().enumerate() {
        if let Some((from, left_out)) = map.omitted
            && index == from
        {
            y += GAP_HEIGHT;
            push(
                &mut rows,
                format_args!(
                    "<text x=\"{MAP_LEFT}\" y=\"{:.1}\">… {left_out} more segments …</text>\n",
                    y - 5.0
                ),
            );
        }
        if let Some(gap) = &row.gap {
            // A jump is none: nothing is missing.
            let class = if gap.starts_with("gap") { "gap" } else { "jump" };
            y += GAP_HEIGHT;
            push(
                &mut rows,
                format_args!(
                    "<text class=\"{class}\" x=\"{MAP_LEFT}\" y=\"{:.1}\">{}</text>\n",
                    y - 5.0,
                    escaped(gap)
                ),
            );
        }
        segment(&mut rows, row, y, largest);
        y += ROW_HEIGHT;
    }
    let height = y + 4.0;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">\n{rows}</svg>\n"
    );
    out.push_str("<p class=\"legend\">");
    for ground in Ground::ALL {
        push(
            &mut out,
            format_args!(
                "<span><i style=\"background:{}\"></i>{}</span> ",
                colour_of(ground),
                ground.words()
            ),
        );
    }
    out.push_str(
        "</p>\n<p class=\"legend\"><span><b>o</b> opening</span> <span><b>C</b> checkpoint</span> \
        <span><b>R</b> replay starts</span> <span><b>H</b> hold</span> \
        <span><b>✗</b> end of what can be read</span></p>\n",
    );
    out
}

/// One segment: its address, its grounds to scale, its marks, its size.
fn segment(out: &mut String, row: &Row, y: f64, largest: u64) {
    let scale = (WIDTH - MAP_LEFT - MAP_RIGHT) / largest as f64;
    let x = |lsn: u64| MAP_LEFT + (lsn.saturating_sub(row.start)) as f64 * scale;
    let middle = y + 15.0;
    push(
        out,
        format_args!(
            "<text class=\"number\" x=\"{:.1}\" y=\"{middle:.1}\">{}<title>{}</title></text>\n",
            MAP_LEFT - 8.0,
            row.start,
            row.name
        ),
    );
    let mut start = row.start;
    for &(end, ground) in &row.grounds {
        let (left, width) = (x(start), (x(end) - x(start)).max(0.6));
        push(
            out,
            format_args!(
                "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"16\" fill=\"{}\"><title>{} \
             to {}: {}</title></rect>\n",
                y + 3.0,
                colour_of(ground),
                start,
                end,
                ground.words()
            ),
        );
        start = end;
    }
    push(
        out,
        format_args!(
            "<text x=\"{:.1}\" y=\"{middle:.1}\">{}</text>\n",
            x(row.end) + 8.0,
            bytes_text(row.end - row.start)
        ),
    );
    // Marks of one place share it: signs that would overlap are drawn side by side.
    let mut signs: BTreeMap<u64, Vec<(char, String)>> = BTreeMap::new();
    for mark in &row.marks {
        let place = (x(mark.lsn.get()) / 10.0) as u64;
        let here = signs.entry(place).or_default();
        let said = format!("{}: {}", mark.lsn, mark.words);
        match here.iter_mut().find(|(sign, _)| *sign == mark.sign) {
            Some((_, words)) => push(words, format_args!("\n{said}")),
            None => here.push((mark.sign, said)),
        }
    }
    for (place, here) in signs {
        let text: String = here.iter().map(|(sign, _)| *sign).collect();
        let said: Vec<&str> = here.iter().map(|(_, words)| words.as_str()).collect();
        push(
            out,
            format_args!(
                "<text class=\"sign\" x=\"{}\" y=\"{middle:.1}\">{text}<title>{}</title></text>\n",
                place * 10 + 5,
                escaped(&said.join("\n"))
            ),
        );
    }
}

fn tables(out: &mut String, found: &Found<'_>) {
    let Found { view, census, holds } = found;
    out.push_str(
        "<h2>Kinds</h2>\n<table><tr><th>kind</th><th class=\"n\">records</th>\
        <th class=\"n\">bytes</th><th class=\"n\">bodies</th></tr>\n",
    );
    for (kind, tally) in &census.kinds {
        let (bytes, bodies) = (bytes_text(tally.bytes), bytes_text(tally.body_bytes));
        push(
            out,
            format_args!(
                "<tr><td>{kind}</td><td class=\"n\">{}</td><td class=\"n\">{bytes}</td><td \
             class=\"n\">{bodies}</td></tr>\n",
                tally.records
            ),
        );
    }
    out.push_str("</table>\n");
    if !census.checkpoints.is_empty() {
        out.push_str(
            "<h2>Checkpoints</h2>\n<table><tr><th class=\"n\">begun</th><th \
            class=\"n\">complete</th><th class=\"n\">replay from</th><th></th></tr>\n",
        );
        for seen in census.checkpoints.iter().rev().take(ROWS_MAX) {
            let in_force = view.checkpoint().is_some_and(|pointer| pointer.record == seen.record);
            push(
                out,
                format_args!(
                    "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
                    seen.begin,
                    seen.record,
                    seen.redo_from,
                    if in_force { "in force" } else { "" }
                ),
            );
        }
        out.push_str("</table>\n");
    }
    if !holds.is_empty() {
        out.push_str(
            "<h2>Holds</h2>\n<table><tr><th>hold</th><th class=\"n\">from</th><th></th></tr>\n",
        );
        for hold in *holds {
            let from = hold.lsn.map_or_else(|| "all".to_owned(), |lsn| lsn.to_string());
            let fault = hold.fault.map_or_else(String::new, |fault| fault.to_string());
            push(
                out,
                format_args!(
                    "<tr><td>{}</td><td class=\"n\">{from}</td><td>{}</td></tr>\n",
                    escaped(&hold.name),
                    escaped(&fault)
                ),
            );
        }
        out.push_str("</table>\n");
    }
}
