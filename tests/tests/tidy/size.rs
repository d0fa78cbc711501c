//! How long a file and a function may be.

use std::collections::BTreeSet;

use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::source::Tree;

/// Lines of code of one file, inline tests left out.
const FILE_LINES: usize = 500;
/// Lines of code in the body of one function.
const FUNCTION_LINES: usize = 70;

/// Files that are longer: path and reason.
pub(crate) const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that are longer: path, name and reason.
pub(crate) const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// Finds what is too long, and exceptions that are not needed.
pub(crate) fn check(
    tree: &Tree,
    long_files: &[(&str, &str)],
    long_functions: &[(&str, &str, &str)],
) -> Vec<String> {
    let mut findings = Vec::new();
    let mut needed_files = BTreeSet::new();
    let mut needed_functions = BTreeSet::new();
    for code in tree.code() {
        let (path, lines) = (code.path, code.lines());
        if lines.len() > FILE_LINES {
            if long_files.iter().any(|(long, _)| *long == path) {
                needed_files.insert(path);
            } else {
                let found = lines.len();
                findings.push(format!("{path}: {found} lines of code, {FILE_LINES} are allowed"));
            }
        }
        let all_lines: BTreeSet<usize> =
            code.tokens.iter().flat_map(|token| token.line..=token.last_line).collect();
        let mut functions = Functions::default();
        functions.visit_file(&code.syntax);
        for (name, first, last) in functions.0 {
            // The lines between the braces.
            let found = all_lines.range(first + 1..last.max(first + 1)).count();
            if found <= FUNCTION_LINES {
                continue;
            }
            if let Some(long) = long_functions.iter().find(|l| (l.0, l.1) == (path, &*name)) {
                needed_functions.insert((long.0, long.1));
            } else {
                findings.push(format!(
                    "{path}:{first}: {name} has {found} lines of code, {FUNCTION_LINES} are allowed"
                ));
            }
        }
    }
    for (path, _) in long_files.iter().filter(|(path, _)| !needed_files.contains(path)) {
        findings.push(format!("{path}: is not long any more, take it from LONG_FILES"));
    }
    for (path, name, _) in long_functions {
        if !needed_functions.contains(&(*path, *name)) {
            findings.push(format!("{path}: {name} is not long, take it from LONG_FUNCTIONS"));
        }
    }
    findings
}

/// Name, line of the opening and line of the closing brace.
#[derive(Default)]
struct Functions(Vec<(String, usize, usize)>);

impl Functions {
    fn add(&mut self, name: &syn::Ident, block: &syn::Block) {
        let span = block.span();
        self.0.push((name.to_string(), span.start().line, span.end().line));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig.ident, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig.ident, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig.ident, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_clean, assert_finds};

    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    a();\n\n    // why\n".repeat(lines))
    }

    fn file(lines: usize, tests: usize) -> String {
        let tests = "fn b() {}\n".repeat(tests);
        format!("{}#[cfg(test)]\nmod tests {{\n{tests}}}\n", "fn a() {}\n".repeat(lines))
    }

    fn sample(text: &str) -> Vec<String> {
        check(&Tree::of(&[("a.rs", text)]), &[], &[])
    }

    #[test]
    fn a_function_that_is_too_long_is_found() {
        assert_clean(&sample(&function(70)));
        assert_finds(&sample(&function(71)), "a.rs:1: long has 71 lines of code");
        let method = format!("impl A {{ {} }}", function(71));
        assert_finds(&sample(&method), "long has 71 lines");
    }

    #[test]
    fn a_file_that_is_too_long_is_found_and_its_tests_do_not_count() {
        assert_clean(&sample(&file(500, 500)));
        assert_finds(&sample(&file(501, 0)), "a.rs: 501 lines of code");
    }

    #[test]
    fn an_exception_holds_while_it_is_needed() {
        let long = Tree::of(&[("a.rs", &function(71))]);
        let exceptions = [("a.rs", "long", "one table")];
        assert_clean(&check(&long, &[], &exceptions));
        let short = Tree::of(&[("a.rs", &function(7))]);
        assert_finds(&check(&short, &[], &exceptions), "take it from LONG_FUNCTIONS");
        let long = Tree::of(&[("a.rs", &file(501, 0))]);
        assert_clean(&check(&long, &[("a.rs", "one table")], &[]));
        assert_finds(&check(&short, &[("a.rs", "one table")], &[]), "take it from LONG_FILES");
    }
}
