//! What a page can change about runs: start, cancel, retry, run again, clear, pin. Each is a form of a page of ours, and
//! goes the way that the API's requests go.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::State;
use axum::response::Redirect;
use jiff::Timestamp;
use serde::Deserialize;

use super::visitor::Form;
use super::{Path, Refusal, Web};
use crate::model::{Pin, Run, RunId, RunRequest, SuiteId, Tags};
use crate::runner::{ClearOrder, ConfirmOrder};

/// Who asks, as runs that a page started say.
pub(super) const BY: &str = "the web page";

/// The form that starts a run. Everything comes as text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StartForm {
    filter: Option<String>,
    tags: Option<String>,
    reference: Option<String>,
    params: Option<String>,
    max_attempts: Option<String>,
    timeout: Option<String>,
    repeat: Option<String>,
    parallelism: Option<String>,
}

impl StartForm {
    /// What is asked for.
    pub(super) fn request(&self) -> Result<RunRequest, String> {
        let said = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let timeout = said(&self.timeout).map(|text| {
            let read = humantime::parse_duration(text.trim());
            let read =
                read.map_err(|error| format!("deadline: {error}: write a time such as 10m"))?;
            u64::try_from(read.as_millis()).map_err(|error| format!("deadline: {error}"))
        });
        Ok(RunRequest {
            filter: said(&self.filter),
            tags: tags(self.tags.as_deref().unwrap_or_default()),
            reference: said(&self.reference),
            initiated_by: Some(BY.into()),
            params: params(self.params.as_deref().unwrap_or_default())?,
            max_attempts: number("attempts", &self.max_attempts)?,
            timeout_ms: timeout.transpose()?,
            repeat: number("rounds", &self.repeat)?,
            parallelism: number("at the same time", &self.parallelism)?,
            ..RunRequest::default()
        })
    }
}

fn number(field: &str, text: &Option<String>) -> Result<Option<u32>, String> {
    let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let read = text.map(|text| text.parse().map_err(|_| format!("{field}: {text:?} is no number")));
    read.transpose()
}

fn tags(text: &str) -> Tags {
    let mut tags = Tags::default();
    for tag in text.split([',', ' ']).filter(|tag| !tag.is_empty()) {
        match tag.strip_prefix('!') {
            Some(tag) => tags.exclude.push(tag.to_owned()),
            None => tags.include.push(tag.to_owned()),
        }
    }
    tags
}

fn params(text: &str) -> Result<BTreeMap<String, String>, String> {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    let pair = |line: &str| {
        let pair = line.split_once('=').map(|(name, value)| (name.trim().into(), value.into()));
        pair.ok_or_else(|| format!("parameters: {line:?} is not of the form NAME=VALUE"))
    };
    lines.map(pair).collect()
}

/// Starts a run.
pub(super) async fn start(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    Form(form): Form<StartForm>,
) -> Result<Redirect, Refusal> {
    let request = form.request().map_err(Refusal::Malformed)?;
    let id = web.app.runner.submit(suite, request, None).await?;
    Ok(to(id))
}

fn to(id: RunId) -> Redirect {
    Redirect::to(&format!("/runs/{id}"))
}

/// A form with nothing but its token.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Stops a run.
pub(super) async fn cancel(
    State(web): State<Web>,
    Path(id): Path<RunId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Redirect, Refusal> {
    web.app.runner.cancel(id, Some(BY.into())).await?;
    Ok(to(id))
}

/// Tries what failed again.
pub(super) async fn retry(
    State(web): State<Web>,
    Path(id): Path<RunId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Redirect, Refusal> {
    web.app.runner.retry(id, Some(BY.into()), None).await?;
    Ok(to(id))
}

/// How often a run is to be made again.
#[derive(Deserialize)]
pub(super) struct Again {
    repeat: Option<String>,
}

/// Asks for the same as an earlier run did, of the same version.
pub(super) async fn again(
    State(web): State<Web>,
    Path(id): Path<RunId>,
    Form(form): Form<Again>,
) -> Result<Redirect, Refusal> {
    let run = web.ask(move |storage| storage.run(id)).await?;
    let spec = run.ok_or_else(|| Refusal::Missing(format!("there is no run {id}")))?.spec;
    let repeat = number("rounds", &form.repeat).map_err(Refusal::Malformed)?;
    let request = RunRequest {
        version: Some(spec.version),
        initiated_by: Some(BY.into()),
        repeat: repeat.or(spec.request.repeat),
        ..spec.request
    };
    let id = web.app.runner.submit(spec.suite, request, None).await?;
    Ok(to(id))
}

/// What is to count no more, and why.
#[derive(Deserialize)]
pub(super) struct ClearForm {
    test: Option<String>,
    round: Option<String>,
    attempt: Option<String>,
    #[serde(default)]
    reason: String,
    /// Whether to run it again.
    again: Option<String>,
}

/// Takes a run that has ended, a test of it or an attempt out of the statistics.
pub(super) async fn clear(
    State(web): State<Web>,
    Path(id): Path<RunId>,
    Form(form): Form<ClearForm>,
) -> Result<Redirect, Refusal> {
    let attempt = number("attempt", &form.attempt).map_err(Refusal::Malformed)?;
    let round = number("round", &form.round).map_err(Refusal::Malformed)?;
    let order = ClearOrder {
        test: form.test,
        attempt: attempt.map(|attempt| (round.unwrap_or(1), attempt)),
        reason: form.reason,
        by: Some(BY.into()),
        again: form.again.is_some(),
    };
    Ok(to(web.app.runner.clear(id, order, None).await?.run))
}

/// Why, if somebody says.
#[derive(Deserialize)]
pub(super) struct Why {
    pub(super) reason: Option<String>,
}

/// Keeps a run whatever its age.
pub(super) async fn pin(
    State(web): State<Web>,
    Path(id): Path<RunId>,
    Form(Why { reason }): Form<Why>,
) -> Result<Redirect, Refusal> {
    let bounds = &web.app.config.runner.bounds;
    let checked = reason.as_ref().map_or(Ok(()), |why| bounds.check_text("reason", why));
    checked.map_err(|error| Refusal::Invalid(error.to_string()))?;
    let pin = Pin { at: Timestamp::now(), by: Some(BY.into()), reason };
    web.app.retention.pin(id, Some(pin)).await?;
    Ok(to(id))
}

/// Lets a run be forgotten in its time again.
pub(super) async fn unpin(
    State(web): State<Web>,
    Path(id): Path<RunId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Redirect, Refusal> {
    web.app.retention.pin(id, None).await?;
    Ok(to(id))
}

/// Which test is to be confirmed.
#[derive(Deserialize)]
pub(super) struct Confirm {
    test: String,
}

/// Starts as many rounds of a test as it takes to be sure that it is mended.
pub(super) async fn confirm(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    Form(Confirm { test }): Form<Confirm>,
) -> Result<Redirect, Refusal> {
    let order = ConfirmOrder { initiated_by: Some(BY.into()), ..ConfirmOrder::default() };
    Ok(to(web.app.runner.confirm(suite, &test, order, None).await?))
}

/// The run as one would ask for it on the command line.
pub(super) fn command(run: &Run) -> String {
    let (spec, request) = (&run.spec, &run.spec.request);
    let mut line = format!("handoff run {}", spec.suite);
    let mut add = |option: &str, value: &str| {
        let _ = write!(line, " --{option}={}", quoted(value));
    };
    let texts = [("filter", &request.filter), ("reference", &request.reference)];
    for (option, text) in texts {
        text.iter().for_each(|text| add(option, text));
    }
    request.tags.include.iter().for_each(|tag| add("tag", tag));
    request.tags.exclude.iter().for_each(|tag| add("skip-tag", tag));
    request.params.iter().for_each(|(name, value)| add("param", &format!("{name}={value}")));
    let numbers = [
        ("attempts", request.max_attempts.map(u64::from)),
        ("parallelism", request.parallelism.map(u64::from)),
        ("repeat", request.repeat.map(u64::from)),
    ];
    for (option, number) in numbers {
        number.iter().for_each(|number| add(option, &number.to_string()));
    }
    let times = [("timeout", request.timeout_ms), ("test-timeout", request.test_timeout_ms)];
    for (option, ms) in times {
        ms.iter().for_each(|ms| add(option, &format!("{ms}ms")));
    }
    request.shard.iter().for_each(|shard| add("shard", &shard.to_string()));
    if let Some(seed) = request.shuffle_seed {
        let _ = write!(line, " --shuffle={seed}");
    }
    let _ = write!(line, " --version {}", spec.version);
    line
}

/// A text as one word for a shell. What no terminal should be given is written as an escape, which a shell
/// reads between `$'` and `'`.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if text.chars().all(|c| (' '..='~').contains(&c)) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut word = String::from("$'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => word.extend(['\\', c]),
            ' '..='~' => word.push(c),
            c => _ = write!(word, "\\U{:08x}", u32::from(c)),
        }
    }
    word + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_people_fill_it_in() {
        let form = StartForm {
            tags: Some("smoke, !slow".into()),
            params: Some("a=1\r\n\r\nurl=http://x.test/?a=b\r\n".into()),
            timeout: Some(" 2m ".into()),
            repeat: Some("3".into()),
            ..StartForm::default()
        };
        let request = form.request().unwrap();
        assert_eq!((request.timeout_ms, request.repeat), (Some(120_000), Some(3)));
        assert_eq!(request.tags.include, ["smoke"]);
        assert_eq!(request.tags.exclude, ["slow"]);
        assert_eq!(request.params["url"], "http://x.test/?a=b");
        for wrong in [
            StartForm { params: Some("a".into()), ..StartForm::default() },
            StartForm { repeat: Some("x".into()), ..StartForm::default() },
            StartForm { timeout: Some("soon".into()), ..StartForm::default() },
        ] {
            assert!(wrong.request().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_copied_to_a_shell_is_one_word_and_nothing_else() {
        assert_eq!(quoted("v1.2"), "v1.2");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $(id)"), r"'it'\''s $(id)'");
        assert_eq!(quoted("a\nb'\u{202e}"), r"$'a\U0000000ab\'\U0000202e'");
        assert_eq!(quoted(""), "''");
    }
}
