//! `handoff schedules`: what runs by itself on a server.

use std::io::Write as _;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::{Client, ServerArgs, json as answered, read};
use super::exit::{Exit, Failure};
use super::request::{RequestArgs, milliseconds, run_fields};
use super::terminal::{Look, Style, safe_line};
use super::turn::TurnArgs;
use super::{Output, Surroundings};
use crate::http::views::{DueView, List, RunSummaryView};
use crate::model::{Digest, Name, SuiteId};

#[derive(Subcommand)]
pub(super) enum SchedulesCommand {
    /// List schedules
    List(ListArgs),
    /// Show a schedule with its next times
    Show(NameArgs),
    /// Make a schedule
    Create(Box<CreateArgs>),
    /// Change what is given of a schedule
    Change(Box<ChangeArgs>),
    /// Stop a schedule until it is resumed
    Pause(PauseArgs),
    /// Let a paused schedule go on from now
    Resume(NameArgs),
    /// Start a run of a schedule at once
    Trigger(PauseArgs),
    /// Show what became of a schedule's times, the last first
    History(HistoryArgs),
    /// Forget a schedule; its runs stay
    Delete(NameArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct NameArgs {
    /// The schedule
    name: Name,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct PauseArgs {
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    name: NameArgs,
}

#[derive(Args)]
pub(super) struct HistoryArgs {
    /// How many at most
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Go on behind a page, from the `next_cursor` of its JSON
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    name: NameArgs,
}

#[derive(Args)]
pub(super) struct CreateArgs {
    /// Its name, such as `nightly`
    name: Name,
    /// The suite: `namespace/name`, or a name in the namespace `default`
    suite: SuiteId,
    /// When: `*/5 * * * *`, `@hourly`, `@every 30s`
    #[arg(long, value_name = "RULE")]
    cron: String,
    /// Begin paused
    #[arg(long)]
    paused: bool,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    turn: TurnArgs,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct ChangeArgs {
    /// The schedule
    name: Name,
    /// The suite
    #[arg(long)]
    suite: Option<SuiteId>,
    /// When: `*/5 * * * *`, `@hourly`, `@every 30s`
    #[arg(long, value_name = "RULE")]
    cron: Option<String>,
    /// Take a field back to its default, such as `reference`
    #[arg(long, value_name = "FIELD")]
    unset: Vec<String>,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    turn: TurnArgs,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// When a schedule is due, and what happens then.
#[derive(Args)]
struct RuleArgs {
    /// The version, in place of the newest upload
    #[arg(long, value_name = "sha256:…")]
    version: Option<Digest>,
    /// The time zone of the rule, such as `Europe/Berlin` [default: UTC]
    #[arg(long, value_name = "ZONE", help_heading = "Rule")]
    timezone: Option<String>,
    /// Start each run later by a part of this
    #[arg(long, value_name = "TIME", value_parser = milliseconds, help_heading = "Rule")]
    jitter: Option<u64>,
    /// What happens while a run of its is not over [default: skip]
    #[arg(long, help_heading = "Rule")]
    overlap: Option<OverlapWord>,
    /// Which times are made up for that passed while the server was not there [default: latest]
    #[arg(long, help_heading = "Rule")]
    catch_up: Option<CatchUpWord>,
    /// How many are made up for at most
    #[arg(long, value_name = "N", help_heading = "Rule")]
    catch_up_at_most: Option<u32>,
    /// How long ago they may be
    #[arg(long, value_name = "TIME", value_parser = milliseconds, help_heading = "Rule")]
    catch_up_window: Option<u64>,
    /// End after so many runs
    #[arg(long, value_name = "N", help_heading = "Rule")]
    end_after_runs: Option<u64>,
    /// End so long after it was created
    #[arg(long, value_name = "TIME", value_parser = milliseconds, help_heading = "Rule")]
    end_after: Option<u64>,
    /// End at this time, such as `2030-01-01T00:00:00Z`
    #[arg(long, value_name = "WHEN", help_heading = "Rule")]
    end_at: Option<Timestamp>,
    /// Pause when a run of its fails
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        help_heading = "Rule"
    )]
    pause_on_failure: Option<bool>,
    /// What it is for
    #[arg(long, value_name = "TEXT", help_heading = "Rule")]
    description: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum OverlapWord {
    Skip,
    Queue,
    CancelOther,
    Allow,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum CatchUpWord {
    None,
    Latest,
    All,
}

pub(super) fn word(value: impl clap::ValueEnum) -> Option<String> {
    Some(value.to_possible_value()?.get_name().to_owned())
}

/// An object of those fields that have a value.
pub(super) fn given<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    let fields = fields.into_iter().filter(|(_, value)| match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    });
    fields.map(|(name, value)| (name.to_owned(), value)).collect()
}

impl RuleArgs {
    /// The fields of a schedule that are given.
    fn fields(&self) -> Map<String, Value> {
        let catch_up = given([
            ("mode", json!(self.catch_up.and_then(word))),
            ("at_most", json!(self.catch_up_at_most)),
            ("window_ms", json!(self.catch_up_window)),
        ]);
        let ends = given([
            ("after_runs", json!(self.end_after_runs)),
            ("after_ms", json!(self.end_after)),
            ("at", json!(self.end_at)),
        ]);
        given([
            ("version", json!(self.version)),
            ("timezone", json!(self.timezone)),
            ("jitter_ms", json!(self.jitter)),
            ("overlap", json!(self.overlap.and_then(word))),
            ("catch_up", Value::Object(catch_up)),
            ("ends", Value::Object(ends)),
            ("pause_on_failure", json!(self.pause_on_failure)),
            ("description", json!(self.description)),
        ])
    }
}

impl SchedulesCommand {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let look = surroundings.out;
        match self {
            Self::List(ListArgs { output, server }) => {
                let json: Value = Client::new(&server)?.get(&["schedules"], &[]).await?;
                list(&json, output, look)
            }
            Self::Show(args) => {
                let json = Client::new(&args.server)?.get(&args.path(), &[]).await?;
                show(&json, args.output, look)
            }
            Self::Create(args) => {
                let mut fields = args.rule.fields();
                fields.extend(run_fields(&args.request)?);
                fields.extend(args.turn.fields());
                fields.extend(given([
                    ("name", json!(args.name)),
                    ("suite", json!(args.suite.to_string())),
                    ("cron", json!(args.cron)),
                    ("paused", json!(args.paused)),
                ]));
                let client = Client::new(&args.server)?;
                show(
                    &client.create(&["schedules"], &Value::Object(fields)).await?,
                    args.output,
                    look,
                )
            }
            Self::Change(args) => {
                let mut fields = args.rule.fields();
                fields.extend(run_fields(&args.request)?);
                fields.extend(args.turn.fields());
                let suite = args.suite.as_ref().map(ToString::to_string);
                fields.extend(given([("suite", json!(suite)), ("cron", json!(args.cron))]));
                fields.extend(args.unset.iter().map(|field| (field.clone(), Value::Null)));
                if fields.is_empty() {
                    return Err(Failure::told(Exit::Usage, "say what to change, such as --cron"));
                }
                let client = Client::new(&args.server)?;
                let path = ["schedules", args.name.as_str()];
                let request = client.request(Method::PATCH, &path).json(&fields);
                show(&answered(client.send(request).await?).await?, args.output, look)
            }
            Self::Pause(args) => {
                let answer = args.post("pause", surroundings).await?;
                show(&answer, args.name.output, look)
            }
            Self::Resume(args) => {
                let client = Client::new(&args.server)?;
                let path = ["schedules", args.name.as_str(), "resume"];
                let answer = client.send(client.request(Method::POST, &path)).await?;
                show(&answered(answer).await?, args.output, look)
            }
            Self::Trigger(args) => {
                let answer = args.post("trigger", surroundings).await?;
                let mut out = std::io::stdout();
                match args.name.output {
                    Output::Json => writeln!(out, "{answer:#}")?,
                    Output::Human => writeln!(out, "{}", read::<RunSummaryView>(answer)?.id)?,
                }
                Ok(Exit::Passed)
            }
            Self::History(args) => args.run(look).await,
            Self::Delete(args) => {
                let client = Client::new(&args.server)?;
                client.send(client.request(Method::DELETE, &args.path())).await?;
                Ok(Exit::Passed)
            }
        }
    }
}

impl NameArgs {
    fn path(&self) -> [&str; 2] {
        ["schedules", self.name.as_str()]
    }
}

impl PauseArgs {
    async fn post(&self, verb: &str, surroundings: &Surroundings) -> Result<Value, Failure> {
        let client = Client::new(&self.name.server)?;
        let asked = given([("by", json!(surroundings.user())), ("reason", json!(self.reason))]);
        client.create(&["schedules", self.name.name.as_str(), verb], &Value::Object(asked)).await
    }
}

impl HistoryArgs {
    async fn run(self, look: Look) -> Result<Exit, Failure> {
        let client = Client::new(&self.name.server)?;
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.cursor.map(|cursor| ("cursor", cursor)));
        let path = ["schedules", self.name.name.as_str(), "history"];
        let json: Value = client.get(&path, &query).await?;
        let mut out = std::io::stdout().lock();
        if self.name.output == Output::Json {
            writeln!(out, "{json:#}")?;
            return Ok(Exit::Passed);
        }
        let list: List<DueView> = read(json)?;
        for row in list.items {
            let style = match row.outcome.as_str() {
                "started" | "caught_up" | "triggered" => Style::Good,
                "failed" => Style::Bad,
                "missed" => Style::Notable,
                _ => Style::Faint,
            };
            let outcome = look.paint(style, &format!("{:<9}", safe_line(&row.outcome)));
            let run = row.run.map(|run| format!("  {run}")).unwrap_or_default();
            let reason = row.reason.map(|why| format!("  {}", safe_line(&why))).unwrap_or_default();
            writeln!(out, "{}  {outcome}{run}{reason}", row.due_at.strftime("%F %T"))?;
        }
        if list.next_cursor.is_some() {
            writeln!(out, "There are more: --limit shows more of them.")?;
        }
        Ok(Exit::Passed)
    }
}

fn list(json: &Value, output: Output, look: Look) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{json:#}")?;
        return Ok(Exit::Passed);
    }
    let text = |value: &Value| safe_line(value.as_str().unwrap_or_default()).into_owned();
    for schedule in json["items"].as_array().into_iter().flatten() {
        let status = text(&schedule["status"]);
        let style = match status.as_str() {
            "active" => Style::Good,
            "broken" => Style::Bad,
            _ => Style::Notable,
        };
        let suite = format!(
            "{}/{}",
            text(&schedule["suite"]["namespace"]),
            text(&schedule["suite"]["name"])
        );
        let next = text(&schedule["next"][0]);
        let next = if next.is_empty() { String::new() } else { format!("  next {next}") };
        let status = look.paint(style, &format!("{status:<7}"));
        let name = look.paint(Style::Name, &text(&schedule["name"]));
        writeln!(out, "{status}  {name}  {suite}  {}{next}", text(&schedule["cron"]))?;
    }
    Ok(Exit::Passed)
}

fn show(json: &Value, output: Output, look: Look) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{json:#}")?;
        return Ok(Exit::Passed);
    }
    let text = |value: &Value| safe_line(value.as_str().unwrap_or_default()).into_owned();
    let name = look.paint(Style::Name, &text(&json["name"]));
    let (namespace, suite) = (text(&json["suite"]["namespace"]), text(&json["suite"]["name"]));
    writeln!(out, "{name} runs {namespace}/{suite}")?;
    let (cron, zone, words) =
        (text(&json["cron"]), text(&json["timezone"]), text(&json["in_words"]));
    writeln!(out, "rule    {cron} ({zone}): {words}")?;
    let reason = json["reason"].as_str().map(|why| format!(": {}", safe_line(why)));
    writeln!(out, "status  {}{}", text(&json["status"]), reason.unwrap_or_default())?;
    for (at, time) in json["next"].as_array().into_iter().flatten().enumerate() {
        writeln!(out, "{:<6}  {}", if at == 0 { "next" } else { "" }, text(time))?;
    }
    Ok(Exit::Passed)
}
