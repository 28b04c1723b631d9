//! The modules of a crate, read from its root file along the `mod` lines.
//!
//! Knows files, inline modules, and what each module re-exports; judges nothing. The order of a
//! module's children is the order in which they are declared: the reading order.

use std::path::{Path, PathBuf};

use crate::outcome::{Finding, Outcome};
use crate::rust_text::{code_only, line_of, matching, without_tests, words};
use crate::used_paths::{UsedPath, used_paths};
use crate::workspace::read;

/// A module: a file, or an inline `mod name { … }` in one.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// Its path from the crate's root, empty for the root.
    pub(crate) path: Vec<String>,
    /// The file that holds it.
    pub(crate) file: PathBuf,
    /// The index of the module that declares it; `None` for the root.
    pub(crate) parent: Option<usize>,
    /// The indices of the modules it declares, in order.
    pub(crate) children: Vec<usize>,
    /// Only tests see it.
    pub(crate) test_only: bool,
    /// The whole source of its file.
    source: String,
    /// Its own code: comments, literals, tests and inline modules are blank.
    pub(crate) paths: Vec<UsedPath>,
}

impl Module {
    /// The name for people: `crate::a::b`.
    pub(crate) fn display(&self) -> String {
        let mut name = "crate".to_owned();
        for segment in &self.path {
            name.push_str("::");
            name.push_str(segment);
        }
        name
    }

    /// The line of a byte of its file.
    pub(crate) fn line(&self, offset: usize) -> usize {
        line_of(&self.source, offset)
    }
}

/// All modules of one crate.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModuleTree {
    /// The modules; the root is the first.
    pub(crate) modules: Vec<Module>,
    /// `mod` lines without a file.
    pub(crate) problems: Vec<Finding>,
}

impl ModuleTree {
    /// Reads the crate whose root file is `root`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub(crate) fn read(root: &Path) -> Outcome<Self> {
        let mut tree = Self::default();
        let dir = root.parent().unwrap_or(Path::new("")).to_path_buf();
        tree.add_file(root, &dir, Vec::new(), None, false)?;
        Ok(tree)
    }

    fn add_file(
        &mut self,
        file: &Path,
        dir: &Path,
        path: Vec<String>,
        parent: Option<usize>,
        test_only: bool,
    ) -> Outcome {
        let source = read(file)?;
        let code = code_only(&source);
        let place = Place { file, dir, code: &code, live: &without_tests(&code), source: &source };
        self.add(&place, 0..code.len(), path, parent, test_only)
    }

    /// Adds the module that lies in `span` of the file, and what it declares.
    fn add(
        &mut self,
        place: &Place<'_>,
        span: std::ops::Range<usize>,
        path: Vec<String>,
        parent: Option<usize>,
        test_only: bool,
    ) -> Outcome {
        let index = self.modules.len();
        let declarations = place.declarations(span.clone());
        self.modules.push(Module {
            path: path.clone(),
            file: place.file.to_path_buf(),
            parent,
            children: Vec::new(),
            test_only,
            source: place.source.to_owned(),
            paths: used_paths(&place.own_code(span, &declarations)),
        });
        if let Some(parent) = parent {
            self.modules[parent].children.push(index);
        }
        for declared in declarations {
            let mut path = path.clone();
            path.push(declared.name.clone());
            let test_only = test_only || declared.test_only;
            match &declared.body {
                Some(body) => {
                    let dir = place.dir.join(&declared.name);
                    let inner = Place { dir: &dir, ..*place };
                    self.add(&inner, body.clone(), path, Some(index), test_only)?;
                }
                None => match place.find(&declared) {
                    Some((file, dir)) => {
                        self.add_file(&file, &dir, path, Some(index), test_only)?;
                    }
                    None => self.problems.push(Finding::at(
                        place.file,
                        line_of(place.source, declared.offset),
                        format!("module `{}` has no file", declared.name),
                        format!(
                            "add {}/{}.rs, or remove the line",
                            place.dir.display(),
                            declared.name
                        ),
                    )),
                },
            }
        }
        Ok(())
    }
}

/// A file being read, and where its modules live.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a Path,
    /// The directory of the files of the modules declared here.
    dir: &'a Path,
    source: &'a str,
    /// Without comments and literals.
    code: &'a str,
    /// Without tests either.
    live: &'a str,
}

/// A `mod name;` or `mod name { … }`.
struct Declaration {
    name: String,
    offset: usize,
    /// The inside of the braces of an inline module.
    body: Option<std::ops::Range<usize>>,
    /// The value of a `#[path]` attribute.
    redirect: Option<String>,
    test_only: bool,
}

impl Place<'_> {
    /// The modules declared directly in `span`.
    fn declarations(&self, span: std::ops::Range<usize>) -> Vec<Declaration> {
        let text = self.code.get(span.clone()).unwrap_or_default();
        let mut found = Vec::new();
        let mut skip_to = 0;
        let all: Vec<(usize, &str)> = words(text).collect();
        for pair in all.windows(2) {
            let [(at, keyword), (name_at, name)] = pair else { continue };
            if *keyword != "mod" || *at < skip_to {
                continue;
            }
            let between = text.get(at + 3..*name_at).unwrap_or_default();
            let after = text.get(name_at + name.len()..).unwrap_or_default();
            let sign = after.trim_start().bytes().next();
            if !between.trim().is_empty() || !matches!(sign, Some(b';' | b'{')) {
                continue;
            }
            let sign_at = name_at + name.len() + after.len() - after.trim_start().len();
            let body = (sign == Some(b'{')).then(|| {
                let end = matching(text.as_bytes(), sign_at);
                skip_to = end;
                span.start + sign_at + 1..span.start + end.saturating_sub(1)
            });
            let offset = span.start + at;
            found.push(Declaration {
                name: (*name).to_owned(),
                offset,
                body,
                redirect: self.redirect(offset),
                test_only: self.live.as_bytes().get(offset) == Some(&b' '),
            });
        }
        found
    }

    /// The value of a `#[path = "…"]` right before the `mod` at `offset`.
    fn redirect(&self, offset: usize) -> Option<String> {
        let before = self.source.get(..offset)?;
        let attributes = before.get(before.rfind([';', '}']).map_or(0, |at| at + 1)..)?;
        let value = attributes.get(attributes.rfind("#[path")?..)?;
        value.split('"').nth(1).map(str::to_owned)
    }

    /// The code of the module in `span` alone: inline modules in it are blank.
    fn own_code(&self, span: std::ops::Range<usize>, declarations: &[Declaration]) -> String {
        let inner: Vec<_> = declarations.iter().filter_map(|one| one.body.clone()).collect();
        let own = |at: usize| span.contains(&at) && !inner.iter().any(|body| body.contains(&at));
        let bytes = self.live.bytes().enumerate();
        let kept = bytes.map(|(at, byte)| if own(at) || byte == b'\n' { byte } else { b' ' });
        String::from_utf8_lossy(&kept.collect::<Vec<u8>>()).into_owned()
    }

    /// The file of a declared module, and the directory of its own modules.
    fn find(&self, declared: &Declaration) -> Option<(PathBuf, PathBuf)> {
        if let Some(redirect) = &declared.redirect {
            let file = self.file.parent()?.join(redirect);
            let dir = file.parent()?.to_path_buf();
            return file.is_file().then_some((file, dir));
        }
        let dir = self.dir.join(&declared.name);
        let candidates = [self.dir.join(format!("{}.rs", declared.name)), dir.join("mod.rs")];
        candidates.into_iter().find(|file| file.is_file()).map(|file| (file, dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, ModuleTree) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let tree = ModuleTree::read(&dir.path().join("lib.rs")).unwrap();
        (dir, tree)
    }

    fn names(tree: &ModuleTree) -> Vec<String> {
        tree.modules.iter().map(Module::display).collect()
    }

    #[test]
    fn modules_are_found_in_files_directories_and_inline() {
        let (_dir, tree) = tree(&[
            ("lib.rs", "mod b;\nmod a { mod c; }\nmod e;\n// mod comment;\n"),
            ("b.rs", "mod d;"),
            ("b/d.rs", ""),
            ("a/c.rs", ""),
            ("e/mod.rs", ""),
        ]);
        assert!(tree.problems.is_empty(), "{:?}", tree.problems);
        let expected = ["crate", "crate::b", "crate::b::d", "crate::a", "crate::a::c", "crate::e"];
        assert_eq!(names(&tree), expected);
    }

    #[test]
    fn a_module_without_a_file_is_a_problem() {
        let (_dir, tree) = tree(&[("lib.rs", "\nmod gone;")]);
        assert_eq!(tree.problems.len(), 1);
        assert_eq!(tree.problems[0].line, 2);
    }

    #[test]
    fn test_modules_are_marked_and_their_paths_do_not_count() {
        let text = "use crate::a::b;\n#[cfg(test)]\nmod tests { use crate::c::d; }";
        let (_dir, tree) = tree(&[("lib.rs", text)]);
        assert!(!tree.modules[0].test_only && tree.modules[1].test_only);
        assert_eq!(tree.modules[0].paths.len(), 1);
        assert!(tree.modules[1].paths.is_empty());
    }

    #[test]
    fn a_path_belongs_to_the_innermost_module() {
        let (_dir, tree) = tree(&[("lib.rs", "mod a { use super::x; }\nuse y::z;")]);
        let of = |index: usize| tree.modules[index].paths[0].segments.join("::");
        assert_eq!((of(0), of(1)), ("y::z".to_owned(), "super::x".to_owned()));
        assert_eq!(tree.modules[1].line(tree.modules[1].paths[0].offset), 1);
    }

    #[test]
    fn a_path_attribute_leads_to_its_file() {
        let (_dir, tree) =
            tree(&[("lib.rs", "#[path = \"other/x.rs\"]\nmod a;"), ("other/x.rs", "")]);
        assert!(tree.problems.is_empty());
        assert!(tree.modules[1].file.ends_with("other/x.rs"));
    }
}
