//! A plugin as the operator installed it, what it is told, and what became of that.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Digest, Exchange, LogLine, Name, Notice, NoticeKind, NoticeSuite, Policy, SuiteId};

/// A plugin that is installed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// Its name, unique on the server.
    pub name: Name,
    /// Its component.
    pub digest: Digest,
    /// What the component imports.
    pub imports: Vec<String>,
    /// The component's size.
    pub size_bytes: u64,
    /// When it was installed.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// What it is granted: hosts, configuration, secrets, limits.
    pub policy: Policy,
    /// What it is told of at most.
    pub filters: Filters,
    /// What it would like, as its `init` said last.
    pub wishes: Wishes,
    /// Whether it is told anything.
    pub standing: Standing,
    /// What becomes of a run whose gate fails or is late.
    #[serde(default)]
    pub gate_failure: GateFailure,
    /// How many notices there was no room for.
    #[serde(default)]
    pub missed: u64,
}

/// Whether a plugin is told anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is.
    Enabled,
    /// It is not.
    Disabled {
        /// Why, in words.
        reason: String,
        /// Whether it stays so until somebody enables it, whatever is granted.
        stays: bool,
    },
}

impl Standing {
    /// Whether it is told anything.
    pub fn is_enabled(&self) -> bool {
        *self == Self::Enabled
    }
}

/// What becomes of a run whose gate fails or is late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateFailure {
    /// It goes on.
    #[default]
    Go,
    /// It is refused.
    Refuse,
}

/// What a plugin would like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// Which notices.
    pub events: Vec<NoticeKind>,
    /// Which hosts, as `https://host:port`.
    pub http: Vec<String>,
    /// Whether it is to be asked before a run starts.
    pub gate: bool,
}

impl Wishes {
    /// The hosts that it would like to reach and is not granted.
    pub fn missing(&self, policy: &Policy) -> Vec<String> {
        let granted = |wanted: &str| {
            let Some((https, host, port)) = origin(wanted) else { return false };
            policy.allow_http.iter().any(|pattern| pattern.matches(https, &host, port))
        };
        self.http.iter().filter(|wanted| !granted(wanted)).cloned().collect()
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<(bool, String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let https = scheme.eq_ignore_ascii_case("https");
    if !https && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let usual = if https { 443 } else { 80 };
    let port = port.map_or(Some(usual), |port| port.parse().ok())?;
    // What stands before an `@` would be no part of the host.
    let is_host = !host.is_empty() && !host.contains('@');
    is_host.then(|| (https, host.to_ascii_lowercase(), port))
}

/// What a plugin is told of at most; an empty list lets everything pass. In patterns `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// Which notices, of those that the plugin wants.
    #[serde(deserialize_with = "kinds")]
    pub events: Vec<NoticeKind>,
    /// Patterns of namespaces.
    pub namespaces: Vec<String>,
    /// Patterns of suites, `namespace/name` or a name alone.
    pub suites: Vec<String>,
    /// Labels that the suite must have, with patterns of their values.
    pub labels: BTreeMap<String, String>,
    /// Tags of which the test must have one. What is about no test passes.
    pub tags: Vec<String>,
    /// Patterns of references.
    pub references: Vec<String>,
}

fn kinds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<NoticeKind>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    let kind = |word: &String| {
        let known = NoticeKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let unknown = || serde::de::Error::custom(format!("{word:?} is no event: {known}"));
        NoticeKind::of(word).ok_or_else(unknown)
    };
    words.iter().map(kind).collect()
}

impl Filters {
    /// Whether a notice of this kind may pass at all.
    pub fn pass_kind(&self, kind: NoticeKind) -> bool {
        self.events.is_empty() || self.events.contains(&kind)
    }

    /// Whether a notice passes.
    pub fn pass(&self, notice: &Notice) -> bool {
        let of_test = notice.test.as_ref().is_none_or(|test| {
            self.tags.is_empty() || test.tags.iter().any(|tag| self.tags.contains(tag))
        });
        self.pass_kind(notice.event) && self.pass_run(notice) && of_test
    }

    /// Whether the run or suite of a notice passes, if it is about one.
    pub fn pass_run(&self, notice: &Notice) -> bool {
        match (&notice.run, &notice.suite) {
            (Some(run), _) => self.pass_suite(&run.suite, &run.labels, run.reference.as_deref()),
            (None, Some(NoticeSuite { suite, labels, reference })) => {
                self.pass_suite(suite, labels, reference.as_deref())
            }
            (None, None) => true,
        }
    }

    fn pass_suite(
        &self,
        suite: &SuiteId,
        labels: &BTreeMap<String, String>,
        reference: Option<&str>,
    ) -> bool {
        let any = |patterns: &[String], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern, text))
        };
        let name = suite.name.as_str();
        let suites = any(&self.suites, &suite.to_string())
            || self.suites.iter().any(|it| !it.contains('/') && fits(it, name));
        let label = |(key, pattern): (&String, &String)| {
            labels.get(key).is_some_and(|value| fits(pattern, value))
        };
        any(&self.namespaces, suite.namespace.as_str())
            && suites
            && self.labels.iter().all(label)
            && any(&self.references, reference.unwrap_or_default())
    }
}

/// Whether a text fits a pattern, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Something that a plugin said of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// In few words.
    pub title: String,
    /// Where it leads. Untrusted: may be any text.
    pub url: Option<String>,
    /// More, by name.
    pub values: Vec<(String, String)>,
}

/// What the gates said to a run before it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gated {
    /// Why it must not start, if it must not.
    pub refused: Option<String>,
    /// Parameters that they added.
    pub params: BTreeMap<String, String>,
    /// What each of them said, by plugin.
    pub said: Vec<(Name, Annotation)>,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// It waits for its turn, or to be tried again.
    Pending,
    /// The plugin took it.
    Delivered,
    /// It was tried for long enough, or is of no use to try; somebody may have it tried again.
    SetAside,
}

impl DeliveryStatus {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::SetAside => "set_aside",
        }
    }
}

/// A notice on its way to a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its number; later ones are higher. Unique on the server.
    pub number: u64,
    /// To which plugin.
    pub plugin: Name,
    /// What it is told.
    pub notice: Notice,
    /// How it stands.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first due: what the time to try it counts from.
    pub since: Timestamp,
    /// When it is tried next, if it waits.
    pub next_at: Timestamp,
    /// The last call.
    pub last: Option<DeliveryCall>,
}

impl Delivery {
    /// What it keeps its order with: others about the same suite.
    pub fn lane(&self) -> String {
        let Notice { run, suite, .. } = &self.notice;
        let of_run = run.as_ref().map(|run| &run.suite);
        let suite = of_run.or_else(|| suite.as_ref().map(|about| &about.suite));
        suite.map(SuiteId::to_string).unwrap_or_default()
    }
}

/// One call of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryCall {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// What went wrong, if anything did.
    pub error: Option<String>,
    /// What it wrote, the start and the end.
    pub log: Vec<LogLine>,
    /// What it sent.
    pub exchanges: Vec<Exchange>,
}

/// What the key-value store of a plugin gets or loses with a call.
pub type Kept = BTreeMap<String, Option<Vec<u8>>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_any_text_where_it_has_a_star() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "anything", true),
            ("release/*", "release/1.2", true),
            ("release/*", "main", false),
            ("*-prod", "eu-prod", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_wanted_and_not_granted_is_missing() {
        let wishes = Wishes {
            http: vec!["HTTPS://A.example/path".into(), "http://b:8080".into(), "ftp://c".into()],
            ..Wishes::default()
        };
        let allow_http = vec!["https://*.example".parse().unwrap(), "http://b:*".parse().unwrap()];
        let policy = Policy { allow_http, ..Policy::default() };
        assert_eq!(wishes.missing(&policy), ["ftp://c"]);
        assert_eq!(wishes.missing(&Policy::default()).len(), 3);
    }

    #[test]
    fn an_unknown_event_in_a_filter_is_refused_with_those_that_there_are() {
        let error = serde_json::from_str::<Filters>(r#"{"events": ["run_ended"]}"#).unwrap_err();
        assert!(error.to_string().contains("run_finished"), "{error}");
        let filters: Filters = serde_json::from_str(r#"{"events": ["run-finished"]}"#).unwrap();
        assert!(filters.pass_kind(NoticeKind::RunFinished));
        assert!(!filters.pass_kind(NoticeKind::RunQueued));
    }

    #[test]
    fn what_is_about_a_suite_without_a_run_is_filtered_as_its_runs_are() {
        let filters = |json: &str| serde_json::from_str::<Filters>(json).unwrap();
        let mut missed = Notice::sample(NoticeKind::ScheduleMissed);
        let about = missed.suite.as_mut().unwrap();
        about.suite = "shop/checkout".parse().unwrap();
        about.labels.insert("team".into(), "pay".into());
        for (json, passes) in [
            ("{}", true),
            (r#"{"suites": ["checkout"], "labels": {"team": "p*"}, "references": ["main"]}"#, true),
            (r#"{"suites": ["shop/*"], "namespaces": ["shop"], "tags": ["smoke"]}"#, true),
            (r#"{"suites": ["other"]}"#, false),
            (r#"{"namespaces": ["other"]}"#, false),
            (r#"{"labels": {"team": "web"}}"#, false),
            (r#"{"references": ["release/*"]}"#, false),
        ] {
            assert_eq!(filters(json).pass(&missed), passes, "{json}");
        }
        // What is about the server passes all of these.
        let disabled = Notice::sample(NoticeKind::PluginDisabled);
        assert!(filters(r#"{"suites": ["other"]}"#).pass(&disabled));
    }

    #[test]
    fn a_delivery_is_stored_as_it_was_first_written() {
        let json = r#"{"number":7,"plugin":"hook","notice":{"id":"01890a5d-ac96-774b-bcce-b302099a8057","event":"trial","at":"1970-01-01T00:00:00Z","dedup_key":"k","links":[]},"status":"set_aside","attempts":2,"since":"1970-01-01T00:00:00Z","next_at":"1970-01-01T00:00:00Z","last":null}"#;
        let delivery: Delivery = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&delivery).unwrap(), json);
    }
}
