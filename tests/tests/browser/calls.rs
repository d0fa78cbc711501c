//! Triggers, and runs that wait for their turn.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use handoff_tests::{Server, Settings, Target};
use reqwest::{Method, StatusCode};
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::json;

use crate::driver::Browser;
use crate::{steps, until_held};

const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn what_became_of_the_calls_of_a_trigger_is_shown() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/triggers", server.url())).await;
    assert!(browser.text("main").await.contains("handoff triggers create"));
    browser.is_accessible().await;
    browser.picture("no-triggers").await;
    let trigger = json!({
        "name": "deployed", "suite": "noop", "mapping": {"reference": "{/release}"},
        "secret": format!("whsec_{}", STANDARD.encode(KEY)), "description": "After a deployment.",
    });
    client.post("/triggers", &trigger).await.expect(StatusCode::CREATED);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let body = json!({"release": "v7"}).to_string();
    let signed = format!("one.{now}.{body}");
    let tag = sign(&Key::new(HMAC_SHA256, KEY), signed.as_bytes());
    for (id, signature) in [("one", STANDARD.encode(tag.as_ref())), ("two", "forged".into())] {
        let call = client.request(Method::POST, "/triggers/deployed");
        let call = call.header("webhook-id", id).header("webhook-timestamp", now.to_string());
        let call = call.header("webhook-signature", format!("v1,{signature}"));
        client.send(call.header("content-type", "application/json").body(body.clone())).await;
    }
    browser.open(&format!("{}/triggers", server.url())).await;
    browser.picture("triggers").await;
    browser.is_accessible().await;
    browser.click("tbody a").await;
    browser.until("location.pathname === '/triggers/deployed'").await;
    let calls = browser.text("section[aria-labelledby=calls] tbody").await;
    assert!(calls.contains("started") && calls.contains("refused"), "{calls}");
    let shown = browser.value("document.documentElement.outerHTML.includes('whsec_')").await;
    assert_eq!(shown, false, "the secret is on the page");
    browser.is_accessible().await;
    browser.picture("trigger").await;
    browser.click("section[aria-labelledby=calls] tbody a").await;
    browser.until("document.querySelector('h1').textContent.includes('1 test passed')").await;
    assert!(browser.text("main").await.contains("trigger deployed"));
    browser.open(&format!("{}/suites/default/noop", server.url())).await;
    assert!(browser.text("section[aria-labelledby=schedules]").await.contains("deployed"));
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_run_that_waits_says_for_what() {
    let target = Target::start().await;
    let server = steps(Settings::default(), &target).await;
    let client = server.client();
    let policy = json!({
        "allow_http": [target.url()], "config": {"target": target.url()}, "locks": ["the shop"],
    });
    client.set_policy("steps", &policy).await;
    let held = json!({"params": {"run": "a", "path-step-2": "/hold/a"}});
    client.submit("steps", &held).await;
    until_held(&target, "a", 1).await;
    let waits = client.submit("steps", &json!({})).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/runs/{waits}", server.url())).await;
    let shown = browser.text(".verdict").await;
    assert!(shown.contains("Place 1") && shown.contains("the lock the shop"), "{shown}");
    browser.is_accessible().await;
    browser.picture("waits").await;
    target.release("a");
    browser.until("document.querySelector('h1').textContent.includes('5 tests passed')").await;
    browser.is_quiet().await;
}
