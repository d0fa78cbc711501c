//! Histories of which the truth is known: how often a change is told that is none, and how often one that is
//! there is found. Prints what it measures: `cargo test --package handoff --lib simulations -- --nocapture`.

#![expect(clippy::print_stdout, reason = "the rates are to be seen")]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{last_level_change, last_rate_change};

const HISTORIES: usize = 1_000;
/// Results before anything changes.
const STABLE: usize = 200;
/// How many results there are for a change to be found.
const WITHIN: usize = 20;

fn outcomes(random: &mut StdRng, count: usize, rate: f64) -> Vec<bool> {
    (0..count).map(|_| random.random_bool(rate)).collect()
}

fn percent(part: usize) -> f64 {
    part as f64 * 100.0 / HISTORIES as f64
}

#[test]
fn changes_in_outcomes_are_found_and_none_is_made_up() {
    let mut random = StdRng::seed_from_u64(1);
    let rates = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.5, 0.9, 1.0];
    let (mut alarms, mut any) = (0, 0);
    for history in 0..HISTORIES {
        let bad = outcomes(&mut random, 300, rates[history % rates.len()]);
        alarms += usize::from(last_rate_change(&bad).is_some());
        // Whoever looks again and again has more occasions to be misled.
        any += usize::from((10..=300).step_by(10).any(|n| last_rate_change(&bad[..n]).is_some()));
    }
    let (mut found, mut in_place) = (0, 0);
    for _ in 0..HISTORIES {
        let mut bad = outcomes(&mut random, STABLE, 0.02);
        let mut place = None;
        for _ in 0..WITHIN {
            bad.push(random.random_bool(0.4));
            // A change that is told of must be that one.
            let change = last_rate_change(&bad).filter(|change| change.at + WITHIN >= STABLE);
            place = place.or(change.map(|change| change.at));
        }
        found += usize::from(place.is_some());
        in_place += usize::from(place.is_some_and(|at| at.abs_diff(STABLE) <= 5));
    }
    println!("1,000 stable histories of 300 results: {:.1} % false alarms", percent(alarms));
    println!("  with 30 looks at each in its course: {:.1} % had one at any", percent(any));
    println!(
        "1,000 changes from 2 % to 40 % bad results: {:.1} % found within 20 results, {:.1} % of all \
         told within 5 results of the place",
        percent(found),
        percent(in_place),
    );
    assert!(percent(alarms) <= 1.0, "{alarms} false alarms");
    assert!(percent(found) >= 95.0, "{found} found");
}

#[test]
fn changes_in_durations_are_found_and_none_is_made_up() {
    let mut random = StdRng::seed_from_u64(2);
    // Skewed, as durations are: most are near the least, some take several times as long.
    let duration = |random: &mut StdRng, least: f64| {
        (least * (1.0 + 0.3 * -random.random::<f64>().max(1e-9).ln())) as u64
    };
    let mut alarms = 0;
    for _ in 0..HISTORIES {
        let values: Vec<_> = (0..300).map(|_| duration(&mut random, 100.0)).collect();
        alarms += usize::from(last_level_change(&values, 10).is_some());
    }
    let mut found = 0;
    for _ in 0..HISTORIES {
        let mut values: Vec<_> = (0..STABLE).map(|_| duration(&mut random, 100.0)).collect();
        values.extend((0..WITHIN).map(|_| duration(&mut random, 200.0)));
        let change = last_level_change(&values, 10);
        found += usize::from(change.is_some_and(|change| change.at.abs_diff(STABLE) <= 5));
    }
    println!("1,000 stable histories of 300 durations: {:.1} % false alarms", percent(alarms));
    println!("1,000 changes to twice as long: {:.1} % found within 20 results", percent(found));
    assert!(percent(alarms) <= 1.0, "{alarms} false alarms");
    assert!(percent(found) >= 95.0, "{found} found");
}
