//! `handoff upload`: gives a component to a server.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, ServerArgs, read_file};
use super::component::ProgramArgs;
use super::exit::{Exit, Failure};
use super::inspect::reach;
use super::terminal::{Style, safe_line};
use super::{Output, Surroundings};
use crate::http::views::VersionView;
use crate::model::{Introduction, Name, Protocol, SuiteId};

#[derive(Args)]
pub(super) struct UploadArgs {
    /// The component, or a test program for WASI
    file: PathBuf,
    /// The namespace, in place of what the component says
    #[arg(long)]
    namespace: Option<Name>,
    #[command(flatten)]
    program: ProgramArgs,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

impl UploadArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let component = read_file(&self.file)?;
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
        let json: Value = super::client::json(answer).await?;
        let mut out = std::io::stdout().lock();
        if self.output == Output::Json {
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
        for reach in reach(&version.imports) {
            writeln!(out, "  could reach {reach}")?;
        }
        for host in &version.wants_http {
            writeln!(out, "  would like to reach {}", safe_line(host))?;
        }
        Ok(Exit::Passed)
    }
}
