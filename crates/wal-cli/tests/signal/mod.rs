//! Signals to a child. By the shell's own command: not every machine has a program `kill`.

use std::process::{Child, Command};

pub(crate) const SIGINT: i32 = 2;

pub(crate) fn send(child: &Child, signal: i32) {
    let arguments = ["-c", "kill -\"$0\" \"$1\"", &signal.to_string(), &child.id().to_string()];
    assert!(Command::new("sh").args(arguments).status().unwrap().success());
}
