//! `handoff retention`, `pin` and `unpin`: what a server keeps, and what it forgets.

use std::io::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, ServerArgs, json as answered, read};
use super::exit::{Exit, Failure};
use super::request::duration;
use super::{Output, Surroundings};
use crate::http::views::{FreedView, KeepView, RetentionView};
use crate::model::SuiteId;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct RetentionArgs {
    #[command(subcommand)]
    command: Option<RetentionCommand>,
    #[command(flatten)]
    show: ShowArgs,
}

#[derive(Subcommand)]
enum RetentionCommand {
    /// Show what is kept, what it takes of the disk, and what was forgotten
    Show(ShowArgs),
    /// Forget now what may go, instead of within `retention.interval_ms`
    Now(ShowArgs),
    /// Say how long the runs of a suite are kept
    Set(SetArgs),
}

#[derive(Args)]
struct ShowArgs {
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
struct SetArgs {
    /// The suite
    suite: SuiteId,
    /// For how long after their end, such as `30d`; 0s is without end
    #[arg(long, value_name = "TIME", value_parser = duration, required_unless_present_any = ["runs", "default"])]
    age: Option<Duration>,
    /// How many, the newest; 0 is all
    #[arg(long, value_name = "COUNT")]
    runs: Option<u64>,
    /// As long as the server's settings say, less what is said beside this
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which run is to stay.
#[derive(Args)]
pub(super) struct PinArgs {
    /// The run: an id, or a suite and a number such as `hello#12`
    run: String,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which run need not stay.
#[derive(Args)]
pub(super) struct UnpinArgs {
    /// The run: an id, or a suite and a number such as `hello#12`
    run: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl RetentionArgs {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        match self.command.unwrap_or(RetentionCommand::Show(self.show)) {
            RetentionCommand::Show(args) => args.run(Method::GET).await,
            RetentionCommand::Now(args) => args.run(Method::POST).await,
            RetentionCommand::Set(args) => args.run().await,
        }
    }
}

impl ShowArgs {
    async fn run(self, method: Method) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let answer = client.send(client.request(method, &["retention"])).await?;
        let json: Value = answered(answer).await?;
        let mut out = std::io::stdout().lock();
        match self.output {
            Output::Json => writeln!(out, "{json:#}")?,
            Output::Human => write!(out, "{}", human(&read(json)?))?,
        }
        Ok(Exit::Passed)
    }
}

impl SetArgs {
    async fn run(self) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let path = ["suites", self.suite.namespace.as_str(), self.suite.name.as_str(), "policy"];
        let mut policy: Value = client.get(&path, &[]).await?;
        let mut keep = match policy.get("keep") {
            Some(keep) if !self.default => keep.clone(),
            _ => json!({}),
        };
        if let Some(age) = self.age {
            keep["age_ms"] = json!(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(runs) = self.runs {
            keep["runs"] = json!(runs);
        }
        policy["keep"] = keep;
        client.send(client.request(Method::PUT, &path).json(&policy)).await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "said how long runs of {} are kept", self.suite)?;
        Ok(Exit::Passed)
    }
}

impl PinArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let run = client.run_id(&self.run).await?.to_string();
        let body = json!({ "by": surroundings.user(), "reason": self.reason });
        client.send(client.request(Method::PUT, &["runs", &run, "pin"]).json(&body)).await?;
        writeln!(std::io::stdout(), "the run {run} stays until it is unpinned")?;
        Ok(Exit::Passed)
    }
}

impl UnpinArgs {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let run = client.run_id(&self.run).await?.to_string();
        client.send(client.request(Method::DELETE, &["runs", &run, "pin"])).await?;
        writeln!(std::io::stdout(), "the run {run} goes in its time")?;
        Ok(Exit::Passed)
    }
}

fn human(retention: &RetentionView) -> String {
    let RetentionView { keep, pinned_runs, disk, forgotten, last_round } = retention;
    let round = match last_round {
        None => "none yet".to_owned(),
        Some(round) => {
            let at = round.started_at.strftime("%F %T");
            let state = if round.finished_at.is_some() { "" } else { ", under way" };
            format!("{at}{state}: {}", freed(&round.forgotten))
        }
    };
    let lines = [
        ("kept", format!("{}; {pinned_runs} pinned", kept(keep))),
        (
            "disk",
            format!(
                "{} in all: records {}, components {}, artifacts {}; {} free",
                size(disk.total_bytes),
                size(disk.records_bytes),
                size(disk.components_bytes),
                size(disk.artifacts_bytes),
                size(disk.free_bytes)
            ),
        ),
        ("last", round),
        ("in all", freed(forgotten)),
    ];
    lines.iter().map(|(name, text)| format!("{name:<7} {}\n", text)).collect()
}

fn kept(keep: &KeepView) -> String {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let age = match keep.age_ms {
        0 => "of any age".to_owned(),
        DAY_MS => "for a day after its end".to_owned(),
        // humantime makes 2 months, 29 days and some hours of 90 days.
        ms if ms.is_multiple_of(DAY_MS) => format!("for {} days after its end", ms / DAY_MS),
        ms => {
            let age = humantime::Duration::from(Duration::from_millis(ms));
            format!("for {age} after its end")
        }
    };
    match keep.runs {
        0 => format!("each run {age}"),
        runs => format!("the newest {runs} runs of each suite, each {age}"),
    }
}

fn freed(freed: &FreedView) -> String {
    let FreedView { runs, record_bytes, files, file_bytes } = freed;
    let (records, artifacts) = (size(*record_bytes), size(*file_bytes));
    format!("{runs} runs with {records} of records and {files} artifacts of {artifacts}")
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut shown = None;
    for unit in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        shown = Some(unit);
    }
    shown.map_or(format!("{bytes} bytes"), |unit| format!("{size:.1} {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rules_are_told_in_words() {
        assert_eq!(size(1_000), "1000 bytes");
        assert_eq!(size(1 << 20), "1.0 MiB");
        assert_eq!(size(3 << 41), "6.0 TiB");
        assert_eq!(kept(&KeepView { age_ms: 0, runs: 0 }), "each run of any age");
        let rule = KeepView { age_ms: 86_400_000, runs: 5 };
        assert_eq!(kept(&rule), "the newest 5 runs of each suite, each for a day after its end");
        let rule = KeepView { age_ms: 90 * 86_400_000, runs: 0 };
        assert_eq!(kept(&rule), "each run for 90 days after its end");
        let rule = KeepView { age_ms: 5_400_000, runs: 0 };
        assert_eq!(kept(&rule), "each run for 1h 30m after its end");
    }
}
