//! Suites in Python, built by the SDK's own command with the componentize-py that it pins.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use super::{Place, command, run};

/// The SDK's suites: the file, and the component that it becomes.
const SUITES: [(&str, &str); 2] = [
    ("conformance/suite.py", "python-conformance.wasm"),
    ("example/suite.py", "python-hello.wasm"),
];

/// Runs the SDK's own tests, and builds the suites that changed.
pub(super) fn build(place: &Place) -> Result<()> {
    let python = install(place)?;
    let sdk = |arguments: &[&OsStr]| {
        let mut sdk = command(&python, &place.source);
        // Nothing is written into the sources.
        run(sdk.args(arguments).env("PYTHONPATH", "src").env("PYTHONDONTWRITEBYTECODE", "1"))
    };
    sdk(&["-m", "unittest", "discover", "--quiet", "--start-directory", "tests"].map(OsStr::new))?;
    let changed = latest(&[&place.source, &place.wit, &installed(place)])?;
    for (suite, component) in SUITES {
        let component = place.guests.join(component);
        let built = fs::metadata(&component).and_then(|component| component.modified());
        if built.is_ok_and(|built| built > changed) {
            continue;
        }
        let output = component.as_os_str();
        sdk(&["-m".as_ref(), "handoff.build".as_ref(), suite.as_ref(), "-o".as_ref(), output])?;
    }
    Ok(())
}

/// The Python that has what the SDK needs, in an environment of its own.
fn install(place: &Place) -> Result<PathBuf> {
    let environment = place.work.join("venv");
    let python = environment.join("bin/python");
    let wanted = place.source.join("requirements.txt");
    let wanted =
        fs::read(&wanted).with_context(|| format!("failed to read {}", wanted.display()))?;
    if python.exists() && fs::read(installed(place)).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    run(command("python3", &place.source).args(["-m", "venv", "--clear"]).arg(&environment))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let locked = ["--require-hashes", "--requirement", "requirements.txt"];
    run(command(&python, &place.source).args(pip).args(locked))?;
    fs::write(installed(place), wanted).context("failed to note what is installed")?;
    Ok(python)
}

/// The requirements that the environment was made of, beside it.
fn installed(place: &Place) -> PathBuf {
    place.work.join("installed.txt")
}

/// When the last of these files, or of the files in these directories, changed.
fn latest(paths: &[&Path]) -> Result<SystemTime> {
    let mut latest = SystemTime::UNIX_EPOCH;
    for path in paths {
        let told = || format!("failed to read {}", path.display());
        let metadata = fs::symlink_metadata(path).with_context(told)?;
        latest = latest.max(metadata.modified().with_context(told)?);
        if metadata.is_dir() {
            for entry in fs::read_dir(path).with_context(told)? {
                latest = latest.max(self::latest(&[&entry.with_context(told)?.path()])?);
            }
        }
    }
    Ok(latest)
}
