//! `handoff new`: a suite that builds and runs, or a plugin, to start from.

mod languages;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use self::languages::Language;
use super::Surroundings;
use super::exit::{Exit, Failure};

#[derive(Args)]
pub(super) struct NewArgs {
    /// The suite's name; or `plugin` and a plugin's name
    #[arg(value_parser = package_name)]
    name: String,
    /// After `plugin`: the plugin's name
    #[arg(value_parser = package_name, value_name = "PLUGIN", conflicts_with = "lang")]
    plugin: Option<String>,
    /// The language to write it in
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    lang: Language,
    /// Where to make it. Default: a directory of that name here
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Take the SDK from this directory. Default: this checkout of handoff, if this is one, else where
    /// the language's packages come from
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

impl NewArgs {
    pub(super) fn run(self, _: &Surroundings) -> Result<Exit, Failure> {
        let (lang, what, name) = match (self.name.as_str(), self.plugin) {
            ("plugin", Some(plugin)) => (Language::Plugin, "plugin", plugin),
            ("plugin", None) => {
                let told = "a plugin needs a name: handoff new plugin NAME";
                return Err(Failure::told(Exit::Usage, told));
            }
            (_, None) => (self.lang, "suite", self.name),
            (_, Some(more)) => {
                let told = format!("{more:?} is one name too many: only `plugin` takes another");
                return Err(Failure::told(Exit::Usage, told));
            }
        };
        let dir = self.path.unwrap_or_else(|| PathBuf::from(&name));
        if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            let told = format!("{} is there already and not empty", dir.display());
            return Err(Failure::told(Exit::Usage, told));
        }
        let here = std::env::current_dir()?;
        let sdk = match self.sdk {
            Some(path) => Some(lang.sdk_at(&path)?),
            None => {
                let place = lang.place_in_checkout();
                here.ancestors().find_map(|dir| lang.sdk_at(&dir.join(place)).ok())
            }
        };
        let sdk = lang.dependency(sdk.as_deref());
        for (path, template) in lang.files() {
            write(&dir.join(path), &filled(template, &name, &sdk)).map_err(Failure::platform)?;
        }
        let mut out = std::io::stdout();
        writeln!(out, "made the {what} {name} in {}", dir.display())?;
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

/// A template with `{{name}}` replaced by the suite's name, `{{file}}` by the same as a compiler writes
/// it in the name of a file, and `{{sdk}}` by what names the SDK in this language.
fn filled(template: &str, name: &str, sdk: &str) -> String {
    let file = name.replace('-', "_");
    template.replace("{{name}}", name).replace("{{file}}", &file).replace("{{sdk}}", sdk)
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
        for language in Language::ALL {
            for (path, template) in language.files() {
                let filled = filled(template, "shop", &language.dependency(None));
                assert!(!filled.contains("{{"), "{path}");
            }
        }
    }
}
