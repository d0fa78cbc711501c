//! What only shows when things happen at the same moment.

use std::sync::{Arc, Mutex, OnceLock};

use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::dispatcher::end_unread;
use super::sink::StorageSink;
use super::{Hub, reopen};
use crate::metrics::Metrics;
use crate::model::{Counts, EventKind, Run, RunEvent, RunId, RunSpec, RunStatus, samples};
use crate::storage::{Storage, StorageError, StorageSettings};

type Watched = BoxStream<'static, Result<Arc<RunEvent>, Arc<StorageError>>>;

/// A store and a hub. Whoever comes between the two hears of each event in `watch` after it can be read
/// and before the hub hears of it.
struct Stage {
    _dir: tempfile::TempDir,
    storage: Storage,
    hub: Arc<Hub>,
    between: Arc<Mutex<Option<Between>>>,
}

type Between = Box<dyn FnMut(&Storage, &Arc<Hub>, &RunEvent) + Send>;

fn stage() -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::new(Metrics::new());
    let between = Arc::<Mutex<Option<Between>>>::default();
    let opened = Arc::<OnceLock<Storage>>::default();
    let on_stored = {
        let (hub, between, opened) = (hub.clone(), between.clone(), opened.clone());
        Box::new(move |events: &[Arc<RunEvent>]| {
            for event in events {
                if let (Some(between), Some(storage)) =
                    (&mut *between.lock().unwrap(), opened.get())
                {
                    between(storage, &hub, event);
                }
                hub.stored(std::slice::from_ref(event));
            }
        })
    };
    let store = dir.path().join("store");
    let settings = StorageSettings::default();
    let storage = Storage::open(store, settings, Metrics::new(), on_stored).unwrap();
    assert!(opened.set(storage.clone()).is_ok());
    Stage { _dir: dir, storage, hub, between }
}

fn spec() -> RunSpec {
    samples::spec(&["test"])
}

fn finished() -> EventKind {
    EventKind::RunFinished { status: RunStatus::Failed, message: None, counts: Counts::default() }
}

fn retry() -> EventKind {
    EventKind::RetryRequested { tests: vec!["test".into()], by: None }
}

impl Stage {
    async fn store(&self, run: RunId, kind: EventKind) {
        self.storage.append(run, kind, None).await.await.unwrap().unwrap();
    }

    async fn ended_run(&self) -> Run {
        let spec = spec();
        let id = spec.id;
        self.store(id, EventKind::RunQueued { spec: Box::new(spec) }).await;
        self.store(id, finished()).await;
        self.storage.run(id).unwrap().unwrap()
    }

    fn watch(&self, run: RunId) -> Watched {
        Hub::watch(&self.hub, self.storage.clone(), run, 0, 9).unwrap()
    }

    /// Runs `then` when an event of this name is stored, before the hub hears of it.
    fn between(
        &self,
        name: &'static str,
        mut then: impl FnMut(&Storage, &Arc<Hub>) + Send + 'static,
    ) {
        let then: Between = Box::new(move |storage, hub, event| {
            if event.kind.name() == name {
                then(storage, hub);
            }
        });
        *self.between.lock().unwrap() = Some(then);
    }
}

async fn names(mut watched: Watched) -> Vec<&'static str> {
    let mut names = Vec::new();
    while let Some(event) = watched.next().await {
        names.push(event.unwrap().kind.name());
    }
    names
}

const ALL: [&str; 4] = ["run_queued", "run_finished", "retry_requested", "run_finished"];

#[tokio::test]
async fn who_watches_when_a_retry_is_stored_hears_it_to_its_end() {
    let stage = stage();
    let run = stage.ended_run().await;
    let id = run.spec.id;
    let watched = Arc::<Mutex<Option<Watched>>>::default();
    let came = watched.clone();
    stage.between("retry_requested", move |storage, hub| {
        *came.lock().unwrap() = Hub::watch(hub, storage.clone(), id, 0, 9);
    });
    let seq = reopen(&stage.hub, &stage.storage, &run, retry(), None).await.unwrap();
    assert_eq!(seq, 3);
    let mut watched = watched.lock().unwrap().take().unwrap();
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(watched.next().await.unwrap().unwrap().kind.name());
    }
    let mut next = watched.next();
    assert!(futures::poll!(&mut next).is_pending(), "the run goes on");
    stage.store(id, finished()).await;
    heard.push(next.await.unwrap().unwrap().kind.name());
    assert_eq!(heard, ALL);
    assert!(watched.next().await.is_none());
}

#[tokio::test]
async fn a_retry_that_comes_before_the_end_is_heard_of_stays_known() {
    let stage = stage();
    let spec = spec();
    let id = spec.id;
    stage.store(id, EventKind::RunQueued { spec: Box::new(spec) }).await;
    stage.between("run_finished", move |storage, hub| {
        // As soon as the end can be read, somebody asks for a retry.
        let run = storage.run(id).unwrap().unwrap();
        assert!(run.status.is_terminal());
        hub.adopt(&run);
    });
    stage.store(id, finished()).await;
    *stage.between.lock().unwrap() = None;
    let mut watched = stage.watch(id);
    for name in &ALL[..2] {
        assert_eq!(watched.next().await.unwrap().unwrap().kind.name(), *name);
    }
    assert!(futures::poll!(watched.next()).is_pending(), "the run goes on");
    stage.store(id, retry()).await;
    stage.store(id, finished()).await;
    assert_eq!(names(watched).await, ALL[2..]);
}

#[tokio::test]
async fn who_watches_for_a_retry_that_does_not_come_is_sent_away() {
    let stage = stage();
    let run = stage.ended_run().await;
    stage.hub.adopt(&run);
    let watched = stage.watch(run.spec.id);
    stage.hub.forget(run.spec.id);
    assert_eq!(names(watched).await, ALL[..2]);
}

#[tokio::test]
async fn a_run_that_cannot_be_read_ends_in_error() {
    let stage = stage();
    let spec = spec();
    let id = spec.id;
    stage.store(id, EventKind::RunQueued { spec: Box::new(spec) }).await;
    let watched = stage.watch(id);
    let sink = StorageSink { storage: stage.storage.clone(), run: id };
    end_unread(&sink, "failed to read the store".into()).await;
    assert_eq!(names(watched).await, ALL[..2]);
    assert_eq!(stage.storage.summary(id).unwrap().unwrap().status, RunStatus::Error);
    assert!(stage.storage.unfinished().unwrap().is_empty());
}
