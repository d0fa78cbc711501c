//! How much the server does in a time, and how soon a small run ends.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::json;

use crate::Setup;
use crate::baseline::Bare;
use crate::figures::{Samples, best, ms, spread};
use crate::server::Server;

/// Tests of the guest `thousand`.
const TESTS: u32 = 1_000;

/// Attempts per second of a suite of 1,000 trivial tests, from the request to the whole stored result in
/// the client's hands. In each round the bare loops come before the server: these machines are now slow, now
/// fast, and only what is measured side by side can be compared.
pub(crate) async fn attempts_per_second(setup: &Setup) -> Result<()> {
    let threads = [1, u32::try_from(setup.cores)?];
    let bare = Bare::new().map_err(failed)?;
    let trivial = bare.trivial(&setup.guests).map_err(failed)?;
    let baseline = || -> Result<[f64; 2]> {
        let [one, all] = threads.map(|threads| bare.attempts_per_second(&trivial, threads));
        Ok([one.map_err(failed)?, all.map_err(failed)?])
    };
    let dir = tempfile::tempdir()?;
    let server = Server::start(&setup.server_binary, dir.path()).await?;
    let suite = server.upload(&setup.guests, "thousand").await?;
    let mut all = Vec::new();
    for (parallelism, repeat) in [(1, 1), (2, 1), (4, 1), (8, 1), (8, 10)] {
        let attempts = f64::from(TESTS * repeat);
        let request = json!({"parallelism": parallelism, "repeat": repeat});
        // The first one warms up.
        server.run(&suite, &request).await?;
        let (mut rates, mut ratios, before) = (Vec::new(), Vec::new(), server.cpu_time()?);
        for _ in 0..setup.rounds {
            let bare = tokio::task::block_in_place(baseline)?;
            let ended = server.run(&suite, &request).await?;
            ensure!(ended.run["counts"]["passed"] == TESTS, "{}", ended.run["counts"]);
            let rate = attempts / ended.took.as_secs_f64();
            rates.push(rate);
            ratios.push(rate / best(bare));
            all.push(bare);
        }
        let after = server.cpu_time()?;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / attempts / f64::from(setup.rounds);
        println!(
            "server, {parallelism} at a time, {repeat:>2} x 1,000: {:.0} attempts/s at best; {} of the \
             best bare loop of the same round; of processors {:.0} µs user + {:.0} µs system each",
            best(rates),
            spread(ratios),
            each(after.user.saturating_sub(before.user)),
            each(after.system.saturating_sub(before.system)),
        );
    }
    for (at, threads) in threads.into_iter().enumerate() {
        let rates = best(all.iter().map(|bare| bare[at]));
        println!("bare loop on {threads} thread(s): {rates:.0} attempts/s at best");
    }
    Ok(())
}

fn failed(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("the bare loop failed: {error:?}")
}

/// From POST to finished of a suite of one trivial test.
pub(crate) async fn post_to_finished(setup: &Setup) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(&setup.server_binary, dir.path()).await?;
    let suite = server.upload(&setup.guests, "noop").await?;
    let one = json!({});
    server.run(&suite, &one).await?;
    let answer = server.latencies("/healthz", 200).await?;
    let sync = syncs(dir.path(), 200)?;
    println!(
        "an answer to /healthz: p50 {}; a durable write of 4 KiB: p50 {} (a run needs two, one \
         after the other)",
        ms(answer.median()),
        ms(sync.median()),
    );
    for clients in [1, 8, 32] {
        let client = async |_| {
            let mut samples = Vec::new();
            for _ in 0..800 / clients {
                let ended = server.run(&suite, &one).await?;
                ensure!(ended.run["status"] == "passed", "the run did not pass: {}", ended.run);
                samples.push(ended.took);
            }
            anyhow::Ok(samples)
        };
        let begin = Instant::now();
        let samples = try_join_all((0..clients).map(client)).await?.concat();
        let rate = samples.len() as f64 / begin.elapsed().as_secs_f64();
        let samples: Samples = samples.into_iter().collect();
        println!("POST to finished, {clients:>2} clients: {}, {rate:.0} runs/s", samples.summary());
    }
    Ok(())
}

/// How long a small write takes to be durable, one after another.
fn syncs(dir: &Path, count: usize) -> Result<Samples> {
    const BLOCK: usize = 4 << 10;
    let file = std::fs::File::create(dir.join("syncs"))?;
    // As a store's file does, it has its room already.
    file.write_all_at(&vec![0; BLOCK * count], 0)?;
    file.sync_all()?;
    let one = |at: usize| -> Result<Duration> {
        let begin = Instant::now();
        file.write_all_at(&[7; BLOCK], u64::try_from(at * BLOCK)?)?;
        file.sync_data()?;
        Ok(begin.elapsed())
    };
    (0..count).map(one).collect()
}
