//! Within a crate, a file uses only modules listed above it.
//!
//! A use of one module by another is judged where their branches part: the children of the module
//! that holds both are in reading order, and the used one must come first. A module and one of its
//! own descendants are on the same branch: either may use the other, not both. `pub use` in a
//! parent is a list of names, no use.

use std::collections::BTreeMap;

use crate::module_tree::{Module, ModuleTree};
use crate::outcome::Finding;
use crate::used_paths::{PathUse, UsedPath};

/// One module uses another.
#[derive(Clone, Copy)]
struct Edge<'a> {
    from: usize,
    to: usize,
    path: &'a UsedPath,
}

/// All uses that point up, and all that make a circle of a module and its descendant.
pub(super) fn check(tree: &ModuleTree) -> Vec<Finding> {
    let edges = edges(tree);
    let mut findings = Vec::new();
    let mut on_branch: BTreeMap<(usize, usize), Edge<'_>> = BTreeMap::new();
    for edge in &edges {
        match meeting(tree, edge.from, edge.to) {
            Meeting::SameBranch => {
                on_branch.insert((edge.from, edge.to), *edge);
                if let Some(back) = on_branch.get(&(edge.to, edge.from)) {
                    findings.push(circle(tree, edge, back));
                }
            }
            Meeting::Siblings { from, to } => {
                if place(tree, to) > place(tree, from) {
                    findings.push(upward(tree, edge, from, to));
                }
            }
        }
    }
    findings.dedup();
    findings
}

fn upward(tree: &ModuleTree, edge: &Edge<'_>, from: usize, to: usize) -> Finding {
    let module = &tree.modules[edge.from];
    Finding::at(
        &module.file,
        module.line(edge.path.offset),
        format!(
            "{} uses {}, which is listed below it",
            module.display(),
            tree.modules[edge.to].display()
        ),
        format!(
            "move `mod {}` above `mod {}` if nothing else forbids it; else move what is needed \
             into a module above both",
            name(&tree.modules[to]),
            name(&tree.modules[from])
        ),
    )
}

fn circle(tree: &ModuleTree, edge: &Edge<'_>, back: &Edge<'_>) -> Finding {
    let (module, other) = (&tree.modules[edge.from], &tree.modules[back.from]);
    Finding::at(
        &module.file,
        module.line(edge.path.offset),
        format!(
            "{} and {} use each other (the other way: line {})",
            module.display(),
            other.display(),
            other.line(back.path.offset)
        ),
        "move what both need into a module above both",
    )
}

/// Every use of one live module by another.
fn edges(tree: &ModuleTree) -> Vec<Edge<'_>> {
    let mut found = Vec::new();
    for (from, module) in tree.modules.iter().enumerate().filter(|(_, module)| !module.test_only) {
        for path in &module.paths {
            let Some(to) = resolve(tree, from, path) else { continue };
            let names_own_child = path.how == PathUse::ReExport && is_within(tree, to, from);
            if to != from && !names_own_child && !tree.modules[to].test_only {
                found.push(Edge { from, to, path });
            }
        }
    }
    found
}

/// The module that a path written in `from` leads to; `None` when it leaves the crate.
fn resolve(tree: &ModuleTree, from: usize, path: &UsedPath) -> Option<usize> {
    let mut segments = path.segments.iter().map(String::as_str).peekable();
    let mut at = match *segments.peek()? {
        "crate" => {
            segments.next();
            0
        }
        "self" | "super" => from,
        first => {
            // Without a keyword, only an own child is meant; anything else is another crate.
            child(tree, from, first)?;
            from
        }
    };
    while let Some(step) = segments.next_if(|segment| matches!(*segment, "self" | "super")) {
        if step == "super" {
            at = tree.modules[at].parent?;
        }
    }
    Some(follow(tree, at, &segments.collect::<Vec<_>>(), 8))
}

/// Walks down from `at`; re-exports on the way are followed, `depth` of them at the most.
fn follow(tree: &ModuleTree, mut at: usize, segments: &[&str], depth: usize) -> usize {
    for (index, segment) in segments.iter().enumerate() {
        if let Some(next) = child(tree, at, segment) {
            at = next;
            continue;
        }
        let named = |path: &&UsedPath| path.name.as_deref() == Some(*segment);
        let import = tree.modules[at]
            .paths
            .iter()
            .filter(|path| path.how != PathUse::Inline)
            .find(named)
            .filter(|_| depth > 0);
        let Some(import) = import else { return at };
        let Some(target) = resolve_import(tree, at, import, depth - 1) else { return at };
        return follow(tree, target, &segments[index + 1..], depth - 1);
    }
    at
}

fn resolve_import(tree: &ModuleTree, at: usize, path: &UsedPath, depth: usize) -> Option<usize> {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    match segments.split_first()? {
        (&"crate", rest) => Some(follow(tree, 0, rest, depth)),
        (&"self", rest) => Some(follow(tree, at, rest, depth)),
        (&"super", rest) => Some(follow(tree, tree.modules[at].parent?, rest, depth)),
        (first, _) => child(tree, at, first).map(|_| follow(tree, at, &segments, depth)),
    }
}

fn child(tree: &ModuleTree, of: usize, wanted: &str) -> Option<usize> {
    tree.modules[of].children.iter().copied().find(|index| name(&tree.modules[*index]) == wanted)
}

enum Meeting {
    /// One holds the other.
    SameBranch,
    /// The children, of the module which holds both, that lead to each.
    Siblings { from: usize, to: usize },
}

fn meeting(tree: &ModuleTree, from: usize, to: usize) -> Meeting {
    let (mut up, down) = (branch(tree, from), branch(tree, to));
    let shared = up.iter().zip(&down).take_while(|(a, b)| a == b).count();
    match (up.get(shared).copied(), down.get(shared).copied()) {
        (Some(from), Some(to)) => Meeting::Siblings { from, to },
        _ => {
            up.clear();
            Meeting::SameBranch
        }
    }
}

/// The modules from the root down to `index`.
fn branch(tree: &ModuleTree, index: usize) -> Vec<usize> {
    let mut branch = vec![index];
    while let Some(parent) = branch.last().and_then(|last| tree.modules[*last].parent) {
        branch.push(parent);
    }
    branch.reverse();
    branch
}

fn is_within(tree: &ModuleTree, inner: usize, outer: usize) -> bool {
    branch(tree, inner).contains(&outer)
}

/// The place of a module among its siblings.
fn place(tree: &ModuleTree, index: usize) -> usize {
    let parent = tree.modules[index].parent.unwrap_or_default();
    tree.modules[parent].children.iter().position(|child| *child == index).unwrap_or_default()
}

fn name(module: &Module) -> &str {
    module.path.last().map_or("crate", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings in a crate of these files, as `file:line`.
    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let tree = ModuleTree::read(&dir.path().join("lib.rs")).unwrap();
        assert!(tree.problems.is_empty(), "{:?}", tree.problems);
        check(&tree)
            .iter()
            .map(|one| {
                format!("{}:{}", one.file.strip_prefix(dir.path()).unwrap().display(), one.line)
            })
            .collect()
    }

    const ORDERED: (&str, &str) = ("lib.rs", "mod low;\nmod high;\npub use high::High;");

    #[test]
    fn a_use_of_a_module_below_is_found_in_every_spelling() {
        for spelling in [
            "use crate::high::High;",
            "use super::high::High;",
            "use crate::{high::High, low};",
            "fn f() { crate::high::f() }",
            "use crate::High;",
            "use crate::high as other;",
        ] {
            let files = [ORDERED, ("low.rs", spelling), ("high.rs", "")];
            assert_eq!(findings(&files), ["low.rs:1"], "{spelling}");
        }
    }

    #[test]
    fn a_use_of_a_module_above_is_fine() {
        let files = [ORDERED, ("low.rs", ""), ("high.rs", "use crate::low::Low;\nuse std::io;")];
        assert!(findings(&files).is_empty());
    }

    #[test]
    fn tests_may_use_anything() {
        let test = "#[cfg(test)]\nmod tests { use crate::high::High; }";
        assert!(findings(&[ORDERED, ("low.rs", test), ("high.rs", "")]).is_empty());
    }

    #[test]
    fn branches_are_judged_where_they_part() {
        let lib = ("lib.rs", "pub mod a { mod one; mod two; }\nmod b;");
        let up = [lib, ("a/one.rs", "use crate::b::B;"), ("a/two.rs", ""), ("b.rs", "")];
        assert_eq!(findings(&up), ["a/one.rs:1"]);
        let down = [lib, ("a/one.rs", ""), ("a/two.rs", "use super::one::X;"), ("b.rs", "")];
        assert!(findings(&down).is_empty());
        let sideways = [lib, ("a/one.rs", "use super::two::X;"), ("a/two.rs", ""), ("b.rs", "")];
        assert_eq!(findings(&sideways), ["a/one.rs:1"]);
    }

    #[test]
    fn names_that_a_parent_re_exports_lead_to_their_module() {
        let lib = ("lib.rs", "mod a;\nmod b { mod deep; pub use deep::Thing as Other; }");
        let files = [lib, ("a.rs", "use crate::b::Other;"), ("b/deep.rs", "")];
        assert_eq!(findings(&files), ["a.rs:1"]);
    }

    #[test]
    fn a_parent_and_its_child_may_not_use_each_other() {
        let lib = ("lib.rs", "mod a;");
        let child_uses = ("a/x.rs", "use super::Item;");
        let re_export = [lib, ("a.rs", "mod x;\npub use x::X;\npub struct Item;"), child_uses];
        assert!(findings(&re_export).is_empty());
        let circle = [lib, ("a.rs", "mod x;\nuse x::X;\npub struct Item;"), child_uses];
        assert_eq!(findings(&circle), ["a/x.rs:1"]);
    }

    #[test]
    fn a_crate_of_the_same_name_as_a_foreign_module_is_not_confused() {
        let files = [ORDERED, ("low.rs", "use high::Thing;"), ("high.rs", "")];
        assert!(findings(&files).is_empty(), "`high::` in low.rs is another crate");
    }
}
