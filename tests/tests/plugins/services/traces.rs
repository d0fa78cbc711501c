//! Loki, Tempo, Elasticsearch and Prometheus at one address.
//! grafana.com/docs/loki/latest/reference/loki-http-api, grafana.com/docs/tempo/latest/api_docs,
//! elastic.co/docs/api/doc/elasticsearch (search), prometheus.io/docs/prometheus/latest/querying/api

use serde_json::json;

use crate::service::{Heard, Reply, holds, text};

pub(crate) const TOKEN: &str = "glsa-right";

pub(crate) fn limited() -> Reply {
    Reply::new("", 429, "too many outstanding requests")
}

pub(crate) fn check(heard: &Heard) -> Result<Reply, String> {
    let (source, path) = heard.path[1..].split_once('/').ok_or("elsewhere")?;
    let expected = match source {
        "elasticsearch" => format!("ApiKey {TOKEN}"),
        _ => format!("Bearer {TOKEN}"),
    };
    if heard.header("authorization") != expected {
        return Ok(Reply::new("denied", 401, "unauthorized"));
    }
    match source {
        "loki" => loki(heard, path),
        "tempo" => tempo(heard, path),
        "elasticsearch" => elasticsearch(heard, path),
        "prometheus" => prometheus(heard, path),
        _ => Err("elsewhere".into()),
    }
}

fn loki(heard: &Heard, path: &str) -> Result<Reply, String> {
    holds((heard.method.as_str(), path) == ("GET", "loki/api/v1/query_range"), "elsewhere")?;
    let fields = Heard::fields(&heard.query);
    let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
    // Nanoseconds since 1970.
    let (start, end) = (number("start").ok_or("no start")?, number("end").ok_or("no end")?);
    holds(start < end && start > 1_600_000_000_000_000_000, "no nanoseconds")?;
    holds(number("limit").is_some_and(|limit| limit <= 5_000), "no limit, or more than 5,000")?;
    holds(["forward", "backward"].contains(&fields["direction"].as_str()), "no direction")?;
    let query = &fields["query"];
    // At least one matcher must not match what is empty.
    holds(query.starts_with("{job=~\".+\"} |~ \""), format!("another query: {query}"))?;
    trace_id(query.rsplit('"').nth(1).unwrap_or_default().split('|').next().unwrap())?;
    let line = [start + 1, 0].map(|at| at.to_string());
    let found = json!({"status": "success", "data": {"resultType": "streams", "result": [
        {"stream": {"job": "shop"}, "values": [[line[0], "GET /nowhere 404"]]},
    ], "stats": {}}});
    Ok(Reply::new("loki", 200, found))
}

fn tempo(heard: &Heard, path: &str) -> Result<Reply, String> {
    holds(heard.method == "GET", "no GET")?;
    trace_id(path.strip_prefix("api/traces/").ok_or("elsewhere")?)?;
    holds(heard.header("accept") == "application/json", "protobuf is not asked for")?;
    let found = json!({"batches": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"scope": {}, "spans": [{"name": "GET /nowhere", "status": {"code": 2}}]}],
    }]});
    Ok(Reply::new("tempo", 200, found))
}

fn elasticsearch(heard: &Heard, path: &str) -> Result<Reply, String> {
    holds((heard.method.as_str(), path) == ("POST", "logs-*/_search"), "elsewhere")?;
    let body = heard.json()?;
    holds(body["size"].as_u64().is_some_and(|size| size <= 10_000), "more than 10,000")?;
    let ids = &body["query"]["bool"]["filter"][0]["terms"]["trace.id"];
    for id in ids.as_array().ok_or("no terms")? {
        trace_id(text(id, 32)?)?;
    }
    holds(body["sort"].is_array(), "no order")?;
    let hits = json!([{"_index": "logs-shop", "_source": {"message": "no such page"}}]);
    let total = json!({"value": 3, "relation": "eq"});
    let found = json!({"took": 1, "timed_out": false, "hits": {"total": total, "hits": hits}});
    Ok(Reply::new("elasticsearch", 200, found))
}

fn prometheus(heard: &Heard, path: &str) -> Result<Reply, String> {
    holds((heard.method.as_str(), path) == ("GET", "api/v1/query_range"), "elsewhere")?;
    let fields = Heard::fields(&heard.query);
    let number = |name: &str| fields.get(name).and_then(|text| text.parse::<f64>().ok());
    let [start, end, step] = ["start", "end", "step"].map(number);
    let (start, end) = (start.ok_or("no start")?, end.ok_or("no end")?);
    let step = step.filter(|step| *step > 0.0).ok_or("zero or negative query resolution step")?;
    holds(end > start && (end - start) / step <= 11_000.0, "more than 11,000 points")?;
    holds(fields["query"] == "rate(http_errors_total[1m])", "another query")?;
    let series = json!({"metric": {"job": "shop"}, "values": [[start, "0"], [end, "2"]]});
    let data = json!({"resultType": "matrix", "result": [series]});
    Ok(Reply::new("prometheus", 200, json!({"status": "success", "data": data})))
}

/// 32 hexadecimal digits in lower case, as W3C Trace Context has it.
fn trace_id(text: &str) -> Result<(), String> {
    let is_digit = |it: char| it.is_ascii_digit() || ('a'..='f').contains(&it);
    holds(text.len() == 32 && text.chars().all(is_digit), format!("{text:?} is no trace id"))
}
