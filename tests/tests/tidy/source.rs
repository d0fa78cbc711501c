//! The sources of the repository, as text and as tokens.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::Visit;

/// What is not ours or not text that somebody wrote.
const SKIPPED: [&str; 11] = [
    "target",
    ".git",
    ".handoff",
    "wit/deps",
    "Cargo.lock",
    "LICENSE",
    "sdk/javascript/node_modules",
    "sdk/javascript/dist",
    "sdk/javascript/wit",
    "xtask/programs/Cargo.lock",
    "xtask/programs/tests/Cargo.lock",
];

/// All files that somebody wrote, by path from the root with `/` between its parts.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Tree {
    /// The repository that this test belongs to.
    pub(crate) fn of_repository() -> Self {
        let here = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let mut files = Vec::new();
        collect(here.parent().unwrap(), "", &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let tree = Self { files };
        assert!(
            tree.files.iter().any(|file| file.path == "host/src/lib.rs"),
            "the sources are there"
        );
        tree
    }

    /// A sample.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file =
            |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        Self { files: files.iter().map(file).collect() }
    }

    /// The Rust files, read.
    pub(crate) fn code(&self) -> Vec<Code<'_>> {
        let rust = self.files.iter().filter(|file| file.path.ends_with(".rs"));
        let mut code: Vec<_> = rust.map(Code::read).collect();
        let tests: BTreeSet<String> = code.iter().flat_map(Code::test_modules).collect();
        for file in &mut code {
            let stem = file.path.strip_suffix(".rs").unwrap();
            let is = |test: &String| stem == test || stem.starts_with(&format!("{test}/"));
            file.is_test_module = tests.iter().any(is);
        }
        code
    }
}

fn collect(root: &Path, below: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if SKIPPED.contains(&path.as_str()) {
        } else if entry.file_type().unwrap().is_dir() {
            collect(root, &path, files);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            // What is not text, such as an image, has no words.
            files.push(File { path, text });
        }
    }
}

/// A Rust file as tokens and as a tree.
pub(crate) struct Code<'a> {
    pub(crate) path: &'a str,
    /// Every token in order, without documentation.
    pub(crate) tokens: Vec<Token>,
    pub(crate) syntax: syn::File,
    /// Whether it belongs to a test program.
    is_test: bool,
    /// Whether it is a module for tests only, the inline tests of another file moved out.
    is_test_module: bool,
    /// The lines of items that are compiled for tests only.
    test_items: Vec<RangeInclusive<usize>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) text: Text,
    pub(crate) line: usize,
    pub(crate) last_line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Text {
    Word(String),
    /// One character.
    Sign(char),
    /// `::`.
    Path,
    Literal(String),
    Open(Delimiter),
    Close(Delimiter),
}

impl Token {
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.text {
            Text::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn literal(&self) -> Option<&str> {
        match &self.text {
            Text::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    pub(crate) fn is(&self, sign: char) -> bool {
        self.text == Text::Sign(sign)
    }

    pub(crate) fn is_path(&self) -> bool {
        self.text == Text::Path
    }

    /// 1 where something opens, -1 where it closes, else 0.
    pub(crate) fn nesting(&self) -> i32 {
        match self.text {
            Text::Open(_) => 1,
            Text::Close(_) => -1,
            _ => 0,
        }
    }

    pub(crate) fn opens(&self, delimiter: Delimiter) -> bool {
        self.text == Text::Open(delimiter)
    }
}

impl<'a> Code<'a> {
    fn read(file: &'a File) -> Self {
        let path = file.path.as_str();
        let stream: TokenStream = file.text.parse().unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let syntax = syn::parse_file(&file.text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut items = TestItems::default();
        items.visit_file(&syntax);
        // The suites in tests/guests and examples are programs of their own, and tests in themselves.
        let is_test = path.split('/').any(|part| part == "tests") || path.starts_with("examples/");
        Self { path, tokens, syntax, is_test, is_test_module: false, test_items: items.0 }
    }

    /// Whether what is on that line is compiled for tests only.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        let is_inside = |lines: &RangeInclusive<usize>| lines.contains(&line);
        self.is_test || self.is_test_module || self.test_items.iter().any(is_inside)
    }

    /// Whether this is a test of the host, the SDK or the front door, not a suite that they run.
    pub(crate) fn is_guest(&self) -> bool {
        let places = ["tests/guests/", "tests/programs/", "examples/"];
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// The lines with code on them: not empty, not only a comment, no unit test.
    pub(crate) fn lines(&self) -> BTreeSet<usize> {
        let lines = self.tokens.iter().flat_map(|token| token.line..=token.last_line);
        // A test program is as long as it is.
        lines.filter(|line| self.is_test || !self.is_test(*line)).collect()
    }

    /// Paths, without `.rs`, of the modules in other files that this file declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let (directory, file) = self.path.rsplit_once('/').unwrap_or(("", self.path));
        let home = match file {
            "mod.rs" | "lib.rs" | "main.rs" => directory.to_owned(),
            _ => self.path.strip_suffix(".rs").unwrap().to_owned(),
        };
        let modules = self.syntax.items.iter().filter_map(|item| match item {
            syn::Item::Mod(module) if module.content.is_none() && is_for_tests(&module.attrs) => {
                Some(format!("{home}/{}", module.ident))
            }
            _ => None,
        });
        modules.collect()
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let (line, last_line) = (tree.span().start().line, tree.span().end().line);
        let text = match tree {
            TokenTree::Ident(word) => Text::Word(word.to_string()),
            TokenTree::Literal(literal) => Text::Literal(literal.to_string()),
            TokenTree::Punct(sign) => {
                let is_colon = |tree: &TokenTree| matches!(tree, TokenTree::Punct(next) if next.as_char() == ':');
                let is_path = sign.as_char() == ':'
                    && sign.spacing() == Spacing::Joint
                    && trees.next_if(is_colon).is_some();
                if is_path { Text::Path } else { Text::Sign(sign.as_char()) }
            }
            TokenTree::Group(group) if is_documentation(&group, tokens) => {
                while tokens.last().is_some_and(|token| token.is('#') || token.is('!')) {
                    tokens.pop();
                }
                continue;
            }
            TokenTree::Group(group) => {
                let open = Text::Open(group.delimiter());
                tokens.push(Token { text: open, line, last_line: line });
                flatten(group.stream(), tokens);
                let close = Text::Close(group.delimiter());
                tokens.push(Token { text: close, line: last_line, last_line });
                continue;
            }
        };
        tokens.push(Token { text, line, last_line });
    }
}

/// Whether this is the bracket of `#[doc = …]`, which is what a documentation comment becomes.
fn is_documentation(group: &proc_macro2::Group, before: &[Token]) -> bool {
    let attribute = before.last().is_some_and(|token| token.is('#') || token.is('!'));
    let first = group.stream().into_iter().next();
    attribute
        && group.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(word)) if word == "doc")
}

#[derive(Default)]
struct TestItems(Vec<RangeInclusive<usize>>);

impl<'ast> Visit<'ast> for TestItems {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Const(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if is_for_tests(attributes) {
            self.0.push(item.span().start().line..=item.span().end().line);
        } else {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if is_for_tests(&function.attrs) {
            self.0.push(function.span().start().line..=function.span().end().line);
        }
    }
}

/// Whether the attributes say `#[cfg(test)]`, `#[test]` or `#[tokio::test]`.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let last = attribute.path().segments.last().map(|segment| segment.ident.to_string());
        let condition = |list: &syn::MetaList| list.tokens.to_string() == "test";
        match last.as_deref() {
            // In a suite, `#[handoff_sdk::test]` is the suite's own test.
            Some("test") => attribute.path().segments[0].ident != "handoff_sdk",
            Some("cfg") => attribute.meta.require_list().is_ok_and(condition),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_leave_comments_and_documentation_out() {
        let tree = Tree::of(&[("a.rs", "//! a\n// b\n\n/// c\nfn d() {\n    e::f(\"g\n\");\n}\n")]);
        let code = tree.code();
        let words: Vec<_> = code[0].tokens.iter().filter_map(Token::word).collect();
        assert_eq!(words, ["fn", "d", "e", "f"]);
        assert_eq!(code[0].lines().into_iter().collect::<Vec<_>>(), [5, 6, 7, 8]);
    }

    #[test]
    fn what_is_for_tests_is_known_inside_a_file_and_in_other_files() {
        let tree = Tree::of(&[
            ("host/src/a/mod.rs", "fn x() {}\n#[cfg(test)]\nmod b;\n#[test]\nfn y() {}\n"),
            ("host/src/a/b.rs", "fn z() {}\n"),
            ("host/src/a/b/c.rs", "fn z() {}\n"),
            ("host/src/a/bc.rs", "fn z() {}\n"),
        ]);
        let code = tree.code();
        let at = |file: usize, line| code[file].is_test(line);
        assert_eq!([at(0, 1), at(0, 3), at(0, 5)], [false, true, true]);
        assert_eq!([at(1, 1), at(2, 1), at(3, 1)], [true, true, false]);
    }
}
