//! A thousand tasks on tokio which commit durably, through one log, on one thread of the executor.
//!
//! ```sh
//! cargo run --release -p wal --example tasks -- tasks.wal 1000 20
//! ```
//!
//! Every task awaits each of its commits before it does the next. No thread of the executor ever
//! sits in a sync: the log's own thread flushes, and one sync makes many tasks go on. A ticker
//! shows it: it goes on all the while.

use std::error::Error;
use std::time::{Duration, Instant};

use wal::{Options, Wal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: tasks DIR TASKS COMMITS-OF-EACH";
    let dir = arguments.next().ok_or(usage)?;
    let tasks: u32 = arguments.next().ok_or(usage)?.parse()?;
    let commits: u32 = arguments.next().ok_or(usage)?.parse()?;
    let mut survived = 0_u64;
    let log = Wal::open(&dir, Options::default(), |_| {
        survived += 1;
        Ok::<(), std::io::Error>(())
    })?;
    println!("{survived} records were there");
    let ticker = tokio::spawn(async {
        let mut longest = Duration::ZERO;
        loop {
            let before = Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            longest = longest.max(before.elapsed());
            if longest > Duration::from_millis(100) {
                println!("the executor stood still for {longest:?}");
                longest = Duration::ZERO;
            }
        }
    });
    let mut running = Vec::new();
    for task in 0..tasks {
        let log = log.clone();
        running.push(tokio::spawn(async move {
            for commit in 0..commits {
                // Waits where the buffer is full, and then for the sync; neither blocks the thread.
                let ticket = log.append_async(format!("{task} {commit}").as_bytes()).await?;
                ticket.await?;
            }
            Ok::<(), wal::Error>(())
        }));
    }
    for task in running {
        task.await??;
    }
    ticker.abort();
    let stats = log.stats();
    println!("{} commits by {tasks} tasks; {stats:#?}", tasks * commits);
    Ok(log.close_async().await?)
}
