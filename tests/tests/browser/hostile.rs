//! Tricks in every text that a component or a client can set: nothing runs, breaks out or deceives.

use handoff_tests::{Client, Server};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::driver::{Browser, PHONE};
use crate::plugins::{change, install, until_told};
use crate::run_of_fixtures;

#[tokio::test]
async fn nothing_that_a_component_writes_runs_breaks_out_or_deceives() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hostile").await;
    let policy = json!({"allow_http": ["http://127.0.0.1:1"]});
    client.put("/suites/fixtures/hostile/policy", &policy).await.expect(StatusCode::OK);
    let trick = "</title></script><script>window.pwned=1</script>\u{202e}\u{1b}[31m";
    let request = json!({"reference": trick, "initiated_by": trick, "params": {trick: trick}});
    let run = run_of_fixtures(&client, "hostile", &request).await;
    let again = run_of_fixtures(&client, "hostile", &json!({"reference": trick})).await;
    let id = again["id"].as_str().unwrap();
    let mut paths = vec![
        "/".to_owned(),
        "/suites".into(),
        "/suites/fixtures/hostile".into(),
        "/suites/fixtures/hostile/versions".into(),
        format!("/runs/{}", run["id"].as_str().unwrap()),
        "/runs".into(),
        "/runs?text=script&reference=%3Cscript%3Ewindow.pwned=1%3C/script%3E".into(),
        "/runs?text=pwned".into(),
        "/suites?q=%22%3E%3Cscript%3Ewindow.pwned=1%3C/script%3E".into(),
        "/suites/fixtures/hostile/tests/%3Cscript%3Ewindow.pwned=1%3C/script%3E".into(),
        "/nothing/%3Cscript%3Ewindow.pwned=1%3C/script%3E".into(),
    ];
    paths.extend(decided(&client, run["id"].as_str().unwrap(), id, trick).await);
    for test in again["tests"].as_array().unwrap() {
        let name = encoded(test["name"].as_str().unwrap());
        paths.push(format!("/runs/{id}/tests/{name}"));
        paths.push(format!("/suites/fixtures/hostile/tests/{name}"));
    }
    let browser = Browser::start().await;
    for (at, path) in paths.iter().enumerate() {
        browser.open(&format!("{}{path}", server.url())).await;
        browser.picture(&format!("hostile-{at:02}")).await;
        is_harmless(&browser, path).await;
    }
    let phone = Browser::of(PHONE).await;
    for path in &paths {
        phone.open(&format!("{}{path}", server.url())).await;
        phone.is_accessible().await;
    }
}

fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Tricks in what people and plugins say of runs and tests, and the pages that show it.
async fn decided(client: &Client, cleared: &str, annotated: &str, trick: &str) -> Vec<String> {
    for (name, does) in [("deceives", "deceive"), ("fails", "deceive-and-fail")] {
        install(client, name, "misbehaves").await;
        let config = json!({"config": {"does": does, trick: trick}});
        change(client, name, &config).await;
    }
    let run = client.json(&format!("/runs/{annotated}")).await;
    for test in run["tests"].as_array().unwrap() {
        let path =
            format!("/suites/fixtures/hostile/marks/{}", encoded(test["name"].as_str().unwrap()));
        let mark = json!({"kind": "muted", "reason": trick, "by": trick});
        client.put(&path, &mark).await.expect(StatusCode::OK);
        let clear = json!({"test": test["name"], "reason": trick, "initiated_by": trick});
        client.post(&format!("/runs/{annotated}/clear"), &clear).await;
    }
    let clear = json!({"reason": trick, "initiated_by": trick});
    client.post(&format!("/runs/{cleared}/clear"), &clear).await.expect(StatusCode::OK);
    let pin = json!({"reason": trick, "by": trick});
    client.put(&format!("/runs/{cleared}/pin"), &pin).await.expect(StatusCode::OK);
    let trigger = json!({
        "name": "called", "suite": "fixtures/hostile", "sender": "github", "secret": "hunter2",
        "description": trick, "branches": [trick], "mapping": {"params": {trick: trick}},
    });
    client.post("/triggers", &trigger).await.expect(StatusCode::CREATED);
    let call =
        client.request(Method::POST, "/triggers/called").header("x-github-event", "<script>");
    client.send(call.header("x-github-delivery", "\"><script>").body("<script>")).await;
    run_of_fixtures(client, "hostile", &json!({"reference": trick})).await;
    for plugin in ["deceives", "fails"] {
        until_told(client, plugin, 1).await;
    }
    let last = client.list("/runs").await[0]["id"].as_str().unwrap().to_owned();
    let mut paths = vec![format!("/runs/{last}"), "/plugins".into(), "/triggers".into()];
    paths.push("/triggers/called".into());
    paths.push("/suites/fixtures/hostile/failures".into());
    paths.push("/suites/fixtures/hostile/policy".into());
    for plugin in ["deceives", "fails"] {
        let number = &client.list(&format!("/plugins/{plugin}/deliveries")).await[0]["number"];
        paths.push(format!("/plugins/{plugin}"));
        paths.push(format!("/plugins/{plugin}/deliveries/{number}"));
    }
    paths
}

async fn is_harmless(browser: &Browser, path: &str) {
    assert_eq!(browser.value("window.pwned === undefined").await, true, "{path}: a script ran");
    let foreign = "[...document.querySelectorAll('script, img, iframe, object, embed, base, style, form, link, a[href]')] \
         .map((it) => it.src || it.href || it.action || '').map(String) \
         .filter((it) => it && !it.startsWith(location.origin + '/') && !it.startsWith('http://127.0.0.1:1/')).join()";
    assert_eq!(browser.value(foreign).await, "", "{path}: something leads elsewhere");
    let scripts = browser.value("document.scripts.length").await;
    assert_eq!(scripts, 1, "{path}: a script was added");
    let handlers = "[...document.querySelectorAll('*')].filter((it) => [...it.attributes] \
         .some((at) => at.name.startsWith('on') || at.name === 'style')).length";
    assert_eq!(browser.value(handlers).await, 0, "{path}: an attribute was added");
    let frame = "[document.querySelectorAll('main').length, document.querySelectorAll('#content').length, \
         document.querySelectorAll('header.top').length, getComputedStyle(document.body).display].join()";
    assert_eq!(browser.value(frame).await, "1,1,1,flex", "{path}: the page's frame was changed");
    let unseen = r"/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/.test(document.querySelector('main').textContent + document.title)";
    assert_eq!(browser.value(unseen).await, false, "{path}: something unseen is on the page");
    browser.is_accessible().await;
    // The page's own policy had nothing to stop: nothing hostile came so far.
    let blocked = browser.complaints().await;
    let blocked: Vec<_> =
        blocked.iter().filter(|it| it.contains("Content Security Policy")).collect();
    assert!(blocked.is_empty(), "{path}: {blocked:#?}");
}
