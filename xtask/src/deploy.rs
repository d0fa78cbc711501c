//! `cargo xtask deploy`: looks at everything that is deployed with, and does what can be done of it
//! without an engine for containers or a cluster.
//!
//! Each check needs tools; where they are not here and cannot be installed, it says that it was not made.

mod chart;
mod documents;
mod tools;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use self::chart::Chart;
use self::tools::{Tools, output_of};
use crate::children::{self, Stop};
use crate::guests;
use crate::workspace::Workspace;

/// Scripts of the shell.
const SCRIPTS: [&str; 4] =
    [".ci/run", "deploy/github/build.sh", "deploy/github/find.sh", "deploy/github/run.sh"];
/// Files and the schemas that they keep to.
const SCHEMAS: [(&str, &str); 2] =
    [("action.yml", "vendor.github-actions"), ("compose.yaml", "vendor.compose-spec")];

/// Makes all checks, and fails if one of them does.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let stop = Stop::listen()?;
    let tools = Tools::install(workspace)?;
    let examples = documents::examples(workspace)?;
    let chart = Chart::new(&tools, workspace, &examples)?;
    let (python, helm) = (tools.python("python").is_some(), tools.of_go("helm").is_some());
    let actionlint = tools.of_go("actionlint").is_some();
    let mut checks = Checks { failed: 0 };
    checks.make("the scripts", &[(python, "shellcheck")], || lint(&tools, "shellcheck", &SCRIPTS));
    checks.make("the Dockerfile", &[(python, "hadolint")], || {
        lint(&tools, "hadolint", &["Dockerfile"])
    });
    let schema = &[(python, "check-jsonschema")];
    checks.make("action.yml and compose.yaml by their schemas", schema, || {
        SCHEMAS.iter().try_for_each(|(file, schema)| {
            lint(&tools, "check-jsonschema", &["--builtin-schema", schema, file])
        })
    });
    checks.make("the examples by their schemas", schema, || {
        documents::check_schemas(&tools, &examples)
    });
    checks.make("the examples by actionlint", &[(actionlint, "actionlint")], || {
        documents::lint_workflows(&tools, workspace, &examples)
    });
    checks.make("the chart's version", &[], || chart.check_version());
    let both = &[(helm, "helm"), (python, "kubernetes-validate")];
    checks.make("the chart by helm and Kubernetes' schemas", both, || chart.check());
    println!("NOT CHECKED: {}, whose schema is not Kubernetes' own", chart::unchecked());
    checks.make("what the chart refuses", &[(helm, "helm")], || chart.check_refusals());
    checks.make("the commands of the chart's pods", both, || {
        build(workspace, &stop)?;
        chart.check_commands(&stop)
    });
    println!("NOT CHECKED: image and chart in an engine or a cluster of their own");
    if checks.failed > 0 {
        bail!("{} checks failed", checks.failed);
    }
    Ok(ExitCode::SUCCESS)
}

struct Checks {
    failed: u32,
}

impl Checks {
    /// Makes a check if its tools are there.
    fn make(&mut self, what: &str, needs: &[(bool, &str)], check: impl FnOnce() -> Result<()>) {
        let missing: Vec<_> =
            needs.iter().filter(|(is_there, _)| !is_there).map(|(_, tool)| *tool).collect();
        if !missing.is_empty() {
            println!("NOT CHECKED: {what} (no {})", missing.join(", no "));
            return;
        }
        match check() {
            Ok(()) => println!("checked: {what}"),
            Err(error) => {
                self.failed += 1;
                println!("FAILED: {what}: {error:#}");
            }
        }
    }
}

fn lint(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<()> {
    let mut lint = tools.python(tool).with_context(|| format!("there is no {tool}"))?;
    output_of(lint.args(arguments), "").map(drop)
}

/// The program and the suites that the pods' commands need, as the tests build them.
fn build(workspace: &Workspace, stop: &Stop) -> Result<()> {
    guests::build(workspace)?;
    let mut build = workspace.cargo(&["build", "--workspace", "--lib", "--bins", "--tests"]);
    children::check(build.args(workspace.without_guests()), stop, "the build")
}
