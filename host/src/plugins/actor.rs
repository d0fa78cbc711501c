//! One plugin at work: one task, one call at a time. What is about the same suite is told in order; what
//! cannot be told now is tried again without holding up what is about other suites.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Shared, backoff};
use crate::compile::Loaded;
use crate::model::{
    Annotation, Delivery, DeliveryCall, DeliveryStatus, NoticeKind, Plugin, Standing,
};
use crate::storage::{Settled, StorageError};
use crate::wasm::{Hook, HookAnswer, HookDone, HookError, HookOrder, Values};

/// How long to wait when the plugin cannot be called at all, or nothing can be stored.
const AGAIN: Duration = Duration::from_secs(1);
/// Lines of a call's log that are kept with a delivery.
const LINES: usize = 200;
/// Requests of a call that are kept with a delivery.
const EXCHANGES: usize = 50;

/// A plugin that is told things, and what waits for it.
pub(super) struct Outbox {
    pub(super) plugin: Plugin,
    /// How many deliveries wait.
    pub(super) waiting: AtomicUsize,
    lanes: Mutex<Lanes>,
    /// How many turns lanes had.
    turns: AtomicU64,
    changed: Notify,
    pub(super) cancel: CancellationToken,
}

/// What waits, by what it is about.
type Lanes = HashMap<String, Lane>;

#[derive(Default)]
struct Lane {
    numbers: VecDeque<u64>,
    /// Not before then, because the first of them is tried again.
    not_before: Option<tokio::time::Instant>,
    /// When it had its last turn, counted in turns: whoever waited longest comes next.
    turn: u64,
}

/// What comes next.
enum Next {
    Number(u64, String),
    At(tokio::time::Instant),
    Nothing,
}

impl Outbox {
    pub(super) fn new(
        plugin: Plugin,
        waiting: Vec<(u64, String)>,
        cancel: CancellationToken,
    ) -> Self {
        let count = waiting.len();
        let mut lanes = Lanes::new();
        for (number, lane) in waiting {
            lanes.entry(lane).or_default().numbers.push_back(number);
        }
        Self {
            plugin,
            waiting: count.into(),
            lanes: Mutex::new(lanes),
            turns: AtomicU64::new(0),
            changed: Notify::new(),
            cancel,
        }
    }

    /// Whether the plugin is told of this kind.
    pub(super) fn wants(&self, kind: NoticeKind) -> bool {
        let Plugin { wishes, filters, .. } = &self.plugin;
        wishes.events.contains(&kind) && filters.pass_kind(kind)
    }

    /// One more waits.
    pub(super) fn push(&self, number: u64, lane: String) {
        let mut lanes = self.lanes();
        // Behind those that wait, however often they were tried, and before their next turns.
        let turn = self.turns.load(Ordering::Acquire);
        let lane = lanes.entry(lane).or_insert_with(|| Lane { turn, ..Lane::default() });
        lane.numbers.push_back(number);
        drop(lanes);
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// The oldest that is due, or when the next one is.
    fn next(&self) -> Next {
        let lanes = self.lanes();
        let now = tokio::time::Instant::now();
        let due = lanes.iter().filter(|(_, lane)| lane.not_before.is_none_or(|at| at <= now));
        let due = due.filter_map(|(name, lane)| {
            lane.numbers.front().map(|number| (lane.turn, *number, name))
        });
        if let Some((_, number, lane)) = due.min() {
            return Next::Number(number, lane.clone());
        }
        let later = lanes.values().filter_map(|lane| lane.not_before);
        later.min().map_or(Next::Nothing, Next::At)
    }

    /// The first of a lane does not wait any more.
    fn done(&self, lane: &str) {
        let mut lanes = self.lanes();
        let turn = self.turns.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(entry) = lanes.get_mut(lane) {
            entry.numbers.pop_front();
            (entry.not_before, entry.turn) = (None, turn);
            if entry.numbers.is_empty() {
                lanes.remove(lane);
            }
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The first of a lane is tried again after so long.
    fn later(&self, lane: &str, wait: Duration) {
        let mut lanes = self.lanes();
        let turn = self.turns.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(entry) = lanes.get_mut(lane) {
            entry.not_before = Some(tokio::time::Instant::now() + wait);
            entry.turn = turn;
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a plugin.
pub(super) struct Actor {
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    component: Loaded,
    values: Arc<Values>,
    /// Numbers of deliveries that do not wait, the oldest first.
    settled: VecDeque<u64>,
    /// Calls in a row that broke, by what they told: a plugin may break on one kind alone.
    breaks: HashMap<NoticeKind, u32>,
}

/// What becomes of a delivery that was tried.
enum Outcome {
    Delivered(Vec<Annotation>),
    SetAside(String),
    Again { why: String, wait: Duration, broke: bool },
}

impl Actor {
    /// Tells the plugin what waits until it is stopped.
    pub(super) async fn run(shared: Arc<Shared>, outbox: Arc<Outbox>) {
        let Some(mut actor) = Self::ready(shared, outbox).await else { return };
        loop {
            let cancel = actor.outbox.cancel.clone();
            if cancel.is_cancelled() {
                return;
            }
            let outbox = actor.outbox.clone();
            let changed = outbox.changed.notified();
            let until = match outbox.next() {
                Next::Number(number, lane) => {
                    let shared = actor.shared.clone();
                    if let Err(error) = shared.pace.keep(actor.deliver(number, &lane)).await {
                        tracing::error!(plugin = %outbox.plugin.name, %error, "failed to store what became of a delivery; trying again");
                        outbox.later(&lane, AGAIN);
                    }
                    continue;
                }
                Next::At(at) => Some(at),
                Next::Nothing => None,
            };
            let timer = async {
                match until {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = timer => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// Loads what is needed, again and again until it is there.
    async fn ready(shared: Arc<Shared>, outbox: Arc<Outbox>) -> Option<Self> {
        loop {
            let name = &outbox.plugin.name;
            let loaded = async {
                let component =
                    shared.load(&outbox.plugin).await.map_err(|error| error.to_string())?;
                let stored = || -> Result<_, StorageError> {
                    let values = shared.storage.plugin_values(name)?;
                    Ok((values, shared.storage.delivery_numbers(name)?))
                };
                let (values, mut numbers) = stored().map_err(|error| error.to_string())?;
                let waiting: std::collections::HashSet<u64> =
                    outbox.lanes().values().flat_map(|lane| lane.numbers.iter().copied()).collect();
                numbers.retain(|number| !waiting.contains(number));
                numbers.reverse();
                let values = Arc::new(values.into_iter().collect::<BTreeMap<_, _>>());
                Ok::<_, String>((component, values, VecDeque::from(numbers)))
            };
            match loaded.await {
                Ok((component, values, settled)) => {
                    return Some(Self {
                        shared,
                        outbox,
                        component,
                        values,
                        settled,
                        breaks: HashMap::new(),
                    });
                }
                Err(error) => {
                    tracing::error!(plugin = %name, error, "failed to load a plugin; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN) => {}
                        () = outbox.cancel.cancelled() => return None,
                    }
                }
            }
        }
    }

    /// Tries one delivery. Fails if what became of it could not be stored.
    async fn deliver(&mut self, number: u64, lane: &str) -> Result<(), StorageError> {
        let (shared, outbox) = (self.shared.clone(), self.outbox.clone());
        let Some(mut delivery) = shared.storage.delivery(&outbox.plugin.name, number)? else {
            outbox.done(lane);
            return Ok(());
        };
        let early = delivery.next_at.duration_since(Timestamp::now());
        if let Ok(wait) = Duration::try_from(early)
            && !wait.is_zero()
        {
            // As after a restart, which knows of no lane's time.
            outbox.later(lane, wait);
            return Ok(());
        }
        if delivery.attempts == 0 {
            // It may have waited for a day behind another.
            delivery.since = Timestamp::now();
        }
        delivery.attempts += 1;
        self.settled.retain(|settled| *settled != number);
        let done = self.call(&delivery).await;
        let Some(outcome) = self.outcome(&delivery, &done) else { return Ok(()) };
        self.settle(delivery, done, outcome, lane).await
    }

    async fn call(&self, delivery: &Delivery) -> HookDone {
        let hook =
            Hook::Handle { notice: Arc::new(delivery.notice.clone()), attempt: delivery.attempts };
        let plugin = &self.outbox.plugin;
        let order = self.shared.order(plugin, self.component.clone(), hook);
        let order =
            HookOrder { values: self.values.clone(), cancel: self.outbox.cancel.clone(), ..order };
        self.shared.sandbox.hook(order).await
    }

    /// What the end of the call means; none if it was stopped.
    fn outcome(&self, delivery: &Delivery, done: &HookDone) -> Option<Outcome> {
        let settings = &self.shared.settings;
        let (why, asked, broke) = match &done.ended {
            Ok(HookAnswer::Handled(annotations)) => {
                return Some(Outcome::Delivered(annotations.clone()));
            }
            Ok(_) => ("it answered what it was not asked".to_owned(), None, true),
            Err(HookError::Stopped) => return None,
            Err(HookError::Said { message, permanent: true, .. }) => {
                return Some(Outcome::SetAside(message.clone()));
            }
            Err(HookError::Said { message, retry_after, .. }) => {
                (message.clone(), *retry_after, false)
            }
            Err(error @ HookError::Broke(_)) => (error.to_string(), None, true),
            Err(error) => (error.to_string(), None, false),
        };
        let wait = backoff::wait(settings, delivery.attempts, asked);
        let tried = Timestamp::now().duration_since(delivery.since);
        let tried = Duration::try_from(tried).unwrap_or_default();
        if tried + wait > Duration::from_millis(settings.retry_for_ms) {
            self.shared.metrics.server_limit_hit("plugin.retry_for_ms");
            return Some(Outcome::SetAside(why));
        }
        Some(Outcome::Again { why, wait, broke })
    }

    async fn settle(
        &mut self,
        mut delivery: Delivery,
        done: HookDone,
        outcome: Outcome,
        lane: &str,
    ) -> Result<(), StorageError> {
        let (shared, outbox) = (self.shared.clone(), self.outbox.clone());
        let broke = matches!(outcome, Outcome::Again { broke: true, .. })
            || matches!(done.ended, Err(HookError::Broke(_)));
        let (error, annotations, wait) = match outcome {
            Outcome::Delivered(annotations) => {
                delivery.status = DeliveryStatus::Delivered;
                (None, annotations, None)
            }
            Outcome::SetAside(why) => {
                delivery.status = DeliveryStatus::SetAside;
                (Some(why), Vec::new(), None)
            }
            Outcome::Again { why, wait, .. } => {
                let later = jiff::SignedDuration::try_from(wait).unwrap_or_default();
                delivery.next_at =
                    Timestamp::now().saturating_add(later).unwrap_or(delivery.next_at);
                (Some(why), Vec::new(), Some(wait))
            }
        };
        let reason = error.clone().unwrap_or_default();
        shared.metrics.plugin_delivery(match (wait, delivery.status) {
            (Some(_), _) => "failed",
            (None, status) => status.as_str(),
        });
        delivery.last = Some(call(&done, error));
        let waits = delivery.status == DeliveryStatus::Pending;
        let forgotten = if waits { Vec::new() } else { self.forgotten(delivery.number) };
        let kept = done.kept.clone();
        let event = delivery.notice.event;
        let settled = Settled { delivery, kept, annotations, forgotten };
        shared.storage.settle(settled, None).await?;
        self.keep(done.kept);
        match wait {
            Some(wait) => outbox.later(lane, wait),
            None => outbox.done(lane),
        }
        let breaks = self.breaks.entry(event).or_default();
        *breaks = if broke { *breaks + 1 } else { 0 };
        let breaks = *breaks;
        if breaks >= shared.settings.breaks {
            self.disable(breaks, &reason).await;
        }
        Ok(())
    }

    /// Takes in what a call changed.
    fn keep(&mut self, kept: crate::model::Kept) {
        if kept.is_empty() {
            return;
        }
        let values = Arc::make_mut(&mut self.values);
        for (key, value) in kept {
            match value {
                Some(value) => _ = values.insert(key, value),
                None => _ = values.remove(&key),
            }
        }
    }

    /// What is to be forgotten when one more delivery does not wait any more.
    fn forgotten(&mut self, number: u64) -> Vec<u64> {
        self.settled.push_back(number);
        let most = self.shared.settings.deliveries;
        let more = self.settled.len().saturating_sub(most);
        if more > 0 {
            self.shared.metrics.server_limit_hit("plugin.deliveries");
        }
        self.settled.drain(..more).collect()
    }

    /// Ends the plugin's work, loudly.
    async fn disable(&self, breaks: u32, why: &str) {
        self.shared.metrics.server_limit_hit("plugin.breaks");
        let reason = format!("it failed {breaks} times in a row, the last time because {why}");
        tracing::error!(plugin = %self.outbox.plugin.name, reason, "a plugin is disabled");
        let standing = Standing::Disabled { reason: reason.clone(), stays: true };
        let plugin =
            Plugin { standing, updated_at: Timestamp::now(), ..self.outbox.plugin.clone() };
        self.shared.retire(&self.outbox);
        if let Err(error) = self.shared.storage.disable_plugin(plugin, reason).await {
            tracing::error!(%error, "failed to store that a plugin is disabled; it is until the next start");
        }
    }
}

/// What is kept of a call.
fn call(done: &HookDone, error: Option<String>) -> DeliveryCall {
    let skipped = done.log.len().saturating_sub(LINES);
    DeliveryCall {
        at: done.at,
        duration_ms: u64::try_from(done.duration.as_millis()).unwrap_or(u64::MAX),
        error,
        log: done.log[skipped..].to_vec(),
        exchanges: done.exchanges.iter().take(EXCHANGES).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

    use super::*;
    use crate::model::{Digest, samples};

    fn outbox() -> Outbox {
        let plugin = samples::plugin("hook", Digest::of(b"plugin"));
        Outbox::new(plugin, Vec::new(), CancellationToken::new())
    }

    fn next(outbox: &Outbox) -> (u64, String) {
        match outbox.next() {
            Next::Number(number, lane) => (number, lane),
            Next::At(_) | Next::Nothing => panic!("nothing is due"),
        }
    }

    #[test]
    fn a_suite_that_is_told_again_and_again_waits_for_the_turns_of_others() {
        let outbox = outbox();
        outbox.push(1, "a".into());
        outbox.push(2, "a".into());
        outbox.push(3, "b".into());
        assert_eq!(next(&outbox), (1, "a".into()));
        outbox.later("a", Duration::ZERO);
        outbox.push(4, "c".into());
        for expected in [(3, "b"), (1, "a"), (4, "c")] {
            let (number, lane) = next(&outbox);
            assert_eq!((number, lane.as_str()), expected);
            outbox.later(&lane, Duration::ZERO);
        }
        // In a lane the order stays.
        assert_eq!(next(&outbox), (3, "b".into()));
        outbox.done("b");
        assert_eq!(next(&outbox), (1, "a".into()));
        outbox.done("a");
        assert_eq!(next(&outbox), (4, "c".into()));
        outbox.done("c");
        assert_eq!(next(&outbox), (2, "a".into()));
    }
}
