//! A run on a server, followed to its end: shown as it goes, told of at the end, ended by its result.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::client::{Client, Lines};
use super::course::Course;
use super::ending::Ending;
use super::excerpt::Excerpt;
use super::exit::{Exit, Failure};
use super::failures::{Failed, MAX_TOLD, to_tell};
use super::github::GitHub;
use super::progress::Progress;
use super::signals::Interrupts;
use super::terminal::Look;
use super::turn;
use crate::http::views::{AttemptView, LogRecordView};
use crate::model::{Attempt, LogLine, RunEvent, RunId, Stage};

/// How often time is told to pass.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// How often a run that waits is asked for what.
const WAITING_ASKED: Duration = Duration::from_secs(2);

/// A part of a run, as far as it is told of here.
#[derive(Deserialize)]
struct Tried {
    attempts: Vec<AttemptView>,
}

/// What a run is followed for.
pub(crate) struct Watch<'a> {
    pub(crate) client: &'a Client,
    pub(crate) run: RunId,
    pub(crate) look: Look,
    pub(crate) fail_on_flaky: bool,
    /// How long to wait at most.
    pub(crate) patience: Option<Duration>,
    /// Who stops the run, if it is stopped.
    pub(crate) user: Option<&'a str>,
    /// The step of GitHub Actions that we run in.
    pub(crate) github: Option<&'a GitHub>,
}

impl Watch<'_> {
    /// Follows the run to its end. The exit code is that of its result.
    pub(crate) async fn to_the_end(
        &self,
        mut events: mpsc::Receiver<Result<RunEvent, Failure>>,
        mut progress: Progress<Course>,
        interrupts: &mut Interrupts,
    ) -> Result<Exit, Failure> {
        let mut tick = tokio::time::interval(TICK);
        let first_asked = tokio::time::Instant::now() + WAITING_ASKED / 2;
        let mut waiting_asked = tokio::time::interval_at(first_asked, WAITING_ASKED);
        let mut waits_for = None;
        let mut patience = std::pin::pin!(wait(self.patience));
        let mut interrupted = false;
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { break };
                    let event = event.inspect_err(|_| _ = progress.erase())?;
                    progress.event(&event, Instant::now())?;
                }
                _ = tick.tick() => progress.tick(Instant::now())?,
                _ = waiting_asked.tick(), if progress.waits() => {
                    let now = self.waits_for().await;
                    if let Some(text) = now.as_ref().filter(|_| now != waits_for) {
                        progress.waiting(text, Instant::now())?;
                    }
                    waits_for = now;
                }
                () = interrupts.next() => {
                    if interrupted {
                        progress.erase()?;
                        return Ok(Exit::Interrupted);
                    }
                    interrupted = true;
                    self.stop().await?;
                }
                () = &mut patience => {
                    progress.erase()?;
                    let told = format!("the run {} has not ended in this time; it goes on", self.run);
                    return Err(Failure::told(Exit::WaitedTooLong, told));
                }
            }
        }
        let Some(run) = progress.run().cloned() else {
            let told = format!("the run {} has no events", self.run);
            return Err(Failure::told(Exit::Server, told));
        };
        progress.erase()?;
        let mut ending = Ending::of(&run, &mut progress, self.look, self.github)?;
        let failed = to_tell(&run);
        for failed in failed.iter().take(MAX_TOLD) {
            ending.failure(progress.out(), &self.in_detail(failed).await)?;
        }
        ending.sum_up(&mut progress, &failed)?;
        let exit = Exit::of_run(&run, self.fail_on_flaky);
        ending.conclude(progress.out(), &failed)?;
        Ok(exit)
    }

    /// What the run waits for, if it does and the server tells.
    async fn waits_for(&self) -> Option<String> {
        let run = self.client.get(&["runs", &self.run.to_string()], &[]).await.ok()?;
        turn::waits_for(&run)
    }

    /// Asks the run to stop. That it has ended by itself meanwhile is as good.
    async fn stop(&self) -> Result<(), Failure> {
        match self.client.cancel(self.run, self.user).await {
            Err(failure) if !failure.is_refusal() => Err(failure),
            _ => Ok(()),
        }
    }

    /// The same with all that its attempts left behind. What the events told is told even if the rest
    /// cannot be had.
    async fn in_detail<'r>(&self, failed: &Failed<'r>) -> Failed<'r> {
        let mut detailed = self.detailed(&failed.stage).await.unwrap_or_default();
        let mut failed = failed.clone();
        for attempt in &mut failed.attempts {
            let same = |a: &Attempt| (a.round, a.number) == (attempt.round, attempt.number);
            if let Some(at) = detailed.iter().position(same) {
                *attempt = Cow::Owned(detailed.swap_remove(at));
            }
        }
        failed
    }

    /// The attempts at a part of the run with all that they left behind.
    async fn detailed(&self, stage: &Stage) -> Result<Vec<Attempt>, Failure> {
        let id = self.run.to_string();
        let (path, only) = match stage {
            Stage::Setup => (vec!["runs", &id, "setup"], ("stage", "setup")),
            Stage::Test(name) => (vec!["runs", &id, "tests", name], ("test", name.as_str())),
            Stage::Teardown => (vec!["runs", &id, "teardown"], ("stage", "teardown")),
        };
        let tried: Tried = self.client.get(&path, &[]).await?;
        let mut attempts: Vec<Attempt> = tried.attempts.into_iter().map(Into::into).collect();
        let mut logs: Vec<_> = attempts.iter().map(|_| Excerpt::default()).collect();
        let request = self.client.request(Method::GET, &["runs", &id, "logs"]);
        let request = request.query(&[only, ("format", "json")]);
        let mut lines = Lines::of(self.client.send(request).await?);
        while let Some(line) = lines.next().await? {
            let record: LogRecordView = super::client::parse(&line)?;
            let written = |a: &Attempt| (a.round, a.number) == (record.round, record.attempt);
            if let Some(place) = attempts.iter().position(written) {
                logs[place].push(LogLine::from(record.line));
            }
        }
        let rest = format!("`handoff logs {id}` shows them");
        for (attempt, log) in attempts.iter_mut().zip(logs) {
            attempt.detail.get_or_insert_default().log = log.told(&rest);
        }
        Ok(attempts)
    }
}

async fn wait(patience: Option<Duration>) {
    match patience {
        Some(patience) => tokio::time::sleep(patience).await,
        None => std::future::pending().await,
    }
}
