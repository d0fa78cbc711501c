//! The suite `{{name}}`.

use handoff_sdk::{Context, Result, ensure_eq, http, skip};
use serde_json::Value;

handoff_sdk::suite! {
    name: "{{name}}",
    description: "What it tests, in Markdown.",
    timeout: "10s",
    // What it would like to reach. People see it; the suite's policy grants it.
    wants_http: ["http://127.0.0.1:8080"],
}

/// Every assertion works. This comment is the test's description.
#[handoff_sdk::test]
fn counts() {
    assert_eq!("hello".len(), 5);
}

/// Asks the tested system, which the parameter `target` names.
#[handoff_sdk::test(attempts = 2, tags = ["smoke"])]
fn is_healthy(cx: &Context) -> Result {
    let Some(target) = cx.param("target") else {
        skip!("give the parameter `target`, a base URL")
    };
    let answer = http::get(format!("{target}/healthz"))
        .send()?
        .expect_status(200)?;
    println!("{}", answer.text());
    Ok(())
}

/// JSON in and out. Replace it by something of yours.
#[handoff_sdk::test(disabled = "an example")]
fn creates_a_book(cx: &Context) -> Result {
    let target = cx.require_param("target")?;
    let book = serde_json::json!({ "title": "Dune" });
    let answer = http::post(format!("{target}/books"))
        .json(&book)
        .send()?
        .expect_status(201)?;
    let created: Value = answer.json()?;
    ensure_eq!(created["title"], "Dune");
    Ok(())
}
