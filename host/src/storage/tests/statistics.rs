//! Statistics are kept up to date with what is stored, bounded, and made again where they are missing.

use super::*;
use crate::model::Cause;
use crate::statistics::{News, Outcome, Sample, State};
use crate::storage::durable::Database;

/// Stores a run in which each of `tests` tests has this result: `.` passed, `r` passed after a failed attempt,
/// `x` failed, `e` ended in error.
async fn run(opened: &Opened, number: u64, results: &str) -> RunId {
    let spec = spec(&suite("team/hello"), number, Some("main"), results.len());
    let id = spec.id;
    opened.store(id, queued(&spec)).await;
    opened.store(id, EventKind::RunStarted).await;
    for (test, result) in spec.tests.iter().zip(results.chars()) {
        let (tried, status): (&[TestStatus], _) = match result {
            'r' => (&[TestStatus::Failed, TestStatus::Passed], TestStatus::Passed),
            'x' => (&[TestStatus::Failed], TestStatus::Failed),
            'e' => (&[TestStatus::Error], TestStatus::Error),
            _ => (&[TestStatus::Passed], TestStatus::Passed),
        };
        for (number, status) in (1..).zip(tried) {
            try_once(opened, id, &test.name, number, *status).await;
        }
        let (test, reason) = (test.name.clone(), None);
        opened.store(id, EventKind::TestFinished { test, round: 1, status, reason }).await;
    }
    end(opened, id).await;
    id
}

async fn try_once(opened: &Opened, run: RunId, test: &str, number: u32, status: TestStatus) {
    let failed = status == TestStatus::Failed;
    let attempt = Attempt {
        cause: failed.then_some(Cause::Assertion),
        message: failed.then(|| format!("{test} got {number}")),
        duration_ms: 7,
        ..Attempt::new(1, number, status, Timestamp::now())
    };
    let stage = Stage::Test(test.into());
    let attempt = Box::new(attempt);
    opened.store(run, EventKind::AttemptFinished { stage, attempt }).await;
}

async fn end(opened: &Opened, id: RunId) {
    let run = opened.storage.run(id).unwrap().unwrap();
    let (status, counts) = (run.verdict(), run.counts());
    opened.store(id, EventKind::RunFinished { status, message: None, counts }).await;
}

fn outcomes(opened: &Opened, test: &str) -> Vec<(u64, Outcome)> {
    let results = opened.storage.results(&suite("team/hello"), test).unwrap();
    let kept = results.map(|it| it.kept).unwrap_or_default();
    kept.into_iter().map(|(_, sample)| (sample.number, sample.outcome)).collect()
}

/// A test, and what is kept of its results.
type Known = (String, Vec<(u64, Sample)>);

/// All that is known: of the suite, of each test, of each group of failures.
fn known(opened: &Opened) -> (Vec<Known>, String) {
    let id = suite("team/hello");
    let tests = opened.storage.tests(&id, &all()).unwrap().items;
    let names = tests.iter().map(|it| it.test.clone()).chain([String::new()]);
    let results = names.map(|test| {
        let kept = opened.storage.results(&id, &test).unwrap().unwrap().kept;
        (test, kept)
    });
    let groups = opened.storage.groups(&id, &all()).unwrap().items;
    let own = opened.storage.series(&id, "").unwrap();
    (results.collect(), format!("{own:?} {tests:?} {groups:?}"))
}

#[tokio::test]
async fn each_result_counts_once_whatever_is_stored_again() {
    let dir = TempDir::new().unwrap();
    let opened = open(&dir);
    run(&opened, 1, ".r").await;
    let retried = run(&opened, 2, ".xe").await;
    run(&opened, 3, "..").await;
    use Outcome::{Failed, Passed, Retried};
    assert_eq!(outcomes(&opened, "test 0"), [(1, Passed), (2, Passed), (3, Passed)]);
    assert_eq!(outcomes(&opened, "test 1"), [(1, Retried), (2, Failed), (3, Passed)]);
    assert_eq!(outcomes(&opened, "test 2"), [], "an error of the platform is no result");
    assert_eq!(outcomes(&opened, ""), [(1, Retried), (2, Failed), (3, Passed)]);

    // Tried again: the same result changes, in its place. The store was opened again meanwhile.
    let opened = opened.reopen(&dir).await;
    let test = "test 1".to_owned();
    opened.store(retried, EventKind::RetryRequested { tests: vec![test.clone()], by: None }).await;
    opened.store(retried, EventKind::RunStarted).await;
    try_once(&opened, retried, &test, 2, TestStatus::Passed).await;
    let opened = opened.reopen(&dir).await;
    let (status, reason) = (TestStatus::Passed, None);
    opened.store(retried, EventKind::TestFinished { test, round: 1, status, reason }).await;
    assert_eq!(outcomes(&opened, "test 1"), [(1, Retried), (2, Retried), (3, Passed)]);
    let series = opened.storage.series(&suite("team/hello"), "test 1").unwrap().unwrap();
    assert_eq!((series.totals.runs, series.totals.failed, series.totals.retried), (3, 0, 2));
    assert_eq!(series.state(), State::Flaky);
    let flaky = opened.storage.tests_in(State::Flaky, None, &all()).unwrap().items;
    assert_eq!(flaky.iter().map(|it| it.test.as_str()).collect::<Vec<_>>(), ["test 1"]);
    assert!(opened.storage.tests_in(State::Broken, None, &all()).unwrap().items.is_empty());

    let groups = opened.storage.groups(&suite("team/hello"), &all()).unwrap().items;
    let group = &groups[0].group;
    assert_eq!((groups.len(), group.count, group.message.as_str()), (1, 2, "test <n> got <n>"));
    assert_eq!((group.first.number, group.last.number), (1, 2));
}

#[tokio::test]
async fn a_store_without_statistics_has_them_made_of_its_runs() {
    let dir = TempDir::new().unwrap();
    let opened = open(&dir);
    for (number, results) in (1..).zip([".x.", "r..", "xxr", "..x", "..x", "..x", ".ex"]) {
        run(&opened, number, results).await;
    }
    let (states, before) = (State::ALL, known(&opened));
    let tests_in = |opened: &Opened| -> Vec<usize> {
        let count =
            |state: &State| opened.storage.tests_in(*state, None, &all()).unwrap().items.len();
        states.iter().map(count).collect()
    };
    let in_states = tests_in(&opened);
    assert_eq!(in_states, [0, 2, 1], "{before:#?}");
    opened.storage.close().await.unwrap();
    drop(opened);
    let database = Database::open(&dir.path().join("store/db"), 1 << 20).unwrap();
    let mut batch = sled::Batch::default();
    batch.remove(keys::COUNTED);
    // Something that a process left which was killed meanwhile.
    batch.insert(keys::series(&suite("team/hello"), "test 9"), b"unfinished");
    database.commit(batch).unwrap();
    drop(database);
    let opened = open(&dir);
    assert_eq!(known(&opened), before);
    assert_eq!(tests_in(&opened), in_states);
    let metric =
        "handoff_tests_in_state{namespace=\"team\",state=\"broken\",suite_name=\"hello\"} 1";
    assert!(opened.metrics.render().contains(metric));
}

#[tokio::test]
async fn what_is_kept_for_statistics_is_bounded() {
    let dir = TempDir::new().unwrap();
    let settings = StorageSettings {
        statistics_results: 3,
        statistics_tests: 2,
        statistics_groups: 1,
        ..StorageSettings::default()
    };
    let opened = open_with(&dir, settings);
    for number in 1..=5 {
        run(&opened, number, "x.").await;
    }
    use Outcome::{Failed, Passed};
    assert_eq!(outcomes(&opened, "test 0"), [(3, Failed), (4, Failed), (5, Failed)]);
    assert_eq!(outcomes(&opened, "test 1"), [(3, Passed), (4, Passed), (5, Passed)]);
    let series = opened.storage.series(&suite("team/hello"), "test 0").unwrap().unwrap();
    assert_eq!((series.totals.runs, series.failing), (5, 5), "what went is still counted");
    assert!(opened.hit("storage_statistics_results"));
    assert!(!opened.hit("storage_statistics_tests") && !opened.hit("storage_statistics_groups"));

    // A third test, and a second group of failures. The tests before it are not in this run.
    let mut spec = spec(&suite("team/hello"), 6, None, 3);
    spec.tests.drain(..2);
    opened.store(spec.id, queued(&spec)).await;
    let attempt = Attempt {
        message: Some("something else".into()),
        ..Attempt::new(1, 1, TestStatus::Failed, Timestamp::now())
    };
    let stage = Stage::Test("test 2".into());
    opened.store(spec.id, EventKind::AttemptFinished { stage, attempt: Box::new(attempt) }).await;
    let (test, status, reason) = ("test 2".into(), TestStatus::Failed, None);
    opened.store(spec.id, EventKind::TestFinished { test, round: 1, status, reason }).await;
    assert!(opened.hit("storage_statistics_tests") && opened.hit("storage_statistics_groups"));
    let names = |opened: &Opened| -> Vec<String> {
        let tests = opened.storage.tests(&suite("team/hello"), &all()).unwrap().items;
        tests.into_iter().map(|it| it.test).collect()
    };
    assert_eq!(names(&opened), ["test 1", "test 2"], "the one that ran first in the last run went");
    assert_eq!(outcomes(&opened, "test 0"), [], "with its results");
    assert!(opened.storage.tests_in(State::Broken, None, &all()).unwrap().items.is_empty());
    let groups = opened.storage.groups(&suite("team/hello"), &all()).unwrap().items;
    assert_eq!(
        groups.iter().map(|it| it.group.message.as_str()).collect::<Vec<_>>(),
        ["something else"]
    );
}

#[tokio::test]
async fn turns_are_counted_once_and_in_order() {
    let dir = TempDir::new().unwrap();
    let opened = open(&dir);
    for (number, results) in (1..).zip([".", "x", "x", ".", "r", "r"]) {
        run(&opened, number, results).await;
    }
    let text = opened.metrics.render();
    for (news, count) in [
        (News::SuiteBecameFailing, 1),
        (News::SuiteStillFailing, 1),
        (News::SuiteRecovered, 1),
        (News::TestBecameFlaky { test: String::new() }, 1),
    ] {
        let line = format!("handoff_statistics_news_total{{news=\"{}\"}} {count}\n", news.as_str());
        assert!(text.contains(&line), "{line}{text}");
    }
}
