//! Whether lists, start-up and memory depend on how many runs are stored.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use handoff::metrics::Metrics;
use handoff::model::{
    Counts, Digest, EventKind, PlannedTest, RunId, RunRequest, RunSpec, RunStatus, SuiteId,
};
use handoff::storage::{Storage, StorageSettings};

use crate::Setup;
use crate::figures::{Samples, mib, ms};
use crate::server::Server;

/// How many runs the small store holds.
const FEW: u64 = 100;

/// Lists that are as long in the small store as in the large one, and how long.
const LISTS: [(&str, usize); 4] = [
    ("/api/v1/runs?limit=50", 50),
    ("/api/v1/runs?limit=10&suite=bench/suite-7", 10),
    ("/api/v1/runs?limit=50&status=failed", 50),
    ("/api/v1/runs?limit=5&suite=bench/suite-7&status=failed&reference=r1", 5),
];

/// How often each list is asked for of one server, before it is the other's turn, and how many turns there are.
const TURN: usize = 10;
const TURNS: usize = 40;

/// Compares a store of a few runs with one of many.
pub(crate) async fn lists_and_start(setup: &Setup) -> Result<()> {
    let many = setup.stored;
    let mut servers = Vec::new();
    for stored in [FEW, many / 10, many] {
        let dir = tempfile::tempdir()?;
        fill(dir.path(), stored).await?;
        let server = Server::start(&setup.server_binary, dir.path()).await?;
        let resident = server.resident_kib()?;
        let answer = server.latencies("/healthz", 200).await?.median();
        println!(
            "{stored} runs stored: ready {} after the start, resident memory {}, /healthz p50 {}",
            ms(server.started_in),
            mib(resident),
            ms(answer),
        );
        servers.push((server, dir));
    }
    let compared = [&servers[0].0, &servers[2].0];
    for (path, length) in LISTS {
        for server in compared {
            let list: serde_json::Value = serde_json::from_str(&server.get(path).await?)?;
            let found = list["items"].as_array().map_or(0, Vec::len);
            ensure!(found == length, "{path} gives {found} runs");
        }
        let mut took = [Vec::new(), Vec::new()];
        // By turns, as the machine may be slower a moment later.
        for _ in 0..TURNS {
            for (server, took) in compared.into_iter().zip(&mut took) {
                took.extend(server.latencies(path, TURN).await?);
            }
        }
        let [few_took, many_took] = took.map(|took| took.into_iter().collect::<Samples>().median());
        println!(
            "GET {path}: p50 {} at {FEW} runs, {} at {many}, ratio {:.2}",
            ms(few_took),
            ms(many_took),
            many_took.as_secs_f64() / few_took.as_secs_f64(),
        );
    }
    // The stores still take work.
    for (server, _dir) in servers {
        let suite = server.upload(&setup.guests, "noop").await?;
        server.run(&suite, &serde_json::json!({})).await?;
    }
    Ok(())
}

/// Stores so many finished runs of ten suites, four references and two verdicts.
pub(crate) async fn fill(dir: &Path, runs: u64) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("failed to {error}");
    let storage =
        Storage::open(dir.to_owned(), StorageSettings::default(), Metrics::new(), Box::new(|_| ()))
            .map_err(|e| failed(&e))?;
    let mut receipts = std::collections::VecDeque::new();
    for number in 0..runs {
        let id = RunId::new();
        let suite: SuiteId = format!("bench/suite-{}", number % 10).parse()?;
        for kind in events(id, number, suite) {
            receipts.push_back(storage.append(id, kind, None).await);
        }
        while receipts.len() > 2048 {
            if let Some(receipt) = receipts.pop_front() {
                receipt.await?.map_err(|e| failed(&e))?;
            }
        }
    }
    for receipt in receipts {
        receipt.await?.map_err(|e| failed(&e))?;
    }
    storage.close().await.map_err(|e| failed(&e))
}

fn events(id: RunId, number: u64, suite: SuiteId) -> [EventKind; 4] {
    let reference = Some(format!("r{}", number % 4));
    let spec = RunSpec {
        id,
        number: number / 10 + 1,
        suite,
        version: Digest::of(b"bench"),
        created_at: jiff::Timestamp::now(),
        request: RunRequest { reference, ..RunRequest::default() },
        timeout_ms: 1000,
        parallelism: 1,
        repeat: 1,
        tests: vec![PlannedTest {
            name: "a test".into(),
            soft: false,
            timeout_ms: None,
            max_attempts: 1,
            skip: Some("stored by the bench".into()),
            mark: None,
        }],
        program: None,
        language: None,
        fixtures: None,
        sharing: Default::default(),
    };
    let status = if number % 20 < 10 { RunStatus::Passed } else { RunStatus::Failed };
    let test = "a test".to_owned();
    let skipped = handoff::model::TestStatus::Skipped;
    [
        EventKind::RunQueued { spec: Box::new(spec) },
        EventKind::RunStarted,
        EventKind::TestFinished { test, round: 1, status: skipped, reason: None },
        EventKind::RunFinished {
            status,
            message: None,
            counts: Counts { skipped: 1, ..Counts::default() },
        },
    ]
}
