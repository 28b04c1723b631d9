//! A persistent map in less than 150 lines: changes go to the log, the map lives in memory, and
//! a checkpoint keeps the log short.
//!
//! ```sh
//! cargo run -p wal --example kv -- fruit.kv set apple green
//! cargo run -p wal --example kv -- fruit.kv move apple pear
//! cargo run -p wal --example kv -- fruit.kv list
//! cargo run -p wal --example kv -- fruit.kv checkpoint
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use wal::{CheckpointView, Options, RedoOnly, RedoTarget, ReplayRecord, Wal};

type Map = BTreeMap<String, String>;

/// The change that one record describes: `key NUL value` sets, a bare `key` removes.
enum Change<'a> {
    Set(&'a str, &'a str),
    Remove(&'a str),
}

impl<'a> Change<'a> {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Set(key, value) => format!("{key}\0{value}").into_bytes(),
            Self::Remove(key) => key.as_bytes().to_vec(),
        }
    }

    fn decode(body: &'a [u8]) -> Result<Self, std::str::Utf8Error> {
        let text = std::str::from_utf8(body)?;
        Ok(text.split_once('\0').map_or(Self::Remove(text), |(key, value)| Self::Set(key, value)))
    }

    fn apply(self, map: &mut Map) {
        match self {
            Self::Set(key, value) => map.insert(key.to_owned(), value.to_owned()),
            Self::Remove(key) => map.remove(key),
        };
    }
}

/// Recovery: the checkpoint's map first, then every committed change since, in order.
struct Recovered(Map);

impl RedoTarget for Recovered {
    type Error = std::str::Utf8Error;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), Self::Error> {
        let text = std::str::from_utf8(checkpoint.payload)?;
        let pairs = text.split('\u{1}').filter_map(|pair| pair.split_once('\0'));
        self.0 = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), Self::Error> {
        Change::decode(record.body).map(|change| change.apply(&mut self.0))
    }
}

struct Kv {
    log: Wal,
    map: Map,
}

impl Kv {
    fn open(dir: &Path) -> Result<Self, wal::Error> {
        let mut recovered = Recovered(Map::new());
        let log = Options::default().recover_with(RedoOnly::default()).open(dir, &mut recovered)?;
        Ok(Self { log, map: recovered.0 })
    }

    /// Makes all `changes` durable together, then applies them: the log goes first.
    fn commit(&mut self, changes: Vec<Change<'_>>) -> Result<(), wal::Error> {
        let mut txn = self.log.begin();
        for change in &changes {
            txn.log(&change.encode())?;
        }
        txn.commit()?;
        changes.into_iter().for_each(|change| change.apply(&mut self.map));
        Ok(())
    }

    fn checkpoint(&self) -> Result<(), wal::Error> {
        let checkpoint = self.log.checkpoint_begin()?;
        let pairs: Vec<String> =
            self.map.iter().map(|(key, value)| format!("{key}\0{value}")).collect();
        let complete = checkpoint.complete(pairs.join("\u{1}").as_bytes())?;
        let truncated = self.log.truncate_before(complete.redo_from)?;
        println!("checkpoint at {}; {} segments removed", complete.begin, truncated.segments);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (dir, command) = args.split_first().ok_or("usage: kv DIR COMMAND [ARGUMENTS]")?;
    let mut kv = Kv::open(Path::new(dir))?;
    match command {
        ["set", key, value] => kv.commit(vec![Change::Set(key, value)])?,
        ["remove", key] => kv.commit(vec![Change::Remove(key)])?,
        ["move", from, to] => {
            let value = kv.map.get(*from).cloned().ok_or("no such key")?;
            kv.commit(vec![Change::Remove(from), Change::Set(to, &value)])?;
        }
        ["get", key] => println!("{}", kv.map.get(*key).map_or("(none)", String::as_str)),
        ["list"] => kv.map.iter().for_each(|(key, value)| println!("{key} = {value}")),
        ["checkpoint"] => kv.checkpoint()?,
        _ => {
            return Err(
                "commands: set KEY VALUE, remove KEY, move FROM TO, get KEY, list, checkpoint"
                    .into(),
            );
        }
    }
    Ok(kv.log.close()?)
}
