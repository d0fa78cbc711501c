//! One test of each kind: what passes, fails, skips, fails softly, is flaky, is slow.

use handoff_sdk::{Context, Error, Result, ensure_eq, info, skip};
use std::time::Duration;

handoff_sdk::suite! {
    name: "hello",
    description: "One test of each kind. **Two of them fail, and should.**",
    owner: "handoff",
    timeout: "5s",
    links: [("Source", "https://github.com/handoff-tests/handoff/tree/main/examples/hello")],
    labels: [("kind", "example")],
}

/// Gets what the tests share. Every test runs in a fresh instance: only values are carried over.
#[handoff_sdk::setup]
fn setup(cx: &Context) -> Result {
    cx.set_secret("token", "open sesame")
}

/// Its documentation comment is what people read beside a test's name.
#[handoff_sdk::test(tags = ["smoke"])]
fn passes(cx: &Context) -> Result {
    let token: String = cx.require("token")?;
    info!("the token {token} is masked wherever people could see it");
    assert_eq!(token.len(), 11);
    Ok(())
}

/// A panic is a failure, so every assertion of Rust's and of other crates works.
#[handoff_sdk::test]
fn fails() {
    assert_eq!(1 + 1, 3, "arithmetic still works");
}

/// An error is a failure too. Its place is that of the `?`.
#[handoff_sdk::test]
fn fails_by_an_error() -> Result {
    let port: u16 = "http".parse()?;
    println!("listening on {port}");
    Ok(())
}

/// Skipping works from helpers as well, through `?`.
#[handoff_sdk::test]
fn skips(cx: &Context) -> Result {
    println!("staging is {}", staging(cx)?);
    Ok(())
}

fn staging(cx: &Context) -> Result<String> {
    match cx.param("staging") {
        Some(url) => Ok(url),
        None => skip!("give the parameter `staging` to run this"),
    }
}

/// Shown, but the run does not fail by it.
#[handoff_sdk::test(soft, name = "fails softly")]
fn fails_softly() -> Result<(), &'static str> {
    Err("known to be broken since spring")
}

/// Passes when it is tried again.
#[handoff_sdk::test(attempts = 3)]
fn flaky(cx: &Context) {
    assert!(cx.attempt() > 1, "the first attempt always fails");
}

/// Shows its parts in the timeline.
#[handoff_sdk::test(timeout = "2s")]
fn slow(cx: &Context) {
    let _span = cx.span("waiting").with("reason", "to be slow");
    std::thread::sleep(Duration::from_millis(300));
    info!("{:?} left", cx.remaining());
}

/// A table: each row is a part with a result of its own.
#[handoff_sdk::test]
fn table(cx: &Context) -> Result<(), Error> {
    for (a, b, sum) in [(1, 1, 2), (2, 3, 5), (20, 22, 42)] {
        let passed = cx.part(&format!("{a} + {b}"), || -> Result {
            ensure_eq!(a + b, sum);
            Ok(())
        });
        assert!(passed);
    }
    Ok(())
}

/// Not run, and says why.
#[handoff_sdk::test(disabled = "waits for the new office")]
fn makes_coffee() {}
