//! What starts runs when another system calls, and what became of each call.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Name, RunId, RunRequest, SuiteId};

/// What somebody wants to run when another system calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerSpec {
    /// Which suite, unless the mapping says so. It need not exist yet.
    pub suite: Option<SuiteId>,
    /// What each run is asked for, less what the mapping says.
    pub request: RunRequest,
    /// What of a run the payload decides.
    pub mapping: Mapping,
    /// Who calls.
    pub sender: Sender,
    /// What the sender signs with.
    pub secret: Secret,
    /// What it is for.
    pub description: Option<String>,
}

/// What of a run the payload decides: texts with `{/json/pointer}` in them (see [`super::Template`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// The suite, `namespace/name`.
    pub suite: Option<String>,
    /// The reference.
    pub reference: Option<String>,
    /// Parameters.
    pub params: BTreeMap<String, String>,
}

/// Who calls, and so how calls are signed and what is in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// Anybody who signs as the Standard Webhooks specification says.
    Generic,
    /// GitHub, of whose events some start a run.
    Github(GithubFilter),
}

/// Which of GitHub's events start a run. An empty list of patterns lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GithubFilter {
    /// Which events: `push`, `deployment_status`, `pull_request`.
    pub events: Vec<String>,
    /// Which branches: the one that was pushed to, is deployed, or that a pull request is to go to.
    pub branches: Vec<String>,
    /// Which environments of `deployment_status`.
    pub environments: Vec<String>,
    /// Which states of `deployment_status`.
    pub states: Vec<String>,
    /// Which actions of `pull_request`.
    pub actions: Vec<String>,
}

impl Default for GithubFilter {
    /// Successful deployments; of pull requests, if they are asked for, new code.
    fn default() -> Self {
        let all = |them: &[&str]| them.iter().map(|it| (*it).to_owned()).collect();
        Self {
            events: all(&["deployment_status"]),
            branches: Vec::new(),
            environments: Vec::new(),
            states: all(&["success"]),
            actions: all(&["opened", "reopened", "synchronize"]),
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A trigger and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its name, unique on the server.
    pub name: Name,
    /// What it is to do.
    pub spec: TriggerSpec,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its specification last changed.
    pub changed_at: Timestamp,
    /// Whether the server's configuration declares it; it is changed there alone then.
    pub declared: bool,
    /// How many runs it has started.
    pub runs: u64,
    /// When its last row was made: no two are of the same time.
    pub last_row_at: Option<Timestamp>,
    /// What is stored beside it.
    pub stored: TriggerCounts,
}

/// How much is stored beside a trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TriggerCounts {
    /// Rows of what became of calls.
    pub rows: u64,
    /// Of these, those of calls that were not signed as they should be.
    pub unsigned: u64,
    /// Deliveries that are known again.
    pub known: u64,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRow {
    /// When it came.
    pub at: Timestamp,
    /// What the sender calls the delivery.
    pub delivery: Option<String>,
    /// What it tells of, as the sender says.
    pub event: Option<String>,
    /// Whether it was signed as it should be.
    pub signed: bool,
    /// What became of it.
    pub outcome: CallOutcome,
    /// The run that it started.
    pub run: Option<RunId>,
    /// Why there is none.
    pub reason: Option<String>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// It started a run.
    Started,
    /// It was not meant to start one.
    Ignored,
    /// It was not signed, came before, or holds no run that could be.
    Refused,
    /// It should have started a run and could not.
    Failed,
}

impl CallOutcome {
    /// The word for it in JSON, in labels and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_with_what_it_is_in() {
        let spec = TriggerSpec {
            suite: None,
            request: RunRequest::default(),
            mapping: Mapping::default(),
            sender: Sender::Generic,
            secret: Secret("hunter2".into()),
            description: None,
        };
        assert!(!format!("{spec:?}").contains("hunter2"));
    }
}
