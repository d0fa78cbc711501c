//! Requests. In a module of its own, as in larger suites; their names are those of the table all the
//! same.

use std::time::Duration;

use handoff_sdk::http::{self, Kind};
use handoff_sdk::{Context, Result, ensure_eq};
use serde_json::{Value, json};

fn server(cx: &Context) -> Result<String> {
    cx.require_param("server")
}

#[handoff_sdk::test(name = "gets_over_http")]
fn gets(cx: &Context) -> Result {
    let answer = http::get(format!("{}/echo", server(cx)?)).query("q", "größe").send()?;
    ensure_eq!(answer.status(), 200);
    ensure_eq!(answer.json::<Value>()?["method"], "GET");
    Ok(())
}

#[handoff_sdk::test(name = "posts_json")]
fn posts(cx: &Context) -> Result {
    let sent = json!({"name": "größe"});
    let request = http::post(format!("{}/echo", server(cx)?)).header("x-conformance", "yes");
    let echo: Value = request.json(&sent).send()?.expect_status(200)?.json()?;
    ensure_eq!(echo["body"].as_str().map(serde_json::from_str).transpose()?, Some(sent));
    ensure_eq!(echo["headers"]["content-type"], "application/json");
    ensure_eq!(echo["headers"]["x-conformance"], "yes");
    Ok(())
}

#[handoff_sdk::test(name = "sees_a_status")]
fn status(cx: &Context) -> Result {
    ensure_eq!(http::get(format!("{}/status/404", server(cx)?)).send()?.status(), 404);
    Ok(())
}

#[handoff_sdk::test(name = "hears_a_denial")]
fn denial() {
    let denied = http::get("http://127.0.0.1:1/").send().expect_err("it is not granted");
    assert_eq!(denied.kind(), Kind::Denied);
    assert!(denied.to_string().contains("denied"), "{denied}");
}

#[handoff_sdk::test(name = "gives_up_waiting")]
fn waiting(cx: &Context) -> Result {
    let request = http::get(format!("{}/never", server(cx)?)).timeout(Duration::from_millis(200));
    ensure_eq!(request.send().map_err(|error| error.kind()).err(), Some(Kind::TimedOut));
    Ok(())
}

#[handoff_sdk::test(name = "gets_a_big_body")]
fn big(cx: &Context) -> Result {
    let answer = http::get(format!("{}/bytes/1048576", server(cx)?)).send()?;
    ensure_eq!(answer.bytes().len(), 1 << 20);
    Ok(())
}
