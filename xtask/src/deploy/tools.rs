//! The tools that look at what is deployed, at pinned versions, in `target/tools`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::sdks::{command, is_there, run};
use crate::workspace::Workspace;

/// Programs that Go builds: name, package, version.
const OF_GO: [(&str, &str, &str); 2] = [
    ("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12"),
    ("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0"),
];

/// Reads YAML and writes its documents as a JSON list.
const TO_JSON: &str = "import json, sys, yaml; \
    print(json.dumps([d for d in yaml.safe_load_all(sys.stdin) if d], default=str))";

/// Where the tools are.
pub(super) struct Tools {
    /// The workspace, in which they run.
    root: PathBuf,
    /// A directory for what they leave.
    pub(super) work: PathBuf,
    /// What Python's registry has; none if Python is not here, or cannot install it.
    python: Option<PathBuf>,
}

impl Tools {
    /// Installs what Python's registry has: most of them.
    pub(super) fn install(workspace: &Workspace) -> Result<Self> {
        let work = workspace.target.join("tools").join("deploy");
        fs::create_dir_all(&work).with_context(|| format!("failed to make {}", work.display()))?;
        let mut tools = Self { root: workspace.root.clone(), work, python: None };
        match tools.install_python() {
            Ok(environment) => tools.python = Some(environment),
            Err(error) => eprintln!("the tools of Python cannot be installed: {error:#}"),
        }
        Ok(tools)
    }

    fn install_python(&self) -> Result<PathBuf> {
        ensure!(is_there("python3"), "there is no python3");
        let environment = self.work.join("venv");
        let (wanted, noted) =
            (self.root.join("deploy/requirements.txt"), self.work.join("installed.txt"));
        let wanted_text = fs::read(&wanted).context("failed to read the requirements")?;
        if fs::read(&noted).is_ok_and(|there| there == wanted_text) {
            return Ok(environment);
        }
        run(command("python3", &self.root).args(["-m", "venv", "--clear"]).arg(&environment))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let locked = ["--require-hashes", "--requirement"];
        let python = environment.join("bin/python");
        run(command(python, &self.root).args(pip).args(locked).arg(&wanted))?;
        fs::write(&noted, wanted_text).context("failed to note what is installed")?;
        Ok(environment)
    }

    /// A tool of Python's; an error, of which it is told, if there is none.
    pub(super) fn python(&self, tool: &str) -> Option<Command> {
        let environment = self.python.as_ref()?;
        Some(command(environment.join("bin").join(tool), &self.root))
    }

    /// A tool that Go builds. Built once, which takes some minutes.
    pub(super) fn of_go(&self, tool: &str) -> Option<Command> {
        match self.install_of_go(tool) {
            Ok(path) => Some(command(path, &self.root)),
            Err(error) => {
                eprintln!("{tool} cannot be installed: {error:#}");
                None
            }
        }
    }

    fn install_of_go(&self, tool: &str) -> Result<PathBuf> {
        let known = OF_GO.iter().find(|(name, ..)| *name == tool);
        let (name, package, version) = known.context("there is no such tool")?;
        let directory = self.work.join(format!("{name}-{version}"));
        let path = directory.join(name);
        if path.exists() {
            return Ok(path);
        }
        ensure!(is_there("go"), "there is no go to build it with");
        eprintln!("building {name} {version}");
        // Cargo's own flags for what it builds are none of Go's business.
        let mut go = command("go", &self.work);
        go.arg("install").arg(format!("{package}@{version}")).env("GOBIN", &directory);
        run(go.env("GOFLAGS", "-trimpath"))?;
        Ok(path)
    }

    /// The documents of a YAML text.
    pub(super) fn read_yaml(&self, text: &str) -> Result<Vec<Value>> {
        let Some(mut python) = self.python("python") else { bail!("there is no Python") };
        let json = output_of(python.args(["-c", TO_JSON]), text)?;
        serde_json::from_str(&json).context("failed to read what Python made of YAML")
    }

    /// A file in a directory of our own with that content.
    pub(super) fn file(&self, directory: &str, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.work.join(directory).join(name);
        let parent = path.parent().context("a file is in a directory")?;
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }
}

/// What a command writes to standard output; an error unless it succeeds.
pub(super) fn output_of(command: &mut Command, input: &str) -> Result<String> {
    use std::io::Write as _;
    use std::process::Stdio;

    let told = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to run {told}"))?;
    let mut stdin = child.stdin.take().context("no input to write")?;
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("failed to run {told}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{told} ended with {}:\n{out}{err}", output.status);
    written.with_context(|| format!("failed to write to {told}"))?;
    Ok(out)
}

/// Whether a path ends in this.
pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension() == Some(OsStr::new(extension))
}
