//! Triggers as the API and the configuration have them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::schedule::{ScheduledSuite, part};
use super::{RunBody, SuiteParts};
use crate::model::{
    CallRow, GithubFilter, Mapping, Name, RunId, Secret, Sender, SuiteId, TriggerSpec,
};
use crate::triggers::Reading;

/// What is asked of a trigger. What its runs are asked for stands beside it, as in the request for a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TriggerBody {
    /// Its name, unique on the server.
    #[schema(value_type = String, example = "deployed")]
    pub name: Name,
    /// Who may call, and what is run then.
    #[serde(flatten)]
    pub rule: TriggerRule,
    /// What each run is asked for, less what the mapping says.
    #[serde(flatten)]
    pub run: RunBody,
}

/// Who may call, and what is run then.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TriggerRule {
    /// The suite, unless `mapping.suite` says it.
    pub suite: Option<ScheduledSuite>,
    /// Who calls: `generic` signs as the Standard Webhooks specification says, `github` as GitHub does.
    pub sender: SenderWord,
    /// What the sender signs with. Write-only: it is never shown, and stays when it is not sent.
    #[serde(skip_serializing)]
    pub secret: Option<String>,
    /// The environment variable that holds the secret. In the configuration file alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub secret_env: Option<String>,
    /// The file that holds the secret; one line break at the end is dropped. In the configuration file alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub secret_file: Option<PathBuf>,
    /// What of a run the payload decides.
    pub mapping: MappingBody,
    /// Which of GitHub's events start a run: `push`, `deployment_status`, `pull_request`. Default:
    /// `deployment_status`.
    pub events: Option<Vec<String>>,
    /// Which branches, such as `main` or `release/*`: the one that was pushed to, is deployed, or that a pull
    /// request is to go to. Default: all.
    pub branches: Option<Vec<String>>,
    /// Which environments of `deployment_status`. Default: all.
    pub environments: Option<Vec<String>>,
    /// Which states of `deployment_status`. Default: `success`.
    pub states: Option<Vec<String>>,
    /// Which actions of `pull_request`. Default: `opened`, `reopened` and `synchronize`.
    pub actions: Option<Vec<String>>,
    /// What it is for.
    pub description: Option<String>,
}

/// The fields of [`TriggerRule`].
const RULE: [&str; 12] = [
    "suite",
    "sender",
    "secret",
    "secret_env",
    "secret_file",
    "mapping",
    "events",
    "branches",
    "environments",
    "states",
    "actions",
    "description",
];

/// Who calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SenderWord {
    /// Anybody who signs as the Standard Webhooks specification says.
    #[default]
    Generic,
    /// GitHub.
    Github,
}

/// What of a run the payload decides: texts in which `{/json/pointer}` stands for what the payload has there,
/// and `{/json/pointer|text}` for the text if it has nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MappingBody {
    /// The suite, `namespace/name`.
    #[schema(example = "web/{/service}")]
    pub suite: Option<String>,
    /// The reference. Default for GitHub: the commit.
    #[schema(example = "{/deployment/sha}")]
    pub reference: Option<String>,
    /// Parameters.
    pub params: BTreeMap<String, String>,
}

/// By hand, because serde knows unknown fields only of what is not flattened.
impl<'de> Deserialize<'de> for TriggerBody {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Own {
            name: Name,
        }
        let (mut own, mut rule, mut run) = (Map::new(), Map::new(), Map::new());
        for (field, value) in Map::<String, Value>::deserialize(from)? {
            let part = match field.as_str() {
                "name" => &mut own,
                field if RULE.contains(&field) => &mut rule,
                _ => &mut run,
            };
            part.insert(field, value);
        }
        let Own { name } = part(own)?;
        Ok(Self { name, rule: part(rule)?, run: part(run)? })
    }
}

impl TriggerBody {
    /// What it asks for, where `stored` is the secret that stays if none is given. The error tells what is
    /// wrong.
    pub fn into_spec(self, stored: Option<&Secret>) -> Result<TriggerSpec, String> {
        let rule = self.rule;
        let secret = rule.secret.map(Secret).or_else(|| stored.cloned());
        let given = |list: Option<Vec<String>>, default: Vec<String>| list.unwrap_or(default);
        let lists = [&rule.events, &rule.branches, &rule.environments, &rule.states, &rule.actions];
        let sender = match rule.sender {
            SenderWord::Generic if lists.iter().any(|list| list.is_some()) => {
                return Err(
                    "events, branches, environments, states and actions are those of GitHub: \
                            leave them out, or say `sender`: `github`"
                        .into(),
                );
            }
            SenderWord::Generic => Sender::Generic,
            SenderWord::Github => {
                let default = GithubFilter::default();
                Sender::Github(GithubFilter {
                    events: given(rule.events, default.events),
                    branches: given(rule.branches, default.branches),
                    environments: given(rule.environments, default.environments),
                    states: given(rule.states, default.states),
                    actions: given(rule.actions, default.actions),
                })
            }
        };
        let suite = rule.suite.map(|suite| suite.id()).transpose();
        let MappingBody { suite: mapped, reference, params } = rule.mapping;
        Ok(TriggerSpec {
            suite: suite.map_err(|error| error.to_string())?,
            request: self.run.into(),
            mapping: Mapping { suite: mapped, reference, params },
            sender,
            secret: secret.ok_or("say the `secret` that the sender signs with")?,
            description: rule.description,
        })
    }
}

impl From<&TriggerSpec> for TriggerRule {
    fn from(spec: &TriggerSpec) -> Self {
        let parts = |suite: &SuiteId| {
            ScheduledSuite::Parts(SuiteParts {
                namespace: Some(suite.namespace.to_string()),
                name: suite.name.to_string(),
            })
        };
        let (sender, filter) = match &spec.sender {
            Sender::Generic => (SenderWord::Generic, None),
            Sender::Github(filter) => (SenderWord::Github, Some(filter)),
        };
        let list = |field: fn(&GithubFilter) -> &Vec<String>| filter.map(|it| field(it).clone());
        let Mapping { suite, reference, params } = spec.mapping.clone();
        Self {
            suite: spec.suite.as_ref().map(parts),
            sender,
            secret: None,
            secret_env: None,
            secret_file: None,
            mapping: MappingBody { suite, reference, params },
            events: list(|filter| &filter.events),
            branches: list(|filter| &filter.branches),
            environments: list(|filter| &filter.environments),
            states: list(|filter| &filter.states),
            actions: list(|filter| &filter.actions),
            description: spec.description.clone(),
        }
    }
}

/// A trigger as it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TriggerView {
    /// What was asked for, less the secret.
    #[serde(flatten)]
    pub body: TriggerBody,
    /// `active`, or `broken`: a call could not start a run.
    #[schema(value_type = String, example = "active")]
    pub status: &'static str,
    /// Why it is broken.
    pub reason: Option<String>,
    /// Where the sender is to call, below the server's address.
    #[schema(example = "/api/v1/triggers/deployed")]
    pub path: String,
    /// Whether the server's configuration declares it; it is changed there alone then.
    pub declared: bool,
    /// How many runs it has started.
    pub runs: u64,
    /// When it was created.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String)]
    pub changed_at: Timestamp,
}

impl From<&Reading> for TriggerView {
    fn from(reading: &Reading) -> Self {
        let Reading { trigger, broken } = reading;
        Self {
            body: TriggerBody {
                name: trigger.name.clone(),
                rule: (&trigger.spec).into(),
                run: (&trigger.spec.request).into(),
            },
            status: if broken.is_some() { "broken" } else { "active" },
            reason: broken.clone(),
            path: format!("/api/v1/triggers/{}", trigger.name),
            declared: trigger.declared,
            runs: trigger.runs,
            created_at: trigger.created_at,
            changed_at: trigger.changed_at,
        }
    }
}

/// What became of a call to a trigger.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallView {
    /// When it came.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// What the sender calls the delivery.
    pub delivery: Option<String>,
    /// What it tells of, as GitHub says.
    pub event: Option<String>,
    /// Whether it was signed as it should be.
    pub signed: bool,
    /// `started`, `ignored`, `refused` or `failed`.
    pub outcome: String,
    /// The run that it started.
    #[schema(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// Why there is none.
    pub reason: Option<String>,
}

impl From<&CallRow> for CallView {
    fn from(row: &CallRow) -> Self {
        Self {
            at: row.at,
            delivery: row.delivery.clone(),
            event: row.event.clone(),
            signed: row.signed,
            outcome: row.outcome.as_str().to_owned(),
            run: row.run,
            reason: row.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(body: Value) -> Result<TriggerSpec, String> {
        let body: TriggerBody = serde_json::from_value(body).map_err(|error| error.to_string())?;
        body.into_spec(None)
    }

    #[test]
    fn what_is_shown_can_be_sent_back_and_has_no_secret() {
        let spec = spec(json!({
            "name": "deployed", "suite": "web/shop", "sender": "github", "secret": "hunter2",
            "branches": ["main"], "mapping": {"params": {"url": "{/deployment_status/environment_url}"}},
            "tags": ["smoke"], "params": {"a": "b"},
        }))
        .unwrap();
        let body = TriggerBody {
            name: "deployed".parse().unwrap(),
            rule: (&spec).into(),
            run: (&spec.request).into(),
        };
        let json = serde_json::to_string(&body).unwrap();
        assert!(!json.contains("hunter2") && !json.contains("secret"), "{json}");
        let again: TriggerBody = serde_json::from_str(&json).unwrap();
        assert_eq!(again.into_spec(Some(&spec.secret)).unwrap(), spec);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong = |field: &str, value: Value| {
            let mut body = json!({"name": "a", "suite": "a", "secret": "x"});
            body[field] = value;
            spec(body).unwrap_err()
        };
        assert!(wrong("events", json!(["push"])).contains("`sender`: `github`"));
        assert!(wrong("sender", json!("gitlab")).contains("gitlab"));
        assert!(wrong("colour", json!("red")).contains("colour"));
        assert!(wrong("mapping", json!({"sweet": ""})).contains("sweet"));
        assert!(wrong("suite", json!("No Name")).contains("No Name"));
        assert!(spec(json!({"name": "a", "suite": "a"})).unwrap_err().contains("`secret`"));
    }
}
