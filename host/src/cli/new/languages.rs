//! The languages in which `handoff new` makes a suite: their files, and how each names its SDK.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::cli::exit::{Exit, Failure};

/// A file's path in the new suite, and its template.
type Template = (&'static str, &'static str);

const C: &[Template] = &[
    ("Makefile", include_str!("../templates/c/Makefile")),
    ("suite.c", include_str!("../templates/c/suite.c")),
    ("README.md", include_str!("../templates/c/README.md")),
    (".gitignore", include_str!("../templates/c/.gitignore")),
];

const GO: &[Template] = &[
    ("go.mod", include_str!("../templates/go/go.mod")),
    ("main.go", include_str!("../templates/go/main.go")),
    ("README.md", include_str!("../templates/go/README.md")),
    (".gitignore", include_str!("../templates/go/.gitignore")),
];

const JAVASCRIPT: &[Template] = &[
    ("package.json", include_str!("../templates/javascript/package.json")),
    ("tsconfig.json", include_str!("../templates/javascript/tsconfig.json")),
    ("suite.ts", include_str!("../templates/javascript/suite.ts")),
    ("README.md", include_str!("../templates/javascript/README.md")),
    (".gitignore", include_str!("../templates/javascript/.gitignore")),
];

const PYTHON: &[Template] = &[
    ("requirements.txt", include_str!("../templates/python/requirements.txt")),
    ("suite.py", include_str!("../templates/python/suite.py")),
    ("README.md", include_str!("../templates/python/README.md")),
    (".gitignore", include_str!("../templates/python/.gitignore")),
];

const RUST: &[Template] = &[
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml")),
    ("src/lib.rs", include_str!("../templates/rust/src/lib.rs")),
    ("README.md", include_str!("../templates/rust/README.md")),
    (".cargo/config.toml", include_str!("../templates/rust/.cargo/config.toml")),
    (".gitignore", include_str!("../templates/rust/.gitignore")),
];

const PLUGIN: &[Template] = &[
    ("Cargo.toml", include_str!("../templates/plugin/Cargo.toml")),
    ("src/lib.rs", include_str!("../templates/plugin/src/lib.rs")),
    ("README.md", include_str!("../templates/plugin/README.md")),
    (".cargo/config.toml", include_str!("../templates/plugin/.cargo/config.toml")),
    (".gitignore", include_str!("../templates/plugin/.gitignore")),
];

/// A language that has an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// C
    C,
    /// Go, by its standard compiler
    Go,
    /// TypeScript, or JavaScript
    #[value(alias = "typescript", alias = "ts", alias = "js")]
    Javascript,
    /// Python
    Python,
    /// Rust
    Rust,
    /// Rust, and a plugin in place of a suite
    #[value(skip)]
    Plugin,
}

impl Language {
    #[cfg(test)]
    pub(super) const ALL: [Self; 6] =
        [Self::C, Self::Go, Self::Javascript, Self::Python, Self::Rust, Self::Plugin];

    /// The files of a new suite.
    pub(super) fn files(self) -> &'static [Template] {
        match self {
            Self::C => C,
            Self::Go => GO,
            Self::Javascript => JAVASCRIPT,
            Self::Python => PYTHON,
            Self::Rust => RUST,
            Self::Plugin => PLUGIN,
        }
    }

    /// Where a checkout of this repository has the SDK. What npm installs is made by the build.
    pub(super) fn place_in_checkout(self) -> &'static str {
        match self {
            Self::C => "sdk/c",
            Self::Go => "sdk/go",
            Self::Javascript => "target/tools/javascript/sdk",
            Self::Python => "sdk/python",
            Self::Rust => "sdk/rust",
            Self::Plugin => "sdk/rust/plugin",
        }
    }

    /// The file that names the package, and its line that does so.
    fn manifest(self) -> (&'static str, &'static str) {
        match self {
            Self::C => ("include/handoff.h", "#define HANDOFF_H"),
            Self::Go => ("go.mod", "module github.com/handoff-tests/handoff/sdk/go"),
            Self::Javascript => ("package.json", r#""name": "@handoff/sdk","#),
            Self::Python => ("pyproject.toml", r#"name = "handoff-sdk""#),
            Self::Rust => ("Cargo.toml", r#"name = "handoff-sdk""#),
            Self::Plugin => ("Cargo.toml", r#"name = "handoff-plugin""#),
        }
    }

    /// The directory, if it has the SDK.
    pub(super) fn sdk_at(self, dir: &Path) -> Result<PathBuf, Failure> {
        let (file, name) = self.manifest();
        let manifest = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
        if !manifest.lines().any(|line| line.trim() == name) {
            let told = format!("{} is not the SDK: it has no {file} with `{name}`", dir.display());
            return Err(Failure::told(Exit::Usage, told));
        }
        // npm takes a package as it lies there.
        if self == Self::Javascript && !dir.join("dist").is_dir() {
            let told = format!(
                "{} has the SDK's sources: build it first, by `cargo xtask sdks javascript`, and give \
                 target/tools/javascript/sdk",
                dir.display()
            );
            return Err(Failure::told(Exit::Usage, told));
        }
        Ok(dir.canonicalize()?)
    }

    /// What names the SDK in the language's manifest: that directory, or where it is published.
    pub(super) fn dependency(self, sdk: Option<&Path>) -> String {
        let path = sdk.map(|path| path.to_string_lossy().into_owned());
        let repository = env!("CARGO_PKG_REPOSITORY");
        match (self, path) {
            (Self::C, Some(path)) => path,
            // The Makefile clones it.
            (Self::C, None) => "handoff/sdk/c".to_owned(),
            (Self::Go, Some(path)) => {
                format!("replace github.com/handoff-tests/handoff/sdk/go => {path:?}")
            }
            (Self::Go, None) => String::new(),
            (Self::Javascript, Some(path)) => {
                let text = serde_json::Value::String(format!("file:{path}")).to_string();
                text.trim_matches('"').to_owned()
            }
            (Self::Javascript, None) => concat!("^", env!("CARGO_PKG_VERSION")).to_owned(),
            (Self::Python, Some(path)) => format!("handoff-sdk @ file://{path}"),
            (Self::Python, None) => {
                format!("handoff-sdk @ git+{repository}#subdirectory=sdk/python")
            }
            (Self::Rust | Self::Plugin, Some(path)) => {
                format!("{{ path = {} }}", toml::Value::String(path))
            }
            (Self::Rust | Self::Plugin, None) => {
                format!("{{ git = {} }}", toml::Value::String(repository.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_names_its_sdk_in_its_own_way() {
        let at = Path::new("/sdk here");
        let named = |language: Language| (language.dependency(Some(at)), language.dependency(None));
        let (here, _) = named(Language::Go);
        assert_eq!(here, r#"replace github.com/handoff-tests/handoff/sdk/go => "/sdk here""#);
        assert_eq!(named(Language::C), ("/sdk here".to_owned(), "handoff/sdk/c".to_owned()));
        assert_eq!(named(Language::Javascript).0, "file:/sdk here");
        assert_eq!(named(Language::Python).0, "handoff-sdk @ file:///sdk here");
        let (here, published) = named(Language::Rust);
        assert_eq!(here, r#"{ path = "/sdk here" }"#);
        assert!(published.starts_with("{ git = \"https://"), "{published}");
    }

    #[test]
    fn a_directory_without_the_sdk_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            let told = language.sdk_at(dir.path()).unwrap_err().to_string();
            assert!(told.contains("is not the SDK"), "{told}");
        }
        for name in ["c", "go", "python", "rust"] {
            let language = Language::from_str(name, true).unwrap();
            let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk").join(name);
            assert!(language.sdk_at(&sdk).is_ok(), "{name}");
        }
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/javascript");
        let told = Language::Javascript.sdk_at(&sources).unwrap_err().to_string();
        assert!(told.contains("build it first"), "{told}");
    }
}
