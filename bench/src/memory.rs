//! What the server takes of the machine's memory.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::Setup;
use crate::figures::mib;
use crate::server::Server;

/// Memory when idle, and for each attempt under way.
pub(crate) async fn idle_and_per_attempt(setup: &Setup) -> Result<()> {
    const ATTEMPTS: u64 = 64;
    let dir = tempfile::tempdir()?;
    let server = Server::start(&setup.server_binary, dir.path()).await?;
    let fresh = server.resident_kib()?;
    let suite = server.upload(&setup.guests, "spin").await?;
    server.run(&suite, &json!({"filter": "00", "test_timeout_ms": 1})).await?;
    let before = server.resident_kib()?;
    server.forget_peak()?;
    server.run(&suite, &json!({"parallelism": ATTEMPTS, "test_timeout_ms": 1000})).await?;
    let peak = server.peak_kib()?;
    println!(
        "resident memory: {} when started, {} after a first attempt; {} at most with {ATTEMPTS} \
         attempts under way ({} KiB each), {} after them",
        mib(fresh),
        mib(before),
        mib(peak),
        peak.saturating_sub(before) / ATTEMPTS,
        mib(server.resident_kib()?),
    );
    Ok(())
}

/// What attempts that allocate for ever cost the server, beside their limit.
pub(crate) async fn endless_allocation(setup: &Setup) -> Result<()> {
    for (attempts, limit_mib) in [(1, 256), (8, 64)] {
        let dir = tempfile::tempdir()?;
        let server = Server::start(&setup.server_binary, dir.path()).await?;
        let suite = server.upload(&setup.guests, "spin").await?;
        server.grant(&suite, &json!({"limits": {"memory_bytes": limit_mib << 20}})).await?;
        let request = json!({
            "filter": format!("0[0-{}]", attempts - 1),
            "parallelism": attempts,
            "test_timeout_ms": 20_000,
            "params": {"does": "allocate"},
        });
        let before = server.resident_kib()?;
        server.forget_peak()?;
        let ended = server.run(&suite, &request).await?.run;
        for test in ended["tests"].as_array().into_iter().flatten() {
            let cause = &test["attempts"][0]["cause"];
            ensure!(
                test["status"] == "skipped" || *cause == "memory",
                "not ended by its limit: {test}"
            );
        }
        let peak = server.peak_kib()?;
        println!(
            "{attempts} attempts that allocate for ever, limit {limit_mib} MiB each: {} more at \
             most, {:.2} of the limits; {} more after them",
            mib(peak.saturating_sub(before)),
            peak.saturating_sub(before) as f64 / f64::from(attempts * limit_mib * 1024),
            mib(server.resident_kib()?.saturating_sub(before)),
        );
    }
    Ok(())
}
