//! A flag for every setting, made from the list of settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::settings;

/// The settings that `--help` shows; `handoff config` shows all.
const WELL_KNOWN: [(&str, &str); 4] = [
    ("listen", "Where to listen; port 0 takes any free port"),
    ("data_dir", "Where to keep the data"),
    (
        "log.level",
        "What to log: error, warn, info, debug, trace, or a filter such as `handoff=debug`",
    ),
    ("log.format", "How to log: human or json"),
];

/// The settings given as flags, as text.
#[derive(Clone, Debug, Default)]
pub struct SettingArgs {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// What was given, by key.
    pub values: BTreeMap<String, String>,
}

impl Args for SettingArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help(
                "The configuration file [env: HANDOFF_CONFIG] [default: handoff.toml, if there is one]",
            );
        let flags = settings().into_iter().map(|setting| {
            let help = WELL_KNOWN.iter().find(|(key, _)| *key == setting.key);
            let about = help.map_or("", |(_, about)| about);
            let default = match &setting.default {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let variable = setting.variable();
            Arg::new(setting.key.clone())
                .long(setting.flag().trim_start_matches('-').to_owned())
                .value_name("VALUE")
                .help(format!("{about} [env: {variable}] [default: {default}]"))
                .hide(help.is_none())
        });
        command.arg(file).args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let unreadable = |error| clap::Error::raw(ErrorKind::InvalidValue, error);
        if let Some(file) = matches.try_get_one::<PathBuf>("config").map_err(unreadable)? {
            self.file = Some(file.clone());
        }
        for setting in settings() {
            if let Some(text) = matches.try_get_one::<String>(&setting.key).map_err(unreadable)? {
                self.values.insert(setting.key, text.clone());
            }
        }
        Ok(())
    }
}
