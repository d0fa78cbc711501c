//! Who hears of events once they are stored: metrics first, then live watchers.
//!
//! Watching never breaks running: nothing here waits for a reader. A reader that is too slow reads
//! again from the store.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::model::{EventKind, LogLine, Round, Run, RunEvent, RunId, Stage, SuiteId, TestStatus};
use crate::storage::{Storage, StorageError};

/// How many events a watcher may lag behind before it reads from the store again.
const EVENTS_BUFFERED: usize = 256;
/// How many lines a reader of a live log may lag behind before it loses some.
const LINES_BUFFERED: usize = 1024;
/// How many lines of an attempt wait for a first reader.
const LINES_PARKED: usize = 256;
/// How many events a watcher reads from the store at a time.
const EVENTS_READ: usize = 500;

/// One line of the log of an attempt under way.
#[derive(Clone, Debug)]
pub struct LiveLine {
    /// What is attempted.
    pub stage: Stage,
    /// In which round.
    pub round: u32,
    /// Which attempt.
    pub number: u32,
    /// The line.
    pub line: LogLine,
}

/// An attempt whose lines wait for a reader.
type Parked = (Stage, u32, u32, mpsc::Receiver<LogLine>);

/// A run that has not ended.
struct Active {
    suite: SuiteId,
    /// What the attempts came to at the tests that have no verdict yet. Metrics need no more of a run.
    tests: HashMap<String, Round>,
    /// The same for a retry that was asked for before the run's end was heard of here.
    again: Option<HashMap<String, Round>>,
    events: Option<broadcast::Sender<Arc<RunEvent>>>,
    lines: Option<broadcast::Sender<LiveLine>>,
    parked: Vec<Parked>,
    /// Cancelled when it ends.
    ended: CancellationToken,
    /// Held while a request to stop it is decided on.
    cancelling: Arc<tokio::sync::Mutex<()>>,
}

/// Tells metrics and watchers of stored events.
pub struct Hub {
    active: Mutex<HashMap<RunId, Active>>,
    metrics: Metrics,
}

impl Hub {
    /// A hub that knows of no run yet.
    pub fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { active: Mutex::default(), metrics })
    }

    /// Takes in events that are durable. Called by the store, in order.
    pub fn stored(&self, events: &[Arc<RunEvent>]) {
        let mut active = self.lock();
        for event in events {
            if let EventKind::RunQueued { spec } = &event.kind {
                active.entry(event.run_id).or_insert_with(|| Active::new(spec.suite.clone()));
            }
            let Some(entry) = active.get_mut(&event.run_id) else { continue };
            let round = entry.take_in(&event.kind);
            self.metrics.run_event(&entry.suite, event, round.as_ref());
            if let Some(events) = &entry.events {
                // An error means that nobody listens.
                drop(events.send(Arc::clone(event)));
            }
            if matches!(event.kind, EventKind::RunFinished { .. }) {
                entry.ended.cancel();
                match entry.again.take() {
                    Some(tests) => {
                        entry.tests = tests;
                        entry.ended = CancellationToken::new();
                    }
                    None => _ = active.remove(&event.run_id),
                }
            }
        }
    }

    /// Makes a run known that is about to be stored.
    pub(super) fn expect(&self, run: RunId, suite: SuiteId) {
        self.lock().insert(run, Active::new(suite));
    }

    /// Makes a run known whose first events were stored before: by an earlier process, or before it is
    /// retried.
    pub fn adopt(&self, run: &Run) {
        let adopted = Active::of(run);
        match self.lock().entry(run.spec.id) {
            // It has ended, as it is retried, and the end is about to be told here.
            Entry::Occupied(mut known) => known.get_mut().again = Some(adopted.tests),
            Entry::Vacant(vacant) => _ = vacant.insert(adopted),
        }
    }

    /// Takes back that a run is about to be stored, or to be retried. Whoever watches it is sent away.
    pub(super) fn forget(&self, run: RunId) {
        if let Entry::Occupied(mut known) = self.lock().entry(run)
            && known.get_mut().again.take().is_none()
        {
            known.remove().ended.cancel();
        }
    }

    /// See [`super::Runner::ended`].
    pub(super) fn ended(&self, run: RunId) -> Option<CancellationToken> {
        self.lock().get(&run).map(|entry| entry.ended.clone())
    }

    /// What is to be held while a request to stop the run is decided on; none if it has ended, or there is
    /// no such run.
    pub(super) fn cancelling(&self, run: RunId) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.lock().get(&run).map(|entry| Arc::clone(&entry.cancelling))
    }

    /// Gives the sender for an attempt's lines.
    pub(super) fn attempt_started(
        &self,
        run: RunId,
        stage: Stage,
        round: u32,
        number: u32,
    ) -> Option<mpsc::Sender<LogLine>> {
        let mut active = self.lock();
        let entry = active.get_mut(&run)?;
        let (sender, receiver) = mpsc::channel(LINES_PARKED);
        let attempt = (stage, round, number, receiver);
        match &entry.lines {
            Some(lines) => forward(attempt, lines.clone()),
            None => {
                entry.parked.retain(|(.., receiver)| !receiver.is_closed());
                entry.parked.push(attempt);
            }
        }
        Some(sender)
    }

    /// See [`super::Runner::live_log`]. Must be called within a runtime.
    pub(super) fn live_log(&self, run: RunId, most: usize) -> Option<BoxStream<'static, LiveLine>> {
        let mut active = self.lock();
        let entry = active.get_mut(&run)?;
        let lines = entry.lines.get_or_insert_with(|| broadcast::Sender::new(LINES_BUFFERED));
        if lines.receiver_count() >= most {
            self.metrics.server_limit_hit("runner.watchers_per_run");
            return None;
        }
        let receiver = lines.subscribe();
        for attempt in entry.parked.drain(..) {
            forward(attempt, lines.clone());
        }
        Some(BroadcastStream::new(receiver).filter_map(async |line| line.ok()).boxed())
    }

    /// See [`super::Runner::watch`].
    pub(super) fn watch(
        hub: &Arc<Self>,
        storage: Storage,
        run: RunId,
        after: u64,
        most: usize,
    ) -> Option<BoxStream<'static, Result<Arc<RunEvent>, Arc<StorageError>>>> {
        // Subscribed before the store is read, so that nothing falls between the two.
        let live = {
            let mut active = hub.lock();
            match active.get_mut(&run) {
                None => None,
                Some(entry) => {
                    let sender = || broadcast::Sender::new(EVENTS_BUFFERED);
                    let events = entry.events.get_or_insert_with(sender);
                    if events.receiver_count() >= most {
                        hub.metrics.server_limit_hit("runner.watchers_per_run");
                        return None;
                    }
                    Some(events.subscribe())
                }
            }
        };
        let watcher = Watcher { storage, run, last: after, live, read: Vec::new().into_iter() };
        Some(
            stream::unfold(Some(watcher), async |watcher| {
                let mut watcher = watcher?;
                match watcher.next().await {
                    Ok(Some(event)) => Some((Ok(event), Some(watcher))),
                    Ok(None) => None,
                    Err(error) => Some((Err(error), None)),
                }
            })
            .boxed(),
        )
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Active>> {
        // A panic in a holder leaves the map whole: every change to it is one call.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn new(suite: SuiteId) -> Self {
        let (events, lines, parked) = (None, None, Vec::new());
        let (ended, cancelling) = (CancellationToken::new(), Arc::default());
        Self { suite, tests: HashMap::new(), again: None, events, lines, parked, ended, cancelling }
    }

    fn of(run: &Run) -> Self {
        let last_round = run.last_round();
        let open = run.tests.iter().filter_map(|test| {
            // A test that is retried goes on with its last round.
            let round = test.attempts.round((test.rounds_finished + 1).min(last_round));
            let open = test.rounds_finished < last_round || test.status != TestStatus::Passed;
            (open && round.attempts > 0).then(|| (test.name.clone(), round))
        });
        Self { tests: open.collect(), ..Self::new(run.spec.suite.clone()) }
    }

    /// Takes in what happened. If it is a test's verdict, gives what its attempts came to.
    fn take_in(&mut self, kind: &EventKind) -> Option<Round> {
        match kind {
            EventKind::AttemptFinished { stage: Stage::Test(name), attempt } => {
                match self.tests.get_mut(name) {
                    Some(round) => round.push(attempt),
                    None => self.tests.entry(name.clone()).or_default().push(attempt),
                }
                None
            }
            EventKind::TestFinished { test, .. } => self.tests.remove(test),
            _ => None,
        }
    }
}

/// Sends an attempt's lines on until it ends.
fn forward((stage, round, number, mut lines): Parked, to: broadcast::Sender<LiveLine>) {
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            let stage = stage.clone();
            drop(to.send(LiveLine { stage, round, number, line }));
        }
    });
}

/// Reads one run's events: what is stored first, then what comes.
struct Watcher {
    storage: Storage,
    run: RunId,
    last: u64,
    live: Option<broadcast::Receiver<Arc<RunEvent>>>,
    read: std::vec::IntoIter<RunEvent>,
}

impl Watcher {
    async fn next(&mut self) -> Result<Option<Arc<RunEvent>>, Arc<StorageError>> {
        loop {
            if let Some(event) = self.read.next() {
                self.last = event.seq;
                return Ok(Some(Arc::new(event)));
            }
            // What is live first: reading the store for each event would be a waste. A gap, or a
            // reader that lagged, sends it back to the store.
            if let Some(live) = &mut self.live {
                match live.try_recv() {
                    Ok(event) if event.seq <= self.last => continue,
                    Ok(event) if event.seq == self.last + 1 => {
                        self.last = event.seq;
                        return Ok(Some(event));
                    }
                    Ok(_) | Err(broadcast::error::TryRecvError::Lagged(_)) => {
                        self.read_stored()?;
                        continue;
                    }
                    Err(broadcast::error::TryRecvError::Empty) => {}
                    Err(broadcast::error::TryRecvError::Closed) => self.live = None,
                }
            }
            self.read_stored()?;
            if self.read.len() > 0 {
                continue;
            }
            let Some(live) = &mut self.live else { return Ok(None) };
            match live.recv().await {
                Ok(event) if event.seq == self.last + 1 => {
                    self.last = event.seq;
                    return Ok(Some(event));
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => self.live = None,
            }
        }
    }

    fn read_stored(&mut self) -> Result<(), Arc<StorageError>> {
        let events = self.storage.events(self.run, self.last, EVENTS_READ).map_err(Arc::new)?;
        self.read = events.into_iter();
        Ok(())
    }
}
