//! `handoff completions`: a script that lets a shell complete this command line.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::exit::{Exit, Failure};

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "handoff", &mut script);
        std::io::stdout().write_all(&script)?;
        Ok(Exit::Passed)
    }
}
