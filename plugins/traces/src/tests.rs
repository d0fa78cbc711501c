//! Every request is held to what Loki, Tempo, Elasticsearch and Prometheus document of their HTTP APIs.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

use super::*;
use handoff_plugin::http::{Request, Response};
use handoff_plugin::testing::{Host, run_finished};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn host() -> Host {
    let mut host = Host::new()
        .config("loki.url", "http://loki.test/")
        .config("loki.header.x-scope-orgid", "shop")
        .config("tempo.url", "http://tempo.test")
        .config("elasticsearch.url", "http://es.test")
        .config("elasticsearch.token", "k3y")
        .config("prometheus.url", "http://prometheus.test")
        .config("prometheus.query", "rate(errors_total[1m])");
    host.answer(answer);
    host
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let found = request.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

/// All four, as they document themselves.
fn answer(request: &Request) -> Response {
    let ok = |body: Value| Response::new(200, body.to_string());
    let (base, _) = request.url.split_once('?').unwrap_or((&request.url, ""));
    match (request.method.as_str(), base) {
        ("GET", "http://loki.test/loki/api/v1/query_range") => {
            assert_eq!(header(request, "x-scope-orgid"), "shop");
            ok(json!({"status": "success", "data": {"resultType": "streams", "result": [
                {"stream": {"job": "pay"}, "values": [["1893456030000000002", "second"]]},
                {"stream": {"job": "cart"}, "values": [["1893456030000000001", "first"]]},
            ]}}))
        }
        ("GET", "http://tempo.test/api/traces/4bf92f3577b34da6a3ce929d0e0e4736") => {
            ok(json!({"batches": [{
                "resource": {"attributes": [
                    {"key": "service.name", "value": {"stringValue": "pay"}},
                ]},
                "scopeSpans": [{"spans": [
                    {"name": "POST /pay", "status": {}},
                    {"name": "charge", "status": {"code": "STATUS_CODE_ERROR", "message": "no paper"}},
                ]}],
            }]}))
        }
        ("POST", "http://es.test/logs-*/_search") => {
            assert_eq!(header(request, "authorization"), "ApiKey k3y");
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            assert!(body["size"].as_u64().unwrap() <= 10_000);
            ok(json!({"hits": {"total": {"value": 30, "relation": "eq"}, "hits": [
                {"_source": {"message": "out of paper"}},
            ]}}))
        }
        ("GET", "http://prometheus.test/api/v1/query_range") => {
            ok(json!({"status": "success", "data": {"resultType": "matrix", "result": [
                {"metric": {"__name__": "up", "job": "pay"}, "values": [[1, "0"], [2, "3.5"]]},
            ]}}))
        }
        other => panic!("no such call: {other:?}"),
    }
}

fn value<'a>(annotation: &'a Annotation, name: &str) -> Option<&'a str> {
    annotation.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn each_source_is_asked_about_a_failed_test_and_its_first_lines_are_added() {
    let mut host = host();
    let said = host.handle::<Traces>(&run_finished("failed")).unwrap();
    let told: Vec<_> =
        said.iter().map(|it| (it.title.as_str(), value(it, "line 1").unwrap())).collect();
    assert_eq!(
        told,
        [
            ("Logs in Loki of pays by card", "first"),
            ("Spans in Tempo of pays by card", "pay: charge: no paper"),
            ("Logs in Elasticsearch of pays by card", "out of paper"),
            ("Metrics in Prometheus of pays by card", "up{job=\"pay\"}: 0 to 3.5"),
        ]
    );
    assert_eq!(value(&said[2], "more"), Some("29"));
    // The attempt began at 00:00:30 and took 120 ms; two seconds are added on either side.
    let loki = &host.sent[0].url;
    assert!(loki.contains("&start=1893456028000000000&end=1893456032120000000&limit=10"), "{loki}");
    assert!(loki.contains(&format!("%7C~%20%22{TRACE}%22")), "{loki}");
    let prometheus = &host.sent[3].url;
    assert!(
        prometheus.ends_with("&start=1893456028.000&end=1893456032.120&step=1"),
        "{prometheus}"
    );
    let asked: Value = serde_json::from_slice(&host.sent[2].body).unwrap();
    assert_eq!(asked["query"]["bool"]["filter"][0]["terms"]["trace.id"], json!([TRACE]));
}

#[test]
fn links_lead_to_grafana_or_where_the_operator_says() {
    let mut host = host()
        .config("grafana.url", "https://grafana.test")
        .config("loki.datasource", "loki-uid")
        .config("tempo.datasource", "tempo-uid")
        .config("elasticsearch.link", "https://kibana.test/#/?q={{trace_id}}&from={{from}}");
    let said = host.handle::<Traces>(&run_finished("failed")).unwrap();
    let url = |at: usize| said[at].url.as_deref();
    let loki = url(0).unwrap();
    assert!(
        loki.starts_with("https://grafana.test/explore?schemaVersion=1&orgId=1&panes=%7B%22a%22")
    );
    assert!(url(1).unwrap().contains(TRACE));
    let kibana = format!("https://kibana.test/#/?q={TRACE}&from=2030-01-01T00%3A00%3A28Z");
    assert_eq!(url(2), Some(kibana.as_str()));
    assert_eq!(url(3), None);
}

#[test]
fn what_may_still_arrive_is_waited_for() {
    let mut host = Host::new().config("tempo.url", "http://tempo.test");
    host.answer(|_| Response::new(404, "trace not found"));
    let ended: jiff::Timestamp = run_finished("failed").at.parse().unwrap();
    host.now = Duration::from_secs(ended.as_second() as u64 + 10);
    let error = host.handle::<Traces>(&run_finished("failed")).unwrap_err();
    assert_eq!((error.is_permanent(), error.wait()), (false, Some(AGAIN)));
    host.now += Duration::from_secs(60);
    assert!(host.handle::<Traces>(&run_finished("failed")).unwrap().is_empty());
}

#[test]
fn a_test_without_traces_is_asked_about_by_its_time_alone() {
    let mut host = host();
    let mut event = run_finished("failed");
    event.failures[0].trace_ids = vec!["\" or 1=1".into()];
    host.handle::<Traces>(&event).unwrap();
    assert_eq!(host.sent.len(), 1, "that is no trace, and Prometheus needs none");
    let mut host = Host::new()
        .config("elasticsearch.url", "http://es.test")
        .config("elasticsearch.query", "test:{{test.name}}");
    host.answer(|_| Response::new(200, r#"{"hits": {"hits": []}}"#));
    event.failures[0].name = "a (b)".into();
    host.handle::<Traces>(&event).unwrap_err();
    let asked: Value = serde_json::from_slice(&host.sent[0].body).unwrap();
    let filter = &asked["query"]["bool"]["filter"];
    assert_eq!(filter[0]["query_string"]["query"], "test:a \\(b\\)");
    assert_eq!(filter[1]["range"]["@timestamp"]["gte"], "2030-01-01T00:00:28Z");
}

#[test]
fn one_source_that_is_away_does_not_keep_back_what_the_others_say_for_ever() {
    let mut host = host();
    host.answer(|request| match request.url.starts_with("http://loki.test") {
        true => Response::new(502, ""),
        false => answer(request),
    });
    let event = run_finished("failed");
    let ended: jiff::Timestamp = event.at.parse().unwrap();
    host.now = Duration::from_secs(ended.as_second() as u64 + 1);
    assert!(!host.handle::<Traces>(&event).unwrap_err().is_permanent());
    host.now += PATIENCE;
    let said = host.handle::<Traces>(&event).unwrap();
    assert_eq!((said.len(), said[3].title.as_str()), (4, "Loki could not be asked"));
    assert!(host.log.iter().any(|(_, line)| line.starts_with("Loki: the service answered 502")));
    host.answer(|_| Response::new(401, "no"));
    assert!(host.handle::<Traces>(&event).unwrap_err().is_permanent());
}

#[test]
fn a_run_without_failures_asks_nothing() {
    let mut host = host();
    assert!(host.handle::<Traces>(&run_finished("passed")).unwrap().is_empty());
    assert!(host.sent.is_empty());
}

#[test]
fn a_configuration_that_cannot_be_is_refused_in_words() {
    let told = |host: Host| host.init::<Traces>().unwrap_err().to_string();
    assert!(told(Host::new()).contains("`loki.url`"));
    let prometheus = Host::new().config("prometheus.url", "http://a.test");
    assert!(told(prometheus).contains("`prometheus.query` is not set"));
    assert!(told(host().config("lines", "many")).contains("`lines`"));
    assert!(told(host().config("tempo.link", "{{a")).contains("}}"));
    assert_eq!(host().init::<Traces>().unwrap(), {
        let wishes = Wishes::events([EventKind::RunFinished]).http("http://loki.test");
        let wishes = wishes.http("http://tempo.test").http("http://es.test");
        wishes.http("http://prometheus.test")
    });
}
