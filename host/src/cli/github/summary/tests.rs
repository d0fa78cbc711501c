//! The step's summary, compared as text and under attack.

use super::*;
use crate::cli::failures::to_tell;
use crate::cli::sample;
use crate::model::{EventKind, RunEvent, Stage};

fn details(run: &Run) -> Vec<Details> {
    to_tell(run).iter().map(|failed| Details::of("hello", failed)).collect()
}

/// The sample run whose failing test is called so and says that.
fn run_of(name: &str, message: &str) -> Run {
    let mut events = sample::events();
    let rename = |test: &mut String| {
        if test == "fails" {
            *test = name.to_owned();
        }
    };
    for RunEvent { kind, .. } in &mut events {
        match kind {
            EventKind::RunQueued { spec } => {
                spec.tests.iter_mut().for_each(|test| rename(&mut test.name));
            }
            EventKind::AttemptStarted { stage: Stage::Test(test), .. } => rename(test),
            EventKind::AttemptFinished { stage: Stage::Test(test), attempt } => {
                attempt.message = Some(message.into());
                rename(test);
            }
            EventKind::TestFinished { test, .. } => rename(test),
            _ => {}
        }
    }
    Run::fold(&events).unwrap()
}

#[test]
fn a_run_is_a_table_and_the_details_of_what_failed() {
    let run = sample::finished();
    insta::assert_snapshot!(markdown(&run, &details(&run), SUMMARY_BYTES));
}

#[test]
fn hostile_text_breaks_out_of_nothing() {
    let hostile = [
        "a | b",
        "</pre></details><script>alert(1)</script>",
        "`code` **bold** [link](https://a.test) ![x](y) <img src=x>",
        "@everyone #1 https://a.test www.a.test a@b.test :tada: ~~x~~ $x$",
        "line\nbreak | \r\n\n# heading\n\n- list\n\n```",
        "&lt;b&gt; &#124; \\| \x1b[2J \u{202e}",
    ];
    let clean = markdown(&run_of("x", "x"), &details(&run_of("x", "x")), SUMMARY_BYTES);
    let rows = |text: &str| text.lines().filter(|line| line.starts_with("| ")).count();
    for text in hostile {
        let run = run_of(text, text);
        let page = markdown(&run, &details(&run), SUMMARY_BYTES);
        assert_eq!(rows(&page), rows(&clean), "{page}");
        for row in page.lines().filter(|line| line.starts_with("| ")) {
            assert_eq!(row.matches('|').count(), 6, "{row}");
            assert!(!row.contains(['`', '*', '[', '@', '\x1b', '\u{202e}']), "{row}");
        }
        for tag in ["<pre>", "</pre>", "<details>", "</details>", "</summary>"] {
            assert_eq!(page.matches(tag).count(), clean.matches(tag).count(), "{tag} in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(!page.contains('\x1b') && !page.contains('\u{202e}'), "{page}");
    }
}

#[test]
fn it_has_no_more_than_its_room_and_says_what_is_left_out() {
    let long = "&".repeat(50_000);
    let run = run_of(&long, &long);
    for room in [LEAST_BYTES, LEAST_BYTES + 1000, 20 << 10, 40 << 10, SUMMARY_BYTES] {
        let page = markdown(&run, &details(&run), room);
        assert!(page.len() <= room, "{} of {room}", page.len());
        assert_eq!(page.contains("had no room here"), room < SUMMARY_BYTES, "{room}: {page}");
    }
}

#[test]
fn what_is_in_the_file_already_counts_and_nothing_is_added_to_a_full_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("summary.md");
    let run = sample::finished();
    let length = || std::fs::metadata(&path).unwrap().len() as usize;
    std::fs::write(&path, "x".repeat(SUMMARY_BYTES - LEAST_BYTES - 100)).unwrap();
    append(&path, &run, &details(&run)).unwrap();
    assert!((SUMMARY_BYTES - LEAST_BYTES..=SUMMARY_BYTES).contains(&length()));
    std::fs::write(&path, "x".repeat(SUMMARY_BYTES)).unwrap();
    append(&path, &run, &details(&run)).unwrap();
    assert_eq!(length(), SUMMARY_BYTES);
    // Many runs of one step.
    std::fs::write(&path, "").unwrap();
    for _ in 0..2_000 {
        append(&path, &run, &details(&run)).unwrap();
    }
    assert!(length() <= SUMMARY_BYTES);
}
