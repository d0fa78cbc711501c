//! The Helm chart: linted, rendered with every set of values, held against Kubernetes' schemas, and its
//! containers' commands run against a real server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::documents::Example;
use super::tools::{Tools, has_extension, output_of};
use crate::children::Stop;
use crate::workspace::Workspace;
use crate::{demo, http};

const CHART: &str = "deploy/helm/handoff";
/// The oldest version of Kubernetes that the chart allows, and the newest whose schemas are there.
const KUBERNETES: [&str; 2] = ["1.25", "1.37"];
/// What has no schema there: custom resources.
const WITHOUT_SCHEMA: &str = "ServiceMonitor";
/// Values that must be refused: what to set, and a word of the refusal.
const REFUSED: [(&str, &str); 7] = [
    ("server.replicas=2", "replicas"),
    ("server.service.port=0", "port"),
    ("tests.suites={UPPER CASE}", "suites"),
    ("tests.hooks=never", "hooks"),
    ("tests.server=shop", "server"),
    ("image.pullPolicy=Sometimes", "pullPolicy"),
    ("server.enabled=false,tests.suites={a}", "there is no server"),
];

/// The chart with the tools for it.
pub(super) struct Chart<'a> {
    tools: &'a Tools,
    workspace: &'a Workspace,
    /// The sets of values: the chart's own, those in `ci/`, and those of the documentation.
    values: Vec<PathBuf>,
}

impl<'a> Chart<'a> {
    pub(super) fn new(
        tools: &'a Tools,
        workspace: &'a Workspace,
        examples: &[Example],
    ) -> Result<Self> {
        let chart = workspace.root.join(CHART);
        let mut values = vec![chart.join("values.yaml")];
        for entry in fs::read_dir(chart.join("ci")).context("failed to read the chart's ci/")? {
            values.push(entry?.path());
        }
        for (number, example) in examples.iter().filter(|e| e.name == "values.yaml").enumerate() {
            values.push(tools.file("values", &format!("example-{number}.yaml"), &example.text)?);
        }
        ensure!(
            values.iter().all(|path| has_extension(path, "yaml")),
            "a set of values is no YAML"
        );
        Ok(Self { tools, workspace, values })
    }

    /// Whether the chart is of the program's version.
    pub(super) fn check_version(&self) -> Result<()> {
        let read = |path: &str| {
            let path = self.workspace.root.join(path);
            fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
        };
        let manifest = read("Cargo.toml")?;
        let version = manifest.lines().find_map(|line| line.strip_prefix("version = "));
        let wanted = format!("appVersion: {}", version.context("the workspace has no version")?);
        let chart = read("deploy/helm/handoff/Chart.yaml")?;
        ensure!(chart.lines().any(|line| line == wanted), "Chart.yaml does not say {wanted}");
        Ok(())
    }

    /// Lints and renders it with each set of values, and holds the result against Kubernetes' schemas.
    pub(super) fn check(&self) -> Result<()> {
        let mut rendered = Vec::new();
        for values in &self.values {
            self.helm(&["lint", "--strict", CHART, "--values"], Some(values))?;
            for version in KUBERNETES {
                let text = self.render(values, version, &[])?;
                let name = format!("{version}/{}", name_of(values));
                rendered.push((version, self.tools.file("rendered", &name, &text)?));
            }
        }
        for version in KUBERNETES {
            let files = rendered.iter().filter(|(of, _)| *of == version).map(|(_, file)| file);
            let mut validate = self.python("kubernetes-validate")?;
            validate.args(["--strict", "-k", version]).args(files);
            let told = output_of(&mut validate, "")?;
            ensure!(told.lines().all(|line| !line.contains("ERROR")), "{told}");
        }
        let mut schema = self.python("check-jsonschema")?;
        schema.args(["--check-metaschema", &format!("{CHART}/values.schema.json")]);
        output_of(&mut schema, "").map(drop)
    }

    /// Whether what makes no sense is refused, and says what.
    pub(super) fn check_refusals(&self) -> Result<()> {
        for (set, word) in REFUSED {
            let rendered = self.render(&self.values[0], KUBERNETES[1], &["--set", set]);
            let Err(error) = rendered else { bail!("the chart takes {set}") };
            ensure!(
                format!("{error:#}").contains(word),
                "{set} is refused by another word: {error:#}"
            );
        }
        Ok(())
    }

    /// Runs what the chart's containers run, against a real server.
    pub(super) fn check_commands(&self, stop: &Stop) -> Result<()> {
        let data = self.tools.work.join("data");
        // What an earlier run left would count.
        if data.exists() {
            fs::remove_dir_all(&data).context("failed to remove old data")?;
        }
        let server = Rendered(self.read(&self.values[0], &[])?);
        let container = server.container("StatefulSet", "/spec/template/spec/containers/0")?;
        let config = server.object("ConfigMap")?["data"]["handoff.toml"].clone();
        let config = config.as_str().context("the ConfigMap has no handoff.toml")?;
        let config = self.tools.file("config", "handoff.toml", config)?;
        let mut arguments = texts(&container["args"]);
        // The same places on this machine.
        for (option, there, here) in [
            ("--config", "/etc/handoff/handoff.toml", path(&config)),
            ("--listen", "0.0.0.0:1337", "127.0.0.1:0".to_owned()),
            ("--data-dir", "/data", path(&data)),
        ] {
            let argument = arguments.iter_mut().find(|a| **a == format!("{option}={there}"));
            *argument.with_context(|| format!("the server is not told {option}"))? =
                format!("{option}={here}");
        }
        let (_server, address) = demo::start_with(&self.program(), &arguments, &data)?;
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let path = container[probe]["httpGet"]["path"].as_str();
            http::check(address, path.with_context(|| format!("{probe} has no path"))?)?;
        }
        let url = format!("http://{address}");
        for suite in ["noop", "hello"] {
            demo::upload(&self.program(), &url, &self.workspace.component(suite), stop)?;
        }
        self.check_hook(&url, "{noop}", 0, "1 passed")?;
        self.check_hook(&url, "{noop,hello}", 100, "arithmetic still works")?;
        let runs = http::request(address, "GET", "/api/v1/runs?suite=default%2Fhello", None)?;
        let run = &runs["items"][0];
        let marks = json!([run["reference"], run["initiated_by"]]);
        ensure!(marks == json!(["shop-1", "helm test shop"]), "the run is marked as {marks}");
        Ok(())
    }

    /// Runs the pod of `helm test`: first what waits for the server, then the suites.
    fn check_hook(&self, url: &str, suites: &str, code: i32, word: &str) -> Result<()> {
        let set = format!("server.enabled=false,tests.server={url},tests.suites={suites}");
        let rendered = Rendered(self.read(&self.values[0], &["--set", &set])?);
        let hook = &rendered.object("Pod")?["metadata"]["annotations"];
        ensure!(hook["helm.sh/hook"] == "test", "the pod is no test: {hook}");
        let waits = rendered.container("Pod", "/spec/initContainers/0")?;
        let tests = rendered.container("Pod", "/spec/containers/0")?;
        let mut wait = Command::new(self.program());
        output_of(wait.args(texts(&waits["args"])), "")?;
        let mut test = Command::new(self.program());
        test.args(texts(&tests["args"])).env_clear();
        for variable in tests["env"].as_array().context("the pod has no variables")? {
            let text = |key: &str| variable[key].as_str().context("a variable is no text");
            test.env(text("name")?, text("value")?);
        }
        let ended = test.output().context("failed to run what the pod runs")?;
        let log = String::from_utf8_lossy(&ended.stdout);
        ensure!(ended.status.code() == Some(code), "{suites} ended with {}:\n{log}", ended.status);
        ensure!(log.contains(word), "the log of the pod has no result:\n{log}");
        Ok(())
    }

    fn read(&self, values: &Path, more: &[&str]) -> Result<Vec<Value>> {
        self.tools.read_yaml(&self.render(values, KUBERNETES[1], more)?)
    }

    fn render(&self, values: &Path, version: &str, more: &[&str]) -> Result<String> {
        let release = ["template", "shop", CHART, "--namespace", "prod", "--kube-version", version];
        self.helm(&[&release, more, &["--values"]].concat(), Some(values))
    }

    fn helm(&self, arguments: &[&str], last: Option<&Path>) -> Result<String> {
        let mut helm = self.tools.of_go("helm").context("there is no helm")?;
        helm.args(arguments).args(last);
        // Of what whoever runs this has set up for Helm, nothing is read.
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            helm.env(variable, self.tools.work.join("helm"));
        }
        output_of(helm.env_remove("KUBECONFIG"), "")
    }

    fn python(&self, tool: &str) -> Result<Command> {
        self.tools.python(tool).with_context(|| format!("there is no {tool}"))
    }

    fn program(&self) -> PathBuf {
        self.workspace.target.join("debug").join("handoff")
    }
}

/// What has no schema to be held against.
pub(super) fn unchecked() -> &'static str {
    WITHOUT_SCHEMA
}

/// Kubernetes' objects.
struct Rendered(Vec<Value>);

impl Rendered {
    fn object(&self, kind: &str) -> Result<&Value> {
        let object = self.0.iter().find(|object| object["kind"] == kind);
        object.with_context(|| format!("the chart made no {kind}"))
    }

    fn container(&self, kind: &str, pointer: &str) -> Result<&Value> {
        let container = self.object(kind)?.pointer(pointer);
        container.with_context(|| format!("the {kind} has nothing at {pointer}"))
    }
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
