//! Words that must not be there, and the header that must.

use proc_macro2::Delimiter;

use crate::source::{Code, Text, Token, Tree};

/// Macros that stand for work not done, or for a look while working.
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Places on one machine.
const MACHINE_PATHS: [&str; 3] =
    [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];

/// Hosts of package registries: how packages are had is the business of each machine's settings.
const REGISTRIES: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("proxy.", "golang.org"),
];

/// Finds Rust files that do not begin with what they are for.
pub(crate) fn headers(tree: &Tree) -> Vec<String> {
    let rust = tree.files.iter().filter(|file| file.path.ends_with(".rs"));
    let bare = rust.filter(|file| !file.text.starts_with("//! "));
    bare.map(|file| format!("{}: begins without a `//!` header", file.path)).collect()
}

/// Finds macros, calls and attributes that must not stay.
pub(crate) fn code(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for code in tree.code() {
        for at in 0..code.tokens.len() {
            let (before, tokens) = code.tokens.split_at(at);
            if let Some(problem) = problem(&code, before, tokens) {
                findings.push(format!("{}:{}: {problem}", code.path, code.tokens[at].line));
            }
        }
    }
    findings
}

const IGNORED: &str = "a test is ignored: make it run";

fn problem(code: &Code<'_>, before: &[Token], tokens: &[Token]) -> Option<String> {
    let word = |at: usize| tokens.get(at).and_then(Token::word);
    let calls = |at: usize| tokens.get(at).is_some_and(|t| t.opens(Delimiter::Parenthesis));
    let is_test = code.is_test(tokens[0].line);
    if let Some(name) = word(0).filter(|name| MACROS.contains(name))
        && tokens.get(1).is_some_and(|token| token.is('!'))
    {
        return Some(format!("`{name}!` must not stay"));
    }
    // `Span::unwrap` gives the compiler's span and cannot fail inside a macro.
    let is_span = matches!(before, [.., name, _, _] if name.word() == Some("span"));
    let unwraps = tokens[0].is('.') && word(1) == Some("unwrap") && calls(2);
    if unwraps && !is_test && !is_span {
        return Some("`unwrap` outside of tests: return the error, or `expect` what holds".into());
    }
    let sleeps = matches!(word(0), Some("sleep" | "sleep_until")) && calls(1);
    if sleeps && is_test && !code.is_guest() {
        return Some("a test sleeps: wait for the event".into());
    }
    // Programs that our tests run have tests of their own for every way in which one can end.
    let is_fine = |problem: &String| problem == IGNORED && code.is_guest();
    attribute(tokens).and_then(in_attribute).filter(|problem| !is_fine(problem))
}

/// What is inside `#[…]` or `#![…]`, if the tokens begin with that.
fn attribute(tokens: &[Token]) -> Option<&[Token]> {
    let rest = tokens.first().filter(|token| token.is('#')).map(|_| &tokens[1..])?;
    let rest = if rest.first()?.is('!') { &rest[1..] } else { rest };
    rest.first().filter(|token| token.opens(Delimiter::Bracket))?;
    inside(rest)
}

/// What is between the bracket that the tokens begin with and its end.
fn inside(tokens: &[Token]) -> Option<&[Token]> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            Text::Open(_) => depth += 1,
            Text::Close(_) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&tokens[1..at]);
        }
    }
    None
}

fn in_attribute(tokens: &[Token]) -> Option<String> {
    for (at, token) in tokens.iter().enumerate() {
        let is_first = at == 0 || tokens[at - 1].is(',');
        match token.word() {
            Some("ignore") if is_first => return Some(IGNORED.into()),
            Some(name @ ("allow" | "expect")) if is_first => {
                let has_reason = inside(&tokens[at + 1..])?
                    .windows(2)
                    .any(|pair| pair[0].word() == Some("reason") && pair[1].is('='));
                if !has_reason {
                    return Some(format!("`{name}` without a reason"));
                }
            }
            _ => {}
        }
    }
    None
}

/// Finds words in any text that only mean something on one machine or in one network.
pub(crate) fn text(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (number, line) in (1..).zip(file.text.lines()) {
            for path in MACHINE_PATHS.iter().filter(|path| names_path(line, path)) {
                findings.push(format!("{}:{number}: names the machine's {path}", file.path));
            }
            for host in REGISTRIES.iter().filter(|host| line.contains(**host)) {
                findings.push(format!("{}:{number}: names the registry {host}", file.path));
            }
        }
    }
    findings
}

/// Whether the path is there from its root, not as the middle of another.
fn names_path(line: &str, path: &str) -> bool {
    let is_middle = |c: char| c.is_ascii_alphanumeric() || "._-}".contains(c);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(is_middle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_clean, assert_finds};

    fn sample(path: &str, text: &str) -> Vec<String> {
        code(&Tree::of(&[(path, text)]))
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        let tree = Tree::of(&[("a.rs", "use a;\n"), ("b.rs", "//! B.\n"), ("c.md", "c")]);
        assert_finds(&headers(&tree), "a.rs: begins without");
    }

    #[test]
    fn work_not_done_is_found() {
        assert_finds(&sample("host/src/a.rs", "fn a() { todo!() }"), "`todo!`");
        assert_finds(
            &sample("host/src/a.rs", "fn a() { unimplemented!(\"b\") }"),
            "`unimplemented!`",
        );
        assert_finds(&sample("tests/src/a.rs", "fn a() { vec![dbg!(b)]; }"), "a.rs:1: `dbg!`");
        assert_clean(&sample("host/src/a.rs", "// todo!()\nfn todo() { a(\"todo!()\") }"));
    }

    #[test]
    fn unwrap_is_found_outside_of_tests() {
        let unwrap = "fn a() { b.unwrap(); }";
        assert_finds(&sample("host/src/a.rs", unwrap), "`unwrap` outside of tests");
        assert_finds(&sample("xtask/src/a.rs", "fn a() { b!(c.unwrap()) }"), "`unwrap`");
        assert_clean(&sample(
            "host/src/a.rs",
            "#[cfg(test)]\nmod tests { fn a() { b.unwrap(); } }",
        ));
        assert_clean(&sample("tests/tests/a.rs", unwrap));
        assert_clean(&sample("host/src/a.rs", "fn a() { b.unwrap_or(c); }"));
        assert_clean(&sample("sdk/rust/macros/src/a.rs", "fn a() { b.span().unwrap(); }"));
    }

    #[test]
    fn a_bare_exception_from_a_lint_is_found() {
        assert_finds(&sample("a.rs", "#[allow(dead_code)]\nfn a() {}"), "`allow` without a reason");
        assert_finds(&sample("a.rs", "#![expect(unused)]\nfn a() {}"), "`expect` without a reason");
        let conditional = "#[cfg_attr(test, allow(unused))]\nfn a() {}";
        assert_clean(&sample("a.rs", "#[allow(unused, reason = \"b\")]\nfn a() {}"));
        assert_finds(&sample("a.rs", conditional), "`allow` without a reason");
    }

    #[test]
    fn a_test_that_sleeps_or_is_ignored_is_found() {
        let sleep = "fn a() { thread::sleep(b); }";
        assert_finds(&sample("tests/src/a.rs", sleep), "a test sleeps");
        let inline =
            "#[cfg(test)]\nmod tests { async fn a() { tokio::time::sleep_until(b).await } }";
        assert_finds(&sample("host/src/a.rs", inline), "a.rs:2: a test sleeps");
        assert_clean(&sample("host/src/a.rs", sleep));
        assert_clean(&sample("tests/guests/spin/src/lib.rs", sleep));
        assert_finds(&sample("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}"), "is ignored");
        assert_finds(&sample("a.rs", "#[cfg_attr(x, ignore)]\nfn a() {}"), "is ignored");
        assert_clean(&sample("tests/programs/src/lib.rs", "#[test]\n#[ignore]\nfn a() {}"));
    }

    #[test]
    fn machines_and_registries_are_found_in_any_text() {
        let line = |text: &str| super::text(&Tree::of(&[("docs/a.md", text)]));
        for path in MACHINE_PATHS {
            assert_finds(&line(&format!("see {path}a")), "names the machine's");
        }
        for host in REGISTRIES {
            assert_finds(&line(&format!("see https://{host}/a")), "names the registry");
        }
        assert_clean(&line("the work/root/home of it"));
    }
}
