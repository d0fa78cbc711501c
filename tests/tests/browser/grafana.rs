//! The dashboard for Grafana asks for metrics that there are.

use std::collections::BTreeSet;

use handoff_tests::Server;
use serde_json::{Value, json};

/// The dashboard's file.
const DASHBOARD: &str = include_str!("../../../deploy/grafana/handoff.json");

/// Every expression in the dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let ("expr" | "query" | "definition", Value::String(text)) =
                    (name.as_str(), value)
                {
                    found.push(text.clone());
                }
                expressions(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_dashboard_asks_for_metrics_and_labels_that_the_server_exports() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    // One that fails, and one that passes: some metrics tell of one alone.
    client.run("hello", &json!({})).await;
    client.run("hello", &json!({"filter": "^passes$"})).await;
    let schedule = json!({"name": "nightly", "suite": "hello", "cron": "0 3 * * *"});
    client.post("/schedules", &schedule).await.expect(reqwest::StatusCode::CREATED);
    client
        .post("/schedules/nightly/trigger", &json!({}))
        .await
        .expect(reqwest::StatusCode::ACCEPTED);
    let metrics = client.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let names: BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut asked = Vec::new();
    expressions(&dashboard, &mut asked);
    let words = asked.iter().flat_map(|text| {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("handoff_"))
    });
    let words: BTreeSet<&str> = words.collect();
    assert!(words.len() >= 10, "{words:?}");
    for word in words {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        let is_there = names.contains(word) || family.is_some_and(|family| names.contains(family));
        assert!(is_there, "the dashboard asks for {word}, which the server does not export");
    }
}
