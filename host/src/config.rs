//! The server's configuration, and the only reader of environment, flags and file.
//!
//! A setting is declared once, as a field of a plain struct beside the module it belongs to. Its flag
//! (`--sandbox-limits-memory-bytes`), its environment variable
//! (`HANDOFF_SANDBOX_LIMITS_MEMORY_BYTES`) and its key in `handoff.toml`
//! (`sandbox.limits.memory_bytes`) follow from the field's place. Flags go before the environment, that
//! before the file, that before the default.

mod args;
mod setting;
mod show;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::compile::CompileSettings;
use crate::http::HttpSettings;
use crate::http::views::{DeclaredMark, ScheduleBody, TriggerBody, TriggerRule};
use crate::model::{Filters, Name, Policy, Protocol};
use crate::plugins::PluginSettings;
use crate::retention::RetentionSettings;
use crate::runner::RunnerSettings;
use crate::scheduler::SchedulerSettings;
use crate::storage::StorageSettings;
use crate::telemetry::LogSettings;
use crate::triggers::TriggerSettings;
use crate::wasm::SandboxSettings;
use crate::web::WebSettings;

pub use args::SettingArgs;
pub use setting::{Setting, settings};
pub use show::show;
pub use validate::Invalid;

/// The file that is read when none is named, if there is one.
const DEFAULT_FILE: &str = "handoff.toml";

/// Everything an operator can set. Tests write the struct.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the server listens. Default: `127.0.0.1:1337`. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Where the server keeps its data. Default: `.handoff`.
    pub data_dir: PathBuf,
    /// What the server logs and how.
    pub log: LogSettings,
    /// The store.
    pub storage: StorageSettings,
    /// Compiling uploads.
    pub compile: CompileSettings,
    /// Running guests.
    pub sandbox: SandboxSettings,
    /// Runs.
    pub runner: RunnerSettings,
    /// Schedules.
    pub scheduler: SchedulerSettings,
    /// Calls to triggers.
    pub webhooks: TriggerSettings,
    /// How long runs are kept.
    pub retention: RetentionSettings,
    /// Plugins.
    pub plugin: PluginSettings,
    /// The HTTP interface.
    pub http: HttpSettings,
    /// The web page.
    pub web: WebSettings,
    /// Suites that are loaded at start. Only the file has them.
    #[serde(skip_serializing)]
    pub suites: Vec<DeclaredSuite>,
    /// Plugins that are installed at start. Only the file has them.
    #[serde(skip_serializing)]
    pub plugins: Vec<DeclaredPlugin>,
    /// Schedules that the file declares. They are changed there alone. Only the file has them.
    #[serde(skip_serializing)]
    pub schedules: Vec<ScheduleBody>,
    /// Triggers that the file declares. They are changed there alone. Only the file has them.
    #[serde(skip_serializing)]
    pub triggers: Vec<TriggerBody>,
    /// Tests that the file mutes, disables or expects to fail. That is changed there alone. Only the file
    /// has them.
    #[serde(skip_serializing)]
    pub marks: Vec<DeclaredMark>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 1337).into(),
            data_dir: ".handoff".into(),
            log: LogSettings::default(),
            storage: StorageSettings::default(),
            compile: CompileSettings::default(),
            sandbox: SandboxSettings::default(),
            runner: RunnerSettings::default(),
            scheduler: SchedulerSettings::default(),
            webhooks: TriggerSettings::default(),
            retention: RetentionSettings::default(),
            plugin: PluginSettings::default(),
            http: HttpSettings::default(),
            web: WebSettings::default(),
            suites: Vec::new(),
            plugins: Vec::new(),
            schedules: Vec::new(),
            triggers: Vec::new(),
            marks: Vec::new(),
        }
    }
}

/// A suite that the server loads at start, with what it is granted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredSuite {
    /// The component. A relative path starts at the configuration file.
    pub file: PathBuf,
    /// The namespace. Default: what the component says, else `default`.
    pub namespace: Option<Name>,
    /// The name of a test program, which has none of its own. Default: that of the file.
    pub name: Option<Name>,
    /// How a test program's tests are run and judged. Default: found out.
    pub protocol: Option<Protocol>,
    /// The files that it brings along: a directory, or a tar archive. Default: those of the version before.
    pub fixtures: Option<PathBuf>,
    /// The grant.
    #[serde(default)]
    pub policy: Policy,
    /// Secrets of the grant by the environment variables that hold them. Moved into `policy` when
    /// the file is read.
    #[serde(default)]
    pub secrets_env: BTreeMap<String, String>,
    /// Secrets of the grant by the files that hold them; one line break at the end is dropped. Moved
    /// into `policy` when the file is read.
    #[serde(default)]
    pub secrets_file: BTreeMap<String, PathBuf>,
}

/// A plugin that the server installs at start, with what it is granted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredPlugin {
    /// Its name.
    pub name: Name,
    /// The component. A relative path starts at the configuration file.
    pub file: PathBuf,
    /// The grant.
    #[serde(default)]
    pub policy: Policy,
    /// What it is told of at most.
    #[serde(default)]
    pub filters: Filters,
    /// Whether it is told anything. Default: if it is granted all that it would like.
    pub enabled: Option<bool>,
    /// Secrets of the grant by the environment variables that hold them. Moved into `policy` when
    /// the file is read.
    #[serde(default)]
    pub secrets_env: BTreeMap<String, String>,
    /// Secrets of the grant by the files that hold them; one line break at the end is dropped. Moved
    /// into `policy` when the file is read.
    #[serde(default)]
    pub secrets_file: BTreeMap<String, PathBuf>,
}

/// The variables of the process, read once.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// What the process was started with. Variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable's value; an empty one counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

/// Where a setting's value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(flag) => write!(f, "the flag {flag}"),
        }
    }
}

/// A configuration with where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// Where each setting that is not at its default came from, by key.
    pub sources: BTreeMap<String, Source>,
    /// What the operator should know, such as variables that mean nothing.
    pub warnings: Vec<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read the configuration file {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file has an unknown key, a bad value, or is no TOML.
    #[error("read the configuration file {path}, line {line}: {key}{message}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key at fault with a colon behind it, where it is known.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A flag or a variable has a bad value.
    #[error("use the setting {key} from {from}: {message}")]
    Value {
        /// The setting.
        key: String,
        /// Who gave it.
        from: Source,
        /// What is wrong.
        message: String,
    },
    /// The component of a declared suite cannot be read.
    #[error("read the component of the declared suite {file}: {source}", file = file.display())]
    Suite {
        /// The component.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A secret of what the file declares is not there.
    #[error("read the secret {name:?} of {of}: {message}")]
    Secret {
        /// The secret.
        name: String,
        /// The suite's component, or the trigger.
        of: String,
        /// What is wrong.
        message: String,
    },
}

/// The configuration that flags, environment and file amount to. Without a file that is named,
/// `handoff.toml` in the working directory is read, if there is one.
pub fn load(flags: &SettingArgs, environment: &Environment) -> Result<Loaded, ConfigError> {
    let named = flags.file.clone().or_else(|| environment.get("HANDOFF_CONFIG").map(PathBuf::from));
    let file = named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()));
    load_from(file.as_deref(), flags, environment)
}

/// The same without the file in the working directory and the one that `HANDOFF_CONFIG` names: those
/// are the server's.
pub fn load_named(flags: &SettingArgs, environment: &Environment) -> Result<Loaded, ConfigError> {
    load_from(flags.file.as_deref(), flags, environment)
}

fn load_from(
    file: Option<&Path>,
    flags: &SettingArgs,
    environment: &Environment,
) -> Result<Loaded, ConfigError> {
    let (mut config, mut sources) = match file {
        Some(path) => read(path, environment)?,
        None => (Config::default(), BTreeMap::new()),
    };
    for setting in settings() {
        let variable = setting.variable();
        let given = match (flags.values.get(&setting.key), environment.get(&variable)) {
            (Some(text), _) => Some((text.as_str(), Source::Flag(setting.flag()))),
            (None, Some(text)) => Some((text, Source::Environment(variable))),
            (None, None) => None,
        };
        let Some((text, from)) = given else { continue };
        config = setting.set(config, text).map_err(|message| ConfigError::Value {
            key: setting.key.clone(),
            from: from.clone(),
            message,
        })?;
        sources.insert(setting.key, from);
    }
    config.validate(|key| sources.contains_key(key)).map_err(|Invalid { key, message }| {
        // What is no setting is of a declared suite, and only the file has those.
        let in_file = || Source::File(file.unwrap_or(Path::new(DEFAULT_FILE)).to_owned());
        let from = sources.get(&key).cloned().unwrap_or_else(in_file);
        ConfigError::Value { key, from, message }
    })?;
    Ok(Loaded { config, sources, warnings: unknown_variables(environment) })
}

/// Reads a policy as `handoff test --policy` and `handoff policy set` take it.
pub fn read_policy(path: &Path) -> Result<Policy, ConfigError> {
    let text = read_text(path)?;
    toml::from_str(&text).map_err(|error| in_file(path, &text, &error))
}

fn read(
    path: &Path,
    environment: &Environment,
) -> Result<(Config, BTreeMap<String, Source>), ConfigError> {
    let text = read_text(path)?;
    let in_file = |error| in_file(path, &text, &error);
    let table: toml::Table = toml::from_str(&text).map_err(in_file)?;
    if let Some(key) = setting::not_a_table(&table) {
        let message = "its fields have names: write a table, not a list of values".into();
        return Err(ConfigError::Value { key, from: Source::File(path.to_owned()), message });
    }
    let mut config: Config = toml::from_str(&text).map_err(in_file)?;
    let mut sources = BTreeMap::new();
    for setting in settings() {
        if setting.is_in(&table) {
            sources.insert(setting.key, Source::File(path.to_owned()));
        }
    }
    // Paths in a file start at the file, so that a server can be started from anywhere.
    let base = path.parent().unwrap_or(Path::new(""));
    if sources.contains_key("data_dir") {
        config.data_dir = base.join(&config.data_dir);
    }
    if let Some(ca) = &mut config.sandbox.tls_ca_file {
        *ca = base.join(&*ca);
    }
    for suite in &mut config.suites {
        suite.file = base.join(&suite.file);
        suite.fixtures = suite.fixtures.as_ref().map(|path| base.join(path));
        let given = (&suite.secrets_env, &suite.secrets_file);
        let secrets = secrets(&suite.file, given, base, environment)?;
        suite.policy.secrets.extend(secrets);
        if let Err(source) = std::fs::File::open(&suite.file) {
            return Err(ConfigError::Suite { file: suite.file.clone(), source });
        }
    }
    for trigger in &mut config.triggers {
        take_secret(trigger, base, environment)?;
    }
    for plugin in &mut config.plugins {
        plugin.file = base.join(&plugin.file);
        let given = (&plugin.secrets_env, &plugin.secrets_file);
        let secrets = secrets(&plugin.file, given, base, environment)?;
        plugin.policy.secrets.extend(secrets);
    }
    Ok((config, sources))
}

/// Takes the secret of a declared trigger from where it is.
fn take_secret(
    trigger: &mut TriggerBody,
    base: &Path,
    environment: &Environment,
) -> Result<(), ConfigError> {
    let TriggerRule { secret, secret_env, secret_file, .. } = &mut trigger.rule;
    let missing = |message: String| ConfigError::Secret {
        name: "secret".into(),
        of: format!("the trigger {}", trigger.name),
        message,
    };
    *secret = match (secret.take(), &secret_env, &secret_file) {
        (Some(text), None, None) => Some(text),
        (None, Some(variable), None) => {
            let value = environment.get(variable);
            let unset = || missing(format!("the environment variable {variable} is not set"));
            Some(value.ok_or_else(unset)?.to_owned())
        }
        (None, None, Some(path)) => Some(secret_in(&base.join(path)).map_err(missing)?),
        _ => return Err(missing("say one of secret, secret_env and secret_file".into())),
    };
    Ok(())
}

/// What a file holds, less one line break at its end.
fn secret_in(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// The secrets that variables and files hold.
fn secrets(
    component: &Path,
    (variables, files): (&BTreeMap<String, String>, &BTreeMap<String, PathBuf>),
    base: &Path,
    environment: &Environment,
) -> Result<Vec<(String, String)>, ConfigError> {
    let missing = |name: &str, message: String| ConfigError::Secret {
        name: name.to_owned(),
        of: component.display().to_string(),
        message,
    };
    let mut secrets = Vec::new();
    for (name, variable) in variables {
        let value = environment.get(variable);
        let value = value.ok_or_else(|| {
            missing(name, format!("the environment variable {variable} is not set"))
        })?;
        secrets.push((name.clone(), value.to_owned()));
    }
    for (name, path) in files {
        let path = base.join(path);
        let value = secret_in(&path).map_err(|error| missing(name, error))?;
        secrets.push((name.clone(), value));
    }
    Ok(secrets)
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Says where in the file an error is. The line itself is not quoted: it may hold a secret.
fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let written = text.lines().nth(line - 1).unwrap_or_default();
    let key = written.split_once('=').map(|(key, _)| format!("{}: ", key.trim()));
    let message = error.message().to_owned();
    ConfigError::File { path: path.to_owned(), line, key: key.unwrap_or_default(), message }
}

fn unknown_variables(environment: &Environment) -> Vec<String> {
    // The demo and the tests of suites use these; so do the clients of a server.
    const OTHERS: [&str; 2] = ["HANDOFF_CONFIG", "HANDOFF_SERVER"];
    let known: Vec<_> = settings().iter().map(Setting::variable).collect();
    let ours = environment.0.keys().filter(|name| name.starts_with("HANDOFF_"));
    let unknown = ours.filter(|name| !known.contains(name) && !OTHERS.contains(&name.as_str()));
    unknown
        .map(|name| {
            let near = known
                .iter()
                .map(|known| (strsim::jaro_winkler(name, known), known))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(likeness, _)| *likeness > 0.9)
                .map(|(_, known)| format!("; did you mean {known}?"));
            format!("the environment variable {name} is no setting{}", near.unwrap_or_default())
        })
        .collect()
}
