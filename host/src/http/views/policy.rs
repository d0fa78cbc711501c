//! What a suite is granted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reading::{by_name_or_default, or_default};
use super::schemas;
use crate::model::{HostPattern, Keep, LimitsPatch, Policy, TcpTarget};

/// What a suite is granted. What is left out grants nothing.
///
/// Secrets are write-only: they are shown as null, and a null that is sent keeps the stored value. So
/// what was read can be changed and sent back whole. A secret that is not named is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object that says what is granted")]
pub struct PolicyView {
    /// Where HTTP requests may go: `https://host`, `http://host:port`, `https://*.example.com`.
    #[schema(value_type = Vec<String>)]
    #[serde(deserialize_with = "or_default")]
    pub allow_http: Vec<HostPattern>,
    /// Where TCP connections may go: `host:port`.
    #[schema(value_type = Vec<String>)]
    #[serde(deserialize_with = "or_default")]
    pub allow_tcp: Vec<TcpTarget>,
    /// Environment variables.
    #[serde(deserialize_with = "or_default")]
    pub env: BTreeMap<String, String>,
    /// Arguments of a test program, before those with which its harness is asked for one test.
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    /// Where the suite finds its fixtures: an absolute path. Default: `/`, where relative paths start.
    pub fixtures_path: Option<String>,
    /// Configuration.
    #[serde(deserialize_with = "or_default")]
    pub config: BTreeMap<String, String>,
    /// Configuration that is masked wherever it would be shown.
    #[serde(deserialize_with = "or_default")]
    pub secrets: BTreeMap<String, Option<String>>,
    /// Limits that differ from the server's.
    #[schema(schema_with = schemas::limits)]
    #[serde(deserialize_with = "by_name_or_default")]
    pub limits: LimitsPatch,
    /// What no two runs on the server may use at the same time, beside what the suite declares with its
    /// labels `handoff.lock`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<String>,
    /// How many runs of the suite may be under way at the same time. The suite may declare fewer with its
    /// label `handoff.concurrent-runs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub concurrent_runs: Option<u32>,
    /// How long runs are kept, where that differs from the server's settings: `age_ms`, so many
    /// milliseconds after their end, and `runs`, so many, the newest; 0 is without end.
    #[schema(value_type = Object, example = json!({"age_ms": 604_800_000, "runs": 100}))]
    #[serde(skip_serializing_if = "Keep::is_empty")]
    pub keep: Keep,
}

impl From<&Policy> for PolicyView {
    fn from(policy: &Policy) -> Self {
        Self {
            allow_http: policy.allow_http.clone(),
            allow_tcp: policy.allow_tcp.clone(),
            env: policy.env.clone(),
            args: policy.args.clone(),
            fixtures_path: policy.fixtures_path.clone(),
            config: policy.config.clone(),
            secrets: policy.secrets.keys().map(|name| (name.clone(), None)).collect(),
            limits: policy.limits.clone(),
            locks: policy.locks.clone(),
            concurrent_runs: policy.concurrent_runs,
            keep: policy.keep,
        }
    }
}

impl PolicyView {
    /// The policy that this asks for, where `stored` has the secrets that are to be kept. The error is
    /// the name of a secret that is to be kept and is not there.
    pub fn over(self, stored: &Policy) -> Result<Policy, String> {
        let keep = |(name, value): (String, Option<String>)| match value
            .or_else(|| stored.secrets.get(&name).cloned())
        {
            Some(value) => Ok((name, value)),
            None => Err(name),
        };
        Ok(Policy {
            allow_http: self.allow_http,
            allow_tcp: self.allow_tcp,
            env: self.env,
            args: self.args,
            fixtures_path: self.fixtures_path,
            config: self.config,
            secrets: self.secrets.into_iter().map(keep).collect::<Result<_, _>>()?,
            limits: self.limits,
            locks: self.locks,
            concurrent_runs: self.concurrent_runs,
            keep: self.keep,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_was_read_can_be_sent_back_without_losing_a_secret() {
        let stored = Policy {
            secrets: BTreeMap::from([("token".into(), "s3cret".into())]),
            config: BTreeMap::from([("url".into(), "http://localhost".into())]),
            ..Policy::default()
        };
        let json = serde_json::to_string(&PolicyView::from(&stored)).unwrap();
        assert!(!json.contains("s3cret"), "{json}");
        let sent: PolicyView = serde_json::from_str(&json).unwrap();
        assert_eq!(sent.over(&stored).unwrap(), stored);
    }

    #[test]
    fn a_secret_can_be_replaced_forgotten_and_not_kept_from_nothing() {
        let stored = Policy {
            secrets: BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]),
            ..Policy::default()
        };
        let sent: PolicyView = serde_json::from_str(r#"{"secrets": {"a": "3"}}"#).unwrap();
        let secrets = sent.over(&stored).unwrap().secrets;
        assert_eq!(secrets, BTreeMap::from([("a".into(), "3".into())]));
        let sent: PolicyView = serde_json::from_str(r#"{"secrets": {"c": null}}"#).unwrap();
        assert_eq!(sent.over(&stored).unwrap_err(), "c");
    }
}
