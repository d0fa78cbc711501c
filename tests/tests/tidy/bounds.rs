//! Every number that an operator can set is a bound that is counted when it is hit and that a test sets and
//! hits, or has its reason not to be. The limits of an attempt, which are declared elsewhere, have a rule of
//! their own (`coverage`).

use std::collections::BTreeSet;

use proc_macro2::Delimiter;
use syn::{Fields, Item, Type};

use crate::source::{Code, Token, Tree};

/// Where all settings start.
const ROOT: &str = "Config";
/// Whose tests set values to see whether they are refused, not what they do.
const VALIDATION: &str = "host/src/config";
/// What numbers are set as.
const NUMBERS: [&str; 3] = ["u32", "u64", "usize"];

/// Numbers that bound nothing that could be hit.
pub(crate) const NO_BOUNDS: &[(&str, &str)] = &[
    ("http.heartbeat_ms", "how often a stream shows that it lives"),
    ("retention.interval_ms", "how often it is looked for runs to forget"),
    ("retention.pause_ms", "how quietly runs are forgotten"),
    ("retention.step_runs", "how quietly runs are forgotten"),
    ("plugin.retry_initial_ms", "how long to wait before something is tried again"),
    ("plugin.retry_max_ms", "how long to wait before something is tried again"),
    ("runner.bounds.attempts", "a default; max_attempts is the bound"),
    ("runner.bounds.timeout_ms", "a default; max_timeout_ms is the bound"),
    ("runner.priority_ageing_ms", "how waiting is weighed against classes; it refuses nothing"),
    ("runner.guest_threads", "how many processors guests have"),
    ("scheduler.late_ms", "from when on a time counts as passed unseen"),
    (
        "sandbox.linear_memory_keep_resident_bytes",
        "what is kept to be quick; the rest is given back",
    ),
    ("sandbox.stack_keep_resident_bytes", "what is kept to be quick; the rest is given back"),
    ("sandbox.table_keep_resident_bytes", "what is kept to be quick; the rest is given back"),
    ("sandbox.tick_us", "how exact a deadline is"),
    ("sandbox.unused_warm_slots", "what is kept to be quick; the rest is given back"),
    ("storage.cache_bytes", "sled's own"),
    ("storage.idempotency_ttl_ms", "what clients are promised"),
];

/// Bounds that are not counted among those that were hit: what tells instead.
pub(crate) const SEEN_OTHERWISE: &[(&str, &str)] = &[
    ("compile.cache_bytes", "handoff_compile_cache_total: what goes is compiled again"),
    ("compile.loaded", "handoff_compile_cache_total: what goes is loaded again"),
    ("compile.loaded_bytes", "handoff_compile_cache_total: what goes is loaded again"),
    ("compile.remembered_failures", "handoff_compile_cache_total: what goes is tried again"),
    ("http.shutdown_timeout_ms", "the log: nobody can ask any more"),
    ("retention.age_ms", "handoff_retention_runs_total"),
    ("retention.runs", "handoff_retention_runs_total"),
    ("plugin.hook_timeout_ms", "limit timeout_ms: it is the time of a call"),
    ("runner.drain_ms", "the log: nobody can ask any more"),
    ("runner.teardown_timeout_ms", "limit timeout_ms: it is the time of an attempt"),
    ("sandbox.concurrent_attempts", "handoff_sandbox_attempts_waiting"),
    ("sandbox.concurrent_hooks", "handoff_sandbox_attempts_waiting"),
    ("sandbox.prepared_suites", "nothing: what goes is linked again within a millisecond"),
    ("sandbox.total_memory_bytes", "handoff_sandbox_attempts_waiting"),
    ("scheduler.at_once", "handoff_schedule_lag_seconds"),
];

/// A number that can be set.
struct Setting {
    /// For example `http.body_bytes`.
    key: String,
    /// The struct that it is a field of.
    owner: String,
    field: String,
}

/// Finds settings without a metric or a test, and exceptions that are not needed.
pub(crate) fn check(
    tree: &Tree,
    no_bounds: &[(&str, &str)],
    seen_otherwise: &[(&str, &str)],
) -> Vec<String> {
    let code = tree.code();
    let mut settings = Vec::new();
    collect(&code, ROOT, "", &mut settings);
    if settings.is_empty() {
        return vec![format!("no settings were found below {ROOT}")];
    }
    let is_in = |list: &[(&str, &str)], key: &str| list.iter().any(|(listed, _)| *listed == key);
    let mut findings = Vec::new();
    let (counted, tests) = (counted(&code), Tests::of(&code));
    for setting in &settings {
        let key = setting.key.as_str();
        let label = key.replace('.', "_");
        if is_in(no_bounds, key) {
            continue;
        }
        if !tests.set(setting) {
            findings.push(format!("{key}: no test sets it"));
        }
        if is_in(seen_otherwise, key) {
            if counted.contains(key) {
                findings.push(format!("{key}: is counted, take it from SEEN_OTHERWISE"));
            }
        } else if !counted.contains(key) {
            findings.push(format!("{key}: nothing counts how often it is hit"));
        } else if !tests.words.contains(&label) {
            findings.push(format!("{key}: no test hits it and sees {label} counted"));
        }
    }
    for (key, _) in no_bounds.iter().chain(seen_otherwise) {
        if !settings.iter().any(|setting| setting.key == *key) {
            findings.push(format!("{key}: is no number that can be set, take it from the list"));
        }
    }
    findings
}

/// The numbers below a struct of settings. A type that is not declared as a struct with fields is no table of
/// settings.
fn collect(code: &[Code<'_>], owner: &str, prefix: &str, settings: &mut Vec<Setting>) {
    let items = code.iter().filter(|code| code.path.starts_with("host/src/"));
    let structs = items.flat_map(|code| &code.syntax.items).filter_map(|item| match item {
        Item::Struct(item) if item.ident == owner => Some(item),
        _ => None,
    });
    for field in structs.filter_map(|item| match &item.fields {
        Fields::Named(fields) => Some(&fields.named),
        _ => None,
    }) {
        for field in field {
            let Type::Path(path) = &field.ty else { continue };
            let [segment] = &path.path.segments.iter().collect::<Vec<_>>()[..] else { continue };
            let (kind, field) =
                (segment.ident.to_string(), field.ident.as_ref().unwrap().to_string());
            let key = format!("{prefix}{field}");
            if NUMBERS.contains(&kind.as_str()) {
                settings.push(Setting { key, owner: owner.to_owned(), field });
            } else {
                collect(code, &kind, &format!("{key}."), settings);
            }
        }
    }
}

/// What the server's code names as a whole text: the key of a setting whose bound it counts.
fn counted(code: &[Code<'_>]) -> BTreeSet<String> {
    let code = code
        .iter()
        .filter(|code| code.path.starts_with("host/src/") && !code.path.starts_with(VALIDATION));
    let literals = code.flat_map(|code| {
        let tokens = code.tokens.iter().filter(|token| !code.is_test(token.line));
        tokens.filter_map(Token::literal)
    });
    literals.map(|literal| literal.trim_matches('"').to_owned()).collect()
}

/// What tests name and set.
#[derive(Default)]
struct Tests {
    /// The words of their texts: flags without their hyphens in front, labels of metrics.
    words: BTreeSet<String>,
    /// Fields that they set, with their struct.
    fields: BTreeSet<(String, String)>,
}

impl Tests {
    fn of(code: &[Code<'_>]) -> Self {
        let mut tests = Self::default();
        for code in code.iter().filter(|code| !code.is_guest()) {
            let is_about_bounds = code.path.starts_with("tests/tests/tidy/");
            if is_about_bounds || code.path.starts_with(VALIDATION) {
                continue;
            }
            let of_tests = |token: &&Token| code.is_test(token.line);
            let tokens: Vec<_> = code.tokens.iter().filter(of_tests).collect();
            tests.words.extend(tokens.iter().filter_map(|token| token.literal()).flat_map(words));
            tests.fields.extend(literal_fields(&tokens));
            tests.fields.extend(assigned_fields(&tokens));
        }
        tests
    }

    fn set(&self, setting: &Setting) -> bool {
        let field = (setting.owner.clone(), setting.field.clone());
        self.fields.contains(&field) || self.words.contains(&setting.key.replace(['.', '_'], "-"))
    }
}

fn words(literal: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    literal.split(move |c| !is_part(c)).map(|word| word.trim_start_matches('-').to_owned())
}

/// The fields that stand in `Struct { field: …, … }`, each with the struct.
fn literal_fields(tokens: &[&Token]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(owner) = token.word() else { continue };
        if !tokens.get(at + 1).is_some_and(|token| token.opens(Delimiter::Brace)) {
            continue;
        }
        let mut depth = 0;
        for pair in tokens[at + 1..].windows(2) {
            match pair[0].nesting() {
                0 if depth == 1 => {}
                step => depth += step,
            }
            if depth == 0 {
                break;
            }
            // Named, or short for a variable of the same name.
            let is_last = pair[1].is(':') || pair[1].is(',') || pair[1].nesting() < 0;
            if depth == 1 && is_last {
                fields.extend(pair[0].word().map(|field| (owner.to_owned(), field.to_owned())));
            }
        }
    }
    fields
}

/// The fields that are set by `… .field = …` in a file that names the struct: with every struct that it names.
fn assigned_fields(tokens: &[&Token]) -> Vec<(String, String)> {
    let is_struct = |word: &&str| word.starts_with(char::is_uppercase);
    let owners: BTreeSet<_> =
        tokens.iter().filter_map(|token| token.word()).filter(is_struct).collect();
    let assigned =
        tokens.windows(4).filter(|four| four[0].is('.') && four[2].is('=') && !four[3].is('='));
    let assigned: BTreeSet<_> = assigned.filter_map(|four| four[1].word()).collect();
    let pairs = owners.iter().flat_map(|owner| assigned.iter().map(move |field| (owner, field)));
    pairs.map(|(owner, field)| ((*owner).to_owned(), (*field).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_clean, assert_finds};

    const CONFIG: (&str, &str) = (
        "host/src/config.rs",
        "pub struct Config { pub http: HttpSettings, pub listen: SocketAddr }",
    );
    const HTTP: (&str, &str) = (
        "host/src/http/settings.rs",
        "pub struct HttpSettings { pub body_bytes: u64, pub hosts: Vec<String> }",
    );
    const COUNTS: (&str, &str) = ("host/src/http/a.rs", "fn a() { hit(\"http.body_bytes\") }");
    const HITS: &str = "fn a() { flag(\"http-body-bytes\", 1); hit(\"http_body_bytes\") }";

    fn found(code: (&str, &str), test: &str) -> Vec<String> {
        let test = ("tests/tests/front_door/a.rs", test);
        check(&Tree::of(&[CONFIG, HTTP, code, test]), &[], &[])
    }

    #[test]
    fn a_bound_is_counted_and_a_test_sets_and_hits_it() {
        assert_clean(&found(COUNTS, HITS));
        assert_finds(&found(COUNTS, "fn a() { hit(\"http_body_bytes\") }"), "no test sets it");
        assert_finds(&found(COUNTS, "fn a() { flag(\"http-body-bytes\") }"), "no test hits it");
        assert_finds(&found(("host/src/http/a.rs", ""), HITS), "nothing counts");
        assert_finds(&check(&Tree::of(&[HTTP]), &[], &[]), "no settings were found");
    }

    #[test]
    fn a_field_is_set_in_its_struct_alone() {
        let sets = |code: &str| {
            let test = format!("fn a() {{ {code}; hit(\"http_body_bytes\") }}");
            found(COUNTS, &test)
        };
        assert_clean(&sets("HttpSettings { a: b(1), body_bytes: 1, ..Default::default() }"));
        assert_clean(&sets("HttpSettings { body_bytes, ..Default::default() }"));
        assert_clean(&sets("let mut s = HttpSettings::default(); s.body_bytes = 1"));
        assert_finds(&sets("Other { body_bytes: 1 }"), "no test sets it");
        assert_finds(&sets("HttpSettings { a: Other { body_bytes: 1 } }"), "no test sets it");
        assert_finds(&sets("assert(s.body_bytes == HttpSettings::default())"), "no test sets it");
        let validated = ("host/src/config/validate.rs", "#[test] fn a() { c.http.body_bytes = 1 }");
        let tree = Tree::of(&[CONFIG, HTTP, COUNTS, validated]);
        assert_eq!(check(&tree, &[], &[]).len(), 2);
    }

    #[test]
    fn an_exception_must_be_needed() {
        let with = |no_bounds: &[(&str, &str)], otherwise: &[(&str, &str)]| {
            let test = ("tests/tests/front_door/a.rs", HITS);
            check(&Tree::of(&[CONFIG, HTTP, COUNTS, test]), no_bounds, otherwise)
        };
        assert_clean(&with(&[("http.body_bytes", "")], &[]));
        assert_finds(&with(&[("http.nothing", "")], &[]), "is no number that can be set");
        assert_finds(&with(&[], &[("http.body_bytes", "")]), "is counted");
    }
}
