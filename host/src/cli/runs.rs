//! `handoff runs`: the runs of a server, or one of them.

use std::io::Write;

use clap::Args;
use serde_json::Value;

use super::client::{Client, ServerArgs, read};
use super::exit::{Exit, Failure};
use super::terminal::{Look, Style, safe_line};
use super::{Output, Surroundings};
use crate::http::views::{CountsView, List, RunSummaryView};
use crate::model::{RunStatus, SuiteId};

#[derive(Args)]
pub(super) struct RunsArgs {
    /// Show this run in full: an id, or a suite and a number such as `hello#12`
    run: Option<String>,
    /// Only of this suite
    #[arg(long)]
    suite: Option<SuiteId>,
    /// Only in this state
    #[arg(long, value_parser = status)]
    status: Option<RunStatus>,
    /// Only with this reference
    #[arg(long)]
    reference: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 20)]
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

fn status(word: &str) -> Result<RunStatus, String> {
    let found = RunStatus::ALL.iter().find(|status| status.as_str() == word);
    let words: Vec<_> = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
    found.copied().ok_or_else(|| format!("write one of {}", words.join(", ")))
}

impl RunsArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        if let Some(run) = &self.run {
            return self.show(&client, run, surroundings.out).await;
        }
        let suite = self.suite.as_ref().map(ToString::to_string);
        let status = self.status.map(|status| status.as_str().to_owned());
        let mut query = vec![("limit", self.limit.to_string())];
        let rest = [
            ("suite", suite),
            ("status", status),
            ("reference", self.reference.clone()),
            ("cursor", self.cursor.clone()),
        ];
        query.extend(rest.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let json: Value = client.get(&["runs"], &query).await?;
        let mut out = std::io::stdout().lock();
        if self.output == Output::Json {
            writeln!(out, "{json:#}")?;
            return Ok(Exit::Passed);
        }
        let list: List<RunSummaryView> = read(json)?;
        let name =
            |run: &RunSummaryView| format!("{}#{}", SuiteId::from(&run.suite), run.number).len();
        let width = list.items.iter().map(name).max().unwrap_or(0);
        list.items.iter().try_for_each(|run| write_run(&mut out, surroundings.out, run, width))?;
        if list.next_cursor.is_some() {
            writeln!(out, "There are more: --limit shows more of them.")?;
        }
        Ok(Exit::Passed)
    }

    async fn show(&self, client: &Client, run: &str, look: Look) -> Result<Exit, Failure> {
        let json: Value = client.run(run).await?;
        let mut out = std::io::stdout().lock();
        if self.output == Output::Json {
            writeln!(out, "{json:#}")?;
            return Ok(Exit::Passed);
        }
        let (tests, queue) = (json["tests"].clone(), json["queue"].clone());
        let run: RunSummaryView = read(json)?;
        write_run(&mut out, look, &run, 0)?;
        if let Some(place) = queue["place"].as_u64() {
            writeln!(out, "  place {place} in the queue")?;
        }
        for reason in queue["waits_for"].as_array().into_iter().flatten() {
            writeln!(
                out,
                "  waits for {}",
                safe_line(reason["text"].as_str().unwrap_or_default())
            )?;
        }
        for test in tests.as_array().into_iter().flatten() {
            let text = |name: &str| safe_line(test[name].as_str().unwrap_or_default()).into_owned();
            let flaky = if test["flaky"] == true { " (flaky)" } else { "" };
            let mark = test["mark"]["kind"].as_str().filter(|kind| *kind != "disabled");
            let mark = mark.map(|kind| format!(" ({})", safe_line(&kind.replace('_', " "))));
            let mark = mark.unwrap_or_default();
            let reason = test["reason"].as_str().map(|reason| format!(": {}", safe_line(reason)));
            let (status, name) = (text("status"), text("name"));
            let reason = look.paint(Style::Faint, &reason.unwrap_or_default());
            let cleared = cleared(&test["cleared"]);
            let name = match cleared.is_empty() {
                true => name,
                false => look.paint(Style::Struck, &name),
            };
            writeln!(out, "  {status:<9} {name}{flaky}{mark}{reason}{cleared}")?;
            for attempt in test["attempts"].as_array().into_iter().flatten() {
                let why = self::cleared(&attempt["cleared"]);
                if cleared.is_empty() && !why.is_empty() {
                    let of = format!("attempt {}, {}", attempt["number"], attempt["status"]);
                    let of = look.paint(Style::Struck, &of.replace('"', ""));
                    writeln!(out, "            {of}{why}")?;
                }
            }
        }
        Ok(Exit::Passed)
    }
}

/// Why something counts in no statistics, if it does not.
fn cleared(why: &Value) -> String {
    let Some(reason) = why["reason"].as_str() else { return String::new() };
    let by = why["by"].as_str().map(|by| format!(" by {}", safe_line(by)));
    format!("  (cleared{}: {})", by.unwrap_or_default(), safe_line(reason))
}

fn write_run(
    out: &mut impl Write,
    look: Look,
    run: &RunSummaryView,
    width: usize,
) -> std::io::Result<()> {
    let style = match run.status {
        RunStatus::Passed => Style::Good,
        RunStatus::Failed | RunStatus::Error => Style::Bad,
        RunStatus::Cancelled => Style::Notable,
        RunStatus::Queued | RunStatus::Running => Style::Faint,
    };
    let status = look.paint(style, &format!("{:<9}", run.status.as_str()));
    let name = look.paint(
        Style::Name,
        &format!("{:<width$}", format!("{}#{}", SuiteId::from(&run.suite), run.number)),
    );
    let name = match &run.cleared {
        None => name,
        Some(_) => look.paint(Style::Struck, &name),
    };
    let cleared = run.cleared.as_ref().map(|why| cleared(&serde_json::json!(why)));
    let cleared = cleared.unwrap_or_default();
    let at = run.created_at.strftime("%F %T");
    let took = run.duration_ms.map(|ms| format!("{:.3}s", ms as f64 / 1000.0)).unwrap_or_default();
    let reference = run.reference.as_deref().map(|text| format!("  {}", safe_line(text)));
    let (id, counts) = (run.id, in_words(&run.counts));
    let reference = reference.unwrap_or_default();
    let pinned = if run.pinned.is_some() { "  (pinned)" } else { "" };
    writeln!(out, "{status} {name}  {id}  {at}  {took:>9}  {counts}{reference}{cleared}{pinned}")
}

fn in_words(counts: &CountsView) -> String {
    let all = [
        (counts.passed, "passed"),
        (counts.flaky, "flaky"),
        (counts.failed, "failed"),
        (counts.soft_failed, "soft failed"),
        (counts.error, "in error"),
        (counts.cancelled, "cancelled"),
        (counts.skipped, "skipped"),
    ];
    let some = all.into_iter().filter(|(count, _)| *count > 0);
    some.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_line() {
        let json = serde_json::json!({
            "id": "01010101-0101-0101-0101-010101010101", "number": 12, "status": "failed",
            "suite": {"namespace": "team", "name": "hello", "version": crate::model::Digest::of(b"")},
            "reference": "v1\u{1b}[2J", "created_at": "2026-01-02T03:04:05Z", "duration_ms": 1234,
            "counts": {"passed": 2, "failed": 1, "skipped": 0, "error": 0, "cancelled": 0,
                       "flaky": 1, "soft_failed": 0},
        });
        let mut out = Vec::new();
        write_run(&mut out, Look::PLAIN, &serde_json::from_value(json).unwrap(), 0).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
