//! What a suite is granted: shown, and changed by a form. A secret's value is never shown.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use askama::Template;
use axum::extract::State;
use axum::response::{Redirect, Response};
use serde::Deserialize;

use super::badge::missing;
use super::page::{self, Page};
use super::show;
use super::text::{self, Html};
use super::visitor::Form;
use super::{Path, Refusal, Web};
use crate::model::{Keep, Limit, LimitsPatch, Policy, SuiteId};

/// A day in milliseconds, in which people say how long runs are kept.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A limit, the server's own value, and the one that the suite has instead.
struct LimitLine {
    name: &'static str,
    server_words: String,
    own: Option<u64>,
}

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage<'a> {
    page: &'a Page,
    suite: SuiteId,
    wants: Vec<Html>,
    http: String,
    tcp: String,
    env: String,
    config: String,
    secrets: Vec<String>,
    args: String,
    is_program: bool,
    fixtures_path: String,
    locks: String,
    concurrent_runs: String,
    keep_days: String,
    keep_runs: String,
    server_days: String,
    server_runs: String,
    limits: Vec<LimitLine>,
}

/// The page.
pub(super) async fn read(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    page: Page,
) -> Result<Response, Refusal> {
    let of = suite.clone();
    let found = web.ask(move |storage| Ok((storage.newest_version(&of)?, storage.policy(&of)?)));
    let (version, policy) = found.await?;
    let version = version.ok_or_else(|| missing(&suite))?;
    let policy = policy.unwrap_or_default();
    let server = web.app.config.retention.rule();
    let own = serde_json::to_value(&policy.limits).map_err(Refusal::internal)?;
    let limit = |limit: &Limit| LimitLine {
        name: limit.as_str(),
        server_words: show::number(web.app.config.sandbox.limits.get(*limit)),
        own: own.get(limit.as_str()).and_then(serde_json::Value::as_u64),
    };
    let number = |number: Option<u64>| number.map(|it| it.to_string()).unwrap_or_default();
    let page = page.named(format!("What {suite} is granted"), "suites");
    let content = PolicyPage {
        page: &page,
        wants: version.description.wants_http.iter().map(|host| text::guest(host)).collect(),
        http: lines(&policy.allow_http),
        tcp: lines(policy.allow_tcp.iter().map(|it| format!("{}:{}", it.host, it.port))),
        env: pairs(&policy.env),
        config: pairs(&policy.config),
        secrets: policy.secrets.keys().cloned().collect(),
        args: lines(&policy.args),
        is_program: version.program.is_some(),
        fixtures_path: policy.fixtures_path.clone().unwrap_or_default(),
        locks: lines(&policy.locks),
        concurrent_runs: number(policy.concurrent_runs.map(u64::from)),
        keep_days: policy.keep.age_ms.map(days).unwrap_or_default(),
        keep_runs: number(policy.keep.runs),
        server_days: days(server.age_ms),
        server_runs: server.runs.to_string(),
        limits: Limit::ALL.iter().map(limit).collect(),
        suite,
    };
    page::answer(&page, &content)
}

/// Milliseconds as days, with no more digits than it takes.
fn days(ms: u64) -> String {
    if ms.is_multiple_of(DAY_MS) {
        (ms / DAY_MS).to_string()
    } else {
        (ms as f64 / DAY_MS as f64).to_string()
    }
}

fn lines<T: Display>(list: impl IntoIterator<Item = T>) -> String {
    list.into_iter().map(|it| it.to_string()).collect::<Vec<_>>().join("\n")
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    lines(map.iter().map(|(name, value)| format!("{name}={value}")))
}

/// The form. Everything comes as text; each list has one item on a line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PolicyForm {
    http: String,
    tcp: String,
    env: String,
    config: String,
    /// Secrets that are new, or have another value.
    secrets: String,
    args: String,
    fixtures_path: Option<String>,
    locks: String,
    concurrent_runs: String,
    keep_days: String,
    keep_runs: String,
    /// What else there is: the secrets to forget, as `forget NAME`, and limits, as `limit NAME`.
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

impl PolicyForm {
    /// The policy that this asks for, in place of one of which the secrets stay that are not said.
    fn over(&self, before: &Policy) -> Result<Policy, String> {
        let mut secrets = before.secrets.clone();
        secrets.retain(|name, _| !self.rest.contains_key(&format!("forget {name}")));
        secrets.extend(read_pairs("secrets", &self.secrets)?);
        let days = self.keep_days.trim();
        let age_ms = (!days.is_empty()).then(|| {
            let days = days.parse::<f64>().ok().filter(|days| *days >= 0.0 && days.is_finite());
            let days = days.ok_or_else(|| format!("days: {:?} is no number", self.keep_days))?;
            Ok::<_, String>((days * DAY_MS as f64) as u64)
        });
        Ok(Policy {
            allow_http: read_lines(&self.http)?,
            allow_tcp: read_lines(&self.tcp)?,
            env: read_pairs("variables", &self.env)?,
            args: read_lines(&self.args)?,
            fixtures_path: self.fixtures_path.clone(),
            config: read_pairs("configuration", &self.config)?,
            secrets,
            limits: self.limits()?,
            locks: read_lines(&self.locks)?,
            concurrent_runs: number("runs at the same time", &self.concurrent_runs)?,
            keep: Keep { age_ms: age_ms.transpose()?, runs: number("runs", &self.keep_runs)? },
        })
    }

    fn limits(&self) -> Result<LimitsPatch, String> {
        let mut limits = serde_json::Map::new();
        for (field, text) in &self.rest {
            if let Some(name) = field.strip_prefix("limit ")
                && let Some(value) = number::<u64>(name, text)?
            {
                limits.insert(name.into(), value.into());
            }
        }
        serde_json::from_value(limits.into()).map_err(|error| format!("limits: {error}"))
    }
}

fn number<T: FromStr>(field: &str, text: &str) -> Result<Option<T>, String> {
    let text = text.trim();
    let read = || text.parse().map_err(|_| format!("{field}: {text:?} is no number"));
    (!text.is_empty()).then(read).transpose()
}

fn read_lines<T: FromStr<Err: Display>>(text: &str) -> Result<Vec<T>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.parse().map_err(|error: T::Err| error.to_string())).collect()
}

fn read_pairs(field: &str, text: &str) -> Result<BTreeMap<String, String>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let pair = |line: &str| {
        let pair = line.split_once('=').map(|(name, value)| (name.trim().into(), value.into()));
        // The line may hold a secret, so it is not repeated.
        pair.ok_or_else(|| format!("{field}: a line is not of the form NAME=VALUE"))
    };
    lines.map(pair).collect()
}

/// Replaces what a suite is granted.
pub(super) async fn replace(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    Form(form): Form<PolicyForm>,
) -> Result<Redirect, Refusal> {
    loop {
        let of = suite.clone();
        let known = move |storage: &crate::storage::Storage| {
            let version = storage.newest_version(&of)?;
            Ok(version.map(|_| storage.policy(&of)).transpose()?.map(Option::unwrap_or_default))
        };
        let before = web.ask(known).await?.ok_or_else(|| missing(&suite))?;
        let policy = form.over(&before).map_err(Refusal::Invalid)?;
        web.app.check_policy(&policy).map_err(|error| Refusal::Invalid(error.to_string()))?;
        // Somebody else was first: what they have stored keeps its secrets too.
        if web.app.storage.replace_policy(&suite, before, &policy).await? {
            return Ok(Redirect::to(&format!("/suites/{suite}#reach")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_keeps_the_secrets_that_it_does_not_name() {
        let before = Policy {
            secrets: [("a", "1"), ("b", "2"), ("c", "3")].map(|(k, v)| (k.into(), v.into())).into(),
            ..Policy::default()
        };
        let form = PolicyForm {
            http: "https://a.example\r\n\r\n http://b.example:8080 \r\n".into(),
            secrets: "c=4\r\nd= x=y".into(),
            keep_days: "0.5".into(),
            rest: [("forget b", "on"), ("limit memory_bytes", "1024"), ("limit fuel", " ")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            ..PolicyForm::default()
        };
        let policy = form.over(&before).unwrap();
        let secrets = [("a", "1"), ("c", "4"), ("d", " x=y")].map(|(k, v)| (k.into(), v.into()));
        assert_eq!(policy.secrets, secrets.into());
        assert_eq!(policy.allow_http.len(), 2);
        assert_eq!(policy.keep.age_ms, Some(DAY_MS / 2));
        let limits = LimitsPatch { memory_bytes: Some(1024), ..LimitsPatch::default() };
        assert_eq!(policy.limits, limits);
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_repeating_a_secret() {
        let wrong = |form: PolicyForm| form.over(&Policy::default()).unwrap_err();
        let said = wrong(PolicyForm { secrets: "hunter2".into(), ..PolicyForm::default() });
        assert!(said.contains("NAME=VALUE") && !said.contains("hunter2"), "{said}");
        assert!(wrong(PolicyForm { http: "a b".into(), ..PolicyForm::default() }).contains("host"));
        let rest = [("limit nothing".to_owned(), "1".to_owned())].into();
        assert!(wrong(PolicyForm { rest, ..PolicyForm::default() }).contains("nothing"));
        for days in ["-1", "x", "inf"] {
            let form = PolicyForm { keep_days: days.into(), ..PolicyForm::default() };
            assert!(wrong(form).contains("days"));
        }
    }

    #[test]
    fn days_have_no_more_digits_than_it_takes() {
        assert_eq!([DAY_MS * 90, DAY_MS / 2, 0].map(days), ["90", "0.5", "0"]);
    }
}
