//! What a run in the queue waits for, and what the rounds of a repeated run came to.

use super::run::{Fact, test_path};
use super::show;
use super::text::{self, Html};
use crate::model::{Run, SuiteId, Tally};
use crate::runner::{Standing, WaitsFor};

/// A run's place in the queue.
pub(super) struct Waits {
    pub(super) place: Option<usize>,
    pub(super) waits_for: Vec<Html>,
}

impl Waits {
    /// What there is to show of it.
    pub(super) fn of(standing: &Standing) -> Self {
        let waits_for = standing.waits_for.iter().map(in_words).collect();
        Self { place: standing.place, waits_for }
    }
}

fn in_words(what: &WaitsFor) -> Html {
    let suite = |suite: &SuiteId| format!("<a href=\"/suites/{suite}\">{suite}</a>");
    let run =
        |run: &crate::model::RunId, words: &str| format!("<a href=\"/runs/{run}\">{words}</a>");
    Html::made(match what {
        WaitsFor::Lock { lock, run: has } => {
            let lock = text::guest(&text::start(lock, 80));
            format!(
                "the lock <code>{lock}</code>, which {} has or takes first",
                run(has, "another run")
            )
        }
        WaitsFor::Suite { limit } => {
            format!("an end of one of the {limit} runs of its suite that may be under way")
        }
        WaitsFor::Server { limit } => {
            format!("an end of one of the {limit} runs that may be under way on this server")
        }
        WaitsFor::Needed { suite: of, run: Some(has) } => {
            format!("{} to pass, whose {} has not ended", suite(of), run(has, "run"))
        }
        WaitsFor::Needed { suite: of, run: None } => {
            format!("{} to pass, which has no run for this reference yet", suite(of))
        }
        WaitsFor::Blocked { suite: of, run: has } => {
            format!("{} to pass, which did not in {}", suite(of), run(has, "this run"))
        }
        WaitsFor::Turn => "its turn".into(),
    })
}

/// What rounds came to.
pub(super) struct RoundsLine {
    pub(super) ended: u64,
    pub(super) most: u32,
    pub(super) facts: Vec<Fact>,
    /// The first failure: in which round, of which test, its page, and what it said.
    pub(super) first: Option<(u32, Html, String, Html)>,
}

impl RoundsLine {
    /// Those of a run; none if it has only one.
    pub(super) fn of(run: &Run) -> Option<Self> {
        let tally = run.is_repeated().then_some(&run.rounds.ended)?;
        let mut facts = Vec::new();
        let mut add = |name: &str, value: String| {
            facts.push(Fact { name: text::guest(name), value: text::guest(&value) });
        };
        add("Ended", counts(tally));
        if let Some(rate) = tally.failure_rate() {
            add("Failed", show::percent(rate));
        }
        if let Some((least, mean, most)) = tally.took.least_mean_most() {
            let [least, mean, most] = [least, mean, most].map(show::duration);
            add("A round took", format!("{mean} on average, from {least} to {most}"));
        }
        let first = tally.first_failure.as_ref().map(|failure| {
            let message = failure.message.as_deref().map(super::ansi::message).unwrap_or_default();
            let path = test_path(run.spec.id, &failure.test);
            (failure.round, text::name(&text::start(&failure.test, 200)), path, message)
        });
        Some(Self { ended: tally.total(), most: run.spec.repeat, facts, first })
    }
}

/// How rounds ended, for people.
pub(super) fn counts(tally: &Tally) -> String {
    let parts = [
        (tally.passed, "passed"),
        (tally.failed, "failed"),
        (tally.soft_failed, "failed softly"),
        (tally.error, "in error"),
        (tally.skipped, "skipped"),
        (tally.cancelled, "cancelled"),
    ];
    let some = parts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> = some.map(|(count, word)| format!("{count} {word}")).collect();
    if words.is_empty() { "none yet".into() } else { words.join(", ") }
}
