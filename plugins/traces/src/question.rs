//! What is asked about one failed test: its traces and its time.

use handoff_plugin::{Event, Result, Test, template};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

/// What is asked about a test.
pub(crate) struct Question {
    pub(crate) test: String,
    pub(crate) trace_ids: Vec<String>,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    /// What templates find: the event, and all this.
    places: Value,
}

impl Question {
    pub(crate) fn about(event: &Event, test: &Test, margin: Duration) -> Result<Self> {
        let start = test.started_at.as_deref().unwrap_or(&event.at).parse::<Timestamp>()?;
        let took = SignedDuration::from_millis(test.duration_ms.unwrap_or_default() as i64);
        let margin = SignedDuration::try_from(margin)?;
        let (from, to) = (start.saturating_sub(margin)?, start.saturating_add(took + margin)?);
        // What is put into a query is what a trace id is made of.
        let is_id = |id: &&String| !id.is_empty() && id.chars().all(|it| it.is_ascii_hexdigit());
        let trace_ids: Vec<_> = test.trace_ids.iter().filter(is_id).cloned().collect();
        let mut places = serde_json::to_value(event)?;
        let mine = json!({
            "test": test,
            "trace_id": trace_ids.first(),
            "trace_ids": trace_ids.join("|"),
            "from": from.to_string(),
            "to": to.to_string(),
            "from_ms": from.as_millisecond(),
            "to_ms": to.as_millisecond(),
        });
        if let (Some(places), Value::Object(mine)) = (places.as_object_mut(), mine) {
            places.extend(mine);
        }
        Ok(Self { test: test.name.clone(), trace_ids, from, to, places })
    }

    /// Fills a template in.
    pub(crate) fn fill(&self, template: &str, escape: fn(&str) -> String) -> Result<String> {
        template::render(template, &self.places, escape)
    }
}
