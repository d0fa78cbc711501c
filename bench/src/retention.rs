//! What forgetting old runs costs those under way.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::Setup;
use crate::figures::{Samples, mib, ms};
use crate::server::Server;
use crate::store::fill;

/// How many clients ask for runs, and how often each.
const CLIENTS: usize = 8;
const RUNS: usize = 250;

/// From POST to finished, while nothing is forgotten and while nearly all of a large store is.
pub(crate) async fn beside_runs(setup: &Setup) -> Result<()> {
    let dir = tempfile::tempdir()?;
    fill(dir.path(), setup.stored).await?;
    let mut p99 = Vec::new();
    for (what, kept) in [("nothing is forgotten", "0"), ("old runs are forgotten", "10")] {
        let flags = ["--retention-runs", kept];
        let server = Server::start_with(&setup.server_binary, dir.path(), &flags).await?;
        let suite = server.upload(&setup.guests, "noop").await?;
        server.run(&suite, &json!({})).await?;
        let (mut samples, mut during) = (Vec::new(), 0);
        for _ in 0..setup.rounds {
            samples.extend(load(&server, &suite).await?);
            let now: Value = serde_json::from_str(&server.get("/api/v1/retention").await?)?;
            let is_under_way = now["last_round"]["finished_at"].is_null();
            during += u32::from(is_under_way);
            if kept != "0" && !is_under_way {
                break;
            }
        }
        let samples: Samples = samples.into_iter().collect();
        let resident = server.resident_kib()?;
        println!(
            "{} runs stored, {what} ({during} rounds of requests beside it): POST to finished, \
             {CLIENTS} clients: {}; resident memory {}",
            setup.stored,
            samples.summary(),
            mib(resident),
        );
        p99.push(samples.percentile(99.0));
        if kept != "0" {
            ensure!(during > 0, "it was over before the first round: nothing was measured");
            ended(&server).await?;
        }
    }
    let ratio = p99[1].as_secs_f64() / p99[0].as_secs_f64();
    println!(
        "p99 while old runs are forgotten: {} of {}, ratio {ratio:.2}",
        ms(p99[1]),
        ms(p99[0])
    );
    Ok(())
}

async fn load(server: &Server, suite: &str) -> Result<Vec<std::time::Duration>> {
    let client = async |_| {
        let mut samples = Vec::new();
        for _ in 0..RUNS {
            let ended = server.run(suite, &json!({})).await?;
            ensure!(ended.run["status"] == "passed", "the run did not pass: {}", ended.run);
            samples.push(ended.took);
        }
        anyhow::Ok(samples)
    };
    Ok(try_join_all((0..CLIENTS).map(client)).await?.concat())
}

/// Waits until the round under way has ended, and tells what it freed.
async fn ended(server: &Server) -> Result<()> {
    for _ in 0..3_600 {
        let now: Value = serde_json::from_str(&server.get("/api/v1/retention").await?)?;
        let round = &now["last_round"];
        if let (Some(from), Some(to)) =
            (round["started_at"].as_str(), round["finished_at"].as_str())
        {
            let took = to.parse::<jiff::Timestamp>()?.duration_since(from.parse()?);
            println!(
                "it forgot {} runs with {} bytes of records in {:.1} s; resident memory then {}",
                round["forgotten"]["runs"],
                round["forgotten"]["record_bytes"],
                took.as_secs_f64(),
                mib(server.resident_kib()?),
            );
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    anyhow::bail!("it did not end within an hour")
}
