//! One comment on a pull request for each suite, kept up to date.

use crate::api::Api;
use crate::report::summary;
use handoff_plugin::text::cut;
use handoff_plugin::{Annotation, Event, Result, Run};
use serde_json::{Value, json};

/// Characters of a comment; GitHub takes 65,536.
const CHARS: usize = 65_000;
/// Under this, the pull request and the suite, the comment is kept; what is forgotten is found again.
const COMMENT: &str = "comment/";
/// Comments on one page, and pages that are looked through for ours.
const PAGE: usize = 100;
const PAGES: usize = 10;

/// Writes the comment, or brings the one that is there up to date.
pub(crate) fn keep(
    api: &mut Api<'_, '_>,
    event: &Event,
    run: &Run,
    pull: u64,
) -> Result<Annotation> {
    let suite = run.suite.to_string();
    // Nobody sees it, and it tells our comment from others after what is kept here is lost.
    let mark = format!("<!-- handoff: {suite} -->");
    let sign = if run.status == "passed" { "✅" } else { "❌" };
    let text = format!("{mark}\n### {sign} {suite} {}\n\n{}", run.status, summary(event, run));
    let body = json!({"body": cut(&text, CHARS)});

    let key = format!("{}/{pull}/{suite}", api.repository);
    let known = match api.cx.get_text(&format!("{COMMENT}{key}")) {
        Some(id) => Some(id),
        None => find(api, pull, &mark)?,
    };
    let made = match known {
        Some(id) => {
            let answer = api.send("PATCH", &format!("/issues/comments/{id}"), Some(&body))?;
            match answer.status() {
                // Somebody deleted it.
                404 | 410 => create(api, pull, &body)?,
                _ => answer.success()?.json()?,
            }
        }
        None => create(api, pull, &body)?,
    };
    let id = made["id"].as_u64().unwrap_or_default();
    api.cx.keep_last(COMMENT, &key, id.to_string())?;
    let said = Annotation::new(format!("Told pull request #{pull}"));
    Ok(match made["html_url"].as_str() {
        Some(url) => said.url(url),
        None => said,
    })
}

fn create(api: &mut Api<'_, '_>, pull: u64, body: &Value) -> Result<Value> {
    api.send("POST", &format!("/issues/{pull}/comments"), Some(body))?.success()?.json()
}

fn find(api: &mut Api<'_, '_>, pull: u64, mark: &str) -> Result<Option<String>> {
    for page in 1..=PAGES {
        let path = format!("/issues/{pull}/comments?per_page={PAGE}&page={page}");
        let comments: Vec<Value> = api.send("GET", &path, None)?.success()?.json()?;
        let is_ours = |it: &&Value| it["body"].as_str().is_some_and(|body| body.starts_with(mark));
        if let Some(id) = comments.iter().find(is_ours).and_then(|it| it["id"].as_u64()) {
            return Ok(Some(id.to_string()));
        }
        if comments.len() < PAGE {
            break;
        }
    }
    Ok(None)
}
