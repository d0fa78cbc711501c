//! `handoff clear`: takes what ended out of the statistics, and runs it again if asked.

use std::io::Write as _;

use clap::Args;
use serde_json::{Map, Value, json};

use super::Surroundings;
use super::client::{Client, ServerArgs, read};
use super::exit::{Exit, Failure};
use crate::http::views::RunSummaryView;

#[derive(Args)]
pub(super) struct ClearArgs {
    /// The run: an id, or a suite and a number such as `hello#12`
    run: String,
    /// Only this test; without it the whole run
    test: Option<String>,
    /// Only this attempt at the test
    #[arg(long, value_name = "N", requires = "test")]
    attempt: Option<u32>,
    /// The round of the attempt, in a repeated run [default: 1]
    #[arg(long, value_name = "N", requires = "attempt")]
    round: Option<u32>,
    /// Why it is not to count
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Run it again: a test as a further attempt, a whole run as a new one
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl ClearArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let id = client.run_id(&self.run).await?.to_string();
        let json: Value = client.create(&["runs", &id, "clear"], &self.body(surroundings)).await?;
        let run: RunSummaryView = read(json)?;
        let mut out = std::io::stdout();
        match &self.test {
            None => writeln!(out, "cleared the run {id}")?,
            Some(test) => writeln!(out, "cleared {test} in the run {id}")?,
        }
        if self.again {
            writeln!(out, "runs again in {}", run.id)?;
        }
        Ok(Exit::Passed)
    }

    fn body(&self, surroundings: &Surroundings) -> Value {
        let fields = [
            ("test", json!(self.test)),
            ("attempt", json!(self.attempt)),
            ("round", json!(self.round)),
            ("reason", json!(self.reason)),
            ("initiated_by", json!(surroundings.user())),
            ("again", json!(self.again)),
        ];
        let said = fields.into_iter().filter(|(_, value)| !value.is_null());
        Value::Object(said.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    }
}
