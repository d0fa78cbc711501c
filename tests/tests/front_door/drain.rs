//! SIGTERM: what is under way may end, what is left continues after the restart.

use handoff_tests::{Client, RunId, Settings, Target, patiently};
use reqwest::StatusCode;
use serde_json::json;

use crate::history::{History, each_attempt_was_seen_once, of_run};
use crate::results::assert_says;
use crate::steps::{held, server, wait_until_held};

/// Waits until the server has noticed that it is to end.
async fn wait_until_draining(client: &Client) {
    patiently("the server is not ready any more", async {
        while client.get("/readyz").await.status.is_success() {}
    })
    .await;
    assert_says(&client.get("/readyz").await.problem(503), &["shutting down"]);
}

/// The run passed with a history that keeps to the rules. Gives how many attempts were cut short.
async fn check(client: &Client, target: &Target, run: &RunId, name: &str) -> usize {
    let events = patiently("the run ends", async { client.events(run, 0).await.rest().await });
    let events = events.await;
    let history = History::of_ended_run(&events);
    assert_eq!(history.status(), "passed", "{events:#?}");
    let seen = target.seen();
    let seen = of_run(&seen, name);
    history.records_what_was_seen(&seen);
    each_attempt_was_seen_once(&seen);
    history.lost()
}

#[tokio::test]
async fn a_run_under_way_ends_before_the_server_does() {
    let target = Target::start().await;
    let mut server = server(Settings::default(), &target).await;
    let client = server.client();
    let run = client.submit("steps", &held("a")).await;
    wait_until_held(&target, "a", 1).await;
    server.sigterm();
    wait_until_draining(&client).await;
    target.release("a");
    assert!(server.ended().await.success(), "a server that drained ends well");

    let server = server.restart().await;
    assert_eq!(check(&server.client(), &target, &run, "a").await, 0, "no attempt was cut short");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_log_that_cannot_be_written_ends_nothing() {
    let target = Target::start().await;
    let full = Settings::default().through(&["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"]);
    let mut server = server(full, &target).await;
    let client = server.client();
    let run = client.submit("steps", &held("a")).await;
    wait_until_held(&target, "a", 1).await;
    server.sigterm();
    wait_until_draining(&client).await;
    target.release("a");
    assert!(server.ended().await.success(), "a server that drained ends well");

    let server = server.restart_with(Settings::default()).await;
    assert_eq!(check(&server.client(), &target, &run, "a").await, 0, "no attempt was cut short");
}

#[tokio::test]
async fn a_further_signal_ends_the_server_at_once_and_its_run_continues_after_the_restart() {
    let target = Target::start().await;
    let mut server = server(Settings::default(), &target).await;
    let client = server.client();
    let run = client.submit("steps", &held("a")).await;
    let mut events = client.events(&run, 0).await;
    patiently("the first test is stored", async {
        while events.next().await.expect("the run goes on").name != "test_finished" {}
    })
    .await;
    wait_until_held(&target, "a", 1).await;
    server.sigterm();
    wait_until_draining(&client).await;
    server.sigterm();
    assert_eq!(server.ended().await.code(), Some(130));
    let server = server.restart().await;
    wait_until_held(&target, "a", 2).await;
    target.release("a");
    assert_eq!(server.client().finished(&run).await["status"], "passed");
    let seen = target.seen();
    let first = of_run(&seen, "a").into_iter().filter(|request| request.query["test"] == "step-1");
    assert_eq!(first.count(), 1, "a finished test does not run again");
}

#[tokio::test]
async fn a_server_that_drains_takes_no_new_run() {
    let target = Target::start().await;
    let mut server = server(Settings::default(), &target).await;
    let client = server.client();
    let run = client.submit("steps", &held("a")).await;
    wait_until_held(&target, "a", 1).await;
    server.sigterm();
    wait_until_draining(&client).await;
    let asked = client.run_request("steps", &json!({}));
    assert_says(&client.send(asked).await.problem(503), &["shutting down"]);
    // Anything else is answered as ever, to those who connect now too.
    let client = server.client();
    client.get("/healthz").await.expect(StatusCode::OK);
    assert_eq!(client.json(&format!("/runs/{run}")).await["status"], "running");
    let cancel = format!("/runs/{run}/cancel");
    client.post(&cancel, &json!({})).await.expect(StatusCode::ACCEPTED);
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn what_is_left_at_the_drain_deadline_continues_after_the_restart() {
    let target = Target::start().await;
    let mut server = server(Settings::default().flag("runner-drain-ms", 100), &target).await;
    let run = server.client().submit("steps", &held("a")).await;
    wait_until_held(&target, "a", 1).await;
    server.sigterm();
    assert!(server.ended().await.success(), "a server whose time to drain is over ends well");

    let server = server.restart().await;
    wait_until_held(&target, "a", 2).await;
    target.release("a");
    let cut = check(&server.client(), &target, &run, "a").await;
    assert!(cut <= 1, "only the attempt under way may be cut short, not {cut}");
    let seen = target.seen();
    let first = of_run(&seen, "a").into_iter().filter(|request| request.query["test"] == "step-1");
    assert_eq!(first.count(), 1, "a finished test does not run again");
}

#[tokio::test]
async fn a_run_that_waits_in_the_queue_starts_after_the_restart() {
    let target = Target::start().await;
    let settings =
        Settings::default().flag("runner-drain-ms", 100).flag("runner-concurrent-runs", 1);
    let mut server = server(settings, &target).await;
    let client = server.client();
    let first = client.submit("steps", &held("a")).await;
    wait_until_held(&target, "a", 1).await;
    let second = client.submit("steps", &held("b")).await;
    server.sigterm();
    assert!(server.ended().await.success());

    target.release("a");
    target.release("b");
    let server = server.restart().await;
    check(&server.client(), &target, &first, "a").await;
    assert_eq!(check(&server.client(), &target, &second, "b").await, 0);
}
