//! `handoff triggers`: what starts runs on a server when another system calls.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::{Client, ServerArgs, json as answered, read};
use super::exit::{Exit, Failure};
use super::request::{RequestArgs, pair, read_secret, run_fields};
use super::schedules::{given, word};
use super::terminal::{Look, Style, safe_line};
use super::turn::TurnArgs;
use super::{Output, Surroundings};
use crate::http::views::{CallView, List};
use crate::model::{Digest, Name, SuiteId};

#[derive(Subcommand)]
pub(super) enum TriggersCommand {
    /// List triggers
    List(ListArgs),
    /// Show a trigger
    Show(NameArgs),
    /// Make a trigger
    Create(Box<CreateArgs>),
    /// Change what is given of a trigger
    Change(Box<ChangeArgs>),
    /// Show what became of a trigger's calls, the last first
    History(HistoryArgs),
    /// Forget a trigger; its runs stay
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
    /// The trigger
    name: Name,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
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
    /// Its name, such as `deployed`: the address to call ends with it
    name: Name,
    /// The suite: `namespace/name`, or a name in the namespace `default`
    #[arg(required_unless_present = "suite_from")]
    suite: Option<SuiteId>,
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
    /// The trigger
    name: Name,
    /// The suite
    #[arg(long)]
    suite: Option<SuiteId>,
    /// Take a field back to its default, such as `branches`
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

/// Who may call a trigger, and what is run then.
#[derive(Args)]
struct RuleArgs {
    /// The version, in place of the newest upload
    #[arg(long, value_name = "sha256:…")]
    version: Option<Digest>,
    /// Who calls [default: generic]
    #[arg(long, help_heading = "Sender")]
    sender: Option<SenderWord>,
    /// Read the secret that the sender signs with from a file; `-` is the standard input
    #[arg(long, value_name = "FILE", help_heading = "Sender")]
    secret_file: Option<PathBuf>,
    /// Read the secret from an environment variable of this command
    #[arg(long, value_name = "NAME", conflicts_with = "secret_file", help_heading = "Sender")]
    secret_env: Option<String>,
    /// Start runs at this event of GitHub's [default: deployment_status]
    #[arg(long = "event", value_name = "EVENT", help_heading = "Sender")]
    events: Vec<String>,
    /// Only for this branch, such as `main` or `release/*`
    #[arg(long = "branch", value_name = "PATTERN", help_heading = "Sender")]
    branches: Vec<String>,
    /// Only for this environment of a deployment
    #[arg(long = "environment", value_name = "PATTERN", help_heading = "Sender")]
    environments: Vec<String>,
    /// Only for this state of a deployment [default: success]
    #[arg(long = "state", value_name = "PATTERN", help_heading = "Sender")]
    states: Vec<String>,
    /// Only for this action of a pull request [default: opened, reopened, synchronize]
    #[arg(long = "action", value_name = "PATTERN", help_heading = "Sender")]
    actions: Vec<String>,
    /// Take the suite from the payload, such as `web/{/service}`
    #[arg(long, value_name = "TEMPLATE", help_heading = "Mapping")]
    suite_from: Option<String>,
    /// Take the reference from the payload, such as `{/deployment/sha}`
    #[arg(long, value_name = "TEMPLATE", help_heading = "Mapping")]
    reference_from: Option<String>,
    /// Take a parameter from the payload, such as `url={/deployment_status/environment_url}`
    #[arg(
        long = "param-from", value_name = "NAME=TEMPLATE", value_parser = pair, help_heading = "Mapping"
    )]
    params_from: Vec<(String, String)>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SenderWord {
    Generic,
    Github,
}

impl RuleArgs {
    /// The fields of a trigger that are given.
    fn fields(&self, surroundings: &Surroundings) -> Result<Map<String, Value>, Failure> {
        let params: Map<_, _> =
            self.params_from.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        let mapping = given([
            ("suite", json!(self.suite_from)),
            ("reference", json!(self.reference_from)),
            ("params", Value::Object(params)),
        ]);
        let list = |list: &Vec<String>| Some(json!(list)).filter(|_| !list.is_empty());
        Ok(given([
            ("version", json!(self.version)),
            ("sender", json!(self.sender.and_then(word))),
            ("secret", json!(self.secret(surroundings)?)),
            ("events", json!(list(&self.events))),
            ("branches", json!(list(&self.branches))),
            ("environments", json!(list(&self.environments))),
            ("states", json!(list(&self.states))),
            ("actions", json!(list(&self.actions))),
            ("mapping", Value::Object(mapping)),
            ("description", json!(self.description)),
        ]))
    }

    /// The secret, which no argument holds: other users of the machine see those.
    fn secret(&self, surroundings: &Surroundings) -> Result<Option<String>, Failure> {
        let usage = |text: String| Failure::told(Exit::Usage, text);
        Ok(match (&self.secret_file, &self.secret_env) {
            (Some(path), _) => {
                Some(read_secret(path).map_err(|error| {
                    usage(format!("failed to read {}: {error}", path.display()))
                })?)
            }
            (None, Some(name)) => {
                let value = surroundings.environment.get(name);
                let missing = || usage(format!("the environment variable {name} is not set"));
                Some(value.ok_or_else(missing)?.to_owned())
            }
            (None, None) => None,
        })
    }
}

impl TriggersCommand {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let look = surroundings.out;
        match self {
            Self::List(ListArgs { output, server }) => {
                let json: Value = Client::new(&server)?.get(&["triggers"], &[]).await?;
                list(&json, output, look)
            }
            Self::Show(args) => {
                let json = Client::new(&args.server)?.get(&args.path(), &[]).await?;
                show(&json, args.output, look)
            }
            Self::Create(args) => {
                let mut fields = args.rule.fields(surroundings)?;
                fields.extend(run_fields(&args.request)?);
                fields.extend(args.turn.fields());
                let suite = args.suite.as_ref().map(ToString::to_string);
                fields.extend(given([("name", json!(args.name)), ("suite", json!(suite))]));
                if !fields.contains_key("secret") {
                    let text = "say --secret-file or --secret-env: what the sender signs with";
                    return Err(Failure::told(Exit::Usage, text));
                }
                let client = Client::new(&args.server)?;
                let made = client.create(&["triggers"], &Value::Object(fields)).await?;
                show(&made, args.output, look)
            }
            Self::Change(args) => {
                let mut fields = args.rule.fields(surroundings)?;
                fields.extend(run_fields(&args.request)?);
                fields.extend(args.turn.fields());
                let suite = args.suite.as_ref().map(ToString::to_string);
                fields.extend(given([("suite", json!(suite))]));
                fields.extend(args.unset.iter().map(|field| (field.clone(), Value::Null)));
                if fields.is_empty() {
                    return Err(Failure::told(Exit::Usage, "say what to change, such as --branch"));
                }
                let client = Client::new(&args.server)?;
                let path = ["triggers", args.name.as_str()];
                let request = client.request(Method::PATCH, &path).json(&fields);
                show(&answered(client.send(request).await?).await?, args.output, look)
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
        ["triggers", self.name.as_str()]
    }
}

impl HistoryArgs {
    async fn run(self, look: Look) -> Result<Exit, Failure> {
        let client = Client::new(&self.name.server)?;
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.cursor.map(|cursor| ("cursor", cursor)));
        let path = ["triggers", self.name.name.as_str(), "history"];
        let json: Value = client.get(&path, &query).await?;
        let mut out = std::io::stdout().lock();
        if self.name.output == Output::Json {
            writeln!(out, "{json:#}")?;
            return Ok(Exit::Passed);
        }
        let list: List<CallView> = read(json)?;
        for row in list.items {
            let style = match row.outcome.as_str() {
                "started" => Style::Good,
                "failed" => Style::Bad,
                "refused" => Style::Notable,
                _ => Style::Faint,
            };
            let outcome = look.paint(style, &format!("{:<7}", safe_line(&row.outcome)));
            let told = [row.event, row.delivery, row.run.map(|run| run.to_string()), row.reason];
            let told = told.into_iter().flatten().map(|text| format!("  {}", safe_line(&text)));
            writeln!(out, "{}  {outcome}{}", row.at.strftime("%F %T"), told.collect::<String>())?;
        }
        if list.next_cursor.is_some() {
            writeln!(out, "There are more: --limit shows more of them.")?;
        }
        Ok(Exit::Passed)
    }
}

fn text(value: &Value) -> String {
    safe_line(value.as_str().unwrap_or_default()).into_owned()
}

/// What a trigger runs.
fn runs(trigger: &Value) -> String {
    let suite = &trigger["suite"];
    match trigger["mapping"]["suite"].as_str() {
        Some(mapped) => safe_line(mapped).into_owned(),
        None => format!("{}/{}", text(&suite["namespace"]), text(&suite["name"])),
    }
}

fn list(json: &Value, output: Output, look: Look) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{json:#}")?;
        return Ok(Exit::Passed);
    }
    for trigger in json["items"].as_array().into_iter().flatten() {
        let status = text(&trigger["status"]);
        let style = if status == "active" { Style::Good } else { Style::Bad };
        let status = look.paint(style, &format!("{status:<6}"));
        let name = look.paint(Style::Name, &text(&trigger["name"]));
        let (sender, path) = (text(&trigger["sender"]), text(&trigger["path"]));
        writeln!(out, "{status}  {name}  {}  {sender}  {path}", runs(trigger))?;
    }
    Ok(Exit::Passed)
}

fn show(json: &Value, output: Output, look: Look) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{json:#}")?;
        return Ok(Exit::Passed);
    }
    let name = look.paint(Style::Name, &text(&json["name"]));
    writeln!(out, "{name} runs {}", runs(json))?;
    writeln!(out, "calls   POST {} ({})", text(&json["path"]), text(&json["sender"]))?;
    let lists = ["events", "branches", "environments", "states", "actions"];
    for (name, list) in lists.iter().filter_map(|name| Some((name, json[name].as_array()?))) {
        let words: Vec<_> = list.iter().map(text).collect();
        let words = if words.is_empty() { "all".into() } else { words.join(", ") };
        writeln!(out, "{name:<12}  {words}")?;
    }
    let reason = json["reason"].as_str().map(|why| format!(": {}", safe_line(why)));
    let declared = if json["declared"] == true { ", declared by the configuration" } else { "" };
    let status = text(&json["status"]);
    writeln!(out, "status  {status}{}{declared}", reason.unwrap_or_default())?;
    writeln!(out, "runs    {}", json["runs"])?;
    Ok(Exit::Passed)
}
