//! Sizes and heads of source files.

use std::path::Path;

use crate::outcome::Finding;
use crate::rust_text::{code_only, functions, without_tests};

/// Lines of a file outside its tests.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Checks one source file.
pub(super) fn check(file: &Path, source: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A crate whose page is its head includes it.
    if !source.starts_with("//!") && !source.starts_with("#![doc = include_str!") {
        findings.push(Finding::at(
            file,
            1,
            "no head",
            "begin with `//!`: what the file is for, what it leaves to others, its invariants",
        ));
    }
    let code = code_only(source);
    let lines = lines_outside_tests(source, &code, file);
    if lines > FILE_LINES_MAX {
        findings.push(Finding::in_file(
            file,
            format!("{lines} lines outside tests, {FILE_LINES_MAX} are the limit"),
            "split it where its head has to say \"and\"",
        ));
    }
    for function in functions(&code) {
        if function.lines > FUNCTION_LINES_MAX {
            findings.push(Finding::at(
                file,
                function.line,
                format!(
                    "`{}` has {} lines, {FUNCTION_LINES_MAX} are the limit",
                    function.name, function.lines
                ),
                "keep the branches, move the computation into functions of its own",
            ));
        }
    }
    findings
}

/// Integration tests, examples and benchmarks are tests from the first line to the last.
fn lines_outside_tests(source: &str, code: &str, file: &Path) -> usize {
    if file.components().any(|part| part.as_os_str() == "tests") {
        return 0;
    }
    let live = without_tests(code);
    let is_test = |(code, live): (&str, &str)| !code.trim().is_empty() && live.trim().is_empty();
    let tests = code.lines().zip(live.lines()).filter(|pair| is_test(*pair)).count();
    source.lines().count().saturating_sub(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(source: &str) -> Vec<String> {
        check(Path::new("src/a.rs"), source).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        assert_eq!(findings("fn a() {}"), ["no head"]);
        assert!(findings("//! Head.\nfn a() {}").is_empty());
        assert!(findings("#![doc = include_str!(\"../README.md\")]\n").is_empty());
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_are_free() {
        let body = |lines: usize| "const A: u8 = 0;\n".repeat(lines);
        assert!(findings(&format!("//! Head.\n{}", body(499))).is_empty());
        assert_eq!(findings(&format!("//! Head.\n{}", body(500))).len(), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", body(900));
        assert!(findings(&format!("//! Head.\n{}{tests}", body(499))).is_empty());
    }

    #[test]
    fn a_long_function_is_found_wherever_it_is() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "a();\n".repeat(lines - 2));
        assert!(findings(&format!("//! Head.\n{}", function(70))).is_empty());
        let found = findings(&format!("//! Head.\n{}", function(71)));
        assert_eq!(found, ["`f` has 71 lines, 70 are the limit"]);
    }
}
