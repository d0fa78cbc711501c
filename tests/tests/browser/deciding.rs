//! What people decide about tests, runs and suites: mute, clear, pin, grant, confirm.

use handoff_tests::{Client, Server};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::driver::Browser;

/// Clicks on a button of the form that posts there.
fn button(action: &str) -> String {
    format!("form[action='{action}'] button")
}

#[tokio::test]
async fn a_test_is_muted_for_a_while_and_counts_again() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let browser = Browser::start().await;
    let page = format!("{}/suites/default/hello/tests/fails", server.url());
    browser.open(&page).await;
    browser.type_into("input[name=reason]", "the shop is being rebuilt").await;
    browser.type_into("input[name=by]", "ada").await;
    browser.value("document.querySelector('input[name=until]').value = '2199-01-31'").await;
    browser.picture("mute").await;
    browser.is_accessible().await;
    browser.click(&button("/suites/default/hello/marks")).await;
    browser.until("document.querySelector('.verdict').textContent.includes('muted')").await;
    let marks = client.list("/suites/default/hello/marks").await;
    assert_eq!((&marks[0]["test"], &marks[0]["kind"]), (&json!("fails"), &json!("muted")));
    assert_eq!(marks[0]["until"], "2199-02-01T00:00:00Z");
    assert_eq!(marks[0]["by"], "ada");

    let run = client.run("hello", &json!({"filter": "^fails$"})).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    browser.open(&format!("{}/runs/{}", server.url(), run["id"].as_str().unwrap())).await;
    assert!(browser.text("#tests ~ .scroll tbody").await.contains("muted"));
    browser.picture("run-muted").await;
    browser.is_accessible().await;
    browser.open(&format!("{}/suites/default/hello", server.url())).await;
    let shown = browser.text("section[aria-labelledby=marked]").await;
    assert!(shown.contains("the shop is being rebuilt") && shown.contains("by ada"), "{shown}");
    assert!(browser.text(".grid").await.contains("muted"));
    browser.picture("suite-muted").await;
    browser.is_accessible().await;
    browser.click(&button("/suites/default/hello/unmark")).await;
    browser.until("location.pathname.endsWith('/tests/fails')").await;
    assert!(client.list("/suites/default/hello/marks").await.is_empty());
    // From the suite's page, with a kind of another sort and a test that is not there.
    browser.open(&format!("{}/suites/default/hello", server.url())).await;
    browser.click("section[aria-labelledby=marked] summary").await;
    browser.type_into("section[aria-labelledby=marked] input[name=test]", "nothing").await;
    browser.type_into("section[aria-labelledby=marked] input[name=reason]", "why not").await;
    browser.click(&button("/suites/default/hello/marks")).await;
    browser.until("document.querySelector('.problem').textContent.includes('has no test')").await;
    browser.is_accessible().await;
}

#[tokio::test]
async fn what_is_cleared_stays_and_is_struck_through_with_the_reason() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let first = client.run("hello", &json!({})).await;
    let run = format!("/runs/{}", first["id"].as_str().unwrap());
    let browser = Browser::start().await;
    browser.open(&format!("{}{run}/tests/fails", server.url())).await;
    browser.click("details.aside summary").await;
    browser.type_into("details.aside input[name=reason]", "the wrong data").await;
    browser.click("details.aside form button").await;
    browser.until("document.querySelector('tr.cleared')").await;
    assert!(browser.text("tr.cleared").await.contains("cleared: the wrong data"));
    browser.click("details.aside summary").await;
    browser.is_accessible().await;
    browser.picture("keep-or-clear").await;
    browser.type_into(&format!("form[action='{run}/clear'] input[name=reason]"), "a bad day").await;
    browser.click(&button(&format!("{run}/clear"))).await;
    browser.until("document.querySelector('h1 s')").await;
    assert!(browser.text(".verdict").await.contains("a bad day"));
    browser.picture("run-cleared").await;
    browser.is_accessible().await;
    assert_eq!(client.json(&run).await["cleared"]["reason"], "a bad day");
    let told = client.get("/suites/default/hello/statistics").await;
    assert!(told.status == StatusCode::NOT_FOUND || told.body["window"]["runs"] == 0);
    for (path, place) in [
        ("/runs", "tr.cleared"),
        ("/suites/default/hello", ".grid thead .struck"),
        ("/suites/default/hello/tests/fails", "tr.cleared"),
    ] {
        browser.open(&format!("{}{path}", server.url())).await;
        browser.until(&format!("document.querySelector('{place}')")).await;
        browser.is_accessible().await;
    }
    browser.picture("test-cleared").await;
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_run_is_pinned_and_let_go_and_what_is_kept_is_shown() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let run = client.run("hello", &json!({"filter": "^passes$"})).await;
    let run = format!("/runs/{}", run["id"].as_str().unwrap());
    let browser = Browser::start().await;
    browser.open(&format!("{}{run}", server.url())).await;
    browser.click("details.aside summary").await;
    browser.type_into(&format!("form[action='{run}/pin'] input[name=reason]"), "release 1").await;
    browser.click(&button(&format!("{run}/pin"))).await;
    browser.until("document.querySelector('.verdict').textContent.includes('release 1')").await;
    browser.open(&format!("{}/runs", server.url())).await;
    assert!(browser.text("tbody").await.contains("pinned"));
    browser.open(&format!("{}/retention", server.url())).await;
    assert!(browser.text("main").await.contains("1 run is pinned"));
    browser.is_accessible().await;
    browser.picture("retention").await;
    browser.click("form[action='/retention'] button").await;
    browser.until("location.pathname === '/retention'").await;
    browser.open(&format!("{}{run}", server.url())).await;
    browser.click("details.aside summary").await;
    browser.click(&button(&format!("{run}/unpin"))).await;
    browser.until("!document.querySelector('.verdict').textContent.includes('release 1')").await;
    assert_eq!(client.json(&run).await["pinned"], Value::Null);
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_suite_is_granted_more_by_a_form_that_never_shows_a_secret() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let policy = json!({"secrets": {"token": "hunter2", "old": "hunter3"}, "env": {"A": "1"}});
    client.set_policy("hello", &policy).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/suites/default/hello", server.url())).await;
    browser.click("#reach ~ p a").await;
    browser.until("location.pathname.endsWith('/policy')").await;
    browser.is_accessible().await;
    browser
        .type_into("textarea[name=http]", "https://api.example.com\nhttp://localhost:8080")
        .await;
    browser.type_into("textarea[name=secrets]", "new=hunter4").await;
    browser.click("input[name='forget old']").await;
    browser.type_into("input[name=keep_days]", "7").await;
    browser.click("details summary").await;
    browser.type_into("input[name='limit memory_bytes']", "1000000").await;
    browser.picture("policy").await;
    let shown = browser.value("document.documentElement.outerHTML.includes('hunter')").await;
    assert_eq!(shown, false, "a secret is on the page");
    browser.click(".actions button.main").await;
    browser.until("location.pathname === '/suites/default/hello'").await;
    let now = client.json("/suites/default/hello/policy").await;
    assert_eq!(now["allow_http"], json!(["https://api.example.com", "http://localhost:8080"]));
    assert_eq!(now["secrets"], json!({"token": null, "new": null}), "{now:#}");
    assert_eq!((&now["env"], &now["keep"]["age_ms"]), (&json!({"A": "1"}), &json!(604_800_000)));
    assert_eq!(now["limits"]["memory_bytes"], 1_000_000);
    browser.open(&format!("{}/suites/default/hello/policy", server.url())).await;
    browser.type_into("textarea[name=tcp]", "not a place").await;
    browser.click(".actions button.main").await;
    browser.until("document.querySelector('.problem').textContent.includes('host:port')").await;
    assert_eq!(client.json("/suites/default/hello/policy").await, now);
}

/// Runs the test once with so many failed attempts before it passes; three are all that it has.
async fn assertion(client: &Client, failures: u32) {
    let request = json!({
        "filter": "^assertion$", "reference": "main", "params": {"failures": failures.to_string()},
    });
    client.run("flaky", &request).await;
}

#[tokio::test]
async fn a_flaky_test_is_shown_with_its_rates_and_confirmed_as_mended_and_a_broken_one_with_its_failures()
 {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    for failures in [1, 1, 0] {
        assertion(&client, failures).await;
    }
    let browser = Browser::start().await;
    browser.open(server.url()).await;
    let flaky = browser.text("section[aria-labelledby=flaky]").await;
    assert!(flaky.contains("assertion") && flaky.contains("#2"), "{flaky}");
    browser.picture("home-flaky").await;
    browser.click("section[aria-labelledby=flaky] tbody th a").await;
    browser
        .until("document.querySelector('.verdict').textContent.includes('flaky since #2')")
        .await;
    let numbers = browser.text("section[aria-labelledby=numbers]").await;
    for part in
        ["0 % (0 % to 56 %) of 3 results", "Passes only on a further attempt", "Passed last"]
    {
        assert!(numbers.contains(part), "{part}: {numbers}");
    }
    browser.is_accessible().await;
    browser.picture("test-flaky").await;
    browser.click(&button("/suites/default/flaky/confirm")).await;
    browser.until("document.querySelector('#rounds').textContent.includes('2 of 2 rounds')").await;
    browser.until("document.querySelector('h1').textContent.includes('passed')").await;
    browser.is_accessible().await;
    browser.picture("rounds").await;
    assert!(client.list("/statistics/flaky").await.is_empty());

    for _ in 0..3 {
        assertion(&client, 3).await;
    }
    browser.open(&format!("{}/suites/default/flaky", server.url())).await;
    let shown = browser.text("section[aria-labelledby=unsteady]").await;
    assert!(shown.contains("broken") && shown.contains("#5"), "{shown}");
    let fails = browser.text("section[aria-labelledby=fails]").await;
    assert!(fails.contains("FLAKY ON ATTEMPT <n>") && fails.contains("first in #1"), "{fails}");
    browser.is_accessible().await;
    browser.picture("suite-broken").await;
    browser.open(&format!("{}/suites/default/flaky/failures", server.url())).await;
    browser.is_accessible().await;
    browser.picture("failures").await;
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_test_is_disabled_and_another_expected_to_fail() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let browser = Browser::start().await;
    let action = "/suites/default/hello/marks";
    for (test, kind, word) in [
        ("fails", "expected_to_fail", "expected to fail"),
        ("slow", "disabled", "disabled"),
        ("passes", "expected_to_fail", "expected to fail"),
    ] {
        browser.open(&format!("{}/suites/default/hello/tests/{test}", server.url())).await;
        let form = format!("form[action='{action}']");
        browser.value(&format!("document.querySelector(\"{form} select\").value = '{kind}'")).await;
        browser.type_into(&format!("{form} input[name=reason]"), "not built yet").await;
        browser.click(&button(action)).await;
        browser
            .until(&format!("document.querySelector('.verdict').textContent.includes('{word}')"))
            .await;
    }
    let run = client.run("hello", &json!({"filter": "^(fails|slow|passes)$"})).await;
    browser.open(&format!("{}/runs/{}", server.url(), run["id"].as_str().unwrap())).await;
    let shown = browser.text("#tests ~ .scroll tbody").await;
    for part in [
        "disabled by the web page: not built yet",
        "it passed, and is expected to fail by the web page: not built yet",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(run["status"], "failed", "what is expected to fail passed: {run:#}");
    assert_eq!(run["counts"]["failed"], 1, "{run:#}");
    browser.is_accessible().await;
    browser.picture("run-expected").await;
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_run_is_repeated_twenty_times_by_a_click() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let run = client.run("hello", &json!({"filter": "^passes$"})).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/runs/{}", server.url(), run["id"].as_str().unwrap())).await;
    browser.click("form:has(input[name=repeat]) button").await;
    browser
        .until("document.querySelector('#rounds').textContent.includes('20 of 20 rounds')")
        .await;
    browser.until("document.querySelector('h1').textContent.includes('passed')").await;
    assert_eq!(client.list("/runs").await.len(), 2);
    browser.is_quiet().await;
}

#[tokio::test]
async fn since_when_a_test_fails_more_often_is_told_with_its_version_and_chance() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    for failures in [0, 3] {
        for _ in 0..12 {
            assertion(&client, failures).await;
        }
    }
    let browser = Browser::start().await;
    browser.open(&format!("{}/suites/default/flaky/tests/assertion", server.url())).await;
    let changed = browser.text("section[aria-labelledby=numbers] .lines").await;
    for part in ["fails more often", "#13", "main", "0 % over 12", "100 % over 12"] {
        assert!(changed.contains(part), "{part}: {changed}");
    }
    browser.is_accessible().await;
    browser.picture("test-changed").await;
    browser.is_quiet().await;
}
