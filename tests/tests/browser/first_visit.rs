//! What somebody sees who comes for the first time, and every page as it is with something on it.

use handoff_tests::Server;
use serde_json::json;

use crate::driver::{Browser, DESK, Look, PHONE};
use crate::plugins::{install, until_told};
use crate::run_of_fixtures;

#[tokio::test]
async fn an_empty_server_says_what_to_do_first() {
    let server = Server::start().await;
    let browser = Browser::start().await;
    browser.open(server.url()).await;
    assert!(browser.text("main").await.contains("handoff upload"));
    browser.picture("empty-home").await;
    for path in [
        "/",
        "/suites",
        "/upload",
        "/runs",
        "/schedules",
        "/triggers",
        "/plugins",
        "/retention",
        "/about",
        "/nothing/here",
    ] {
        browser.open(&format!("{}{path}", server.url())).await;
        browser.is_accessible().await;
    }
    browser.picture("missing").await;
}

/// A server on which everything has happened that pages show; the paths of its pages by names.
async fn busy() -> (Server, Vec<(&'static str, String)>) {
    let server = Server::start().await;
    let client = server.client();
    for guest in ["hello", "outcomes", "flaky", "setup-fails"] {
        client.upload_guest(guest).await;
    }
    let schedule = json!({
        "name": "nightly", "suite": "hello", "cron": "0 3 * * *", "description": "Every night.",
    });
    client.post("/schedules", &schedule).await.expect(reqwest::StatusCode::CREATED);
    install(&client, "quiet", "misbehaves").await;
    let mark = json!({"kind": "expected_to_fail", "reason": "known", "by": "ada"});
    client.put("/suites/default/hello/marks/panics", &mark).await;
    client.run("hello", &json!({"filter": "passes"})).await;
    for _ in 0..3 {
        client.run("hello", &json!({"reference": "v1.2.3", "initiated_by": "ada"})).await;
    }
    client.run("flaky", &json!({})).await;
    client.run("setup-fails", &json!({})).await;
    let hello = client.run("hello", &json!({"params": {"stage": "test"}})).await;
    let run = run_of_fixtures(&client, "outcomes", &json!({"max_attempts": 2})).await;
    until_told(&client, "quiet", 1).await;
    let told = client.list("/plugins/quiet/deliveries").await[0]["number"].to_string();
    let (hello, id) = (hello["id"].as_str().unwrap(), run["id"].as_str().unwrap());
    let pages = vec![
        ("home", "/".to_owned()),
        ("suites", "/suites".into()),
        ("suite", "/suites/default/hello".into()),
        ("suite-of-many", "/suites/fixtures/outcomes?failures=true".into()),
        ("versions", "/suites/default/hello/versions".into()),
        ("test-over-time", "/suites/default/hello/tests/fails".into()),
        ("runs", "/runs".into()),
        ("runs-that-said", "/runs?text=arithmetic".into()),
        ("run", format!("/runs/{hello}")),
        ("run-of-many", format!("/runs/{id}")),
        ("attempt", format!("/runs/{hello}/tests/fails")),
        ("attempt-of-parts", format!("/runs/{id}/tests/has_parts")),
        ("schedules", "/schedules".into()),
        ("schedule", "/schedules/nightly".into()),
        ("triggers", "/triggers".into()),
        ("plugins", "/plugins".into()),
        ("plugin", "/plugins/quiet".into()),
        ("delivery", format!("/plugins/quiet/deliveries/{told}")),
        ("suite-policy", "/suites/default/hello/policy".into()),
        ("failures", "/suites/default/hello/failures".into()),
        ("retention", "/retention".into()),
        ("about", "/about".into()),
    ];
    (server, pages)
}

#[tokio::test]
async fn every_page_can_be_used_by_everybody_in_light_and_in_the_dark_on_a_desk_and_on_a_telephone()
{
    let (server, pages) = busy().await;
    let dark = Look { is_dark: true, ..DESK };
    let wide = Look { width: 1920, height: 1080, ..DESK };
    for (kind, look) in [("", DESK), ("-dark", dark), ("-phone", PHONE), ("-wide", wide)] {
        let browser = Browser::of(look).await;
        for (name, path) in &pages {
            browser.open(&format!("{}{path}", server.url())).await;
            browser.picture(&format!("{name}{kind}")).await;
            browser.is_accessible().await;
        }
        browser.is_quiet().await;
    }
}

#[tokio::test]
async fn a_page_is_small_and_tells_browsers_what_it_may_do() {
    let (server, pages) = busy().await;
    let client = server.client();
    for (_, path) in &pages {
        let request = client.page(reqwest::Method::GET, path).header("accept-encoding", "gzip");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let bytes = answer.bytes().await.unwrap().len();
        assert!(bytes < 100_000, "{path} has {bytes} bytes");
    }
}
