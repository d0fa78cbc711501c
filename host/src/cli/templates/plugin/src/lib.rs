//! The plugin `{{name}}`.

use handoff_plugin::{Annotation, Config, Context, Event, EventKind, Plugin, Result, Wishes, http};

struct Notifier {
    url: String,
}

impl Plugin for Notifier {
    /// Its error is shown to the operator, and the plugin stays disabled.
    fn init(config: &Config) -> Result<Self> {
        Ok(Self { url: config.require("url")? })
    }

    /// What it would like; the operator grants it.
    fn wishes(&self) -> Wishes {
        Wishes::events([EventKind::RunFinished, EventKind::Trial]).http(&self.url)
    }

    /// What it gives is shown with the run. An error is tried again later.
    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        let told = cx.get_text("told").and_then(|text| text.parse().ok()).unwrap_or(0) + 1;
        let body = serde_json::json!({
            "event": event.kind.as_str(),
            "suite": event.run.as_ref().map(|run| run.suite.to_string()),
            "status": event.run.as_ref().map(|run| &run.status),
            "number": told,
        });
        cx.send(http::post(&self.url).json(&body))?.success()?;
        cx.set("told", told.to_string())?;
        Ok(vec![Annotation::new("Told the notifier").value("number", told)])
    }
}

handoff_plugin::plugin!(Notifier);

#[cfg(test)]
mod tests {
    use super::*;
    use handoff_plugin::testing::{Host, run_finished};

    #[test]
    fn a_finished_run_is_told() {
        let mut host = Host::new().config("url", "http://127.0.0.1:8080/");
        host.handle::<Notifier>(&run_finished("failed")).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&host.sent[0].body).unwrap();
        assert_eq!(body["status"], "failed");
    }
}
