//! Which module of the host may name which other, and who may name the large libraries.

use proc_macro2::Delimiter;

use crate::source::{Code, Token, Tree};

/// A module of the host and those that it may name. `main` is above them all, `model` below.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli", "compile"]),
    (
        "cli",
        &[
            "app",
            "compile",
            "config",
            "http",
            "metrics",
            "model",
            "report",
            "runner",
            "shutdown",
            "statistics",
            "telemetry",
            "wasm",
            "web",
        ],
    ),
    (
        "http",
        &[
            "app",
            "compile",
            "metrics",
            "model",
            "plugins",
            "report",
            "retention",
            "runner",
            "scheduler",
            "statistics",
            "storage",
            "transfer",
            "triggers",
            "web",
        ],
    ),
    (
        "web",
        &[
            "app",
            "model",
            "plugins",
            "report",
            "retention",
            "runner",
            "scheduler",
            "statistics",
            "storage",
            "triggers",
        ],
    ),
    (
        "app",
        &[
            "compile",
            "config",
            "metrics",
            "model",
            "plugins",
            "retention",
            "runner",
            "scheduler",
            "storage",
            "transfer",
            "triggers",
            "wasm",
        ],
    ),
    (
        "config",
        &[
            "compile",
            "http",
            "model",
            "plugins",
            "retention",
            "runner",
            "scheduler",
            "storage",
            "telemetry",
            "triggers",
            "wasm",
            "web",
        ],
    ),
    ("transfer", &["model", "scheduler", "storage"]),
    ("retention", &["metrics", "model", "storage"]),
    ("scheduler", &["metrics", "model", "runner", "storage"]),
    ("triggers", &["metrics", "model", "runner", "storage"]),
    ("runner", &["compile", "metrics", "model", "plugins", "statistics", "storage", "wasm"]),
    ("plugins", &["compile", "metrics", "model", "report", "statistics", "storage", "wasm"]),
    ("wasm", &["compile", "metrics", "model", "program"]),
    ("program", &["model"]),
    ("compile", &["metrics", "model", "wasm"]),
    ("storage", &["metrics", "model", "statistics"]),
    // The JSON report is the run as the API shows it, and there is one translator to that shape.
    ("report", &["http", "model", "storage"]),
    ("metrics", &["model"]),
    ("statistics", &["model"]),
    ("shutdown", &[]),
    ("telemetry", &[]),
    ("model", &[]),
];

/// A library, with the crates around it, and the modules that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("axum", &["http", "web"]),
    ("wasmtime", &["wasm", "compile"]),
    ("sled", &["storage"]),
    ("prometheus", &["metrics"]),
];

const ROOT: &str = "host/src/";

/// Finds arrows between modules that are not in the list. Tests may reach further.
pub(crate) fn modules(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for code in tree.code().iter().filter(|code| code.path.starts_with(ROOT)) {
        let from = module(code);
        if from == "lib" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
            findings.push(format!("{}: the module {from} has no place in ARROWS", code.path));
            continue;
        };
        for (to, line) in named(code) {
            let is_known = ARROWS.iter().any(|(name, _)| *name == to);
            let is_fine = to == from || allowed.contains(&to.as_str());
            if is_known && !is_fine && !code.is_test(line) {
                findings.push(format!("{}:{line}: {from} may not name {to}", code.path));
            }
        }
    }
    findings
}

/// Finds libraries that are named outside of the modules that own them, in tests too.
pub(crate) fn libraries(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for code in tree.code().iter().filter(|code| code.path.starts_with(ROOT)) {
        let from = module(code);
        for pair in code.tokens.windows(2) {
            let Some(word) = pair[0].word().filter(|_| pair[1].is_path()) else { continue };
            for (library, owners) in OWNERS {
                let is_part = |part: &str| part == *library;
                if word.split('_').any(is_part) && !owners.contains(&from) {
                    let (path, line) = (code.path, pair[0].line);
                    findings.push(format!("{path}:{line}: {from} may not name {library}"));
                }
            }
        }
    }
    findings
}

/// The module right below the crate that a file belongs to.
fn module<'a>(code: &Code<'a>) -> &'a str {
    let path = code.path.strip_prefix(ROOT).unwrap();
    let first = path.split('/').next().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The modules right below the crate that a file names, each with its line.
fn named(code: &Code<'_>) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let depth = depth(code.path);
    for (at, token) in code.tokens.iter().enumerate() {
        let after = &code.tokens[at + 1..];
        let is_binary = code.path == "host/src/main.rs";
        match token.word() {
            Some("crate") => first_names(after, &mut found),
            Some("handoff") if is_binary => first_names(after, &mut found),
            // As many `super` as lead out of the top module lead to the crate.
            Some("super") => {
                let is_super = |token: &&Token| token.word() == Some("super");
                let more = after.chunks(2).take_while(|pair| {
                    pair[0].is_path() && pair.get(1).is_some_and(|token| is_super(&token))
                });
                let more = more.count();
                let is_first = at < 2 || !is_super(&&code.tokens[at - 2]);
                if is_first && more + 1 >= depth {
                    first_names(&after[2 * more..], &mut found);
                }
            }
            _ => {}
        }
    }
    found
}

/// How many modules lead to a file: 1 for `a.rs` and `a/mod.rs`, 2 for `a/b.rs`.
fn depth(path: &str) -> usize {
    let path = path.strip_prefix(ROOT).unwrap();
    path.split('/').filter(|part| *part != "mod.rs").count()
}

/// The names right behind `crate`: one in `::a::b`, two in `::{a::b, c}`.
fn first_names(after: &[Token], found: &mut Vec<(String, usize)>) {
    let [path, next, rest @ ..] = after else { return };
    if !path.is_path() {
        return;
    }
    if let Some(word) = next.word() {
        found.push((word.to_owned(), next.line));
    }
    if !next.opens(Delimiter::Brace) {
        return;
    }
    let (mut depth, mut is_first) = (1, true);
    for token in rest {
        match &token.text {
            crate::source::Text::Open(_) => depth += 1,
            crate::source::Text::Close(_) => depth -= 1,
            crate::source::Text::Word(word) if depth == 1 && is_first => {
                found.push((word.clone(), token.line));
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
        is_first = depth == 1 && token.is(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assert_finds;

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let sample = |path: &str, text: &str| modules(&Tree::of(&[(path, text)]));
        let up = "crate::http::serve();";
        assert_finds(&sample("host/src/model/run.rs", &in_function(up)), "model may not name http");
        let use_tree = "use crate::{model::Run, wasm::{Sandbox, storage}};\n";
        assert_finds(&sample("host/src/http/runs.rs", use_tree), ":1: http may not name wasm");
        let out = "use super::super::runner::Runner;\n";
        assert_finds(&sample("host/src/storage/a.rs", out), "storage may not name runner");
        assert_finds(&sample("host/src/report.rs", "use super::app;\n"), "report may not name app");
        let binary = "fn main() { handoff::storage::open(); }";
        assert_finds(&sample("host/src/main.rs", binary), "main may not name storage");
        assert_finds(&sample("host/src/extra.rs", "fn a() {}\n"), "no place in ARROWS");
    }

    #[test]
    fn an_arrow_that_points_down_is_fine_and_tests_are_free() {
        for (path, text) in [
            ("host/src/http/runs.rs", "use crate::{app::App, model::*};\nuse super::views;\n"),
            ("host/src/http/mod.rs", "pub(crate) fn a() { super::model::a() }\n"),
            ("host/src/model/a.rs", "#[cfg(test)]\nmod tests { use crate::runner; }\n"),
            ("host/src/storage/a.rs", "use super::runner::Kind;\n"),
            ("tests/src/a.rs", "use crate::wasm;\n"),
        ] {
            crate::assert_clean(&modules(&Tree::of(&[(path, text)])));
        }
    }

    #[test]
    fn a_library_in_the_wrong_place_is_found() {
        let sample = |path: &str, text: &str| libraries(&Tree::of(&[(path, text)]));
        let engine = "use wasmtime_wasi::WasiCtx;\n";
        assert_finds(&sample("host/src/http/a.rs", engine), "http may not name wasmtime");
        let router = in_function("axum::Router::new();");
        assert_finds(&sample("host/src/cli/serve.rs", &router), "cli may not name axum");
        assert_finds(&sample("host/src/a.rs", "use utoipa_axum::r;\n"), "may not name axum");
        let tests = "#[cfg(test)]\nmod tests { use sled::Db; }\n";
        assert_finds(&sample("host/src/runner/a.rs", tests), "runner may not name sled");
        assert_finds(&sample("host/src/app.rs", "use prometheus::R;\n"), "may not name prometheus");
        crate::assert_clean(&sample("host/src/wasm/engine.rs", engine));
        crate::assert_clean(&sample("host/src/http/a.rs", "/// axum::Router\nfn wasmtime() {}\n"));
    }

    fn in_function(statement: &str) -> String {
        format!("fn a() {{ {statement} }}\n")
    }
}
