//! What the committing thread promises: order, shared flushes, keys, a full disk, an orderly end.

use super::*;

#[tokio::test]
async fn a_key_used_twice_at_once_makes_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let storage = &opened.storage;
    let mut receipts = Vec::new();
    for _ in 0..20 {
        let spec = spec(&suite("a"), 1, None, 1);
        let key = key("key", b"request");
        receipts.push((spec.id, storage.append(spec.id, queued(&spec), Some(key)).await));
    }
    let mut made = Vec::new();
    let mut taken = Vec::new();
    for (run, receipt) in receipts {
        match receipt.await.unwrap() {
            Ok(seq) => made.push((run, EarlierAnswer::Event { run, seq })),
            Err(error) => match &*error {
                StorageError::KeyTaken(answer) => taken.push(answer.clone()),
                error => panic!("{error}"),
            },
        }
    }
    assert_eq!((made.len(), taken.len()), (1, 19));
    assert!(taken.iter().all(|answer| *answer == made[0].1));
    assert_eq!(opened.list(&RunQuery::default()), [made[0].0]);
    let opened = opened.reopen(&dir).await;
    let storage = &opened.storage;
    assert_eq!(storage.earlier_answer(&key("key", b"request")).unwrap(), Some(made[0].1.clone()));
    assert_eq!(storage.earlier_answer(&key("other", b"request")).unwrap(), None);
    let error = storage.earlier_answer(&key("key", b"other request")).unwrap_err();
    assert!(matches!(error, StorageError::KeyReused), "{error}");
    let spec = spec(&suite("a"), 2, None, 1);
    let reused = storage.append(spec.id, queued(&spec), Some(key("key", b"other"))).await;
    let error = reused.await.unwrap().unwrap_err();
    assert!(matches!(*error, StorageError::KeyReused), "{error}");
}

#[tokio::test]
async fn a_full_disk_refuses_new_work_and_keeps_the_progress_of_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let storage = &opened.storage;
    let run = opened.queue("a", None).await;
    let ended = opened.queue("a", None).await;
    opened.store(ended, finished(RunStatus::Failed)).await;

    opened.free.store(0, Ordering::Release);
    let mut progress = vec![storage.append(run, EventKind::RunStarted, None).await];
    let refused = spec(&suite("a"), 3, None, 1);
    let full = |error: &StorageError| matches!(error, StorageError::Full);
    assert!(full(&*opened.refused(refused.id, queued(&refused)).await));
    let retry = EventKind::RetryRequested { tests: vec![], by: None };
    assert!(full(&*opened.refused(ended, retry).await));
    let component = Bytes::from_static(b"component");
    let version = version("a", &component);
    assert!(full(
        &storage.put_version(version.clone(), component.clone(), None).await.unwrap_err()
    ));
    assert!(full(&storage.put_policy(&suite("a"), &Policy::default()).await.unwrap_err()));
    assert!(full(&storage.healthy().unwrap_err()));
    assert!(opened.hit("storage_min_free_bytes"));
    assert_eq!(storage.component(&version.digest).await.unwrap(), None, "something was written");
    assert_eq!(storage.summary(refused.id).unwrap(), None);
    progress.push(storage.append(run, finished(RunStatus::Passed), None).await);
    assert_eq!(storage.events(run, 1, 10).unwrap(), []);

    opened.free.store(u64::MAX, Ordering::Release);
    for (seq, receipt) in (2..).zip(progress) {
        assert_eq!(receipt.await.unwrap().unwrap(), seq);
    }
    storage.healthy().unwrap();
    opened.store(refused.id, queued(&refused)).await;
    assert!(storage.put_version(version, component, None).await.unwrap());
}

#[tokio::test]
async fn whoever_hears_that_a_full_disk_has_room_again_may_ask_for_new_work() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let run = opened.queue("a", None).await;
    opened.free.store(0, Ordering::Release);
    let progress = opened.storage.append(run, EventKind::RunStarted, None).await;
    while opened.storage.shared().health.check().is_ok() {
        tokio::task::yield_now().await;
    }
    {
        // The thread waits for this when it tells of what it stored, which is before it answers.
        let _told = opened.told.lock().unwrap();
        opened.free.store(u64::MAX, Ordering::Release);
        while opened.storage.events(run, 1, 10).unwrap().is_empty() {
            std::thread::yield_now();
        }
        opened.storage.healthy().unwrap();
    }
    assert_eq!(progress.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_full_disk_holds_the_executors_back_until_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StorageSettings { queue_bytes: 2000, ..Default::default() };
    let opened = open_with(&dir, settings);
    let run = opened.queue("a", None).await;
    opened.free.store(0, Ordering::Release);
    let storage = opened.storage.clone();
    let appending = tokio::spawn(async move {
        let mut receipts = Vec::new();
        for _ in 0..100 {
            receipts.push(storage.append(run, EventKind::RunStarted, None).await);
        }
        receipts
    });
    // Those that found room wait in the store, one more waits for room: no more is taken.
    while opened.storage.0.room.available_permits() > 200 {
        tokio::task::yield_now().await;
    }
    assert!(!appending.is_finished());
    assert!(opened.hit("storage_queue_bytes"));
    opened.storage.close().await.unwrap();
    for receipt in appending.await.unwrap() {
        let error = receipt.await.unwrap().unwrap_err();
        assert!(matches!(*error, StorageError::Full | StorageError::Closed), "{error}");
    }
    drop(opened);
    assert_eq!(open(&dir).storage.run(run).unwrap().unwrap().last_seq, 1);
}

#[tokio::test]
async fn a_second_opening_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let path = dir.path().join("store");
    let settings = StorageSettings::default();
    let second = Storage::open(path.clone(), settings.clone(), Metrics::new(), Box::new(|_| {}));
    let error = second.err().unwrap();
    assert!(matches!(&error, StorageError::Locked(dir) if *dir == path), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
    drop(opened);
    assert!(Storage::open(path, settings, Metrics::new(), Box::new(|_| {})).is_ok());
}

#[tokio::test]
async fn closing_stores_what_is_queued_and_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let run = opened.queue("a", None).await;
    let mut receipts = Vec::new();
    for _ in 0..500 {
        receipts.push(opened.storage.append(run, EventKind::RunStarted, None).await);
    }
    opened.storage.close().await.unwrap();
    for receipt in receipts {
        receipt.await.unwrap().unwrap();
    }
    let error = opened.refused(run, EventKind::RunStarted).await;
    assert!(matches!(*error, StorageError::Closed), "{error}");
    let error = opened.storage.delete_suite(&suite("a")).await.unwrap_err();
    assert!(matches!(error, StorageError::Closed), "{error}");
    assert!(matches!(opened.storage.healthy(), Err(StorageError::Closed)));
    opened.storage.close().await.unwrap();
    assert_eq!(opened.storage.events(run, 0, 1000).unwrap().len(), 501);
}

#[tokio::test]
async fn dropping_the_last_handle_stores_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let run = opened.queue("a", None).await;
    for _ in 0..500 {
        drop(opened.storage.append(run, EventKind::RunStarted, None).await);
    }
    drop(opened);
    assert_eq!(open(&dir).storage.run(run).unwrap().unwrap().last_seq, 501);
}

#[tokio::test]
async fn a_listener_that_panics_does_not_stop_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let on_stored: OnStored = Box::new(|_| panic!("a listener's own mistake"));
    let storage =
        Storage::open(dir.path().to_owned(), StorageSettings::default(), Metrics::new(), on_stored)
            .unwrap();
    let spec = spec(&suite("a"), 1, None, 1);
    let receipt = storage.append(spec.id, queued(&spec), None).await;
    assert_eq!(receipt.await.unwrap().unwrap(), 1);
    let receipt = storage.append(spec.id, EventKind::RunStarted, None).await;
    assert_eq!(receipt.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn an_event_is_told_before_its_receipt_resolves() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let run = opened.queue("a", None).await;
    for seq in 2..50 {
        assert_eq!(opened.store(run, EventKind::RunStarted).await, seq);
        assert_eq!(opened.told.lock().unwrap().last().unwrap().seq, seq);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_stored_in_order_with_or_without_somebody_who_does() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let run = opened.queue("a", None).await;
    for _ in 0..100 {
        opened.storage.tell(run, EventKind::RunStarted).await;
    }
    assert_eq!(opened.store(run, EventKind::CancelRequested { by: None }).await, 102);
    let stored = |opened: &Opened| {
        let events = opened.storage.events(run, 0, 1000).unwrap();
        events.iter().map(|event| event.seq).collect::<Vec<_>>()
    };
    assert_eq!(stored(&opened), (1..=102).collect::<Vec<_>>());
    // Nobody comes after this one.
    opened.storage.tell(run, finished(RunStatus::Cancelled)).await;
    while opened.told.lock().unwrap().last().unwrap().seq < 103 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stored(&opened.reopen(&dir).await), (1..=103).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_appends_at_once_share_their_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let before = opened.storage.syncs();
    let appends = (0..1000).map(|_| {
        let storage = opened.storage.clone();
        tokio::spawn(async move {
            let spec = spec(&suite("a"), 1, None, 1);
            storage.append(spec.id, queued(&spec), None).await.await.unwrap().unwrap()
        })
    });
    for seq in futures::future::join_all(appends).await {
        assert_eq!(seq.unwrap(), 1);
    }
    let syncs = opened.storage.syncs() - before;
    assert!(syncs <= 200, "{syncs} flushes for 1000 appends");
    assert_eq!(opened.list(&RunQuery::default()).len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_with_large_details_survive_a_small_cache() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        StorageSettings { cache_bytes: 0, queue_bytes: 1 << 20, queue: 8, ..Default::default() };
    let opened = open_with(&dir, settings);
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push(opened.queue("a", None).await);
    }
    let writing = runs.iter().map(|run| {
        let (storage, run) = (opened.storage.clone(), *run);
        tokio::spawn(async move {
            for n in 0..20 {
                let stage = Stage::Test(format!("test {n}"));
                let attempt = attempt(Some(detail(300 * n)), vec![]);
                let kind = EventKind::AttemptFinished { stage, attempt };
                drop(storage.append(run, kind, None).await);
            }
            storage.append(run, finished(RunStatus::Passed), None).await.await.unwrap().unwrap()
        })
    });
    let writing = futures::future::join_all(writing);
    let seqs = tokio::time::timeout(Duration::from_secs(120), writing).await.unwrap();
    assert!(seqs.into_iter().all(|seq| seq.unwrap() == 22));
    let opened = opened.reopen(&dir).await;
    for run in runs {
        for n in 1..20 {
            let stage = Stage::Test(format!("test {n}"));
            assert_eq!(opened.storage.detail(run, &stage, 1, 1).unwrap(), Some(detail(300 * n)));
        }
    }
    let spilled = dir.path().join("store/db/blobs");
    assert_eq!(std::fs::read_dir(spilled).unwrap().count(), 0);
}

#[tokio::test]
async fn large_details_take_their_turn_and_small_ones_need_none() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_with(&dir, StorageSettings { large_details: 1, ..Default::default() });
    let run = opened.queue("a", None).await;
    let append = |lines: usize| {
        let attempt = attempt(Some(detail(lines)), vec![]);
        let stage = Stage::Test("test 0".into());
        opened.storage.append(run, EventKind::AttemptFinished { stage, attempt }, None)
    };
    let turn = opened.storage.shared().large.acquire().await.unwrap();
    let mut large = Box::pin(append(101));
    assert!(futures::poll!(&mut large).is_pending());
    assert!(opened.hit("storage_large_details"));
    assert_eq!(append(100).await.await.unwrap().unwrap(), 2);
    drop(turn);
    assert_eq!(large.await.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn a_key_that_is_forgotten_before_its_time_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_with(&dir, StorageSettings { idempotency_keys: 2, ..Default::default() });
    for name in ["first", "second", "third"] {
        assert!(!opened.hit("storage_idempotency_keys"), "{name}");
        let spec = spec(&suite("a"), 1, None, 1);
        let key = Some(key(name, b"request"));
        opened.storage.append(spec.id, queued(&spec), key).await.await.unwrap().unwrap();
    }
    assert!(opened.hit("storage_idempotency_keys"));
    let answer = |name| opened.storage.earlier_answer(&key(name, b"request")).unwrap();
    assert_eq!(answer("first"), None);
    assert!(answer("second").is_some() && answer("third").is_some());
}

#[tokio::test]
async fn the_queue_holds_no_more_than_it_is_set_to() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_with(&dir, StorageSettings { queue: 4, ..Default::default() });
    let run = opened.queue("a", None).await;
    opened.free.store(0, Ordering::Release);
    let storage = opened.storage.clone();
    let appending = tokio::spawn(async move {
        for _ in 0..3000 {
            drop(storage.append(run, EventKind::RunStarted, None).await);
        }
    });
    // One batch is held by the committing thread, the queue is full behind it.
    while opened.storage.waiting() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(opened.storage.waiting(), 4);
    while !opened.hit("storage_queue") {
        tokio::task::yield_now().await;
    }
    opened.free.store(u64::MAX, Ordering::Release);
    appending.await.unwrap();
    opened.storage.close().await.unwrap();
    assert_eq!(opened.storage.run(run).unwrap().unwrap().last_seq, 3001);
}
