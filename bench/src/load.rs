//! Figures of a server under load.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::figures::{median, ms, percentile};
use crate::server::Server;

/// Attempts per second of a suite of 1,000 trivial tests, from the request to the stored result.
pub(crate) async fn attempts_per_second(
    handoff: &Path,
    guests: &Path,
    rounds: u32,
    bare: [f64; 2],
) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(handoff, dir.path()).await?;
    let suite = server.upload(guests, "thousand").await?;
    for (parallelism, bare) in [1, 2].into_iter().zip(bare) {
        let mut rates = Vec::new();
        for _ in 0..=rounds {
            let begin = Instant::now();
            let run = server.run(&suite, json!({"parallelism": parallelism, "repeat": 5})).await?;
            ensure!(run["counts"]["passed"] == 1000, "not all passed: {}", run["counts"]);
            rates.push(5000.0 / begin.elapsed().as_secs_f64());
        }
        // The first one compiles and warms up.
        let rate = median(&mut rates[1..]);
        println!(
            "attempts per second, {parallelism} at a time: server {rate:.0}, bare loop {bare:.0}, ratio {:.2}",
            rate / bare
        );
    }
    Ok(())
}

/// From POST to finished of a suite of one trivial test.
pub(crate) async fn post_to_finished(handoff: &Path, guests: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(handoff, dir.path()).await?;
    let suite = server.upload(guests, "noop").await?;
    server.run(&suite, json!({})).await?;
    let healthz = latencies(&server, "/healthz", 200).await?;
    for clients in [1, 8, 32] {
        let each = 800 / clients;
        let client = async |_| {
            let mut samples = Vec::new();
            for _ in 0..each {
                let begin = Instant::now();
                let run = server.run(&suite, json!({})).await?;
                ensure!(run["status"] == "passed", "the run did not pass: {run}");
                samples.push(begin.elapsed());
            }
            anyhow::Ok(samples)
        };
        let begin = Instant::now();
        let mut samples = try_join_all((0..clients).map(client)).await?.concat();
        let rate = samples.len() as f64 / begin.elapsed().as_secs_f64();
        println!(
            "POST to finished, {clients} clients: p50 {}, p99 {}, {rate:.0} runs per second (/healthz p50 {})",
            ms(percentile(&mut samples, 50.0)),
            ms(percentile(&mut samples, 99.0)),
            ms(percentile(&mut healthz.clone(), 50.0)),
        );
    }
    Ok(())
}

/// How far attempts that loop for ever pass their deadline, and what /healthz does meanwhile.
pub(crate) async fn overshoot(handoff: &Path, guests: &Path, rounds: u32) -> Result<()> {
    const TIMEOUT_MS: u64 = 100;
    let dir = tempfile::tempdir()?;
    let server = Server::start(handoff, dir.path()).await?;
    let suite = server.upload(guests, "spin").await?;
    let mut idle = latencies(&server, "/healthz", 200).await?;
    let request = json!({"parallelism": 64, "test_timeout_ms": TIMEOUT_MS});
    server.run(&suite, request.clone()).await?;
    let (mut over, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..rounds.max(5) {
        let (run, health) = futures::future::try_join(
            server.run(&suite, request.clone()),
            latencies(&server, "/healthz", 40),
        )
        .await?;
        let tests = run["tests"].as_array().context("a run without tests")?;
        for attempt in tests.iter().filter_map(|test| test["attempts"].get(0)) {
            ensure!(attempt["cause"] == "timeout", "not ended by its deadline: {attempt}");
            let took = attempt["duration_ms"].as_u64().context("an attempt without a duration")?;
            over.push(Duration::from_millis(took.saturating_sub(TIMEOUT_MS)));
        }
        busy.extend(health);
    }
    println!(
        "64 endless loops with a deadline of {TIMEOUT_MS} ms, overshoot: p50 {}, p99 {} ({} attempts)",
        ms(percentile(&mut over, 50.0)),
        ms(percentile(&mut over, 99.0)),
        over.len(),
    );
    println!(
        "/healthz meanwhile: p50 {}, p99 {}, max {} (idle p50 {}, max {})",
        ms(percentile(&mut busy, 50.0)),
        ms(percentile(&mut busy, 99.0)),
        ms(percentile(&mut busy, 100.0)),
        ms(percentile(&mut idle, 50.0)),
        ms(percentile(&mut idle, 100.0)),
    );
    Ok(())
}

/// Memory when idle, and for each attempt under way.
pub(crate) async fn memory(handoff: &Path, guests: &Path) -> Result<()> {
    const ATTEMPTS: u64 = 64;
    let dir = tempfile::tempdir()?;
    let server = Server::start(handoff, dir.path()).await?;
    let fresh = server.resident_kib()?;
    let suite = server.upload(guests, "spin").await?;
    let uploaded = server.resident_kib()?;
    let request = json!({"parallelism": ATTEMPTS, "test_timeout_ms": 2000});
    let url = format!("{}{suite}/runs", server.url);
    let run: Value = server.client.post(url).json(&request).send().await?.json().await?;
    let path = format!("/api/v1/runs/{}", run["id"].as_str().context("a run without an id")?);
    let mut most = uploaded;
    loop {
        most = most.max(server.resident_kib()?);
        let run: Value = serde_json::from_str(&server.get(&path).await?)?;
        if run["finished_at"].is_string() {
            break;
        }
    }
    let after = server.resident_kib()?;
    let each = most.saturating_sub(uploaded) / ATTEMPTS;
    println!(
        "resident memory: idle {fresh} KiB, with a suite {uploaded} KiB, {ATTEMPTS} attempts under way {most} KiB \
         ({each} KiB each), after them {after} KiB"
    );
    Ok(())
}

/// How long a GET takes, one after another.
pub(crate) async fn latencies(server: &Server, path: &str, count: usize) -> Result<Vec<Duration>> {
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        server.get(path).await?;
        samples.push(begin.elapsed());
    }
    Ok(samples)
}
