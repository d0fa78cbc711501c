//! A run that is watched: live to its end, cancelled, and with the server restarted under the page.

use handoff_tests::{Server, Settings, Target};
use serde_json::json;

use crate::driver::Browser;
use crate::relay::Relay;
use crate::{steps, until_held};

fn held(name: &str) -> serde_json::Value {
    json!({"params": {"run": name, "path-step-2": format!("/hold/{name}")}})
}

#[tokio::test]
async fn a_run_is_watched_to_its_end_without_loading_the_page_again() {
    let target = Target::start().await;
    let server = steps(Settings::default(), &target).await;
    let run = server.client().submit("steps", &held("a")).await;
    until_held(&target, "a", 1).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/runs/{run}", server.url())).await;
    browser.until("document.querySelector('h1').textContent.includes('Running')").await;
    browser.until("document.querySelector('.meter').textContent.includes('1 of 5')").await;
    browser.value("window.same = true").await;
    browser.picture("running").await;
    browser.is_accessible().await;
    target.release("a");
    browser.until("document.querySelector('h1').textContent.includes('5 tests passed')").await;
    assert_eq!(browser.value("window.same").await, true, "the page was loaded again");
    browser.until("document.title.startsWith('passed')").await;
    browser.until("document.querySelector('link[rel=icon]').href.includes('passed')").await;
    browser.picture("ended").await;
    browser.is_quiet().await;
}

#[tokio::test]
async fn a_run_is_cancelled_by_a_click() {
    let target = Target::start().await;
    let server = steps(Settings::default(), &target).await;
    let run = server.client().submit("steps", &held("a")).await;
    until_held(&target, "a", 1).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/runs/{run}", server.url())).await;
    browser.click(&format!("form[action='/runs/{run}/cancel'] button")).await;
    browser.until("document.querySelector('h1').textContent.includes('Cancelled')").await;
    assert!(browser.text(".verdict").await.contains("cancelled by the web page"));
    assert_eq!(server.client().finished(&run).await["status"], "cancelled");
    browser.picture("cancelled").await;
    browser.is_quiet().await;
}

#[tokio::test]
async fn an_open_page_goes_on_when_the_server_was_restarted_and_misses_nothing() {
    let target = Target::start().await;
    let mut server = steps(Settings::default(), &target).await;
    let run = server.client().submit("steps", &held("a")).await;
    until_held(&target, "a", 1).await;
    let relay = Relay::start(server.url()).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/runs/{run}", relay.url())).await;
    browser.until("document.querySelector('[data-connection]').textContent === 'Live'").await;
    browser.value("window.same = true").await;
    server.kill9().await;
    browser.until("document.querySelector('[data-connection]').textContent !== 'Live'").await;
    browser.picture("server-gone").await;
    let server = server.restart().await;
    relay.lead_to(server.url());
    until_held(&target, "a", 2).await;
    target.release("a");
    browser.until("document.querySelector('h1').textContent.includes('5 tests passed')").await;
    assert_eq!(browser.value("window.same").await, true, "the page was loaded again");
    // The attempt that the restart cut short is there too.
    browser.until("[...document.querySelectorAll('tbody tr')].some((it) => it.textContent.includes('step-2') && it.cells[2].textContent === '2')").await;
}

#[tokio::test]
async fn two_thousand_tests_are_watched_as_one_is_and_each_page_stays_small() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("crowd").await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/suites/fixtures/crowd", server.url())).await;
    browser.click(".start button.main").await;
    let done = "document.querySelector('h1').textContent.includes('20 of 2000 tests failed')";
    browser.until(done).await;
    browser.picture("crowd").await;
    browser.is_accessible().await;
    let rows = browser.value("document.querySelectorAll('#tests ~ .scroll tbody tr').length").await;
    // Setup stands before the first 500.
    assert_eq!(rows, 501);
    // What failed stands first, wherever it is declared.
    let first = "document.querySelectorAll('#tests ~ .scroll tbody .chip.failed').length === 20";
    browser.until(first).await;
    for page in 1..=3 {
        browser.click("a[rel=next]").await;
        browser.until(&format!("location.search === '?page={page}'")).await;
    }
    browser
        .until("document.querySelector('#tests ~ .scroll').textContent.includes('customer 1998')")
        .await;
    browser.is_accessible().await;
    browser.open(&format!("{}/suites/fixtures/crowd?failures=true", server.url())).await;
    assert_eq!(browser.value("document.querySelectorAll('.grid tbody tr').length").await, 20);
    browser.picture("crowd-suite").await;
    let run = client.list("/runs").await[0]["id"].as_str().unwrap().to_owned();
    let test = "stock%2Fcustomer%200099%20sees%20what%20was%20ordered";
    for path in [
        "/".to_owned(),
        format!("/runs/{run}"),
        format!("/runs/{run}?page=3"),
        "/suites/fixtures/crowd".into(),
        "/suites/fixtures/crowd?page=7".into(),
        "/runs?text=invoice".into(),
        format!("/suites/fixtures/crowd/tests/{test}"),
    ] {
        let request = client.page(reqwest::Method::GET, &path).header("accept-encoding", "gzip");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let bytes = answer.bytes().await.unwrap().len();
        assert!(bytes < 100_000, "{path} has {bytes} bytes");
    }
    browser.is_quiet().await;
}
