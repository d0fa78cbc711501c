//! `handoff cancel`: stops a run.

use std::io::Write as _;

use clap::Args;

use super::Surroundings;
use super::client::{Client, ServerArgs};
use super::exit::{Exit, Failure};

#[derive(Args)]
pub(super) struct CancelArgs {
    /// The run: an id, or a suite and a number such as `hello#12`
    run: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl CancelArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let run = client.run_id(&self.run).await?;
        client.cancel(run, surroundings.user()).await?;
        writeln!(std::io::stdout(), "asked the run {run} to stop")?;
        Ok(Exit::Passed)
    }
}
