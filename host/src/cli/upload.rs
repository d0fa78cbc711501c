//! `handoff upload`: gives a component to a server.

use std::io::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, ServerArgs, read_file};
use super::component::ProgramArgs;
use super::exit::{Exit, Failure};
use super::inspect::reach;
use super::terminal::{Style, safe_line};
use super::{Output, Surroundings};
use crate::http::views::{FixturesView, VersionView};
use crate::model::{Introduction, Name, Protocol, SuiteId};
use crate::wasm::{FixtureSettings, pack};

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
        let request = client
            .request(Method::POST, &["suites"])
            .query(&namespace.chain(name).chain(protocol).collect::<Vec<_>>())
            .header("content-type", "application/wasm")
            .body(component);
        let answer = client.send(request).await?;
        let new = answer.status() == reqwest::StatusCode::CREATED;
        let mut json: Value = super::client::json(answer).await?;
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
        writeln!(out, "{} {suite} with {tests} tests", look.paint(Style::Good, done))?;
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
