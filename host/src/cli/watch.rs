//! A run on a server, followed to its end: shown as it goes, told of at the end, ended by its result.

use std::io::Write;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::client::{Client, Lines};
use super::excerpt::Excerpt;
use super::exit::{Exit, Failure, counts_as_failure};
use super::failures::{Failed, MAX_TOLD, to_tell, write_failure, write_more};
use super::progress::Progress;
use super::signals::Interrupts;
use super::terminal::Look;
use crate::http::views::{AttemptView, LogRecordView};
use crate::model::{Attempt, LogLine, Run, RunEvent, RunId, Stage};

/// How often time is told to pass.
pub(crate) const TICK: Duration = Duration::from_millis(100);

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
    pub(crate) fail_fast: bool,
    pub(crate) fail_on_flaky: bool,
    /// How long to wait at most.
    pub(crate) patience: Option<Duration>,
    /// Who stops the run, if it is stopped.
    pub(crate) user: Option<&'a str>,
}

impl Watch<'_> {
    /// Follows the run to its end. The exit code is that of its result.
    pub(crate) async fn to_the_end<W: Write>(
        &self,
        mut events: mpsc::Receiver<Result<RunEvent, Failure>>,
        mut progress: Progress<W>,
        interrupts: &mut Interrupts,
    ) -> Result<Exit, Failure> {
        let mut tick = tokio::time::interval(TICK);
        let mut patience = std::pin::pin!(wait(self.patience));
        let (mut interrupted, mut stopped) = (false, false);
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { break };
                    let event = event.inspect_err(|_| _ = progress.erase())?;
                    progress.event(&event, Instant::now())?;
                    let failed = counts_as_failure(progress.run(), &event.kind);
                    if self.fail_fast && failed && !stopped && !interrupted {
                        stopped = true;
                        self.stop().await?;
                    }
                }
                _ = tick.tick() => progress.tick(Instant::now())?,
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
        self.tell_failures(&run, progress.out()).await?;
        progress.summary()?;
        Ok(match Exit::of_run(&run, self.fail_on_flaky) {
            Exit::Interrupted if stopped && !interrupted => Exit::TestsFailed,
            exit => exit,
        })
    }

    /// Asks the run to stop. That it has ended by itself meanwhile is as good.
    async fn stop(&self) -> Result<(), Failure> {
        match self.client.cancel(self.run, self.user).await {
            Err(failure) if !failure.is_refusal() => Err(failure),
            _ => Ok(()),
        }
    }

    async fn tell_failures(&self, run: &Run, out: &mut impl Write) -> Result<(), Failure> {
        let all = to_tell(run);
        let suite = run.spec.suite.name.as_str();
        for failed in all.iter().take(MAX_TOLD) {
            // What the events told is told even if the rest cannot be had.
            let detailed = self.detailed(failed).await.unwrap_or_default();
            for attempt in &failed.attempts {
                let same = |a: &&Attempt| (a.round, a.number) == (attempt.round, attempt.number);
                let attempt = detailed.iter().find(same).unwrap_or(attempt);
                write_failure(out, self.look, suite, failed, attempt)?;
            }
        }
        Ok(write_more(out, all.len())?)
    }

    /// Failed attempts with what they left behind. Of setup and teardown without their log, which cannot be
    /// asked for alone.
    async fn detailed(&self, failed: &Failed<'_>) -> Result<Vec<Attempt>, Failure> {
        let id = self.run.to_string();
        let path = match &failed.stage {
            Stage::Setup => vec!["runs", &id, "setup"],
            Stage::Teardown => vec!["runs", &id, "teardown"],
            Stage::Test(name) => vec!["runs", &id, "tests", name],
        };
        let tried: Tried = self.client.get(&path, &[]).await?;
        let has_failed = |attempt: &Attempt| {
            let same = |a: &&Attempt| (a.round, a.number) == (attempt.round, attempt.number);
            failed.attempts.iter().any(same)
        };
        let attempts = tried.attempts.into_iter().map(Attempt::from).filter(has_failed);
        let mut attempts: Vec<_> = attempts.collect();
        let Stage::Test(name) = &failed.stage else { return Ok(attempts) };
        let mut logs: Vec<_> = attempts.iter().map(|_| Excerpt::default()).collect();
        let request = self.client.request(Method::GET, &["runs", &id, "logs"]);
        let request = request.query(&[("test", name.as_str()), ("format", "json")]);
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
