//! Taking what ended out of the statistics, and running it again.

use super::dispatcher::Message;
use super::{ControlError, Runner, SubmitError, to_its_end};
use crate::model::{ClearedAttempt, EventKind, PlanError, Run, RunId, Stage};
use crate::storage::{EarlierAnswer, IdempotencyKey};

/// What is to count no more, and why.
#[derive(Clone, Debug)]
pub struct ClearOrder {
    /// At which test; none for the whole run.
    pub test: Option<String>,
    /// Which attempt at the test, by round and number; none for all of them.
    pub attempt: Option<(u32, u32)>,
    /// Why.
    pub reason: String,
    /// Who, as they say.
    pub by: Option<String>,
    /// Whether to run again what is cleared: a test as a further attempt, a whole run as a new one.
    pub again: bool,
}

/// The run that tells what became of an order, as it was after the event with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClearAnswer {
    /// The run: another one if a whole run is run again.
    pub run: RunId,
    /// The number of its event.
    pub seq: u64,
}

impl Runner {
    /// Takes a run that has ended, a test of it or an attempt out of the statistics. It is kept. What is
    /// cleared already stays as it is.
    pub async fn clear(
        &self,
        run: RunId,
        order: ClearOrder,
        key: Option<IdempotencyKey>,
    ) -> Result<ClearAnswer, ControlError> {
        let runner = self.clone();
        to_its_end(async move { runner.clear_once(run, order, key).await }).await
    }

    async fn clear_once(
        &self,
        run: RunId,
        order: ClearOrder,
        key: Option<IdempotencyKey>,
    ) -> Result<ClearAnswer, ControlError> {
        let earlier = key.as_ref().map(|key| self.shared.storage.earlier_answer(key));
        if let Some(EarlierAnswer::Event { run, seq }) = earlier.transpose()?.flatten() {
            return Ok(ClearAnswer { run, seq });
        }
        let ClearOrder { test, reason, by, again, .. } = &order;
        let texts = [("reason", reason.as_str()), ("initiated_by", by.as_deref().unwrap_or(""))];
        for (field, text) in texts {
            let checked = self.shared.settings.bounds.check_text(field, text);
            checked.inspect_err(|error| self.count_refusal(error)).map_err(SubmitError::Plan)?;
        }
        if reason.trim().is_empty() {
            return Err(ControlError::NoReason);
        }
        let (test, by, again) = (test.clone(), by.clone(), *again);
        // What runs again has the key, so that a request that died in between does not do it twice.
        let seq = self.clear_what_ended(run, order, key.clone().filter(|_| !again)).await?;
        match (again, test) {
            (false, _) => Ok(ClearAnswer { run, seq }),
            (true, Some(test)) => {
                let seq = self.retry_once(run, Some(vec![test]), by, key).await?;
                Ok(ClearAnswer { run, seq })
            }
            (true, None) => {
                let spec = self.ended_run(run)?.spec;
                let mut request = spec.request;
                request.version = Some(spec.version);
                request.initiated_by = by.or(request.initiated_by);
                let run = self.submit(spec.suite, request, key).await?;
                Ok(ClearAnswer { run, seq: 1 })
            }
        }
    }

    /// Stores that something is cleared, unless it is; gives the number of the run's last event then.
    async fn clear_what_ended(
        &self,
        run: RunId,
        order: ClearOrder,
        key: Option<IdempotencyKey>,
    ) -> Result<u64, ControlError> {
        // So that nobody runs it again meanwhile.
        let _one = self.shared.retrying.lock().await;
        let folded = self.ended_run(run)?;
        let attempt = match &order.test {
            None => None,
            Some(test) => self.attempt_to_clear(&folded, test, order.attempt)?,
        };
        let is_cleared = match (&order.test, attempt) {
            (None, _) => folded.cleared.is_some(),
            (Some(test), attempt) => folded.test(test).is_some_and(|test| match attempt {
                None => test.attempts.clearing_of_all().is_some(),
                Some(one) => test.attempts.clearing(one.round, one.number).is_some(),
            }),
        };
        if is_cleared {
            return Ok(folded.last_seq);
        }
        let most = self.shared.settings.bounds.max_cleared;
        if folded.clearings() as u64 >= most {
            let error = PlanError::TooManyCleared { limit: most };
            self.count_refusal(&error);
            return Err(SubmitError::Plan(error).into());
        }
        let ClearOrder { test, reason, by, .. } = order;
        let counts = folded.counts_without(test.as_deref(), attempt);
        let kind = EventKind::Cleared { test, attempt, reason, by, counts };
        let seq = self.append(run, kind, key).await.map_err(SubmitError::Storage)?;
        // Who waits for the suite may wait no more.
        self.dispatcher.send(Message::Changed { suite: folded.spec.suite }).await;
        Ok(seq)
    }

    /// The attempt at a test that is meant; none if all are.
    fn attempt_to_clear(
        &self,
        run: &Run,
        test: &str,
        attempt: Option<(u32, u32)>,
    ) -> Result<Option<ClearedAttempt>, ControlError> {
        let found = run.test(test).ok_or_else(|| ControlError::NoTest(test.into()))?;
        if found.attempts.total() == 0 {
            return Err(ControlError::NoAttempt(test.into()));
        }
        let Some((round, number)) = attempt else { return Ok(None) };
        let mut meant = None;
        // The run holds the last attempts alone.
        self.shared.storage.attempts(run.spec.id, run.last_seq, |stage, attempt| {
            let is_at = matches!(stage, Stage::Test(name) if name == test);
            if is_at && (attempt.round, attempt.number) == (round, number) {
                meant = Some(ClearedAttempt::of(attempt));
            }
        })?;
        meant.map(Some).ok_or_else(|| ControlError::NoAttempt(test.into()))
    }

    /// A run that has ended.
    fn ended_run(&self, run: RunId) -> Result<Run, ControlError> {
        let folded = self.shared.storage.run(run)?.ok_or(ControlError::NoRun(run))?;
        if folded.status.is_terminal() { Ok(folded) } else { Err(ControlError::NotEnded) }
    }
}
