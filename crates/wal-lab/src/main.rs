//! The program `wal-lab`: runs campaigns, replays single states, lists the workloads.
//!
//! Exit codes: 0 nothing broken, 1 a promise was broken or a floor was missed, 2 a mistaken call.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
    /// How many cases: workloads with a seed, in turn; 100, or with --time as many as fit
    #[arg(long)]
    cases: Option<u64>,
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
    /// Fail unless every kind of fault that these workloads are for befell so many judged states
    #[arg(long, default_value_t = 0)]
    fault_floor: u64,
    /// Fail unless at every depth a part survived in so many judged states: torn, reordered, partly
    #[arg(long, default_value_t = 0)]
    depth_floor: u64,
    /// Run it so often, and fail unless each run ends in the same hash
    #[arg(long, default_value_t = 1)]
    repeat: u64,
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

impl Run {
    fn cases(&self) -> u64 {
        self.cases.unwrap_or(if self.time.is_some() { u64::MAX } else { 100 })
    }
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
        cases: run.cases(),
        time: run.time.map(Duration::from_secs),
        effort: Effort { states: run.states, depth: run.depth },
        threads: run.threads,
    };
    let mut outcome = explored(run, &campaign);
    let mut hashes = vec![outcome.figures.hash];
    for _ in 1..run.repeat {
        if outcome.broken.is_some() {
            break;
        }
        outcome = explored(run, &campaign);
        hashes.push(outcome.figures.hash);
    }
    report(run, &campaign, &outcome, &hashes)
}

fn explored(run: &Run, campaign: &Campaign) -> Outcome {
    let progress = Progress::new(run);
    let outcome = campaign.run(&|figures| progress.tell(figures));
    progress.bar.finish_and_clear();
    outcome
}

/// The workloads asked for, or those that run by default: with threads if this program was built
/// for them, else all that run without.
fn profiles(names: &[String]) -> Result<Vec<&'static Profile>, String> {
    if names.is_empty() {
        let asked = |profile: &&Profile| match SCHEDULED {
            true => profile.kind == Kind::Threads,
            false => profile.by_default,
        };
        return Ok(PROFILES.iter().filter(asked).collect());
    }
    let profiles: Result<Vec<&'static Profile>, String> =
        names.iter().map(|name| Profile::named(name).ok_or_else(|| name.clone())).collect();
    let profiles = profiles?;
    if !SCHEDULED && profiles.iter().any(|profile| profile.kind == Kind::Threads) {
        eprintln!(
            "SKIPPED: the scheduler is not built in, so `threads` runs on one thread; `cargo xtask \
             sim --workload threads` builds it in"
        );
    }
    Ok(profiles)
}

/// How far it is: a bar on a terminal, elsewhere a line now and then; on standard error.
struct Progress {
    bar: ProgressBar,
    began: Instant,
    /// Lines told; none where there is a bar, or where nothing is to be told.
    lines: Option<AtomicU64>,
}

impl Progress {
    /// Time between two lines.
    const EVERY: Duration = Duration::from_secs(30);

    fn new(run: &Run) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let lines = (!run.quiet && !terminal).then(AtomicU64::default);
        let bar = if run.quiet || !terminal {
            ProgressBar::hidden()
        } else if run.cases() == u64::MAX {
            ProgressBar::no_length()
        } else {
            ProgressBar::new(run.cases())
        };
        let style =
            ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} cases, {msg}");
        let bar = style.map_or(bar.clone(), |style| bar.with_style(style));
        Self { bar, began: Instant::now(), lines }
    }

    fn tell(&self, figures: &Figures) {
        self.bar.set_position(figures.cases);
        self.bar.set_message(format!("{} distinct states", figures.distinct.len()));
        let Some(lines) = &self.lines else { return };
        let elapsed = self.began.elapsed();
        let due = elapsed.as_secs() / Self::EVERY.as_secs();
        if lines.fetch_max(due, Ordering::Relaxed) < due {
            let (cases, distinct) = (figures.cases, figures.distinct.len());
            eprintln!("{} s: {cases} cases, {distinct} distinct states", elapsed.as_secs());
        }
    }
}

fn report(run: &Run, campaign: &Campaign, outcome: &Outcome, hashes: &[u64]) -> ExitCode {
    let Outcome { figures, broken } = outcome;
    // A campaign that was ended by a failure covers less.
    let mut missed = if broken.is_some() { Vec::new() } else { missed(run, campaign, figures) };
    let shown: Vec<String> = hashes.iter().map(|hash| format!("{hash:016x}")).collect();
    if hashes.iter().any(|hash| *hash != figures.hash) {
        missed.push(format!("the hashes of {} equal runs differ: {shown:?}", hashes.len()));
    }
    if run.json {
        let mut value = figures.to_json();
        value["hashes"] = serde_json::json!(shown);
        value["missed"] = serde_json::json!(missed);
        value["broken"] = broken.as_ref().map_or(serde_json::Value::Null, |broken| {
            serde_json::json!({
                "case": broken.case.to_string(),
                "state": broken.state,
                "states_needed": figures.states,
                "reason": broken.reason,
                "replay": broken.replay(),
            })
        });
        println!("{value}");
    } else {
        print!("{}", figures.tables());
        println!("{}", figures.summary());
        if hashes.len() > 1 {
            println!("hashes of {} runs: {}", hashes.len(), shown.join(" "));
        }
    }
    if let Some(broken) = broken {
        eprintln!("\nBROKEN: {broken}");
    }
    missed.iter().for_each(|missed| eprintln!("missed: {missed}"));
    if broken.is_none() && missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was to be covered and was not.
fn missed(run: &Run, campaign: &Campaign, figures: &Figures) -> Vec<String> {
    let steps = figures.below_floor(run.floor).into_iter();
    let mut missed: Vec<String> =
        steps.map(|step| format!("fewer than {} states cut in `{step}`", run.floor)).collect();
    for kind in figures.faults_below_floor(&campaign.profiles, run.fault_floor) {
        missed.push(format!("fewer than {} states after `{kind}`", run.fault_floor));
    }
    for (depth, kind) in figures.depths_below_floor(run.depth, run.depth_floor) {
        missed
            .push(format!("fewer than {} states with `{kind}` at depth {depth}", run.depth_floor));
    }
    let distinct = figures.distinct.len() as u64;
    if distinct < run.distinct {
        missed.push(format!("{distinct} distinct states, fewer than {}", run.distinct));
    }
    missed
}
