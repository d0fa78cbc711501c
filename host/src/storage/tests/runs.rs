//! Events, summaries, lists and details of runs.

use std::collections::HashMap;

use super::*;

#[tokio::test]
async fn events_are_numbered_from_1_and_read_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let spec = spec(&suite("api"), 1, None, 100);
    opened.store(spec.id, queued(&spec)).await;
    let mut receipts = Vec::new();
    for n in 0..1000 {
        let stage = Stage::Test(format!("test {n}"));
        let kind = EventKind::AttemptStarted { stage, round: 1, number: 1 };
        receipts.push(opened.storage.append(spec.id, kind, None).await);
    }
    for (n, receipt) in (2..).zip(receipts) {
        assert_eq!(receipt.await.unwrap().unwrap(), n);
    }
    let told: Vec<_> = opened.told.lock().unwrap().iter().map(|event| event.seq).collect();
    assert_eq!(told, (1..=1001).collect::<Vec<_>>());
    let opened = opened.reopen(&dir).await;
    let seqs = |after, limit| -> Vec<u64> {
        let events = opened.storage.events(spec.id, after, limit).unwrap();
        events.iter().map(|event| event.seq).collect()
    };
    assert_eq!(seqs(0, usize::MAX), (1..=1001).collect::<Vec<_>>());
    for after in [1, 500, 999] {
        assert_eq!(seqs(after, 2), [after + 1, after + 2]);
    }
    assert_eq!(seqs(1000, 10), [1001]);
    assert!(seqs(1001, 10).is_empty());
    assert!(seqs(u64::MAX, 10).is_empty());
    assert!(seqs(0, 0).is_empty());
    assert_eq!(opened.store(spec.id, EventKind::RunStarted).await, 1002);
    assert_eq!(opened.storage.run(spec.id).unwrap().unwrap().last_seq, 1002);
    assert_eq!(opened.storage.events(RunId::new(), 0, 10).unwrap(), []);
}

#[tokio::test]
async fn an_event_larger_than_a_page_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let spec = spec(&suite("api"), 1, None, 20_000);
    opened.store(spec.id, queued(&spec)).await;
    let opened = opened.reopen(&dir).await;
    assert_eq!(opened.storage.run(spec.id).unwrap().unwrap().spec, spec);
}

#[tokio::test]
async fn detail_and_artifacts_are_stored_apart_from_the_event() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let run = opened.queue("api", None).await;
    let content = Bytes::from_static(b"screenshot");
    let digest = Digest::of(&content);
    let artifact = Artifact {
        name: "shot.png".into(),
        media_type: "image/png".into(),
        size_bytes: 10,
        digest,
        content: content.clone(),
    };
    let detail = detail(5000);
    let stage = Stage::Test("test 0".into());
    let attempt = attempt(Some(detail.clone()), vec![artifact]);
    opened.store(run, EventKind::AttemptFinished { stage: stage.clone(), attempt }).await;
    let told = opened.told.lock().unwrap().last().unwrap().clone();
    let EventKind::AttemptFinished { attempt, .. } = &told.kind else { panic!("{told:?}") };
    assert_eq!((&attempt.detail, &attempt.artifacts[0].content), (&None, &Bytes::new()));
    let opened = opened.reopen(&dir).await;
    let storage = &opened.storage;
    assert_eq!(storage.detail(run, &stage, 1, 1).unwrap(), Some(detail));
    assert_eq!(storage.detail(run, &stage, 1, 2).unwrap(), None);
    assert_eq!(storage.detail(run, &Stage::Setup, 1, 1).unwrap(), None);
    assert_eq!(storage.artifact(&digest).await.unwrap(), Some(content));
    assert_eq!(storage.events(run, 1, 1).unwrap(), [told.as_ref().clone()]);
}

#[tokio::test]
async fn of_a_long_message_the_event_has_the_start_and_the_detail_all() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let run = opened.queue("api", None).await;
    let message = Some("long ".repeat(10_000));
    let sent = Box::new(Attempt { message: message.clone(), ..*attempt(None, vec![]) });
    let stage = Stage::Setup;
    opened.store(run, EventKind::AttemptFinished { stage: stage.clone(), attempt: sent }).await;
    let opened = opened.reopen(&dir).await;
    let mut kept = opened.storage.run(run).unwrap().unwrap().setup[0].clone();
    let short = kept.message.as_ref().unwrap();
    assert!(short.len() <= Attempt::SUMMARY_MESSAGE_BYTES && kept.is_cut(), "{short}");
    kept.restore(&opened.storage.detail(run, &stage, 1, 1).unwrap().unwrap());
    assert_eq!(kept.message, message);
}

#[tokio::test]
async fn a_run_has_its_last_attempts_and_all_are_found_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_with(&dir, StorageSettings { attempts_shown: 4, ..Default::default() });
    let spec = spec(&suite("api"), 1, None, 2);
    opened.store(spec.id, queued(&spec)).await;
    for number in 1..=5 {
        for name in ["test 0", "test 1"] {
            let attempt = Box::new(Attempt { number, ..*attempt(None, vec![]) });
            let stage = Stage::Test(name.into());
            opened.store(spec.id, EventKind::AttemptFinished { stage, attempt }).await;
        }
    }
    assert!(!opened.hit("storage_attempts_shown"));
    let run = opened.storage.run(spec.id).unwrap().unwrap();
    assert!(opened.hit("storage_attempts_shown"));
    for test in &run.tests {
        assert_eq!(test.attempts.iter().map(|a| a.number).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(test.attempts.total(), 5);
    }
    let numbers = |up_to| {
        let mut numbers = Vec::new();
        let each = |_: &Stage, attempt: &Attempt| numbers.push(attempt.number);
        opened.storage.attempts(spec.id, up_to, each).unwrap();
        numbers
    };
    assert_eq!(numbers(run.last_seq), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
    assert_eq!(numbers(4), [1, 1, 2], "the first event is no attempt");
}

#[tokio::test]
async fn an_empty_detail_takes_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let run = opened.queue("api", None).await;
    let attempt = attempt(Some(AttemptDetail::default()), vec![]);
    opened.store(run, EventKind::AttemptFinished { stage: Stage::Setup, attempt }).await;
    assert_eq!(opened.storage.shared().database.scan(b"d").count(), 0);
}

#[tokio::test]
async fn the_summary_is_that_of_the_fold() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let spec = spec(&suite("api"), 1, Some("main"), 1);
    let test = || "test 0".to_owned();
    let counts = Counts { passed: 1, ..Default::default() };
    let verdict = |status| EventKind::RunFinished { status, message: None, counts };
    let tested = EventKind::TestFinished {
        test: test(),
        round: 1,
        status: TestStatus::Passed,
        reason: None,
    };
    let cleared = |test| {
        let (reason, by) = ("no network".to_owned(), Some("ann".to_owned()));
        EventKind::Cleared { test, attempt: None, reason, by, counts }
    };
    let stage = Stage::Test(test());
    let kinds = [
        queued(&spec),
        EventKind::RunStarted,
        EventKind::AttemptStarted { stage: stage.clone(), round: 1, number: 1 },
        EventKind::AttemptFinished { stage, attempt: attempt(None, vec![]) },
        tested.clone(),
        verdict(RunStatus::Passed),
        EventKind::RetryRequested { tests: vec![test()], by: None },
        EventKind::RunStarted,
        EventKind::CancelRequested { by: None },
        tested,
        verdict(RunStatus::Cancelled),
        cleared(Some(test())),
        cleared(None),
    ];
    for kind in kinds {
        opened.store(spec.id, kind).await;
        let folded = opened.storage.run(spec.id).unwrap().unwrap();
        let told = opened.told.lock().unwrap().clone();
        let shown = StorageSettings::default().attempts_shown;
        let heard = Run::fold(told.iter().map(Arc::as_ref)).unwrap().keeping(shown);
        assert_eq!(heard, folded);
        assert_eq!(opened.storage.run_as_of(spec.id, told.len() as u64).unwrap(), Some(heard));
        let summary = opened.storage.summary(spec.id).unwrap().unwrap();
        assert_eq!(summary, folded.summary());
        let unfinished = opened.storage.unfinished().unwrap();
        assert_eq!(unfinished.contains(&spec.id), !summary.status.is_terminal());
        let query = RunQuery { status: Some(summary.status), ..Default::default() };
        assert_eq!(opened.list(&query), [spec.id]);
        for status in RunStatus::ALL.iter().filter(|status| **status != summary.status) {
            let query = RunQuery { status: Some(*status), ..Default::default() };
            assert_eq!(opened.list(&query), []);
        }
    }
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_any_combination() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let statuses = [RunStatus::Passed, RunStatus::Failed];
    let mut stored = BTreeMap::new();
    for n in 0..40 {
        let name = ["a", "b"][n % 2];
        let reference = [None, Some("main"), Some("feature/x")][n % 3];
        let status = statuses[n / 2 % 2];
        let run = opened.queue(name, reference).await;
        opened.store(run, finished(status)).await;
        stored.insert(run, (suite(name), status, reference));
    }
    let opened = opened.reopen(&dir).await;
    for by_suite in [None, Some(suite("a")), Some(suite("c"))] {
        for by_status in [None, Some(RunStatus::Failed), Some(RunStatus::Queued)] {
            for by_reference in [None, Some("main"), Some("mai")] {
                let expected = stored.iter().rev().filter(|(_, (suite, status, reference))| {
                    by_suite.as_ref().is_none_or(|it| it == suite)
                        && by_status.is_none_or(|it| it == *status)
                        && by_reference.is_none_or(|it| Some(it) == *reference)
                });
                let expected: Vec<_> = expected.map(|(run, _)| *run).collect();
                let query = RunQuery {
                    suite: by_suite.clone(),
                    status: by_status,
                    reference: by_reference.map(Into::into),
                };
                assert_eq!(opened.list(&query), expected, "{query:?}");
                assert_eq!(paged(&opened.storage, &query, 3), expected, "{query:?}");
            }
        }
    }
}

fn paged(storage: &Storage, query: &RunQuery, limit: usize) -> Vec<RunId> {
    let mut page = Page { limit, cursor: None };
    let mut runs = Vec::new();
    loop {
        let part = storage.runs(query, &page).unwrap();
        assert!(part.items.len() <= limit);
        runs.extend(part.items.iter().map(|run| run.id));
        page.cursor = part.next_cursor;
        if page.cursor.is_none() {
            return runs;
        }
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    for _ in 0..3 {
        opened.queue("a", None).await;
    }
    let storage = &opened.storage;
    let page = |cursor| Page { limit: 1, cursor };
    let query = RunQuery { suite: Some(suite("a")), ..Default::default() };
    let cursor = storage.runs(&query, &page(None)).unwrap().next_cursor;
    assert_eq!(storage.runs(&query, &page(cursor.clone())).unwrap().items.len(), 1);
    let other = RunQuery { suite: Some(suite("b")), ..Default::default() };
    for (query, cursor) in [(&other, cursor), (&query, Some("x".into()))] {
        let error = storage.runs(query, &page(cursor)).unwrap_err();
        assert!(matches!(error, StorageError::BadCursor), "{error}");
    }
}

#[tokio::test]
async fn an_event_that_does_not_fit_its_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let spec = spec(&suite("a"), 1, None, 1);
    let misplaced = |error: Arc<StorageError>| matches!(*error, StorageError::Misplaced(_));
    assert!(misplaced(opened.refused(spec.id, EventKind::RunStarted).await));
    assert!(misplaced(opened.refused(RunId::new(), queued(&spec)).await));
    opened.store(spec.id, queued(&spec)).await;
    assert!(misplaced(opened.refused(spec.id, queued(&spec)).await));
    let opened = opened.reopen(&dir).await;
    assert!(misplaced(opened.refused(spec.id, queued(&spec)).await));
    assert_eq!(opened.store(spec.id, EventKind::RunStarted).await, 2);
}

#[tokio::test]
async fn numbers_of_runs_never_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let (a, b) = (suite("a"), suite("b"));
    let mut seen = Vec::new();
    for suite in [&a, &a, &b, &a] {
        let number = opened.storage.next_run_number(suite).unwrap();
        let spec = spec(suite, number, None, 1);
        opened.store(spec.id, queued(&spec)).await;
        seen.push(number);
    }
    assert_eq!(seen, [1, 2, 1, 3]);
    // Two are given, and stored in the other order.
    let numbers = [(); 2].map(|()| opened.storage.next_run_number(&a).unwrap());
    for number in [numbers[1], numbers[0]] {
        let spec = spec(&a, number, None, 1);
        opened.store(spec.id, queued(&spec)).await;
    }
    assert_eq!(opened.storage.next_run_number(&a).unwrap(), 6);
    let opened = opened.reopen(&dir).await;
    assert_eq!(opened.storage.next_run_number(&a).unwrap(), 6);
    assert_eq!(opened.storage.next_run_number(&b).unwrap(), 2);
}

#[tokio::test]
async fn nobody_reads_what_is_not_yet_durable() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let run = opened.queue("a", None).await;
    let shared = opened.storage.shared();
    // As it is between applying a batch and its flush: one run new, one with an event more.
    let new = opened.queue("a", None).await;
    opened.store(run, EventKind::RunStarted).await;
    let summary = opened.storage.summary(run).unwrap().unwrap();
    let before =
        crate::model::RunSummary { status: RunStatus::Queued, started_at: None, ..summary.clone() };
    let before = pending::Before { seq: 1, summary: Some(before) };
    let nothing = pending::Before { seq: 0, summary: None };
    shared.pending.begin([(run, before), (new, nothing)].into(), HashMap::new());
    let storage = &opened.storage;
    assert_eq!(storage.events(run, 0, 10).unwrap().len(), 1);
    assert_eq!(storage.summary(run).unwrap().unwrap().status, RunStatus::Queued);
    assert_eq!(storage.run(run).unwrap().unwrap().status, RunStatus::Queued);
    assert_eq!(storage.run(new).unwrap(), None);
    assert_eq!(storage.summary(new).unwrap(), None);
    assert_eq!(opened.list(&RunQuery::default()), [run]);
    assert_eq!(storage.unfinished().unwrap(), [run]);
    shared.pending.end();
    assert_eq!(storage.summary(run).unwrap(), Some(summary));
    assert_eq!(opened.list(&RunQuery::default()), [new, run]);
}
