//! How long the server takes to draw its pages with many runs stored, and how large they are over the wire.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use handoff::metrics::Metrics;
use handoff::model::{Digest, SuiteDescription, SuiteId, SuiteVersion, TestCase};
use handoff::storage::{Storage, StorageSettings};
use serde_json::{Value, json};

use crate::Setup;
use crate::figures::ms;
use crate::server::Server;
use crate::store;

/// How many runs the small store holds.
const FEW: u64 = 100;
/// How many runs are made of a real suite, so that pages have failures to show.
const REAL: usize = 40;
/// How often each page is asked for.
const TIMES: usize = 100;

/// Draws each page with few and with many runs stored.
pub(crate) async fn drawn(setup: &Setup) -> Result<()> {
    for stored in [FEW, setup.stored] {
        let dir = tempfile::tempdir()?;
        store::fill(dir.path(), stored).await?;
        declare(dir.path()).await?;
        let server = Server::start(&setup.server_binary, dir.path()).await?;
        let run = real_runs(&server, setup).await?;
        let answer = server.latencies("/healthz", 200).await?.median();
        println!("{stored} runs stored, {REAL} of them with failures: /healthz p50 {}", ms(answer));
        for path in paths(&run) {
            // Whoever comes first pays for what is remembered afterwards.
            let begin = Instant::now();
            let bytes = server.compressed(&path).await?;
            let first = begin.elapsed();
            let took = server.latencies(&path, TIMES).await?;
            let kb = bytes as f64 / 1000.0;
            let (half, most) = (ms(took.median()), ms(took.percentile(99.0)));
            println!("  {path}: first {}, p50 {half}, p99 {most}, {kb:.1} kB", ms(first));
        }
    }
    Ok(())
}

/// Every page of which what it shows depends on what is stored.
fn paths(run: &str) -> Vec<String> {
    let pages = [
        "/",
        "/suites",
        "/suites/bench/suite-7",
        "/suites/bench/suite-7/tests/a%20test",
        "/suites/default/hello",
        "/suites/default/hello/tests/fails",
        "/suites/default/hello/failures",
        "/runs",
        "/runs?suite=bench/suite-7&status=failed",
        "/runs?text=arithmetic",
        "/status.txt",
        "/retention",
    ];
    let of_run = [format!("/runs/{run}"), format!("/runs/{run}/tests/fails")];
    pages.into_iter().map(str::to_owned).chain(of_run).collect()
}

/// Runs a suite with failures, and gives its last run.
async fn real_runs(server: &Server, setup: &Setup) -> Result<String> {
    let suite = server.upload(&setup.guests, "hello").await?;
    let mut last = Value::Null;
    for _ in 0..REAL {
        last = server.run(&suite, &json!({"reference": "main"})).await?.run;
    }
    Ok(last["id"].as_str().context("a run without an id")?.to_owned())
}

/// Stores a version of each suite of whose runs the store is full.
async fn declare(dir: &Path) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("failed to {error}");
    let storage =
        Storage::open(dir.to_owned(), StorageSettings::default(), Metrics::new(), Box::new(|_| ()))
            .map_err(|e| failed(&e))?;
    for number in 0..10 {
        let suite: SuiteId = format!("bench/suite-{number}").parse()?;
        let tests = vec![TestCase { name: "a test".into(), ..TestCase::default() }];
        let version = SuiteVersion {
            suite,
            digest: Digest::of(b"bench"),
            description: SuiteDescription { tests, ..SuiteDescription::default() },
            imports: Vec::new(),
            size_bytes: 5,
            created_at: jiff::Timestamp::now(),
            program: None,
            language: None,
        };
        let component = Bytes::from_static(b"bench");
        storage.put_version(version, component, None).await.map_err(|e| failed(&e))?;
    }
    storage.close().await.map_err(|e| failed(&e))
}
