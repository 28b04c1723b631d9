//! Accounts in a tree: transfers, a savepoint, and a look at what recovery did.
//!
//! ```sh
//! cargo run -p wal-btree --example accounts -- bank.db open alice 100
//! cargo run -p wal-btree --example accounts -- bank.db open bob 0
//! cargo run -p wal-btree --example accounts -- bank.db move alice bob 30
//! cargo run -p wal-btree --example accounts -- bank.db crash alice bob 70
//! cargo run -p wal-btree --example accounts -- bank.db list
//! ```
//!
//! `crash` moves the money, writes the changed pages, and dies before it commits: the next `list`
//! shows that nothing was moved.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use wal::FileStorage;
use wal_btree::{Options, Transaction, Tree};

type Done = Result<(), Box<dyn Error>>;

fn open(path: &Path) -> Result<Tree, Box<dyn Error>> {
    std::fs::create_dir_all(path)?;
    let files = Arc::new(FileStorage::open(path)?);
    Ok(Tree::open(Options::default(), files.clone(), files)?)
}

fn balance(txn: &Transaction, name: &str) -> Result<u64, Box<dyn Error>> {
    let value = txn.get(name.as_bytes())?.ok_or_else(|| format!("no account `{name}`"))?;
    Ok(String::from_utf8(value)?.parse()?)
}

/// Both balances change, or neither does.
fn transfer(txn: &mut Transaction, from: &str, to: &str, amount: u64) -> Done {
    let source = balance(txn, from)?.checked_sub(amount).ok_or("not enough money")?;
    txn.put(from.as_bytes(), source.to_string().as_bytes())?;
    let target = balance(txn, to)? + amount;
    txn.put(to.as_bytes(), target.to_string().as_bytes())?;
    Ok(())
}

fn main() -> Done {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (path, command) = args.split_first().ok_or("usage: accounts PATH COMMAND ...")?;
    let tree = open(Path::new(path))?;
    let mut txn = tree.begin();
    match command {
        ["open", name, amount] => {
            txn.insert(name.as_bytes(), amount.parse::<u64>()?.to_string().as_bytes())?;
            txn.commit()?;
        }
        ["move", from, to, amount] => {
            transfer(&mut txn, from, to, amount.parse()?)?;
            txn.commit()?;
        }
        ["crash", from, to, amount] => {
            transfer(&mut txn, from, to, amount.parse()?)?;
            tree.write_pages()?; // Steal: uncommitted changes are in the file now.
            println!("{} has {}; the process dies here", to, balance(&txn, to)?);
            std::process::abort();
        }
        ["list"] => {
            for (name, value) in txn.scan(..)? {
                println!("{:12} {:>8}", String::from_utf8(name)?, String::from_utf8(value)?);
            }
            txn.abort()?;
        }
        _ => return Err("one of: open NAME AMOUNT, move FROM TO AMOUNT, crash …, list".into()),
    }
    if let Some(report) = &tree.recovery().aries {
        println!("{report}");
    }
    Ok(tree.close()?)
}
