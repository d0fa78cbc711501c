//! The store through its handle, with a disk whose free space the test sets.

mod retention;
mod runs;
mod statistics;
mod suites;
mod writing;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::model::{
    Artifact, Attempt, AttemptDetail, Counts, LogLine, Run, RunRequest, RunSpec, Source, Stage,
    SuiteDescription, TestStatus, samples,
};

/// An open store, what it told its listener, and its disk.
struct Opened {
    storage: Storage,
    told: Arc<Mutex<Vec<Arc<RunEvent>>>>,
    free: Arc<AtomicU64>,
    metrics: Metrics,
}

fn open_with(dir: &TempDir, settings: StorageSettings) -> Opened {
    let told = Arc::new(Mutex::new(Vec::new()));
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let on_stored: OnStored = {
        let told = told.clone();
        Box::new(move |events| told.lock().unwrap().extend_from_slice(events))
    };
    let free_space: FreeSpace = {
        let free = free.clone();
        Box::new(move || Ok(free.load(Ordering::Acquire)))
    };
    let metrics = Metrics::new();
    let path = dir.path().join("store");
    let storage =
        Storage::open_with(&path, settings, metrics.clone(), on_stored, free_space).unwrap();
    Opened { storage, told, free, metrics }
}

fn open(dir: &TempDir) -> Opened {
    open_with(dir, StorageSettings::default())
}

fn suite(name: &str) -> SuiteId {
    name.parse().unwrap()
}

fn version(name: &str, component: &Bytes) -> SuiteVersion {
    SuiteVersion {
        suite: suite(name),
        digest: Digest::of(component),
        description: SuiteDescription::default(),
        imports: vec!["wasi:cli/exit@0.2.0".into()],
        size_bytes: component.len() as u64,
        created_at: Timestamp::now(),
        program: None,
        language: None,
    }
}

fn spec(suite: &SuiteId, number: u64, reference: Option<&str>, tests: usize) -> RunSpec {
    let names: Vec<_> = (0..tests).map(|n| format!("test {n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let request = RunRequest { reference: reference.map(Into::into), ..Default::default() };
    RunSpec { number, suite: suite.clone(), request, ..samples::spec(&names) }
}

fn attempt(detail: Option<AttemptDetail>, artifacts: Vec<Artifact>) -> Box<Attempt> {
    let attempt = Attempt::new(1, 1, TestStatus::Passed, Timestamp::now());
    Box::new(Attempt { artifacts, detail: detail.map(Box::new), ..attempt })
}

fn detail(lines: usize) -> AttemptDetail {
    let line = |n: usize| LogLine {
        at: Timestamp::UNIX_EPOCH,
        source: Source::Stdout,
        // Hexadecimal digits of a digest: text that does not compress to nothing.
        text: Digest::of(&n.to_be_bytes()).hex().into(),
    };
    AttemptDetail { log: (0..lines).map(line).collect(), ..Default::default() }
}

fn queued(spec: &RunSpec) -> EventKind {
    EventKind::RunQueued { spec: Box::new(spec.clone()) }
}

fn finished(status: RunStatus) -> EventKind {
    EventKind::RunFinished { status, message: None, counts: Counts::default() }
}

fn key(key: &str, request: &[u8]) -> IdempotencyKey {
    IdempotencyKey { key: key.into(), request: Digest::of(request) }
}

fn all() -> Page {
    Page { limit: 1000, cursor: None }
}

impl Opened {
    /// Stores an event and waits until it is durable.
    async fn store(&self, run: RunId, kind: EventKind) -> u64 {
        self.storage.append(run, kind, None).await.await.unwrap().unwrap()
    }

    async fn refused(&self, run: RunId, kind: EventKind) -> Arc<StorageError> {
        self.storage.append(run, kind, None).await.await.unwrap().unwrap_err()
    }

    /// Uploads a component to a suite.
    async fn upload(&self, suite: &str, component: &'static [u8]) -> SuiteVersion {
        let component = Bytes::from_static(component);
        let version = version(suite, &component);
        self.storage.put_version(version.clone(), component, None).await.unwrap();
        version
    }

    /// Whether a bound was hit.
    fn hit(&self, limit: &str) -> bool {
        self.metrics.render().contains(&format!("handoff_limit_hits_total{{limit=\"{limit}\"}} "))
    }

    async fn queue(&self, suite: &str, reference: Option<&str>) -> RunId {
        let spec = spec(&suite.parse().unwrap(), 1, reference, 1);
        self.store(spec.id, queued(&spec)).await;
        spec.id
    }

    /// Closes the store, and opens it again.
    async fn reopen(self, dir: &TempDir) -> Self {
        self.storage.close().await.unwrap();
        drop(self);
        open(dir)
    }

    fn list(&self, query: &RunQuery) -> Vec<RunId> {
        let runs = self.storage.runs(query, &all()).unwrap();
        assert_eq!(runs.next_cursor, None);
        runs.items.iter().map(|run| run.id).collect()
    }
}
