//! Where a person reads on: Grafana's Explore, or what the operator wrote.

use crate::question::Question;
use crate::source::{Kind, Source};
use handoff_plugin::http::encode;
use handoff_plugin::{Config, Result, template};
use serde_json::{Value, json};

/// Links, by source.
pub(crate) struct Links {
    grafana: Option<String>,
    /// A source's name in small letters, with its data source in Grafana.
    datasources: Vec<(String, String)>,
    /// The same with a template.
    templates: Vec<(String, String)>,
}

impl Links {
    pub(crate) fn read(config: &Config) -> Result<Self> {
        let of = |end: &str| {
            let all = config.starting_with("").filter_map(|(name, value)| {
                Some((name.strip_suffix(end)?.to_owned(), value.to_owned()))
            });
            all.collect::<Vec<_>>()
        };
        let templates = of(".link");
        for (_, link) in &templates {
            template::render(link, &Value::Null, str::to_owned)?;
        }
        let grafana =
            config.get("grafana.url").map(|_| config.url("grafana.url", "")).transpose()?;
        Ok(Self { grafana, datasources: of(".datasource"), templates })
    }

    /// Where to read on about a question to a source.
    pub(crate) fn to(&self, source: &Source, question: &Question) -> Result<Option<String>> {
        let name = source.name().to_lowercase();
        let of = |all: &[(String, String)]| {
            all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        };
        if let Some(link) = of(&self.templates) {
            return question.fill(&link, encode).map(Some);
        }
        let (Some(grafana), Some(uid)) = (&self.grafana, of(&self.datasources)) else {
            return Ok(None);
        };
        let query = match source.query() {
            Some(query) => question.fill(query, template::json)?,
            None => question.trace_ids.first().cloned().unwrap_or_default(),
        };
        let mut asked = json!({"refId": "A", "datasource": {"type": name, "uid": uid}});
        match source.kind {
            Kind::Loki { .. } | Kind::Prometheus { .. } => asked["expr"] = json!(query),
            Kind::Tempo => {
                (asked["queryType"], asked["query"]) = (json!("traceql"), json!(query));
            }
            Kind::Elasticsearch { .. } => asked["query"] = json!(query),
        }
        let (from, to) = (question.from.as_millisecond(), question.to.as_millisecond());
        let panes = json!({"a": {
            "datasource": uid,
            "queries": [asked],
            "range": {"from": from.to_string(), "to": to.to_string()},
        }});
        let panes = encode(&panes.to_string());
        Ok(Some(format!("{grafana}/explore?schemaVersion=1&orgId=1&panes={panes}")))
    }
}
