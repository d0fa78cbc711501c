//! What values settings and a policy's limits may have. Whatever is accepted has its full effect: what
//! could never work, or would be cut in silence, is refused with what is allowed.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::setting::tree;
use super::{Config, settings};
use crate::model::{Limit, Limits, LimitsPatch, Policy, check_locks, wrong_with_name};

/// A value that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Invalid {
    /// Its key among the settings, or its field in a policy.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// Numbers that may be 0: they then switch something off, keep nothing, or leave a choice to us. Any
/// other number is at least 1.
const MAY_BE_ZERO: &[&str] = &[
    "compile.cache_bytes",
    "compile.debug_bytes",
    "compile.loaded",
    "compile.loaded_bytes",
    "compile.queue",
    "compile.remembered_failures",
    "http.linger_bytes",
    "http.linger_ms",
    "http.max_wait_ms",
    "http.shutdown_timeout_ms",
    "retention.age_ms",
    "retention.pause_ms",
    "retention.pins",
    "retention.runs",
    "runner.bounds.max_retry_wait_ms",
    "runner.bounds.params_bytes",
    "runner.drain_ms",
    "runner.guest_threads",
    "sandbox.limits.artifact_bytes",
    "sandbox.limits.artifact_total_bytes",
    "sandbox.limits.artifacts",
    "sandbox.limits.failures",
    "sandbox.limits.fuel",
    "sandbox.limits.log_head_bytes",
    "sandbox.limits.log_tail_bytes",
    "sandbox.limits.random_bytes",
    "sandbox.limits.received_bytes",
    "sandbox.limits.record_bytes",
    "sandbox.limits.requests",
    "sandbox.limits.scratch_bytes",
    "sandbox.limits.scratch_files",
    "sandbox.limits.secret_bytes",
    "sandbox.limits.sent_bytes",
    "sandbox.limits.span_attributes",
    "sandbox.limits.spans",
    "sandbox.limits.sub_results",
    "sandbox.limits.table_elements",
    "sandbox.limits.value_bytes",
    "sandbox.limits.values",
    "sandbox.linear_memory_keep_resident_bytes",
    "sandbox.max_table_elements",
    "sandbox.stack_keep_resident_bytes",
    "sandbox.table_keep_resident_bytes",
    "sandbox.tables_per_component",
    "sandbox.total_memory_bytes",
    "sandbox.unused_warm_slots",
    "storage.cache_bytes",
    "storage.idempotency_keys",
    "storage.idempotency_ttl_ms",
    "storage.min_free_bytes",
];

/// The most of some numbers, with the reason where it is not plain.
const AT_MOST: &[(&str, u64)] = &[
    // Room for as many is made at each request.
    ("http.headers", 10_000),
    // hyper reads no longer one.
    ("http.uri_bytes", 65_534),
    // wasmtime's pool is given the sum of these at once.
    ("sandbox.concurrent_attempts", 100_000),
    // What is 32 bits wide cannot address more.
    ("sandbox.max_memory_bytes", 4 << 30),
    // Each slot of the pools has address space for it.
    ("sandbox.stack_bytes", 64 << 20),
    // A deadline is kept to no better than the tick.
    ("sandbox.tick_us", 1_000_000),
    ("runner.guest_threads", 1_024),
    // The longest path that a guest can ask for, and what it can have of names.
    ("sandbox.fixtures.depth", MAX_PATH_BYTES / 2),
    ("sandbox.fixtures.path_bytes", MAX_PATH_BYTES),
];

/// The longest path of the guests' filesystem, in bytes.
const MAX_PATH_BYTES: u64 = 4_096;

/// The longest time that can be set. Far beyond it, a point in time could not be written any more.
const YEAR_MS: u64 = 366 * 24 * 60 * 60 * 1_000;

/// What a setting's number may be.
fn allowed(key: &str) -> RangeInclusive<u64> {
    let least = u64::from(!MAY_BE_ZERO.contains(&key));
    let listed = AT_MOST.iter().find(|(listed, _)| *listed == key);
    let most = match listed {
        Some((_, most)) => *most,
        None if key.ends_with("_ms") => YEAR_MS,
        None if key.ends_with("_bytes") || key.ends_with("fuel") => u64::MAX,
        // What is counted is held in memory.
        None => u32::MAX.into(),
    };
    least..=most
}

fn check(key: &str, field: &str, number: u64) -> Result<(), Invalid> {
    let allowed = allowed(key);
    if allowed.contains(&number) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    let message = match *most {
        u64::MAX => format!("{number} is too little: {least} is the least that can be"),
        most => format!("{number} cannot be: it must be from {least} to {most}"),
    };
    Err(Invalid { key: field.to_owned(), message })
}

impl Config {
    /// Checks every number, alone and beside those that bound it. `is_set` tells whether somebody set
    /// a key: a default gives way to a lower cap, what was set must not.
    pub(super) fn validate(&self, is_set: impl Fn(&str) -> bool) -> Result<(), Invalid> {
        let tree = tree(self);
        for setting in settings() {
            if let Value::Number(number) = setting.value_in(&tree) {
                // Anything else than a natural number was refused when it was read.
                check(&setting.key, &setting.key, number.as_u64().unwrap_or_default())?;
            }
        }
        let bounds = &self.runner.bounds;
        self.beside_caps(&self.sandbox.limits, "sandbox.limits.", &is_set)?;
        at_most(
            ("runner.bounds.timeout_ms", bounds.timeout_ms),
            ("runner.bounds.max_timeout_ms", bounds.max_timeout_ms),
            &is_set,
        )?;
        at_most(
            ("runner.bounds.attempts", bounds.attempts.into()),
            ("runner.bounds.max_attempts", bounds.max_attempts.into()),
            &is_set,
        )?;
        self.beside_others(&is_set)?;
        let fixtures = &self.sandbox.fixtures;
        at_most(
            ("sandbox.fixtures.unpacked_bytes", fixtures.unpacked_bytes),
            ("sandbox.fixtures.memory_bytes", fixtures.memory_bytes),
            &is_set,
        )?;
        for plugin in &self.plugins {
            self.validate_policy(&plugin.policy).map_err(|invalid| Invalid {
                key: format!("plugins.policy.{} of {}", invalid.key, plugin.name),
                ..invalid
            })?;
        }
        let key = || "web.trace_url".to_owned();
        self.web.check().map_err(|message| Invalid { key: key(), message })?;
        for suite in &self.suites {
            self.validate_policy(&suite.policy).map_err(|invalid| Invalid {
                key: format!("suites.policy.{} of {}", invalid.key, suite.file.display()),
                ..invalid
            })?;
        }
        Ok(())
    }

    /// Bounds that another bound makes void.
    fn beside_others(&self, is_set: &impl Fn(&str) -> bool) -> Result<(), Invalid> {
        let Self { http, compile, sandbox, .. } = self;
        // What would be refused as too much at present, however often it is tried again. So a default
        // does not give way here.
        for (bound, cap) in [
            (
                ("http.body_bytes", http.body_bytes),
                ("http.body_memory_bytes", http.body_memory_bytes),
            ),
            (
                ("compile.component_bytes", compile.component_bytes),
                ("http.upload_memory_bytes", http.upload_memory_bytes),
            ),
        ] {
            at_most(bound, cap, is_set)?;
            at_least(cap, bound)?;
        }
        let upload = ("http.upload_timeout_ms", http.upload_timeout_ms);
        let child = ("compile.memory_bytes", compile.memory_bytes);
        let slots = "what sandbox.concurrent_attempts makes room for";
        for (bound, cap) in [
            (("http.uri_bytes", http.uri_bytes), ("http.head_bytes", http.head_bytes)),
            (("http.body_timeout_ms", http.body_timeout_ms), upload),
            (("compile.inspect_ms", compile.inspect_ms), upload),
            (("compile.wall_ms", compile.wall_ms), upload),
            (("sandbox.describe_timeout_ms", sandbox.describe_timeout_ms), upload),
            (("compile.component_bytes", compile.component_bytes), child),
            (("compile.compiled_bytes", compile.compiled_bytes), child),
            (
                ("http.reports", http.reports as u64),
                ("http.open_reports", http.open_reports as u64),
            ),
            (
                ("sandbox.memories_per_component", sandbox.memories_per_component.into()),
                (slots, sandbox.memories_in_all().into()),
            ),
            (
                ("sandbox.tables_per_component", sandbox.tables_per_component.into()),
                (slots, sandbox.tables_in_all().into()),
            ),
        ] {
            at_most(bound, cap, is_set)?;
        }
        Ok(())
    }

    /// Checks the names and values of a policy, and its limits under these settings.
    pub fn validate_policy(&self, policy: &Policy) -> Result<(), Invalid> {
        validate_hosts(policy)?;
        validate_texts(policy)?;
        let limits = self.sandbox.limits.patched(&policy.limits);
        validate_args(policy, limits.args_bytes)?;
        validate_fixtures_path(policy.fixtures_path())?;
        validate_sharing(policy)?;
        let is_set = |field: &str| sets(&policy.limits, field);
        for limit in Limit::ALL {
            let (name, number) = (limit.as_str(), limits.get(*limit));
            let field = format!("limits.{name}");
            if is_set(&field) {
                check(&format!("sandbox.limits.{name}"), &field, number)?;
            }
        }
        for (name, number) in [("age_ms", policy.keep.age_ms), ("runs", policy.keep.runs)] {
            if let Some(number) = number {
                check(&format!("retention.{name}"), &format!("keep.{name}"), number)?;
            }
        }
        self.beside_caps(&limits, "limits.", &is_set)
    }

    /// Limits that others bound; `prefix` is where they are named.
    fn beside_caps(
        &self,
        limits: &Limits,
        prefix: &str,
        is_set: &impl Fn(&str) -> bool,
    ) -> Result<(), Invalid> {
        let key = |name: &str| format!("{prefix}{name}");
        at_most(
            (&key("timeout_ms"), limits.timeout_ms),
            (&key("max_timeout_ms"), limits.max_timeout_ms),
            is_set,
        )?;
        at_most(
            (&key("memory_bytes"), limits.memory_bytes),
            ("sandbox.max_memory_bytes", self.sandbox.max_memory_bytes),
            is_set,
        )?;
        at_most(
            (&key("memory_bytes"), limits.memory_bytes),
            ("sandbox.total_memory_bytes", self.sandbox.memory_in_all()),
            is_set,
        )
    }
}

/// Checks that what is granted could be reached.
fn validate_hosts(policy: &Policy) -> Result<(), Invalid> {
    let http = policy.allow_http.iter().map(|pattern| ("allow_http", pattern.wrong_with_host()));
    let tcp = policy.allow_tcp.iter().map(|target| ("allow_tcp", target.wrong_with_host()));
    let wrong = http.chain(tcp).find_map(|(field, wrong)| Some((field, wrong?)));
    wrong.map_or(Ok(()), |(field, message)| Err(Invalid { key: field.to_owned(), message }))
}

/// Checks that a guest can be given each value of a policy under its name.
fn validate_texts(policy: &Policy) -> Result<(), Invalid> {
    let invalid = |field: &str, message| Err(Invalid { key: field.to_owned(), message });
    let fields = [("env", &policy.env), ("config", &policy.config), ("secrets", &policy.secrets)];
    for (field, texts) in fields {
        for name in texts.keys() {
            if let Some(wrong) = wrong_with_name(name) {
                return invalid(field, wrong);
            }
        }
    }
    for (name, value) in &policy.env {
        if name.contains('=') {
            return invalid("env", format!("the name {name:?} has `=`, which ends a name"));
        }
        if value.contains('\0') {
            return invalid("env", format!("the value of {name:?} has a NUL, which would end it"));
        }
    }
    match policy.secrets.keys().find(|name| policy.config.contains_key(*name)) {
        None => Ok(()),
        Some(name) => invalid(
            "secrets",
            format!("{name:?} is in `config` too, which would hide it: keep one of the two"),
        ),
    }
}

/// Checks that a program can be given its arguments.
fn validate_args(policy: &Policy, limit: u64) -> Result<(), Invalid> {
    let invalid = |message| Err(Invalid { key: "args".to_owned(), message });
    if let Some(arg) = policy.args.iter().find(|arg| arg.contains('\0')) {
        return invalid(format!("the argument {arg:?} has a NUL, which would end it"));
    }
    match policy.args_bytes() {
        bytes if bytes > limit => {
            invalid(format!("they have {bytes} bytes, {limit} are allowed (limit `args_bytes`)"))
        }
        _ => Ok(()),
    }
}

/// Checks what runs must not share, and how many may be under way.
fn validate_sharing(policy: &Policy) -> Result<(), Invalid> {
    let invalid = |key: &str, message| Err(Invalid { key: key.to_owned(), message });
    if let Err(wrong) = check_locks(&policy.locks) {
        return invalid("locks", wrong);
    }
    match policy.concurrent_runs {
        Some(0) => invalid("concurrent_runs", "0 is too little: no run would start".into()),
        _ => Ok(()),
    }
}

/// Checks that a path is one at which a guest can find files.
fn validate_fixtures_path(path: &str) -> Result<(), Invalid> {
    let steps = || path.split('/').skip(1);
    let problem = if !path.starts_with('/') {
        "is not absolute: write for example `/srv/data`"
    } else if path.len() as u64 > MAX_PATH_BYTES || path.chars().any(char::is_control) {
        "is no path that a guest could open"
    } else if path != "/" && steps().any(|step| matches!(step, "" | "." | "..")) {
        "has empty steps, `.` or `..`: write it without"
    } else if path == "/tmp" {
        "is where the scratch directory is: choose another"
    } else {
        return Ok(());
    };
    let (key, message) = ("fixtures_path".to_owned(), format!("{path:?} {problem}"));
    Err(Invalid { key, message })
}

/// Checks that a value that somebody set is not above its cap.
fn at_most(
    (key, number): (&str, u64),
    (cap, most): (&str, u64),
    is_set: &impl Fn(&str) -> bool,
) -> Result<(), Invalid> {
    if number <= most || !is_set(key) {
        return Ok(());
    }
    let message = format!("{number} is above {cap}, which is {most}: lower it, or raise that");
    Err(Invalid { key: key.to_owned(), message })
}

/// Checks that a cap that somebody set is not below what it caps, which nobody set.
fn at_least((cap, most): (&str, u64), (key, number): (&str, u64)) -> Result<(), Invalid> {
    if most >= number {
        return Ok(());
    }
    let message = format!("{most} is below {key}, which is {number}: raise it, or lower that");
    Err(Invalid { key: cap.to_owned(), message })
}

/// Whether a policy sets the limit that is called `limits.NAME` in it.
fn sets(patch: &LimitsPatch, field: &str) -> bool {
    let patch = serde_json::to_value(patch).unwrap_or_default();
    field.strip_prefix("limits.").is_some_and(|name| patch.get(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change, and how what is told of it starts.
    type Case = (fn(&mut Config), &'static str);

    fn with(change: impl FnOnce(&mut Config)) -> Result<(), String> {
        let mut config = Config::default();
        change(&mut config);
        config.validate(|_| true).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn the_defaults_are_allowed_and_every_exception_is_a_setting() {
        assert_eq!(with(|_| {}), Ok(()));
        let keys: Vec<_> = settings().into_iter().map(|setting| setting.key).collect();
        for key in MAY_BE_ZERO.iter().chain(AT_MOST.iter().map(|(key, _)| key)) {
            assert!(keys.iter().any(|known| known == key), "{key}");
        }
    }

    #[test]
    fn what_cannot_be_is_named_with_what_is_allowed() {
        let told = |change: fn(&mut Config)| with(change).unwrap_err();
        let cases: &[Case] = &[
            (|c| c.sandbox.limits.timeout_ms = 0, "sandbox.limits.timeout_ms: 0 cannot be"),
            (|c| c.runner.concurrent_runs = 0, "runner.concurrent_runs: 0 cannot be"),
            (
                |c| c.sandbox.tick_us = 0,
                "sandbox.tick_us: 0 cannot be: it must be from 1 to 1000000",
            ),
            (|c| c.sandbox.tick_us = 1_000_001, "sandbox.tick_us: 1000001 cannot be"),
            (|c| c.sandbox.concurrent_attempts = 0, "sandbox.concurrent_attempts: 0 cannot be"),
            (|c| c.runner.bounds.max_attempts = 0, "runner.bounds.max_attempts: 0 cannot be"),
            (|c| c.http.request_timeout_ms = u64::MAX, "http.request_timeout_ms: 184467"),
            (|c| c.compile.component_bytes = 0, "compile.component_bytes: 0 is too little"),
            (
                |c| c.sandbox.limits.memory_bytes = (1 << 30) + 1,
                "sandbox.limits.memory_bytes: 1073741825 is above sandbox.max_memory_bytes, which \
                 is 1073741824: lower it, or raise that",
            ),
            (
                |c| c.sandbox.total_memory_bytes = 1 << 20,
                "sandbox.limits.memory_bytes: 268435456 is above sandbox.total_memory_bytes",
            ),
            (
                |c| c.runner.bounds.timeout_ms = 86_400_001,
                "runner.bounds.timeout_ms: 86400001 is above runner.bounds.max_timeout_ms",
            ),
        ];
        for (change, words) in cases {
            let told = told(*change);
            assert!(told.starts_with(words), "{told}");
        }
    }

    #[test]
    fn what_another_setting_makes_void_is_refused() {
        let cases: &[Case] = &[
            (
                |c| c.http.body_bytes = (64 << 20) + 1,
                "http.body_bytes: 67108865 is above http.body_memory_bytes, which is 67108864: lower \
                 it, or raise that",
            ),
            (
                |c| c.compile.component_bytes = (256 << 20) + 1,
                "compile.component_bytes: 268435457 is above http.upload_memory_bytes",
            ),
            (
                |c| (c.compile.component_bytes, c.compile.memory_bytes) = (2 << 20, 1 << 20),
                "compile.component_bytes: 2097152 is above compile.memory_bytes",
            ),
            (
                |c| c.compile.compiled_bytes = 4 << 30,
                "compile.compiled_bytes: 4294967296 is above compile.memory_bytes",
            ),
            (|c| c.http.uri_bytes = 65_535, "http.uri_bytes: 65535 cannot be"),
            (|c| c.http.head_bytes = 100, "http.uri_bytes: 8192 is above http.head_bytes"),
            (
                |c| c.http.body_timeout_ms = 600_001,
                "http.body_timeout_ms: 600001 is above http.upload_timeout_ms",
            ),
            (
                |c| c.compile.inspect_ms = 600_001,
                "compile.inspect_ms: 600001 is above http.upload_t",
            ),
            (
                |c| c.compile.wall_ms = 600_001,
                "compile.wall_ms: 600001 is above http.upload_timeout_ms",
            ),
            (
                |c| c.sandbox.describe_timeout_ms = 600_001,
                "sandbox.describe_timeout_ms: 600001 is above http.upload_timeout_ms",
            ),
            (|c| c.http.reports = 65, "http.reports: 65 is above http.open_reports, which is 64"),
            (
                |c| c.sandbox.memories_per_component = 513,
                "sandbox.memories_per_component: 513 is above what sandbox.concurrent_attempts makes \
                 room for, which is 512",
            ),
            (
                |c| c.sandbox.tables_per_component = 2_049,
                "sandbox.tables_per_component: 2049 is above what sandbox.concurrent_attempts",
            ),
        ];
        for (change, words) in cases {
            let told = with(change).unwrap_err();
            assert!(told.starts_with(words), "{told}");
        }
    }

    #[test]
    fn a_default_gives_way_to_a_lower_cap() {
        let mut config = Config::default();
        config.sandbox.max_memory_bytes = 1 << 20;
        assert!(config.validate(|key| key == "sandbox.max_memory_bytes").is_ok());
        assert!(config.validate(|key| key == "sandbox.limits.memory_bytes").is_err());
    }

    #[test]
    fn a_cap_under_which_nothing_would_ever_be_taken_is_refused_beside_a_default() {
        let cases: &[(&str, Case)] = &[
            (
                "http.body_memory_bytes",
                (
                    |c| c.http.body_memory_bytes = 1 << 19,
                    "http.body_memory_bytes: 524288 is below http.body_bytes, which is 1048576: raise \
                     it, or lower that",
                ),
            ),
            (
                "http.upload_memory_bytes",
                (
                    |c| c.http.upload_memory_bytes = 4 << 20,
                    "http.upload_memory_bytes: 4194304 is below compile.component_bytes",
                ),
            ),
        ];
        for (set, (change, words)) in cases {
            let mut config = Config::default();
            change(&mut config);
            let told = config.validate(|key| key == *set).unwrap_err().to_string();
            assert!(told.starts_with(words), "{told}");
        }
    }

    #[test]
    fn a_policy_has_no_name_or_value_that_would_be_lost() {
        let told = |json: &str| {
            let policy = serde_json::from_str(json).unwrap();
            Config::default().validate_policy(&policy).map_err(|invalid| invalid.to_string())
        };
        for (json, words) in [
            (r#"{"allow_http": ["http://a", "http://a..b"]}"#, "allow_http: a..b is no name"),
            (r#"{"allow_tcp": ["127.1:5432"]}"#, "allow_tcp: 127.1 is neither"),
            (r#"{"env": {"": "x"}}"#, "env: a name is empty"),
            (r#"{"env": {"A=B": "x"}}"#, "env: the name \"A=B\" has `=`"),
            (r#"{"env": {"A\u0000": "x"}}"#, "env: the name \"A\\0\" has a NUL"),
            (r#"{"env": {"A": "x\u0000"}}"#, "env: the value of \"A\" has a NUL"),
            (r#"{"config": {"": "x"}}"#, "config: a name is empty"),
            (r#"{"args": ["a\u0000"]}"#, "args: the argument \"a\\0\" has a NUL"),
            (r#"{"args": ["abc"], "limits": {"args_bytes": 3}}"#, "args: they have 4 bytes, 3 are"),
            (r#"{"fixtures_path": "data"}"#, "fixtures_path: \"data\" is not absolute"),
            (r#"{"fixtures_path": "/a/../b"}"#, "fixtures_path: \"/a/../b\" has empty steps"),
            (r#"{"fixtures_path": "/a/"}"#, "fixtures_path: \"/a/\" has empty steps"),
            (r#"{"fixtures_path": "/tmp"}"#, "fixtures_path: \"/tmp\" is where"),
            (r#"{"fixtures_path": "/a\nb"}"#, "fixtures_path: \"/a\\nb\" is no path"),
            (r#"{"secrets": {"": "x"}}"#, "secrets: a name is empty"),
            (
                r#"{"config": {"a": "x"}, "secrets": {"a": "y"}}"#,
                "secrets: \"a\" is in `config` too",
            ),
        ] {
            let told = told(json).unwrap_err();
            assert!(told.starts_with(words), "{told}");
        }
        let each = r#"{"args": ["abc", "-v"], "fixtures_path": "/tmp/a", "env": {"a": "x=y"}, "config": {"a=b": ""}, "secrets": {"c": "x"}}"#;
        assert_eq!(told(each), Ok(()));
        let mut config = Config::default();
        let suite = r#"{"file": "a.wasm", "policy": {"env": {"A=B": "x"}}}"#;
        config.suites.push(serde_json::from_str(suite).unwrap());
        let told = config.validate(|_| false).unwrap_err().to_string();
        assert!(told.starts_with("suites.policy.env of a.wasm: the name"), "{told}");
    }

    #[test]
    fn a_policy_is_held_to_the_same_and_told_its_own_fields() {
        let told = |limits: &str| {
            let limits = serde_json::from_str(limits).unwrap();
            let policy = Policy { limits, ..Policy::default() };
            Config::default().validate_policy(&policy).map_err(|invalid| invalid.to_string())
        };
        assert_eq!(told("{}"), Ok(()));
        assert_eq!(told(r#"{"fuel": 0, "requests": 0, "timeout_ms": 1}"#), Ok(()));
        // The server's own default is cut to the policy's cap.
        assert_eq!(told(r#"{"max_timeout_ms": 1000}"#), Ok(()));
        let zero = told(r#"{"timeout_ms": 0}"#).unwrap_err();
        assert!(zero.starts_with("limits.timeout_ms: 0 cannot be"), "{zero}");
        let long = told(r#"{"timeout_ms": 900001}"#).unwrap_err();
        assert!(long.starts_with("limits.timeout_ms: 900001 is above limits.max_timeout_ms"));
        let large = told(r#"{"memory_bytes": 2147483648}"#).unwrap_err();
        assert!(large.contains("above sandbox.max_memory_bytes"), "{large}");
    }
}
