//! Real processes on real files, killed: what each restart found and did, and whether all is there.
//!
//! A process works in a directory and prints each event of its [`Story`] before it asks and once it
//! is promised. It is killed once it has promised so many commits as the seed says, and a little
//! later, so that there is something to lose on a slow machine too; sometimes earlier, in its own
//! restart. Then the directory is opened here, and judged.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use wal::FileStorage;
use wal_sim::SimRng;

use crate::engine::{Engine, Restart, Shape};
use crate::error::BankError;
use crate::paged::PagedBank;
use crate::story::{Account, Books, Event, PAID_IN, Serial, Story};
use crate::teller::Teller;

/// A bank that is killed.
#[derive(Clone, Debug)]
pub struct Kills {
    /// Where its files are.
    pub dir: PathBuf,
    /// Of the work, and of the moments.
    pub seed: u64,
    /// This program.
    pub program: PathBuf,
}

/// One kill, and what the restart after it found.
#[derive(Clone, Debug)]
pub struct Killed {
    /// How long the process lived.
    pub lived: Duration,
    /// How often a restart was killed after that, before this one went through.
    pub restarts_killed: u32,
    /// Commits promised in its life.
    pub promised: u64,
    /// What the restart found and did.
    pub restart: Restart,
    /// What is in all accounts.
    pub balance: i64,
    /// What should be.
    pub whole: i64,
    /// What is broken.
    pub broken: Option<String>,
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Once it has promised so many commits,
    promises: u64,
    /// and so much later.
    delay: Duration,
}

/// Every so many kills one comes before anything is promised.
const EARLY_EVERY: u64 = 5;
/// How long a process may take to keep a promise before it is killed without.
const PATIENCE: Duration = Duration::from_secs(60);

impl Moment {
    fn draw(number: u64, rng: &mut SimRng) -> Self {
        if number % EARLY_EVERY == EARLY_EVERY - 1 {
            return Self { promises: 0, delay: Duration::from_millis(rng.below(40)) };
        }
        let promises = 1 + rng.below(30);
        Self { promises, delay: Duration::from_micros(rng.below(20_000)) }
    }
}

/// The shape of a bank on real files.
pub const SHAPE: Shape = Shape {
    accounts: 12,
    pool_pages: 4,
    images: true,
    redo_threads: 1,
    segment_bytes: 256 << 10,
    helper_thread: true,
};

/// Works in `dir` until somebody ends it, and prints what is asked and promised.
///
/// # Errors
///
/// The bank failed.
pub fn work_until_killed(dir: &Path, seed: u64, next_serial: Serial) -> Result<(), BankError> {
    let storage = Arc::new(FileStorage::open(dir).map_err(wal::Error::from)?);
    let story = Story::new(SHAPE.accounts);
    let tell = |event: &Event| {
        // Nobody listens any more: then nothing may be promised either.
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{event}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    };
    let teller = Teller::<PagedBank>::new(storage, SHAPE, seed, story, next_serial, tell);
    let mut teller = teller.adopting();
    teller.work(usize::MAX)?;
    teller.story.broken.take().map_or(Ok(()), |broken| Err(BankError::Books(broken)))
}

/// Opens the bank in `dir`, and no more.
///
/// # Errors
///
/// It does not open.
pub fn restart_only(dir: &Path) -> Result<(), BankError> {
    let storage = Arc::new(FileStorage::open(dir).map_err(wal::Error::from)?);
    PagedBank::open(storage, SHAPE, Default::default(), Box::new(())).map(drop)
}

impl Kills {
    /// Lets it work and be killed, `number` for the how-manieth time; judges what is left. `books`
    /// are those of the time before, and become those of now.
    ///
    /// # Errors
    ///
    /// The process cannot be started, or its directory not be read.
    pub fn once(&self, number: u64, books: &mut Books) -> Result<Killed, BankError> {
        let mut rng = SimRng::new(self.seed.wrapping_mul(1_000_003).wrapping_add(number));
        let moment = Moment::draw(number, &mut rng);
        let next_serial = highest(books) + 1_000_000;
        let work = ["work", "--seed", &rng.next_u64().to_string(), "--next-serial"];
        let next_serial = next_serial.to_string();
        let began = Instant::now();
        let lines = self.run_and_kill(&[&work[..], &[next_serial.as_str()]].concat(), moment)?;
        let lived = began.elapsed();
        let mut story = Story::of(books.clone());
        for line in &lines {
            match Event::parse(line) {
                Some(event) => story.tell(&event),
                // Only the last line can be cut short.
                None if line == lines.last().unwrap_or(line) => {}
                None => return Err(BankError::Books(format!("the process said `{line}`"))),
            }
        }
        let restarts_killed = rng.below(3) as u32;
        for _ in 0..restarts_killed {
            let delay = Duration::from_micros(rng.below(9_000));
            self.run_and_kill(&["restart"], Moment { promises: 0, delay })?;
        }
        let promised = story.commits;
        let (restart, found, broken) = judge(&self.dir, &story)?;
        let (balance, whole) = (found.total(), PAID_IN * i64::from(SHAPE.accounts));
        *books = found;
        Ok(Killed { lived, restarts_killed, promised, restart, balance, whole, broken })
    }

    /// Starts this program, kills it at `moment`; what it said.
    fn run_and_kill(&self, verb: &[&str], moment: Moment) -> Result<Vec<String>, BankError> {
        let process = |source| BankError::Pages { call: "start the process for", source };
        let mut child = Command::new(&self.program)
            .args(verb)
            .arg("--dir")
            .arg(&self.dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .map_err(process)?;
        let (out, errors) = (child.stdout.take(), child.stderr.take());
        let (promised, promises) = channel();
        let reader = std::thread::spawn(move || -> Vec<String> {
            let lines = out.into_iter().flat_map(|out| BufReader::new(out).split(b'\n'));
            let lines = lines.map_while(Result::ok);
            lines.map(|line| heard(&line, &promised)).collect()
        });
        let errors = std::thread::spawn(move || -> String {
            let mut said = Vec::new();
            // What came before a failure to read is still worth telling.
            let _ = errors.map(|mut errors| errors.read_to_end(&mut said));
            String::from_utf8_lossy(&said).trim().to_owned()
        });
        for _ in 0..moment.promises {
            // It has ended, or takes too long: then it is killed as it is.
            if promises.recv_timeout(PATIENCE).is_err() {
                break;
            }
        }
        std::thread::sleep(moment.delay);
        child.kill().map_err(process)?;
        let status = child.wait().map_err(process)?;
        let lines = reader.join().unwrap_or_default();
        let said = errors.join().unwrap_or_default();
        ended(status.code(), &said).map(|()| lines)
    }
}

/// Whether it was killed, or all was done: then what it `said` of errors is passed on.
fn ended(code: Option<i32>, said: &str) -> Result<(), BankError> {
    if let Some(code) = code.filter(|code| *code != 0) {
        let reason = format!("the process ended by itself, with {code}, and said `{said}`");
        return Err(BankError::Books(reason));
    }
    if !said.is_empty() {
        eprintln!("{said}");
    }
    Ok(())
}

/// A line that the process said; passes on that it is a promise.
fn heard(line: &[u8], promised: &Sender<()>) -> String {
    let line = String::from_utf8_lossy(line).into_owned();
    if matches!(Event::parse(&line), Some(Event::Promised(_))) {
        // Whoever counted enough of them does not listen any more.
        let _ = promised.send(());
    }
    line
}

/// The highest serial in the books.
fn highest(books: &Books) -> Serial {
    let last = books.0.values().filter_map(|ledger| ledger.entries.keys().next_back());
    last.max().copied().unwrap_or(0)
}

/// Restarts, audits, and looks whether the books are among those that may be.
fn judge(dir: &Path, story: &Story) -> Result<(Restart, Books, Option<String>), BankError> {
    let storage = Arc::new(FileStorage::open(dir).map_err(wal::Error::from)?);
    let mut bank = PagedBank::open(storage, SHAPE, story.decisions(), Box::new(()))?;
    let restart = bank.restart();
    let found = bank.in_doubt()?;
    let missing = story.doubts.iter().find(|(serial, doubt)| {
        doubt.decision.is_none() && doubt.promised && !found.contains_key(serial)
    });
    let mut broken = missing.map(|(serial, _)| format!("transaction {serial} is not in doubt"));
    for serial in found.keys() {
        bank.decide(*serial, serial.is_multiple_of(2))?;
    }
    let books = bank.books()?;
    if let Err(reason) = books.audit() {
        broken = broken.or(Some(reason));
    }
    let expected = |kept| {
        story.candidate(kept, |serial: Serial, doubt| match doubt.decision {
            Some(commit) => commit,
            None => found.contains_key(&serial) && serial.is_multiple_of(2),
        })
    };
    if !(0..story.candidates()).any(|kept| expected(kept) == books) {
        let promised = expected(0);
        let first = (0..SHAPE.accounts).find(|account| differ(&books, &promised, *account));
        let reason = format!("the books are not those that were promised: account {first:?}");
        broken = broken.or(Some(reason));
    }
    // Without a checkpoint: the next process has a restart of its own to do.
    drop(bank);
    Ok((restart, books, broken))
}

fn differ(one: &Books, other: &Books, account: Account) -> bool {
    one.0.get(&account) != other.0.get(&account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Effect;

    #[test]
    fn most_kills_come_after_a_promise() {
        let mut rng = SimRng::new(1);
        let early = (0..10).filter(|number| Moment::draw(*number, &mut rng).promises == 0).count();
        assert_eq!(early, 2);
    }

    #[test]
    fn what_a_process_said_that_ended_by_itself_is_told() {
        let error = ended(Some(1), "error: the log is locked").unwrap_err().to_string();
        assert!(error.contains("by itself") && error.contains("log is locked"), "{error}");
        assert!(ended(None, "killed while it spoke").is_ok());
        assert!(ended(Some(0), "").is_ok());
    }

    #[test]
    fn only_promises_are_counted() {
        let (promised, promises) = channel();
        heard(Event::Promised(7).to_string().as_bytes(), &promised);
        heard(Event::Prepared(8).to_string().as_bytes(), &promised);
        heard(b"promi", &promised);
        drop(promised);
        assert_eq!(promises.iter().count(), 1);
    }

    #[test]
    fn a_promise_that_is_not_in_the_books_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut story = Story::new(SHAPE.accounts);
        assert_eq!(judge(dir.path(), &story).unwrap().2, None);
        let effects = vec![Effect::Post { account: 3, serial: 1, amount: PAID_IN }];
        story.tell(&Event::Asked(1, effects));
        assert_eq!(judge(dir.path(), &story).unwrap().2, None, "nobody was promised it");
        story.tell(&Event::Promised(1));
        let broken = judge(dir.path(), &story).unwrap().2.unwrap();
        assert!(broken.contains("not those that were promised: account Some(3)"), "{broken}");
    }

    #[test]
    fn a_prepared_transaction_that_is_gone_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut story = Story::new(SHAPE.accounts);
        story.tell(&Event::Preparing(8, Vec::new()));
        story.tell(&Event::Prepared(8));
        let broken = judge(dir.path(), &story).unwrap().2.unwrap();
        assert!(broken.contains("8 is not in doubt"), "{broken}");
    }
}
