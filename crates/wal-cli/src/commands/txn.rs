//! `wal txn`: all records of one transaction, as the chain they form.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use wal::{LogView, Lsn, Outcome, RecordKind, RecordRef, TxnId, TxnLink};

use super::body;
use super::output::{Paint, finish, json_line, line, open_view, put_body, stdout};
use super::range::{RangeArgs, for_each_in};
use crate::exit::{Exit, Failure};

/// Print the chain of one transaction: begin, updates, savepoint compensations, commit or abort.
///
/// `prev` is the record of the transaction before; a compensation names what it undid and what is to
/// be undone next. Both strategies are read alike. Without undo an identity may come again in a later
/// opening of the log: each is a chain of its own.
#[derive(Debug, Args)]
pub(crate) struct Txn {
    /// Directory of the log.
    dir: PathBuf,
    /// Identity of the transaction.
    id: u64,
    #[command(flatten)]
    range: RangeArgs,
    /// Print a JSON object for each chain.
    #[arg(long)]
    json: bool,
}

/// A record of the chain, without its body.
#[derive(Debug)]
struct Entry {
    lsn: Lsn,
    prev: Lsn,
    kind: RecordKind,
    /// Where `prev` is not the record before.
    broken: bool,
    words: String,
    json: Value,
}

/// One transaction from its first record on.
#[derive(Debug, Default)]
struct Chain {
    epoch: u64,
    entries: Vec<Entry>,
    fate: Fate,
    /// The opening behind its last record, which ended it if it does not undo.
    voided_at: Option<Lsn>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Unfinished,
    Committed(Lsn),
    Aborted,
    RolledBack,
    InDoubt,
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Committed(_) => "committed",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled-back",
            Self::InDoubt => "in-doubt",
        }
    }
}

impl Txn {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let view = open_view(&self.dir)?;
        let chains = self.collect(&view)?;
        if chains.is_empty() && !view.verdict().is_damage() {
            return Err(Failure::Input(format!(
                "no record of transaction {} between {} and {}",
                self.id,
                view.head(),
                view.end()
            )));
        }
        let mut out = stdout();
        for (index, chain) in chains.iter().enumerate() {
            if self.json {
                json_line(&mut out, &self.as_json(chain))?;
                continue;
            }
            if index > 0 {
                line(&mut out, "")?;
            }
            self.print_text(&mut out, chain)?;
        }
        finish(out, &view)
    }

    fn collect(&self, view: &LogView) -> Result<Vec<Chain>, Failure> {
        let id = TxnId::new(self.id);
        let mut chains: Vec<Chain> = Vec::new();
        for_each_in(view, self.range.range()?, |record| {
            match record.txn.filter(|link| link.txn_id == id) {
                Some(link) => {
                    let last = chains.last().and_then(|chain| chain.entries.last());
                    if link.prev_lsn == Lsn::NONE || last.is_none() {
                        chains.push(Chain { epoch: record.epoch.get(), ..Chain::default() });
                    }
                    if let Some(chain) = chains.last_mut() {
                        chain.add(record, link);
                    }
                }
                None if record.kind() == RecordKind::OPENED => {
                    if let Some(chain) = chains.last_mut() {
                        chain.voided_at.get_or_insert(record.lsn());
                    }
                }
                None => {}
            }
            ControlFlow::<()>::Continue(())
        })?;
        Ok(chains)
    }

    fn print_text(&self, out: &mut impl Write, chain: &Chain) -> Result<(), Failure> {
        let paint = Paint::of_stdout();
        let said = match chain.fate {
            Fate::Committed(at) => paint.good(&format!("committed at {at}")),
            Fate::RolledBack => paint.warn("rolled back"),
            Fate::Aborted => paint.warn("aborted"),
            Fate::InDoubt => paint.warn("in doubt: prepared, not decided"),
            Fate::Unfinished => paint.warn("unfinished"),
        };
        line(out, format_args!("transaction {}, epoch {}: {said}", self.id, chain.epoch))?;
        if let (Fate::Unfinished, Some(at)) = (chain.fate, chain.voided_at) {
            line(
                out,
                format_args!(
                    "the log was opened again at {at}: without undo, nothing of it counts"
                ),
            )?;
        }
        let width = chain.entries.last().map_or(1, |last| last.lsn.to_string().len());
        line(
            out,
            paint.dim(&format!("  {:>width$}     {:<12} {:>width$}", "LSN", "kind", "prev")),
        )?;
        for entry in &chain.entries {
            let prev =
                if entry.prev == Lsn::NONE { "-".to_owned() } else { entry.prev.to_string() };
            let kind = format!("{:<12}", entry.kind.to_string());
            let kind = match entry.kind {
                RecordKind::COMMIT => paint.good(&kind),
                RecordKind::CLR | RecordKind::ABORT => paint.warn(&kind),
                _ => kind,
            };
            let lsn = entry.lsn;
            let words = &entry.words;
            let text =
                format!("  {lsn:>width$}  {}  {kind} {prev:>width$}  {words}", mark(entry.kind));
            line(out, text.trim_end())?;
            if entry.broken {
                line(
                    out,
                    paint.bad("      its prev is not the record before: the chain is broken"),
                )?;
            }
        }
        Ok(())
    }

    fn as_json(&self, chain: &Chain) -> Value {
        let commit = match chain.fate {
            Fate::Committed(at) => Some(at.get()),
            _ => None,
        };
        json!({
            "txn": self.id, "epoch": chain.epoch, "outcome": chain.fate.name(), "commit": commit,
            "voided_at": chain.voided_at.map(Lsn::get),
            "broken": chain.entries.iter().any(|entry| entry.broken),
            "records": chain.entries.iter().map(|entry| &entry.json).collect::<Vec<_>>(),
        })
    }
}

impl Chain {
    fn add(&mut self, record: &RecordRef<'_>, link: TxnLink) {
        let before = self.entries.last().map(|entry| entry.lsn);
        // The first record seen may follow others that were truncated away.
        let broken = before.is_some_and(|before| before != link.prev_lsn);
        let undo_next = body::undo_next(record);
        let mut json = json!({
            "lsn": record.lsn().get(), "kind": record.kind().to_string(),
            "prev_lsn": link.prev_lsn.get(), "undo_next": undo_next.map(Lsn::get),
        });
        match body::fields(record) {
            Some(fields) => json["fields"] = fields,
            None => put_body(&mut json, record.body),
        }
        self.voided_at = None;
        self.fate = match (record.kind(), body::outcome(record)) {
            (RecordKind::COMMIT, _) => Fate::Committed(record.lsn()),
            (RecordKind::ABORT, _) => Fate::Aborted,
            (RecordKind::PREPARE, _) => Fate::InDoubt,
            (RecordKind::END, Some(Outcome::RolledBack)) => Fate::RolledBack,
            _ => self.fate,
        };
        self.entries.push(Entry {
            lsn: record.lsn(),
            prev: link.prev_lsn,
            kind: record.kind(),
            broken,
            words: body::words(record),
            json,
        });
    }
}

/// One sign for what a record does to its transaction.
const fn mark(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::BEGIN => "┌",
        RecordKind::CLR => "↩",
        RecordKind::COMMIT => "✔",
        RecordKind::ABORT => "✘",
        RecordKind::PREPARE => "?",
        RecordKind::END => "└",
        _ => "│",
    }
}
