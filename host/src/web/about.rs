//! The server itself: its version, the settings in force, and which bounds were hit how often.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::page::{self, Page};
use super::show;
use super::{Refusal, Web};

/// The metric that counts how often each bound was hit.
const HITS: &str = "handoff_limit_hits_total{limit=\"";

#[derive(Template)]
#[template(path = "about.html")]
struct AboutPage<'a> {
    page: &'a Page,
    version: &'static str,
    disk: String,
    settings: Vec<(String, String)>,
    hits: Vec<(String, u64)>,
    quiet: usize,
}

/// The page.
pub(super) async fn read(State(web): State<Web>, page: Page) -> Result<Response, Refusal> {
    let disk = web.ask(|storage| Ok(storage.disk_use()?.total())).await?;
    let document = serde_json::to_value(&*web.app.config).map_err(Refusal::internal)?;
    let mut settings = Vec::new();
    flatten("", &document, &mut settings);
    let hits = hits(&web.app.metrics.render());
    let quiet = hits.iter().filter(|(_, count)| *count == 0).count();
    let page = page.named("About this server", "about");
    let content = AboutPage {
        page: &page,
        version: env!("CARGO_PKG_VERSION"),
        disk: show::bytes(disk),
        settings,
        hits: hits.into_iter().filter(|(_, count)| *count > 0).collect(),
        quiet,
    };
    page::answer(&page, &content)
}

/// Settings as keys of the file, each with its value. What holds secrets is not part of the document.
fn flatten(key: &str, value: &Value, settings: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&key, value, settings);
            }
        }
        Value::Null => settings.push((key.into(), "not set".into())),
        Value::String(text) => settings.push((key.into(), text.clone())),
        value => settings.push((key.into(), value.to_string())),
    }
}

/// How often each bound was hit, the most often hit first.
fn hits(metrics: &str) -> Vec<(String, u64)> {
    let hit = |line: &str| {
        let (limit, count) = line.strip_prefix(HITS)?.split_once("\"} ")?;
        Some((limit.to_owned(), count.parse::<f64>().ok()? as u64))
    };
    let mut hits: Vec<_> = metrics.lines().filter_map(hit).collect();
    hits.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_from_the_metrics_as_they_are_written() {
        let metrics = crate::metrics::Metrics::new();
        metrics.server_limit_hit("runner.queue");
        assert_eq!(hits(&metrics.render())[0], ("runner_queue".to_owned(), 1));
    }
}
