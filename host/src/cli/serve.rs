//! `handoff serve`: the server, from its start to its orderly end.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Surroundings;
use super::exit::{Exit, Failure};
use super::signals::Interrupts;
use crate::app::App;
use crate::config::{self, SettingArgs};
use crate::{http, telemetry};

/// What `--help` says below the well-known settings.
const SETTINGS: &str = "\
Every setting is a flag (--runner-queue 5), an environment variable (HANDOFF_RUNNER_QUEUE=5) and a key
of the configuration file (queue = 5 in [runner]), in that order of precedence. `handoff config` shows
them all, and `handoff config --names` how each is called.

SIGINT or SIGTERM stops the server once the attempts under way have ended (runner.drain_ms at most). A
further one, after the log has said that it is stopping, ends it at once; what is left goes on after the
next start.";

#[derive(Args)]
#[command(after_help = SETTINGS)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingArgs,
}

impl ServeArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let loaded = config::load(&self.settings, &surroundings.environment)?;
        telemetry::init(&loaded.config.log, surroundings.err.color);
        loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        no_core_dumps();
        let mut interrupts = Interrupts::listen()?;
        let wanted = loaded.config.listen;
        // Before the store is opened: a second server fails here without touching it.
        let listener = TcpListener::bind(wanted).await;
        let listener = listener.with_context(|| format!("listen on {wanted}"));
        let listener = listener.map_err(Failure::platform)?;
        let address = listener.local_addr()?;
        let start = App::start(loaded.config);
        let app = tokio::select! {
            app = start => app.context("start").map_err(Failure::platform)?,
            () = interrupts.next() => return Ok(Exit::Interrupted),
        };
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "anybody who can reach this address can upload and run suites, and read their \
                 results: there is no authentication. Put a proxy that has it in front"
            );
        }
        // Programs that start a server wait for this line.
        let mut out = std::io::stdout();
        writeln!(out, "listening on http://{address}").and_then(|()| out.flush())?;
        until_stopped(app, listener, interrupts).await
    }
}

/// A dump of this process would have the secrets of suites and plugins in it.
fn no_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "failed to forbid core dumps, which would have secrets in them");
    }
}

/// Serves until the first signal, then lets what is under way end; the second signal ends it at once.
async fn until_stopped(
    app: App,
    listener: TcpListener,
    mut interrupts: Interrupts,
) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(app.clone(), listener, stop.clone().cancelled_owned()));
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => {
            let why = match ended {
                Ok(Ok(())) => anyhow::anyhow!("the server ended by itself"),
                Ok(Err(error)) => error.into(),
                Err(error) => error.into(),
            };
            return Err(Failure::platform(why.context("serve")));
        }
        () = interrupts.next() => {}
    }
    tracing::info!("stopping: runs under way may end; a further signal stops at once");
    interrupts.forget_pending();
    let orderly = async {
        // The door stays open: who follows a run hears its end, who asks for one is told that none is
        // taken, and whoever sends requests here learns from /readyz to send them elsewhere.
        app.drain().await;
        stop.cancel();
        let answered = server.await;
        app.close().await.context("stop")?;
        answered.context("stop")?.context("stop")
    };
    tokio::select! {
        stopped = orderly => stopped.map(|()| Exit::Passed).map_err(Failure::platform),
        () = interrupts.next() => {
            tracing::warn!("stopping at once: what is left goes on after the next start");
            Ok(Exit::Interrupted)
        }
    }
}
