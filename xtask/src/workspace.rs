//! What `cargo metadata` tells of this workspace, and how cargo is called in it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// This workspace.
pub(crate) struct Workspace {
    /// Its root directory.
    pub(crate) root: PathBuf,
    /// Where cargo builds, `CARGO_TARGET_DIR` included.
    pub(crate) target: PathBuf,
    /// Its suites and plugins, by name.
    pub(crate) guests: Vec<Guest>,
}

/// A package that becomes a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Guest {
    /// What it is called in `target/guests`: the package's name without its first part.
    pub(crate) name: String,
    /// The package, for example `example-hello`.
    pub(crate) package: String,
    /// The file that cargo makes of it, without its directory.
    pub(crate) file: String,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> Result<Self> {
        // `cargo xtask` may be called from anywhere below the workspace, and the workspace is where
        // this package is.
        let here = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let output = Command::new(cargo_path())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(here)
            .stderr(Stdio::inherit())
            .output()
            .context("failed to run `cargo metadata`")?;
        ensure!(output.status.success(), "`cargo metadata` failed");
        let metadata = serde_json::from_slice(&output.stdout)
            .context("failed to read the answer of `cargo metadata`")?;
        Self::from_metadata(&metadata)
    }

    fn from_metadata(metadata: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let directory = |key: &str| {
            let path = text(&metadata[key]).map(PathBuf::from);
            path.with_context(|| format!("`cargo metadata` names no {key}"))
        };
        let mut guests: Vec<Guest> = Vec::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            guests.extend(guest(package));
        }
        guests.sort();
        if let Some(pair) = guests.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let [one, other] = [&pair[0], &pair[1]].map(|guest| guest.package.as_str());
            bail!("{one} and {other} would both become {}.wasm: rename one of them", pair[0].name);
        }
        Ok(Self {
            root: directory("workspace_root")?,
            target: directory("target_directory")?,
            guests,
        })
    }

    /// A call of cargo in the workspace's root, as if it had been called from a shell.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(cargo_path());
        command.current_dir(&self.root).args(args);
        // What `cargo run` tells us of this package. The build script of ring asks for it, and cargo
        // would build ring and all that stands on it anew, each time by turns.
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| tells_of_package(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
    }

    /// `--exclude` for every guest: they are built for another target.
    pub(crate) fn without_guests(&self) -> impl Iterator<Item = &str> {
        self.guests.iter().flat_map(|guest| ["--exclude", guest.package.as_str()])
    }

    /// Where the component of that name is, once built.
    pub(crate) fn component(&self, name: &str) -> PathBuf {
        self.target.join("guests").join(name).with_extension("wasm")
    }
}

/// The guest that a package of `cargo metadata` is; none if it is something else.
fn guest(package: &Value) -> Option<Guest> {
    let name = package["name"].as_str()?;
    let families = ["example-", "guest-", "plugin-"];
    let short = families.iter().find_map(|family| name.strip_prefix(family))?;
    let is = |target: &Value, kind: &str| {
        target["crate_types"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == kind))
    };
    let target = package["targets"].as_array()?.iter().find(|t| is(t, "cdylib") || is(t, "bin"))?;
    // A library's file has underscores, a program's has the name as it is.
    let file = match target["name"].as_str()? {
        file if is(target, "cdylib") => file.replace('-', "_"),
        file => file.to_owned(),
    };
    Some(Guest { name: short.into(), package: name.into(), file: format!("{file}.wasm") })
}

/// Whether cargo sets a variable of that name for the package that it builds or runs.
fn tells_of_package(variable: &str) -> bool {
    let families = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    families.iter().any(|family| variable.starts_with(family)) || variable == "OUT_DIR"
}

/// The cargo that runs us, or the one on the path.
fn cargo_path() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(packages: &[(&str, &str, &str)]) -> Value {
        let package = |(name, target, kind): &(&str, &str, &str)| json!({"name": name, "targets": [{"name": target, "crate_types": [kind]}]});
        let packages: Vec<_> = packages.iter().map(package).collect();
        json!({"workspace_root": "/w", "target_directory": "/w/target", "packages": packages})
    }

    #[test]
    fn guests_are_found_by_the_first_part_of_their_package_name() {
        let found = Workspace::from_metadata(&metadata(&[
            ("handoff", "handoff", "bin"),
            ("guest-loop", "guest-loop", "cdylib"),
            ("example-self-check", "example_self_check", "cdylib"),
            ("plugin-hook", "plugin-hook", "bin"),
        ]))
        .unwrap();
        let names: Vec<_> =
            found.guests.iter().map(|g| (g.name.as_str(), g.file.as_str())).collect();
        assert_eq!(
            names,
            [
                ("hook", "plugin-hook.wasm"),
                ("loop", "guest_loop.wasm"),
                ("self-check", "example_self_check.wasm"),
            ]
        );
        assert!(found.component("loop").ends_with("target/guests/loop.wasm"));
    }

    #[test]
    fn cargo_is_not_told_of_this_package() {
        // Set for whoever runs the tests of a package.
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let workspace = Workspace::from_metadata(&metadata(&[])).unwrap();
        let cargo = workspace.cargo(&["build"]);
        let removed = |name| cargo.get_envs().any(|(it, value)| it == name && value.is_none());
        assert!(removed("CARGO_PKG_NAME") && removed("CARGO_MANIFEST_DIR"));
        assert!(!removed("CARGO_TARGET_DIR") && !removed("CARGO_HOME") && !removed("PATH"));
    }

    #[test]
    fn two_guests_of_one_name_are_refused() {
        let twice = metadata(&[("guest-a", "guest_a", "cdylib"), ("example-a", "a", "cdylib")]);
        let error = Workspace::from_metadata(&twice).err().unwrap().to_string();
        assert!(error.contains("guest-a") && error.contains("example-a"), "{error}");
    }
}
