//! `wal dump` and `wal txn`: filters, decoders, and following a writer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod logs;
mod signal;
#[path = "../../wal/tests/common/pages.rs"]
#[allow(dead_code, unreachable_pub)]
mod pages;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use logs::{State, TestLog, code, json, stderr, stdout, wal, wal_with_input};
use serde_json::Value;

fn records(args: &[&str]) -> Vec<Value> {
    json(args).into_iter().filter(|line| line.get("lsn").is_some()).collect()
}

fn bodies(args: &[&str]) -> Vec<String> {
    let text = |line: &Value| line["body"].as_str().unwrap_or_default().to_owned();
    records(args).iter().map(text).collect()
}

#[test]
fn filters_by_transaction_kind_range_and_count_go_together() {
    let log = TestLog::new(State::Healthy);
    let name = log.name();
    assert_eq!(records(&["dump", name, "--txn", "1"]).len(), 3);
    let of_two = records(&["dump", name, "--txn", "1", "--txn", "2"]);
    assert!(of_two.len() > 4);
    let commit = records(&["dump", name, "--txn", "1", "--kind", "commit"]);
    assert_eq!((commit.len(), commit[0]["fields"]["timestamp"].as_u64()), (1, Some(0)));
    let data = records(&["dump", name, "--kind", "data", "--limit", "4"]);
    assert_eq!(data.len(), 4);
    let within = (data[2]["lsn"].as_u64().unwrap() - 8).to_string();
    let found = bodies(&["dump", name, "--from", &within, "--kind", "data", "--limit", "1"]);
    assert_eq!(found, ["record 3"]);
    assert_eq!(code(&wal(&["dump", name, "--from", "x"])), 2);
}

#[test]
fn filters_by_time_show_what_may_have_been_written_then() {
    let log = TestLog::new(State::Healthy);
    logs::open(&log.path).close().unwrap();
    let name = log.name();
    let all = records(&["dump", name]).len();
    assert_eq!(records(&["dump", name, "--since", "1h"]).len(), all);
    assert_eq!(records(&["dump", name, "--since", "2020-01-01"]).len(), all);
    assert_eq!(records(&["dump", name, "--until", "2020-01-01"]).len(), 0);
    let since_future = records(&["dump", name, "--since", "2100-01-01T00:00:00Z"]);
    // What follows the last opening: nothing tells when that was written.
    assert!(since_future.len() < all && since_future[0]["kind"] == "opened");
    assert_eq!(code(&wal(&["dump", name, "--since", "yesterday"])), 2);
    assert_eq!(code(&wal(&["dump", name, "--since", "1h", "--follow"])), 2);
}

#[test]
fn a_log_with_timestamps_shows_when_each_record_was_appended() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().to_str().unwrap();
    let options = wal::Options::default().timestamps(Some(std::time::Duration::ZERO));
    let log = wal::Wal::open(name, options, |_| Ok::<_, std::io::Error>(())).unwrap();
    (0..3).for_each(|number| drop(log.append(&[number]).unwrap()));
    log.close().unwrap();
    let all = records(&["dump", name]);
    let of = |kind: &'static str| all.iter().filter(move |line| line["kind"] == kind);
    let told: Vec<_> = of("time").map(|line| line["fields"]["unix_us"].as_u64().unwrap()).collect();
    let shown: Vec<_> = of("data").map(|line| line["unix_us"].as_u64().unwrap()).collect();
    assert_eq!((told.len(), &shown), (3, &told));
    assert!(told.is_sorted() && all[0]["unix_us"] == all[0]["fields"]["opened_unix_us"]);
    let data = records(&["dump", name, "--kind", "data", "--limit", "1"]);
    assert_eq!(data[0]["unix_us"], told[0], "whatever else is not shown");
    let since_future = records(&["dump", name, "--since", "2100-01-01"]);
    assert_eq!(since_future[0]["kind"], "time", "only what follows the last mark may be later");
    let text = stdout(&wal(&["dump", name, "--kind", "time", "--limit", "1"]));
    assert!(text.contains("on 20") && text.contains("µs"), "{text}");
}

#[test]
fn bodies_are_shown_as_hex_when_asked_for() {
    let log = TestLog::new(State::Healthy);
    let text = stdout(&wal(&["dump", log.name(), "--hex", "--kind", "data", "--limit", "1"]));
    assert!(text.contains("000000  72 65 63 6f 72 64 20 31") && text.contains("  record 1\n"));
    let line = &records(&["dump", log.name(), "--hex", "--kind", "data", "--limit", "1"])[0];
    assert_eq!((line["body_hex"].as_str(), line.get("body")), (Some("7265636f72642031"), None));
}

#[test]
fn the_log_of_one_partition_is_chosen_by_its_name() {
    let log = TestLog::new(State::Healthy);
    let root = log.path.parent().unwrap().to_str().unwrap();
    let found = bodies(&["dump", root, "--partition", "log", "--kind", "data", "--limit", "1"]);
    assert_eq!(found, ["record 1"]);
    assert_eq!(code(&wal(&["dump", root, "--partition", "other"])), 6);
}

#[test]
fn a_decoder_answers_each_record_with_a_line_in_text_and_in_json() {
    let log = TestLog::new(State::Healthy);
    let decoder = "sed -u 's/.*\"lsn\":\\([0-9]*\\).*/{\"at\":\\1}/'";
    let found = records(&["dump", log.name(), "--decoder", decoder]);
    let asked: Vec<&Value> = found.iter().filter(|line| line.get("decoded").is_some()).collect();
    assert!(asked.len() > 15);
    assert!(asked.iter().all(|line| line["decoded"]["at"] == line["lsn"]), "{found:?}");
    let housekeeping = |line: &&Value| line["kind"] == "opened" || line["kind"] == "padding";
    assert!(found.iter().filter(housekeeping).all(|line| line.get("decoded").is_none()));
    let text = stdout(&wal(&["dump", log.name(), "--decoder", "sed 's/.*/quite so/'"]));
    assert_eq!(text.matches("quite so").count(), asked.len());
}

#[test]
fn a_decoder_that_answers_only_at_its_end_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("log").to_str().unwrap().to_owned();
    let input: String = (1..=30_000).map(|number| format!("{number}\n")).collect();
    let appended = wal_with_input(&["append", &name, "--durability", "ordered"], &input);
    assert_eq!(code(&appended), 0, "{}", stderr(&appended));
    // Its output is a pipe, so it is written in blocks. Who begins late finds as much asked as may be.
    for decoder in ["awk '{print NR}'", "sh -c 'sleep 1; exec awk \"{print NR}\"'"] {
        let output = wal(&["dump", &name, "--kind", "data", "--decoder", decoder, "--json"]);
        assert_eq!(code(&output), 0, "{decoder}: {}", stderr(&output));
        assert_eq!(stdout(&output).matches("\"decoded\"").count(), 30_000, "{decoder}");
    }
}

#[test]
fn a_decoder_that_dies_hangs_or_babbles_is_a_clear_error_and_no_deadlock() {
    let log = TestLog::new(State::Healthy);
    // Who answers has the time that a busy machine needs to start a program.
    let (never, always) = ("0.5", "60");
    for (decoder, timeout, said) in [
        ("false", always, "ended"),
        ("no-such-program-anywhere", always, "ended"),
        ("head -n 3", always, "ended"),
        ("sleep 1000", never, "gave no line for the record at"),
        ("sh -c 'yes'", always, "gave more lines than"),
        ("sh -c 'cat; exit 3'", always, "failed (exit status: 3)"),
        ("sh -c 'cat; exec sleep 1000 >&-'", "5", "did not end"),
        ("sh -c 'while read l; do printf \"\\377\\n\"; done'", always, "no UTF-8"),
    ] {
        let args = ["dump", log.name(), "--decoder", decoder, "--decoder-timeout", timeout];
        let output = wal(&args);
        let errors = stderr(&output);
        assert_eq!(code(&output), 1, "{decoder}: {errors}");
        assert!(
            errors.contains("wal: the decoder") && errors.contains(said),
            "{decoder}: {errors}"
        );
    }
    assert_eq!(code(&wal(&["dump", log.name(), "--decoder", "cat", "--decoder-timeout", "0"])), 2);
}

#[test]
fn the_chain_of_a_transaction_tells_how_it_ended() {
    let log = TestLog::new(State::Healthy);
    let committed = &json(&["txn", log.name(), "1"])[0];
    assert_eq!(committed["outcome"], "committed");
    let chain = committed["records"].as_array().unwrap();
    assert_eq!(chain[0]["prev_lsn"], 0);
    for pair in chain.windows(2) {
        assert_eq!(pair[1]["prev_lsn"], pair[0]["lsn"]);
    }
    assert_eq!(json(&["txn", log.name(), "2"])[0]["outcome"], "aborted");
    let none = wal(&["txn", log.name(), "77"]);
    assert_eq!(code(&none), 1);
    assert!(stderr(&none).contains("no record of transaction 77"), "{}", stderr(&none));
    let text = stdout(&wal(&["txn", log.name(), "1"]));
    assert!(text.contains("transaction 1, epoch 1: committed at") && text.contains("✔"), "{text}");
}

#[test]
fn a_chain_with_undo_shows_what_was_compensated_and_what_comes_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let storage: std::sync::Arc<dyn wal::Storage> =
        std::sync::Arc::new(wal::FileStorage::open(&path).unwrap());
    let options = wal::Options::default().segment_bytes(64 << 10).buffer_bytes(16 << 10);
    let (log, mut pages) = pages::open_pages(&storage, options).unwrap();
    let mut txn = log.begin();
    pages.put(&mut txn, 1, 0, 10).unwrap();
    let savepoint = txn.savepoint();
    pages.put(&mut txn, 1, 1, 20).unwrap();
    txn.rollback_to(&mut pages, savepoint).unwrap();
    let id = txn.commit().unwrap().txn.get().to_string();
    log.close().unwrap();
    let chain = &json(&["txn", path.to_str().unwrap(), &id])[0];
    let records = chain["records"].as_array().unwrap();
    let kinds: Vec<&str> = records.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(
        (chain["outcome"].as_str(), chain["broken"].as_bool()),
        (Some("committed"), Some(false))
    );
    let clr = kinds.iter().position(|kind| *kind == "clr").unwrap();
    assert!(clr > 1 && kinds.ends_with(&["commit", "end"]), "{kinds:?}");
    assert_eq!(records[clr]["fields"]["compensated"], records[clr - 1]["lsn"]);
    assert_eq!(records[clr]["undo_next"], records[clr - 1]["prev_lsn"]);
    let text = stdout(&wal(&["txn", path.to_str().unwrap(), &id]));
    assert!(text.contains("↩  clr") && text.contains("next to undo:"), "{text}");
}

#[test]
fn an_identity_that_came_again_is_a_chain_of_its_own_and_an_unfinished_one_is_voided() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let wal = logs::open(&path);
    let mut lost = wal.begin();
    lost.log(b"never committed").unwrap();
    wal.sync().unwrap();
    // As a crash leaves it: its process would say at the end that it gave the transaction up.
    let crashed = dir.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for file in std::fs::read_dir(&path).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), crashed.join(file.file_name())).unwrap();
    }
    let path = crashed;
    let again = logs::open(&path);
    let mut txn = again.begin();
    txn.log(b"committed").unwrap();
    txn.commit().unwrap();
    again.close().unwrap();
    let chains = json(&["txn", path.to_str().unwrap(), "1"]);
    let outcomes: Vec<&str> = chains.iter().map(|it| it["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["unfinished", "committed"]);
    assert!(chains[0]["voided_at"].is_u64() && chains[1]["voided_at"].is_null());
}

/// `wal dump --follow` with its output line by line.
fn follow(name: &str, more: &[&str]) -> (Child, impl Iterator<Item = Value>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wal"))
        .args(["dump", name, "--follow", "--json"])
        .args(more)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

/// A writer in a process of its own, which is sent its lines from here.
fn writer(name: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wal"))
        .args(["append", name, "--segment-bytes", "65536", "--threads", "4", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn beside_a_writer_that_is_killed_and_one_that_goes_on_no_record_is_missed_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("log").to_str().unwrap().to_owned();
    assert_eq!(code(&wal_with_input(&["append", &name, "--segment-bytes", "65536"], "0\n")), 0);
    let (mut child, mut lines) = follow(&name, &["--kind", "data"]);
    let mut found: Vec<Value> = vec![lines.next().unwrap()];
    let mut first = writer(&name);
    let mut pipe = first.stdin.take().unwrap();
    for number in 1..=1500 {
        writeln!(pipe, "{number} {}", "x".repeat(number % 90)).unwrap();
    }
    // In the middle of it, once some of it has come.
    found.extend(lines.by_ref().take(300));
    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = writer(&name);
    let mut pipe = second.stdin.take().unwrap();
    for number in 10_001..=11_000 {
        writeln!(pipe, "{number} y").unwrap();
    }
    drop(pipe);
    assert!(second.wait().unwrap().success());
    // Closed by the second writer only: the follower waits for nothing else.
    let all = bodies(&["dump", &name, "--kind", "data"]);
    found.extend(lines.by_ref().take(all.len() - found.len()));
    let text: Vec<&str> = found.iter().map(|line| line["body"].as_str().unwrap()).collect();
    assert_eq!(text, all);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_follower_ends_with_the_log_that_is_closed_when_asked_to() {
    let log = TestLog::new(State::Healthy);
    let all = records(&["dump", log.name()]);
    let (mut child, lines) = follow(log.name(), &["--until-closed"]);
    assert_eq!(lines.collect::<Vec<_>>(), all);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(code(&wal(&["dump", log.name(), "--until-closed"])), 2);
}

#[test]
fn a_follower_that_truncation_overtakes_says_what_it_missed_goes_on_and_ends_with_code_4() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let options = wal::Options::default().segment_bytes(1 << 16);
    let none = |_: &wal::ReplayRecord<'_>| Ok::<(), std::io::Error>(());
    let log = wal::Wal::open(&path, options, none).unwrap();
    let append = |from: usize, to: usize| {
        (from..to).for_each(|number| drop(log.append(format!("{number:>900}").as_bytes())));
        log.sync().unwrap();
    };
    append(0, 2000);
    let (mut child, mut lines) = follow(path.to_str().unwrap(), &["--until-closed"]);
    // Its output is not read any further, so it stands still when what fits into a pipe is printed.
    let mut found = vec![lines.next().unwrap()];
    let truncated = log.truncate_before(log.positions().durable).unwrap();
    assert!(truncated.segments > 10, "far more than it has read: {truncated:?}");
    append(2000, 2010);
    log.close().unwrap();
    found.extend(lines);
    assert_eq!(child.wait().unwrap().code(), Some(4));

    let gap = found.iter().position(|line| line.get("truncated").is_some()).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    assert_eq!(found[gap]["truncated"]["from"], found[gap - 1]["end"], "from where it stood");
    assert_eq!(found[gap]["truncated"]["to"], truncated.head.get());
    assert!(number(&found[gap + 1]["lsn"]) >= truncated.head.get());
    found.remove(gap);
    assert!(found.iter().all(|line| line.get("truncated").is_none()), "said once");
    assert!(found.windows(2).all(|two| number(&two[0]["end"]) <= number(&two[1]["lsn"])));
    let last = found.iter().rfind(|line| line["kind"] == "data").unwrap();
    assert_eq!(last["body"].as_str().unwrap().trim(), "2009");
}

#[test]
fn a_follower_that_is_interrupted_ends_by_the_signal_with_its_lines_whole() {
    use std::os::unix::process::ExitStatusExt;
    let log = TestLog::new(State::Torn);
    let (mut child, mut lines) = follow(log.name(), &["--kind", "data"]);
    assert_eq!(lines.next().unwrap()["body"], "record 1");
    signal::send(&child, signal::SIGINT);
    assert!(lines.all(|line| line["kind"] == "data"));
    assert_eq!(child.wait().unwrap().signal(), Some(2));
}

#[test]
fn a_follower_meets_damage_and_says_so() {
    let log = TestLog::new(State::Damaged);
    let output = wal(&["dump", log.name(), "--follow"]);
    assert_eq!(code(&output), 4, "{}", stderr(&output));
    assert!(stdout(&output).contains("record 3") && !stdout(&output).contains("record 5"));
}
