//! From what was found to the one verdict: the facts of the decision table, and its answer with the
//! place and the proof.
//!
//! The table itself is `verdict.rs`; what is found is for `examine.rs`.

use wal_io::{ChainProblem, SegmentName, Survey};

use crate::evidence::{Claims, Evidence};
use crate::lookahead::Behind;
use crate::scan::{Stop, StopReason};
use crate::verdict::{Dropped, Facts, Verdict, VerdictKind, decide};

/// What the decision table asks for.
pub(crate) fn facts_of(survey: &Survey, stop: &Stop, claims: &Claims, behind: Behind) -> Facts {
    let any = |wanted: fn(&ChainProblem) -> bool| survey.problems.iter().any(wanted);
    Facts {
        newer_format: any(|problem| matches!(problem, ChainProblem::UnsupportedVersion { .. })),
        foreign: any(|problem| matches!(problem, ChainProblem::Foreign { .. })),
        missing: any(|problem| matches!(problem, ChainProblem::Missing { .. })),
        damaged_header: any(|problem| damaged_header(problem).is_some()),
        head_unproven: any(|problem| matches!(problem, ChainProblem::HeadUnproven { .. })),
        stop: behind.class,
        promised: claims.durable() > stop.at,
        records_behind: behind.dropped.records > 0,
    }
}

/// The segment whose header cannot be believed.
const fn damaged_header(problem: &ChainProblem) -> Option<SegmentName> {
    match problem {
        ChainProblem::DamagedHeader { name, .. } | ChainProblem::Misplaced { name, .. } => {
            Some(*name)
        }
        _ => None,
    }
}

/// The verdict of the row which `facts` meet, with its details.
pub(crate) fn verdict_of(
    facts: &Facts,
    survey: &Survey,
    stop: &Stop,
    claims: &Claims,
    dropped: Dropped,
) -> Verdict {
    let kind = decide(facts).map_or(VerdictKind::Corrupt, |row| row.verdict);
    // A detail that is not there, because the table and the facts differ, falls through to
    // `Corrupt` at the stop: damage in doubt is damage.
    let found = match kind {
        VerdictKind::CleanEnd => Some(Verdict::CleanEnd),
        VerdictKind::TornTail => Some(Verdict::TornTail { at: stop.at, dropped }),
        VerdictKind::Corrupt => survey.problems.iter().find_map(damaged_header).map(corrupt_header),
        VerdictKind::UnsupportedVersion => problem_verdict(survey, kind).or(match stop.why {
            StopReason::UnknownKind(kind) => Some(Verdict::UnsupportedVersion {
                name: stop.segment.map(|segment| segment.to_string()).unwrap_or_default(),
                found: u32::from(kind.get()),
            }),
            _ => None,
        }),
        _ => problem_verdict(survey, kind),
    };
    found.unwrap_or_else(|| corrupt_record(stop, claims))
}

/// The verdict of `kind` that a problem of the survey stands for.
fn problem_verdict(survey: &Survey, kind: VerdictKind) -> Option<Verdict> {
    survey.problems.iter().find_map(|problem| {
        let verdict = match problem {
            ChainProblem::UnsupportedVersion { name, found } => {
                Verdict::UnsupportedVersion { name: name.clone(), found: *found }
            }
            ChainProblem::Foreign { name, .. } => Verdict::ForeignSegment { name: name.clone() },
            ChainProblem::Missing { from, to } => Verdict::MissingSegment { from: *from, to: *to },
            ChainProblem::HeadUnproven { first } => Verdict::HeadUnproven { first: *first },
            _ => return None,
        };
        (verdict.kind() == kind).then_some(verdict)
    })
}

const fn corrupt_header(segment: SegmentName) -> Verdict {
    let promised_by = Evidence::LiveName { segment };
    Verdict::Corrupt { lsn: segment.base, segment, offset: 0, promised_by }
}

fn corrupt_record(stop: &Stop, claims: &Claims) -> Verdict {
    let segment = stop.segment.unwrap_or(SegmentName { epoch: stop.epoch, base: stop.at });
    let promised_by = claims.strongest().unwrap_or(Evidence::LiveName { segment });
    Verdict::Corrupt { lsn: stop.at, segment, offset: stop.offset, promised_by }
}
