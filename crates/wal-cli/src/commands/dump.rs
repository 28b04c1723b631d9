//! `wal dump`: every field of every header, now or as the log grows.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use wal::{
    ChainLink, ErrorKind, Follower, LogView, Lsn, LsnRange, RecordKind, RecordRef, RecordTimes,
    TxnId,
};

use super::decoder::Decoder;
use super::output::{finish, open_view, remark, stdout};
use super::range::{RangeArgs, for_each_in, narrowed};
use super::record_printer::RecordPrinter;
use crate::exit::{Exit, Failure};
use crate::interrupt::{Interrupt, die_by};
use crate::{lsn_arg, time_arg};

/// How long a look at a log with nothing new lasts, before signals are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Print every record with every field of its header, housekeeping included.
///
/// Unlike `cat` this shows what is in the log, not what would replay: records of aborted and
/// unfinished transactions too. With `--follow` it goes on as the log of a running process grows,
/// showing what is proven durable and nothing else; it waits at the end until it is interrupted.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// Directory of the log.
    dir: PathBuf,
    #[command(flatten)]
    range: RangeArgs,
    /// Only what may have been written at or after this time: `2026-11-21T13:30:00Z`, seconds since
    /// 1970, or `15m` for that long ago. Openings and checkpoints tell the time, and so do the time
    /// records of a log with timestamps; what lies between two of them is shown when it may belong.
    #[arg(long, value_parser = time_arg::time, value_name = "TIME", conflicts_with = "follow")]
    since: Option<u64>,
    /// Only what may have been written before this time.
    #[arg(long, value_parser = time_arg::time, value_name = "TIME", conflicts_with = "follow")]
    until: Option<u64>,
    /// Only records of this kind: a name (`data`, `commit`, `opened`, ...) or a number. May be
    /// given several times.
    #[arg(long, value_parser = lsn_arg::kind)]
    kind: Vec<RecordKind>,
    /// Only records of this transaction. May be given several times.
    #[arg(long, value_name = "ID")]
    txn: Vec<u64>,
    /// The log in this directory below DIR: of one partition among several.
    #[arg(long, value_name = "NAME")]
    partition: Option<PathBuf>,
    /// Stop after this many records.
    #[arg(long)]
    limit: Option<u64>,
    /// A JSON object a line; first one a segment (not with `--follow`), then one a record.
    #[arg(long)]
    json: bool,
    /// Bodies as hex: in text all of it in lines of sixteen bytes, in JSON always as `body_hex`.
    #[arg(long)]
    hex: bool,
    /// A command which is sent a JSON line a record on its input and answers each with one line.
    #[arg(long, value_name = "PROGRAM")]
    decoder: Option<String>,
    /// How long to wait for an answer of the decoder, in seconds.
    #[arg(long, default_value_t = 10.0, value_parser = seconds, value_name = "SECONDS")]
    decoder_timeout: f64,
    /// Go on as the log grows: what is proven durable, in order, each record once.
    #[arg(long, short)]
    follow: bool,
    /// With `--follow`: end when the log has been closed and all of it is printed.
    #[arg(long, requires = "follow")]
    until_closed: bool,
}

impl Dump {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let dir = match &self.partition {
            Some(name) => self.dir.join(name),
            None => self.dir.clone(),
        };
        let decoder = match &self.decoder {
            Some(program) => {
                let timeout = Duration::from_secs_f64(self.decoder_timeout);
                Some(Decoder::start(program, timeout)?)
            }
            None => None,
        };
        let printer = RecordPrinter::new(stdout(), self.json, self.hex, decoder);
        let wanted = Wanted::of(&self)?;
        if self.follow {
            return Following { wanted, printer, until_closed: self.until_closed, missed: false }
                .run(Follower::open(dir)?);
        }
        let view = open_view(&dir)?;
        self.print(&view, wanted, printer)
    }

    fn print(
        &self,
        view: &LogView,
        mut wanted: Wanted,
        mut printer: RecordPrinter<impl Write>,
    ) -> Result<Exit, Failure> {
        for link in &view.survey().links {
            printer.note(&segment_text(link), segment_json(link))?;
        }
        let range = narrowed(view, self.range.range()?, self.since, self.until)?;
        let ended = for_each_in(view, range, |record| wanted.pass(record, &mut printer))?;
        ended.unwrap_or(Ok(()))?;
        finish(printer.finish()?, view)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("`{text}` is no number: {error}"))?;
    if (0.001..=86_400.0).contains(&seconds) {
        return Ok(seconds);
    }
    Err("give 0.001 to 86400 seconds".to_owned())
}

/// Which records are shown, and how many are left to show.
#[derive(Debug)]
struct Wanted {
    range: LsnRange,
    kinds: Vec<RecordKind>,
    txns: BTreeSet<TxnId>,
    left: u64,
    times: RecordTimes,
}

impl Wanted {
    fn of(dump: &Dump) -> Result<Self, Failure> {
        Ok(Self {
            range: dump.range.range()?,
            kinds: dump.kind.clone(),
            txns: dump.txn.iter().copied().map(TxnId::new).collect(),
            left: dump.limit.unwrap_or(u64::MAX),
            times: RecordTimes::default(),
        })
    }

    /// Prints the record if it is wanted; breaks off when nothing more is.
    fn pass(
        &mut self,
        record: &RecordRef<'_>,
        printer: &mut RecordPrinter<impl Write>,
    ) -> ControlFlow<Result<(), Failure>> {
        if self.left == 0 || record.lsn() >= self.range.end {
            return ControlFlow::Break(Ok(()));
        }
        let unix_us = self.times.observe(record);
        if !self.wants(record) {
            return ControlFlow::Continue(());
        }
        self.left -= 1;
        match printer.record_at(record, unix_us) {
            Ok(()) if self.left == 0 => ControlFlow::Break(Ok(())),
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => ControlFlow::Break(Err(failure)),
        }
    }

    fn wants(&self, record: &RecordRef<'_>) -> bool {
        let is_of_txn = || record.txn.is_some_and(|link| self.txns.contains(&link.txn_id));
        record.lsn() >= self.range.start
            && (self.kinds.is_empty() || self.kinds.contains(&record.kind()))
            && (self.txns.is_empty() || is_of_txn())
    }
}

/// A dump that goes on.
struct Following<W> {
    wanted: Wanted,
    printer: RecordPrinter<W>,
    until_closed: bool,
    /// Truncation was faster somewhere.
    missed: bool,
}

impl<W: Write> Following<W> {
    fn run(mut self, mut follower: Follower) -> Result<Exit, Failure> {
        let interrupt = Interrupt::watch().map_err(|error| Failure::io("signals", error))?;
        loop {
            let before = follower.position();
            let (wanted, printer) = (&mut self.wanted, &mut self.printer);
            let ended = follower.drain_within(LOOK, |record| match interrupt.signal() {
                Some(_) => ControlFlow::Break(Ok(())),
                None => wanted.pass(record, printer),
            });
            match ended {
                Ok(None) => {}
                Ok(Some(ended)) => {
                    ended?;
                    return self.end(&interrupt);
                }
                Err(error) if error.kind() == ErrorKind::Truncated => {
                    // Records may have been printed since this turn began.
                    let from = follower.position();
                    let to = follower.skip_to_head()?;
                    if to > from {
                        self.note_gap(from, to)?;
                    }
                }
                Err(error) => {
                    // What was read before is worth as much as it was.
                    self.printer.flush()?;
                    return Err(error.into());
                }
            }
            if follower.position() > before {
                self.printer.flush()?;
            }
            let is_over = follower.position() >= self.wanted.range.end
                || (self.until_closed && follower.is_closed())
                || interrupt.signal().is_some();
            if is_over {
                return self.end(&interrupt);
            }
        }
    }

    fn note_gap(&mut self, from: Lsn, to: Lsn) -> Result<(), Failure> {
        self.missed = true;
        remark(format_args!(
            "{from} to {to} was truncated before it was read; a hold prevents that"
        ));
        let text = format!("{from:>12}  truncated before it was read, up to {to}");
        self.printer.note(&text, json!({ "truncated": { "from": from.get(), "to": to.get() } }))
    }

    fn end(self, interrupt: &Interrupt) -> Result<Exit, Failure> {
        self.printer.finish()?;
        if let Some(signal) = interrupt.signal() {
            die_by(signal);
        }
        Ok(if self.missed { Exit::Damaged } else { Exit::Done })
    }
}

fn segment_json(link: &ChainLink) -> Value {
    let header = &link.header;
    let pred = header.predecessor.map(
        |pred| json!({ "base": pred.base.get(), "epoch": pred.epoch.get(), "end": pred.end.get() }),
    );
    json!({
        "segment": link.name.to_string(), "log_id": header.log_id.to_string(),
        "base": header.base.get(), "epoch": header.epoch.get(),
        "capacity_bytes": header.capacity_bytes, "cap": link.cap.get(),
        "file_bytes": link.file_bytes, "created_unix_us": header.created_unix_us,
        "flags": header.flags.bits(), "predecessor": pred, "head": header.head.get(),
    })
}

fn segment_text(link: &ChainLink) -> String {
    let header = &link.header;
    format!(
        "segment {}  base {}  epoch {}  capacity {}  ends {}  flags {:#x}",
        link.name,
        header.base,
        header.epoch,
        header.capacity_bytes,
        link.cap,
        header.flags.bits()
    )
}
