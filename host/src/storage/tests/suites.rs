//! Suites, versions and policies.

use super::*;
use crate::model::Fixtures;

#[tokio::test]
async fn a_version_is_stored_once_with_its_component() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let component = Bytes::from_static(b"\0asm component");
    let version = version("team/api", &component);
    assert!(opened.storage.put_version(version.clone(), component.clone(), None).await.unwrap());
    assert!(!opened.storage.put_version(version.clone(), component.clone(), None).await.unwrap());
    let opened = opened.reopen(&dir).await;
    let storage = &opened.storage;
    assert_eq!(storage.version(&version.suite, &version.digest).unwrap(), Some(version.clone()));
    assert_eq!(storage.newest_version(&version.suite).unwrap(), Some(version.clone()));
    assert_eq!(storage.component(&version.digest).await.unwrap(), Some(component));
    assert_eq!(storage.version(&suite("team/other"), &version.digest).unwrap(), None);
    assert_eq!(storage.component(&Digest::of(b"other")).await.unwrap(), None);
}

#[tokio::test]
async fn one_version_uploaded_many_times_at_once_is_new_once() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let component = Bytes::from_static(b"component");
    let version = version("team/api", &component);
    let uploads =
        (0..50).map(|_| opened.storage.put_version(version.clone(), component.clone(), None));
    let new = futures::future::join_all(uploads).await;
    assert_eq!(new.into_iter().filter(|new| *new.as_ref().unwrap()).count(), 1);
    assert_eq!(opened.storage.versions(&version.suite, &all()).unwrap().items.len(), 1);
}

#[tokio::test]
async fn suites_and_versions_are_listed_newest_upload_first() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let storage = &opened.storage;
    for n in 0..7_u8 {
        for name in ["a", "b", "c"] {
            let component = Bytes::from(vec![n]);
            let mut version = version(name, &component);
            // The clock is set back; what was uploaded last is still the newest.
            version.created_at = Timestamp::from_second(1000 - i64::from(n)).unwrap();
            storage.put_version(version, component, None).await.unwrap();
        }
    }
    let component = Bytes::from_static(b"late");
    storage.put_version(version("a", &component), component, None).await.unwrap();

    let newest = storage.newest_version(&suite("b")).unwrap().unwrap();
    assert_eq!(newest.digest, Digest::of(&[6]));
    let mut page = Page { limit: 3, cursor: None };
    let mut digests = Vec::new();
    loop {
        let versions = storage.versions(&suite("b"), &page).unwrap();
        digests.extend(versions.items.iter().map(|version| version.digest));
        page.cursor = versions.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    assert_eq!(digests, (0..7).rev().map(|n| Digest::of(&[n])).collect::<Vec<_>>());
    let suites = storage.suites(&all()).unwrap().items;
    assert_eq!(suites.iter().filter(|version| version.suite == suite("a")).count(), 1);
    assert_eq!(suites.len(), 3);
    assert_eq!(suites[0].suite, suite("a"));
}

fn fixtures(archive: &Bytes) -> Fixtures {
    let (digest, archive_bytes) = (Digest::of(archive), archive.len() as u64);
    Fixtures { digest, archive_bytes, files: 1, unpacked_bytes: 2 }
}

#[tokio::test]
async fn fixtures_are_of_a_version_and_a_new_one_takes_over_those_of_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let storage = &opened.storage;
    let [one, two, three] = [b"1", b"2", b"3"].map(|bytes| Bytes::from_static(bytes));
    let versions = [&one, &two, &three].map(|component| version("team/api", component));
    let id = versions[0].suite.clone();
    let digest = |number: usize| versions[number].digest;
    let put = |number: usize, archive: &Bytes| {
        storage.put_fixtures(&id, versions[number].digest, fixtures(archive), archive.clone())
    };
    let (apples, pears) = (Bytes::from_static(b"apples"), Bytes::from_static(b"pears"));
    assert!(matches!(put(0, &apples).await, Err(StorageError::NoSuite(_))));
    storage.put_version(versions[0].clone(), one.clone(), None).await.unwrap();
    assert!(matches!(put(1, &apples).await, Err(StorageError::NoSuite(_))));
    assert_eq!(storage.fixtures(&id, &digest(0)).unwrap(), None);
    put(0, &apples).await.unwrap();
    storage.put_version(versions[1].clone(), two, None).await.unwrap();
    put(1, &pears).await.unwrap();
    // One that is there already keeps what it has, the newest or not.
    storage.put_version(versions[0].clone(), one.clone(), None).await.unwrap();
    storage.put_version(versions[2].clone(), three, None).await.unwrap();
    let opened = opened.reopen(&dir).await;
    let storage = &opened.storage;
    let found = |number: usize| storage.fixtures(&id, &digest(number)).unwrap();
    assert_eq!(found(0), Some(fixtures(&apples)));
    assert_eq!(found(1), Some(fixtures(&pears)));
    assert_eq!(found(2), Some(fixtures(&apples)));
    assert_eq!(storage.component(&Digest::of(&pears)).await.unwrap(), Some(pears));
    assert!(storage.delete_fixtures(&id, digest(2)).await.unwrap());
    assert!(!storage.delete_fixtures(&id, digest(2)).await.unwrap());
    assert_eq!((found(0), found(2)), (Some(fixtures(&apples)), None));
    storage.delete_suite(&id).await.unwrap();
    storage.put_version(versions[0].clone(), one, None).await.unwrap();
    assert_eq!(found(0), None);
}

#[tokio::test]
async fn a_deleted_suite_leaves_its_runs_and_can_be_uploaded_again() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let storage = &opened.storage;
    let component = Bytes::from_static(b"component");
    let mut version = version("team/api", &component);
    // So large that it is stored in several parts.
    version.imports = (0..2000).map(|n| Digest::of(&usize::to_be_bytes(n)).hex()).collect();
    let id = version.suite.clone();
    assert!(!storage.delete_suite(&id).await.unwrap());
    storage.put_version(version.clone(), component.clone(), None).await.unwrap();
    assert_eq!(storage.newest_version(&id).unwrap().as_ref(), Some(&version));
    storage.put_policy(&id, &Policy::default()).await.unwrap();
    let run = opened.queue("team/api", None).await;
    assert!(storage.delete_suite(&id).await.unwrap());
    assert_eq!(storage.version(&id, &version.digest).unwrap(), None);
    assert_eq!(storage.newest_version(&id).unwrap(), None);
    assert_eq!(storage.policy(&id).unwrap(), None);
    assert!(storage.suites(&all()).unwrap().items.is_empty());
    assert!(storage.versions(&id, &all()).unwrap().items.is_empty());
    assert_eq!(storage.shared().database.scan(b"+").count(), 0, "parts were left");
    assert!(storage.run(run).unwrap().is_some());
    assert!(storage.next_run_number(&id).unwrap() > 1, "a number was given twice");
    assert!(storage.put_version(version, component, None).await.unwrap());
}

/// The components on the disk.
fn on_disk(dir: &TempDir) -> Vec<Digest> {
    let mut found = Vec::new();
    for shelf in std::fs::read_dir(dir.path().join("store/components")).unwrap() {
        for file in std::fs::read_dir(shelf.unwrap().path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            found.push(format!("sha256:{name}").parse().unwrap());
        }
    }
    found.sort();
    found
}

fn digests<const N: usize>(components: [&[u8]; N]) -> Vec<Digest> {
    let mut digests = components.map(Digest::of);
    digests.sort();
    digests.into()
}

#[tokio::test]
async fn a_component_goes_with_the_last_suite_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    opened.upload("a", b"shared").await;
    opened.upload("a", b"of a alone").await;
    opened.upload("b", b"shared").await;
    let opened = opened.reopen(&dir).await;
    assert_eq!(on_disk(&dir), digests([b"shared", b"of a alone"]));
    assert!(opened.storage.delete_suite(&suite("a")).await.unwrap());
    assert_eq!(on_disk(&dir), digests([b"shared"]));
    let shared = opened.storage.component(&Digest::of(b"shared")).await.unwrap();
    assert_eq!(shared.as_deref(), Some(&b"shared"[..]));
    // Uploaded again, it is there once more.
    opened.upload("a", b"of a alone").await;
    let opened = opened.reopen(&dir).await;
    assert_eq!(on_disk(&dir), digests([b"shared", b"of a alone"]));
    for name in ["a", "b"] {
        assert!(opened.storage.delete_suite(&suite(name)).await.unwrap());
    }
    assert_eq!(on_disk(&dir), []);
}

#[tokio::test]
async fn a_component_stays_as_long_as_a_run_of_it_has_not_ended() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let component = Bytes::from_static(b"component");
    let version = version("a", &component);
    opened.storage.put_version(version.clone(), component.clone(), None).await.unwrap();
    let mut runs = Vec::new();
    for number in 1..=3 {
        let spec = RunSpec { version: version.digest, ..spec(&suite("a"), number, None, 1) };
        opened.store(spec.id, queued(&spec)).await;
        runs.push(spec.id);
    }
    opened.store(runs[0], finished(RunStatus::Passed)).await;
    assert!(opened.storage.delete_suite(&suite("a")).await.unwrap());
    let opened = opened.reopen(&dir).await;
    opened.store(runs[1], finished(RunStatus::Passed)).await;
    assert_eq!(on_disk(&dir), [version.digest]);
    assert_eq!(opened.storage.component(&version.digest).await.unwrap(), Some(component.clone()));
    // The same content as an artifact is another matter.
    let artifact = Artifact {
        name: "copy".into(),
        media_type: "application/wasm".into(),
        size_bytes: component.len() as u64,
        digest: version.digest,
        content: component.clone(),
    };
    let attempt = attempt(None, vec![artifact]);
    opened.store(runs[2], EventKind::AttemptFinished { stage: Stage::Setup, attempt }).await;
    opened.store(runs[2], finished(RunStatus::Passed)).await;
    assert_eq!(on_disk(&dir), []);
    assert_eq!(opened.storage.artifact(&version.digest).await.unwrap(), Some(component));
}

#[tokio::test]
async fn what_a_crash_left_is_removed_and_what_is_needed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let kept = opened.upload("a", b"kept").await.digest;
    let left = Bytes::from_static(b"written, and never stored");
    opened.storage.shared().components.put(&Digest::of(&left), &left).unwrap();
    assert_eq!(on_disk(&dir).len(), 2);
    let opened = opened.reopen(&dir).await;
    assert_eq!(on_disk(&dir), [kept]);
    // A store from before components had a directory of their own.
    let at = |kind: &str| {
        let hex = kept.hex();
        let shelf = dir.path().join("store").join(kind).join(&hex[..2]);
        std::fs::create_dir_all(&shelf).unwrap();
        shelf.join(hex)
    };
    std::fs::rename(at("components"), at("blobs")).unwrap();
    let opened = opened.reopen(&dir).await;
    let component = opened.storage.component(&kept).await.unwrap();
    assert_eq!(component.as_deref(), Some(&b"kept"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_keeps_its_component_whatever_is_deleted_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let component = Bytes::from_static(b"component");
    let digest = Digest::of(&component);
    let storage = &opened.storage;
    let change = |name: &'static str, puts: bool| {
        let (storage, component) = (storage.clone(), component.clone());
        tokio::spawn(async move {
            if puts {
                storage.put_version(version(name, &component), component, None).await.unwrap();
            } else {
                storage.delete_suite(&suite(name)).await.unwrap();
            }
        })
    };
    for round in 0..100 {
        let changes =
            ["a", "b"].into_iter().flat_map(|name| [true, false, true].map(|p| (name, p)));
        let changes = changes.skip(round % 3).map(|(name, puts)| change(name, puts));
        for changed in futures::future::join_all(changes).await {
            changed.unwrap();
        }
        let stored = |name| storage.version(&suite(name), &digest).unwrap().is_some();
        let is_there = storage.component(&digest).await.unwrap().is_some();
        assert_eq!(is_there, stored("a") || stored("b"), "in round {round}");
    }
}

#[tokio::test]
async fn a_policy_is_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let id = opened.upload("api", b"component").await.suite;
    assert_eq!(opened.storage.policy(&id).unwrap(), None);
    for secrets in [1, 500, 2] {
        let secret = |n: usize| (format!("secret {n}"), Digest::of(&n.to_be_bytes()).hex());
        let policy = Policy { secrets: (0..secrets).map(secret).collect(), ..Default::default() };
        opened.storage.put_policy(&id, &policy).await.unwrap();
        assert_eq!(opened.storage.policy(&id).unwrap(), Some(policy));
    }
}

#[tokio::test]
async fn a_version_that_is_uploaded_again_is_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let first = opened.upload("a", b"1").await;
    opened.upload("a", b"2").await;
    opened.upload("a", b"3").await;
    opened.upload("b", b"1").await;
    let again = SuiteVersion { created_at: Timestamp::now(), ..first.clone() };
    let new = opened.storage.put_version(again, Bytes::from_static(b"1"), None).await.unwrap();
    assert!(!new);
    let opened = opened.reopen(&dir).await;
    let storage = &opened.storage;
    assert_eq!(storage.newest_version(&suite("a")).unwrap(), Some(first.clone()), "as it was");
    let versions = storage.versions(&suite("a"), &all()).unwrap().items;
    let digests: Vec<_> = versions.iter().map(|version| version.digest).collect();
    assert_eq!(digests, [b"1", b"3", b"2"].map(|component| Digest::of(component)));
    let suites = storage.suites(&all()).unwrap().items;
    assert_eq!(suites.iter().map(|it| &it.suite).collect::<Vec<_>>(), [&first.suite, &suite("b")]);
    assert!(storage.delete_suite(&suite("a")).await.unwrap());
    assert!(storage.versions(&suite("a"), &all()).unwrap().items.is_empty());
}

#[tokio::test]
async fn no_policy_is_stored_for_a_suite_that_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let storage = &opened.storage;
    let id = opened.upload("a", b"component").await.suite;
    let secret = |value: &str| {
        let secrets = BTreeMap::from([("token".to_owned(), value.to_owned())]);
        Policy { secrets, ..Policy::default() }
    };
    storage.put_policy(&id, &secret("old")).await.unwrap();
    // Both are asked for before either is stored: the deletion comes first.
    let old = secret("old");
    let put = storage.replace_policy(&id, secret("old"), &old);
    let (deleted, put) = tokio::join!(biased; storage.delete_suite(&id), put);
    assert!(deleted.unwrap());
    assert!(matches!(put, Err(StorageError::NoSuite(suite)) if suite == id));
    assert!(matches!(storage.put_policy(&id, &secret("old")).await, Err(StorageError::NoSuite(_))));
    opened.upload("a", b"component").await;
    assert_eq!(storage.policy(&id).unwrap(), None);
    // What was read before the deletion is not brought back after the next upload either.
    assert!(!storage.replace_policy(&id, secret("old"), &secret("old")).await.unwrap());
    assert!(storage.replace_policy(&id, Policy::default(), &secret("1")).await.unwrap());
    assert!(!storage.replace_policy(&id, Policy::default(), &secret("2")).await.unwrap());
    assert_eq!(storage.policy(&id).unwrap(), Some(secret("1")));
}

#[tokio::test]
async fn a_key_is_free_again_when_what_it_made_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir);
    let component = Bytes::from_static(b"component");
    let version = version("a", &component);
    let put = |request: &'static [u8]| {
        let key = Some(key("key", request));
        opened.storage.put_version(version.clone(), component.clone(), key)
    };
    assert!(put(b"request").await.unwrap());
    assert!(matches!(put(b"request").await, Err(StorageError::KeyTaken(_))));
    assert!(opened.storage.delete_suite(&version.suite).await.unwrap());
    assert!(matches!(put(b"another").await, Err(StorageError::KeyReused)));
    assert!(put(b"request").await.unwrap());
    assert!(matches!(put(b"request").await, Err(StorageError::KeyTaken(_))));
    // What is not stored leaves no file either.
    let other = Bytes::from_static(b"another component");
    let reused = opened.storage.put_version(
        self::version("a", &other),
        other.clone(),
        Some(key("key", b"another")),
    );
    assert!(matches!(reused.await, Err(StorageError::KeyReused)));
    assert_eq!(on_disk(&dir), [version.digest]);
}
