//! The segments of a log as a drawn map: what each stretch of each file is, and the marks on it.
//!
//! Pure: made from a view, drawn by whoever has a pen.

use wal::{ChainLink, LogView, Lsn, PersistentHoldInfo, SegmentName, Verdict};

use super::census::Census;
use super::output::{Paint, bytes_text};

/// What a stretch of a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Records, proven durable.
    Durable,
    /// Whole records that no evidence proves to have been synced.
    Unproven,
    /// Behind the first place that cannot be read.
    Lost,
    /// Space that was never written.
    Blank,
    /// Behind the place where the next segment goes on: dead.
    Dead,
}

impl Ground {
    pub(crate) const ALL: [Self; 5] =
        [Self::Durable, Self::Unproven, Self::Lost, Self::Blank, Self::Dead];

    pub(crate) const fn sign(self) -> char {
        match self {
            Self::Durable => '█',
            Self::Unproven => '▒',
            Self::Lost => '╳',
            Self::Blank => '·',
            Self::Dead => ' ',
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Unproven => "whole, not proven durable",
            Self::Lost => "not readable, or behind what is not",
            Self::Blank => "not written yet",
            Self::Dead => "dead: the next segment goes on before it",
        }
    }
}

/// Something at an address.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) lsn: Lsn,
    pub(crate) sign: char,
    pub(crate) words: String,
}

/// One segment.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: SegmentName,
    pub(crate) start: u64,
    /// First address that the file cannot hold.
    pub(crate) end: u64,
    /// Consecutive stretches: up to which address, and what.
    pub(crate) grounds: Vec<(u64, Ground)>,
    pub(crate) marks: Vec<Mark>,
    /// What lies between the segment before and this one, if anything does.
    pub(crate) gap: Option<String>,
}

/// The map of a log.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) rows: Vec<Row>,
    /// Rows left out in the middle, and where.
    pub(crate) omitted: Option<(usize, usize)>,
}

impl Map {
    /// The map of at most `rows_max` segments, the first ones and the last ones.
    pub(crate) fn of(
        view: &LogView,
        census: &Census,
        holds: &[PersistentHoldInfo],
        rows_max: usize,
    ) -> Self {
        let links = &view.survey().links;
        let marks = marks_of(view, census, holds);
        let omitted = (links.len() > rows_max).then(|| {
            let first = rows_max / 3;
            (first, links.len() - rows_max)
        });
        let is_shown = |index: usize| {
            omitted.is_none_or(|(from, count)| index < from || index >= from + count)
        };
        let rows = links
            .iter()
            .enumerate()
            .filter(|(index, _)| is_shown(*index))
            .map(|(index, link)| {
                let before = index.checked_sub(1).and_then(|before| links.get(before));
                row(view, link, before, &marks)
            })
            .collect();
        Self { rows, omitted }
    }
}

impl Row {
    /// The row as `cells` signs: grounds, and marks on top of them.
    pub(crate) fn drawn(&self, cells: usize, paint: Paint) -> String {
        let bytes = (self.end - self.start).max(1);
        let at =
            |cell: usize| self.start + (u128::from(bytes) * cell as u128 / cells as u128) as u64;
        let mut text = String::new();
        for cell in 0..cells {
            let (from, to) = (at(cell), at(cell + 1).max(at(cell) + 1));
            let mark = self.marks.iter().rfind(|mark| (from..to).contains(&mark.lsn.get()));
            text.push_str(&match mark {
                Some(mark) if mark.sign == '✗' => paint.bad("✗"),
                Some(mark) => paint.key(&mark.sign.to_string()),
                None => self.ground_of(from, to).painted(paint),
            });
        }
        text
    }

    /// The first ground of those between `from` and `to` that a person should see.
    fn ground_of(&self, from: u64, to: u64) -> Ground {
        let mut start = self.start;
        let mut here = Vec::new();
        for &(end, ground) in &self.grounds {
            if start < to && end > from {
                here.push(ground);
            }
            start = end;
        }
        let worth = [Ground::Lost, Ground::Unproven, Ground::Durable, Ground::Blank, Ground::Dead];
        worth.into_iter().find(|ground| here.contains(ground)).unwrap_or(Ground::Blank)
    }
}

impl Ground {
    pub(crate) fn painted(self, paint: Paint) -> String {
        let sign = self.sign().to_string();
        match self {
            Self::Durable => paint.good(&sign),
            Self::Unproven => paint.warn(&sign),
            Self::Lost => paint.bad(&sign),
            Self::Blank | Self::Dead => paint.dim(&sign),
        }
    }
}

fn row(view: &LogView, link: &ChainLink, before: Option<&ChainLink>, marks: &[Mark]) -> Row {
    let (start, cap, end) = (link.name.base.get(), link.cap.get(), link.end().get());
    let readable = view.end().get().clamp(start, cap);
    let durable = view.durable().get().clamp(start, readable);
    // Behind the end of the log lies what was written and is torn, or nothing.
    let lost = match view.verdict() {
        Verdict::CleanEnd => readable,
        Verdict::TornTail { at, dropped } => {
            at.get().saturating_add(dropped.bytes).clamp(readable, cap)
        }
        _ if view.end().get() < cap => cap,
        _ => readable,
    };
    let stretches = [
        (durable, Ground::Durable),
        (readable, Ground::Unproven),
        (lost, Ground::Lost),
        (cap, Ground::Blank),
        (end.max(cap), Ground::Dead),
    ];
    let mut grounds: Vec<(u64, Ground)> = Vec::new();
    for (until, ground) in stretches {
        if until > grounds.last().map_or(start, |last| last.0) {
            grounds.push((until, ground));
        }
    }
    let marks = marks.iter().filter(|mark| (start..cap).contains(&mark.lsn.get()));
    Row {
        name: link.name,
        start,
        end: end.max(cap),
        grounds,
        marks: marks.cloned().collect(),
        gap: before.and_then(|before| gap_between(before, link)),
    }
}

fn gap_between(before: &ChainLink, link: &ChainLink) -> Option<String> {
    let (from, to) = (before.cap, link.name.base);
    if from >= to {
        return None;
    }
    let bytes = bytes_text(to.get() - from.get());
    Some(if link.header.flags.bits() & AFTER_LOSS != 0 {
        format!("gap of {bytes}, {from} to {to}: records were lost, a salvage says so")
    } else if link.follows(before) {
        format!(
            "jump of {bytes}, {from} to {to}: an opening went on further up, nothing is missing"
        )
    } else {
        format!("gap of {bytes}, {from} to {to}: a segment is missing")
    })
}

/// The flag of a segment behind which records were lost, as the format numbers it.
const AFTER_LOSS: u32 = 4;

fn marks_of(view: &LogView, census: &Census, holds: &[PersistentHoldInfo]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let mut add = |lsn, sign, words: String| marks.push(Mark { lsn, sign, words });
    for &(lsn, us) in &census.openings {
        add(lsn, 'o', format!("opened on {}", crate::time_arg::shown(us)));
    }
    for seen in &census.checkpoints {
        add(seen.record, 'C', format!("checkpoint begun at {}", seen.begin));
    }
    if let Some(pointer) = view.checkpoint() {
        add(
            pointer.redo_from,
            'R',
            format!("replay starts here, by the checkpoint at {}", pointer.record),
        );
    }
    for hold in holds {
        let lsn = hold.lsn.unwrap_or(view.head());
        add(lsn.max(view.head()), 'H', format!("hold `{}` keeps the log from {lsn} on", hold.name));
    }
    match view.verdict() {
        Verdict::CleanEnd => {}
        Verdict::Corrupt { lsn, .. } => add(*lsn, '✗', "damaged here".to_owned()),
        Verdict::TornTail { at, .. } => add(*at, '✗', "torn here".to_owned()),
        _ => add(view.end(), '✗', "the log cannot be read on here".to_owned()),
    }
    marks
}
