//! What is done about a schedule's times that have come, and about the ends of its runs.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{AGAIN, Entry, Inner, Plan, Rule, Scheduler, State, due};
use crate::model::{DueOutcome, DueRow, Overlap, Paused, RunId, RunStatus, Schedule};
use crate::runner::SubmitError;
use crate::storage::{Dealt, IdempotencyKey, StorageError};

impl Inner {
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<Arc<Entry>> {
        let mut due = Vec::new();
        while self.next.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.next.pop_first() else { break };
            due.extend(self.entries.get(&name).cloned());
        }
        due
    }
}

impl Scheduler {
    /// Takes up schedules that are stored, and that it does not know yet.
    pub async fn take_up(&self, schedules: Vec<Schedule>, now: Timestamp) {
        for schedule in schedules {
            if self.0.plan().entries.contains_key(&schedule.name) {
                continue;
            }
            let spec = &schedule.spec;
            // It was read when it was stored; the time zones of this machine may be others.
            let rule = match Rule::new(&spec.cron, &spec.timezone, schedule.changed_at) {
                Ok(rule) => rule,
                Err(error) => {
                    tracing::error!(schedule = %schedule.name, %error, "a stored schedule cannot be read");
                    continue;
                }
            };
            let under_way = schedule.under_way.clone();
            let entry = self.insert(schedule, rule, now).await;
            under_way.into_iter().for_each(|run| self.follow(&entry, run));
        }
    }

    /// Deals with the times of a schedule that have come, and puts it back into the plan.
    pub(super) async fn deal(&self, entry: &Arc<Entry>, state: &mut State, now: Timestamp) {
        if state.deleted || state.schedule.paused.is_some() {
            return;
        }
        let again = match self.deal_with_what_came(entry, state, now).await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(schedule = %entry.name, %error, "failed to deal with a schedule's time; trying again");
                now.checked_add(AGAIN).ok()
            }
        };
        self.place(state, now, again);
    }

    async fn deal_with_what_came(
        &self,
        entry: &Arc<Entry>,
        state: &mut State,
        now: Timestamp,
    ) -> Result<(), SubmitError> {
        self.settle(state, now)?;
        if state.schedule.paused.is_some() {
            return self.keep(state, Vec::new()).await;
        }
        let settings = &self.0.settings;
        let late = Duration::from_millis(settings.late_ms);
        let patience = due::Patience { late, told: settings.missed_rows.max(1) };
        let come = due::come(&state.schedule, &state.rule, now, patience);
        let mut rows = missed(&come, now);
        if come.untold > 0 {
            self.0.metrics.server_limit_hit("scheduler.missed_rows");
        }
        for (at, outcome) in come.now {
            if due::ended(&state.schedule, now).is_some() {
                break;
            }
            let lag = now.duration_since(due::fires(&state.schedule, at));
            self.0.metrics.schedule_lag(Duration::try_from(lag).unwrap_or_default());
            if let Some(row) = self.instead(state, at, outcome, now).await {
                rows.push(row);
            } else {
                let reason = (outcome == DueOutcome::CaughtUp).then(|| format!("{lag:#} late"));
                let due = DueRow { due_at: at, at: now, outcome, run: None, reason };
                if let Err(error) = self.start(entry, state, due.clone(), &mut rows, None).await {
                    if may_go_well_later(&error) {
                        self.keep(state, rows).await?;
                        return Err(error);
                    }
                    let (outcome, reason) = (DueOutcome::Failed, Some(error.to_string()));
                    rows.push(DueRow { outcome, reason, ..due });
                }
            }
            state.schedule.dealt_with = state.schedule.dealt_with.max(at);
        }
        if let Some(up_to) = come.up_to {
            state.schedule.dealt_with = state.schedule.dealt_with.max(up_to);
        }
        self.keep(state, rows).await
    }

    /// Stores a schedule as it stands, with what became of its times.
    async fn keep(&self, state: &mut State, rows: Vec<DueRow>) -> Result<(), SubmitError> {
        let outcomes: Vec<_> = rows.iter().map(|row| row.outcome).collect();
        let dealt = Dealt { schedule: state.schedule.clone(), rows };
        self.0.storage.put_schedule(dealt, None).await?;
        outcomes.into_iter().for_each(|outcome| self.0.metrics.schedule_time(outcome));
        Ok(())
    }

    /// What becomes of a time that starts no run, because of those that are not over.
    async fn instead(
        &self,
        state: &mut State,
        at: Timestamp,
        outcome: DueOutcome,
        now: Timestamp,
    ) -> Option<DueRow> {
        let schedule = &mut state.schedule;
        let other = *schedule.under_way.first()?;
        let row = |outcome, reason| {
            Some(DueRow { due_at: at, at: now, outcome, run: None, reason: Some(reason) })
        };
        let overlap = match schedule.spec.overlap {
            // Times that are made up for came one after the other, and so do their runs.
            Overlap::Skip if outcome == DueOutcome::CaughtUp => Overlap::Queue,
            overlap => overlap,
        };
        match overlap {
            Overlap::Allow => None,
            Overlap::Skip => row(DueOutcome::Skipped, format!("run {other} is not over")),
            Overlap::Queue if schedule.waiting.len() < self.0.settings.waiting => {
                schedule.waiting.push(at);
                row(DueOutcome::Waiting, format!("run {other} is not over"))
            }
            Overlap::Queue => {
                self.0.metrics.server_limit_hit("scheduler.waiting");
                let waiting = schedule.waiting.len();
                row(
                    DueOutcome::Skipped,
                    format!("{waiting} times wait already (scheduler.waiting)"),
                )
            }
            Overlap::CancelOther => {
                let by = format!("schedule {}", schedule.name);
                for run in &schedule.under_way {
                    self.0.runs.cancel(*run, by.clone()).await;
                }
                None
            }
        }
    }

    /// Starts a run, and stores with it what became of `due` and the `rows` before it.
    pub(super) async fn start(
        &self,
        entry: &Arc<Entry>,
        state: &mut State,
        due: DueRow,
        rows: &mut Vec<DueRow>,
        key: Option<IdempotencyKey>,
    ) -> Result<RunId, SubmitError> {
        let outcome = due.outcome;
        let mut schedule = state.schedule.clone();
        let mut request = schedule.spec.request.clone();
        request.initiated_by.get_or_insert_with(|| format!("schedule {}", schedule.name));
        if outcome != DueOutcome::Triggered {
            schedule.runs += 1;
            schedule.dealt_with = schedule.dealt_with.max(due.due_at);
        }
        let (suite, before, with_it) =
            (schedule.spec.suite.clone(), schedule.clone(), rows.clone());
        let dealt = Box::new(move |run| {
            let mut schedule = before;
            schedule.under_way.push(run);
            let rows = with_it.into_iter().chain([DueRow { run: Some(run), ..due }]).collect();
            Dealt { schedule, rows }
        });
        let run = self.0.runs.submit(suite, request, dealt, key).await?;
        if state.schedule.under_way.contains(&run) {
            // A repeated request with the same key.
            return Ok(run);
        }
        schedule.under_way.push(run);
        state.schedule = schedule;
        rows.drain(..).for_each(|row| self.0.metrics.schedule_time(row.outcome));
        self.0.metrics.schedule_time(outcome);
        self.follow(entry, run);
        Ok(run)
    }

    /// Does what follows from the end of a run, when it comes.
    pub(super) fn follow(&self, entry: &Arc<Entry>, run: RunId) {
        let (this, entry) = (self.clone(), entry.clone());
        tokio::spawn(async move {
            if let Some(ended) = this.0.runs.ended(run) {
                ended.cancelled().await;
            }
            this.after_a_run(&entry, Timestamp::now()).await;
        });
    }

    /// Starts the run of a time that waits, if there is one and no other run is under way.
    pub(super) async fn after_a_run(&self, entry: &Arc<Entry>, now: Timestamp) {
        let mut state = entry.state.lock().await;
        if state.deleted {
            return;
        }
        if let Err(error) = self.next_that_waits(entry, &mut state, now).await {
            // Looked at again when the schedule is next due.
            tracing::warn!(schedule = %entry.name, %error, "failed to deal with the end of a schedule's run");
        }
        self.place(&mut state, now, None);
    }

    async fn next_that_waits(
        &self,
        entry: &Arc<Entry>,
        state: &mut State,
        now: Timestamp,
    ) -> Result<(), SubmitError> {
        self.settle(state, now)?;
        let mut rows = Vec::new();
        let row = |due_at, outcome, reason| DueRow { due_at, at: now, outcome, run: None, reason };
        let paused = state.schedule.paused.as_ref().map(|_| "the schedule was paused".to_owned());
        // A time that came before the end may start after it.
        let next = state.schedule.waiting.first().copied().unwrap_or(now);
        let stopped = paused.or_else(|| due::ended(&state.schedule, next));
        if let Some(reason) = stopped {
            let reason = || Some(reason.clone());
            let waiting = std::mem::take(&mut state.schedule.waiting).into_iter();
            rows.extend(waiting.map(|due_at| row(due_at, DueOutcome::Skipped, reason())));
        } else if state.schedule.under_way.is_empty() && !state.schedule.waiting.is_empty() {
            let due_at = state.schedule.waiting.remove(0);
            let reason = Some("it waited for another run to end".to_owned());
            let due = row(due_at, DueOutcome::Started, reason);
            if let Err(error) = self.start(entry, state, due.clone(), &mut rows, None).await {
                let (outcome, reason) = (DueOutcome::Failed, Some(error.to_string()));
                rows.push(DueRow { outcome, reason, ..due });
            }
        }
        self.keep(state, rows).await
    }

    /// Forgets the runs that have ended; pauses the schedule if one of them did not pass and it is to.
    fn settle(&self, state: &mut State, now: Timestamp) -> Result<(), StorageError> {
        let schedule = &mut state.schedule;
        let mut under_way = Vec::new();
        for run in &schedule.under_way {
            match self.0.storage.summary(*run)? {
                Some(summary) if !summary.status.is_terminal() => under_way.push(*run),
                Some(summary)
                    if schedule.spec.pause_on_failure
                        && matches!(summary.status, RunStatus::Failed | RunStatus::Error) =>
                {
                    let reason = Some(format!("run {run} {}", summary.status.as_str()));
                    let by = Some("pause_on_failure".to_owned());
                    schedule.paused.get_or_insert(Paused { since: now, by, reason });
                }
                _ => {}
            }
        }
        schedule.under_way = under_way;
        Ok(())
    }
}

/// The rows of times that passed unseen.
fn missed(come: &due::Come, now: Timestamp) -> Vec<DueRow> {
    let row = |(at, due_at): (usize, &Timestamp)| {
        let before = if at == 0 { come.untold } else { 0 };
        let more = if come.uncounted { "at least " } else { "" };
        let reason = match before {
            0 => "the server was not there, or its clock was set".to_owned(),
            before => format!(
                "as {more}{before} times before it: the server was not there, or its clock was set"
            ),
        };
        let (outcome, run) = (DueOutcome::Missed, None);
        DueRow { due_at: *due_at, at: now, outcome, run, reason: Some(reason) }
    };
    come.missed.iter().enumerate().map(row).collect()
}

/// Whether the same request may be accepted at another time.
fn may_go_well_later(error: &SubmitError) -> bool {
    match error {
        SubmitError::QueueFull { .. } | SubmitError::Draining => true,
        SubmitError::Storage(error) => !matches!(**error, StorageError::DealtWith(_)),
        SubmitError::NoSuite(_) | SubmitError::NoVersion(..) | SubmitError::Plan(_) => false,
    }
}
