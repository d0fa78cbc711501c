//! A run as a commit status or a check run.

use crate::api::Api;
use crate::{GitHub, Mode};
use handoff_plugin::text::{cut, duration, line};
use handoff_plugin::{Annotation, Event, EventKind, Level, Result, Run, Test};
use serde_json::{Value, json};

/// Characters of a status' description.
const DESCRIPTION_CHARS: usize = 140;
/// Characters of the summary of a check run; GitHub takes 65,535.
const SUMMARY_CHARS: usize = 60_000;
/// Annotations in one request.
const ANNOTATIONS: usize = 50;
/// Characters of an annotation's title, and of its message, of which GitHub takes 64 KB.
const TITLE_CHARS: usize = 255;
const MESSAGE_CHARS: usize = 15_000;
/// What installation tokens of apps start with: they alone may make check runs.
const APP_TOKEN: &str = "ghs_";
/// Under this and the run's id, the check run is kept.
const CHECK: &str = "check/";

impl GitHub {
    /// Sets what the commit shows of the run.
    pub(crate) fn report(
        &self,
        api: &mut Api<'_, '_>,
        event: &Event,
        run: &Run,
        commit: &str,
    ) -> Result<Annotation> {
        let wants_check = match self.mode {
            Mode::Auto => self.token.starts_with(APP_TOKEN),
            mode => mode == Mode::Check,
        };
        if wants_check && let Some(said) = self.check(api, event, run, commit)? {
            return Ok(said);
        }
        let status = json!({
            "state": state(run),
            "target_url": run.url,
            "description": cut(&describe(run), DESCRIPTION_CHARS),
            "context": context(run),
        });
        api.send("POST", &format!("/statuses/{commit}"), Some(&status))?.success()?;
        Ok(Annotation::new(format!("GitHub status: {}", state(run))).value("commit", commit))
    }

    /// The same as a check run; none if the token does not permit it and a status will do.
    fn check(
        &self,
        api: &mut Api<'_, '_>,
        event: &Event,
        run: &Run,
        commit: &str,
    ) -> Result<Option<Annotation>> {
        let is_over = event.kind == EventKind::RunFinished;
        let annotations = if is_over { self.annotations(api, event, run)? } else { Vec::new() };
        let mut batches = annotations.chunks(ANNOTATIONS);
        let known = api.cx.get_text(&format!("{CHECK}{}", run.id));
        let mut body = self.body(event, run, batches.next().unwrap_or_default());
        let answer = match &known {
            Some(id) => api.send("PATCH", &format!("/check-runs/{id}"), Some(&body))?,
            None => {
                (body["head_sha"], body["external_id"]) = (json!(commit), json!(run.id));
                api.send("POST", "/check-runs", Some(&body))?
            }
        };
        if known.is_none() && answer.status() == 403 && self.mode == Mode::Auto {
            api.cx.log(Level::Info, "the token may not make check runs: a status is set");
            return Ok(None);
        }
        let made: Value = answer.success()?.json()?;
        let id = made["id"].as_u64().unwrap_or_default();
        api.cx.keep_last(CHECK, &run.id, id.to_string())?;
        // Each request adds its annotations to those that are there.
        for batch in batches {
            let body = json!({"output": self.output(event, run, batch)});
            api.send("PATCH", &format!("/check-runs/{id}"), Some(&body))?.success()?;
        }
        let said = Annotation::new(format!("GitHub check run: {}", run.status));
        let said = said.value("commit", commit).value("annotations", annotations.len());
        Ok(Some(match made["html_url"].as_str() {
            Some(url) => said.url(url),
            None => said,
        }))
    }

    fn body(&self, event: &Event, run: &Run, annotations: &[Value]) -> Value {
        let mut body = json!({
            "name": context(run),
            "details_url": run.url,
            "output": self.output(event, run, annotations),
        });
        if event.kind != EventKind::RunFinished {
            body["status"] = json!("in_progress");
            return body;
        }
        body["status"] = json!("completed");
        body["conclusion"] = json!(match run.status.as_str() {
            "passed" => "success",
            "failed" => "failure",
            "cancelled" => "cancelled",
            // The platform's fault says nothing of the commit.
            _ => "neutral",
        });
        if let Some(at) = &run.finished_at {
            body["completed_at"] = json!(seconds(at));
        }
        if let Some(at) = &run.started_at {
            body["started_at"] = json!(seconds(at));
        }
        body
    }

    fn output(&self, event: &Event, run: &Run, annotations: &[Value]) -> Value {
        let mut output = json!({
            "title": cut(&describe(run), TITLE_CHARS),
            "summary": cut(&summary(event, run), SUMMARY_CHARS),
        });
        if !annotations.is_empty() {
            output["annotations"] = json!(annotations);
        }
        output
    }

    /// A line for each failed test that says where it failed.
    fn annotations(&self, api: &mut Api<'_, '_>, event: &Event, run: &Run) -> Result<Vec<Value>> {
        let all = run.counts.failed as usize > event.failures.len();
        let failed = match all {
            false => event.failures.clone(),
            true => {
                let mut tests = api.cx.tests(&run.id)?;
                tests.retain(|test| test.status == "failed" && !test.soft);
                tests
            }
        };
        Ok(failed.iter().filter_map(|test| self.annotation(test)).collect())
    }

    fn annotation(&self, test: &Test) -> Option<Value> {
        let at = test.location.as_ref()?;
        let path = format!("{}{}", self.path_prefix, at.file.trim_start_matches("./"));
        // GitHub knows no paths but those from the root of the repository.
        if path.starts_with('/') || path.is_empty() {
            return None;
        }
        let message = test.message.as_deref().filter(|text| !text.trim().is_empty());
        Some(json!({
            "path": path,
            "start_line": at.line.max(1),
            "end_line": at.line.max(1),
            "annotation_level": "failure",
            "title": cut(&test.name, TITLE_CHARS),
            "message": cut(message.unwrap_or("It failed."), MESSAGE_CHARS),
        }))
    }
}

/// What a status or a check run is called; one for each suite.
pub(crate) fn context(run: &Run) -> String {
    format!("handoff/{}", run.suite)
}

fn state(run: &Run) -> &'static str {
    match run.status.as_str() {
        "queued" | "running" => "pending",
        "passed" => "success",
        "failed" => "failure",
        _ => "error",
    }
}

/// The run in one line.
pub(crate) fn describe(run: &Run) -> String {
    if run.finished_at.is_none() {
        return format!("Run #{} is under way", run.number);
    }
    let took = run.duration_ms.map(|ms| format!(" in {}", duration(ms))).unwrap_or_default();
    match run.status.as_str() {
        "error" | "cancelled" => {
            let why = run.message.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            line(&format!("Run #{} was ended{why}", run.number), DESCRIPTION_CHARS)
        }
        _ => format!("{}{took}", run.counts),
    }
}

/// The run in Markdown: its counts, and the failed tests with the first lines of why.
pub(crate) fn summary(event: &Event, run: &Run) -> String {
    let mut text = format!("[Run #{}]({}): {}", run.number, run.url, describe(run));
    if let Some(reference) = &run.reference {
        text.push_str(&format!(" · `{}`", code(reference)));
    }
    text.push('\n');
    if event.kind != EventKind::RunFinished || event.failures.is_empty() {
        return text;
    }
    text.push_str("\n| failed test | why |\n| --- | --- |\n");
    for test in &event.failures {
        let (name, why) = (cell(&test.name), cell(test.summary()));
        text.push_str(&format!("| {name} | {why} |\n"));
    }
    let more = (run.counts.failed as usize).saturating_sub(event.failures.len());
    if more > 0 {
        text.push_str(&format!("\n… and {more} more\n"));
    }
    text
}

/// A text as code in the cell of a table, in which nothing has a meaning: neither Markdown, nor HTML, nor a
/// mention.
fn cell(text: &str) -> String {
    let text = code(&line(text, 300)).replace('|', "\\|");
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// A text that may stand between backticks.
fn code(text: &str) -> String {
    text.replace('`', "'").replace(['\n', '\r'], " ")
}

/// A time as GitHub writes it: to the second.
fn seconds(at: &str) -> String {
    match at.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => at.to_owned(),
    }
}
