//! What becomes of a call: who sent it, whether it came before, what it asks for.

use jiff::Timestamp;
use serde_json::Value;

use super::{Call, Entry, Refusal, State, TriggerError, Triggers, github, signature};
use crate::model::{
    CallOutcome, CallRow, Digest, Mapping, Name, NothingThere, RunRequest, Sender, SuiteId,
    Template, Trigger, TriggerSpec, short,
};
use crate::runner::SubmitError;
use crate::storage::Called;

/// How many calls without a right signature have a row each in short order; later, one in a second has.
/// Not a setting: whoever calls without the secret must not keep the store busy, and what they do is counted
/// in the next row and by `handoff_trigger_calls_total`.
const UNSIGNED_ROWS: u32 = 20;
/// The most bytes of what a row says of its call.
const TEXT_BYTES: usize = 255;

/// How many rows calls without a signature may still have.
pub(super) struct Budget {
    rows: u32,
    since: Timestamp,
    /// Calls that have none.
    untold: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { rows: UNSIGNED_ROWS, since: Timestamp::UNIX_EPOCH, untold: 0 }
    }
}

impl Budget {
    /// How many calls before it had no row, if one may have a row; none if it may not.
    fn take(&mut self, now: Timestamp) -> Option<u64> {
        let more = now.duration_since(self.since).as_secs();
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.rows = self.rows.saturating_add(more).min(UNSIGNED_ROWS);
            self.since = now;
        }
        match self.rows.checked_sub(1) {
            Some(left) => {
                self.rows = left;
                Some(std::mem::take(&mut self.untold))
            }
            None => {
                self.untold += 1;
                None
            }
        }
    }
}

/// What a call asks for.
enum Wanted {
    Run { suite: SuiteId, request: Box<RunRequest> },
    Nothing(String),
}

impl Triggers {
    /// Takes a call. Durable when it returns, and done to its end even if whoever asked no longer waits.
    pub async fn deliver(
        &self,
        name: &Name,
        call: Call,
        now: Timestamp,
    ) -> Result<CallRow, Refusal> {
        let (this, entry) = (self.clone(), self.entry(name)?);
        let work = tokio::spawn(async move { this.take(&entry, &call, now).await });
        match work.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending, and this future with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Keeps a row of a call that could not be read.
    pub async fn unread(
        &self,
        name: &Name,
        call: Call,
        why: &str,
        now: Timestamp,
    ) -> Result<(), TriggerError> {
        let entry = self.entry(name)?;
        self.unsigned(&entry, &call, why, now).await
    }

    async fn take(&self, entry: &Entry, call: &Call, now: Timestamp) -> Result<CallRow, Refusal> {
        let spec = {
            let state = entry.state.lock().await;
            state.there()?;
            state.trigger.spec.clone()
        };
        // Not while others wait: a body is long, and its sender nobody yet.
        let signed = match signature::check(&spec.sender, &spec.secret, call) {
            Ok(signed) => signed,
            Err(why) => {
                self.unsigned(entry, call, &why, now).await?;
                return Err(Refusal::Unsigned(why));
            }
        };
        // One at a time from here on, so that of two equal calls the second finds the first.
        let mut state = entry.state.lock().await;
        state.there()?;
        let marks = marks(&spec.sender, &signed.id, call);
        let wanted = match self.in_time(signed.at, now).map_err(Refusal::Unsigned) {
            Ok(()) => match self.taken_before(&state.trigger, &signed.id, &marks)? {
                None => wanted(&state.trigger, call).map_err(Refusal::Unfit),
                Some(replayed) => Err(replayed),
            },
            Err(late) => Err(late),
        };
        let row = row(state.stamp(now), call, true);
        let (suite, request) = match wanted {
            Ok(Wanted::Run { suite, request }) => (suite, *request),
            Ok(Wanted::Nothing(why)) => {
                return Ok(self.keep(&mut state, row, CallOutcome::Ignored, why).await?);
            }
            Err(refusal) => {
                let why = refusal.to_string();
                self.keep(&mut state, row, CallOutcome::Refused, why).await?;
                return Err(refusal);
            }
        };
        match self.start(&mut state, suite, request, row.clone(), marks).await {
            Ok(row) => Ok(row),
            Err(error) => {
                // It is not known again: its sender may try once more.
                let why = error.to_string();
                self.keep(&mut state, row, CallOutcome::Failed, why).await?;
                Err(error.into())
            }
        }
    }

    /// Starts a run, and stores with it what became of the call.
    async fn start(
        &self,
        state: &mut State,
        suite: SuiteId,
        request: RunRequest,
        row: CallRow,
        marks: Vec<Digest>,
    ) -> Result<CallRow, SubmitError> {
        let mut trigger = state.trigger.clone();
        trigger.runs += 1;
        let (with_it, started) = (trigger.clone(), row.clone());
        let called = Box::new(move |run| {
            let row = CallRow { run: Some(run), ..started };
            Called { trigger: with_it, row: Some(row), marks }
        });
        let run = self.0.runs.submit(suite, request, called).await?;
        state.trigger = trigger;
        self.0.metrics.trigger_call(CallOutcome::Started);
        Ok(CallRow { run: Some(run), ..row })
    }

    /// Keeps a row of a call that starts no run.
    async fn keep(
        &self,
        state: &mut State,
        row: CallRow,
        outcome: CallOutcome,
        why: String,
    ) -> Result<CallRow, TriggerError> {
        let row = CallRow { outcome, reason: Some(why), ..row };
        let called =
            Called { trigger: state.trigger.clone(), row: Some(row.clone()), marks: Vec::new() };
        self.0.metrics.trigger_call(outcome);
        self.0.storage.put_trigger(called, None).await?;
        Ok(row)
    }

    /// Keeps a row of a call without a right signature, unless there are too many.
    async fn unsigned(
        &self,
        entry: &Entry,
        call: &Call,
        why: &str,
        now: Timestamp,
    ) -> Result<(), TriggerError> {
        let mut state = entry.state.lock().await;
        state.there()?;
        let Some(untold) = state.budget.take(now) else {
            self.0.metrics.trigger_call(CallOutcome::Refused);
            return Ok(());
        };
        let why = match untold {
            0 => why.to_owned(),
            untold => format!("{why} (after {untold} refused calls that have no row)"),
        };
        let row = row(state.stamp(now), call, false);
        self.keep(&mut state, row, CallOutcome::Refused, why).await.map(drop)
    }

    /// Fails if a call was signed too long ago, or in a time to come.
    fn in_time(&self, signed_at: Option<Timestamp>, now: Timestamp) -> Result<(), String> {
        let Some(signed_at) = signed_at else { return Ok(()) };
        let tolerance = self.0.settings.tolerance_ms;
        let away = signed_at.duration_since(now);
        if away.unsigned_abs().as_millis() <= tolerance.into() {
            return Ok(());
        }
        self.0.metrics.server_limit_hit("webhooks.tolerance_ms");
        Err(format!(
            "it was signed at {signed_at}, more than {tolerance} ms (webhooks.tolerance_ms) from the \
             server's time: sign it anew, or set the clocks"
        ))
    }

    /// The refusal of a delivery that started a run before.
    fn taken_before(
        &self,
        trigger: &Trigger,
        delivery: &str,
        marks: &[Digest],
    ) -> Result<Option<Refusal>, TriggerError> {
        for mark in marks {
            if let Some(run) = self.0.storage.run_of_delivery(&trigger.name, mark)? {
                let delivery = delivery.to_owned();
                return Ok(Some(Refusal::Replayed { delivery, run }));
            }
        }
        Ok(None)
    }
}

impl State {
    fn there(&self) -> Result<(), TriggerError> {
        match self.deleted {
            true => Err(TriggerError::NoTrigger(self.trigger.name.clone())),
            false => Ok(()),
        }
    }

    /// The time of the next row: `now`, or a moment later where there is a row of that time.
    fn stamp(&mut self, now: Timestamp) -> Timestamp {
        let later = |last: Timestamp| Timestamp::from_microsecond(last.as_microsecond() + 1).ok();
        let after_last = self.trigger.last_row_at.and_then(later);
        let at = after_last.map_or(now, |after| now.max(after));
        self.trigger.last_row_at = Some(at);
        at
    }
}

fn row(at: Timestamp, call: &Call, signed: bool) -> CallRow {
    let text = |names: &[&str]| {
        let text = names.iter().find_map(|name| call.header(name).ok());
        text.map(|text| short(text, TEXT_BYTES))
    };
    CallRow {
        at,
        delivery: text(&["webhook-id", "x-github-delivery"]),
        event: text(&["x-github-event"]),
        signed,
        outcome: CallOutcome::Started,
        run: None,
        reason: None,
    }
}

/// What a delivery is known by. GitHub does not sign its id: whoever has heard a delivery could give it
/// another. So it is known by its body too, which no two of GitHub's have in common: each holds ids and
/// times of what happened.
fn marks(sender: &Sender, id: &str, call: &Call) -> Vec<Digest> {
    let of_id = Digest::of(&[b"id ", id.as_bytes()].concat());
    match sender {
        Sender::Generic => vec![of_id],
        Sender::Github(_) => vec![of_id, Digest::of(&[b"body ", &call.body[..]].concat())],
    }
}

/// What a call asks for that is signed and new.
fn wanted(trigger: &Trigger, call: &Call) -> Result<Wanted, String> {
    let TriggerSpec { suite, request, mapping, sender, .. } = &trigger.spec;
    let payload: Value = serde_json::from_slice(&call.body).map_err(|error| {
        format!("the body is not JSON: {error}; set the sender's content type to application/json")
    })?;
    let mut request = request.clone();
    if let Sender::Github(filter) = sender {
        let event = call.header("x-github-event")?;
        match github::asked(event, &payload, filter)? {
            github::Asked::Run { commit } => _ = request.reference.get_or_insert(commit),
            github::Asked::Nothing(why) => return Ok(Wanted::Nothing(why)),
        }
    }
    request.initiated_by.get_or_insert_with(|| format!("trigger {}", trigger.name));
    let mapped = fill(mapping, &payload, &mut request)?;
    match mapped.or_else(|| suite.clone()) {
        Some(suite) => Ok(Wanted::Run { suite, request: Box::new(request) }),
        None => Err("the trigger has no suite".into()),
    }
}

/// Fills in what the payload decides, and gives the suite if it decides that.
fn fill(
    mapping: &Mapping,
    payload: &Value,
    request: &mut RunRequest,
) -> Result<Option<SuiteId>, String> {
    let filled = |text: &str| {
        let template = Template::new(text).map_err(|error| error.to_string())?;
        template.fill(payload).map_err(|error: NothingThere| error.to_string())
    };
    if let Some(text) = &mapping.reference {
        request.reference = Some(filled(text)?);
    }
    for (name, text) in &mapping.params {
        request.params.insert(name.clone(), filled(text)?);
    }
    let suite = mapping.suite.as_deref().map(filled).transpose()?;
    let suite = suite.map(|suite| suite.parse().map_err(|error| format!("the suite: {error}")));
    suite.transpose()
}
