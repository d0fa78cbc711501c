//! `handoff upload`: gives a component to a server.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::client::{Client, Problem, ServerArgs, broken, failure_of, parse, read_file};
use super::component::ProgramArgs;
use super::course::MayLeave;
use super::exit::{Exit, Failure};
use super::inspect::reach;
use super::sse::Parser;
use super::steps::Steps;
use super::terminal::{Style, safe_line};
use super::{Output, Surroundings};
use crate::http::views::{FixturesView, VersionView};
use crate::model::{Introduction, Name, Protocol, Step, SuiteId};
use crate::wasm::{FixtureSettings, pack};

/// How long the server may say nothing. It tells each second that the upload is under way.
const SILENT_AT_MOST: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(super) struct UploadArgs {
    /// The component, or a test program for WASI
    file: PathBuf,
    /// The namespace, in place of what the component says
    #[arg(long)]
    namespace: Option<Name>,
    #[command(flatten)]
    program: ProgramArgs,
    /// Bring these files along, which the tests find at `/`: a directory, or a tar archive
    #[arg(long, value_name = "PATH")]
    fixtures: Option<PathBuf>,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

impl UploadArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let component = read_file(&self.file)?;
        let fixtures = self.fixtures.as_deref();
        // The server's own bounds are for the server to say.
        let bounds = FixtureSettings::default();
        let fixtures = fixtures.map(|path| pack(path, &bounds)).transpose()?;
        let client = Client::new(&self.server)?;
        let Introduction { name, protocol, .. } = self.program.introduction(&self.file);
        let namespace = self.namespace.iter().map(|namespace| ("namespace", namespace.as_str()));
        let name = name.iter().map(|name| ("name", name.as_str()));
        let protocol = protocol.iter().map(|protocol| ("protocol", protocol.as_str()));
        let (size, shown) = (component.len() as u64, surroundings.err);
        let request = client
            .request(Method::POST, &["suites"])
            .query(&namespace.chain(name).chain(protocol).collect::<Vec<_>>())
            .header("content-type", "application/wasm")
            .body(component);
        let mut steps = Steps::new(MayLeave::new(std::io::stderr()), shown, size, Instant::now());
        let answer = client.send(request.header("accept", "text/event-stream")).await?;
        let ended = follow(answer, &mut steps).await;
        steps.end()?;
        let (new, mut json) = ended?;
        let fixtures = match fixtures {
            Some(archive) => Some(put(&client, &json, archive).await?),
            None => None,
        };
        let mut out = std::io::stdout().lock();
        if self.output == Output::Json {
            if let Some(fixtures) = fixtures {
                json["fixtures"] = fixtures;
            }
            writeln!(out, "{json:#}")?;
            return Ok(Exit::Passed);
        }
        let version: VersionView = super::client::read(json)?;
        let look = surroundings.out;
        let done = if new { "uploaded" } else { "already there:" };
        let suite = look.paint(Style::Name, &SuiteId::from(&version.suite).to_string());
        let tests = version.tests.len();
        let s = if tests == 1 { "" } else { "s" };
        writeln!(out, "{} {suite} with {tests} test{s}", look.paint(Style::Good, done))?;
        if let Some(protocol) = version.protocol {
            writeln!(out, "  a test program, run as {}", Protocol::from(protocol))?;
        }
        writeln!(out, "  version {}, {} bytes", version.suite.version, version.size_bytes)?;
        if let Some(fixtures) = fixtures {
            let FixturesView { files, unpacked_bytes, .. } = super::client::read(fixtures)?;
            writeln!(out, "  with {files} files and directories, {unpacked_bytes} bytes")?;
        }
        for reach in reach(&version.imports) {
            writeln!(out, "  could reach {reach}")?;
        }
        for host in &version.wants_http {
            writeln!(out, "  would like to reach {}", safe_line(host))?;
        }
        Ok(Exit::Passed)
    }
}

/// Gives an uploaded version its files.
async fn put(client: &Client, version: &Value, archive: Bytes) -> Result<Value, Failure> {
    let part = |name: &str| version["suite"][name].as_str().unwrap_or_default();
    let request = client
        .request(Method::PUT, &["suites", part("namespace"), part("name"), "fixtures"])
        .query(&[("version", part("version"))])
        .header("content-type", "application/x-tar")
        .body(archive);
    super::client::json(client.send(request).await?).await
}

/// What a server tells of an upload.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told {
    Step { step: Step },
    Done { new: bool, version: Value },
    Refused { problem: Problem },
}

/// Hears an upload to its end: whether the version is new, and the version.
async fn follow(
    mut answer: Response,
    steps: &mut Steps<impl Write>,
) -> Result<(bool, Value), Failure> {
    let early = || Failure::told(Exit::Server, "the server ended the upload without a word of it");
    let mut parser = Parser::default();
    loop {
        let chunk = timeout(SILENT_AT_MOST, answer.chunk()).await;
        let chunk = chunk.map_err(|_| Failure::told(Exit::Server, "the server fell silent"))?;
        let chunk = chunk.map_err(broken)?.ok_or_else(early)?;
        let events = parser.push(&chunk);
        for event in events.map_err(|error| Failure::told(Exit::Server, error.to_string()))? {
            match parse(event.data.as_bytes())? {
                Told::Step { step } => steps.tell(step, Instant::now())?,
                Told::Done { new, version } => return Ok((new, version)),
                Told::Refused { problem } => {
                    let status = StatusCode::from_u16(problem.status);
                    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    return Err(failure_of(status, problem));
                }
            }
        }
    }
}
