//! The program `wal-lab`: runs campaigns, replays single states, lists the workloads.
//!
//! Exit codes: 0 nothing broken, 1 a promise was broken or a floor was missed, 2 a mistaken call.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use wal_lab::profile::Kind;
use wal_lab::threads::SCHEDULED;
use wal_lab::{Campaign, Case, Effort, Figures, Outcome, PROFILES, Profile};

/// Crash the log, a million times, and see that nothing promised is lost
#[derive(Parser)]
#[command(name = "wal-lab")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Explore many cases
    Run(Run),
    /// See one case, or one state of it, again
    Replay {
        /// A name as a failure prints it, such as mixed:17:wide:204.3
        name: String,
        /// Crash states for each power cut
        #[arg(long, default_value_t = Effort::default().states)]
        states: usize,
        /// Power cuts in a row
        #[arg(long, default_value_t = Effort::default().depth)]
        depth: usize,
    },
    /// Name the workloads
    List,
}

#[derive(clap::Args)]
struct Run {
    /// The seed that all others follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cases: workloads with a seed, in turn
    #[arg(long, default_value_t = 100)]
    cases: u64,
    /// Crash states for each power cut
    #[arg(long, default_value_t = Effort::default().states)]
    states: usize,
    /// Power cuts in a row, the first in the workload
    #[arg(long, default_value_t = Effort::default().depth)]
    depth: usize,
    /// Only these workloads
    #[arg(long)]
    workload: Vec<String>,
    /// Begin no case after so many seconds
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
    /// How many threads
    #[arg(long)]
    threads: Option<usize>,
    /// Fail unless every step of the protocol was cut in so many judged states
    #[arg(long, default_value_t = 0)]
    floor: u64,
    /// Fail unless so many states are distinct
    #[arg(long, default_value_t = 0)]
    distinct: u64,
    /// Print the figures as JSON, and nothing else on standard output
    #[arg(long)]
    json: bool,
    /// No progress bar
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    // Panics of the code under test are violations, and reported as such.
    std::panic::set_hook(Box::new(|_| {}));
    match Arguments::parse().command {
        Command::List => {
            for profile in PROFILES {
                println!("{:<14} {}", profile.name, profile.about);
            }
            ExitCode::SUCCESS
        }
        Command::Replay { name, states, depth } => replay(&name, Effort { states, depth }),
        Command::Run(run) => campaign(&run),
    }
}

fn replay(name: &str, effort: Effort) -> ExitCode {
    let Some((case, state)) = Case::parse(name) else {
        eprintln!("`{name}` names no case; `wal-lab list` names the workloads");
        return ExitCode::from(2);
    };
    let (disk, story) = case.rehearse();
    println!("{case}: {}\n{} operations without a power cut", case.profile.about, disk.ops());
    println!("{}", story.picture(&[], usize::MAX));
    let judged = match state {
        Some(state) => case.replay(&state, effort).map(drop),
        None => case
            .explore(effort)
            .map(|figures| println!("{}", figures.summary()))
            .map_err(|broken| broken.to_string()),
    };
    match judged {
        Ok(()) => {
            println!("nothing is broken in {name}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            println!("BROKEN: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn campaign(run: &Run) -> ExitCode {
    let profiles = match profiles(&run.workload) {
        Ok(profiles) => profiles,
        Err(name) => {
            eprintln!("there is no workload `{name}`; `wal-lab list` names them");
            return ExitCode::from(2);
        }
    };
    let campaign = Campaign {
        profiles,
        seed: run.seed,
        cases: run.cases,
        time: run.time.map(Duration::from_secs),
        effort: Effort { states: run.states, depth: run.depth },
        threads: run.threads,
    };
    let bar = bar(run);
    let outcome = campaign.run(&|figures| {
        bar.set_position(figures.cases);
        bar.set_message(format!("{} distinct states", figures.distinct.len()));
    });
    bar.finish_and_clear();
    report(run, &outcome)
}

/// The workloads asked for; without threads unless this program was built for them.
fn profiles(names: &[String]) -> Result<Vec<&'static Profile>, String> {
    if names.is_empty() {
        let asked = |profile: &&Profile| (profile.kind == Kind::Threads) == SCHEDULED;
        return Ok(PROFILES.iter().filter(asked).collect());
    }
    names.iter().map(|name| Profile::named(name).ok_or_else(|| name.clone())).collect()
}

fn bar(run: &Run) -> ProgressBar {
    if run.quiet || run.json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} cases, {msg}");
    let bar = ProgressBar::new(run.cases);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

fn report(run: &Run, outcome: &Outcome) -> ExitCode {
    let Outcome { figures, broken } = outcome;
    let missed = missed(run, figures);
    if run.json {
        let mut value = figures.to_json();
        value["broken"] = broken.as_ref().map_or(serde_json::Value::Null, |broken| {
            serde_json::json!({
                "case": broken.case.to_string(),
                "state": broken.state,
                "states_needed": figures.states,
                "reason": broken.reason,
            })
        });
        println!("{value}");
    } else {
        print!("{}", figures.tables());
        println!("{}", figures.summary());
    }
    if let Some(broken) = broken {
        eprintln!("\nBROKEN: {broken}");
    }
    missed.iter().for_each(|missed| eprintln!("below its floor: {missed}"));
    if broken.is_none() && missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was to be covered and was not.
fn missed(run: &Run, figures: &Figures) -> Vec<String> {
    let steps = figures.below_floor(run.floor).into_iter();
    let mut missed: Vec<String> = steps.map(|step| format!("`{step}`, {}", run.floor)).collect();
    let distinct = figures.distinct.len() as u64;
    if distinct < run.distinct {
        missed.push(format!("{distinct} distinct states, {}", run.distinct));
    }
    missed
}
