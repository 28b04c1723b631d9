//! The smallest use of the log: append, wait until it is durable, and get it back after a restart.
//!
//! ```sh
//! cargo run -p wal --example quickstart -- orders.wal
//! ```
//!
//! Run it several times, kill it, cut the power: what was printed as durable comes back.

use std::io::Error as IoError;

use wal::{Options, Wal};

fn main() -> Result<(), wal::Error> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "orders.wal".to_owned());

    // Opening recovers: every record that was acknowledged is handed over again, in order.
    let mut orders = Vec::new();
    let log = Wal::open(&dir, Options::default(), |record| {
        orders.push(String::from_utf8_lossy(record.body).into_owned());
        Ok::<(), IoError>(())
    })?;
    println!("{} orders were there already, in {} segments", orders.len(), log.stats().segments);

    // An append is ordered at once, and durable when a wait says so.
    let ticket = log.append(format!("order {}: 3 x tea", orders.len() + 1).as_bytes())?;
    println!("ordered at {}", ticket.lsn());
    ticket.wait_durable()?;
    println!("durable; the log is in `{dir}`");

    // All or nothing, also after a crash.
    log.append_batch(&["debit alice 10", "credit bob 10"])?.wait_durable()?;

    // Closing is a courtesy: the next opening has nothing to recover. A crash loses nothing.
    log.close()
}
