//! `handoff config`: every setting with its value and where that comes from.

use std::io::Write as _;

use clap::Args;

use super::Surroundings;
use super::exit::{Exit, Failure};
use crate::config::{self, SettingArgs, settings};

#[derive(Args)]
#[command(after_help = "Every setting is a flag here too, as for `handoff serve`.")]
pub(super) struct ConfigArgs {
    /// List the flag, the environment variable and the key of each setting instead
    #[arg(long)]
    names: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

impl ConfigArgs {
    pub(super) fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let mut out = std::io::stdout().lock();
        if self.names {
            for setting in settings() {
                writeln!(out, "{} {} {}", setting.flag(), setting.variable(), setting.key)?;
            }
            return Ok(Exit::Passed);
        }
        let loaded = config::load(&self.settings, &surroundings.environment)?;
        for warning in &loaded.warnings {
            super::warn(&format!("warning: {warning}"));
        }
        out.write_all(config::show(&loaded).as_bytes())?;
        Ok(Exit::Passed)
    }
}
