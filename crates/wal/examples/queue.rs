//! A durable queue with any number of consumers, on the log alone: messages are its records, a
//! consumer is a position, and what every consumer is done with is truncated.
//!
//! ```sh
//! cargo run -p wal --example queue -- jobs.q push "resize 17" "resize 18"
//! cargo run -p wal --example queue -- jobs.q subscribe mailer
//! cargo run -p wal --example queue -- jobs.q take mailer 10
//! cargo run -p wal --example queue -- jobs.q status
//! ```
//!
//! A consumer gets each message at least once: `take` prints, and only then is the new position
//! logged. Who dies in between gets the same messages again, and nobody loses one.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use wal::{
    CheckpointView, Hold, Lsn, Options, RecordFlags, RecordKind, RedoOnly, RedoTarget,
    ReplayRecord, Truncated, Wal,
};

/// How far each consumer is: it is done with everything before.
type Positions = BTreeMap<String, Lsn>;

/// What a message is logged as.
const MESSAGE: RecordKind = RecordKind::DATA;
/// A consumer's position: eight bytes of address, zero when it leaves, and its name.
const POSITION: RecordKind = match RecordKind::engine(1) {
    Some(kind) => kind,
    None => RecordKind::DATA,
};

fn encode(name: &str, position: Option<Lsn>) -> Vec<u8> {
    [&position.map_or(0, Lsn::get).to_le_bytes(), name.as_bytes()].concat()
}

fn decode(body: &[u8]) -> Result<(String, Option<Lsn>), Box<dyn Error + Send + Sync>> {
    let (raw, name) = body.split_first_chunk().ok_or("a position without an address")?;
    let position = Lsn::new(u64::from_le_bytes(*raw)).filter(|lsn| !lsn.is_none());
    Ok((std::str::from_utf8(name)?.to_owned(), position))
}

/// Recovery: the positions of the last checkpoint, and those logged since. Messages stay in the log.
#[derive(Default)]
struct Recovered(Positions);

impl RedoTarget for Recovered {
    type Error = Box<dyn Error + Send + Sync>;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), Self::Error> {
        let mut rest = checkpoint.payload;
        while let Some((bytes, behind)) = rest.split_first_chunk() {
            let (one, behind) = behind
                .split_at_checked(usize::try_from(u32::from_le_bytes(*bytes))?)
                .ok_or("a checkpoint that is cut short")?;
            let (name, position) = decode(one)?;
            self.0.extend(position.map(|position| (name, position)));
            rest = behind;
        }
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), Self::Error> {
        if record.kind == POSITION {
            let (name, position) = decode(record.body)?;
            match position {
                Some(position) => self.0.insert(name, position),
                None => self.0.remove(&name),
            };
        }
        Ok(())
    }
}

struct Queue {
    log: Wal,
    positions: Positions,
    /// One for each consumer: no truncation passes the slowest.
    holds: BTreeMap<String, Hold>,
}

impl Queue {
    fn open(dir: &Path) -> Result<Self, wal::Error> {
        Self::open_with(dir, Options::default())
    }

    fn open_with(dir: &Path, options: Options) -> Result<Self, wal::Error> {
        let mut recovered = Recovered::default();
        let log = options.recover_with(RedoOnly::default()).open(dir, &mut recovered)?;
        let mut queue = Self { log, positions: BTreeMap::new(), holds: BTreeMap::new() };
        for (name, position) in recovered.0 {
            queue.hold(&name, position)?;
        }
        Ok(queue)
    }

    fn hold(&mut self, name: &str, position: Lsn) -> Result<(), wal::Error> {
        match self.holds.get(name) {
            Some(hold) => hold.advance(position),
            None => {
                let hold = self.log.hold(name, position, None)?;
                self.holds.insert(name.to_owned(), hold);
            }
        }
        self.positions.insert(name.to_owned(), position);
        Ok(())
    }

    /// All of them, or none: durable when it returns.
    fn push(&self, messages: &[&str]) -> Result<(), wal::Error> {
        self.log.append_batch(messages)?.wait_durable()
    }

    /// A new consumer gets what is pushed from now on.
    fn subscribe(&mut self, name: &str) -> Result<(), wal::Error> {
        let position = self.log.positions().durable;
        // First the hold, then the promise: no truncation comes in between.
        self.hold(name, position)?;
        self.log.append_kind(POSITION, &encode(name, Some(position)))?.wait_durable()
    }

    fn unsubscribe(&mut self, name: &str) -> Result<(), wal::Error> {
        self.log.append_kind(POSITION, &encode(name, None))?.wait_durable()?;
        self.positions.remove(name);
        self.holds.remove(name);
        Ok(())
    }

    /// Hands at least `limit` messages to `work`, if there are as many, and then is done with them.
    /// What was pushed together is taken together.
    fn take(
        &mut self,
        name: &str,
        limit: usize,
        mut work: impl FnMut(&[u8]),
    ) -> Result<usize, Box<dyn Error>> {
        let mut done = *self.positions.get(name).ok_or("no such consumer; see `subscribe`")?;
        let (mut taken, mut batch) = (0, Vec::new());
        let mut reader = self.log.read_from(done)?;
        // Only what is durable comes out: no crash takes back a message that was seen.
        while taken < limit {
            let Some(record) = reader.next()? else { break };
            let flags = record.flags();
            if !flags.contains(RecordFlags::BATCH_FOLLOWS) {
                // Another one begins. What a crash cut short before it was never pushed.
                batch.clear();
            }
            if record.kind() == MESSAGE {
                batch.push(record.body.to_vec());
            }
            if !flags.contains(RecordFlags::BATCH_CONTINUES) {
                batch.iter().for_each(|message| work(message));
                taken += batch.len();
                batch.clear();
                done = reader.position();
            }
        }
        self.log.append_kind(POSITION, &encode(name, Some(done)))?.wait_durable()?;
        self.hold(name, done)?;
        Ok(taken)
    }

    /// Removes what all consumers are done with.
    fn truncate(&self) -> Result<Truncated, wal::Error> {
        let checkpoint = self.log.checkpoint_begin()?;
        let mut payload = Vec::new();
        for (name, position) in &self.positions {
            let one = encode(name, Some(*position));
            payload.extend((one.len() as u32).to_le_bytes());
            payload.extend(one);
        }
        let complete = checkpoint.complete(&payload)?;
        // As far as the oldest retained checkpoint and the slowest hold allow.
        self.log.truncate_before(complete.redo_from)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (dir, command) = arguments.split_first().ok_or("usage: queue DIR COMMAND [ARGUMENTS]")?;
    let mut queue = Queue::open(Path::new(dir))?;
    match command {
        ["push", messages @ ..] => queue.push(messages)?,
        ["subscribe", name] => queue.subscribe(name)?,
        ["unsubscribe", name] => queue.unsubscribe(name)?,
        ["take", name, limit] => {
            let limit = limit.parse()?;
            let show = |body: &[u8]| println!("{}", String::from_utf8_lossy(body));
            let taken = queue.take(name, limit, show)?;
            let truncated = queue.truncate()?;
            eprintln!("{taken} taken; {} segments of the log removed", truncated.segments);
        }
        ["status"] => {
            let end = queue.log.positions().durable;
            for (name, position) in &queue.positions {
                let behind = end.distance_from(*position).unwrap_or(0);
                println!("{name}: at {position}, {behind} bytes behind");
            }
        }
        _ => {
            let known =
                "push MESSAGE..., subscribe NAME, unsubscribe NAME, take NAME LIMIT, status";
            return Err(format!("commands: {known}").into());
        }
    }
    Ok(queue.log.close()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Where a test that starts itself again, to be killed, finds the queue.
    const KILLED_AT: &str = "WAL_QUEUE_KILLED_AT";

    /// A queue that was dropped lets its log go once the last sync returns: on a busy disk that takes
    /// longer than an opening waits by default.
    fn open(dir: &Path) -> Queue {
        let options = Options::default().lock_wait(std::time::Duration::from_secs(60));
        Queue::open_with(dir, options).unwrap()
    }

    fn take(queue: &mut Queue, name: &str, limit: usize) -> Vec<String> {
        let mut taken = Vec::new();
        queue
            .take(name, limit, |body| taken.push(String::from_utf8(body.to_vec()).unwrap()))
            .unwrap();
        taken
    }

    fn segments(queue: &Queue) -> u64 {
        queue.log.stats().segments
    }

    /// Ends the process as a kill does, between the second message and its position.
    fn be_killed(dir: &Path) {
        let mut queue = open(dir);
        queue.push(&["three", "four"]).unwrap();
        let mut seen = 0;
        let _never = queue.take("mailer", 9, |_| {
            seen += 1;
            if seen == 2 {
                std::process::abort();
            }
        });
    }

    #[test]
    fn a_consumer_that_is_killed_before_its_position_is_logged_gets_the_same_messages_again() {
        if let Some(dir) = std::env::var_os(KILLED_AT) {
            return be_killed(Path::new(&dir));
        }
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(dir.path());
        queue.push(&["before anybody subscribed"]).unwrap();
        queue.subscribe("mailer").unwrap();
        queue.push(&["one"]).unwrap();
        queue.push(&["two"]).unwrap();
        assert_eq!(take(&mut queue, "mailer", 1), ["one"]);
        drop(queue);
        let name = "a_consumer_that_is_killed_before_its_position_is_logged_gets_the_same";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .arg(name)
            .env(KILLED_AT, dir.path())
            .output()
            .unwrap();
        assert_eq!(child.status.code(), None, "by a signal");
        for _ in 0..2 {
            let mut queue = open(dir.path());
            // What the killed one had pushed is there too, and nothing twice.
            assert_eq!(take(&mut queue, "mailer", 9), ["two", "three", "four"]);
            assert_eq!(take(&mut queue, "mailer", 9), [""; 0]);
            queue.push(&["two"]).unwrap();
            queue.push(&["three", "four"]).unwrap();
        }
    }

    #[test]
    fn what_the_slowest_consumer_still_needs_is_kept_and_the_rest_is_truncated() {
        let dir = tempfile::tempdir().unwrap();
        let small = Options::default().segment_bytes(1 << 16);
        let mut queue = Queue::open_with(dir.path(), small.clone()).unwrap();
        queue.subscribe("fast").unwrap();
        queue.subscribe("slow").unwrap();
        let text = |number: usize| format!("{number:>4000}");
        (0..100).for_each(|number| queue.push(&[&text(number)]).unwrap());
        let all = segments(&queue);
        assert_eq!(take(&mut queue, "fast", 100).len(), 100);
        for _ in 0..2 {
            queue.truncate().unwrap();
            assert!(segments(&queue) >= all, "the slow one needs them");
        }
        queue.log.close().unwrap();
        // Positions come back from the checkpoint, and with them the holds.
        let mut queue = Queue::open_with(dir.path(), small).unwrap();
        queue.truncate().unwrap();
        assert!(segments(&queue) >= all);
        let taken = take(&mut queue, "slow", 100);
        assert_eq!(taken, (0..100).map(text).collect::<Vec<_>>());
        // Two checkpoints are retained: the second truncation passes the older of them.
        queue.truncate().unwrap();
        queue.truncate().unwrap();
        assert!(segments(&queue) < all / 2, "{} of {all}", segments(&queue));
        assert_eq!(take(&mut queue, "slow", 100), [""; 0]);
    }

    #[test]
    fn what_was_pushed_together_is_taken_together_and_who_left_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(dir.path());
        queue.subscribe("one").unwrap();
        queue.push(&["a", "b", "c"]).unwrap();
        queue.push(&["d"]).unwrap();
        assert_eq!(take(&mut queue, "one", 2), ["a", "b", "c"]);
        queue.unsubscribe("one").unwrap();
        drop(queue);
        let mut queue = open(dir.path());
        assert!(queue.take("one", 1, |_| ()).is_err());
    }
}
