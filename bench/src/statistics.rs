//! Whether the statistics of a test depend on how often it was tried.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use handoff::metrics::Metrics;
use handoff::model::{
    Attempt, Counts, Digest, EventKind, PlannedTest, RunId, RunRequest, RunSpec, RunStatus,
    Sharing, Stage, SuiteId, TestStatus,
};
use handoff::storage::{Storage, StorageSettings};

use crate::Setup;
use crate::figures::ms;
use crate::server::Server;

/// How often the tests were tried.
const TESTS: [(&str, u32); 2] = [("seldom", 100), ("often", 100_000)];
/// Rounds of one run.
const ROUNDS: u32 = 100;

/// Compares a test of many attempts with one of few.
pub(crate) async fn of_many_attempts(setup: &Setup) -> Result<()> {
    let dir = tempfile::tempdir()?;
    fill(dir.path()).await?;
    let server = Server::start(&setup.server_binary, dir.path()).await?;
    let answer = server.latencies("/healthz", 200).await?.median();
    println!("/healthz: p50 {}", ms(answer));
    let mut few = None;
    for (test, attempts) in TESTS {
        let path = format!("/api/v1/suites/bench/tried/tests/{test}/statistics");
        let found: serde_json::Value = serde_json::from_str(&server.get(&path).await?)?;
        let counted = &found["totals"]["runs"];
        ensure!(*counted == attempts, "{path} has {counted} results");
        let took = server.latencies(&path, 200).await?;
        let ratio = took.median().as_secs_f64() / few.unwrap_or(took.median()).as_secs_f64();
        few = few.or(Some(took.median()));
        println!(
            "statistics of a test with {attempts} attempts: p50 {}, p99 {}, ratio {ratio:.2}",
            ms(took.median()),
            ms(took.percentile(99.0)),
        );
    }
    let path = "/api/v1/suites/bench/tried/statistics/tests";
    println!("list of tests: p50 {}", ms(server.latencies(path, 200).await?.median()));
    Ok(())
}

async fn fill(dir: &Path) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("failed to {error}");
    let storage =
        Storage::open(dir.to_owned(), StorageSettings::default(), Metrics::new(), Box::new(|_| ()))
            .map_err(|e| failed(&e))?;
    let mut receipts = VecDeque::new();
    let mut number = 0;
    for (test, attempts) in TESTS {
        for _ in 0..attempts / ROUNDS {
            number += 1;
            let id = RunId::new();
            for kind in events(id, number, test)? {
                receipts.push_back(storage.append(id, kind, None).await);
            }
            while receipts.len() > 2048 {
                if let Some(receipt) = receipts.pop_front() {
                    receipt.await?.map_err(|e| failed(&e))?;
                }
            }
        }
    }
    for receipt in receipts {
        receipt.await?.map_err(|e| failed(&e))?;
    }
    storage.close().await.map_err(|e| failed(&e))
}

/// A run of one test with [`ROUNDS`] rounds, of which some fail.
fn events(id: RunId, number: u64, test: &str) -> Result<Vec<EventKind>> {
    let suite: SuiteId = "bench/tried".parse()?;
    let planned = PlannedTest {
        name: test.into(),
        soft: false,
        timeout_ms: None,
        max_attempts: 1,
        skip: None,
        mark: None,
    };
    let spec = RunSpec {
        id,
        number,
        suite,
        version: Digest::of(b"bench"),
        created_at: jiff::Timestamp::now(),
        request: RunRequest { reference: Some("main".into()), ..RunRequest::default() },
        timeout_ms: 1000,
        parallelism: 1,
        repeat: ROUNDS,
        tests: vec![planned],
        program: None,
        fixtures: None,
        language: None,
        sharing: Sharing::default(),
    };
    let mut events = vec![EventKind::RunQueued { spec: Box::new(spec) }, EventKind::RunStarted];
    for round in 1..=ROUNDS {
        let status = if round.is_multiple_of(7) { TestStatus::Failed } else { TestStatus::Passed };
        let attempt = Attempt {
            duration_ms: 100 + u64::from(round * 37 % 41),
            fuel_used: Some(1_000_000 + u64::from(round % 3)),
            message: (status == TestStatus::Failed).then(|| format!("got {round}")),
            ..Attempt::new(round, 1, status, jiff::Timestamp::now())
        };
        let stage = Stage::Test(test.into());
        events.push(EventKind::AttemptFinished { stage, attempt: Box::new(attempt) });
        let test = test.to_owned();
        events.push(EventKind::TestFinished { test, round, status, reason: None });
    }
    let counts = Counts { failed: 1, ..Counts::default() };
    events.push(EventKind::RunFinished { status: RunStatus::Failed, message: None, counts });
    Ok(events)
}
