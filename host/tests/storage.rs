//! The store under processes that die and disks that fail: a child process writes and says what was
//! acknowledged, the test kills it, opens the store and looks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use handoff::metrics::Metrics;
use handoff::model::{
    Artifact, Attempt, AttemptDetail, Counts, Digest, EventKind, LogLine, PlannedTest, Policy,
    RunId, RunRequest, RunSpec, RunStatus, Source, Stage, SuiteDescription, SuiteId, SuiteVersion,
    TestStatus,
};
use handoff::storage::{
    EarlierAnswer, IdempotencyKey, Page, RunQuery, Storage, StorageError, StorageSettings,
};
use jiff::Timestamp;
use rand::RngExt as _;

/// How often a process is killed.
const KILLS: usize = 25;
/// Says to a child of this test where its store is.
const STORE: &str = "HANDOFF_TEST_STORE";
/// Starts a program whose files cannot grow over 3,000 blocks of 512 bytes: writing on is an error
/// for it, and does not end it by the signal.
const LIMITED: &[&str] = &["sh", "-c", "trap '' XFSZ; ulimit -f 3000; exec \"$0\" \"$@\""];

fn open(dir: &Path) -> Result<Storage, StorageError> {
    let settings = StorageSettings { min_free_bytes: 0, ..Default::default() };
    Storage::open(dir.to_owned(), settings, Metrics::new(), Box::new(|_| {}))
}

fn spec(number: u64) -> RunSpec {
    let test = PlannedTest {
        name: "test".into(),
        soft: false,
        timeout_ms: None,
        max_attempts: 1,
        skip: None,
        mark: None,
    };
    RunSpec {
        id: RunId::new(),
        number,
        suite: "team/api".parse().unwrap(),
        version: Digest::of(b"component"),
        created_at: Timestamp::now(),
        request: RunRequest { reference: Some("main".into()), ..Default::default() },
        timeout_ms: 1000,
        parallelism: 1,
        repeat: 1,
        tests: vec![test],
        program: None,
        language: None,
        fixtures: None,
        sharing: Default::default(),
    }
}

fn queued(spec: &RunSpec) -> EventKind {
    EventKind::RunQueued { spec: Box::new(spec.clone()) }
}

/// An attempt with a log of random lines and, now and then, an artifact.
fn attempt() -> EventKind {
    let mut random = rand::rng();
    let line = |_| LogLine {
        at: Timestamp::now(),
        source: Source::Stdout,
        text: RunId::new().to_string().into(),
    };
    let log = (0..random.random_range(0..200)).map(line).collect();
    let content = Bytes::from(RunId::new().to_string());
    let artifact = Artifact {
        name: "file".into(),
        media_type: "text/plain".into(),
        size_bytes: content.len() as u64,
        digest: Digest::of(&content),
        content,
    };
    EventKind::AttemptFinished {
        stage: Stage::Test("test".into()),
        attempt: Box::new(Attempt {
            artifacts: if random.random_bool(0.1) { vec![artifact] } else { vec![] },
            detail: Some(Box::new(AttemptDetail { log, ..Default::default() })),
            ..Attempt::new(1, 1, TestStatus::Passed, Timestamp::now())
        }),
    }
}

fn finished() -> EventKind {
    let counts = Counts { passed: 1, ..Default::default() };
    EventKind::RunFinished { status: RunStatus::Passed, message: None, counts }
}

fn key(run: RunId) -> IdempotencyKey {
    IdempotencyKey { key: run.to_string(), request: Digest::of(b"request") }
}

fn page(limit: usize) -> Page {
    Page { limit, cursor: None }
}

/// One run after another, until an error; each acknowledged event is told.
async fn make_runs(storage: Storage, told: impl Fn(RunId, u64)) -> Arc<StorageError> {
    let suite: SuiteId = "team/api".parse().unwrap();
    loop {
        let number = match storage.next_run_number(&suite) {
            Ok(number) => number,
            Err(error) => return Arc::new(error),
        };
        let spec = spec(number);
        for kind in [queued(&spec), EventKind::RunStarted, attempt(), finished()] {
            let key = matches!(kind, EventKind::RunQueued { .. }).then(|| key(spec.id));
            match storage.append(spec.id, kind, key).await.await.unwrap() {
                Ok(seq) => told(spec.id, seq),
                Err(error) => return error,
            }
        }
    }
}

/// One policy after another, until an error.
async fn change_policies(storage: &Storage) -> Arc<StorageError> {
    let suite: SuiteId = "team/api".parse().unwrap();
    let component = Bytes::from_static(b"component");
    let version = version(&suite, &component);
    if let Err(error) = storage.put_version(version, component, None).await {
        return Arc::new(error);
    }
    for n in 0_u64.. {
        let config = BTreeMap::from([("n".into(), n.to_string())]);
        let policy = Policy { config, ..Default::default() };
        if let Err(error) = storage.put_policy(&suite, &policy).await {
            return Arc::new(error);
        }
    }
    unreachable!("there are enough numbers")
}

/// Suites that come and go, two of which always have the same component, until an error.
async fn change_suites(storage: &Storage) -> Arc<StorageError> {
    for n in 0_u64.. {
        let component = Bytes::from(format!("component {}", n / 2));
        let suite: SuiteId = format!("team/suite-{}", n % 5).parse().unwrap();
        if let Err(error) = storage.delete_suite(&suite).await {
            return Arc::new(error);
        }
        let version = version(&suite, &component);
        if let Err(error) = storage.put_version(version, component, None).await {
            return Arc::new(error);
        }
    }
    unreachable!("there are enough numbers")
}

fn version(suite: &SuiteId, component: &Bytes) -> SuiteVersion {
    SuiteVersion {
        suite: suite.clone(),
        digest: Digest::of(component),
        description: SuiteDescription::default(),
        imports: Vec::new(),
        size_bytes: component.len() as u64,
        created_at: Timestamp::UNIX_EPOCH,
        program: None,
        language: None,
    }
}

/// The part of the child: writes until it is killed. By itself, as a test, it writes until its store
/// is closed.
#[tokio::test]
async fn child_writes_until_it_is_stopped() {
    let told = |run: RunId, seq: u64| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "stored {run} {seq}").unwrap();
        out.flush().unwrap();
    };
    if let Some(dir) = std::env::var_os(STORE) {
        let storage = match open(Path::new(&dir)) {
            Ok(storage) => storage,
            Err(error) => return println!("failed to {error}"),
        };
        let writers = (0..8).map(|_| Box::pin(make_runs(storage.clone(), told)));
        // Progress waits for a full disk to have room; a change is told.
        let error = tokio::select! {
            (error, ..) = futures::future::select_all(writers) => error,
            error = change_policies(&storage) => error,
            error = change_suites(&storage) => error,
        };
        println!("failed to {error}");
        println!("health {:?}", storage.healthy());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path()).unwrap();
    let writing = tokio::spawn(make_runs(storage.clone(), told));
    while storage.runs(&RunQuery::default(), &page(3)).unwrap().items.len() < 3 {
        tokio::task::yield_now().await;
    }
    storage.close().await.unwrap();
    let error = writing.await.unwrap();
    assert!(matches!(*error, StorageError::Closed), "{error}");
}

/// This test binary again, to run the child's part alone; `prefix` starts it.
fn child(dir: &Path, prefix: &[&str]) -> Child {
    let me = std::env::current_exe().unwrap();
    let mut words = prefix.iter().map(PathBuf::from).chain([me]);
    Command::new(words.next().unwrap())
        .args(words)
        .args(["--exact", "child_writes_until_it_is_stopped", "--nocapture"])
        .env(STORE, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok)
}

/// Run and number of a line of the child's. The test harness may have begun the line.
fn stored(line: &str) -> Option<(RunId, u64)> {
    let (_, line) = line.split_once("stored ")?;
    let (run, seq) = line.split_once(' ')?;
    Some((run.parse().ok()?, seq.parse().ok()?))
}

/// Looks at everything in a store: each acknowledged event is there, no run has a gap, and lists,
/// summaries, details, artifacts and keys agree with the events.
async fn check(storage: &Storage, acknowledged: &HashMap<RunId, u64>) {
    let unfinished = storage.unfinished().unwrap();
    let all = storage.runs(&RunQuery::default(), &page(usize::MAX)).unwrap().items;
    let mut numbers: Vec<_> = all.iter().map(|run| run.number).collect();
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|two| two[0] != two[1]), "a number was given twice");
    for (run, seq) in acknowledged {
        let last = storage.run(*run).unwrap().map_or(0, |run| run.last_seq);
        assert!(last >= *seq, "of run {run}, {seq} was acknowledged, {last} is stored");
    }
    let query = |status| RunQuery { status: Some(status), ..Default::default() };
    let of = |status: &RunStatus| storage.runs(&query(*status), &page(usize::MAX)).unwrap().items;
    let by_status: usize = RunStatus::ALL.iter().map(|status| of(status).len()).sum();
    assert_eq!(by_status, all.len());
    for summary in &all {
        let events = storage.events(summary.id, 0, usize::MAX).unwrap();
        let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
        let run = storage.run(summary.id).unwrap().unwrap();
        assert_eq!(run.status, summary.status);
        assert_eq!(unfinished.contains(&summary.id), !summary.status.is_terminal());
        let answer = storage.earlier_answer(&key(summary.id)).unwrap().unwrap();
        assert_eq!(answer, EarlierAnswer::Event { run: summary.id, seq: 1 });
        for event in events {
            let EventKind::AttemptFinished { stage, attempt } = event.kind else { continue };
            storage.detail(summary.id, &stage, 1, 1).unwrap();
            for artifact in attempt.artifacts {
                assert!(storage.artifact(&artifact.digest).await.unwrap().is_some());
            }
        }
    }
}

/// Looks at the components: each version's is there, and none that neither a version nor a run needs.
async fn check_components(dir: &Path, storage: &Storage) {
    let mut needed = HashSet::new();
    for suite in storage.suites(&page(usize::MAX)).unwrap().items {
        for version in storage.versions(&suite.suite, &page(usize::MAX)).unwrap().items {
            assert!(storage.component(&version.digest).await.unwrap().is_some(), "{version:?}");
            needed.insert(version.digest.hex());
        }
    }
    for run in storage.unfinished().unwrap() {
        needed.insert(storage.summary(run).unwrap().unwrap().version.hex());
    }
    for shelf in std::fs::read_dir(dir.join("components")).unwrap() {
        for file in std::fs::read_dir(shelf.unwrap().path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(needed.contains(&name), "nobody needs the component {name}");
        }
    }
}

/// Ends every run that is not finished, as a server does after a restart.
async fn finish_runs(storage: &Storage) {
    for run in storage.unfinished().unwrap() {
        let last = storage.run(run).unwrap().unwrap().last_seq;
        let seq = storage.append(run, finished(), None).await.await.unwrap().unwrap();
        assert_eq!(seq, last + 1);
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = HashMap::new();
    for _ in 0..KILLS {
        let mut child = child(dir.path(), &[]);
        let mut left = rand::rng().random_range(1..400);
        for line in lines(&mut child) {
            let Some((run, seq)) = stored(&line) else {
                assert!(!line.contains("failed"), "{line}");
                continue;
            };
            acknowledged.insert(run, seq);
            left -= 1;
            if left == 0 {
                child.kill().unwrap();
            }
        }
        assert!(left <= 0, "the child ended by itself");
        child.wait().unwrap();
        let storage = open(dir.path()).unwrap();
        check(&storage, &acknowledged).await;
        check_components(dir.path(), &storage).await;
        finish_runs(&storage).await;
        storage.close().await.unwrap();
    }
}

/// Everything that a child acknowledged before it ended by itself, and its other lines.
fn run_to_end(mut child: Child) -> (HashMap<RunId, u64>, String) {
    let (mut acknowledged, mut rest) = (HashMap::new(), String::new());
    for line in lines(&mut child) {
        match stored(&line) {
            Some((run, seq)) => drop(acknowledged.insert(run, seq)),
            None => rest.extend([line.as_str(), "\n"]),
        }
    }
    child.wait().unwrap();
    (acknowledged, rest)
}

#[tokio::test]
async fn a_failed_write_breaks_the_store_and_loses_nothing_stored_before() {
    let dir = tempfile::tempdir().unwrap();
    let (acknowledged, rest) = run_to_end(child(dir.path(), LIMITED));
    assert!(acknowledged.len() > 10, "{rest}");
    assert!(rest.contains("restart the server"), "{rest}");
    assert!(rest.contains("health Err(Broken("), "{rest}");
    let storage = open(dir.path()).unwrap();
    check(&storage, &acknowledged).await;
    finish_runs(&storage).await;
}

/// A file system of 8 MiB, for as long as it is held.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where this process may not mount.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(dir.path());
        let mounted = mount.stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        // Its directory goes next, and fails to if this did.
        drop(unmounted);
    }
}

#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_loses_nothing() {
    let small = SmallDisk::mount();
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = small.as_ref().map_or(elsewhere.path(), |disk| disk.0.path()).join("store");
    let mut settings = StorageSettings { min_free_bytes: 2 << 20, ..Default::default() };
    let mut stored = HashMap::new();
    {
        let storage =
            Storage::open(dir.clone(), settings.clone(), Metrics::new(), Box::new(|_| {})).unwrap();
        let runs = if small.is_some() { u64::MAX } else { 20 };
        for number in 1..=runs {
            let spec = spec(number);
            let key = Some(key(spec.id));
            match storage.append(spec.id, queued(&spec), key).await.await.unwrap() {
                Ok(seq) => drop(stored.insert(spec.id, seq)),
                Err(error) => {
                    assert!(matches!(*error, StorageError::Full), "{error}");
                    assert!(matches!(storage.healthy(), Err(StorageError::Full)));
                    assert!(storage.summary(spec.id).unwrap().is_none());
                    break;
                }
            }
        }
        assert!(stored.len() >= 20);
        check(&storage, &stored).await;
        storage.close().await.unwrap();
    }
    // A reserve larger than the disk: nothing new is taken, all of the old can be read.
    settings.min_free_bytes = u64::MAX;
    let storage = Storage::open(dir.clone(), settings, Metrics::new(), Box::new(|_| {})).unwrap();
    let new = spec(0);
    let refused = storage.append(new.id, queued(&new), None).await.await.unwrap();
    assert!(matches!(*refused.unwrap_err(), StorageError::Full));
    check(&storage, &stored).await;
    storage.close().await.unwrap();
    drop(storage);
    // The reserve is given up: there is room to finish what was begun.
    let storage = open(&dir).unwrap();
    for run in stored.keys().take(20) {
        storage.append(*run, finished(), None).await.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let storage = open(&dir).unwrap();
    let spec = spec(1);
    storage.append(spec.id, queued(&spec), None).await.await.unwrap().unwrap();
    storage.close().await.unwrap();
    drop(storage);
    let records = || {
        let database = sled::open(dir.join("db")).unwrap();
        let records = database.iter().map(Result::unwrap);
        (records.map(|(key, value)| (key.to_vec(), value.to_vec())).collect::<Vec<_>>(), database)
    };
    {
        let (_, database) = records();
        database.insert("!", &[u8::MAX]).unwrap();
        database.flush().unwrap();
    }
    let before = records().0;
    let serve = Command::new(env!("CARGO_BIN_EXE_handoff"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&dir)
        .env_clear()
        .output()
        .unwrap();
    let told = String::from_utf8(serve.stderr).unwrap();
    assert_eq!(serve.status.code(), Some(102), "{told}");
    assert!(told.contains("a newer version of handoff wrote it (format 255"), "{told}");
    assert!(before == records().0, "the store is as it was");
}

#[tokio::test]
async fn a_disk_that_fills_to_the_last_byte_loses_nothing() {
    let small = SmallDisk::mount();
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = small.as_ref().map_or(elsewhere.path(), |disk| disk.0.path()).join("store");
    // Where nothing can be mounted, the size of a file stands for that of the disk.
    let prefix = if small.is_some() { &[] } else { LIMITED };
    let (acknowledged, rest) = run_to_end(child(&dir, prefix));
    assert!(acknowledged.len() > 10, "{rest}");
    assert!(rest.contains("failed to "), "{rest}");
    // sled writes a little when it opens, so there is more room first, as an operator would make.
    let roomy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(&dir).arg(roomy.path()).status().unwrap();
    assert!(copied.success());
    let storage = open(&roomy.path().join("store")).unwrap();
    check(&storage, &acknowledged).await;
    finish_runs(&storage).await;
}
