//! Schedules as the API and the configuration have them.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::RunBody;
use super::reading::by_name;
use crate::model::{
    CatchUp, DueRow, Ends, InvalidName, Name, Overlap, Paused, RunId, ScheduleSpec, SuiteId,
};
use crate::scheduler::Reading;

/// What is asked of a schedule. What its runs are asked for stands beside it, as in the request for a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ScheduleBody {
    /// Its name, unique on the server.
    #[schema(value_type = String, example = "nightly")]
    pub name: Name,
    /// Whether it is paused.
    #[schema(required = false)]
    pub paused: bool,
    /// When and what.
    #[serde(flatten)]
    pub rule: RuleBody,
    /// What each run is asked for.
    #[serde(flatten)]
    pub run: RunBody,
}

/// When a schedule is due, and what happens then.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleBody {
    /// The suite.
    pub suite: ScheduledSuite,
    /// A cron expression of five fields, or six with seconds first; `@hourly`, `@daily`, `@weekly`,
    /// `@monthly`, `@yearly`; or `@every` and a duration.
    #[schema(example = "*/5 * * * *")]
    pub cron: String,
    /// The time zone in which it is read, by its name in the IANA database.
    #[serde(default = "utc")]
    #[schema(required = false, example = "Europe/Berlin")]
    pub timezone: String,
    /// Each time comes later by a part of this.
    #[serde(default)]
    pub jitter_ms: u64,
    /// What happens while a run of its is not over: `skip`, `queue`, `cancel-other` or `allow`.
    #[serde(default)]
    #[schema(value_type = String, required = false, example = "skip")]
    pub overlap: Overlap,
    /// Which times are made up for that passed while the server was not there: `mode` is `none`, `latest`
    /// or `all`, of these `at_most` so many, none longer ago than `window_ms`.
    #[serde(default)]
    #[schema(value_type = Object, required = false)]
    pub catch_up: CatchUp,
    /// When it ends: `after_runs`, `after_ms` or `at`, whichever comes first.
    #[serde(default)]
    #[schema(value_type = Object, required = false)]
    pub ends: Ends,
    /// Whether it pauses when a run of its fails.
    #[serde(default)]
    pub pause_on_failure: bool,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

/// Which suite.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected {\"namespace\": \"…\", \"name\": \"…\"}, or \"namespace/name\""
)]
pub enum ScheduledSuite {
    /// `namespace/name`, or the name alone.
    Text(String),
    /// In parts.
    #[serde(deserialize_with = "by_name")]
    Parts(SuiteParts),
}

/// A suite's name in parts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuiteParts {
    /// Its namespace. Default: `default`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ScheduledSuite {
    pub(super) fn id(&self) -> Result<SuiteId, InvalidName> {
        match self {
            Self::Text(text) => text.parse(),
            Self::Parts(SuiteParts { namespace, name }) => Ok(SuiteId {
                namespace: match namespace {
                    Some(namespace) => namespace.parse()?,
                    None => Name::default_namespace(),
                },
                name: name.parse()?,
            }),
        }
    }
}

fn utc() -> String {
    "UTC".into()
}

/// The fields that are neither a run's nor the rule's.
const OWN: [&str; 2] = ["name", "paused"];
/// Those of [`RuleBody`].
const RULE: [&str; 9] = [
    "suite",
    "cron",
    "timezone",
    "jitter_ms",
    "overlap",
    "catch_up",
    "ends",
    "pause_on_failure",
    "description",
];

/// By hand, because serde knows unknown fields only of what is not flattened.
impl<'de> Deserialize<'de> for ScheduleBody {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Own {
            name: Name,
            #[serde(default)]
            paused: bool,
        }
        let (mut own, mut rule, mut run) = (Map::new(), Map::new(), Map::new());
        for (field, value) in Map::<String, Value>::deserialize(from)? {
            let part = match field.as_str() {
                field if OWN.contains(&field) => &mut own,
                field if RULE.contains(&field) => &mut rule,
                _ => &mut run,
            };
            part.insert(field, value);
        }
        let Own { name, paused } = part(own)?;
        Ok(Self { name, paused, rule: part(rule)?, run: part(run)? })
    }
}

/// A part of a flat object as an object by itself.
pub(super) fn part<T: serde::de::DeserializeOwned, E: serde::de::Error>(
    fields: Map<String, Value>,
) -> Result<T, E> {
    serde_json::from_value(Value::Object(fields)).map_err(E::custom)
}

impl ScheduleBody {
    /// What it asks for.
    pub fn into_spec(self) -> Result<ScheduleSpec, InvalidName> {
        let rule = self.rule;
        Ok(ScheduleSpec {
            suite: rule.suite.id()?,
            request: self.run.into(),
            cron: rule.cron,
            timezone: rule.timezone,
            jitter_ms: rule.jitter_ms,
            overlap: rule.overlap,
            catch_up: rule.catch_up,
            ends: rule.ends,
            pause_on_failure: rule.pause_on_failure,
            description: rule.description,
        })
    }
}

/// A schedule as it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ScheduleView {
    /// What was asked for.
    #[serde(flatten)]
    pub body: ScheduleBody,
    /// `active`, `paused`, `ended`, or `broken`: it is due, and cannot start a run.
    #[schema(value_type = String, example = "active")]
    pub status: &'static str,
    /// Why it is paused, has ended or is broken.
    pub reason: Option<String>,
    /// Its rule in words.
    pub in_words: String,
    /// The next five times at which it is due, jitter left out; none while it is paused or has ended.
    #[schema(value_type = Vec<String>)]
    pub next: Vec<Timestamp>,
    /// Whether the server's configuration declares it; it is changed there alone then.
    pub declared: bool,
    /// How many runs its times have started.
    pub runs: u64,
    /// Its runs that are not over.
    #[schema(value_type = Vec<String>)]
    pub under_way: Vec<RunId>,
    /// Times that wait for them.
    #[schema(value_type = Vec<String>)]
    pub waiting: Vec<Timestamp>,
    /// When it was created.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When its rule last changed; what `@every` counts from.
    #[schema(value_type = String)]
    pub changed_at: Timestamp,
}

impl From<&Reading> for ScheduleView {
    fn from(reading: &Reading) -> Self {
        let Reading { schedule, next, in_words, broken, ended } = reading;
        let paused = schedule.paused.as_ref().map(why_paused);
        let (status, reason) = match (ended, paused, broken) {
            (Some(ended), _, _) => ("ended", Some(ended.clone())),
            (_, Some(paused), _) => ("paused", Some(paused)),
            (_, _, Some(broken)) => ("broken", Some(broken.clone())),
            _ => ("active", None),
        };
        Self {
            body: ScheduleBody {
                name: schedule.name.clone(),
                paused: schedule.paused.is_some(),
                rule: (&schedule.spec).into(),
                run: (&schedule.spec.request).into(),
            },
            status,
            reason,
            in_words: in_words.clone(),
            next: next.clone(),
            declared: schedule.declared,
            runs: schedule.runs,
            under_way: schedule.under_way.clone(),
            waiting: schedule.waiting.clone(),
            created_at: schedule.created_at,
            changed_at: schedule.changed_at,
        }
    }
}

fn why_paused(paused: &Paused) -> String {
    let Paused { since, by, reason } = paused;
    let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("since {since}{by}{reason}")
}

impl From<&ScheduleSpec> for RuleBody {
    fn from(spec: &ScheduleSpec) -> Self {
        Self {
            suite: ScheduledSuite::Parts(SuiteParts {
                namespace: Some(spec.suite.namespace.to_string()),
                name: spec.suite.name.to_string(),
            }),
            cron: spec.cron.clone(),
            timezone: spec.timezone.clone(),
            jitter_ms: spec.jitter_ms,
            overlap: spec.overlap,
            catch_up: spec.catch_up,
            ends: spec.ends,
            pause_on_failure: spec.pause_on_failure,
            description: spec.description.clone(),
        }
    }
}

/// What became of one time of a schedule.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DueView {
    /// When it was due by the rule; when it was asked for, if somebody triggered it.
    #[schema(value_type = String)]
    pub due_at: Timestamp,
    /// When it was dealt with.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// `started`, `waiting`, `skipped`, `missed`, `caught_up`, `failed` or `triggered`.
    pub outcome: String,
    /// The run that it started.
    #[schema(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// Why there is none, or why so late.
    pub reason: Option<String>,
}

impl From<&DueRow> for DueView {
    fn from(row: &DueRow) -> Self {
        Self {
            due_at: row.due_at,
            at: row.at,
            outcome: row.outcome.as_str().to_owned(),
            run: row.run,
            reason: row.reason.clone(),
        }
    }
}
