//! What must not be forgotten: a test for each fixture and each limit, a README for each start.

use std::collections::BTreeSet;

use proc_macro2::Delimiter;

use crate::source::{Code, Token, Tree};

const LIMITS: &str = "host/src/model/limits.rs";

/// Finds fixtures in tests/guests that no test names.
pub(crate) fn fixtures(tree: &Tree) -> Vec<String> {
    let code = tree.code();
    let tests = code.iter().filter(|code| !code.is_guest());
    let texts = tests.flat_map(|code| {
        let tokens = code.tokens.iter().filter(|token| code.is_test(token.line));
        tokens.filter_map(Token::literal)
    });
    let named: BTreeSet<String> = texts.flat_map(words).collect();
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some(directory) = file.path.strip_suffix("/Cargo.toml") else { continue };
        if !directory.starts_with("tests/guests/") {
            continue;
        }
        let package = file.text.lines().find_map(|line| line.strip_prefix("name = \"guest-"));
        let Some(name) = package.and_then(|name| name.strip_suffix('"')) else {
            findings.push(format!("{}: the package is not named guest-NAME", file.path));
            continue;
        };
        if !named.contains(name) && !named.contains(&format!("{name}.wasm")) {
            findings.push(format!("{directory}: no test uses the fixture {name:?}"));
        }
    }
    findings
}

/// Finds limits of an attempt that no test names: in a text, as `Limit::Name`, or as a field that it
/// sets.
pub(crate) fn limits(tree: &Tree) -> Vec<String> {
    let code = tree.code();
    let declared = code.iter().find(|code| code.path == LIMITS).map(declared_limits);
    let declared = declared.unwrap_or_default();
    if declared.is_empty() {
        return vec![format!("{LIMITS}: no limits were found")];
    }
    let mut named = BTreeSet::new();
    for code in code.iter().filter(|code| !code.is_guest() && code.path != LIMITS) {
        for three in code.tokens.windows(3).filter(|three| code.is_test(three[0].line)) {
            let is_limit = three[0].word() == Some("Limit") && three[1].is_path();
            named.extend(three[2].word().filter(|_| is_limit).map(str::to_owned));
            let is_set = three[1].is(':') || three[1].is('=');
            named.extend(three[0].word().filter(|_| is_set).map(str::to_owned));
            named.extend(three[0].literal().into_iter().flat_map(words));
        }
    }
    let unnamed = declared.iter().filter(|(setting, variant)| {
        // A flag of the command line has hyphens.
        ![setting, variant, &setting.replace('_', "-")].iter().any(|name| named.contains(*name))
    });
    unnamed.map(|(setting, _)| format!("{LIMITS}: no test hits the limit {setting}")).collect()
}

/// Name in settings and name in code of each limit, from the call of `limits!`.
fn declared_limits(code: &Code<'_>) -> Vec<(String, String)> {
    let starts = |three: &[Token]| {
        three[0].word() == Some("limits") && three[1].is('!') && three[2].opens(Delimiter::Brace)
    };
    let Some(start) = code.tokens.windows(3).position(starts) else { return Vec::new() };
    let declaration = |four: &[Token]| {
        let is_one = four[1].is(',') && four[3].is('=');
        let names = four[0].word().zip(four[2].word()).filter(|_| is_one);
        names.map(|(setting, variant)| (setting.to_owned(), variant.to_owned()))
    };
    code.tokens[start..].windows(4).filter_map(declaration).collect()
}

/// Finds crates that users start from and that do not say how.
pub(crate) fn readmes(tree: &Tree) -> Vec<String> {
    let exists = |path: &str| tree.files.iter().any(|file| file.path == path);
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some(directory) = file.path.strip_suffix("/Cargo.toml") else { continue };
        let parts: Vec<_> = directory.split('/').collect();
        let needs_one = matches!(parts[..], ["sdk" | "plugins" | "examples", _]);
        if needs_one && !exists(&format!("{directory}/README.md")) {
            findings.push(format!("{directory}: has no README.md"));
        }
    }
    findings
}

/// The words of a text, and the text as a whole.
fn words(literal: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let whole = literal.trim_matches('"');
    // `--sandbox-limits-fuel` names the limit `fuel`.
    let flag = |word: &str| word.strip_prefix("sandbox-limits-").unwrap_or(word).to_owned();
    let parts = literal.split(move |c| !is_part(c)).map(|part| flag(part.trim_start_matches('-')));
    parts.chain([whole.to_owned()]).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_clean, assert_finds};

    #[test]
    fn a_fixture_without_a_test_is_found() {
        let fixture = ("tests/guests/spin/Cargo.toml", "[package]\nname = \"guest-spin\"\n");
        let unused = ("tests/guests/spin/src/lib.rs", "fn a() { b(\"spin\") }");
        assert_finds(&fixtures(&Tree::of(&[fixture, unused])), "no test uses the fixture \"spin\"");
        let used = ("tests/tests/front_door/a.rs", "fn a() { upload_guest(\"spin\") }");
        assert_clean(&fixtures(&Tree::of(&[fixture, used])));
        let inline = "#[cfg(test)]\nmod tests { fn a() { read(\"target/guests/spin.wasm\") } }";
        assert_clean(&fixtures(&Tree::of(&[fixture, ("host/src/a.rs", inline)])));
        let unnamed = ("tests/guests/spin/Cargo.toml", "[package]\nname = \"spin\"\n");
        assert_finds(&fixtures(&Tree::of(&[unnamed])), "not named guest-NAME");
    }

    #[test]
    fn a_limit_without_a_test_is_found() {
        let file = "macro_rules! limits { ($a:ident) => {} }\n\
            limits! {\n    /// One.\n    one_bytes, OneBytes = 1 * MIB;\n    two, Two = 2;\n}\n";
        let test = |text| limits(&Tree::of(&[(LIMITS, file), ("tests/tests/a.rs", text)]));
        assert_finds(&test("fn a() { b(\"one_bytes\") }"), "no test hits the limit two");
        assert_finds(&test("fn a() { b(Limit::Two) }"), "no test hits the limit one_bytes");
        assert_finds(&test("fn a() { one_bytes(1); Limits { two: 2 } }"), "limit one_bytes");
        assert_clean(&test("fn a() { b(\"--sandbox-limits-one-bytes=1\", c.two = 2) }"));
        assert_finds(&limits(&Tree::of(&[(LIMITS, "fn a() {}")])), "no limits were found");
    }

    #[test]
    fn a_start_without_a_readme_is_found() {
        let example = ("examples/hello/Cargo.toml", "");
        assert_finds(&readmes(&Tree::of(&[example])), "examples/hello: has no README.md");
        assert_clean(&readmes(&Tree::of(&[example, ("examples/hello/README.md", "")])));
        assert_clean(&readmes(&Tree::of(&[("sdk/rust/macros/Cargo.toml", "")])));
    }
}
