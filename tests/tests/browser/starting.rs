//! Starting a run by the form, with the mouse and without, and schedules.

use handoff_tests::Server;
use reqwest::StatusCode;
use serde_json::json;

use crate::driver::Browser;

async fn hello() -> Server {
    let server = Server::start().await;
    server.client().upload_guest("hello").await;
    server
}

#[tokio::test]
async fn the_form_shows_which_tests_match_and_starts_the_run() {
    let server = hello().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/suites/default/hello", server.url())).await;
    browser.type_into("input[name=filter]", "^passes$|^table").await;
    browser.until("document.querySelector('[data-matches]').textContent.includes('2 of 9')").await;
    browser.type_into("textarea[name=params]", "stage=test").await;
    browser.type_into("input[name=reference]", "v1 <b>").await;
    browser.picture("form").await;
    browser.click(".start button.main").await;
    browser.until("document.querySelector('h1').textContent.includes('2 tests passed')").await;
    let runs = server.client().list("/runs").await;
    let run = server.client().json(&format!("/runs/{}", runs[0]["id"].as_str().unwrap())).await;
    assert_eq!(run["params"], json!({"stage": "test"}));
    assert_eq!((&run["reference"], &run["filter"]), (&json!("v1 <b>"), &json!("^passes$|^table")));
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_component_is_shown_before_it_is_accepted() {
    let server = Server::start().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/upload", server.url())).await;
    browser.is_accessible().await;
    let file = handoff_tests::guest_file("outcomes");
    browser.type_into("input[type=file]", file.to_str().unwrap()).await;
    browser.picture("upload").await;
    browser.click(".start button.main").await;
    browser.until("document.querySelector('h1').textContent.includes('fixtures/outcomes')").await;
    let shown = browser.text("main").await;
    for part in ["34 tests", "team-größe", "http://127.0.0.1:8080", "not accepted yet"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(server.client().list("/suites").await.is_empty());
    browser.picture("preview").await;
    browser.is_accessible().await;
    browser.click("form[action$='/accept'] button").await;
    browser.until("location.pathname === '/suites/fixtures/outcomes'").await;
    assert_eq!(server.client().list("/suites").await.len(), 1);
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_filter_that_is_wrong_or_takes_nothing_says_so() {
    let server = hello().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/suites/default/hello", server.url())).await;
    browser.type_into("input[name=filter]", "nothing like it").await;
    browser
        .until("document.querySelector('[data-matches]').textContent.includes('no test matches')")
        .await;
    browser.click(".start button.main").await;
    browser
        .until("document.querySelector('h1').textContent.includes('leaves no test to run')")
        .await;
    browser.picture("refused").await;
    browser.is_accessible().await;
}

#[tokio::test]
async fn a_run_is_started_and_its_failure_read_with_the_keyboard_alone() {
    let server = hello().await;
    let browser = Browser::start().await;
    browser.open(server.url()).await;
    browser.type_keys("/").await;
    browser.until("document.activeElement.id === 'find'").await;
    browser.type_keys("hello\u{e007}").await;
    browser.until("location.pathname === '/suites' && document.querySelector('tbody a')").await;
    browser.value("document.querySelector('tbody a').focus()").await;
    browser.type_keys("\u{e007}").await;
    browser.until("location.pathname === '/suites/default/hello'").await;
    browser.type_keys("n").await;
    browser.until("document.activeElement.name === 'filter'").await;
    browser.type_keys("^fails$\u{e007}").await;
    browser.until("document.querySelector('.failure')").await;
    browser.type_keys("j").await;
    browser.until("document.activeElement.classList.contains('failure')").await;
    browser.type_keys("?").await;
    browser.until("document.querySelector('#keys').open").await;
    browser.picture("keys").await;
    browser.type_keys("\u{e00c}").await;
    browser.until("!document.querySelector('#keys').open").await;
    browser.type_keys("gs").await;
    browser.until("location.pathname === '/suites'").await;
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_schedule_is_paused_resumed_and_run_by_a_click() {
    let server = hello().await;
    let client = server.client();
    let schedule = json!({"name": "nightly", "suite": "hello", "cron": "0 3 * * *"});
    client.post("/schedules", &schedule).await.expect(StatusCode::CREATED);
    let browser = Browser::start().await;
    browser.open(&format!("{}/schedules", server.url())).await;
    browser.click("tbody a").await;
    browser.until("location.pathname === '/schedules/nightly'").await;
    let next = browser.text("section[aria-labelledby=next]").await;
    assert!(next.contains("03:00:00 UTC, in ") || next.contains("03:00:00 UTC, now"), "{next}");
    browser.type_into("input[name=reason]", "it is late").await;
    browser.click("form[action$='/pause'] button").await;
    browser.until("document.querySelector('.verdict').textContent.includes('paused by the web page: it is late')").await;
    browser.picture("paused").await;
    browser.click("form[action$='/resume'] button").await;
    browser.until("document.querySelector('form[action$=\"/pause\"]')").await;
    browser.click("form[action$='/trigger'] button").await;
    browser.until("location.pathname.startsWith('/runs/')").await;
    let rows = client.list("/schedules/nightly/history").await;
    assert_eq!(rows[0]["outcome"], "triggered");
    browser.is_quiet().await;
}
