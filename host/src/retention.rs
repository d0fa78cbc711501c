//! Forgets runs in the background: the [`Retention`] goes through the suites now and then, and has the store
//! forget what their rules let go.
//!
//! It does so in small steps, and rests after each for several times as long as it took, so that runs hardly
//! notice. Which runs may go, and how they go so that a crash loses nothing, is for the store to say. The
//! summaries that statistics are made of are not its business: they stay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OwnedRwLockReadGuard, RwLock};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::model::{KeepRule, Pin, RunId, SuiteId};
use crate::storage::{Freed, FreedSums, Storage, StorageError};

/// Settings of what is kept (`[retention]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSettings {
    /// How long a run is kept after its end, in milliseconds: 90 days. 0 is without end. A suite's policy may
    /// say otherwise. The last run that passed, the last that failed and pinned ones always stay.
    pub age_ms: u64,
    /// How many runs of a suite are kept, the newest: 10,000. 0 is all. A suite's policy may say otherwise.
    pub runs: u64,
    /// How often it is looked for runs to forget, in milliseconds: 5 minutes.
    pub interval_ms: u64,
    /// How many runs are forgotten in one step: 16.
    pub step_runs: usize,
    /// The least time between two steps, in milliseconds: 20. It is four times as long as a step took, if
    /// that is more.
    pub pause_ms: u64,
    /// How many runs may be pinned: 10,000.
    pub pins: usize,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            age_ms: 90 * 24 * 60 * 60 * 1_000,
            runs: 10_000,
            interval_ms: 300_000,
            step_runs: 16,
            pause_ms: 20,
            pins: 10_000,
        }
    }
}

impl RetentionSettings {
    /// What holds for a suite whose policy says nothing.
    pub fn rule(&self) -> KeepRule {
        KeepRule { age_ms: self.age_ms, runs: self.runs }
    }
}

/// For how many times as long as a step took nothing is done after it.
const REST: u32 = 4;

/// How often it is looked whether something may be forgotten again while that is held up.
const HELD: Duration = Duration::from_millis(500);

/// Into how many parts the files are divided that are looked through.
const PARTS: std::ops::RangeInclusive<u8> = 0..=255;

/// Why a run was not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// There is no such run.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// As many as may be are pinned.
    #[error("{0} runs are pinned already, as many as may be (retention.pins): unpin one first")]
    TooMany(usize),
    /// It could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// One time through all suites.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none while it is under way.
    pub ended_at: Option<Timestamp>,
    /// What it freed.
    pub freed: FreedSums,
}

/// What was forgotten so far.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The rule where a policy says nothing.
    pub rule: KeepRule,
    /// How many runs are pinned.
    pub pinned: usize,
    /// What was freed since the server was started, the last round included.
    pub freed: FreedSums,
    /// The last time through all suites, or the one under way; none before the first.
    pub round: Option<Round>,
}

/// Forgets runs. Cheap to clone.
#[derive(Clone)]
pub struct Retention(Arc<Inner>);

struct Inner {
    storage: Storage,
    settings: RetentionSettings,
    metrics: Metrics,
    state: Mutex<State>,
    /// Asks for a round now.
    wanted: Notify,
    /// Held while a pin is decided on, so that their number is exact.
    pinning: tokio::sync::Mutex<()>,
    /// Held for reading while nothing may be forgotten, for writing while a step is done.
    held: Arc<RwLock<()>>,
}

#[derive(Default)]
struct State {
    /// Of the rounds that ended.
    freed: FreedSums,
    round: Option<(Timestamp, Option<Timestamp>, Arc<Freed>)>,
}

impl Retention {
    /// Nothing is forgotten before [`Retention::run`].
    pub fn new(storage: Storage, settings: RetentionSettings, metrics: Metrics) -> Self {
        let (state, wanted) = (Mutex::default(), Notify::new());
        let pinning = tokio::sync::Mutex::default();
        let held = Arc::default();
        Self(Arc::new(Inner { storage, settings, metrics, state, wanted, pinning, held }))
    }

    /// Forgets until `stop`: at once, then at intervals and whenever it is asked for.
    pub async fn run(self, stop: CancellationToken) {
        let interval = Duration::from_millis(self.0.settings.interval_ms);
        loop {
            let round = stop.run_until_cancelled(self.round()).await;
            match round {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    let again = humantime::Duration::from(interval);
                    tracing::warn!("failed to forget old runs: {error}; trying again in {again}");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
                () = self.0.wanted.notified() => {}
            }
        }
    }

    /// Asks for a round as soon as none is under way.
    pub fn ask(&self) {
        self.0.wanted.notify_one();
    }

    /// Nothing is forgotten as long as this is held.
    pub async fn hold(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.0.held).read_owned().await
    }

    /// What was forgotten so far.
    pub fn report(&self) -> Report {
        let state = self.state();
        let round = state.round.as_ref().map(|(started_at, ended_at, freed)| Round {
            started_at: *started_at,
            ended_at: *ended_at,
            freed: freed.sums(),
        });
        let under_way = round.filter(|round| round.ended_at.is_none());
        Report {
            rule: self.0.settings.rule(),
            pinned: self.0.storage.pinned(),
            freed: state.freed.plus(under_way.map(|round| round.freed).unwrap_or_default()),
            round,
        }
    }

    /// Keeps a run whatever its age, or lets it go again.
    pub async fn pin(&self, run: RunId, pin: Option<Pin>) -> Result<(), PinError> {
        let storage = &self.0.storage;
        let _one = self.0.pinning.lock().await;
        let most = self.0.settings.pins;
        if pin.is_some() && storage.pin(run).is_none() && storage.pinned() >= most {
            self.0.metrics.server_limit_hit("retention.pins");
            return Err(PinError::TooMany(most));
        }
        match storage.set_pin(run, pin).await? {
            true => Ok(()),
            false => Err(PinError::NoRun(run)),
        }
    }

    async fn round(&self) -> Result<(), StorageError> {
        let freed = Arc::new(Freed::default());
        let first = {
            let mut state = self.state();
            let first = state.round.is_none();
            state.round = Some((Timestamp::now(), None, freed.clone()));
            first
        };
        let done = self.go_through(&freed, first).await;
        let sums = freed.sums();
        let mut state = self.state();
        state.freed = state.freed.plus(sums);
        if let Some((_, ended_at, _)) = &mut state.round {
            *ended_at = Some(Timestamp::now());
        }
        drop(state);
        if sums != FreedSums::default() {
            let FreedSums { runs, record_bytes, files, file_bytes } = sums;
            tracing::info!(runs, record_bytes, files, file_bytes, "forgot old runs");
        }
        done
    }

    async fn go_through(&self, freed: &Arc<Freed>, first: bool) -> Result<(), StorageError> {
        let most = self.0.settings.step_runs;
        loop {
            let left = self.ask_storage(move |storage| storage.half_forgotten(most)).await?;
            if left.is_empty() {
                break;
            }
            self.forget(left, freed).await?;
        }
        if first {
            for part in PARTS {
                self.step(freed, self.0.storage.sweep(part, freed.clone())).await?;
            }
        }
        let mut suite = None;
        loop {
            let after = suite.take();
            let next = move |storage: &Storage| storage.suite_with_runs_after(after.as_ref());
            let Some(next) = self.ask_storage(next).await? else { return Ok(()) };
            self.forget_of(&next, freed).await?;
            suite = Some(next);
        }
    }

    /// Forgets what may go of one suite.
    async fn forget_of(&self, suite: &SuiteId, freed: &Arc<Freed>) -> Result<(), StorageError> {
        let (of, server) = (suite.clone(), self.0.settings.rule());
        let rule = move |storage: &Storage| {
            let rule = storage.policy(&of)?.unwrap_or_default().keep.over(server);
            Ok((rule, storage.first_beyond(&of, rule.runs)?))
        };
        let rule = self.ask_storage(rule).await?;
        let (now, most, mut after) = (Timestamp::now(), self.0.settings.step_runs, None);
        loop {
            let of = suite.clone();
            let expired = move |storage: &Storage| storage.expired(&of, rule, now, after, most);
            let expired = self.ask_storage(expired).await?;
            if !expired.runs.is_empty() {
                self.forget(expired.runs, freed).await?;
            }
            after = expired.last;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Forgets these runs, in as many steps as it takes.
    async fn forget(&self, mut runs: Vec<RunId>, freed: &Arc<Freed>) -> Result<(), StorageError> {
        while !runs.is_empty() {
            let storage = &self.0.storage;
            runs = self.step(freed, storage.forget(runs, freed.clone())).await?;
        }
        Ok(())
    }

    /// Does one step, tells what it freed, and rests.
    async fn step<T>(
        &self,
        freed: &Freed,
        step: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        // Not by waiting for the lock: whoever holds it then must not keep a further one from holding it.
        let held = loop {
            match self.0.held.try_write() {
                Ok(held) => break held,
                Err(_) => tokio::time::sleep(HELD).await,
            }
        };
        let (begin, before) = (Instant::now(), freed.sums());
        let done = step.await;
        drop(held);
        let now = freed.sums();
        let bytes = now.record_bytes + now.file_bytes - before.record_bytes - before.file_bytes;
        self.0.metrics.forgotten(now.runs - before.runs, bytes);
        let pause = Duration::from_millis(self.0.settings.pause_ms);
        tokio::time::sleep(pause.max(begin.elapsed() * REST)).await;
        done
    }

    async fn ask_storage<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Storage) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let storage = self.0.storage.clone();
        let answer = tokio::task::spawn_blocking(move || question(&storage)).await;
        answer.map_err(std::io::Error::other)?
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
