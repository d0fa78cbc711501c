//! What is said to GitHub Actions of a run.

use super::*;
use crate::cli::failures::to_tell;
use crate::cli::sample;
use crate::model::{EventKind, RunEvent};

/// A step with a checkout and files of its own.
fn step(dir: &Path) -> GitHub {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_WORKSPACE", &path("")),
        ("GITHUB_STEP_SUMMARY", &path("summary.md")),
        ("GITHUB_OUTPUT", &path("output")),
    ];
    GitHub::of(When::Auto, &Environment::from(variables)).unwrap()
}

/// The sample run with `change` made to each attempt.
fn run_with(change: impl Fn(&mut Attempt)) -> Run {
    let mut events = sample::events();
    for RunEvent { kind, .. } in &mut events {
        if let EventKind::AttemptFinished { attempt, .. } = kind {
            change(attempt);
        }
    }
    Run::fold(&events).unwrap()
}

#[test]
fn it_is_noticed_and_can_be_told_otherwise() {
    let there = Environment::from([("GITHUB_ACTIONS", "true")]);
    let elsewhere = Environment::from([("GITHUB_ACTIONS", "false"), ("CI", "true")]);
    let is_on = |when, environment| GitHub::of(when, environment).is_some();
    assert!(is_on(When::Auto, &there) && is_on(When::Always, &elsewhere));
    assert!(!is_on(When::Auto, &elsewhere) && !is_on(When::Never, &there));
}

#[test]
fn values_and_properties_are_escaped_as_github_says() {
    assert_eq!(data("100%\r\n: ,"), "100%25%0D%0A: ,");
    assert_eq!(property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
    let told = failure(&Failure::told(Exit::Usage, "no\n::error::fake \x1b[2J"));
    assert_eq!(told, "::error title=handoff::no%0A::error::fake \\u{1b}[2J");
}

#[test]
fn a_failure_is_an_error_and_what_does_not_count_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("src")).unwrap();
    std::fs::write(dir.path().join("src/lib.rs"), "").unwrap();
    let run = sample::finished();
    insta::assert_snapshot!(step(dir.path()).annotations(&run, &to_tell(&run)).join("\n"));
}

#[test]
fn a_place_is_named_only_if_it_is_a_file_of_the_checkout() {
    let dir = tempfile::tempdir().unwrap();
    let checkout = dir.path().join("checkout");
    std::fs::create_dir_all(checkout.join("a:b")).unwrap();
    for inside in ["checkout/a:b/c,d.rs", "outside.rs"] {
        std::fs::write(dir.path().join(inside), "").unwrap();
    }
    std::os::unix::fs::symlink(dir.path().join("outside.rs"), checkout.join("link.rs")).unwrap();
    let step = step(&checkout);
    let absolute = checkout.join("a:b/c,d.rs");
    for (file, found) in [
        ("a:b/c,d.rs", Some("a:b/c,d.rs")),
        (absolute.to_str().unwrap(), Some("a:b/c,d.rs")),
        ("a:b/../a:b/c,d.rs", Some("a:b/c,d.rs")),
        ("../outside.rs", None),
        ("link.rs", None),
        ("absent.rs", None),
        ("a:b", None),
        ("", None),
        ("/etc/passwd", None),
    ] {
        assert_eq!(step.in_checkout(file).as_deref(), found, "{file:?}");
        let place = Location { file: file.into(), line: 7, column: Some(2) };
        let run = run_with(|attempt| attempt.location = Some(place.clone()));
        let annotations = step.annotations(&run, &to_tell(&run));
        let named = annotations.iter().filter(|a| a.contains("file=a%3Ab/c%2Cd.rs,line=7,col=2,"));
        let expected = if found.is_some() { annotations.len() } else { 0 };
        assert_eq!(named.count(), expected, "{annotations:#?}");
        let told = annotations.iter().filter(|a| a.contains(&format!("%0Aat {file}:7")));
        assert_eq!(told.count(), annotations.len() - expected, "{annotations:#?}");
    }
    assert_eq!(GitHub::for_tests().in_checkout("a:b/c,d.rs"), None, "there is no checkout");
}

#[test]
fn text_of_a_guest_stays_in_its_place_and_within_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_with(|attempt| {
        attempt.message = Some(format!("a\n::error::b\r\x1b[2J{}", "x".repeat(100_000)));
    });
    for annotation in step(dir.path()).annotations(&run, &to_tell(&run)) {
        assert!(annotation.contains("::a%0A::error::b\\r\\u{1b}[2Jxxx"), "{annotation}");
        assert!(!annotation.contains(['\n', '\r', '\x1b']), "{annotation}");
        assert!(annotation.len() < MESSAGE_BYTES + 1000, "{}", annotation.len());
    }
}

#[test]
fn there_are_no_more_annotations_of_a_kind_than_a_step_has() {
    let commands = |count| {
        let commands = (0..count).map(|n| format!("::error::{n}")).collect();
        bounded("error", "failed", commands).collect::<Vec<_>>()
    };
    assert_eq!(commands(0).len(), 0);
    assert_eq!(commands(10).last().unwrap(), "::error::9");
    let eleven = commands(11);
    assert_eq!((eleven.len(), eleven[8].as_str()), (10, "::error::8"));
    assert!(eleven[9].contains("::2 more failed;"), "{eleven:?}");
}

#[test]
fn summary_and_outputs_are_appended_and_their_loss_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let run = sample::finished();
    let github = step(dir.path());
    std::fs::write(dir.path().join("output"), "theirs=1\n").unwrap();
    std::fs::write(dir.path().join("summary.md"), "# Theirs\n").unwrap();
    github.tell_run(run.spec.id);
    github.sum_up(&run, &[]);
    github.tell_verdict(Exit::TestsFailed);
    let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let id = run.spec.id;
    assert_eq!(read("output"), format!("theirs=1\nrun-id={id}\nverdict=failed\n"));
    assert!(
        read("summary.md").starts_with("# Theirs\n### <code>team&#47;hello</code> ❌ failed\n")
    );
    drop(dir);
    github.sum_up(&run, &[]);
    github.tell_verdict(Exit::TestsFailed);
}
