//! What runs by itself. The [`Scheduler`] knows every schedule, deals with its times as they come, and
//! keeps a row of what became of each.
//!
//! It has no clock of its own: [`Scheduler::tick`] is told the time, by [`Scheduler::run`] or by a test. A
//! time is dealt with in one batch of the store, with the first event of the run that it starts, so that
//! one time never starts two runs, whenever the process is killed. Times only go forward: what is dealt
//! with stays so, however the clock is set.

mod deal;
mod due;
mod rule;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::rule::{Rule, RuleError};
pub use self::settings::SchedulerSettings;

use crate::metrics::Metrics;
use crate::model::{
    DueOutcome, DueRow, Name, Paused, RunId, RunRequest, Schedule, ScheduleSpec, SuiteId,
};
use crate::runner::{MakeDealt, Runner, SubmitError};
use crate::storage::{Dealt, EarlierAnswer, IdempotencyKey, Storage, StorageError};

/// The longest that the clock is not looked at: so soon it is seen that it was set.
const LOOK: Duration = Duration::from_secs(1);
/// How long a schedule waits after the store refused what became of its times.
const AGAIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);
/// How many of its next times are told of a schedule.
const NEXT: usize = 5;

/// Why a schedule is not as somebody wants it.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// There is none of that name.
    #[error("there is no schedule {0}")]
    NoSchedule(Name),
    /// There is one of that name that differs.
    #[error("there is a schedule {0} already: change it, or choose another name")]
    Taken(Name),
    /// The configuration declares it.
    #[error("the server's configuration declares the schedule {0}: change it there, and restart")]
    Declared(Name),
    /// There are as many as there may be.
    #[error(
        "there are {0} schedules already, as many as may be (scheduler.most): delete one first"
    )]
    TooMany(usize),
    /// Its rule cannot be.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A value cannot be.
    #[error("{0}")]
    Value(String),
    /// Its run was not accepted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// It could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A schedule as it stands, and what follows from it at a moment.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The schedule.
    pub schedule: Schedule,
    /// When it is next due, jitter left out; nothing while it is paused or has ended.
    pub next: Vec<Timestamp>,
    /// Its rule in words.
    pub in_words: String,
    /// Why it starts no run, although it should.
    pub broken: Option<String>,
    /// Why it starts no more runs.
    pub ended: Option<String>,
}

/// What schedules need of runs.
pub trait Runs: Send + Sync + 'static {
    /// See [`Runner::check`].
    fn check(&self, suite: &SuiteId, request: &RunRequest) -> Result<(), SubmitError>;
    /// See [`Runner::submit_due`].
    fn submit(
        &self,
        suite: SuiteId,
        request: RunRequest,
        dealt: MakeDealt,
        key: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<RunId, SubmitError>>;
    /// Asks a run to stop, in the name of a schedule. One that has ended stays as it is.
    fn cancel(&self, run: RunId, by: String) -> BoxFuture<'_, ()>;
    /// See [`Runner::ended`].
    fn ended(&self, run: RunId) -> Option<CancellationToken>;
}

impl Runs for Runner {
    fn check(&self, suite: &SuiteId, request: &RunRequest) -> Result<(), SubmitError> {
        Runner::check(self, Some(suite), request)
    }

    fn submit(
        &self,
        suite: SuiteId,
        request: RunRequest,
        dealt: MakeDealt,
        key: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<RunId, SubmitError>> {
        Box::pin(self.submit_due(suite, request, dealt, key))
    }

    fn cancel(&self, run: RunId, by: String) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = Runner::cancel(self, run, Some(by)).await {
                tracing::debug!(%run, %error, "a run that a schedule replaces was not cancelled");
            }
        })
    }

    fn ended(&self, run: RunId) -> Option<CancellationToken> {
        Runner::ended(self, run)
    }
}

/// Keeps schedules and deals with their times. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<Inner>);

struct Inner {
    storage: Storage,
    runs: Box<dyn Runs>,
    settings: SchedulerSettings,
    metrics: Metrics,
    plan: Mutex<Plan>,
    /// Told when a schedule may be due sooner than was known.
    changed: Notify,
}

/// Every schedule, and when each is to be looked at.
#[derive(Default)]
struct Plan {
    entries: BTreeMap<Name, Arc<Entry>>,
    next: BTreeSet<(Timestamp, Name)>,
}

/// One schedule. Whoever changes it holds its lock until the change is durable.
struct Entry {
    name: Name,
    state: tokio::sync::Mutex<State>,
}

struct State {
    schedule: Schedule,
    rule: Rule,
    /// When it is in the plan.
    planned: Option<Timestamp>,
    deleted: bool,
}

impl State {
    /// Pauses or resumes. Times that passed meanwhile are none.
    fn pause(&mut self, paused: Option<Paused>, now: Timestamp) {
        let schedule = &mut self.schedule;
        match (&schedule.paused, paused) {
            (None, Some(paused)) => schedule.paused = Some(paused),
            (Some(_), None) => {
                schedule.paused = None;
                schedule.dealt_with = schedule.dealt_with.max(now);
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// Another rule counts from now on.
    fn respecify(&mut self, spec: ScheduleSpec, rule: Rule, now: Timestamp) {
        let before = &self.schedule.spec;
        let same_rule = before.cron == spec.cron && before.timezone == spec.timezone;
        self.schedule.spec = spec;
        if !same_rule {
            self.schedule.changed_at = now;
            self.schedule.dealt_with = self.schedule.dealt_with.max(now);
            self.rule = rule;
        }
    }
}

impl Scheduler {
    /// Takes up what is stored.
    pub async fn open(
        storage: Storage,
        runs: Box<dyn Runs>,
        settings: SchedulerSettings,
        metrics: Metrics,
        now: Timestamp,
    ) -> Result<Self, StorageError> {
        let stored = storage.schedules()?;
        let (plan, changed) = (Mutex::default(), Notify::new());
        let this = Self(Arc::new(Inner { storage, runs, settings, metrics, plan, changed }));
        this.take_up(stored, now).await;
        Ok(this)
    }

    /// Deals with times as they come, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let changed = self.0.changed.notified();
            let now = Timestamp::now();
            let tick = self.tick(now);
            if stop.run_until_cancelled(tick).await.is_none() {
                return;
            }
            let next = self.0.plan().next.first().map(|(at, _)| *at);
            let wait = next.map_or(LOOK, |at| {
                Duration::try_from(at.duration_since(Timestamp::now()))
                    .unwrap_or_default()
                    .min(LOOK)
            });
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Deals with every time that has come at `now`.
    pub async fn tick(&self, now: Timestamp) {
        let due = self.0.plan().take_due(now);
        futures::stream::iter(due)
            .for_each_concurrent(self.0.settings.at_once.max(1), |entry| async move {
                let mut state = entry.state.lock().await;
                state.planned = None;
                self.deal(&entry, &mut state, now).await;
            })
            .await;
    }

    /// Every schedule, by name.
    pub async fn list(&self, now: Timestamp) -> Vec<Reading> {
        let entries: Vec<_> = self.0.plan().entries.values().cloned().collect();
        let mut readings = Vec::with_capacity(entries.len());
        for entry in entries {
            readings.push(self.reading(&*entry.state.lock().await, now));
        }
        readings
    }

    /// One of them.
    pub async fn get(&self, name: &Name, now: Timestamp) -> Result<Reading, ScheduleError> {
        let entry = self.entry(name)?;
        let state = entry.state.lock().await;
        Ok(self.reading(&state, now))
    }

    /// Makes a schedule. One that is there with the same specification is given as it is, and false. With a
    /// key that the same request used before, gives what was made then.
    pub async fn create(
        &self,
        name: Name,
        spec: ScheduleSpec,
        paused: bool,
        key: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<(Reading, bool), ScheduleError> {
        self.make(name, spec, paused, key, now, false).await
    }

    async fn make(
        &self,
        name: Name,
        spec: ScheduleSpec,
        paused: bool,
        key: Option<IdempotencyKey>,
        now: Timestamp,
        declared: bool,
    ) -> Result<(Reading, bool), ScheduleError> {
        let rule = self.check(&spec, now)?;
        if let Some(key) = &key
            && let Some(EarlierAnswer::Schedule { schedule }) =
                self.0.storage.earlier_answer(key)?
            && let Ok(reading) = self.get(&schedule, now).await
        {
            return Ok((reading, true));
        }
        let known = self.0.plan().entries.get(&name).cloned();
        if let Some(entry) = known {
            let state = entry.state.lock().await;
            return match state.schedule.spec == spec && !state.deleted {
                true => Ok((self.reading(&state, now), false)),
                false => Err(ScheduleError::Taken(name)),
            };
        }
        // A file may well declare one whose time is over.
        if spec.ends.leave_nothing(now) && !declared {
            let told = "ends: it would be over before its first time; leave `ends` out, or let it be later";
            return Err(ScheduleError::Value(told.into()));
        }
        let most = self.0.settings.most;
        if self.0.plan().entries.len() >= most {
            self.0.metrics.server_limit_hit("scheduler.most");
            return Err(ScheduleError::TooMany(most));
        }
        let schedule = Schedule {
            name,
            spec,
            created_at: now,
            changed_at: now,
            declared,
            paused: paused.then_some(Paused { since: now, by: None, reason: None }),
            dealt_with: now,
            runs: 0,
            under_way: Vec::new(),
            waiting: Vec::new(),
            rows: 0,
        };
        let dealt = Dealt { schedule: schedule.clone(), rows: Vec::new() };
        self.0.storage.put_schedule(dealt, key).await?;
        let entry = self.insert(schedule, rule, now).await;
        let state = entry.state.lock().await;
        Ok((self.reading(&state, now), true))
    }

    /// Takes up the schedules that the configuration declares, each with whether it is paused, and forgets
    /// those that it declares no more. An error says with which schedule it stopped.
    pub async fn declare(
        &self,
        declared: Vec<(Name, ScheduleSpec, bool)>,
        now: Timestamp,
    ) -> Result<(), (Name, ScheduleError)> {
        let names: BTreeSet<_> = declared.iter().map(|(name, ..)| name.clone()).collect();
        let known: Vec<_> = self.0.plan().entries.values().cloned().collect();
        for entry in known {
            let mut state = entry.state.lock().await;
            if state.schedule.declared && !names.contains(&entry.name) {
                let forgotten = self.forget(&mut state).await;
                forgotten.map_err(|error| (entry.name.clone(), error))?;
            }
        }
        for (name, spec, paused) in declared {
            let taken_up = self.declare_one(&name, spec, paused, now).await;
            taken_up.map_err(|error| (name, error))?;
        }
        Ok(())
    }

    async fn declare_one(
        &self,
        name: &Name,
        spec: ScheduleSpec,
        paused: bool,
        now: Timestamp,
    ) -> Result<(), ScheduleError> {
        if let Err(ScheduleError::NoSchedule(_)) = self.entry(name) {
            self.make(name.clone(), spec.clone(), paused, None, now, true).await?;
        }
        let rule = self.check(&spec, now)?;
        let by = || Some("the configuration".to_owned());
        let paused = paused.then(|| Paused { since: now, by: by(), reason: None });
        let altered = self.alter(name, now, true, move |state| {
            state.respecify(spec, rule, now);
            state.schedule.declared = true;
            state.pause(paused, now);
        });
        altered.await.map(drop)
    }

    /// Gives a schedule another specification. Times before `now` are dealt with.
    pub async fn change(
        &self,
        name: &Name,
        spec: ScheduleSpec,
        paused: bool,
        now: Timestamp,
    ) -> Result<Reading, ScheduleError> {
        let rule = self.check(&spec, now)?;
        self.alter(name, now, false, move |state| {
            state.respecify(spec, rule, now);
            state.pause(paused.then_some(Paused { since: now, by: None, reason: None }), now);
        })
        .await
    }

    /// Stops a schedule until it is resumed. Times that pass meanwhile are none.
    pub async fn pause(
        &self,
        name: &Name,
        paused: Paused,
        now: Timestamp,
    ) -> Result<Reading, ScheduleError> {
        self.alter(name, now, false, move |state| {
            state.pause(Some(paused), now);
        })
        .await
    }

    /// Lets a paused schedule go on from `now`.
    pub async fn resume(&self, name: &Name, now: Timestamp) -> Result<Reading, ScheduleError> {
        self.alter(name, now, false, move |state| {
            state.pause(None, now);
        })
        .await
    }

    /// Starts a run at once, whatever the rule says and whatever else runs.
    pub async fn trigger(
        &self,
        name: &Name,
        why: Option<String>,
        key: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<RunId, ScheduleError> {
        let entry = self.entry(name)?;
        let mut state = entry.state.lock().await;
        if state.deleted {
            return Err(ScheduleError::NoSchedule(name.clone()));
        }
        let (outcome, run) = (DueOutcome::Triggered, None);
        let due = DueRow { due_at: now, at: now, outcome, run, reason: why };
        Ok(self.start(&entry, &mut state, due, &mut Vec::new(), key).await?)
    }

    /// Forgets a schedule; what it started goes on, and stays.
    pub async fn delete(&self, name: &Name) -> Result<(), ScheduleError> {
        let entry = self.entry(name)?;
        let mut state = entry.state.lock().await;
        if state.schedule.declared {
            return Err(ScheduleError::Declared(name.clone()));
        }
        self.forget(&mut state).await
    }

    async fn forget(&self, state: &mut State) -> Result<(), ScheduleError> {
        let name = state.schedule.name.clone();
        self.0.storage.delete_schedule(&name).await?;
        state.deleted = true;
        let mut plan = self.0.plan();
        plan.entries.remove(&name);
        if let Some(at) = state.planned.take() {
            plan.next.remove(&(at, name));
        }
        Ok(())
    }

    fn check(&self, spec: &ScheduleSpec, now: Timestamp) -> Result<Rule, ScheduleError> {
        let SchedulerSettings { max_catch_up, max_jitter_ms, description_bytes, .. } =
            &self.0.settings;
        let wrong = |setting, text: String| {
            self.0.metrics.server_limit_hit(setting);
            Err(ScheduleError::Value(text))
        };
        if spec.jitter_ms > *max_jitter_ms {
            return wrong(
                "scheduler.max_jitter_ms",
                format!(
                    "jitter_ms is {}: at most {max_jitter_ms} is allowed (scheduler.max_jitter_ms)",
                    spec.jitter_ms
                ),
            );
        }
        if spec.catch_up.at_most > *max_catch_up {
            return wrong(
                "scheduler.max_catch_up",
                format!(
                    "catch_up.at_most is {}: at most {max_catch_up} is allowed (scheduler.max_catch_up)",
                    spec.catch_up.at_most
                ),
            );
        }
        if spec.description.as_ref().is_some_and(|text| text.len() > *description_bytes) {
            return wrong(
                "scheduler.description_bytes",
                format!(
                    "the description has more than {description_bytes} bytes \
                 (scheduler.description_bytes)"
                ),
            );
        }
        self.0.runs.check(&spec.suite, &spec.request).inspect_err(|error| {
            error.bound().into_iter().for_each(|bound| self.0.metrics.server_limit_hit(bound));
        })?;
        Ok(Rule::new(&spec.cron, &spec.timezone, now)?)
    }

    fn entry(&self, name: &Name) -> Result<Arc<Entry>, ScheduleError> {
        let entry = self.0.plan().entries.get(name).cloned();
        entry.ok_or_else(|| ScheduleError::NoSchedule(name.clone()))
    }

    async fn insert(&self, schedule: Schedule, rule: Rule, now: Timestamp) -> Arc<Entry> {
        let name = schedule.name.clone();
        let state = State { schedule, rule, planned: None, deleted: false };
        let entry = Arc::new(Entry { name: name.clone(), state: tokio::sync::Mutex::new(state) });
        let mut state = entry.state.lock().await;
        self.0.plan().entries.insert(name, entry.clone());
        self.place(&mut state, now, None);
        drop(state);
        entry
    }

    /// Changes a schedule, durably; one that is declared only as the configuration says.
    async fn alter(
        &self,
        name: &Name,
        now: Timestamp,
        as_declared: bool,
        change: impl FnOnce(&mut State),
    ) -> Result<Reading, ScheduleError> {
        let entry = self.entry(name)?;
        let mut state = entry.state.lock().await;
        if state.deleted {
            return Err(ScheduleError::NoSchedule(name.clone()));
        }
        if state.schedule.declared && !as_declared {
            return Err(ScheduleError::Declared(name.clone()));
        }
        let (before, rule) = (state.schedule.clone(), state.rule.clone());
        change(&mut state);
        let dealt = Dealt { schedule: state.schedule.clone(), rows: Vec::new() };
        if let Err(error) = self.0.storage.put_schedule(dealt, None).await {
            (state.schedule, state.rule) = (before, rule);
            return Err(error.into());
        }
        self.place(&mut state, now, None);
        Ok(self.reading(&state, now))
    }

    /// Puts a schedule where it belongs in the plan, not before `not_before`.
    fn place(&self, state: &mut State, now: Timestamp, not_before: Option<Timestamp>) {
        let name = &state.schedule.name;
        let mut plan = self.0.plan();
        if let Some(at) = state.planned.take() {
            plan.next.remove(&(at, name.clone()));
        }
        if state.deleted
            || state.schedule.paused.is_some()
            || due::ended(&state.schedule, now).is_some()
        {
            return;
        }
        let Some(due) = state.rule.after(state.schedule.dealt_with) else { return };
        let at = due::fires(&state.schedule, due);
        let at = not_before.map_or(at, |before| at.max(before));
        state.planned = Some(at);
        plan.next.insert((at, name.clone()));
        drop(plan);
        self.0.changed.notify_one();
    }

    fn reading(&self, state: &State, now: Timestamp) -> Reading {
        let State { schedule, rule, .. } = state;
        let ended = due::ended(schedule, now);
        let next = match (&schedule.paused, &ended) {
            (None, None) => rule.iter_after(schedule.dealt_with.max(now)).take(NEXT).collect(),
            _ => Vec::new(),
        };
        Reading {
            schedule: schedule.clone(),
            next,
            in_words: rule.in_words(),
            broken: self.broken(schedule),
            ended,
        }
    }

    /// Why its next run would not be accepted.
    fn broken(&self, schedule: &Schedule) -> Option<String> {
        let (suite, version) = (&schedule.spec.suite, &schedule.spec.request.version);
        let found = match version {
            Some(digest) => self.0.storage.version(suite, digest),
            None => self.0.storage.newest_version(suite),
        };
        match (found, version) {
            (Ok(Some(_)), _) => {
                // Bounds may have become smaller since it was made.
                let checked = self.0.runs.check(suite, &schedule.spec.request);
                checked.err().map(|error| error.to_string())
            }
            (Ok(None), Some(digest)) => Some(format!("the suite {suite} has no version {digest}")),
            (Ok(None), None) => {
                Some(format!("there is no suite {suite}: upload it, or change the schedule"))
            }
            (Err(error), _) => Some(format!("failed to {error}")),
        }
    }
}
