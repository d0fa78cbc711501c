//! Calls the functions of a plugin, each in a store and an instance of its own, and tells how that went.
//!
//! Hooks have slots of their own beside those of attempts, so that no run waits for a plugin.

pub(super) mod bindings;
pub(super) mod context;
mod pace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use self::bindings::hooks;
pub use self::context::{NoReport, Runs, Values};
pub use self::pace::Pace;
use super::Sandbox;
use super::execute::{Answer, Call, Ending, Execution, Terms};
use super::prepared::Linked;
use super::trap::in_words;
use super::verdict;
use crate::compile::Loaded;
use crate::model::{
    Annotation, Exchange, Kept, Limits, LogLine, Notice, NoticeKind, Policy, Wishes, short,
};

/// Annotations that are taken from one call.
const MAX_ANNOTATIONS: usize = 20;
/// Named values that are taken with one annotation.
const MAX_VALUES: usize = 50;
/// Bytes that are kept of a text of an annotation.
const TEXT_BYTES: usize = 2_000;

/// Which function is called.
#[derive(Clone, Debug)]
pub enum Hook {
    /// What the plugin would like, given its configuration.
    Init,
    /// It is told something.
    Handle {
        /// What.
        notice: Arc<Notice>,
        /// The attempt at this, counted from 1.
        attempt: u32,
    },
    /// It is asked whether a run may start.
    Gate {
        /// The run as JSON.
        run: String,
    },
}

/// Everything that a call needs to know.
pub struct HookOrder {
    /// The plugin.
    pub component: Loaded,
    /// What to call.
    pub hook: Hook,
    /// What is granted.
    pub policy: Arc<Policy>,
    /// Limits.
    pub limits: Arc<Limits>,
    /// What it keeps.
    pub values: Arc<Values>,
    /// How it reads runs.
    pub runs: Arc<dyn Runs>,
    /// The deadline, counted from the start.
    pub timeout: Duration,
    /// Ends the call.
    pub cancel: CancellationToken,
    /// What it shares a processor's time with; none if somebody waits for it.
    pub pace: Option<Arc<Pace>>,
}

/// What the plugin answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAnswer {
    /// What it would like.
    Wishes(Wishes),
    /// It took what it was told.
    Handled(Vec<Annotation>),
    /// A run may start, with these parameters added.
    Go(Vec<(String, String)>),
    /// A run must not start.
    Refuse(String),
}

/// Why a plugin did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// It says so.
    #[error("{message}")]
    Said {
        /// What it says.
        message: String,
        /// When to try again at the earliest.
        retry_after: Option<Duration>,
        /// Whether it is of no use to try again.
        permanent: bool,
    },
    /// It trapped, or went beyond its deadline or another limit.
    #[error("it {0}")]
    Broke(String),
    /// There was no room for it in time.
    #[error("no room for it was free within {}", in_words(*.0))]
    Busy(Duration),
    /// It was stopped.
    #[error("it was stopped")]
    Stopped,
    /// The platform's own fault.
    #[error("{0}")]
    Host(String),
}

/// A call that has ended.
pub struct HookDone {
    /// How.
    pub ended: Result<HookAnswer, HookError>,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// What it wrote.
    pub log: Vec<LogLine>,
    /// What it sent.
    pub exchanges: Vec<Exchange>,
    /// What it wants kept.
    pub kept: Kept,
}

impl HookDone {
    fn not_run(error: HookError) -> Self {
        Self {
            ended: Err(error),
            at: Timestamp::now(),
            duration: Duration::ZERO,
            log: Vec::new(),
            exchanges: Vec::new(),
            kept: Kept::new(),
        }
    }
}

impl Sandbox {
    /// Calls a plugin. Never fails: whatever goes wrong is in what it gives. Dropping the future ends the
    /// guest.
    pub async fn hook(&self, order: HookOrder) -> HookDone {
        let prepared = match self.prepared(&order.component) {
            Ok(prepared) if matches!(prepared.linked, Linked::Plugin(_)) => prepared,
            Ok(_) => return HookDone::not_run(HookError::Host("it is no plugin".into())),
            Err(error) => return HookDone::not_run(HookError::Host(error)),
        };
        let cancel = order.cancel.clone();
        let room = tokio::select! {
            biased;
            room = self.hook_room(&prepared, &order.limits) => room,
            () = cancel.cancelled() => return HookDone::not_run(HookError::Stopped),
            waited = self.patience() => return HookDone::not_run(HookError::Busy(waited)),
        };
        let room = match room {
            Ok(room) => room,
            Err(error) => return HookDone::not_run(HookError::Host(error)),
        };
        match self.run(prepared, room, terms(order), std::convert::identity).await {
            Ok(execution) => self.done(execution),
            Err(error) => HookDone::not_run(HookError::Host(error)),
        }
    }

    fn done(&self, mut execution: Execution) -> HookDone {
        let broke = verdict::of_hook(&mut execution);
        execution.hits.take().into_iter().for_each(|limit| self.metrics().limit_hit(limit));
        let duration = execution.ended.duration_since(execution.started);
        let masker = &execution.log.masker;
        let mask = |mut text: String| {
            masker.apply(&mut text);
            text
        };
        let ended = match (execution.ending, broke) {
            (Ending::Returned(Answer::Wishes(wishes)), _) => wished(*wishes, mask),
            (Ending::Returned(Answer::Handled(handled)), _) => handled_as(*handled, mask),
            (Ending::Returned(Answer::Gate(verdict)), _) => Ok(judged(verdict, mask)),
            (Ending::Cancelled, _) => Err(HookError::Stopped),
            (_, Some(message)) => Err(HookError::Broke(mask(message))),
            (_, None) => Err(HookError::Host("it answered what it was not asked".into())),
        };
        let mut exchanges = execution.exchanges;
        for exchange in &mut exchanges {
            masker.apply(&mut exchange.url);
            exchange.error.iter_mut().for_each(|error| masker.apply(error));
        }
        HookDone {
            ended,
            at: execution.started_at,
            duration,
            log: execution.log.lines,
            exchanges,
            kept: execution.kept,
        }
    }
}

fn said(message: String) -> HookError {
    HookError::Said { message, retry_after: None, permanent: true }
}

fn wished(
    wishes: Result<hooks::Wishes, String>,
    mask: impl Fn(String) -> String,
) -> Result<HookAnswer, HookError> {
    let hooks::Wishes { events, http, gate } = wishes.map_err(|error| said(mask(error)))?;
    let kind = |word: &String| {
        NoticeKind::of(word).ok_or_else(|| {
            let word = short(&mask(word.clone()), 100);
            said(format!("it wants the event {word:?}, which there is not"))
        })
    };
    let events = events.iter().map(kind).collect::<Result<_, _>>()?;
    Ok(HookAnswer::Wishes(Wishes { events, http: http.into_iter().map(&mask).collect(), gate }))
}

fn handled_as(
    handled: Result<Vec<hooks::Annotation>, hooks::Trouble>,
    mask: impl Fn(String) -> String,
) -> Result<HookAnswer, HookError> {
    let text = |text: String| short(&mask(text), TEXT_BYTES);
    match handled {
        Ok(annotations) => {
            let annotation = |it: hooks::Annotation| Annotation {
                title: text(it.title),
                url: it.url.map(&text),
                values: it
                    .values
                    .into_iter()
                    .take(MAX_VALUES)
                    .map(|value| (text(value.key), text(value.value)))
                    .collect(),
            };
            let annotations = annotations.into_iter().take(MAX_ANNOTATIONS).map(annotation);
            Ok(HookAnswer::Handled(annotations.collect()))
        }
        Err(hooks::Trouble { message, retry_after_ms, permanent }) => Err(HookError::Said {
            message: text(message),
            retry_after: retry_after_ms.map(Duration::from_millis),
            permanent,
        }),
    }
}

fn judged(verdict: hooks::Verdict, mask: impl Fn(String) -> String) -> HookAnswer {
    match verdict {
        hooks::Verdict::Go => HookAnswer::Go(Vec::new()),
        hooks::Verdict::GoWith(params) => {
            HookAnswer::Go(params.into_iter().map(|param| (param.key, param.value)).collect())
        }
        hooks::Verdict::Refuse(reason) => HookAnswer::Refuse(short(&mask(reason), TEXT_BYTES)),
    }
}

/// What the guest is told.
pub(super) fn event(notice: &Notice, attempt: u32) -> hooks::Event {
    hooks::Event {
        id: notice.id.to_string(),
        name: notice.event.as_str().into(),
        dedup_key: notice.dedup_key.clone(),
        attempt,
        // A notice is made of texts and numbers, which are always JSON.
        payload: serde_json::to_string(notice).unwrap_or_default(),
    }
}

fn terms(order: HookOrder) -> Terms {
    Terms {
        call: Call::Hook { hook: order.hook, values: order.values, runs: order.runs },
        metered: order.component.metered,
        number: 1,
        policy: order.policy,
        limits: order.limits,
        params: Arc::new(BTreeMap::new()),
        values: Arc::default(),
        timeout: order.timeout,
        not_after: None,
        cancel: order.cancel,
        live: None,
        protocol: None,
        fixtures: None,
        pace: order.pace,
    }
}
