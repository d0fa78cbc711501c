//! A run as it goes, one line a test, for people. It hears of nothing but the run's events, so it is
//! the same for a run on a server and for one without.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::exit::is_worth_telling;
use super::failures::write_output;
use super::terminal::{Look, Style, safe_line};
use crate::model::{
    Attempt, AttemptDetail, Cause, Counts, EventKind, Run, RunEvent, RunSpec, RunStatus, Shard,
    Stage, Tally, Test, TestStatus,
};

/// After how long, and how often from then on, a test that is still running is told of.
const SLOW_AFTER: Duration = Duration::from_secs(15);
/// The line between the parts, as cargo-nextest draws it.
const RULE: &str = "────────────";

/// Shows a run as it goes.
pub(crate) struct Progress<W: Write> {
    out: W,
    look: Look,
    /// Whether what passing tests wrote is shown too.
    verbose: bool,
    facts: Facts,
    run: Option<Run>,
    started: Instant,
    under_way: Vec<UnderWay>,
    /// What passing tests wrote, until their verdict is shown.
    held: HashMap<String, Attempt>,
    /// Tests and rounds with a verdict, for the progress line.
    done: u64,
    /// Whether the progress line is on the screen.
    drawn: bool,
}

/// What a server tells of a run in its answer and not in its events.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Facts {
    /// How many tests may run at the same time.
    pub(crate) parallelism: Option<u32>,
    /// How many rounds there are at most.
    pub(crate) repeat: Option<u32>,
    /// After which time no further round begins.
    pub(crate) repeat_for_ms: Option<u64>,
    /// Whether no further round begins after one that failed.
    pub(crate) repeat_until_failure: bool,
    /// The seed of the order.
    pub(crate) shuffle_seed: Option<u64>,
    /// Which part of the suite it is.
    pub(crate) shard: Option<Shard>,
}

struct UnderWay {
    stage: Stage,
    round: u32,
    number: u32,
    since: Instant,
    slow_marks: u32,
}

impl<W: Write> Progress<W> {
    /// Shows on `out`.
    pub(crate) fn new(out: W, look: Look, verbose: bool, now: Instant) -> Self {
        Self {
            out,
            look,
            verbose,
            facts: Facts::default(),
            run: None,
            started: now,
            under_way: Vec::new(),
            held: HashMap::new(),
            done: 0,
            drawn: false,
        }
    }

    /// The same with what else is known of the run.
    pub(crate) fn with_facts(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    /// The run as far as its events were heard.
    pub(crate) fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Takes in an event of the past without showing it.
    pub(crate) fn replay(&mut self, event: &RunEvent) {
        match &mut self.run {
            None => {
                self.run = Run::fold([event]);
                let Some(run) = &mut self.run else { return };
                run.spec.parallelism = self.facts.parallelism.unwrap_or(run.spec.parallelism);
                run.spec.repeat = self.facts.repeat.unwrap_or(run.spec.repeat).max(1);
                let request = &mut run.spec.request;
                request.repeat_for_ms = request.repeat_for_ms.or(self.facts.repeat_for_ms);
                request.repeat_until_failure |= self.facts.repeat_until_failure;
                let seed = self.facts.shuffle_seed;
                run.spec.request.shuffle_seed = run.spec.request.shuffle_seed.or(seed);
                let shard = self.facts.shard;
                run.spec.request.shard = run.spec.request.shard.or(shard);
            }
            Some(run) => run.apply(&without_detail(event)),
        }
    }

    /// Takes in an event and shows what it means.
    pub(crate) fn event(&mut self, event: &RunEvent, now: Instant) -> io::Result<()> {
        self.replay(event);
        if self.run.is_none() {
            return Ok(());
        }
        self.erase()?;
        match &event.kind {
            EventKind::RunQueued { .. } | EventKind::TestFinished { .. } => {}
            EventKind::RunStarted => self.show_start()?,
            EventKind::AttemptStarted { stage, round, number } => {
                self.show_earlier_attempt(stage, *round, *number)?;
                self.under_way.push(UnderWay {
                    stage: stage.clone(),
                    round: *round,
                    number: *number,
                    since: now,
                    slow_marks: 0,
                });
            }
            EventKind::AttemptFinished { stage, attempt } => self.end_attempt(stage, attempt)?,
            EventKind::CancelRequested { by } => {
                let by = by.as_deref().map(|by| format!(" by {}", safe_line(by)));
                self.line(
                    Style::Notable,
                    "Cancelling",
                    &format!("asked{}", by.unwrap_or_default()),
                )?;
            }
            EventKind::RetryRequested { tests, .. } => {
                self.done = self.done.saturating_sub(tests.len() as u64);
                self.line(Style::Name, "Retrying", &plural(tests.len() as u64, "test"))?;
            }
            EventKind::RunFinished { .. } => self.under_way.clear(),
            // It comes after the end, and changes no verdict.
            EventKind::Cleared { .. } => {}
        }
        if let EventKind::TestFinished { test, round, status, reason } = &event.kind {
            self.done += 1;
            self.show_verdict(test, *round, *status, reason.as_deref())?;
        }
        self.draw(now)
    }

    /// Whether the run waits to be started.
    pub(crate) fn waits(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.status == RunStatus::Queued)
    }

    /// Tells what the run waits for.
    pub(crate) fn waiting(&mut self, text: &str, now: Instant) -> io::Result<()> {
        self.erase()?;
        self.line(Style::Notable, "Waiting", text)?;
        self.draw(now)
    }

    /// Lets time pass: tells of what takes long, and redraws the progress line.
    pub(crate) fn tick(&mut self, now: Instant) -> io::Result<()> {
        let mut slow = Vec::new();
        for unit in &mut self.under_way {
            let due = SLOW_AFTER * (unit.slow_marks + 1);
            if now.saturating_duration_since(unit.since) >= due {
                unit.slow_marks += 1;
                slow.push((unit.stage.clone(), due));
            }
        }
        if !slow.is_empty() {
            self.erase()?;
        }
        for (stage, due) in slow {
            let status = self.look.paint(Style::Notable, &format!("{:>12}", "SLOW"));
            let name = self.name(&stage);
            writeln!(self.out, "{status} [>{:>7.3}s] {name}", due.as_secs_f64())?;
        }
        self.draw(now)
    }

    /// Takes the progress line away, so that something else can be written.
    pub(crate) fn erase(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.drawn) {
            write!(self.out, "\r\x1b[K")?;
        }
        Ok(())
    }

    /// The tests that passed though somebody said that they need not.
    fn show_those_that_pass_again(&mut self) -> io::Result<()> {
        let Some(run) = &self.run else { return Ok(()) };
        let passes = |test: &&Test| test.attempts.last_status() == Some(TestStatus::Passed);
        let marked = run.tests.iter().filter(passes).filter_map(|test| {
            let mark = test.mark.as_ref()?.in_words();
            Some(format!("{}, which is {}", safe_line(&test.name), safe_line(&mark)))
        });
        for text in marked.collect::<Vec<_>>() {
            self.line(Style::Notable, "Passes again", &text)?;
        }
        Ok(())
    }

    /// The last lines: how many tests ended in which way, and which did not pass.
    pub(crate) fn summary(&mut self) -> io::Result<()> {
        self.erase()?;
        let Some(run) = &self.run else { return Ok(()) };
        let took = run.duration_ms();
        let counts = run.counts();
        let style = if run.status == RunStatus::Passed { Style::Good } else { Style::Bad };
        let label = self.look.paint(style, &format!("{:>12}", "Summary"));
        let told = self.counts(&counts);
        let message = run.message.as_deref().map(|text| format!("; {}", safe_line(text)));
        let message = message.unwrap_or_default();
        let listed: Vec<_> = run
            .tests
            .iter()
            .filter(|test| is_worth_telling(test.status) || test.is_flaky())
            .map(|test| (test.name.clone(), test.status, test.reason.clone()))
            .collect();
        let stages = [(Stage::Setup, run.setup.last()), (Stage::Teardown, run.teardown.last())];
        let stages: Vec<_> = stages
            .into_iter()
            .filter_map(|(stage, attempt)| Some((stage, attempt?.clone())))
            .filter(|(_, attempt)| is_worth_telling(attempt.status))
            .collect();
        let (seed, shard) = (run.spec.request.shuffle_seed, run.spec.request.shard);
        let rounds = run.is_repeated().then(|| rounds_told(&run.rounds.ended));
        let selected = run.spec.tests.iter().filter(|test| test.skip.is_none()).count();
        writeln!(self.out, "{RULE}\n{label} {} {told}{message}", time(took))?;
        for (stage, attempt) in stages {
            self.show_stage(&stage, &attempt)?;
        }
        for (test, status, reason) in listed {
            self.show_verdict_line(&test, 0, status, reason.as_deref())?;
        }
        self.show_those_that_pass_again()?;
        if let Some(rounds) = rounds {
            self.line(Style::Faint, "Rounds", &rounds)?;
        }
        if let Some(seed) = seed {
            self.line(Style::Faint, "Shuffled", &format!("by seed {seed}"))?;
        }
        if let Some(shard) = shard {
            let told = match selected {
                0 => format!("{shard} has no test to run: nothing was to be done"),
                selected => format!("{shard} of the suite: {}", plural(selected as u64, "test")),
            };
            self.line(Style::Faint, "Shard", &told)?;
        }
        self.out.flush()
    }

    /// Where it writes, for what comes between the lines.
    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    fn show_start(&mut self) -> io::Result<()> {
        let Some(run) = &self.run else { return Ok(()) };
        // A retry, or a restart of the server, starts the run again.
        let again = run.tests.iter().any(|test| !test.attempts.is_empty());
        let spec = &run.spec;
        let left_out = spec.tests.iter().filter(|test| test.skip.is_some()).count();
        let tests = plural((spec.tests.len() - left_out) as u64, "test");
        let mut more = String::new();
        if left_out > 0 {
            more += &format!(" ({left_out} skipped)");
        }
        if spec.repeat > 1 {
            more += &format!(", {}", rounds_in_words(spec));
        }
        if spec.parallelism > 1 {
            more += &format!(", up to {} at a time", spec.parallelism);
        }
        let suite = self.look.paint(Style::Name, &spec.suite.to_string());
        let what = format!("{tests} of {suite}{more}, run #{} ({})", spec.number, spec.id);
        if again {
            let what = format!("run #{} of {suite}", spec.number);
            return self.line(Style::Good, "Resuming", &what);
        }
        writeln!(self.out, "{RULE}")?;
        self.line(Style::Good, "Starting", &what)
    }

    fn end_attempt(&mut self, stage: &Stage, attempt: &Attempt) -> io::Result<()> {
        let ended = |unit: &UnderWay| {
            (&unit.stage, unit.round, unit.number) == (stage, attempt.round, attempt.number)
        };
        self.under_way.retain(|unit| !ended(unit));
        let Stage::Test(test) = stage else {
            return match attempt.status {
                TestStatus::Passed if !self.verbose => Ok(()),
                _ => self.show_stage(stage, attempt),
            };
        };
        if self.verbose && attempt.status == TestStatus::Passed && attempt.detail.is_some() {
            self.held.insert(test.clone(), attempt.clone());
        }
        Ok(())
    }

    /// A failed attempt gets a line of its own only when another follows: the last one is told with
    /// the verdict.
    fn show_earlier_attempt(&mut self, stage: &Stage, round: u32, next: u32) -> io::Result<()> {
        let (Some(run), Stage::Test(name)) = (&self.run, stage) else { return Ok(()) };
        let Some(test) = run.test(name) else { return Ok(()) };
        let earlier = test.attempts.iter().rev().find(|a| a.round == round && a.number < next);
        let Some(attempt) = earlier else { return Ok(()) };
        let word = format!("TRY {} {}", attempt.number, word_of(attempt));
        let took = time(Some(attempt.duration_ms));
        let status = self.look.paint(Style::Notable, &format!("{word:>12}"));
        let name = self.name(stage);
        writeln!(self.out, "{status} {took} {name}")
    }

    fn show_stage(&mut self, stage: &Stage, attempt: &Attempt) -> io::Result<()> {
        let style = if is_worth_telling(attempt.status) { Style::Bad } else { Style::Good };
        let status = self.look.paint(style, &format!("{:>12}", word_of(attempt)));
        let name = self.name(stage);
        writeln!(self.out, "{status} {} {name}", time(Some(attempt.duration_ms)))
    }

    fn show_verdict(
        &mut self,
        test: &str,
        round: u32,
        status: TestStatus,
        reason: Option<&str>,
    ) -> io::Result<()> {
        // What was filtered out is counted at the start and at the end; a line each would bury the rest.
        if reason.is_some_and(|reason| reason.starts_with("filtered out")) && !self.verbose {
            return Ok(());
        }
        self.show_verdict_line(test, round, status, reason)?;
        match self.held.remove(test) {
            Some(attempt) => write_output(&mut self.out, self.look, &attempt),
            None => Ok(()),
        }
    }

    /// One line on a test that has its verdict. Round 0 stands for all rounds.
    fn show_verdict_line(
        &mut self,
        name: &str,
        round: u32,
        status: TestStatus,
        reason: Option<&str>,
    ) -> io::Result<()> {
        let Some(run) = &self.run else { return Ok(()) };
        let Some(test) = run.test(name) else { return Ok(()) };
        let tries: Vec<_> =
            test.attempts.iter().filter(|a| round == 0 || a.round == round).collect();
        let decisive = tries.iter().rev().find(|attempt| attempt.status == status);
        let failed_before = tries.iter().any(|a| a.status == TestStatus::Failed);
        let soft = test.soft || decisive.is_some_and(|attempt| attempt.soft);
        let (word, style) = match status {
            TestStatus::Passed if failed_before => {
                let number = decisive.map_or(1, |attempt| attempt.number);
                (format!("FLKY {number}/{}", self.max_attempts(name).max(number)), Style::Notable)
            }
            TestStatus::Passed => ("PASS".into(), Style::Good),
            TestStatus::Failed if soft => ("SOFT FAIL".into(), Style::Notable),
            TestStatus::Failed => {
                (decisive.map_or("FAIL", |attempt| word_of(attempt)).into(), Style::Bad)
            }
            TestStatus::Error => ("ERROR".into(), Style::Bad),
            TestStatus::Skipped => ("SKIP".into(), Style::Notable),
            TestStatus::Cancelled => ("CANCEL".into(), Style::Notable),
            TestStatus::Pending | TestStatus::Running => ("…".into(), Style::Faint),
        };
        let rounds = run.spec.repeat;
        let took = time(decisive.map(|attempt| attempt.duration_ms));
        let shown = self.name(&Stage::Test(name.to_owned()));
        let mut more = String::new();
        if rounds > 1 && round > 0 {
            let of = if ends_by_itself(&run.spec) { String::new() } else { format!("/{rounds}") };
            more += &format!(" (round {round}{of})");
        }
        if let Some(reason) = reason {
            more += &self.look.paint(Style::Faint, &format!(": {}", safe_line(reason)));
        }
        let status = self.look.paint(style, &format!("{word:>12}"));
        writeln!(self.out, "{status} {took} {shown}{more}")
    }

    fn max_attempts(&self, test: &str) -> u32 {
        let planned = self.run.iter().flat_map(|run| &run.spec.tests);
        planned.filter(|planned| planned.name == test).map(|planned| planned.max_attempts).sum()
    }

    /// The suite and the name of a stage, as every line ends.
    fn name(&self, stage: &Stage) -> String {
        let suite = self.run.as_ref().map(|run| run.spec.suite.name.to_string());
        let suite = self.look.paint(Style::Name, &suite.unwrap_or_default());
        let name = match stage {
            Stage::Setup => self.look.paint(Style::Faint, "(setup)"),
            Stage::Teardown => self.look.paint(Style::Faint, "(teardown)"),
            Stage::Test(name) => self.look.paint(Style::Strong, &safe_line(name)),
        };
        format!("{suite} {name}")
    }

    fn line(&mut self, style: Style, label: &str, text: &str) -> io::Result<()> {
        let label = self.look.paint(style, &format!("{label:>12}"));
        writeln!(self.out, "{label} {text}")
    }

    /// How many tests ended in which way, in words.
    fn counts(&self, counts: &Counts) -> String {
        let run = counts.passed + counts.failed + counts.soft_failed + counts.error;
        let passed = match counts.flaky {
            0 => format!("{} passed", counts.passed),
            flaky => format!("{} passed ({flaky} flaky)", counts.passed),
        };
        let others = [
            (counts.failed, "failed", Style::Bad),
            (counts.soft_failed, "soft failed", Style::Notable),
            (counts.error, "in error", Style::Bad),
            (counts.cancelled, "cancelled", Style::Notable),
            (counts.skipped, "skipped", Style::Notable),
        ];
        let others = others.into_iter().filter(|(count, ..)| *count > 0);
        let others =
            others.map(|(count, word, style)| self.look.paint(style, &format!("{count} {word}")));
        let parts: Vec<_> =
            std::iter::once(self.look.paint(Style::Good, &passed)).chain(others).collect();
        format!("{} run: {}", plural(run, "test"), parts.join(", "))
    }

    fn draw(&mut self, now: Instant) -> io::Result<()> {
        let Some(run) = self.run.as_ref().filter(|run| !run.status.is_terminal()) else {
            return self.out.flush();
        };
        if !self.look.live {
            return self.out.flush();
        }
        let seconds = now.saturating_duration_since(self.started).as_secs();
        let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let total = run.spec.tests.len() as u64 * u64::from(run.spec.repeat);
        let of = if ends_by_itself(&run.spec) { String::new() } else { format!("/{total}") };
        let waiting = run.status == crate::model::RunStatus::Queued;
        let label =
            self.look.paint(Style::Good, if waiting { "      Queued" } else { "     Running" });
        let current = self.under_way.first().map(|unit| format!(": {}", self.name(&unit.stage)));
        let more = match self.under_way.len() {
            0 | 1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        let current = current.unwrap_or_default();
        // Without line wrap for this line, so that one carriage return takes it away however narrow the
        // terminal is.
        write!(
            self.out,
            "\r\x1b[?7l{label} [ {clock}] {}{of}{current}{more}\x1b[K\x1b[?7h",
            self.done.min(total)
        )?;
        self.drawn = true;
        self.out.flush()
    }
}

/// The word for how an attempt ended.
pub(crate) fn word_of(attempt: &Attempt) -> &'static str {
    match (attempt.status, attempt.cause) {
        (TestStatus::Passed, _) => "PASS",
        (TestStatus::Skipped, _) => "SKIP",
        (TestStatus::Cancelled, _) => "CANCEL",
        (TestStatus::Error, _) => "ERROR",
        (TestStatus::Failed, Some(Cause::Timeout)) => "TIMEOUT",
        (TestStatus::Failed, Some(Cause::Trap)) => "TRAP",
        (TestStatus::Failed, Some(Cause::Fuel)) => "FUEL",
        (TestStatus::Failed, Some(Cause::Memory)) => "MEMORY",
        (TestStatus::Failed, _) => "FAIL",
        (TestStatus::Pending | TestStatus::Running, _) => "…",
    }
}

/// A duration in its column.
pub(crate) fn time(milliseconds: Option<u64>) -> String {
    match milliseconds {
        Some(ms) => format!("[{:>8.3}s]", ms as f64 / 1000.0),
        None => "[         ]".into(),
    }
}

/// Whether something else than their number ends the rounds.
fn ends_by_itself(spec: &RunSpec) -> bool {
    spec.request.repeat_for_ms.is_some() || spec.request.repeat_until_failure
}

/// How often the tests are to run.
fn rounds_in_words(spec: &RunSpec) -> String {
    let (most, until) = (spec.repeat, spec.request.repeat_until_failure);
    let until = if until { " until one fails" } else { "" };
    match spec.request.repeat_for_ms.map(Duration::from_millis) {
        Some(time) => format!("rounds{until} for {}", humantime::format_duration(time)),
        None if until.is_empty() => format!("{most} rounds"),
        None => format!("rounds{until}, {most} at most"),
    }
}

/// What the rounds came to.
fn rounds_told(tally: &Tally) -> String {
    let mut told = format!("{}: {} passed", plural(tally.total(), "round"), tally.passed);
    let others = [
        (tally.failed, "failed"),
        (tally.soft_failed, "soft failed"),
        (tally.error, "in error"),
        (tally.cancelled, "cancelled"),
        (tally.skipped, "skipped"),
    ];
    for (count, word) in others.into_iter().filter(|(count, _)| *count > 0) {
        told += &format!(", {count} {word}");
    }
    if let Some(rate) = tally.failure_rate().filter(|_| tally.failed > 0) {
        told += &format!(" ({:.1} % of those judged)", rate * 100.0);
    }
    if let Some((least, mean, most)) = tally.took.least_mean_most() {
        told += &format!("; each {least} to {most} ms, {mean} on average");
    }
    if let Some(first) = &tally.first_failure {
        told +=
            &format!("; the first failure in round {}: {}", first.round, safe_line(&first.test));
    }
    told
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// The event without what the fold does not need; details are large.
fn without_detail(event: &RunEvent) -> RunEvent {
    let mut event = event.clone();
    if let EventKind::AttemptFinished { attempt, .. } = &mut event.kind {
        attempt.detail = None::<Box<AttemptDetail>>;
    }
    event
}
