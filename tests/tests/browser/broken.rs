//! At three in the morning: what is broken, since when and why.

use handoff_tests::Server;
use serde_json::json;

use crate::driver::Browser;

#[tokio::test]
async fn the_cause_of_a_failure_is_two_clicks_from_home() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    client.run("hello", &json!({})).await;
    let browser = Browser::start().await;
    browser.open(server.url()).await;
    assert!(browser.text("h2").await.contains("1 of 1 suite is broken"));
    // Home says why already.
    assert!(browser.text(".culprits").await.contains("arithmetic still works"));
    browser.click(".card h3 a").await;
    browser.until("location.pathname.startsWith('/runs/')").await;
    let failure = browser.text("article.failure").await;
    for part in
        ["fails", "panic", "arithmetic still works", "examples/hello/src/lib.rs:33", "left: 2"]
    {
        assert!(failure.contains(part), "{part}: {failure}");
    }
    browser.click("article.failure h3 a").await;
    browser.until("location.pathname.includes('/tests/')").await;
    assert!(browser.text(".attempt").await.contains("arithmetic still works"));
    browser.is_quiet().await;
}

#[tokio::test]
async fn what_failed_is_retried_and_run_again_by_a_click() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let run = client.run("hello", &json!({"filter": "^fails$"})).await;
    let run = run["id"].as_str().unwrap();
    let browser = Browser::start().await;
    browser.open(&format!("{}/runs/{run}", server.url())).await;
    browser.click(&format!("form[action='/runs/{run}/retry'] button")).await;
    browser.until("document.querySelector('.failure')?.textContent.includes('attempt 2')").await;
    browser.picture("retried").await;
    browser.click(&format!("form[action='/runs/{run}/again'] button")).await;
    browser
        .until(&format!(
            "location.pathname.startsWith('/runs/') && !location.pathname.endsWith('{run}')"
        ))
        .await;
    browser.until("document.querySelector('.failure')").await;
    let runs = client.list("/runs").await;
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["initiated_by"], "the web page");
    assert_eq!(runs[0]["suite"], runs[1]["suite"], "the same version runs again");
    browser.is_quiet().await;
}
