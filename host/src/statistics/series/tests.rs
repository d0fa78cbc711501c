//! How a test stands after each of its results.

use jiff::Timestamp;

use super::*;
use crate::model::RunId;

/// `.` passed, `r` passed after a failed attempt, `x` failed; `|` another version.
fn samples(text: &str) -> Vec<Sample> {
    let mut version = 0_u32;
    let mut samples = Vec::new();
    for letter in text.chars() {
        let outcome = match letter {
            '.' => Outcome::Passed,
            'r' => Outcome::Retried,
            'x' => Outcome::Failed,
            _ => {
                version += 1;
                continue;
            }
        };
        samples.push(Sample {
            run: RunId::new(),
            number: samples.len() as u64 + 1,
            round: 1,
            at: Timestamp::from_second(samples.len() as i64).unwrap(),
            version: Digest::of(&version.to_be_bytes()),
            reference: None,
            outcome,
            attempts: 1,
            failed: u32::from(outcome.is_bad()),
            duration_ms: (outcome != Outcome::Failed).then_some(10),
            fuel: None,
        });
    }
    samples
}

fn series(text: &str) -> Series {
    let mut series = Series::default();
    samples(text).iter().for_each(|sample| series.push(sample));
    series
}

#[test]
fn a_test_is_flaky_when_its_results_change_while_nothing_else_does() {
    assert_eq!(series("..........").state(), State::Steady);
    assert_eq!(series("....r.....").state(), State::Steady, "flaky in one run");
    assert_eq!(series("...xxx....").state(), State::Steady, "the system was down once");
    assert_eq!(series("..x..x....").state(), State::Flaky);
    assert_eq!(series("..r....r..").state(), State::Flaky);
    assert_eq!(series("...|x|...|x|...|x").state(), State::Steady, "each time another version");
    assert_eq!(series("..x..x").since().unwrap().number, 6);
}

#[test]
fn it_is_flaky_until_it_is_probably_mended_and_not_again_for_the_same() {
    let flaky = series("..x..x");
    assert_eq!((flaky.bad_of(), flaky.to_be_sure()), ((2, 6), 9));
    assert_eq!(series("..x..x........").state(), State::Flaky, "8 more are not enough");
    assert_eq!(series("..x..x.........").state(), State::Steady, "9 are");
    assert_eq!(series("..x..x..........").state(), State::Steady, "and it stays so");
    let once_more = series("..x..x..........x.");
    assert_eq!((once_more.state(), once_more.changes()), (State::Steady, 2));
    assert_eq!(series("..x..x..........x.x").state(), State::Flaky);
    // A test that fails rarely is flaky as long as two failures are among the last 100 results.
    let rare = String::from("x.................................x");
    assert_eq!(series(&(rare.clone() + ".x")).state(), State::Flaky);
    assert_eq!(series(&(rare.clone() + ".x" + &".".repeat(30))).state(), State::Flaky);
    assert_eq!(series(&(rare + ".x" + &".".repeat(100))).state(), State::Steady);
}

#[test]
fn a_test_is_broken_when_it_fails_more_often_in_a_row_than_it_would() {
    assert_eq!(series("xx").state(), State::Steady);
    let new = series("xxx");
    assert_eq!((new.state(), new.since().unwrap().number), (State::Broken, 1));
    let broken = series("..........xxx");
    assert_eq!((broken.state(), broken.since().unwrap().number), (State::Broken, 11));
    assert_eq!(series("x.x.x.x.x.x.xxx").state(), State::Flaky, "half of them failed before");
    assert_eq!(series("x.x.x.x.x.x.xxxxxxxxx").state(), State::Broken);
    assert_eq!(series("..........xxxr").state(), State::Steady, "it can pass");
    assert_eq!(series(&"x".repeat(500)).failing, 500);
}

#[test]
fn last_passed_last_failed_and_failing_since_are_those_of_the_last_result() {
    let number = |seen: &Option<Seen>| seen.as_ref().map(|seen| seen.number);
    let failing = series(".x.xx");
    assert_eq!(
        [&failing.last_passed, &failing.last_failed, &failing.failing_since].map(number),
        [Some(3), Some(5), Some(4)]
    );
    let passing = series(".x.xx.r");
    assert_eq!(
        [&passing.last_passed, &passing.last_failed, &passing.failing_since].map(number),
        [Some(7), Some(5), None]
    );
    assert_eq!(passing.totals, Totals { runs: 7, failed: 3, retried: 1 });
    assert_eq!(passing.typical_duration_ms(), Some(10));
}

#[test]
fn a_result_that_is_replaced_or_taken_out_counts_as_if_it_had_been_so() {
    for text in ["..x..x..", "xxx", ".x.x.x.xxxxxxx", "..r..x.r.x."] {
        let all = samples(text);
        for at in 0..all.len() {
            let mut changed = all.clone();
            changed[at].outcome = Outcome::Passed;
            changed[at].duration_ms = Some(10);
            let mut expected = Series::default();
            changed.iter().for_each(|sample| expected.push(sample));
            let mut found = series(text);
            let kept: Vec<_> = (0..).zip(changed).collect();
            found.again(Some(all[at].outcome), Some(Outcome::Passed), &kept);
            assert_eq!(found, expected, "{text} without {at}");
        }
    }
}

#[test]
fn many_references_take_no_more_room_than_there_are_results() {
    let text = ".|".repeat(1000);
    let series = series(&text);
    assert_eq!((series.recent.len(), series.totals.runs), (JUDGED, 1000));
    assert!(series.conditions.len() <= JUDGED, "{}", series.conditions.len());
    assert!(serde_json::to_vec(&series).unwrap().len() < 8 << 10);
}

#[test]
fn a_suite_becomes_failing_stays_so_and_recovers() {
    let mut series = Series::default();
    let mut told = Vec::new();
    for sample in samples(".xxr.x") {
        let failed = series.is_failing();
        series.push(&sample);
        told.push(News::of_suite(failed, series.is_failing()));
    }
    use News::{SuiteBecameFailing, SuiteRecovered, SuiteStillFailing};
    let expected = [
        None,
        Some(SuiteBecameFailing),
        Some(SuiteStillFailing),
        Some(SuiteRecovered),
        None,
        Some(SuiteBecameFailing),
    ];
    assert_eq!(told, expected);
}
