//! Running a command so that a person sees what runs, and that it fails where it fails.

use std::fmt::Write as _;
use std::process::Command;

use crate::outcome::{Failure, Outcome};

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command as one could type it, the variables it sets included.
pub(crate) fn describe(command: &Command) -> String {
    let mut text = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let _ = write!(text, "{}={} ", name.display(), quoted(&value.to_string_lossy()));
        }
    }
    let program = command.get_program().to_string_lossy();
    text.push_str(program.rsplit('/').next().unwrap_or(&program));
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&quoted(&argument.to_string_lossy()));
    }
    text
}

/// Prints the command, runs it with our own output, and waits.
///
/// # Errors
///
/// When it cannot start, or does not succeed; the message repeats the command.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let shown = describe(command);
    println!("$ {shown}");
    let status =
        command.status().map_err(|error| Failure::new(format!("cannot run `{shown}`: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{shown}` failed ({status}); run it alone to see it again")))
    }
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains([' ', '"', '$', '*']) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/bin/dir/cargo");
        command.args(["test", "-p", "x y"]).env("RUSTFLAGS", "--cfg loom");
        assert_eq!(describe(&command), "RUSTFLAGS='--cfg loom' cargo test -p 'x y'");
    }

    #[test]
    fn a_command_that_fails_is_a_failure_that_names_it() {
        let failure = run(Command::new("false").arg("--now")).unwrap_err().to_string();
        assert!(failure.contains("false --now"), "{failure}");
        assert!(run(&mut Command::new("no-such-program-here")).is_err());
    }
}
