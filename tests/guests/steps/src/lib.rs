//! Each attempt tells the server named as `target` which one it is, once: `GET
//! /step?run=RUN&test=NAME&attempt=NUMBER`, where RUN is the parameter `run`. The parameter
//! `path-NAME` names another path than `/step`, for example one at which the server holds its answer
//! back.

use handoff_sdk::{Context, Result, TestCase, http};

handoff_sdk::suite! { name: "steps", timeout: "10m" }

#[handoff_sdk::setup]
fn setup(cx: &Context) -> Result {
    tell(cx, "setup")
}

#[handoff_sdk::tests]
fn five() -> impl Iterator<Item = TestCase> {
    (1..=5).map(|number| {
        let name = format!("step-{number}");
        TestCase::new(name.clone(), move |cx| -> Result { tell(cx, &name) })
    })
}

#[handoff_sdk::teardown]
fn teardown(cx: &Context) -> Result {
    tell(cx, "teardown")
}

fn tell(cx: &Context, test: &str) -> Result {
    let target = cx.require_param("target")?;
    let run = cx.param("run").unwrap_or_default();
    let path = cx.param(&format!("path-{test}")).unwrap_or_else(|| "/step".into());
    let attempt = cx.attempt();
    let url = format!("{target}{path}?run={run}&test={test}&attempt={attempt}");
    http::get(url).send()?.expect_status(200)?;
    Ok(())
}
