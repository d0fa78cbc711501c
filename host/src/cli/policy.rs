//! `handoff policy`: what a suite on a server may do.

use std::io::Write as _;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::Surroundings;
use super::client::{Client, ServerArgs, json as answered};
use super::exit::{Exit, Failure};
use super::request::PolicyArgs;
use crate::model::SuiteId;

#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Show what a suite is granted, in JSON; secrets are null
    Get(GetArgs),
    /// Grant a suite exactly this, in place of what it had
    Set(Box<SetArgs>),
}

#[derive(Args)]
pub(super) struct GetArgs {
    /// The suite
    suite: SuiteId,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct SetArgs {
    /// The suite
    suite: SuiteId,
    #[command(flatten)]
    policy: PolicyArgs,
    /// What no two runs on the server may use at the same time, such as an environment; may be given more
    /// than once
    #[arg(long = "lock", value_name = "NAME")]
    locks: Vec<String>,
    /// How many runs of the suite may be under way at the same time
    #[arg(long, value_name = "N")]
    concurrent_runs: Option<u32>,
    /// Add to what the suite is granted already
    #[arg(long)]
    add: bool,
    /// Grant nothing
    #[arg(long, conflicts_with = "add")]
    nothing: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl PolicyCommand {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let policy = match self {
            Self::Get(GetArgs { suite, server }) => read(&Client::new(&server)?, &suite).await?,
            Self::Set(args) => args.run(surroundings).await?,
        };
        writeln!(std::io::stdout(), "{policy:#}")?;
        Ok(Exit::Passed)
    }
}

impl SetArgs {
    async fn run(self, surroundings: &Surroundings) -> Result<Value, Failure> {
        let is_free = self.locks.is_empty() && self.concurrent_runs.is_none();
        if self.nothing != (self.policy.is_empty() && is_free) {
            let told = "say what to grant, or --nothing to grant nothing, and not both";
            return Err(Failure::told(Exit::Usage, told));
        }
        let client = Client::new(&self.server)?;
        let mut policy = self.policy.policy(&surroundings.environment)?;
        policy.locks.extend(self.locks.iter().cloned());
        policy.concurrent_runs = self.concurrent_runs.or(policy.concurrent_runs);
        let mut policy = json!(policy);
        if self.add {
            let mut sum = read(&client, &self.suite).await?;
            add(&mut sum, policy);
            policy = sum;
        }
        let request = client.request(Method::PUT, &path(&self.suite)).json(&policy);
        answered(client.send(request).await?).await
    }
}

async fn read(client: &Client, suite: &SuiteId) -> Result<Value, Failure> {
    client.get(&path(suite), &[]).await
}

fn path(suite: &SuiteId) -> [&str; 4] {
    ["suites", suite.namespace.as_str(), suite.name.as_str(), "policy"]
}

/// Adds a grant to another: lists grow, values replace those of the same name.
pub(super) fn add(sum: &mut Value, more: Value) {
    match (sum, more) {
        (Value::Object(sum), Value::Object(more)) => {
            more.into_iter()
                .for_each(|(name, value)| add(sum.entry(name).or_insert(Value::Null), value));
        }
        (Value::Array(sum), Value::Array(more)) => {
            let new: Vec<_> = more.into_iter().filter(|item| !sum.contains(item)).collect();
            sum.extend(new);
        }
        (sum, more) => *sum = more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_added_to_what_is_there_and_keeps_its_secrets() {
        let mut sum = json!({
            "allow_http": ["https://a"], "secrets": {"old": null}, "config": {"x": "1", "y": "1"},
        });
        let more = json!({
            "allow_http": ["https://a", "https://b"], "secrets": {"new": "s"}, "config": {"x": "2"},
            "limits": {"fuel": 1},
        });
        add(&mut sum, more);
        let expected = json!({
            "allow_http": ["https://a", "https://b"], "secrets": {"old": null, "new": "s"},
            "config": {"x": "2", "y": "1"}, "limits": {"fuel": 1},
        });
        assert_eq!(sum, expected);
    }
}
