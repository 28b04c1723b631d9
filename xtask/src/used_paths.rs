//! Every path that a piece of code names: `crate::lsn::Lsn`, `std::fs`, and each leaf of a `use`.
//!
//! Works on blanked code (see `rust_text`); knows nothing of modules or crates.

use crate::rust_text::is_word;

/// How a path is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathUse {
    /// In an expression, a type or a pattern.
    Inline,
    /// In a private `use`.
    Import,
    /// In a `pub use`, of any visibility.
    ReExport,
}

/// One path, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsedPath {
    /// Where its first segment stands, in bytes.
    pub(crate) offset: usize,
    /// Its segments; the last is `*` for a glob.
    pub(crate) segments: Vec<String>,
    /// The name that a `use` gives to it.
    pub(crate) name: Option<String>,
    /// How it is named.
    pub(crate) how: PathUse,
}

impl UsedPath {
    /// Whether the path is `prefix` or goes through it.
    pub(crate) fn goes_through(&self, prefix: &[&str]) -> bool {
        self.segments.len() >= prefix.len()
            && self.segments.iter().zip(prefix).all(|(have, want)| have == want)
    }
}

/// All paths of at least two segments in `code`, and every leaf of its `use` declarations.
pub(crate) fn used_paths(code: &str) -> Vec<UsedPath> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((offset, token)) = tokens.get(at) {
        match token {
            Token::Word("use") => {
                let how = if is_public(&tokens, at) { PathUse::ReExport } else { PathUse::Import };
                let mut reader = Reader { tokens: &tokens, at: at + 1, how, found: &mut found };
                reader.tree(&mut Vec::new(), *offset);
                at = reader.at.max(at + 1);
            }
            Token::Word(_) if begins_path(&tokens, at) => {
                let mut segments = Vec::new();
                while let Some((_, Token::Word(word))) = tokens.get(at) {
                    segments.push((*word).to_owned());
                    at += 1;
                    match tokens.get(at) {
                        Some((_, Token::Separator)) => at += 1,
                        _ => break,
                    }
                }
                let how = PathUse::Inline;
                found.push(UsedPath { offset: *offset, segments, name: None, how });
            }
            _ => at += 1,
        }
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Separator,
    Sign(u8),
}

fn tokens(code: &str) -> Vec<(usize, Token<'_>)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        if is_word(byte) {
            let length = bytes.iter().skip(at).take_while(|byte| is_word(**byte)).count();
            found.push((at, Token::Word(code.get(at..at + length).unwrap_or_default())));
            at += length;
        } else if bytes.get(at..at + 2) == Some(b"::") {
            found.push((at, Token::Separator));
            at += 2;
        } else {
            if !byte.is_ascii_whitespace() {
                found.push((at, Token::Sign(byte)));
            }
            at += 1;
        }
    }
    found
}

/// Whether the `use` at `at` stands behind `pub` or `pub(…)`.
fn is_public(tokens: &[(usize, Token<'_>)], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|index| tokens.get(index));
    match before(1) {
        Some((_, Token::Word("pub"))) => true,
        Some((_, Token::Sign(b')'))) => {
            // `pub(crate)` or `pub(super)`, or `pub(in path)`.
            (3..8).any(|back| {
                matches!(before(back), Some((_, Token::Word("pub"))))
                    && matches!(before(back - 1), Some((_, Token::Sign(b'('))))
            })
        }
        _ => false,
    }
}

fn begins_path(tokens: &[(usize, Token<'_>)], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|index| tokens.get(index)).map(|(_, token)| token);
    matches!(tokens.get(at + 1), Some((_, Token::Separator)))
        && !matches!(before, Some(Token::Separator | Token::Sign(b'.')))
}

/// Reads the tree of one `use`.
struct Reader<'a> {
    tokens: &'a [(usize, Token<'a>)],
    at: usize,
    how: PathUse,
    found: &'a mut Vec<UsedPath>,
}

impl Reader<'_> {
    /// Reads one branch below `prefix`; leaves `prefix` as it was.
    fn tree(&mut self, prefix: &mut Vec<String>, start: usize) {
        let depth = prefix.len();
        let mut offset = start;
        while let Some((here, token)) = self.tokens.get(self.at).copied() {
            match token {
                Token::Word("as") => {
                    self.at += 1;
                    if let Some((_, Token::Word(alias))) = self.tokens.get(self.at).copied() {
                        self.at += 1;
                        self.leaf(prefix, offset, Some(alias));
                    }
                    break;
                }
                Token::Word(word) => {
                    if prefix.len() == depth {
                        offset = here;
                    }
                    prefix.push(word.to_owned());
                    self.at += 1;
                }
                Token::Separator => self.at += 1,
                Token::Sign(b'*') => {
                    self.at += 1;
                    prefix.push("*".to_owned());
                    self.leaf(prefix, offset, None);
                    break;
                }
                Token::Sign(b'{') => {
                    self.at += 1;
                    self.branches(prefix, here);
                    prefix.truncate(depth);
                    return;
                }
                Token::Sign(_) => {
                    self.leaf(prefix, offset, None);
                    break;
                }
            }
        }
        prefix.truncate(depth);
    }

    fn branches(&mut self, prefix: &mut Vec<String>, offset: usize) {
        while let Some((_, token)) = self.tokens.get(self.at).copied() {
            match token {
                Token::Sign(b'}') => {
                    self.at += 1;
                    return;
                }
                Token::Sign(b',') => self.at += 1,
                // A `;` here is no Rust; stop rather than run through the file.
                Token::Sign(b';') => return,
                _ => self.tree(prefix, offset),
            }
        }
    }

    fn leaf(&mut self, prefix: &[String], offset: usize, alias: Option<&str>) {
        let mut segments = prefix.to_vec();
        if segments.last().is_some_and(|last| last == "self") && segments.len() > 1 {
            segments.pop();
        }
        if segments.is_empty() {
            return;
        }
        let name = alias.map(str::to_owned).or_else(|| segments.last().cloned());
        self.found.push(UsedPath { offset, segments, name, how: self.how });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(code: &str) -> Vec<String> {
        used_paths(code).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn every_leaf_of_a_use_is_a_path() {
        let code = "use a::{b::{c, d as e}, f::*, self}; use g; x();";
        assert_eq!(written(code), ["a::b::c", "a::b::d", "a::f::*", "a", "g"]);
    }

    #[test]
    fn paths_in_expressions_count_and_methods_do_not() {
        let code = "fn f() { crate::a::b(); x.y::<u8>(); <T as U>::z; $crate::m!(); }";
        assert_eq!(written(code), ["crate::a::b", "crate::m"]);
    }

    #[test]
    fn re_exports_are_told_from_imports() {
        let how = |code| used_paths(code).first().map(|path| path.how);
        assert_eq!(how("use a::b;"), Some(PathUse::Import));
        assert_eq!(how("pub use a::b;"), Some(PathUse::ReExport));
        assert_eq!(how("pub(crate) use a::b;"), Some(PathUse::ReExport));
        assert_eq!(how("pub(in crate::x) use a::b;"), Some(PathUse::Inline));
        assert_eq!(how("fn f() { a::b }"), Some(PathUse::Inline));
    }

    #[test]
    fn an_alias_is_the_name_that_others_see() {
        let paths = used_paths("pub use a::b as c;");
        assert_eq!(paths[0].name.as_deref(), Some("c"));
        assert_eq!(paths[0].segments, ["a", "b"]);
    }

    #[test]
    fn a_path_goes_through_its_prefixes() {
        let path = &used_paths("use std::fs::File;")[0];
        assert!(path.goes_through(&["std", "fs"]));
        assert!(!path.goes_through(&["std", "fs", "File", "open"]));
        assert!(!path.goes_through(&["std", "io"]));
    }
}
