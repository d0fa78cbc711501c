//! Where logs, traces and metrics are, and how each is asked.

use crate::question::Question;
use handoff_plugin::http::{self, Request, encode};
use handoff_plugin::{Config, Context, Error, Result, template};
use serde_json::{Value, json};

/// Traces of a test that Tempo is asked for.
const TRACES: usize = 3;
/// Points of a series that Prometheus is asked for.
const POINTS: i64 = 60;

/// What a source found.
pub(crate) struct Found {
    /// What it is, such as `Logs in Loki`.
    pub(crate) what: String,
    /// The first lines.
    pub(crate) lines: Vec<String>,
    /// How many there are.
    pub(crate) all: usize,
}

/// What kind of source it is, with what it is asked.
pub(crate) enum Kind {
    Loki { query: String },
    Tempo,
    Elasticsearch { index: String, field: String, message: String, query: Option<String> },
    Prometheus { query: String },
}

/// A source.
pub(crate) struct Source {
    pub(crate) kind: Kind,
    url: String,
    token: Option<String>,
    user: Option<String>,
    headers: Vec<(String, String)>,
}

impl Source {
    /// Every source that is configured.
    pub(crate) fn read(config: &Config) -> Result<Vec<Self>> {
        let mut sources = Vec::new();
        for name in ["loki", "tempo", "elasticsearch", "prometheus"] {
            if config.get(&format!("{name}.url")).is_none() {
                continue;
            }
            let get = |key: &str| config.get(&format!("{name}.{key}")).map(str::to_owned);
            let or = |key: &str, default: &str| get(key).unwrap_or_else(|| default.to_owned());
            let kind = match name {
                "loki" => Kind::Loki { query: or("query", r#"{job=~".+"} |~ "{{trace_ids}}""#) },
                "tempo" => Kind::Tempo,
                "elasticsearch" => Kind::Elasticsearch {
                    index: or("index", "logs-*"),
                    field: or("field", "trace.id"),
                    message: or("message", "message"),
                    query: get("query"),
                },
                _ => Kind::Prometheus { query: config.require("prometheus.query")? },
            };
            let prefix = format!("{name}.header.");
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let source = Self {
                kind,
                url: config.url(&format!("{name}.url"), "")?,
                token: get("token"),
                user: get("user"),
                headers: config.starting_with(&prefix).map(owned).collect(),
            };
            if let Some(query) = source.query() {
                template::render(query, &Value::Null, str::to_owned)?;
            }
            sources.push(source);
        }
        Ok(sources)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Loki { .. } => "Loki",
            Kind::Tempo => "Tempo",
            Kind::Elasticsearch { .. } => "Elasticsearch",
            Kind::Prometheus { .. } => "Prometheus",
        }
    }

    /// The template of its query, if it has one.
    pub(crate) fn query(&self) -> Option<&str> {
        match &self.kind {
            Kind::Loki { query } | Kind::Prometheus { query } => Some(query),
            Kind::Elasticsearch { query, .. } => query.as_deref(),
            Kind::Tempo => None,
        }
    }

    /// Whether there is anything to ask: what goes by traces cannot be asked about a test that has none.
    pub(crate) fn can_be_asked(&self, question: &Question) -> bool {
        let goes_by_traces = self.query().is_none_or(|query| query.contains("{{trace_id"));
        !goes_by_traces || !question.trace_ids.is_empty()
    }

    /// Asks it; none if it found nothing.
    pub(crate) fn ask(
        &self,
        question: &Question,
        lines: usize,
        cx: &mut Context<'_>,
    ) -> Result<Option<Found>> {
        let (what, mut found) = match &self.kind {
            Kind::Loki { query } => ("Logs in Loki", self.loki(query, question, lines, cx)?),
            Kind::Tempo => ("Spans in Tempo", self.tempo(question, cx)?),
            Kind::Elasticsearch { .. } => {
                ("Logs in Elasticsearch", self.elasticsearch(question, lines, cx)?)
            }
            Kind::Prometheus { query } => {
                ("Metrics in Prometheus", self.prometheus(query, question, cx)?)
            }
        };
        found.1.truncate(lines);
        let (all, lines) = (found.0.max(found.1.len()), found.1);
        let found = Found { what: what.to_owned(), lines, all };
        Ok((!found.lines.is_empty()).then_some(found))
    }

    fn send(&self, request: Request, cx: &mut Context<'_>) -> Result<Value> {
        let answer = cx.send(self.signed(request))?;
        answer.success()?.json()
    }

    fn signed(&self, request: Request) -> Request {
        let request = request.header("accept", "application/json");
        let request = match (&self.token, &self.user, &self.kind) {
            (Some(token), None, Kind::Elasticsearch { .. }) => {
                request.header("authorization", format_args!("ApiKey {token}"))
            }
            (Some(token), None, _) => request.bearer(token),
            (token, Some(user), _) => request.basic(user, token.as_deref().unwrap_or_default()),
            (None, None, _) => request,
        };
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// The lines, in their order; Loki does not say how many more there are.
    fn loki(
        &self,
        query: &str,
        question: &Question,
        lines: usize,
        cx: &mut Context<'_>,
    ) -> Result<(usize, Vec<String>)> {
        let query = question.fill(query, template::json)?;
        let url = format!(
            "{}/loki/api/v1/query_range?query={}&start={}&end={}&limit={}&direction=forward",
            self.url,
            encode(&query),
            question.from.as_nanosecond(),
            question.to.as_nanosecond(),
            lines,
        );
        let answer = self.send(http::get(url), cx)?;
        if answer["data"]["resultType"] != "streams" {
            let told = "Loki's answer is no logs: `loki.query` must select lines";
            return Err(Error::permanent(told));
        }
        let streams = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let entries = streams.iter().filter_map(|stream| stream["values"].as_array()).flatten();
        let entry = |entry: &Value| {
            let at: u64 = entry[0].as_str()?.parse().ok()?;
            Some((at, entry[1].as_str()?.to_owned()))
        };
        let mut entries: Vec<_> = entries.filter_map(entry).collect();
        entries.sort_by_key(|(at, _)| *at);
        Ok((0, entries.into_iter().map(|(_, line)| line).collect()))
    }

    /// The spans of the traces, those in error first.
    fn tempo(&self, question: &Question, cx: &mut Context<'_>) -> Result<(usize, Vec<String>)> {
        let (mut wrong, mut fine) = (Vec::new(), Vec::new());
        for id in question.trace_ids.iter().take(TRACES) {
            let answer =
                cx.send(self.signed(http::get(format!("{}/api/traces/{id}", self.url))))?;
            if answer.status() == 404 {
                continue;
            }
            for (service, span) in spans(&answer.success()?.json()?) {
                let (name, status) = (span["name"].as_str().unwrap_or("?"), &span["status"]);
                let code = &status["code"];
                if *code == 2 || *code == "STATUS_CODE_ERROR" {
                    let why = status["message"].as_str().unwrap_or("error");
                    wrong.push(format!("{service}: {name}: {why}"));
                } else {
                    fine.push(format!("{service}: {name}"));
                }
            }
        }
        wrong.append(&mut fine);
        Ok((wrong.len(), wrong))
    }

    fn elasticsearch(
        &self,
        question: &Question,
        lines: usize,
        cx: &mut Context<'_>,
    ) -> Result<(usize, Vec<String>)> {
        let Kind::Elasticsearch { index, field, message, query } = &self.kind else {
            return Ok((0, Vec::new()));
        };
        let filter = match query {
            None => json!([{"terms": {field.as_str(): question.trace_ids}}]),
            Some(query) => {
                let query = question.fill(query, query_string)?;
                let (from, to) = (question.from.to_string(), question.to.to_string());
                json!([
                    {"query_string": {"query": query}},
                    {"range": {"@timestamp": {"gte": from, "lte": to}}},
                ])
            }
        };
        let body = json!({
            "size": lines,
            "sort": [{"@timestamp": {"order": "asc", "unmapped_type": "date"}}],
            "_source": [message],
            "query": {"bool": {"filter": filter}},
        });
        // Several indices are separated by commas, and a pattern has stars.
        let index: String = index.split(',').map(encode).collect::<Vec<_>>().join(",");
        let url = format!("{}/{}/_search", self.url, index.replace("%2A", "*"));
        let answer = self.send(http::post(url).json(&body), cx)?;
        let hits = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
        let all = answer["hits"]["total"]["value"].as_u64().unwrap_or_default();
        let line = |hit: &Value| {
            let source = &hit["_source"];
            let path = message.split('.').try_fold(source, |at, name| at.get(name));
            let found = source.get(message.as_str()).or(path);
            found.map(|text| text.as_str().map_or_else(|| text.to_string(), str::to_owned))
        };
        Ok((all as usize, hits.iter().filter_map(line).collect()))
    }

    /// A line for each series, with the least and the most that it was.
    fn prometheus(
        &self,
        query: &str,
        question: &Question,
        cx: &mut Context<'_>,
    ) -> Result<(usize, Vec<String>)> {
        let query = question.fill(query, template::json)?;
        let (from, to) = (question.from.as_millisecond(), question.to.as_millisecond());
        let step = ((to - from) / 1_000 / POINTS).max(1);
        let at = |ms: i64| format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000));
        let url = format!(
            "{}/api/v1/query_range?query={}&start={}&end={}&step={step}",
            self.url,
            encode(&query),
            at(from),
            at(to),
        );
        let answer = self.send(http::get(url), cx)?;
        if answer["status"] != "success" {
            let why = answer["error"].as_str().unwrap_or("it does not say why");
            return Err(Error::permanent(format!("Prometheus refused the query: {why}")));
        }
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let line = |series: &Value| {
            let values = series["values"].as_array()?.iter();
            let values = values.filter_map(|value| value[1].as_str()?.parse::<f64>().ok());
            let (least, most) = values.fold((f64::NAN, f64::NAN), |(least, most), value| {
                (least.min(value), most.max(value))
            });
            let range =
                if least == most { format!("{most}") } else { format!("{least} to {most}") };
            Some(format!("{}: {range}", labels(&series["metric"])))
        };
        Ok((series.len(), series.iter().filter_map(line).collect()))
    }
}

/// A metric as Prometheus writes it.
fn labels(metric: &Value) -> String {
    let all = metric.as_object().into_iter().flatten();
    let labels = all.filter(|(name, _)| *name != "__name__");
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}{{{}}}", metric["__name__"].as_str().unwrap_or_default(), labels.join(", "))
}

/// The spans of a trace as Tempo writes it, each with its service.
fn spans(trace: &Value) -> Vec<(String, Value)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let resources = [&trace["batches"], &trace["resourceSpans"], &trace["trace"]["resourceSpans"]];
    let mut spans = Vec::new();
    for resource in resources.into_iter().flat_map(list) {
        let attributes = list(&resource["resource"]["attributes"]);
        let service = attributes.iter().find(|attribute| attribute["key"] == "service.name");
        let service = service.and_then(|it| it["value"]["stringValue"].as_str()).unwrap_or("?");
        let scopes = [&resource["scopeSpans"], &resource["instrumentationLibrarySpans"]];
        let all = scopes.into_iter().flat_map(list).flat_map(|scope| list(&scope["spans"]));
        spans.extend(all.map(|span| (service.to_owned(), span)));
    }
    spans
}

/// A text in which nothing has a meaning in a query string of Elasticsearch.
fn query_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // These cannot be escaped at all.
            '<' | '>' => out.push(' '),
            _ if "+-=&|!(){}[]^\"~*?:\\/".contains(character) => out.extend(['\\', character]),
            other => out.push(other),
        }
    }
    out
}
