//! The program `wal-bank`: explores banks on the simulated disk, replays single states, and kills
//! real processes.
//!
//! Exit codes: 0 nothing broken, 1 a promise was broken or a floor was missed, 2 a mistaken call.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use comfy_table::{Table, presets};
use wal_bank::{
    Books, Broken, Case, Effort, FLAVOURS, Figures, Flavour, KILL_SHAPE, Killed, Kills,
};

/// Crash a bank, a million times, and see that the money is there
#[derive(Parser)]
#[command(name = "wal-bank")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Explore many cases
    Run(Run),
    /// See one state again
    Replay {
        /// A name as a failure prints it, such as bank-torn:17:deep:n24:60.1/7.0
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
    /// Kill a real bank again and again
    Demo {
        /// Of the work, and of the moments
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How often
        #[arg(long, default_value_t = 20)]
        kills: u64,
        /// Where its files go [default: a temporary directory]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Work until killed; prints what is promised
    #[command(hide = true)]
    Work {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        next_serial: u64,
    },
    /// Open the bank, and no more
    #[command(hide = true)]
    Restart {
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(clap::Args)]
struct Run {
    /// The seed that all others follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cases: workloads with a seed, in turn
    #[arg(long, default_value_t = 12)]
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
    #[arg(long, default_value_t = Effort::default().threads)]
    threads: usize,
    /// Fail unless every step of restart was cut in so many judged states
    #[arg(long, default_value_t = 0)]
    floor: u64,
    /// Fail unless at every depth a part survived in so many judged states: torn, reordered, partly
    #[arg(long, default_value_t = 0)]
    depth_floor: u64,
    /// Fail unless so many states are distinct
    #[arg(long, default_value_t = 0)]
    distinct: u64,
    /// Print the figures as JSON, and nothing else on standard output
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::List => {
            for flavour in FLAVOURS {
                println!("{:<14} {}", flavour.name, flavour.about);
            }
            ExitCode::SUCCESS
        }
        Command::Run(run) => explore(&run),
        Command::Replay { name, states, depth } => {
            replay(&name, Effort { states, depth, ..Effort::default() })
        }
        Command::Demo { seed, kills, dir } => demo(seed, kills, dir),
        Command::Work { dir, seed, next_serial } => {
            ended(wal_bank::work_until_killed(&dir, seed, next_serial))
        }
        Command::Restart { dir } => ended(wal_bank::restart_only(&dir)),
    }
}

fn ended(outcome: Result<(), wal_bank::BankError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn replay(name: &str, effort: Effort) -> ExitCode {
    let Some((case, Some(state))) = Case::parse(name) else {
        eprintln!("`{name}` names no state; `wal-bank list` names the workloads");
        return ExitCode::from(2);
    };
    match case.replay(&state, effort) {
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

fn explore(run: &Run) -> ExitCode {
    // Panics of the code under test are violations, and reported as such.
    std::panic::set_hook(Box::new(|_| {}));
    let flavours = match Flavour::all_of(&run.workload) {
        Ok(flavours) => flavours,
        Err(name) => {
            eprintln!("there is no workload `{name}`; `wal-bank list` names them");
            return ExitCode::from(2);
        }
    };
    let effort = Effort { states: run.states, depth: run.depth, threads: run.threads };
    let (began, mut all, mut broken) = (Instant::now(), Figures::default(), None);
    let seen = wal_bank::Seen::default();
    let mut told = Duration::ZERO;
    for number in 0..run.cases {
        if run.time.is_some_and(|time| began.elapsed() >= Duration::from_secs(time)) {
            break;
        }
        let count = flavours.len().max(1) as u64;
        let Some(&flavour) = flavours.get((number % count) as usize) else { break };
        match Case::new(flavour, run.seed + number / count).explore(effort, &seen) {
            Ok(figures) => all.merge(&figures),
            Err(found) => {
                all.merge(&found.figures);
                broken = Some(found);
                break;
            }
        }
        if began.elapsed() > told + Duration::from_secs(30) {
            told = began.elapsed();
            eprintln!("{} s: {}", told.as_secs(), all.summary());
        }
    }
    report(run, &all, broken.as_deref())
}

fn report(run: &Run, figures: &Figures, broken: Option<&Broken>) -> ExitCode {
    let mut missed: Vec<String> = Vec::new();
    for step in figures.below_floor(run.floor) {
        missed.push(format!("fewer than {} states cut in `{step}`", run.floor));
    }
    missed.extend(figures.depths_below_floor(run.depth, run.depth_floor));
    if figures.coverage.distinct < run.distinct {
        missed.push(format!("{} distinct states of {}", figures.coverage.distinct, run.distinct));
    }
    if run.json {
        let mut value = figures.to_json();
        value["missed"] = serde_json::json!(missed);
        value["broken"] = broken.map_or(serde_json::Value::Null, |broken| {
            serde_json::json!({
                "case": broken.case.to_string(),
                "state": broken.state,
                "reason": broken.reason,
                "replay": broken.replay(),
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
    missed.iter().for_each(|missed| eprintln!("missed: {missed}"));
    if broken.is_none() && missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn demo(seed: u64, kills: u64, dir: Option<PathBuf>) -> ExitCode {
    let temporary = tempfile::tempdir();
    let (Ok(temporary), Ok(program)) = (temporary, std::env::current_exe()) else {
        eprintln!("error: no temporary directory, or no name of this program");
        return ExitCode::FAILURE;
    };
    let dir = dir.unwrap_or_else(|| temporary.path().join("bank"));
    println!(
        "A bank of {} accounts in {}, its pages in a pool of {}, is killed {kills} times, and \
         sometimes killed again while it restarts. Seed {seed}.\n",
        KILL_SHAPE.accounts,
        dir.display(),
        KILL_SHAPE.pool_pages
    );
    let bank = Kills { dir, seed, program };
    let (mut books, mut rows) = (Books::empty(KILL_SHAPE.accounts), Vec::new());
    for number in 0..kills {
        match bank.once(number, &mut books) {
            Ok(killed) => rows.push(killed),
            Err(error) => {
                println!("{}", table(&rows));
                println!("BROKEN at kill {}: {error}", number + 1);
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{}\n", table(&rows));
    let promised: u64 = rows.iter().map(|row| row.promised).sum();
    let broken: Vec<&String> = rows.iter().filter_map(|row| row.broken.as_ref()).collect();
    for reason in &broken {
        println!("BROKEN: {reason}");
    }
    if broken.is_empty() {
        println!(
            "{promised} transactions were promised, and each is there; none that was not; the \
             money is conserved, and every account matches its journal."
        );
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

fn table(rows: &[Killed]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header([
        "kill",
        "lived ms",
        "promised",
        "restarts killed",
        "records analysed",
        "dirty pages",
        "losers",
        "in doubt",
        "redone",
        "CLRs",
        "rolled back",
        "balance",
        "books",
    ]);
    // Before the first deposit there is nothing that could match.
    let mut paid_in = false;
    for (number, row) in rows.iter().enumerate() {
        let it = &row.restart;
        let counts = [
            number as u64 + 1,
            row.lived.as_millis() as u64,
            row.promised,
            u64::from(row.restarts_killed),
            it.analysed,
            it.dirty_pages,
            it.losers,
            it.in_doubt,
            it.redone,
            it.clrs,
            it.rolled_back,
        ];
        let books = if row.broken.is_none() { "match" } else { "BROKEN" };
        paid_in |= row.balance != 0 || row.promised > 0;
        let balance = match paid_in {
            true => format!("{} of {}", row.balance, row.whole),
            false => "nothing paid in".to_owned(),
        };
        table.add_row(counts.iter().map(u64::to_string).chain([balance, books.to_owned()]));
    }
    table.to_string()
}
