//! The memory of an agent: notes with an embedding, in memory for search, in the log for good.
//!
//! ```sh
//! cargo run -p wal --features bincode --example agent_memory -- mind.wal remember "the key is under the mat" 0.9,0.1
//! cargo run -p wal --features bincode --example agent_memory -- mind.wal recall 1.0,0.0 3
//! cargo run -p wal --features bincode --example agent_memory -- mind.wal forget 1
//! cargo run -p wal --features bincode --example agent_memory -- mind.wal sleep
//! ```
//!
//! Inserts, updates and deletes are typed payloads ([`Operation`]) through a codec; several count
//! together as a batch; `sleep` takes a checkpoint of all notes and truncates the log. The same
//! engine runs on a log in memory: it asks for a [`Storage`] and nothing else (see the test).

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wal::{
    Bincode, BincodeError, CheckpointView, FileStorage, Operation, Options, PayloadCodec,
    RecordKind, RedoOnly, RedoTarget, ReplayRecord, Row, Storage, Wal,
};

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
    embedding: Vec<f32>,
}

type Change = Operation<u64, Note>;

/// The only table.
const NOTES: u64 = 1;
const CHANGE: RecordKind = match RecordKind::engine(0) {
    Some(kind) => kind,
    None => RecordKind::DATA,
};

#[derive(Default)]
struct Notes {
    notes: BTreeMap<u64, Note>,
    next: u64,
}

impl Notes {
    fn apply(&mut self, change: Change) {
        let key = change.row().key;
        self.next = self.next.max(key + 1);
        match change {
            Change::Insert { after, .. } | Change::Update { after, .. } => {
                self.notes.insert(key, after);
            }
            Change::Delete { .. } => {
                self.notes.remove(&key);
            }
        }
    }

    /// The `count` notes nearest to `query`, by the cosine of the angle between them.
    fn nearest(&self, query: &[f32], count: usize) -> Vec<(f32, u64, &Note)> {
        let mut found: Vec<_> = self
            .notes
            .iter()
            .map(|(key, note)| (cosine(query, &note.embedding), *key, note))
            .collect();
        found.sort_by(|one, other| other.0.total_cmp(&one.0));
        found.truncate(count);
        found
    }
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    if lengths > 0.0 { dot(one, other) / lengths } else { 0.0 }
}

/// Recovery: the notes of the last checkpoint, then each change since.
impl RedoTarget for Notes {
    type Error = BincodeError;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), Self::Error> {
        (self.next, self.notes) = Bincode::default().decode(checkpoint.payload)?;
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), Self::Error> {
        if record.kind == CHANGE {
            self.apply(Bincode::default().decode(record.body)?);
        }
        Ok(())
    }
}

struct Memory {
    log: Wal,
    notes: Notes,
}

impl Memory {
    fn open(storage: Arc<dyn Storage>) -> Result<Self, wal::Error> {
        let mut notes = Notes { next: 1, ..Notes::default() };
        let recover = Options::default().recover_with(RedoOnly::default());
        let log = recover.open_in(storage, &mut notes)?;
        Ok(Self { log, notes })
    }

    /// All `changes` or none: durable when it returns. The log goes first.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), wal::Error> {
        let mut batch = self.log.begin();
        for change in &changes {
            batch.log_value(CHANGE, &Bincode::default(), change)?;
        }
        batch.commit()?;
        changes.into_iter().for_each(|change| self.notes.apply(change));
        Ok(())
    }

    fn remember(&mut self, notes: Vec<Note>) -> Result<Vec<u64>, wal::Error> {
        let keys: Vec<u64> = (self.notes.next..).take(notes.len()).collect();
        let row = |key: &u64| Row::new(NOTES, *key);
        let changes = keys.iter().zip(notes);
        self.commit(changes.map(|(key, after)| Change::Insert { row: row(key), after }).collect())?;
        Ok(keys)
    }

    fn correct(&mut self, key: u64, after: Note) -> Result<(), Box<dyn Error>> {
        let before = Some(self.notes.notes.get(&key).cloned().ok_or("no such note")?);
        Ok(self.commit(vec![Change::Update { row: Row::new(NOTES, key), before, after }])?)
    }

    fn forget(&mut self, key: u64) -> Result<(), Box<dyn Error>> {
        let before = Some(self.notes.notes.get(&key).cloned().ok_or("no such note")?);
        Ok(self.commit(vec![Change::Delete { row: Row::new(NOTES, key), before }])?)
    }

    /// Takes a checkpoint; the log before it is not needed any more.
    fn sleep(&self) -> Result<u64, Box<dyn Error>> {
        let checkpoint = self.log.checkpoint_begin()?;
        let payload = Bincode::default().encode(&(self.notes.next, &self.notes.notes))?;
        let complete = checkpoint.complete(&payload)?;
        Ok(self.log.truncate_before(complete.redo_from)?.segments)
    }
}

fn embedding(text: &str) -> Result<Vec<f32>, std::num::ParseFloatError> {
    text.split(',').map(|number| number.trim().parse()).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (dir, command) =
        arguments.split_first().ok_or("usage: agent_memory DIR COMMAND [ARGUMENTS]")?;
    let mut memory = Memory::open(Arc::new(FileStorage::open(Path::new(dir))?))?;
    match command {
        // Pairs of a text and its embedding; all of them are remembered together.
        ["remember", pairs @ ..] if !pairs.is_empty() && pairs.len() % 2 == 0 => {
            let mut notes = Vec::new();
            for pair in pairs.chunks_exact(2) {
                let [text, numbers] = pair else { continue };
                notes.push(Note { text: (*text).to_owned(), embedding: embedding(numbers)? });
            }
            println!("{:?}", memory.remember(notes)?);
        }
        ["correct", key, text, numbers] => {
            let after = Note { text: (*text).to_owned(), embedding: embedding(numbers)? };
            memory.correct(key.parse()?, after)?;
        }
        ["forget", key] => memory.forget(key.parse()?)?,
        ["recall", numbers, count] => {
            for (score, key, note) in memory.notes.nearest(&embedding(numbers)?, count.parse()?) {
                println!("{score:.3} {key} {}", note.text);
            }
        }
        ["sleep"] => println!("{} segments of the log removed", memory.sleep()?),
        _ => {
            let known = "remember TEXT NUMBERS..., correct KEY TEXT NUMBERS, forget KEY, \
                         recall NUMBERS COUNT, sleep";
            return Err(format!("commands: {known}").into());
        }
    }
    Ok(memory.log.close()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn note(text: &str, embedding: &[f32]) -> Note {
        Note { text: text.to_owned(), embedding: embedding.to_vec() }
    }

    #[test]
    fn what_was_remembered_corrected_and_forgotten_is_so_after_each_opening() {
        let storage: Arc<dyn Storage> = Arc::new(wal::MemoryStorage::new());
        let mut memory = Memory::open(Arc::clone(&storage)).unwrap();
        let keys = memory
            .remember(vec![note("mat", &[1.0, 0.0]), note("tea", &[0.0, 1.0]), note("x", &[])])
            .unwrap();
        memory.correct(keys[1], note("coffee", &[0.0, 1.0])).unwrap();
        memory.sleep().unwrap();
        memory.forget(keys[2]).unwrap();
        memory.log.close().unwrap();
        for _ in 0..2 {
            let memory = Memory::open(Arc::clone(&storage)).unwrap();
            let found = memory.notes.nearest(&[0.1, 0.9], 9);
            let texts: Vec<_> = found.iter().map(|(_, _, note)| note.text.as_str()).collect();
            assert_eq!(texts, ["coffee", "mat"]);
            assert_eq!(memory.notes.next, keys[2] + 1, "no key is given twice");
            memory.log.close().unwrap();
        }
    }
}
