//! `handoff new`: a suite that builds and runs, to start from.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::Surroundings;
use super::exit::{Exit, Failure};

/// The files of a new suite. `{{name}}` is its name, `{{file}}` the same as the compiler writes it in
/// the name of the component, `{{sdk}}` where cargo finds the SDK.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("templates/rust/Cargo.toml")),
    ("src/lib.rs", include_str!("templates/rust/src/lib.rs")),
    ("README.md", include_str!("templates/rust/README.md")),
    (".cargo/config.toml", include_str!("templates/rust/.cargo/config.toml")),
    (".gitignore", include_str!("templates/rust/.gitignore")),
];

#[derive(Args)]
pub(super) struct NewArgs {
    /// The suite's name
    #[arg(value_parser = package_name)]
    name: String,
    /// Where to make it. Default: a directory of that name here
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Take the SDK from this directory. Default: this checkout of handoff, if this is one, else its git
    /// repository
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

impl NewArgs {
    pub(super) fn run(self, _: &Surroundings) -> Result<Exit, Failure> {
        let dir = self.path.unwrap_or_else(|| PathBuf::from(&self.name));
        if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            let told = format!("{} is there already and not empty", dir.display());
            return Err(Failure::told(Exit::Usage, told));
        }
        let here = std::env::current_dir()?;
        let sdk = match self.sdk {
            Some(path) => Some(sdk_at(&path)?),
            None => here.ancestors().find_map(|dir| sdk_at(&dir.join("sdk/rust")).ok()),
        };
        let sdk = dependency(sdk.as_deref());
        for (path, template) in FILES {
            let text = template
                .replace("{{name}}", &self.name)
                .replace("{{file}}", &self.name.replace('-', "_"))
                .replace("{{sdk}}", &sdk);
            write(&dir.join(path), &text).map_err(Failure::platform)?;
        }
        let mut out = std::io::stdout();
        writeln!(out, "made the suite {} in {}", self.name, dir.display())?;
        writeln!(out, "README.md there tells how to build and run it")?;
        Ok(Exit::Passed)
    }
}

/// What cargo takes as the name of a package and handoff as that of a suite.
fn package_name(text: &str) -> Result<String, String> {
    let wrong = || {
        "use lower-case letters, digits, `-` and `_`, at most 64 bytes, starting with a letter"
            .to_owned()
    };
    text.parse::<crate::model::Name>().map_err(|_| wrong())?;
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
    // A package of this name would shadow the language's own.
    let reserved = ["test", "core", "std", "alloc", "proc_macro", "proc-macro"].contains(&text);
    if reserved {
        return Err(format!("a crate cannot be called {text:?}"));
    }
    if starts_well && !text.contains('.') { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// The directory, if it has the SDK.
fn sdk_at(dir: &Path) -> Result<PathBuf, Failure> {
    let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
    let manifest: toml::Table = manifest.parse().unwrap_or_default();
    let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
    if name != Some("handoff-sdk") {
        let told = format!("{} does not have the package handoff-sdk", dir.display());
        return Err(Failure::told(Exit::Usage, told));
    }
    Ok(dir.canonicalize()?)
}

/// Where cargo finds the SDK, as a value in a manifest.
fn dependency(sdk: Option<&Path>) -> String {
    let (key, value) = match sdk {
        Some(path) => ("path", path.to_string_lossy().into_owned()),
        None => ("git", env!("CARGO_PKG_REPOSITORY").to_owned()),
    };
    format!("{{ {key} = {} }}", toml::Value::String(value))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let told = || format!("write {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(told)?;
    }
    std::fs::write(path, text).with_context(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_for_cargo_and_for_handoff() {
        for good in ["hello", "self-check", "a_1"] {
            assert!(package_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "A", "a.b", "a b", "../a", "test", &"x".repeat(65)] {
            assert!(package_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_placeholder_is_left_over() {
        for (path, template) in FILES {
            let filled = ["{{name}}", "{{file}}", "{{sdk}}"]
                .iter()
                .fold(template.to_owned(), |t, p| t.replace(p, ""));
            assert!(!filled.contains("{{"), "{path}");
        }
    }
}
