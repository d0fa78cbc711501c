//! `handoff marks`: what is said of tests without another version of their suite.

use std::io::Write as _;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, ServerArgs, json as answered, read};
use super::exit::{Exit, Failure};
use super::request::duration;
use super::terminal::{Style, safe_line};
use super::{Output, Surroundings};
use crate::http::views::{List, MarkedView};
use crate::model::{MarkKind, SuiteId, end_of_day};

#[derive(Subcommand)]
pub(super) enum MarksCommand {
    /// List the marked tests of a suite, with how each ended last
    List(ListArgs),
    /// Let a test run without its result counting
    Mute(MarkArgs),
    /// Do not run a test
    Disable(MarkArgs),
    /// Expect a test to fail: passing fails the run
    ExpectToFail(MarkArgs),
    /// Say nothing of a test any more
    Remove(RemoveArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// The suite
    suite: SuiteId,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct MarkArgs {
    /// The suite
    suite: SuiteId,
    /// The test
    test: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Up to when: the end of a day in UTC, such as `2027-01-31`, a time such as `2027-01-31T09:00:00Z`, or how
    /// long, such as `14d`
    #[arg(long, value_name = "TIME", value_parser = end)]
    until: Option<Timestamp>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct RemoveArgs {
    /// The suite
    suite: SuiteId,
    /// The test
    test: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// A time, or the time that is so far away.
fn end(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Ok(at) = end_of_day(text) {
        return Ok(at);
    }
    let wrong = "write a day such as 2027-01-31, a time such as 2027-01-31T09:00:00Z, or 14d";
    let away = duration(text).map_err(|_| wrong)?;
    let away = SignedDuration::try_from(away).map_err(|_| "that is too long")?;
    Timestamp::now().checked_add(away).map_err(|_| "that is too long".into())
}

impl MarksCommand {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        match self {
            Self::List(args) => args.run(surroundings).await,
            Self::Mute(args) => args.run(MarkKind::Muted, surroundings).await,
            Self::Disable(args) => args.run(MarkKind::Disabled, surroundings).await,
            Self::ExpectToFail(args) => args.run(MarkKind::ExpectedToFail, surroundings).await,
            Self::Remove(RemoveArgs { suite, test, server }) => {
                let client = Client::new(&server)?;
                client.send(client.request(Method::DELETE, &path(&suite, &test))).await?;
                writeln!(std::io::stdout(), "{} counts as any other test", safe_line(&test))?;
                Ok(Exit::Passed)
            }
        }
    }
}

impl ListArgs {
    async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let (namespace, name) = (self.suite.namespace.as_str(), self.suite.name.as_str());
        let client = Client::new(&self.server)?;
        let json: Value = client.get(&["suites", namespace, name, "marks"], &[]).await?;
        let mut out = std::io::stdout().lock();
        if self.output == Output::Json {
            writeln!(out, "{json:#}")?;
            return Ok(Exit::Passed);
        }
        let list: List<MarkedView> = read(json)?;
        for marked in &list.items {
            let mark = &marked.mark;
            let by = mark.by.as_deref().map(|by| format!(" by {}", safe_line(by)));
            let until = mark.until.map(|until| format!(" until {until}")).unwrap_or_default();
            let expired = if marked.expired { " (expired)" } else { "" };
            let declared = if mark.declared { " (declared)" } else { "" };
            let (test, reason) = (safe_line(&marked.test), safe_line(&mark.reason));
            let test = surroundings.out.paint(Style::Name, &test);
            let kind = mark.kind.as_str();
            let told = format!("{}{until}{expired}{declared}", by.unwrap_or_default());
            writeln!(out, "{kind:<16} {test}{told}: {reason}")?;
            if let Some(last) = &marked.last {
                let passes = if marked.passes { "; it can be taken off the list" } else { "" };
                let (status, number) = (last.status.as_str(), last.number);
                let told = format!("                 {status} in run #{number}{passes}");
                let style = if marked.passes { Style::Notable } else { Style::Faint };
                writeln!(out, "{}", surroundings.out.paint(style, &told))?;
            }
        }
        Ok(Exit::Passed)
    }
}

impl MarkArgs {
    async fn run(self, kind: MarkKind, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let mark = json!({
            "kind": kind,
            "reason": self.reason,
            "by": surroundings.user(),
            "until": self.until,
        });
        let request = client.request(Method::PUT, &path(&self.suite, &self.test)).json(&mark);
        let json: Value = answered(client.send(request).await?).await?;
        let marked: MarkedView = read(json)?;
        let until = marked.mark.until.map(|until| format!(" until {until}")).unwrap_or_default();
        let (test, kind) = (safe_line(&marked.test), kind.as_str().replace('_', " "));
        writeln!(std::io::stdout(), "{test} is {kind}{until}, from the next run on")?;
        Ok(Exit::Passed)
    }
}

fn path<'a>(suite: &'a SuiteId, test: &'a str) -> [&'a str; 5] {
    ["suites", suite.namespace.as_str(), suite.name.as_str(), "marks", test]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_day_a_time_or_so_far_away() {
        let day = end("2027-01-31").unwrap();
        assert_eq!(day, end("2027-02-01T01:00:00+01:00").unwrap());
        assert!(end("14d").unwrap() > Timestamp::now());
        assert!(end("soon").unwrap_err().contains("2027-01-31"));
    }
}
