//! Without JavaScript, and what a request can do that is no page's.

use handoff_tests::{Server, patiently};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::driver::{Browser, DESK, Look};

#[tokio::test]
async fn pages_work_without_javascript() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let browser = Browser::of(Look { has_scripts: false, ..DESK }).await;
    browser.open(&format!("{}/suites/default/hello", server.url())).await;
    browser.type_into("input[name=filter]", "^fails$").await;
    browser.click(".start button.main").await;
    browser.arrives_below("/runs/").await;
    let runs = client.list("/runs").await;
    let run = runs[0]["id"].as_str().unwrap();
    client.finished(run).await;
    browser.open(&format!("{}/runs/{run}", server.url())).await;
    assert!(browser.text(".failure").await.contains("arithmetic still works"));
    browser.picture("without-scripts").await;
    browser.click(&format!("form[action='/runs/{run}/retry'] button")).await;
    let attempts = async || {
        let test = client.json(&format!("/runs/{run}/tests/fails")).await;
        test["attempts"].as_array().unwrap().len()
    };
    patiently("the test is tried again", async { while attempts().await != 2 {} }).await;
}

#[tokio::test]
async fn a_form_without_the_token_of_its_visitor_changes_nothing() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let path = "/suites/default/hello";
    let page = client.page(Method::GET, path).send().await.unwrap();
    let cookie = page.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let text = page.text().await.unwrap();
    let token =
        text.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let post = |cookie: Option<&str>, token: &str, origin: Option<&str>| {
        let form = "application/x-www-form-urlencoded";
        let request =
            client.page(Method::POST, &format!("{path}/runs")).header("content-type", form);
        let request = request.body(format!("token={token}&filter=passes"));
        let request = cookie.into_iter().fold(request, |it, cookie| it.header("cookie", cookie));
        origin.into_iter().fold(request, |it, origin| it.header("origin", origin))
    };
    let other = "handoff_visitor=00000000000000000000000000000000";
    for (cookie, token, origin) in [
        (None, token.as_str(), None),
        (Some(other), &token, None),
        (Some(cookie.as_str()), "", None),
        (Some(&cookie), "0", None),
        (Some(&cookie), &token, Some("http://evil.example")),
        (Some(&cookie), &token, Some("null")),
    ] {
        let answer = post(cookie, token, origin).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{cookie:?} {origin:?}");
    }
    assert!(client.list("/runs").await.is_empty());
    let answer = post(Some(&cookie), &token, Some(server.url())).send().await.unwrap();
    assert!(answer.status() == StatusCode::OK || answer.status().is_redirection(), "{answer:?}");
    assert_eq!(client.list("/runs").await.len(), 1);
}

#[tokio::test]
async fn what_screens_and_other_pages_show_follows_the_last_verdict() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    let text = |path: &'static str| {
        let request = client.page(Method::GET, path);
        async { request.send().await.unwrap().text().await.unwrap() }
    };
    let (status, badge) = ("/suites/default/hello/status.txt", "/suites/default/hello/badge.svg");
    assert_eq!(text(status).await, "none\n");
    assert!(text(badge).await.contains("no runs"));
    client.run("hello", &json!({"filter": "^passes$"})).await;
    assert_eq!(text(status).await, "passed\n");
    assert!(text(badge).await.contains("passing"));
    client.run("hello", &json!({})).await;
    assert_eq!(text(status).await, "failed\n");
    assert!(text(badge).await.contains("failing"));
    assert_eq!(text("/status.txt").await, "failed  default/hello\n");
}

#[tokio::test]
async fn a_status_page_is_there_for_namespaces_that_have_one_and_leads_nowhere_else() {
    let settings = handoff_tests::Settings::default().flag("web-public-status", "default");
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest("hello").await;
    client.run("hello", &json!({"filter": "^passes$"})).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/status/default", server.url())).await;
    assert!(browser.text("h1").await.contains("works"));
    assert_eq!(browser.value("document.querySelectorAll('a, form').length").await, 0);
    browser.is_accessible().await;
    browser.picture("public").await;
    client.run("hello", &json!({})).await;
    browser.open(&format!("{}/status/default", server.url())).await;
    assert!(browser.text("h1").await.contains("1 of 1"));
    browser.is_quiet().await;
    let other = client.page(Method::GET, "/status/fixtures").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
}
