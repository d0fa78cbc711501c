//! Plugins: what they ask for and get, what they were told, and what they say of runs.

use handoff_tests::{Client, Server, Target, guest, patiently};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::driver::{Browser, PHONE};

/// Installs the component of that name under it.
pub(crate) async fn install(client: &Client, name: &str, component: &str) {
    let request = client.request(Method::POST, &format!("/plugins?name={name}"));
    let request = request.header("content-type", "application/wasm").body(guest(component));
    client.send(request).await.expect(StatusCode::CREATED);
}

pub(crate) async fn change(client: &Client, name: &str, change: &Value) {
    let request = client.request(Method::PATCH, &format!("/plugins/{name}")).json(change);
    client.send(request).await.expect(StatusCode::OK);
}

/// Waits until nothing waits for the plugin, and so many deliveries are made.
pub(crate) async fn until_told(client: &Client, name: &str, deliveries: usize) {
    let path = format!("/plugins/{name}/deliveries");
    let told = async {
        loop {
            let found = client.list(&path).await;
            let ended = found.iter().all(|delivery| delivery["status"] != "pending");
            if ended && found.len() >= deliveries {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    patiently("the plugin is told", told).await;
}

#[tokio::test]
async fn a_plugins_delivery_is_read_told_again_and_the_plugin_tried_out() {
    let (server, target) = (Server::start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("noop").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/plugins", server.url())).await;
    browser.picture("no-plugins").await;
    browser.is_accessible().await;
    install(&client, "hook", "webhook").await;
    browser.open(&format!("{}/plugins", server.url())).await;
    let shown = browser.text("main").await;
    assert!(shown.contains("disabled") && shown.contains("`url` is not set"), "{shown}");
    let url = format!("{}/hook", target.url());
    change(&client, "hook", &json!({"config": {"url": url}})).await;
    browser.click("tbody a").await;
    browser.until("document.querySelector('main').textContent.includes('not granted')").await;
    browser.picture("plugin-disabled").await;
    browser.is_accessible().await;
    change(&client, "hook", &json!({"policy": {"allow_http": [target.url()]}})).await;
    let run = client.run("noop", &json!({"reference": "v1"})).await;
    until_told(&client, "hook", 1).await;

    browser.until("document.querySelector('h1').textContent.includes('enabled')").await;
    browser.until("document.querySelector('#told ~ .scroll .chip.passed')").await;
    browser.picture("plugin").await;
    browser.is_accessible().await;
    browser.click("#told ~ .scroll tbody th a").await;
    browser.until("document.querySelector('h1').textContent.includes('run finished')").await;
    let shown = browser.text("main").await;
    for part in ["200", "/hook", "\"reference\": \"v1\"", "Webhook called"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    browser.picture("delivery").await;
    browser.is_accessible().await;
    browser.click("form[action$='/redeliver'] button").await;
    target.wait_for("it is told again", |seen| seen.len() == 2).await;

    browser.open(&format!("{}/plugins/hook", server.url())).await;
    browser.type_into("input[name=message]", "is anybody there?").await;
    browser.click("form[action$='/test'] button").await;
    browser.until("document.querySelector('h1').textContent.includes('delivered')").await;
    assert!(browser.text("main").await.contains("is anybody there?"));
    browser.open(&format!("{}/runs/{}", server.url(), run["id"].as_str().unwrap())).await;
    assert!(browser.text("#said ~ ul").await.contains("Webhook called"));
    browser.picture("run-annotated").await;
    browser.open(&format!("{}/plugins/hook", server.url())).await;
    browser.click("form[action$='/disable'] button").await;
    browser.until("document.querySelector('h1').textContent.includes('disabled')").await;
    assert_eq!(client.json("/plugins/hook").await["enabled"], false);
    browser.click("form[action$='/enable'] button").await;
    browser.until("document.querySelector('h1').textContent.includes('enabled')").await;
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_delivery_that_failed_is_told_of_at_home() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    install(&client, "bad", "misbehaves").await;
    change(&client, "bad", &json!({"config": {"does": "deceive-and-fail"}})).await;
    client.run("noop", &json!({})).await;
    until_told(&client, "bad", 3).await;
    let browser = Browser::of(PHONE).await;
    browser.open(server.url()).await;
    let health = browser.text("section[aria-labelledby=health]").await;
    assert!(health.contains("last delivery failed") && health.contains("bad"), "{health}");
    browser.picture("home-plugin-failed-phone").await;
    browser.click("section[aria-labelledby=health] dd a[href='/plugins/bad']").await;
    browser.until("document.querySelector('main').textContent.includes('set aside')").await;
    browser.is_accessible().await;
    browser.picture("plugin-failed-phone").await;
}
