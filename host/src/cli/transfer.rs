//! `handoff export` and `handoff import`: moves or backs up a server.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use reqwest::{Body, Method};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use super::Output;
use super::client::{Client, ServerArgs, broken, json as answered, read};
use super::exit::{Exit, Failure};
use crate::http::views::ImportView;

#[derive(Args)]
pub(super) struct ExportArgs {
    /// Where to; `-` is standard output. A file has its name when it is complete
    #[arg(value_name = "FILE", default_value = "-")]
    to: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct ImportArgs {
    /// Where from, as `handoff export` wrote it; `-` is standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

impl ExportArgs {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        if self.to == Path::new("-") {
            copy(&client, tokio::io::stdout()).await?;
            return Ok(Exit::Passed);
        }
        let mut part = self.to.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let told = || format!("write {}", part.display());
        let file = tokio::fs::File::create(&part).await.with_context(told);
        let copied = copy(&client, file.map_err(Failure::platform)?).await;
        if let Err(failure) = copied {
            // Whoever finds it there must not take it for whole.
            _ = tokio::fs::remove_file(&part).await;
            return Err(failure);
        }
        let renamed = tokio::fs::rename(&part, &self.to).await.with_context(told);
        renamed.map_err(Failure::platform)?;
        Ok(Exit::Passed)
    }
}

/// Copies an export as it comes.
async fn copy(client: &Client, mut out: impl AsyncWrite + Unpin) -> Result<(), Failure> {
    let mut answer = client.send(client.request(Method::GET, &["export"])).await?;
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        out.write_all(&chunk).await?;
    }
    Ok(out.flush().await?)
}

impl ImportArgs {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let from: Box<dyn AsyncRead + Send + Sync + Unpin> = match self.from.as_path() {
            path if path == Path::new("-") => Box::new(tokio::io::stdin()),
            path => {
                let file = tokio::fs::File::open(path).await;
                let told = || format!("read {}", path.display());
                Box::new(file.with_context(told).map_err(Failure::platform)?)
            }
        };
        let body = Body::wrap_stream(ReaderStream::new(from));
        let request = client.request(Method::POST, &["import"]).body(body);
        let json: Value = answered(client.send_long(request).await?).await?;
        let mut out = std::io::stdout().lock();
        if self.output == Output::Json {
            writeln!(out, "{json:#}")?;
            return Ok(Exit::Passed);
        }
        let view: ImportView = read(json)?;
        let ImportView { runs, versions, schedules, triggers, plugins, .. } = view;
        let of = |count: u64, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        let (runs, there) = (of(runs, "run"), of(view.runs_there, "run"));
        let (schedules, triggers) = (of(schedules, "schedule"), of(triggers, "trigger"));
        let (versions, plugins) = (of(versions, "version"), of(plugins, "plugin"));
        writeln!(out, "imported {runs}, {versions}, {schedules}, {triggers} and {plugins}")?;
        if view.runs_there > 0 {
            writeln!(out, "already here, and left as they were: {there}")?;
        }
        for (of, names) in view.missing_secrets {
            writeln!(out, "to be set again, as no export has secrets: {of}: {}", names.join(", "))?;
        }
        Ok(Exit::Passed)
    }
}
