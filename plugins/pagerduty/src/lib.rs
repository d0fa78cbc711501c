//! Opens an incident in PagerDuty when a suite fails and resolves it when it recovers, by the Events API v2.
//! Acknowledging is left to people.

use handoff_plugin::http::{self, Response};
use handoff_plugin::text::cut;
use handoff_plugin::{
    Annotation, Config, Context, Error, Event, EventKind, Plugin, Result, Wishes,
};
use serde_json::{Value, json};

/// Where events go.
const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Characters of a summary and of a key.
const SUMMARY_CHARS: usize = 1_024;
const KEY_CHARS: usize = 255;
/// The largest event, in bytes: 512 KB.
const EVENT_BYTES: usize = 512_000;
/// Failed tests that are told of.
const FAILURES: usize = 20;
/// What a severity may be.
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// The plugin.
pub struct PagerDuty {
    url: String,
    routing_key: String,
    severity: String,
    /// Severities by a label of the suite, such as `tier=1`.
    by_label: Vec<(String, String, String)>,
}

impl Plugin for PagerDuty {
    fn init(config: &Config) -> Result<Self> {
        let routing_key = config.require("routing_key")?;
        let severity = config.get("severity").unwrap_or("error").to_owned();
        let mut by_label = Vec::new();
        for (label, severity) in config.starting_with("severity.") {
            let (key, value) = label.split_once('=').ok_or_else(|| {
                Error::permanent(format!(
                    "`severity.{label}` names no label: write severity.tier=1"
                ))
            })?;
            by_label.push((key.to_owned(), value.to_owned(), severity.to_owned()));
        }
        let all = by_label.iter().map(|(_, _, severity)| severity).chain([&severity]);
        if let Some(wrong) = all.into_iter().find(|it| !SEVERITIES.contains(&it.as_str())) {
            let known = SEVERITIES.join(", ");
            return Err(Error::permanent(format!("{wrong:?} is no severity: {known}")));
        }
        let url = config.get("url").unwrap_or(URL).to_owned();
        Ok(Self { url, routing_key, severity, by_label })
    }

    fn wishes(&self) -> Wishes {
        Wishes::events([
            EventKind::SuiteFailing,
            EventKind::SuiteStillFailing,
            EventKind::SuiteRecovered,
        ])
        .http(&self.url)
    }

    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        let action = match event.kind {
            EventKind::SuiteFailing | EventKind::SuiteStillFailing => "trigger",
            EventKind::SuiteRecovered => "resolve",
            // Somebody tries it out: nobody is paged for that.
            _ => return Ok(Vec::new()),
        };
        let body = self.body(event, action);
        let answer = taken(cx.send(http::post(&self.url).json(&body))?)?;
        let key = answer["dedup_key"].as_str().unwrap_or_default();
        Ok(vec![Annotation::new(format!("PagerDuty: {action}")).value("dedup_key", key)])
    }
}

impl PagerDuty {
    fn body(&self, event: &Event, action: &str) -> Value {
        let mut body = json!({
            "routing_key": self.routing_key,
            "event_action": action,
            "dedup_key": cut(&event.dedup_key, KEY_CHARS),
        });
        let (Some(run), "trigger") = (&event.run, action) else { return body };
        let suite = run.suite.to_string();
        let failed = event.failures.first();
        let first = failed.map(|test| format!(": {}: {}", test.name, test.summary()));
        let summary = format!("{suite} is failing{}", first.unwrap_or_default());
        let failures = event.failures.iter().take(FAILURES);
        let failures: Vec<_> = failures
            .map(|test| json!({"test": test.name, "message": cut(test.summary(), 500)}))
            .collect();
        body["client"] = json!("Handoff");
        body["client_url"] = json!(run.url);
        body["payload"] = json!({
            "summary": cut(&summary, SUMMARY_CHARS),
            "source": suite,
            "severity": self.severity(event),
            "timestamp": event.at,
            "component": run.suite.name,
            "group": run.suite.namespace,
            "class": "test failure",
            "custom_details": {
                "run": run.number,
                "reference": run.reference,
                "failed_runs": event.trouble.as_ref().map(|trouble| trouble.failed_runs),
                "failed_tests": run.counts.failed,
                "failures": failures,
            },
        });
        let links = event.links.iter().filter(|link| link.url.starts_with("http")).take(10);
        let link = |link: &handoff_plugin::Link| json!({"href": link.url, "text": link.title});
        body["links"] = links.map(link).collect();
        if body.to_string().len() > EVENT_BYTES {
            body["payload"]["custom_details"] = json!({"run": run.number});
        }
        body
    }

    fn severity(&self, event: &Event) -> &str {
        let labels = event.run.as_ref().map(|run| &run.labels);
        let rule = self
            .by_label
            .iter()
            .find(|(key, value, _)| labels.is_some_and(|labels| labels.get(key) == Some(value)));
        rule.map_or(&self.severity, |(_, _, severity)| severity)
    }
}

/// 202 takes an event; 400 says what is wrong with it; 429 and 5xx are to be tried again.
fn taken(response: Response) -> Result<Value> {
    response.success()?.json()
}

handoff_plugin::plugin!(PagerDuty);

#[cfg(test)]
mod tests {
    //! Every request is held to what PagerDuty documents of the Events API v2.
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

    use super::*;
    use handoff_plugin::http::Request;
    use handoff_plugin::testing::{Host, run_finished, suite};
    use std::time::Duration;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn host() -> Host {
        let mut host = Host::new().config("routing_key", KEY);
        host.answer(answer);
        host
    }

    fn answer(request: &Request) -> Response {
        assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", URL));
        assert!(request.body.len() <= 512_000);
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let length = |value: &Value| value.as_str().unwrap().chars().count();
        let action = body["event_action"].as_str().unwrap();
        assert!(["trigger", "acknowledge", "resolve"].contains(&action));
        assert!((1..=255).contains(&length(&body["dedup_key"])));
        if body["routing_key"].as_str().unwrap().len() != 32 {
            let errors = r#"{"status": "invalid event", "errors": ["invalid routing key"]}"#;
            return Response::new(400, errors);
        }
        if action == "trigger" {
            let payload = &body["payload"];
            assert!((1..=1024).contains(&length(&payload["summary"])));
            assert!(length(&payload["source"]) > 0);
            assert!(SEVERITIES.contains(&payload["severity"].as_str().unwrap()));
            for link in body["links"].as_array().unwrap() {
                assert!(link["href"].as_str().unwrap().starts_with("http"));
            }
        }
        let taken = json!({"status": "success", "message": "Event processed",
            "dedup_key": body["dedup_key"]});
        Response::new(202, taken.to_string())
    }

    fn sent(host: &Host, at: usize) -> Value {
        serde_json::from_slice(&host.sent[at].body).unwrap()
    }

    #[test]
    fn a_trouble_is_triggered_and_resolved_under_one_key() {
        let mut host = host();
        for kind in
            [EventKind::SuiteFailing, EventKind::SuiteStillFailing, EventKind::SuiteRecovered]
        {
            host.handle::<PagerDuty>(&suite(kind)).unwrap();
        }
        let actions: Vec<_> = (0..3).map(|at| sent(&host, at)["event_action"].clone()).collect();
        assert_eq!(actions, ["trigger", "trigger", "resolve"]);
        let keys: Vec<_> = (0..3).map(|at| sent(&host, at)["dedup_key"].clone()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_severity_follows_from_the_suites_labels() {
        let mut host = host().config("severity", "warning").config("severity.tier=1", "critical");
        host.handle::<PagerDuty>(&suite(EventKind::SuiteFailing)).unwrap();
        assert_eq!(sent(&host, 0)["payload"]["severity"], "critical");
        let mut other = suite(EventKind::SuiteFailing);
        other.run.as_mut().unwrap().labels.clear();
        host.handle::<PagerDuty>(&other).unwrap();
        assert_eq!(sent(&host, 1)["payload"]["severity"], "warning");
    }

    #[test]
    fn what_is_long_fits() {
        let mut event = suite(EventKind::SuiteFailing);
        event.dedup_key = "k".repeat(1_000);
        let mut test = event.failures.remove(0);
        test.message = Some("ü".repeat(100_000));
        event.failures = vec![test; 50];
        host().handle::<PagerDuty>(&event).unwrap();
    }

    #[test]
    fn what_pagerduty_refuses_is_tried_again_where_that_may_help() {
        let wrong = Host::new().config("routing_key", "short");
        let error = {
            let mut host = wrong;
            host.answer(answer);
            host.handle::<PagerDuty>(&suite(EventKind::SuiteFailing)).unwrap_err()
        };
        assert!(error.is_permanent() && error.message().contains("invalid routing key"));
        let mut host = host();
        host.answer(|_| Response::new(429, "").with_header("retry-after", 60));
        let error = host.handle::<PagerDuty>(&suite(EventKind::SuiteFailing)).unwrap_err();
        assert_eq!((error.is_permanent(), error.wait()), (false, Some(Duration::from_secs(60))));
        host.refuse();
        let error = host.handle::<PagerDuty>(&suite(EventKind::SuiteFailing)).unwrap_err();
        assert!(!error.is_permanent());
    }

    #[test]
    fn nobody_is_paged_for_anything_else() {
        let mut host = host();
        assert!(host.handle::<PagerDuty>(&run_finished("failed")).unwrap().is_empty());
        assert!(host.sent.is_empty());
        let told = |host: Host| host.init::<PagerDuty>().unwrap_err().to_string();
        assert!(told(Host::new()).contains("`routing_key` is not set"));
        assert!(told(host.config("severity", "dire")).contains("critical"));
    }
}
