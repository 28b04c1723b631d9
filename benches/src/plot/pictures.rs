//! Which pictures are made of which figures.

use wal_bench::Sheet;

use crate::chart::{Across, Panel, Picture, Series};
use crate::figures::{Kind, logs, number, numbers};

/// What is drawn of commits, and what it is called.
const COMMITS: [(&str, &str); 4] = [
    ("commits_per_second", "commits a second"),
    ("p50_micros", "p50, µs"),
    ("p99_micros", "p99, µs"),
    ("p999_micros", "p99.9, µs"),
];

/// The pictures of a kind.
pub(crate) fn of(kind: Kind, sheet: &Sheet) -> Vec<Picture> {
    match kind {
        Kind::Commits | Kind::InFlight | Kind::PeersCommits => numbers(sheet, "body_bytes")
            .into_iter()
            .map(|body| commits(kind, sheet, body))
            .collect(),
        Kind::Recovery => vec![recovery(sheet)],
        Kind::Rotations | Kind::Appends | Kind::Scan | Kind::PeersAppends => Vec::new(),
    }
}

/// Throughput and latencies of all logs against the number of threads.
fn commits(kind: Kind, sheet: &Sheet, body: u64) -> Picture {
    let threads = numbers(sheet, "threads");
    let panel = |(column, title): (&str, &str)| {
        let series = |log: &str| {
            let at = |&threads: &u64| {
                let load = [("threads", threads), ("body_bytes", body)];
                Some((threads as f64, number(sheet, log, &load, column)?))
            };
            let points: Vec<_> = threads.iter().filter_map(at).collect();
            (!points.is_empty()).then(|| Series { name: log.to_owned(), points })
        };
        let series = logs(sheet).into_iter().filter_map(series).collect();
        Panel {
            title: format!("{title}; bodies of {body} bytes"),
            across: Across::Doubling("threads"),
            series,
        }
    };
    let file = format!("{}-{body}.svg", kind.name());
    Picture { file, panels: COMMITS.into_iter().map(panel).collect() }
}

/// Time of an opening against the size of the log.
fn recovery(sheet: &Sheet) -> Picture {
    let line = |name: &str, column: &str| {
        let at = |line: wal_bench::Line<'_>| {
            Some((line.number("mebibytes")?, line.number(column)? * 1e3))
        };
        Series { name: name.to_owned(), points: sheet.rows().filter_map(at).collect() }
    };
    let panel = Panel {
        title: "opening a log that was not closed, ms".to_owned(),
        across: Across::Doubling("MiB of bodies in the log"),
        series: vec![
            line("raw", "raw_seconds"),
            line("wal", "open_seconds"),
            line("making a segment", "make_seconds"),
        ],
    };
    Picture { file: "recovery.svg".to_owned(), panels: vec![panel] }
}

/// The latency curves of each load, of the smallest bodies.
pub(crate) fn of_curves(kind: Kind, sheet: &Sheet) -> Option<Picture> {
    let body = *numbers(sheet, "body_bytes").first()?;
    let panel = |threads: u64| {
        let series = |log: &str| {
            let points: Vec<_> = sheet
                .rows()
                .filter(|line| {
                    line.text("log") == log
                        && line.number("threads") == Some(threads as f64)
                        && line.number("body_bytes") == Some(body as f64)
                })
                .filter_map(|line| Some((line.number("share")?, line.number("micros")?)))
                .collect();
            (!points.is_empty()).then(|| Series { name: log.to_owned(), points })
        };
        Panel {
            title: format!("µs within which a share was done; {threads} threads"),
            across: Across::Nines("share of commits"),
            series: logs(sheet).into_iter().filter_map(series).collect(),
        }
    };
    let panels = numbers(sheet, "threads").into_iter().map(panel).collect();
    Some(Picture { file: format!("{}-latencies-{body}.svg", kind.name()), panels })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITS: &str =
        "log,threads,body_bytes,commits_per_second,p50_micros,p99_micros,p999_micros
raw,1,128,100,10,20,30
wal,1,128,99,10,20,30
raw,8,128,100,10,20,30
wal,8,128,400,10,20,30
wal-tasks,8,128,500,10,20,30
raw,1,4096,90,11,21,31
";

    #[test]
    fn each_log_is_one_series_in_each_panel_and_each_body_one_picture() {
        let pictures = of(Kind::Commits, &Sheet::from_text(COMMITS));
        let files: Vec<&str> = pictures.iter().map(|picture| picture.file.as_str()).collect();
        assert_eq!(files, ["commits-128.svg", "commits-4096.svg"]);
        let series = |picture: &Picture| {
            picture.panels.iter().map(|panel| panel.series.len()).collect::<Vec<_>>()
        };
        assert_eq!(series(&pictures[0]), [3, 3, 3, 3]);
        assert_eq!(series(&pictures[1]), [1, 1, 1, 1]);
        assert_eq!(pictures[0].panels[0].series[1].points, [(1.0, 99.0), (8.0, 400.0)]);
    }

    #[test]
    fn curves_have_a_panel_for_each_load_of_the_smallest_bodies() {
        let sheet = Sheet::from_text(
            "log,threads,body_bytes,share,micros\nraw,1,128,0.5,10\nraw,1,128,0.99,20\n\
             wal,1,128,0.5,11\nwal,8,128,0.5,12\nwal,8,4096,0.5,99\n",
        );
        let picture = of_curves(Kind::Commits, &sheet).unwrap();
        let series: Vec<usize> = picture.panels.iter().map(|panel| panel.series.len()).collect();
        assert_eq!(series, [2, 1]);
        assert_eq!(picture.panels[0].series[0].points, [(0.5, 10.0), (0.99, 20.0)]);
    }

    #[test]
    fn recovery_has_our_log_and_the_bare_device() {
        let text = "mebibytes,open_seconds,raw_seconds\n1,0.002,0.001\n4,0.004,0.002\n";
        let [picture] = &of(Kind::Recovery, &Sheet::from_text(text))[..] else { panic!("not one") };
        assert_eq!(picture.panels[0].series[1].points, [(1.0, 2.0), (4.0, 4.0)]);
    }
}
