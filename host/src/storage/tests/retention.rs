//! What is forgotten and what stays.

use super::*;
use crate::model::{
    Annotation, Delivery, DeliveryStatus, Gated, Keep, KeepRule, Kept, Notice, NoticeKind, Pin,
    samples,
};
use crate::storage::{Freed, FreedSums, Settled, keys};

const ALL_BUT_ONE: KeepRule = KeepRule { age_ms: 0, runs: 1 };

fn artifact(content: &'static str) -> Artifact {
    let content = Bytes::from_static(content.as_bytes());
    Artifact {
        name: "a".into(),
        media_type: "text/plain".into(),
        size_bytes: content.len() as u64,
        digest: Digest::of(&content),
        content,
    }
}

impl Opened {
    /// Stores a run that ended so, with an attempt that left a log and these artifacts.
    async fn ended(&self, number: u64, status: RunStatus, artifacts: Vec<Artifact>) -> RunSpec {
        let spec = spec(&suite("a"), number, Some("main"), 1);
        self.store(spec.id, queued(&spec)).await;
        self.store(spec.id, EventKind::RunStarted).await;
        let stage = Stage::Test("test 0".into());
        let attempt = attempt(Some(detail(200)), artifacts);
        self.store(spec.id, EventKind::AttemptFinished { stage, attempt }).await;
        self.store(spec.id, finished(status)).await;
        spec
    }

    /// Forgets what the rule lets go.
    async fn forget(&self, rule: KeepRule) -> FreedSums {
        let (of, freed) = (suite("a"), Arc::new(Freed::default()));
        let beyond = self.storage.first_beyond(&of, rule.runs).unwrap();
        let mut after = None;
        loop {
            let rule = (rule, beyond);
            let found = self.storage.expired(&of, rule, Timestamp::now(), after, 2).unwrap();
            let mut runs = found.runs;
            while !runs.is_empty() {
                runs = self.storage.forget(runs, freed.clone()).await.unwrap();
            }
            after = found.last;
            if after.is_none() {
                return freed.sums();
            }
        }
    }

    /// How many keys there are of a run beside those in lists.
    fn keys_of(&self, run: RunId) -> usize {
        let database = &self.storage.shared().database;
        let left = keys::left_by(run).into_iter().map(|start| database.scan(&start).count());
        left.sum::<usize>() + database.scan(&keys::leaving(run)).count()
    }
}

#[tokio::test]
async fn what_the_rule_lets_go_goes_with_logs_and_artifacts_and_what_is_needed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    opened.upload("a", b"component").await;
    let (own, shared) = (artifact("its own"), artifact("shared"));
    let gone = opened.ended(1, RunStatus::Passed, vec![own.clone(), shared.clone()]).await;
    let pinned = opened.ended(2, RunStatus::Cancelled, vec![shared.clone()]).await;
    let last_passed = opened.ended(3, RunStatus::Passed, vec![]).await;
    let last_failed = opened.ended(4, RunStatus::Failed, vec![]).await;
    let cancelled = opened.ended(5, RunStatus::Cancelled, vec![]).await;
    let running = spec(&suite("a"), 6, None, 1);
    opened.store(running.id, queued(&running)).await;
    let running = running.id;
    let newest = opened.ended(7, RunStatus::Error, vec![]).await;
    let pin = Pin { at: Timestamp::UNIX_EPOCH, by: None, reason: Some("why".into()) };
    assert!(opened.storage.set_pin(pinned.id, Some(pin.clone())).await.unwrap());
    assert!(!opened.storage.set_pin(RunId::new(), Some(pin.clone())).await.unwrap());

    let freed = opened.forget(ALL_BUT_ONE).await;
    assert_eq!((freed.runs, freed.files, freed.file_bytes), (2, 1, own.size_bytes));
    assert!(freed.record_bytes > 1_000, "{freed:?}");
    let opened = opened.reopen(&dir).await;
    let kept = [newest.id, running, last_failed.id, last_passed.id, pinned.id];
    assert_eq!(opened.list(&RunQuery::default()), kept);
    for query in [
        RunQuery { suite: Some(suite("a")), ..RunQuery::default() },
        RunQuery { reference: Some("main".into()), ..RunQuery::default() },
        RunQuery { status: Some(RunStatus::Cancelled), ..RunQuery::default() },
    ] {
        let found = opened.list(&query);
        assert!(!found.contains(&gone.id) && !found.contains(&cancelled.id), "{query:?}");
    }
    for run in [&gone, &cancelled] {
        assert_eq!(opened.storage.run(run.id).unwrap(), None);
        assert_eq!(opened.storage.run_by_number(&run.suite, run.number).unwrap(), None);
        assert_eq!(opened.keys_of(run.id), 0);
    }
    assert_eq!(opened.storage.artifact(&own.digest).await.unwrap(), None);
    assert_eq!(
        opened.storage.artifact(&shared.digest).await.unwrap(),
        Some(shared.content.clone())
    );
    let stage = Stage::Test("test 0".into());
    assert!(opened.storage.detail(last_passed.id, &stage, 1, 1).unwrap().is_some());
    assert_eq!(opened.storage.pin(pinned.id), Some(pin));
    assert_eq!(opened.storage.next_run_number(&suite("a")).unwrap(), 8);

    // Neither the pin nor the suite holds them any longer.
    opened.storage.set_pin(pinned.id, None).await.unwrap();
    assert_eq!(opened.forget(ALL_BUT_ONE).await.files, 1);
    opened.storage.delete_suite(&suite("a")).await.unwrap();
    opened.forget(ALL_BUT_ONE).await;
    assert_eq!(opened.list(&RunQuery::default()), [newest.id, running]);
}

#[tokio::test]
async fn runs_go_by_age_after_their_end_and_a_policy_says_when() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    opened.upload("a", b"component").await;
    for number in 1..=5 {
        opened.ended(number, RunStatus::Cancelled, vec![]).await;
    }
    let server = KeepRule { age_ms: 3_600_000, runs: 0 };
    assert_eq!(opened.forget(server).await, FreedSums::default());
    let policy = Policy { keep: Keep { age_ms: Some(1), runs: None }, ..Policy::default() };
    opened.storage.put_policy(&suite("a"), &policy).await.unwrap();
    let own = opened.storage.policy(&suite("a")).unwrap().unwrap().keep.over(server);
    tokio::time::timeout(std::time::Duration::from_secs(60), async {
        // The last of them is not a millisecond old at first.
        while !opened.list(&RunQuery::default()).is_empty() {
            opened.forget(own).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_large_run_is_out_of_sight_at_once_and_a_crash_leaves_what_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let shared = artifact("shared");
    let kept = opened.ended(2, RunStatus::Error, vec![shared.clone()]).await;
    let large = spec(&suite("a"), 1, None, 1);
    opened.store(large.id, queued(&large)).await;
    for number in 1..=700 {
        let stage = Stage::Test("test 0".into());
        let mut attempt = attempt(Some(detail(1)), vec![shared.clone()]);
        attempt.number = number;
        opened.storage.tell(large.id, EventKind::AttemptFinished { stage, attempt }).await;
    }
    opened.store(large.id, finished(RunStatus::Error)).await;
    let freed = Arc::new(Freed::default());
    let left = opened.storage.forget(vec![large.id], freed.clone()).await.unwrap();
    assert_eq!((left, freed.sums().runs), (vec![large.id], 1));
    assert!(opened.keys_of(large.id) > 1, "it went in one step");
    let opened = opened.reopen(&dir).await;
    assert_eq!(opened.storage.run(large.id).unwrap(), None);
    assert_eq!(opened.list(&RunQuery::default()), [kept.id]);
    loop {
        let left = opened.storage.half_forgotten(10).unwrap();
        if left.is_empty() {
            break;
        }
        opened.storage.forget(left, freed.clone()).await.unwrap();
    }
    assert_eq!((opened.keys_of(large.id), freed.sums().runs), (0, 1));
    assert!(opened.storage.artifact(&shared.digest).await.unwrap().is_some());
}

#[tokio::test]
async fn files_that_no_run_names_are_found_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let named = artifact("named");
    opened.ended(1, RunStatus::Passed, vec![named.clone()]).await;
    let (left, old) = (Bytes::from_static(b"left by a crash"), Bytes::from_static(b"component"));
    let files = &opened.storage.shared().artifacts;
    for content in [&left, &old] {
        files.put(&Digest::of(content), content).unwrap();
    }
    // From before components had a directory of their own.
    opened.upload("a", b"component").await;
    let freed = Arc::new(Freed::default());
    for part in 0..=255 {
        opened.storage.sweep(part, freed.clone()).await.unwrap();
    }
    assert_eq!((freed.sums().files, freed.sums().file_bytes), (1, left.len() as u64));
    for (content, stays) in [(&left, false), (&old, true), (&named.content, true)] {
        assert_eq!(files.get(&Digest::of(content)).unwrap().is_some(), stays);
    }
}

#[tokio::test]
async fn while_the_disk_is_full_runs_are_forgotten_as_long_as_that_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    for number in 1..=3 {
        opened.ended(number, RunStatus::Cancelled, vec![]).await;
    }
    opened.free.store(0, Ordering::Release);
    let freed = Arc::new(Freed::default());
    let runs = opened.list(&RunQuery::default());
    let full = opened.storage.forget(runs[1..].to_vec(), freed.clone()).await;
    assert!(matches!(full, Err(StorageError::Full)), "{full:?}");
    opened.free.store(StorageSettings::default().min_free_bytes / 2, Ordering::Release);
    assert!(opened.storage.healthy().is_err());
    opened.storage.forget(runs[1..].to_vec(), freed.clone()).await.unwrap();
    assert_eq!(opened.list(&RunQuery::default()), runs[..1]);
}

#[tokio::test]
async fn a_store_from_before_artifacts_were_found_by_themselves_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let artifact = artifact("old");
    let run = opened.ended(1, RunStatus::Passed, vec![artifact.clone()]).await;
    let before = |format: u8| {
        let mut batch = sled::Batch::default();
        batch.insert(keys::LAYOUT, &[format]);
        batch.remove(keys::artifact_user(&artifact.digest, run.id));
        batch
    };
    opened.storage.shared().database.commit(before(1)).unwrap();
    let opened = opened.reopen(&dir).await;
    let database = &opened.storage.shared().database;
    assert_eq!(database.scan(&keys::artifact_users(&artifact.digest)).count(), 1);
    assert_eq!(database.get_raw(keys::LAYOUT).unwrap().unwrap(), [4]);

    database.commit(before(5)).unwrap();
    opened.storage.close().await.unwrap();
    drop(opened);
    let opened = Storage::open(
        dir.path().join("store"),
        StorageSettings::default(),
        Metrics::new(),
        Box::new(|_| ()),
    );
    let Err(error) = opened else { panic!("it was opened") };
    let told = error.to_string();
    assert!(told.contains("format 5") && told.contains("newer version"), "{told}");
}

/// What a plugin says of a run by a delivery.
fn said(run: RunId, number: u64) -> Settled {
    let mut notice = Notice::sample(NoticeKind::RunFinished);
    notice.run.as_mut().unwrap().id = run;
    let delivery = Delivery {
        number,
        plugin: "issues".parse().unwrap(),
        notice,
        status: DeliveryStatus::Delivered,
        attempts: 1,
        since: Timestamp::UNIX_EPOCH,
        next_at: Timestamp::UNIX_EPOCH,
        last: None,
    };
    // Of more than one part.
    let digits = |n: u32| Digest::of(&n.to_be_bytes()).hex();
    let annotation = annotation(&(0..200).map(digits).collect::<String>());
    Settled { delivery, kept: Kept::new(), annotations: vec![annotation], forgotten: Vec::new() }
}

fn annotation(title: &str) -> Annotation {
    Annotation { title: title.into(), url: None, values: Vec::new() }
}

#[tokio::test]
async fn what_plugins_said_of_a_run_goes_with_it_and_comes_not_back() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let component = Bytes::from_static(b"plugin");
    let plugin = samples::plugin("issues", Digest::of(&component));
    opened.storage.put_plugin(plugin, Some(component), None).await.unwrap();
    let gone = opened.ended(1, RunStatus::Cancelled, vec![]).await.id;
    let kept = opened.ended(2, RunStatus::Passed, vec![]).await.id;
    let before = opened.keys_of(gone);
    for (number, run) in [(1, gone), (2, gone), (3, kept)] {
        assert!(opened.storage.settle(said(run, number), None).await.unwrap());
        let said = vec![("gate".parse().unwrap(), annotation("go"))];
        opened.storage.put_gated(run, Gated { said, ..Gated::default() }).await.unwrap();
    }
    assert_eq!(opened.storage.annotations(gone).unwrap().len(), 3);
    assert!(opened.keys_of(gone) > before + 3, "long ones have several parts");

    opened.forget(ALL_BUT_ONE).await;
    assert_eq!(opened.keys_of(gone), 0);
    assert_eq!(opened.storage.annotations(kept).unwrap().len(), 2);
    // A delivery that is told when its run is forgotten leaves nothing behind.
    assert!(opened.storage.settle(said(gone, 4), None).await.unwrap());
    assert_eq!((opened.keys_of(gone), opened.storage.annotations(gone).unwrap()), (0, vec![]));
}
