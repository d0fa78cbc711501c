//! What is told of a compilation while it goes on.

use handoff::model::Step;
use tokio::sync::watch;

use super::*;

#[tokio::test]
async fn what_is_done_is_told_and_nothing_that_was_done_before() {
    let place = Place::new();
    let compiler = place.compiler(HANDOFF, CompileSettings::default());
    let (teller, mut steps) = watch::channel(Step::Describe);
    let told = compiler.reporting(teller);
    let bytes = suite();
    let digest = told.inspect(bytes.clone()).await.unwrap().digest;
    assert!(steps.has_changed().unwrap());
    assert_eq!(*steps.borrow_and_update(), Step::Check);
    load_for(&told, digest, &bytes, true).await.unwrap();
    assert_eq!(*steps.borrow_and_update(), Step::Compile);
    told.inspect(bytes.clone()).await.unwrap();
    load_for(&told, digest, &bytes, true).await.unwrap();
    assert!(!steps.has_changed().unwrap(), "{:?}", *steps.borrow());
}

/// Whoever comes to a compilation that is under way hears of it too.
#[tokio::test]
async fn all_who_wait_hear_what_for() {
    let place = Place::new();
    let settings = CompileSettings { wall_ms: 1_000, concurrency: 1, ..Default::default() };
    let compiler = place.compiler(place.script(HANGING), settings);
    let mut waits = Vec::new();
    let mut heard = Vec::new();
    for bytes in [small(1), small(1), small(2)] {
        let (teller, steps) = watch::channel(Step::Describe);
        let told = compiler.reporting(teller);
        waits.push(async move { refusal(&told, &bytes).await });
        heard.push(steps);
    }
    let waits = join_all(waits);
    let expected = [Step::Compile, Step::Compile, Step::Wait];
    let hearing = heard.iter_mut().zip(expected).map(|(steps, expected)| async move {
        let heard = steps.wait_for(|step| *step == expected).await;
        assert!(heard.is_ok(), "{expected:?}");
    });
    let (errors, _) = futures::join!(waits, join_all(hearing));
    errors.iter().for_each(|error| assert_limit(error, "compile.wall_ms"));
}
