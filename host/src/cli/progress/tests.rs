//! What is shown of a run, compared as text.

use super::*;
use crate::cli::sample;

fn shown(look: Look, verbose: bool, events: &[RunEvent]) -> String {
    let mut out = Vec::new();
    let now = Instant::now();
    let mut progress = Progress::new(&mut out, look, verbose, now);
    events.iter().for_each(|event| progress.event(event, now).unwrap());
    progress.summary().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_run_is_shown_with_one_line_a_test_and_a_summary() {
    insta::assert_snapshot!(shown(Look::PLAIN, false, &sample::events()));
}

#[test]
fn with_verbose_what_passing_tests_wrote_is_shown_under_them() {
    insta::assert_snapshot!(shown(Look::PLAIN, true, &sample::events()));
}

#[test]
fn on_a_terminal_there_are_colours_and_a_line_of_progress() {
    let look = Look { color: true, live: true };
    let shown = shown(look, false, &sample::events()[..6]);
    insta::assert_snapshot!(shown.replace('\x1b', "␛").replace('\r', "␍\n"));
}

#[test]
fn what_takes_long_is_told_again_and_again() {
    let mut out = Vec::new();
    let start = Instant::now();
    let mut progress = Progress::new(&mut out, Look::PLAIN, false, start);
    let events = sample::events();
    let running = events.iter().position(|event| {
        let test = Stage::Test("passes".into());
        matches!(&event.kind, EventKind::AttemptStarted { stage, .. } if *stage == test)
    });
    for event in &events[..=running.unwrap()] {
        progress.replay(event);
    }
    progress.event(&events[running.unwrap()], start).unwrap();
    for seconds in [14, 15, 16, 29, 30] {
        progress.tick(start + Duration::from_secs(seconds)).unwrap();
    }
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "        SLOW [> 15.000s] hello passes\n        SLOW [> 30.000s] hello passes\n"
    );
}

#[test]
fn what_was_replayed_is_not_shown_and_a_retry_goes_on_from_it() {
    let mut out = Vec::new();
    let now = Instant::now();
    let mut progress = Progress::new(&mut out, Look::PLAIN, false, now);
    let events = sample::events();
    events.iter().for_each(|event| progress.replay(event));
    let seq = events.len() as u64;
    let tests = vec!["fails".to_owned()];
    let mut kinds = vec![EventKind::RetryRequested { tests, by: None }, EventKind::RunStarted];
    kinds.extend(sample::test("fails", vec![sample::passed(3)]));
    for (seq, kind) in (seq + 1..).zip(kinds) {
        let event = RunEvent { seq, kind, ..events[0].clone() };
        progress.event(&event, now).unwrap();
    }
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}
