//! Setup and teardown that leave traces: values, and requests to the server that the configuration
//! names as `target`, if it does.

use handoff_sdk::{Context, Result, http};

handoff_sdk::suite! { name: "teardown", timeout: "2s" }

#[handoff_sdk::setup]
fn setup(cx: &Context) -> Result {
    cx.set("who", "SET IN SETUP")?;
    tell(cx, "setup")
}

#[handoff_sdk::test]
fn passes(cx: &Context) -> Result {
    assert_eq!(cx.require::<String>("who")?, "SET IN SETUP");
    tell(cx, "passes")
}

/// Only if the parameter `fail` is set.
#[handoff_sdk::test]
fn fails_if_asked(cx: &Context) {
    assert!(cx.param("fail").is_none(), "FAILED AS ASKED");
}

/// Only if the parameter `hang` is set.
#[handoff_sdk::test]
fn hangs_if_asked(cx: &Context) {
    while cx.param("hang").is_some() {}
}

/// Fails if the parameter `fail-teardown` is set, hangs if `hang-teardown` is.
#[handoff_sdk::teardown]
fn teardown(cx: &Context) -> Result {
    println!("TEARDOWN SAW {}", cx.require::<String>("who")?);
    tell(cx, "teardown")?;
    assert!(cx.param("fail-teardown").is_none(), "TEARDOWN FAILED AS ASKED");
    while cx.param("hang-teardown").is_some() {}
    Ok(())
}

fn tell(cx: &Context, stage: &str) -> Result {
    if let Some(target) = cx.param("target") {
        http::get(format!("{target}/stage/{stage}")).send()?.expect_status(200)?;
    }
    Ok(())
}
