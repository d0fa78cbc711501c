//! `handoff health`: whether a server takes work, for containers without any other program and for
//! scripts that start one.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep, timeout_at};

use super::Surroundings;
use super::client::{Client, ServerArgs};
use super::exit::{Exit, Failure};
use super::request::duration;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(super) struct HealthArgs {
    /// Wait at most so long until it does
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0s")]
    wait: Duration,
    #[command(flatten)]
    server: ServerArgs,
}

impl HealthArgs {
    pub(super) async fn run(self, _: &Surroundings) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let until = Instant::now() + self.wait;
        loop {
            let asked = timeout_at(Instant::now() + PATIENCE, client.ready()).await;
            let ready = asked.unwrap_or_else(|_| {
                let told = format!("the server at {} did not answer", self.server.server);
                Err(Failure::told(Exit::Server, told))
            });
            match ready {
                Ok(()) => break,
                // Whatever it says, what was asked was right.
                Err(failure) if Instant::now() >= until => {
                    return Err(Failure { exit: Exit::Server, ..failure });
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
        writeln!(std::io::stdout(), "ready")?;
        Ok(Exit::Passed)
    }
}
