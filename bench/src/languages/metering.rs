//! What it costs that a guest which computes can be ended and its instructions are counted: the same test
//! on engines that do both, one of the two, and neither.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Suite;
use super::loading::in_words;
use crate::baseline::{Bare, Metering};
use crate::figures::ms;

pub(super) const HEAD: [&str; 7] = [
    "neither",
    "epochs",
    "fuel",
    "both",
    "epochs against neither",
    "fuel against neither",
    "both against epochs",
];

/// A language that loses more by counting fuel, in one of the tests, runs unmetered by default
/// (`sandbox.unmetered_languages`). What is unmetered has epochs all the same: without them nothing ends it.
const TOO_MUCH: f64 = 4.0 / 3.0;

/// Each computes for as long as the parameter `rounds` says: a sort that is written in the language, and
/// the language's own JSON.
const TESTS: [&str; 2] = ["sorts", "writes_and_reads_json"];

const ENGINES: [Metering; 4] = [
    Metering { fuel: false, epochs: false },
    Metering { fuel: false, epochs: true },
    Metering { fuel: true, epochs: false },
    Metering { fuel: true, epochs: true },
];

/// How long a test is to compute at least.
const LONG_ENOUGH: Duration = Duration::from_millis(200);

/// For each test, its name and its cells.
pub(super) async fn measure(suite: &Suite<'_>) -> Result<Vec<(&'static str, Vec<String>)>> {
    let mut engines = Vec::new();
    for metering in ENGINES {
        let bare = Bare::metering(metering).map_err(in_words)?;
        let component = bare.compile(&suite.component).map_err(in_words)?;
        let pre = bare.link(&component).map_err(in_words)?;
        engines.push((bare, pre));
    }
    let mut rows = Vec::new();
    for test in TESTS {
        let time = async |at: usize, rounds: u32| {
            let (bare, pre) = &engines[at];
            let begin = Instant::now();
            let params = [("rounds", rounds.to_string())];
            let params = [(params[0].0, params[0].1.as_str())];
            bare.passing(pre, test, &params).await.map_err(in_words)?;
            anyhow::Ok(begin.elapsed())
        };
        let mut rounds = 1;
        while time(0, rounds).await? < LONG_ENOUGH {
            rounds *= 2;
        }
        // The best of several, by turns: what else the machine does only ever adds.
        let mut best = [Duration::MAX; ENGINES.len()];
        for _ in 0..suite.setup.rounds.max(3) {
            for (at, best) in best.iter_mut().enumerate() {
                *best = (*best).min(time(at, rounds).await?);
            }
        }
        let [neither, epochs, fuel, both] = best;
        let times = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
        let more = |times: f64| format!("{:+.0} %", (times - 1.0) * 100.0);
        let counting = times(both, epochs);
        let word = if counting > TOO_MUCH { "beyond" } else { "within" };
        let mut cells = best.map(ms).to_vec();
        cells.extend([times(epochs, neither), times(fuel, neither)].map(more));
        cells.push(format!("{} ({word} a third)", more(counting)));
        rows.push((test, cells));
    }
    Ok(rows)
}
