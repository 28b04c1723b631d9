//! Rust sources as text: what is code in them, what is a test, where functions begin and end.
//!
//! A light scanner, no parser: comments and literals are blanked, so that textual checks see code
//! only. Every function here keeps offsets and lines as they are in the source.

/// The source with comments, strings and characters replaced by spaces; lines and offsets stay.
pub(crate) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = comment_end(bytes, at).or_else(|| literal_end(bytes, at));
        match end {
            Some(end) => {
                blank(&mut out, at, end);
                at = end;
            }
            None => at = word_end(bytes, at).max(at + 1),
        }
    }
    // Only whole characters were blanked, so this never replaces anything.
    String::from_utf8_lossy(&out).into_owned()
}

/// `code` (as [`code_only`] gives it) with every item under `#[cfg(test)]` blanked as well.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    for marker in ["#[cfg(test)]", "#[cfg(all(test"] {
        let mut from = 0;
        while let Some(found) = code.get(from..).and_then(|rest| rest.find(marker)) {
            let start = from + found;
            let end = item_end(code.as_bytes(), start);
            blank(&mut out, start, end);
            from = end.max(start + marker.len());
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The line, from 1, in which `offset` lies.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from its `fn` to its closing brace, both included.
    pub(crate) lines: usize,
}

/// All functions with a body in `code`, nested ones too.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (start, word) in words(code) {
        if word != "fn" {
            continue;
        }
        let after = start + 2;
        let Some((_, name)) = words(code.get(after..).unwrap_or_default()).next() else { continue };
        let gap = code.get(after..).unwrap_or_default().find(name).unwrap_or_default();
        // `fn(u8)` is a type: something other than space stands before the next word.
        if !code.get(after..after + gap).unwrap_or_default().trim().is_empty() {
            continue;
        }
        let Some(open) = body_start(bytes, after) else { continue };
        let end = matching(bytes, open);
        let line = line_of(code, start);
        let lines = line_of(code, end.saturating_sub(1)) - line + 1;
        found.push(Function { name: name.to_owned(), line, lines });
    }
    found
}

/// The words (identifiers, keywords, numbers) of `code` with their offsets.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = code.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !is_word(bytes[at]) {
            at += 1;
        }
        let start = at;
        at = word_end(bytes, at);
        (start < at).then(|| (start, code.get(start..at).unwrap_or_default()))
    })
}

/// Whether `byte` may be part of an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Just past the bracket that closes the one at `open`; the end of the text when none does.
pub(crate) fn matching(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

fn blank(out: &mut [u8], start: usize, end: usize) {
    for byte in out.iter_mut().take(end).skip(start) {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    let length = bytes.iter().skip(start).take_while(|byte| is_word(**byte)).count();
    start + length
}

/// The end of the comment that begins at `at`, if one does.
fn comment_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    if rest.starts_with(b"//") {
        return Some(at + rest.iter().take_while(|byte| **byte != b'\n').count());
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let mut depth = 0_usize;
    let mut index = 0;
    while index < rest.len() {
        match rest.get(index..index + 2) {
            Some(b"/*") => (depth, index) = (depth + 1, index + 2),
            Some(b"*/") => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    Some(at + index)
}

/// The end of the string or character that begins at `at`, its prefix included, if one does.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let prefix = rest.iter().take_while(|byte| matches!(byte, b'b' | b'c' | b'r')).count();
    let raw = rest.get(..prefix)?.contains(&b'r');
    let hashes =
        if raw { rest.iter().skip(prefix).take_while(|byte| **byte == b'#').count() } else { 0 };
    let open = prefix + hashes;
    match rest.get(open)? {
        b'"' if raw => {
            let mut close = vec![b'"'];
            close.resize(1 + hashes, b'#');
            let body = rest.get(open + 1..)?;
            let length = body.windows(close.len()).position(|window| window == close);
            Some(length.map_or(bytes.len(), |length| at + open + 1 + length + close.len()))
        }
        b'"' => Some(at + quoted_end(rest, open, b'"')),
        b'\'' if hashes == 0 && prefix <= 1 => char_end(rest, open).map(|end| at + end),
        _ => None,
    }
}

/// Just past the `quote` that closes the one at `open`, escapes respected.
fn quoted_end(rest: &[u8], open: usize, quote: u8) -> usize {
    let mut index = open + 1;
    while let Some(byte) = rest.get(index) {
        match byte {
            b'\\' => index += 2,
            byte if *byte == quote => return index + 1,
            _ => index += 1,
        }
    }
    rest.len()
}

/// The end of a character at `open`; `None` for a lifetime.
fn char_end(rest: &[u8], open: usize) -> Option<usize> {
    if rest.get(open + 1) == Some(&b'\\') {
        return Some(quoted_end(rest, open, b'\''));
    }
    // One character, of up to four bytes, and then the closing quote.
    let close = (open + 2..open + 6).find(|index| rest.get(*index) == Some(&b'\''))?;
    let text = std::str::from_utf8(rest.get(open + 1..close)?).ok()?;
    (text.chars().count() == 1).then_some(close + 1)
}

/// The end of the item whose first attribute begins at `start`.
fn item_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        if bytes.get(at) != Some(&b'#') {
            break;
        }
        at = matching(bytes, at + 1);
    }
    let is_use = bytes.get(at..).is_some_and(|rest| rest.starts_with(b"use "));
    while let Some(byte) = bytes.get(at) {
        match byte {
            b';' => return at + 1,
            b'{' if !is_use => return matching(bytes, at),
            b'{' | b'(' | b'[' => at = matching(bytes, at),
            // The enclosing item ends: this was a field, an arm or a variant.
            b'}' | b')' | b']' => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The brace that opens the body of the function whose name follows `at`.
fn body_start(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'{' => return Some(at),
            b';' => return None,
            b'(' | b'[' => at = matching(bytes, at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_moves() {
        let source =
            "a // x\n/* y /* z */ */ b \"s\\\"t\" c r#\"u\"v\"# d 'w' '\\'' b'x' &'life e\n";
        let code = code_only(source);
        assert_eq!(code.len(), source.len());
        assert_eq!(line_of(&code, code.len()), line_of(source, source.len()));
        let left: Vec<&str> = words(&code).map(|(_, word)| word).collect();
        assert_eq!(left, ["a", "b", "c", "d", "life", "e"]);
    }

    #[test]
    fn an_identifier_that_ends_in_r_does_not_begin_a_raw_string() {
        let code = code_only("for_r #\"x\"# bar\"y\" z");
        assert!(code.contains("for_r") && code.contains("bar") && code.contains('z'));
        assert!(!code.contains('y'));
    }

    #[test]
    fn characters_of_several_bytes_are_blanked_whole() {
        let source = "let a = 'é'; let b = '本'; // ünï\nc";
        let code = code_only(source);
        assert_eq!(code.len(), source.len());
        assert!(!code.contains('é') && !code.contains('本') && code.ends_with('c'));
    }

    #[test]
    fn items_under_cfg_test_are_blanked_with_their_attributes() {
        let code = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests { fn b() { [1; 2]; } }\nfn c() {}\n\
                    #[cfg(test)] use x::{y, z};\nfn d() {}\n#[cfg(not(test))] fn e() {}";
        let left = without_tests(code);
        assert_eq!(left.len(), code.len());
        let names: Vec<String> = functions(&left).into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["a", "c", "d", "e"]);
        assert!(!left.contains("y, z"));
    }

    #[test]
    fn a_field_under_cfg_test_does_not_take_the_rest_of_the_file_with_it() {
        let left = without_tests("struct A { #[cfg(test)] b: u8 }\nfn c() {}");
        assert_eq!(functions(&left).len(), 1);
    }

    #[test]
    fn functions_are_measured_from_fn_to_the_closing_brace() {
        let code = "fn one() { 1 }\nfn three(\n    x: [u8; 3],\n) -> u8 { match x { _ => 1 } }\n\
                    trait T { fn none(&self); }\ntype F = fn(u8);\n";
        let found: Vec<(String, usize, usize)> =
            functions(code).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("one".to_owned(), 1, 1), ("three".to_owned(), 2, 3)]);
    }
}
