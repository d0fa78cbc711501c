//! `handoff inspect`: what a component exports and imports, and what it could reach.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::component::{Cache, ProgramArgs, Reader, open_component};
use super::exit::{Exit, Failure};
use super::terminal::{Look, Style, safe_line};
use super::{Output, Surroundings};
use crate::compile::{Inspection, Kind};
use crate::config::{self, SettingArgs};
use crate::wasm::Described;

#[derive(Args)]
pub(super) struct InspectArgs {
    /// The component, or a test program for WASI
    file: PathBuf,
    /// Ask the component for its tests too; this compiles it and runs its `describe` in the sandbox
    #[arg(long)]
    tests: bool,
    #[command(flatten)]
    program: ProgramArgs,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
}

/// What an import lets a component reach, and what has to be granted for it.
const REACH: [(&str, &str); 8] = [
    ("wasi:http/outgoing-handler", "HTTP, to what is granted with allow_http"),
    ("wasi:sockets/tcp", "TCP, to what is granted with allow_tcp"),
    ("wasi:sockets/udp", "nothing: UDP is always denied"),
    ("wasi:filesystem/", "files in its own scratch directory, /tmp"),
    ("wasi:cli/environment", "the environment variables that are granted with env"),
    ("wasi:config/store", "parameters of the run, and what is granted with config and secrets"),
    ("wasi:clocks/", "the time"),
    ("wasi:random/", "random numbers"),
];

impl InspectArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let config = config::load_named(&SettingArgs::default(), &surroundings.environment)?.config;
        let component = open_component(&self.file, &config.compile)?;
        let cache = Cache::open(&surroundings.environment)?;
        let reader = Reader::new(&config, &cache)?;
        let inspection = reader.inspect(component.clone()).await?;
        let described = match self.tests {
            true => {
                let introduction = self.program.introduction(&self.file);
                Some(reader.describe(component, &inspection, &introduction).await?)
            }
            false => None,
        };
        let metered = reader.meters(&inspection);
        let mut out = std::io::stdout().lock();
        match self.output {
            Output::Json => write_json(&mut out, &inspection, metered, described.as_ref())?,
            Output::Human => {
                write(&mut out, surroundings.out, &inspection, metered)?;
                described.map_or(Ok(()), |d| write_tests(&mut out, surroundings.out, &d))?;
            }
        }
        Ok(Exit::Passed)
    }
}

fn write(
    out: &mut impl Write,
    look: Look,
    inspection: &Inspection,
    metered: bool,
) -> std::io::Result<()> {
    let title = |text: &str| look.paint(Style::Strong, text);
    let kind = match inspection.kind {
        Kind::Suite => "suite",
        Kind::Plugin => "plugin",
        Kind::Program => "test program",
    };
    match &inspection.language {
        Some(language) => writeln!(out, "{} {kind} in {}", title("kind"), safe_line(language))?,
        None => writeln!(out, "{} {kind}", title("kind"))?,
    }
    writeln!(out, "{} {}", title("version"), inspection.digest)?;
    writeln!(out, "{} {} bytes", title("size"), inspection.size_bytes)?;
    if !metered {
        writeln!(out, "{} no, unless the policy sets the limit `fuel`", title("metered"))?;
    }
    for (name, list) in [("exports", &inspection.exports), ("imports", &inspection.imports)] {
        writeln!(out, "{}", title(name))?;
        list.iter().try_for_each(|item| writeln!(out, "  {}", safe_line(item)))?;
    }
    writeln!(out, "{}", title("could reach"))?;
    let mut reaches = reach(&inspection.imports).peekable();
    if reaches.peek().is_none() {
        writeln!(out, "  nothing")?;
    }
    reaches.try_for_each(|reach| writeln!(out, "  {reach}"))
}

/// What a component with these imports could reach.
pub(super) fn reach(imports: &[String]) -> impl Iterator<Item = &'static str> {
    REACH
        .iter()
        .filter(|(prefix, _)| imports.iter().any(|import| import.starts_with(prefix)))
        .map(|(_, reach)| *reach)
}

fn write_tests(out: &mut impl Write, look: Look, described: &Described) -> std::io::Result<()> {
    let description = &described.description;
    if let Some(protocol) = described.program {
        writeln!(out, "{} {protocol}", look.paint(Style::Strong, "protocol"))?;
    }
    if !description.wants_http.is_empty() {
        writeln!(out, "{}", look.paint(Style::Strong, "wants to reach"))?;
    }
    for host in &description.wants_http {
        writeln!(out, "  {}", safe_line(host))?;
    }
    writeln!(out, "{} of {}", look.paint(Style::Strong, "tests"), described.name)?;
    description.tests.iter().try_for_each(|test| writeln!(out, "  {}", safe_line(&test.name)))
}

fn write_json(
    out: &mut impl Write,
    inspection: &Inspection,
    metered: bool,
    described: Option<&Described>,
) -> std::io::Result<()> {
    let mut json = json!(inspection);
    json["metered"] = metered.into();
    json["could_reach"] = reach(&inspection.imports).collect();
    if let Some(described) = described {
        json["protocol"] = json!(described.program);
        json["suite"] = json!({ "namespace": described.namespace, "name": described.name });
        json["description"] = json!(described.description);
    }
    writeln!(out, "{json:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_component_could_reach_follows_from_its_imports() {
        let inspection = Inspection {
            kind: Kind::Suite,
            language: Some("Ru\x1bst".into()),
            exports: vec!["handoff:suite/tests@0.1.0".into()],
            imports: vec!["wasi:http/outgoing-handler@0.2.6".into(), "evil\x1b[2J".into()],
            size_bytes: 3,
            digest: crate::model::Digest::of(b""),
        };
        let mut out = Vec::new();
        write(&mut out, Look::PLAIN, &inspection, false).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
