//! `handoff suites`: the suites of a server.

use std::io::Write as _;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ServerArgs, read};
use super::exit::{Exit, Failure};
use super::terminal::Style;
use super::{Output, Surroundings};
use crate::http::views::{List, SuiteSummaryView};

#[derive(Args)]
pub(super) struct SuitesArgs {
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Go on behind a page, from the `next_cursor` of its JSON
    #[arg(long)]
    cursor: Option<String>,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

impl SuitesArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.cursor.map(|cursor| ("cursor", cursor)));
        let json: Value = client.get(&["suites"], &query).await?;
        let mut out = std::io::stdout().lock();
        if self.output == Output::Json {
            writeln!(out, "{json:#}")?;
            return Ok(Exit::Passed);
        }
        let list: List<SuiteSummaryView> = read(json)?;
        let names = list.items.iter().map(|suite| format!("{}/{}", suite.namespace, suite.name));
        let names: Vec<_> = names.collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        for (suite, name) in list.items.iter().zip(names) {
            let newest = &suite.newest;
            let name = surroundings.out.paint(Style::Name, &format!("{name:<width$}"));
            let (tests, version) = (newest.tests_count, newest.suite.version.hex());
            let at = newest.created_at.strftime("%F %T");
            writeln!(out, "{name}  {tests:>5} tests  {at}  sha256:{:.12}", version)?;
        }
        if list.next_cursor.is_some() {
            writeln!(out, "There are more: --limit shows more of them.")?;
        }
        Ok(Exit::Passed)
    }
}
