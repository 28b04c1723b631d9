//! Links between the documents.

use std::path::Path;

use crate::outcome::Finding;
use crate::rust_text::line_of;

/// Every relative link of a Markdown file that leads to no file, and every anchor that its file
/// does not have.
pub(super) fn check(root: &Path, file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (offset, target) in targets(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let leads_to = if path.is_empty() {
            file.to_path_buf()
        } else {
            file.parent().unwrap_or(root).join(path)
        };
        let sound = if anchor.is_empty() || leads_to.is_dir() {
            leads_to.exists()
        } else {
            std::fs::read_to_string(&leads_to).is_ok_and(|text| has_anchor(&text, anchor))
        };
        if !sound {
            findings.push(Finding::at(
                file.strip_prefix(root).unwrap_or(file),
                line_of(text, offset),
                format!("the link to `{target}` leads nowhere"),
                "mend the path or the heading",
            ));
        }
    }
    findings
}

/// The targets of inline links, code excluded.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let mut from = 0;
            while let Some(at) = line.get(from..).and_then(|rest| rest.find("](")) {
                let start = from + at + 2;
                let rest = line.get(start..).unwrap_or_default();
                let Some(length) = rest.find(')') else { break };
                let in_code = line.get(..start).unwrap_or_default().matches('`').count() % 2 == 1;
                if !in_code {
                    found.push((offset + start, rest.get(..length).unwrap_or_default()));
                }
                from = start + length;
            }
        }
        offset += line.len();
    }
    found
}

fn has_anchor(text: &str, anchor: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor)
}

/// The anchor of a heading: lower case, blanks become hyphens, other signs go.
fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter_map(|character| match character {
            ' ' | '-' => Some('-'),
            '_' => Some('_'),
            character if character.is_alphanumeric() => Some(character.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("other.md"), "# One head, two\n").unwrap();
        let file = dir.path().join("a.md");
        std::fs::write(&file, text).unwrap();
        check(dir.path(), &file, text).len()
    }

    #[test]
    fn links_to_files_and_headings_that_exist_pass() {
        assert_eq!(findings("# Here\n[a](other.md) [b](other.md#one-head-two) [c](#here)"), 0);
        assert_eq!(findings("[web](https://example.org/x) [mail](mailto:a@example.org)"), 0);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        assert_eq!(findings("[a](gone.md)"), 1);
        assert_eq!(findings("[a](other.md#gone) and [b](#gone)"), 2);
    }

    #[test]
    fn code_is_no_link() {
        assert_eq!(findings("`a[0](x)`\n```\nb[1](y)\n```\n"), 0);
    }
}
