//! What plugins that misbehave cost runs.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::json;

use crate::Setup;
use crate::figures::{Samples, ms};
use crate::server::Server;

/// What a plugin does on each event: see the guest `misbehaves`.
const HOSTILE: [&str; 7] = ["trap", "loop", "sleep", "allocate", "log", "request", "keep"];
/// Runs of one round, with plugins and without.
const RUNS: usize = 200;
/// How much longer the 99th percentile may be with them.
const MOST: f64 = 1.5;
/// With what the server is started: with nothing, and so that they go on for as long as is measured, while they
/// would be disabled after some calls, and wait ever longer before that.
const SETTINGS: [(&str, &[&str]); 2] = [
    ("as by default", &[]),
    ("never disabled", &["--plugin-breaks", "1000000", "--plugin-retry-max-ms", "1000"]),
];

/// Which of them is replaced in the middle of a delivery, once in each round.
const REPLACED: &str = "sleep";

/// From POST to finished of a suite of one trivial test, with all hostile plugins at once and with none, by turns
/// on one server.
pub(crate) async fn post_to_finished_beside_plugins(setup: &Setup) -> Result<()> {
    for (told, flags) in SETTINGS {
        println!("{told}:");
        beside_plugins(setup, flags).await?;
    }
    Ok(())
}

async fn beside_plugins(setup: &Setup, flags: &[&str]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start_with(&setup.server_binary, dir.path(), flags).await?;
    let suite = server.upload(&setup.guests, "noop").await?;
    server.run(&suite, &json!({})).await?;
    for does in HOSTILE {
        install(&server, setup, does, false).await?;
    }
    for clients in [1, 8] {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..setup.rounds {
            // Plugins are loaded at the first event, and their last calls end after they were disabled.
            runs(&server, &suite, clients).await?;
            without.extend(runs(&server, &suite, clients).await?);
            switch(&server, true).await?;
            runs(&server, &suite, clients).await?;
            let replaced = install(&server, setup, REPLACED, true);
            let (took, ()) = tokio::try_join!(runs(&server, &suite, clients), replaced)?;
            with.extend(took);
            switch(&server, false).await?;
        }
        let [without, with] = [without, with].map(Samples::from_iter);
        let ratio = with.percentile(99.0).as_secs_f64() / without.percentile(99.0).as_secs_f64();
        let verdict = if ratio <= MOST { "within" } else { "beyond" };
        println!("{clients} clients, without plugins: {}", without.summary());
        println!("{clients} clients, beside {} that misbehave: {}", HOSTILE.len(), with.summary());
        println!(
            "{clients} clients: p99 {} against {}, {ratio:.2} times, {verdict} {MOST}",
            ms(with.percentile(99.0)),
            ms(without.percentile(99.0)),
        );
    }
    Ok(())
}

async fn install(server: &Server, setup: &Setup, does: &str, enabled: bool) -> Result<()> {
    // Nobody listens there.
    let config = json!({"does": does, "target": "http://127.0.0.1:9"});
    let policy = json!({"allow_http": ["http://127.0.0.1:9"]});
    let change = json!({"config": config, "policy": policy, "enabled": enabled});
    server.install(&setup.guests, does, "misbehaves", &change).await
}

async fn switch(server: &Server, enabled: bool) -> Result<()> {
    for does in HOSTILE {
        server.change_plugin(does, &json!({"enabled": enabled})).await?;
    }
    Ok(())
}

async fn runs(server: &Server, suite: &str, clients: usize) -> Result<Vec<std::time::Duration>> {
    let client = async |_| {
        let mut samples = Vec::new();
        for _ in 0..RUNS / clients {
            let ended = server.run(suite, &json!({})).await?;
            ensure!(ended.run["status"] == "passed", "the run did not pass: {}", ended.run);
            samples.push(ended.took);
        }
        anyhow::Ok(samples)
    };
    Ok(try_join_all((0..clients).map(client)).await?.concat())
}
