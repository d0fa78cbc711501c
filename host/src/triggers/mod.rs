//! What starts runs when another system calls: webhooks. [`Triggers`] knows every trigger, decides what
//! becomes of a call, and keeps a row of that.
//!
//! It knows no HTTP: a [`Call`] is some headers and a body. Who may call is a matter of the signature alone.
//! A run is stored in one batch with the row of the call and with what makes the delivery known again, so
//! that no delivery ever starts two runs, whenever the process is killed.

mod deliver;
mod github;
mod signature;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::deliver::Budget;
use crate::metrics::Metrics;
use crate::model::{
    Name, RunId, RunRequest, Sender, SuiteId, Template, Trigger, TriggerCounts, TriggerSpec,
};
use crate::runner::{MakeCalled, Runner, SubmitError};
use crate::storage::{Called, EarlierAnswer, IdempotencyKey, Storage, StorageError};

/// Settings of triggers (`[webhooks]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TriggerSettings {
    /// How many triggers there may be: 1,000.
    pub most: usize,
    /// The largest body of a call: 4 MiB. GitHub's have 25 MiB at most, and of the events that start runs
    /// some hundred KiB.
    pub body_bytes: u64,
    /// How far the time at which a call was signed may be from the server's, in milliseconds: 5 minutes.
    pub tolerance_ms: u64,
    /// Bytes of a trigger's description: 1 KiB.
    pub description_bytes: usize,
}

impl Default for TriggerSettings {
    fn default() -> Self {
        Self { most: 1_000, body_bytes: 4 << 20, tolerance_ms: 300_000, description_bytes: 1 << 10 }
    }
}

/// Why a trigger is not as somebody wants it.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// There is none of that name.
    #[error("there is no trigger {0}")]
    NoTrigger(Name),
    /// There is one of that name that differs.
    #[error("there is a trigger {0} already: change it, or choose another name")]
    Taken(Name),
    /// The configuration declares it.
    #[error("the server's configuration declares the trigger {0}: change it there, and restart")]
    Declared(Name),
    /// There are as many as there may be.
    #[error("there are {0} triggers already, as many as may be (webhooks.most): delete one first")]
    TooMany(usize),
    /// A value cannot be.
    #[error("{0}")]
    Value(String),
    /// There can be no such run.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// It could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a call starts no run, although its sender thinks that it should.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not signed as it should be, or was so too long ago.
    #[error("{0}")]
    Unsigned(String),
    /// The same delivery started a run already.
    #[error(
        "the delivery {delivery} was taken before and started the run {run}: nothing is started again"
    )]
    Replayed {
        /// What the sender calls it.
        delivery: String,
        /// The run.
        run: RunId,
    },
    /// There is no run in what it holds.
    #[error("{0}")]
    Unfit(String),
    /// The run was not accepted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// There is no such trigger, or what became of the call could not be stored.
    #[error(transparent)]
    Trigger(#[from] TriggerError),
}

/// A request to a trigger.
#[derive(Clone, Debug)]
pub struct Call {
    headers: BTreeMap<&'static str, String>,
    body: Bytes,
}

impl Call {
    /// The headers that mean something, in lower case.
    pub const HEADERS: [&str; 6] = [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "x-github-delivery",
        "x-github-event",
        "x-hub-signature-256",
    ];

    /// A call with those of [`Self::HEADERS`] that it has.
    pub fn new(headers: BTreeMap<&'static str, String>, body: Bytes) -> Self {
        Self { headers, body }
    }

    #[cfg(test)]
    fn of<'a>(headers: impl IntoIterator<Item = (&'static str, &'a str)>, body: &str) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name, value.to_owned()));
        Self::new(headers.collect(), Bytes::copy_from_slice(body.as_bytes()))
    }

    fn header(&self, name: &str) -> Result<&str, String> {
        let value = self.headers.get(name).map(String::as_str);
        value.ok_or_else(|| format!("the header {name} is missing"))
    }
}

/// A trigger as it stands.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The trigger.
    pub trigger: Trigger,
    /// Why its next call would start no run.
    pub broken: Option<String>,
}

/// What triggers need of runs.
pub trait Runs: Send + Sync + 'static {
    /// See [`Runner::check`].
    fn check(&self, suite: Option<&SuiteId>, request: &RunRequest) -> Result<(), SubmitError>;
    /// See [`Runner::submit_called`].
    fn submit(
        &self,
        suite: SuiteId,
        request: RunRequest,
        called: MakeCalled,
    ) -> BoxFuture<'_, Result<RunId, SubmitError>>;
}

impl Runs for Runner {
    fn check(&self, suite: Option<&SuiteId>, request: &RunRequest) -> Result<(), SubmitError> {
        Runner::check(self, suite, request)
    }

    fn submit(
        &self,
        suite: SuiteId,
        request: RunRequest,
        called: MakeCalled,
    ) -> BoxFuture<'_, Result<RunId, SubmitError>> {
        Box::pin(self.submit_called(suite, request, called))
    }
}

/// Keeps triggers and takes calls. Cheap to clone.
#[derive(Clone)]
pub struct Triggers(Arc<Inner>);

struct Inner {
    storage: Storage,
    runs: Box<dyn Runs>,
    settings: TriggerSettings,
    metrics: Metrics,
    entries: Mutex<BTreeMap<Name, Arc<Entry>>>,
}

/// One trigger. Whoever changes it holds its lock until the change is durable.
struct Entry {
    name: Name,
    state: tokio::sync::Mutex<State>,
}

struct State {
    trigger: Trigger,
    deleted: bool,
    /// Rows that calls without a signature may still have.
    budget: Budget,
}

impl Triggers {
    /// Takes up what is stored.
    pub fn open(
        storage: Storage,
        runs: Box<dyn Runs>,
        settings: TriggerSettings,
        metrics: Metrics,
    ) -> Result<Self, StorageError> {
        let entries = storage.triggers()?.into_iter().map(Entry::new).collect();
        let entries = Mutex::new(entries);
        Ok(Self(Arc::new(Inner { storage, runs, settings, metrics, entries })))
    }

    /// Takes up triggers that are stored, and that it does not know yet.
    pub fn take_up(&self, triggers: Vec<Trigger>) {
        let mut entries = self.entries();
        for (name, entry) in triggers.into_iter().map(Entry::new) {
            entries.entry(name).or_insert(entry);
        }
    }

    /// Every trigger, by name.
    pub async fn list(&self) -> Vec<Reading> {
        let entries: Vec<_> = self.entries().values().cloned().collect();
        let mut readings = Vec::with_capacity(entries.len());
        for entry in entries {
            readings.push(self.reading(&entry.state.lock().await.trigger));
        }
        readings
    }

    /// One of them.
    pub async fn get(&self, name: &Name) -> Result<Reading, TriggerError> {
        let entry = self.entry(name)?;
        let state = entry.state.lock().await;
        Ok(self.reading(&state.trigger))
    }

    /// Makes a trigger. One that is there with the same specification is given as it is, and false. With a
    /// key that the same request used before, gives what was made then.
    pub async fn create(
        &self,
        name: Name,
        spec: TriggerSpec,
        key: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<(Reading, bool), TriggerError> {
        self.check(&spec)?;
        if let Some(key) = &key
            && let Some(EarlierAnswer::Trigger { trigger }) = self.0.storage.earlier_answer(key)?
            && let Ok(reading) = self.get(&trigger).await
        {
            return Ok((reading, true));
        }
        let known = self.entries().get(&name).cloned();
        if let Some(entry) = known {
            let state = entry.state.lock().await;
            return match state.trigger.spec == spec && !state.deleted {
                true => Ok((self.reading(&state.trigger), false)),
                false => Err(TriggerError::Taken(name)),
            };
        }
        let most = self.0.settings.most;
        if self.entries().len() >= most {
            self.0.metrics.server_limit_hit("webhooks.most");
            return Err(TriggerError::TooMany(most));
        }
        let trigger = Trigger {
            name,
            spec,
            created_at: now,
            changed_at: now,
            declared: false,
            runs: 0,
            last_row_at: None,
            stored: TriggerCounts::default(),
        };
        self.0.storage.put_trigger(Called::only(trigger.clone()), key).await?;
        let reading = self.reading(&trigger);
        let (name, entry) = Entry::new(trigger);
        self.entries().insert(name, entry);
        Ok((reading, true))
    }

    /// Takes up the triggers that the configuration declares, and forgets those that it declares no more. An
    /// error says with which trigger it stopped.
    pub async fn declare(
        &self,
        declared: Vec<(Name, TriggerSpec)>,
        now: Timestamp,
    ) -> Result<(), (Name, TriggerError)> {
        let names: BTreeSet<_> = declared.iter().map(|(name, _)| name.clone()).collect();
        let known: Vec<_> = self.entries().values().cloned().collect();
        for entry in known {
            let mut state = entry.state.lock().await;
            if state.trigger.declared && !names.contains(&entry.name) {
                let forgotten = self.forget(&mut state).await;
                forgotten.map_err(|error| (entry.name.clone(), error))?;
            }
        }
        for (name, spec) in declared {
            let taken_up = self.declare_one(&name, spec, now).await;
            taken_up.map_err(|error| (name, error))?;
        }
        Ok(())
    }

    async fn declare_one(
        &self,
        name: &Name,
        spec: TriggerSpec,
        now: Timestamp,
    ) -> Result<(), TriggerError> {
        if let Err(TriggerError::NoTrigger(_)) = self.entry(name) {
            self.create(name.clone(), spec.clone(), None, now).await?;
        }
        self.check(&spec)?;
        self.alter(name, spec, now, true).await.map(drop)
    }

    /// Gives a trigger another specification.
    pub async fn change(
        &self,
        name: &Name,
        spec: TriggerSpec,
        now: Timestamp,
    ) -> Result<Reading, TriggerError> {
        self.check(&spec)?;
        self.alter(name, spec, now, false).await
    }

    /// Forgets a trigger and what became of its calls; what it started goes on, and stays.
    pub async fn delete(&self, name: &Name) -> Result<(), TriggerError> {
        let entry = self.entry(name)?;
        let mut state = entry.state.lock().await;
        if state.trigger.declared {
            return Err(TriggerError::Declared(name.clone()));
        }
        self.forget(&mut state).await
    }

    async fn forget(&self, state: &mut State) -> Result<(), TriggerError> {
        let name = &state.trigger.name;
        self.0.storage.delete_trigger(name).await?;
        state.deleted = true;
        self.entries().remove(name);
        Ok(())
    }

    /// Changes a trigger, durably; one that is declared only as the configuration says.
    async fn alter(
        &self,
        name: &Name,
        spec: TriggerSpec,
        now: Timestamp,
        as_declared: bool,
    ) -> Result<Reading, TriggerError> {
        let entry = self.entry(name)?;
        let mut state = entry.state.lock().await;
        if state.deleted {
            return Err(TriggerError::NoTrigger(name.clone()));
        }
        if state.trigger.declared && !as_declared {
            return Err(TriggerError::Declared(name.clone()));
        }
        let changed_at = if state.trigger.spec == spec { state.trigger.changed_at } else { now };
        let trigger = Trigger { spec, changed_at, declared: as_declared, ..state.trigger.clone() };
        self.0.storage.put_trigger(Called::only(trigger.clone()), None).await?;
        state.trigger = trigger;
        Ok(self.reading(&state.trigger))
    }

    fn check(&self, spec: &TriggerSpec) -> Result<(), TriggerError> {
        let value = |text: String| TriggerError::Value(text);
        let most = self.0.settings.description_bytes;
        if spec.description.as_ref().is_some_and(|text| text.len() > most) {
            self.0.metrics.server_limit_hit("webhooks.description_bytes");
            return Err(value(format!(
                "the description has more than {most} bytes (webhooks.description_bytes)"
            )));
        }
        if spec.suite.is_none() && spec.mapping.suite.is_none() {
            return Err(value("say which suite runs: `suite`, or `mapping.suite`".into()));
        }
        signature::check_secret(&spec.sender, &spec.secret).map_err(value)?;
        if let Sender::Github(filter) = &spec.sender {
            github::check(filter).map_err(value)?;
        }
        let params = spec.mapping.params.values();
        for text in params.chain(&spec.mapping.suite).chain(&spec.mapping.reference) {
            Template::new(text).map_err(|error| value(error.to_string()))?;
        }
        let mut request = spec.request.clone();
        if spec.mapping.reference.is_some() || matches!(spec.sender, Sender::Github(_)) {
            // Each call has its own.
            request.reference = Some("as called".into());
        }
        let suite = spec.suite.as_ref().filter(|_| spec.mapping.suite.is_none());
        let checked = self.0.runs.check(suite, &request);
        Ok(checked.inspect_err(|error| {
            error.bound().into_iter().for_each(|bound| self.0.metrics.server_limit_hit(bound));
        })?)
    }

    fn entry(&self, name: &Name) -> Result<Arc<Entry>, TriggerError> {
        let entry = self.entries().get(name).cloned();
        entry.ok_or_else(|| TriggerError::NoTrigger(name.clone()))
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Entry>>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reading(&self, trigger: &Trigger) -> Reading {
        let found = match (&trigger.spec.suite, &trigger.spec.mapping.suite) {
            (Some(suite), None) => Some((suite, self.0.storage.newest_version(suite))),
            _ => None,
        };
        let broken = match found {
            Some((suite, Ok(None))) => {
                Some(format!("there is no suite {suite}: upload it, or change the trigger"))
            }
            Some((_, Err(error))) => Some(format!("failed to {error}")),
            Some((_, Ok(Some(_)))) | None => None,
        };
        Reading { trigger: trigger.clone(), broken }
    }
}

impl Entry {
    fn new(trigger: Trigger) -> (Name, Arc<Self>) {
        let name = trigger.name.clone();
        let state = State { trigger, deleted: false, budget: Budget::default() };
        (name.clone(), Arc::new(Self { name, state: tokio::sync::Mutex::new(state) }))
    }
}
