//! The part of a page which shows figures: tables of ratios, and the pictures.
//!
//! No time stands there alone: what is told is what it is of the bare device's in the same run.

use std::fmt::Write as _;

use wal_bench::{Failure, STEADY, Sheet};

use crate::figures::{Kind, logs, number, numbers, of_raw};

/// Between these lines the page is replaced.
pub(crate) const BEGIN: &str =
    "<!-- figures: begin; written by `cargo xtask bench plot --docs` -->";
pub(crate) const END: &str = "<!-- figures: end -->";

/// The page with `shown` between its marks.
pub(crate) fn renewed(page: &str, shown: &str) -> Result<String, Failure> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or("the page has no marks between which figures go")?;
    Ok(format!("{before}{BEGIN}\n\n{shown}\n{END}{after}"))
}

/// What the page says of one file and the pictures made of it.
pub(crate) fn section(kind: Kind, sheet: &Sheet, pictures: &[String]) -> String {
    let mut text = format!("### {}\n\n`{}`\n\n", kind.title(), kind.command());
    for note in &sheet.notes {
        let _ = writeln!(text, "* {note}");
    }
    for load in unsteady(sheet) {
        let _ = writeln!(text, "* UNSTEADY: {load}: these ratios mean little");
    }
    text.push('\n');
    text.push_str(&tables(kind, sheet));
    for picture in pictures {
        let _ = writeln!(text, "![{}](performance/{picture})\n", kind.title());
    }
    text
}

/// Loads in which the bare device itself differed too much from round to round.
fn unsteady(sheet: &Sheet) -> Vec<String> {
    let differs = |line: &wal_bench::Line<'_>| {
        let slowest = line.number("commits_per_second_min");
        let rounds = slowest.zip(line.number("commits_per_second_max"));
        line.text("log") == "raw" && rounds.is_some_and(|(min, max)| max > min * STEADY)
    };
    let told = |line: wal_bench::Line<'_>| {
        let (threads, body) = (line.text("threads"), line.text("body_bytes"));
        format!("{threads} threads, bodies of {body} bytes")
    };
    sheet.rows().filter(differs).map(told).collect()
}

fn tables(kind: Kind, sheet: &Sheet) -> String {
    match kind {
        Kind::Commits => {
            let columns = [
                ("commits_per_second", "Commits a second"),
                ("p50_micros", "p50"),
                ("p99_micros", "p99"),
                ("p999_micros", "p99.9"),
                ("cpu_micros_per_commit", "CPU of a commit"),
            ];
            by_threads(sheet, &columns) + &bytes(sheet)
        }
        Kind::InFlight => by_threads(sheet, &[("commits_per_second", "Commits a second")]),
        Kind::PeersCommits => {
            let columns = [
                ("commits_per_second", "Commits a second"),
                ("p50_micros", "p50"),
                ("p99_micros", "p99"),
                ("p999_micros", "p99.9"),
                ("cpu_micros_per_commit", "CPU of a commit"),
            ];
            let rate = ("commits_per_second", "Commits a second");
            over_the_best(sheet, rate)
                + &tasks(sheet)
                + &by_threads(sheet, &columns)
                + &ours_of(sheet)
                + &plain(sheet, ("syncs_per_commit", "Syncs a commit, counted apart", 3))
                + &plain(sheet, ("device_bytes_per_commit", "Device bytes a commit", 0))
                + &bytes(sheet)
        }
        Kind::Appends => by_threads(
            sheet,
            &[("appends_per_second", "Appends a second"), ("cpu_nanos_per_append", "CPU")],
        ),
        Kind::PeersAppends => {
            let appends = ("appends_per_second", "Appends a second");
            let reads = ("reads_per_second", "Reads a second");
            over_the_best(sheet, appends)
                + &over_the_best(sheet, reads)
                + &by_threads(sheet, &[appends, reads])
        }
        Kind::Rotations => rotations(sheet),
        Kind::Scan => scan(sheet),
        Kind::Recovery => recovery(sheet),
    }
}

/// A table a column and body: a line a log, a column a number of threads, all of the bare device's.
fn by_threads(sheet: &Sheet, columns: &[(&str, &str)]) -> String {
    let threads = numbers(sheet, "threads");
    let mut text = String::new();
    for body in numbers(sheet, "body_bytes") {
        for (column, title) in columns {
            let head = |threads: &u64| format!("{threads} threads");
            let rows = logs(sheet).into_iter().filter_map(|log| {
                let cell = |&threads: &u64| {
                    let load = [("threads", threads), ("body_bytes", body)];
                    ratio(of_raw(sheet, log, &load, column))
                };
                let cells: Vec<String> = threads.iter().map(cell).collect();
                let told = cells.iter().any(|cell| !cell.is_empty());
                told.then(|| [vec![log.to_owned()], cells].concat())
            });
            let head: Vec<String> =
                [vec!["log".to_owned()], threads.iter().map(head).collect()].concat();
            let _ = writeln!(text, "{title}, of raw's; bodies of {body} bytes:\n");
            text.push_str(&table(&head, rows));
        }
    }
    text
}

/// The rows of our log.
const OURS: [&str; 7] =
    ["wal", "wal-tasks", "wal-new", "wal-batches", "wal-one", "wal-once", "wal-reusing"];

/// The best of the other logs which are durable under a load, and its figure.
fn best<'a>(sheet: &'a Sheet, load: &[(&str, u64)], column: &str) -> Option<(&'a str, f64)> {
    let is_other = |log: &&str| !log.starts_with("raw") && !OURS.contains(log);
    let others = logs(sheet).into_iter().filter(is_other).filter(|log| is_durable(sheet, log));
    let figures = others.filter_map(|log| Some((log, number(sheet, log, load, column)?)));
    figures.max_by(|one, two| one.1.total_cmp(&two.1))
}

/// Ours over the best of the other logs in each load, which is named.
fn over_the_best(sheet: &Sheet, (column, title): (&str, &str)) -> String {
    let threads = numbers(sheet, "threads");
    let mut text = String::new();
    for body in numbers(sheet, "body_bytes") {
        let rows = OURS.iter().filter_map(|ours| {
            let cell = |&threads: &u64| {
                let load = [("threads", threads), ("body_bytes", body)];
                let figures = number(sheet, ours, &load, column).zip(best(sheet, &load, column));
                figures.map_or_else(String::new, |(ours, (other, best))| {
                    format!("{:.2} ({other})", ours / best)
                })
            };
            let cells: Vec<String> = threads.iter().map(cell).collect();
            let told = cells.iter().any(|cell| !cell.is_empty());
            told.then(|| [vec![(*ours).to_owned()], cells].concat())
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if rows.is_empty() {
            continue;
        }
        let head = threads.iter().map(|threads| format!("{threads} threads"));
        let head: Vec<String> = ["ours".to_owned()].into_iter().chain(head).collect();
        let _ = writeln!(
            text,
            "{title}, ours over the best of the other logs, which is named; bodies of {body} bytes:\n"
        );
        text.push_str(&table(&head, rows.into_iter()));
    }
    text
}

/// The most tasks over the best that another log made of any load which tasks were run under.
fn tasks(sheet: &Sheet) -> String {
    const RATE: &str = "commits_per_second";
    let mut text = String::new();
    for body in numbers(sheet, "body_bytes") {
        let load = |threads| [("threads", threads), ("body_bytes", body)];
        let rate = |threads| number(sheet, "wal-tasks", &load(threads), RATE);
        let threads = numbers(sheet, "threads");
        let run: Vec<(u64, f64)> =
            threads.into_iter().filter_map(|threads| Some((threads, rate(threads)?))).collect();
        let best = run.iter().filter_map(|&(threads, _)| {
            best(sheet, &load(threads), RATE).map(|(other, rate)| (other, threads, rate))
        });
        let best = best.max_by(|one, two| one.2.total_cmp(&two.2));
        if let Some((&(tasks, rate), (other, threads, best))) = run.last().zip(best) {
            let _ = writeln!(
                text,
                "{tasks} tasks on one thread, bodies of {body} bytes: {:.2} of {other} with {threads} \
                 threads, the best of the loads that tasks were run under.\n",
                rate / best
            );
        }
    }
    text
}

/// A table a body of a column as it is, with so many digits: a line a log, a column a number of threads.
fn plain(sheet: &Sheet, (column, title, digits): (&str, &str, usize)) -> String {
    let threads = numbers(sheet, "threads");
    let mut text = String::new();
    for body in numbers(sheet, "body_bytes") {
        let rows = logs(sheet).into_iter().map(|log| {
            let cell = |&threads: &u64| {
                let load = [("threads", threads), ("body_bytes", body)];
                let found = number(sheet, log, &load, column);
                found.map_or_else(String::new, |value| format!("{value:.digits$}"))
            };
            [vec![log.to_owned()], threads.iter().map(cell).collect()].concat()
        });
        let head = threads.iter().map(|threads| format!("{threads} threads"));
        let head: Vec<String> = ["log".to_owned()].into_iter().chain(head).collect();
        let _ = writeln!(text, "{title}; bodies of {body} bytes:\n");
        text.push_str(&table(&head, rows));
    }
    text
}

/// Our log over each other one.
fn ours_of(sheet: &Sheet) -> String {
    let threads = numbers(sheet, "threads");
    let mut text = String::new();
    for body in numbers(sheet, "body_bytes") {
        let rows = logs(sheet).into_iter().filter(|log| !log.starts_with("raw")).map(|log| {
            let cell = |&threads: &u64| {
                let load = [("threads", threads), ("body_bytes", body)];
                let rate = |log| number(sheet, log, &load, "commits_per_second");
                ratio(rate("wal").zip(rate(log)).map(|(ours, other)| ours / other))
            };
            let name = if is_durable(sheet, log) {
                log.to_owned()
            } else {
                format!("{log} (not durable)")
            };
            [vec![name], threads.iter().map(cell).collect()].concat()
        });
        let head = threads.iter().map(|threads| format!("{threads} threads"));
        let head: Vec<String> = ["wal over".to_owned()].into_iter().chain(head).collect();
        let _ = writeln!(text, "Commits a second, ours over each; bodies of {body} bytes:\n");
        text.push_str(&table(&head, rows));
    }
    text
}

/// Whether no line says that a log answers without a sync.
fn is_durable(sheet: &Sheet, log: &str) -> bool {
    !sheet.rows().any(|line| line.text("log") == log && line.text("durable") == "false")
}

/// What our log keeps, and what the device writes for it.
fn bytes(sheet: &Sheet) -> String {
    let head = ["body", "threads", "stored bytes a commit", "device bytes a commit", "idle CPU"];
    let rows = sheet.rows().filter(|line| line.text("log") == "wal").map(|line| {
        let digits = |column, digits| {
            line.number(column).map_or_else(String::new, |value| format!("{value:.digits$}"))
        };
        vec![
            line.text("body_bytes").to_owned(),
            line.text("threads").to_owned(),
            digits("stored_bytes_per_commit", 1),
            digits("device_bytes_per_commit", 0),
            digits("idle_cpu_share", 3),
        ]
    });
    format!("Our log:\n\n{}", table(&head.map(str::to_owned), rows))
}

fn rotations(sheet: &Sheet) -> String {
    let head = [
        "segment, KiB",
        "log",
        "threads",
        "rotations",
        "p99.9/p50, of raw's",
        "device bytes a commit",
    ];
    let rows = sheet.rows().map(|line| {
        let whole = |column| line.number(column).map_or_else(String::new, |at| format!("{at:.0}"));
        let segment = line.number("segment_bytes").map(|bytes| (bytes / 1024.0).to_string());
        vec![
            segment.unwrap_or_default(),
            line.text("log").to_owned(),
            line.text("threads").to_owned(),
            whole("rotations"),
            ratio(line.number("spread_of_raw")),
            whole("device_bytes_per_commit"),
        ]
    });
    table(&head.map(str::to_owned), rows)
}

fn scan(sheet: &Sheet) -> String {
    let head = ["log", "body", "bytes a second, of raw's", "own memory, MiB"];
    let rows = sheet.rows().filter_map(|line| {
        let load = [("body_bytes", line.number("body_bytes")? as u64)];
        let mebibytes = line.number("anonymous_bytes_max").map(|bytes| bytes / f64::from(1 << 20));
        Some(vec![
            line.text("log").to_owned(),
            line.text("body_bytes").to_owned(),
            ratio(of_raw(sheet, line.text("log"), &load, "bytes_per_second")),
            mebibytes.map_or_else(String::new, |mebibytes| format!("{mebibytes:.1}")),
        ])
    });
    table(&head.map(str::to_owned), rows)
}

fn recovery(sheet: &Sheet) -> String {
    let head = ["MiB of bodies", "opening, of reading the same files and making one segment"];
    let rows = sheet.rows().map(|line| {
        let both = line.number("raw_seconds").zip(line.number("make_seconds"));
        let told = line.number("open_seconds").zip(both);
        let told = told.map(|(open, (raw, make))| open / (raw + make));
        vec![line.text("mebibytes").to_owned(), ratio(told)]
    });
    table(&head.map(str::to_owned), rows)
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.2}"))
}

fn table(head: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    let rows: String = rows.map(|cells| line(&cells)).collect();
    format!("{}{rule}{rows}\n", line(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let once = renewed(&page, "new").unwrap();
        assert_eq!(once, format!("before\n{BEGIN}\n\nnew\n{END}\nafter\n"));
        assert_eq!(renewed(&once, "new").unwrap(), once);
        assert!(renewed("no marks", "new").is_err());
    }

    #[test]
    fn a_section_names_its_command_its_notes_and_ratios_only() {
        let text = "# taken here\nlog,threads,body_bytes,commits_per_second\n\
                    raw,1,128,8000\nwal,1,128,7600\n";
        let section = section(Kind::Commits, &Sheet::from_text(text), &["a.svg".to_owned()]);
        assert!(section.contains("cargo xtask bench commit") && section.contains("* taken here"));
        assert!(section.contains("| wal | 0.95 |") && section.contains("(performance/a.svg)"));
        assert!(!section.contains("7600"), "{section}");
    }

    #[test]
    fn a_load_under_which_the_bare_device_was_unsteady_is_marked() {
        let text = "log,threads,body_bytes,commits_per_second_min,commits_per_second_max\n\
                    raw,1,128,100,140\nraw,8,128,100,160\nwal,1,128,1,9\n";
        assert_eq!(unsteady(&Sheet::from_text(text)), ["8 threads, bodies of 128 bytes"]);
    }

    #[test]
    fn a_log_that_is_not_durable_is_marked() {
        let text = "log,threads,body_bytes,commits_per_second,durable\n\
                    raw,1,128,100,true\nwal,1,128,90,true\nfast,1,128,900,false\n";
        let section = section(Kind::PeersCommits, &Sheet::from_text(text), &[]);
        assert!(section.contains("| fast (not durable) | 0.10 |"), "{section}");
    }

    #[test]
    fn ours_is_held_against_the_best_other_log_that_is_durable() {
        let text = "log,threads,body_bytes,commits_per_second,durable\n\
                    raw,128,128,100,true\nwal,128,128,90,true\nfast,128,128,900,false\n\
                    one,128,128,60,true\ntwo,128,128,45,true\nwal-tasks,128,128,75,true\n\
                    one,1024,128,30,true\nwal-tasks,1024,128,120,true\n";
        let section = section(Kind::PeersCommits, &Sheet::from_text(text), &[]);
        assert!(section.contains("| wal | 1.50 (one) |  |"), "{section}");
        assert!(section.contains("| wal-tasks | 1.25 (one) | 4.00 (one) |"), "{section}");
        assert!(section.contains("1024 tasks on one thread"), "{section}");
        assert!(section.contains("2.00 of one with 128 threads"), "{section}");
    }

    #[test]
    fn syncs_and_bytes_of_other_logs_are_told_as_they_are() {
        let text = "log,threads,body_bytes,commits_per_second,syncs_per_commit,device_bytes_per_commit\n\
                    raw,2,128,100,1,4300.4\nwal,2,128,90,0.5,2200.6\nother,2,128,90,,\n";
        let section = section(Kind::PeersCommits, &Sheet::from_text(text), &[]);
        assert!(
            section.contains("| wal | 0.500 |") && section.contains("| wal | 2201 |"),
            "{section}"
        );
        assert!(section.contains("| other |  |"), "{section}");
    }

    #[test]
    fn reading_is_held_against_the_best_other_log_too() {
        let text = "log,threads,body_bytes,appends_per_second,reads_per_second\n\
                    raw,1,128,100,100\nwal,1,128,90,60\nwal-once,1,128,80,50\nwal-db,1,128,30,20\n";
        let section = section(Kind::PeersAppends, &Sheet::from_text(text), &[]);
        assert!(section.contains("| wal | 3.00 (wal-db) |"), "{section}");
        assert!(section.contains("| wal-once | 2.50 (wal-db) |"), "{section}");
    }

    #[test]
    fn every_kind_has_a_section() {
        for kind in Kind::ALL {
            let section = section(kind, &Sheet::from_text("log,body_bytes\nraw,128\n"), &[]);
            assert!(section.contains(kind.title()) && section.contains("|---|"), "{section}");
        }
    }
}
