//! Tests that fail as often as the parameter `failures` says (default 1).

use handoff_sdk::{Context, Result};
use std::time::Duration;

handoff_sdk::suite! { name: "flaky", attempts: 3 }

fn failures(cx: &Context) -> Result<u32> {
    Ok(cx.param("failures").unwrap_or_else(|| "1".into()).parse()?)
}

/// By an assertion.
#[handoff_sdk::test]
fn assertion(cx: &Context) -> Result {
    let failures = failures(cx)?;
    assert!(cx.attempt() > failures, "FLAKY ON ATTEMPT {}", cx.attempt());
    Ok(())
}

/// By its deadline.
#[handoff_sdk::test(timeout = "200ms")]
fn timeout(cx: &Context) -> Result {
    if cx.attempt() <= failures(cx)? {
        std::thread::sleep(Duration::from_secs(60));
    }
    Ok(())
}

/// A value of a failed attempt must not be seen by the next.
#[handoff_sdk::test]
fn forgets_values(cx: &Context) -> Result {
    assert_eq!(cx.get::<u32>("attempt")?, None, "SAW THE VALUE OF A FAILED ATTEMPT");
    cx.set("attempt", &cx.attempt())?;
    assert!(cx.attempt() > failures(cx)?, "FLAKY ON ATTEMPT {}", cx.attempt());
    Ok(())
}

/// Softly, every time.
#[handoff_sdk::test(soft, attempts = 2)]
fn soft() {
    panic!("SOFT EVERY TIME");
}

/// Never.
#[handoff_sdk::test]
fn steady() {}
