//! A test for each rule and each statement of ARIES: the tables that `docs/testing.md` points to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::outcome::Finding;
use crate::rust_text::{code_only, functions};

/// A page of numbered promises, each of which has tests named after it.
#[derive(Debug)]
pub(super) struct Family {
    /// The page, which keeps each on a line that begins with its number and a bold title.
    pub(super) page: &'static str,
    /// What each is called.
    noun: &'static str,
    /// What the names of its tests begin with, before the number.
    letter: char,
    count: u32,
}

/// All such pages.
pub(super) const FAMILIES: [Family; 2] = [
    Family { page: "docs/rules.md", noun: "rule", letter: 'r', count: 22 },
    Family { page: "docs/aries.md", noun: "statement", letter: 'a', count: 35 },
];

/// A rule, and the tests named after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    number: u32,
    title: String,
    /// Each with its file.
    tests: Vec<(String, PathBuf)>,
}

/// The numbers and titles on a page: lines like `7. **Title.** …`.
pub(super) fn titles(text: &str) -> Vec<(u32, String)> {
    text.lines()
        .filter_map(|line| {
            let (number, rest) = line.split_once(". **")?;
            let title = rest.split("**").next()?;
            Some((number.parse().ok()?, title.trim_end_matches('.').to_owned()))
        })
        .collect()
}

/// The rules, each with the tests named after it (`r07_…`) that `sources` hold.
pub(super) fn table(
    family: &Family,
    titles: &[(u32, String)],
    sources: &[(PathBuf, String)],
) -> Vec<Rule> {
    let mut rules: Vec<Rule> = titles
        .iter()
        .map(|(number, title)| Rule { number: *number, title: title.clone(), tests: Vec::new() })
        .collect();
    for (file, source) in sources {
        // This program's own tests speak of such names.
        if file.starts_with("xtask") {
            continue;
        }
        for function in functions(&code_only(source)) {
            let Some(number) = number_of(family.letter, &function.name) else { continue };
            if let Some(rule) = rules.iter_mut().find(|rule| rule.number == number)
                && is_test(source, function.line)
            {
                rule.tests.push((function.name, file.clone()));
            }
        }
    }
    rules
}

/// The table for people.
pub(super) fn rendered(family: &Family, rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        let Rule { number, title, tests } = rule;
        let _ = writeln!(text, "{} {number:>2}: {title} ({})", family.noun, tests.len());
        for (name, file) in tests {
            let _ = writeln!(text, "    {name}  {}", file.display());
        }
    }
    text
}

/// A finding for each rule without a test, and one when the rules themselves are gone.
pub(super) fn check(family: &Family, rules: &[Rule]) -> Vec<Finding> {
    let Family { noun, letter, count, .. } = *family;
    let file = Path::new(family.page);
    let numbers: Vec<u32> = rules.iter().map(|rule| rule.number).collect();
    let mut findings = Vec::new();
    if numbers != (1..=count).collect::<Vec<u32>>() {
        findings.push(Finding::in_file(
            file,
            format!("the {noun}s are numbered {numbers:?}, not 1 to {count}"),
            "keep each on one line that begins with its number and a bold title",
        ));
    }
    findings.extend(rules.iter().filter(|rule| rule.tests.is_empty()).map(|rule| {
        Finding::in_file(
            file,
            format!("{noun} {} has no test: {}", rule.number, rule.title),
            format!("write a test that fails without it, named `{letter}{:02}_…`", rule.number),
        )
    }));
    findings
}

/// The number in a name like `r07_words`, for the letter `r`.
fn number_of(letter: char, name: &str) -> Option<u32> {
    let (number, words) = name.strip_prefix(letter)?.split_once('_')?;
    (number.len() == 2 && !words.is_empty()).then(|| number.parse().ok())?
}

/// Whether an attribute above the function at `line` makes it a test; a `proptest!` counts.
pub(super) fn is_test(source: &str, line: usize) -> bool {
    let above: Vec<&str> = source.lines().take(line.saturating_sub(1)).collect();
    above
        .iter()
        .rev()
        .map(|line| line.trim())
        .take_while(|line| line.starts_with("#[") || line.starts_with("//") || line.is_empty())
        .any(|line| line.starts_with("#[test]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Rules\n1. **First.** Text.\n2. **Second of all.** More.\n";

    fn rules(source: &str) -> Vec<Rule> {
        let sources = [(PathBuf::from("crates/a/tests/t.rs"), source.to_owned())];
        table(&FAMILIES[0], &titles(PAGE), &sources)
    }

    #[test]
    fn titles_are_read_from_the_page() {
        assert_eq!(titles(PAGE), [(1, "First".to_owned()), (2, "Second of all".to_owned())]);
    }

    #[test]
    fn tests_are_counted_under_their_rule() {
        let rules = rules("#[test]\nfn r02_works() {}\n\n/// Doc.\n#[test]\nfn r02_too() {}");
        assert_eq!(rules[1].tests.len(), 2);
        assert!(rendered(&FAMILIES[0], &rules).contains("r02_works  crates/a/tests/t.rs"));
    }

    #[test]
    fn a_function_that_is_no_test_does_not_count() {
        let rules = rules("fn r01_helper() {}\n// #[test]\n// fn r02_commented() {}");
        assert!(rules.iter().all(|rule| rule.tests.is_empty()));
    }

    #[test]
    fn a_rule_without_a_test_is_found() {
        let findings = check(&FAMILIES[0], &rules("#[test]\nfn r01_holds() {}"));
        let missing: Vec<&String> =
            findings.iter().map(|one| &one.what).filter(|what| what.contains("no test")).collect();
        assert_eq!(missing, ["rule 2 has no test: Second of all"]);
    }

    #[test]
    fn statements_are_counted_by_their_own_letter() {
        let sources =
            [(PathBuf::from("t.rs"), "#[test]\nfn a02_b() {}\n#[test]\nfn r01_c() {}".to_owned())];
        let statements = table(&FAMILIES[1], &titles(PAGE), &sources);
        assert_eq!(statements[1].tests.len(), 1);
        let findings = check(&FAMILIES[1], &statements);
        assert!(findings.iter().any(|one| one.what == "statement 1 has no test: First"));
    }

    #[test]
    fn a_page_that_lost_a_rule_is_found() {
        let twenty_two: String = (1..=22).map(|n| format!("{n}. **T{n}.** x\n")).collect();
        let numbered = |page: &str| {
            let rules = table(&FAMILIES[0], &titles(page), &[]);
            check(&FAMILIES[0], &rules).iter().any(|one| one.what.contains("numbered"))
        };
        assert!(!numbered(&twenty_two));
        assert!(numbered(PAGE));
    }

    #[test]
    fn only_two_digits_and_words_name_a_rule() {
        assert_eq!(number_of('r', "r06_each_slot"), Some(6));
        assert_eq!(number_of('a', "a35_redo_only"), Some(35));
        for name in ["a06_x", "r6_x", "r006_x", "r06", "read_06", "r06_", "rab_x"] {
            assert_eq!(number_of('r', name), None, "{name}");
        }
    }
}
