//! Which run goes first, which wait for one another, and which make others pointless.

use handoff_tests::{Client, Server, Settings, Target, patiently};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::cli::{assert_says, at};
use crate::results::{array, test, text};
use crate::steps;

/// A request for a run that is held in its second test under that name, with more fields.
fn held(name: &str, more: Value) -> Value {
    let mut request = steps::held(name);
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

/// How a run stands in the queue.
async fn queue(client: &Client, run: &str) -> Value {
    client.json(&format!("/runs/{run}")).await["queue"].clone()
}

/// Waits until a run says that it waits for something of that kind.
async fn wait_for(client: &Client, run: &str, kind: &str) -> Value {
    patiently("the run says what it waits for", async {
        loop {
            let queue = queue(client, run).await;
            if queue["waits_for"]
                .as_array()
                .is_some_and(|all| all.iter().any(|w| w["kind"] == kind))
            {
                return queue;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Of two runs, the one that ended first by what the server says.
async fn ended_in_order(client: &Client, runs: [&str; 2]) -> bool {
    let [first, second] = [client.finished(runs[0]).await, client.finished(runs[1]).await];
    assert_eq!((&first["status"], &second["status"]), (&json!("passed"), &json!("passed")));
    text(&first["finished_at"]) <= text(&second["started_at"])
}

#[tokio::test]
async fn runs_of_a_higher_class_go_first_and_a_run_that_waits_says_its_place_and_for_what() {
    let target = Target::start().await;
    let server =
        steps::server(Settings::default().flag("runner-concurrent-runs", 1), &target).await;
    let client = server.client();
    let first = client.submit("steps", &steps::held("first")).await;
    steps::wait_until_held(&target, "first", 1).await;
    let low = client.submit("steps", &json!({"priority": "low"})).await;
    let normal = client.submit("steps", &json!({})).await;
    let high = client.submit("steps", &json!({"priority": "high"})).await;
    let standing = wait_for(&client, &high, "server").await;
    assert_eq!(standing["place"], 1);
    assert_says(text(&standing["waits_for"][0]["text"]), &["1 runs that may be under way"]);
    for (run, place) in [(&normal, 2), (&low, 3)] {
        assert_eq!(queue(&client, run).await["place"], place);
    }
    assert_eq!(queue(&client, &first).await, Value::Null, "it does not wait");
    assert_eq!(client.json(&format!("/runs/{low}")).await["priority"], "low");
    let mut told = at(&server, "run steps --priority low").start();
    let line = told.line_with("Waiting").await;
    assert_says(&line, &["at place 4 for an end of one of the 1 runs"]);
    // The order outlives the process.
    let server = server.restart().await;
    let client = server.client();
    target.release("first");
    assert!(ended_in_order(&client, [&high, &normal]).await);
    assert!(ended_in_order(&client, [&normal, &low]).await);
    let detail = client.post("/suites/default/steps/runs", &json!({"priority": "huge"})).await;
    assert_says(&detail.problem(422), &["huge", "`low`"]);
}

#[tokio::test]
async fn of_runs_that_share_a_lock_one_is_under_way_and_the_lock_outlives_a_kill() {
    let target = Target::start().await;
    let mut server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    let set = "policy set steps --add --lock staging --lock database";
    let policy = at(&server, set).run().await.expect(0);
    assert_says(&policy, &["staging", "database"]);
    let first = client.submit("steps", &steps::held("first")).await;
    steps::wait_until_held(&target, "first", 1).await;
    let second = client.submit("steps", &json!({"priority": "high"})).await;
    let standing = wait_for(&client, &second, "lock").await;
    let [database, staging] = array(&standing["waits_for"]) else { panic!("{standing:#}") };
    assert_eq!((&database["run"], &staging["run"]), (&json!(first), &json!(first)));
    assert_says(text(&staging["text"]), &["the lock \"staging\""]);
    server.kill9().await;
    let server = server.restart().await;
    let client = server.client();
    // The one that has it goes on with it, whatever class the other is of.
    steps::wait_until_held(&target, "first", 2).await;
    assert_eq!(wait_for(&client, &second, "lock").await["waits_for"][0]["run"], first);
    target.release("first");
    assert!(ended_in_order(&client, [&first, &second]).await);
}

#[tokio::test]
async fn no_more_runs_of_a_suite_are_under_way_than_its_policy_says() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    at(&server, "policy set steps --add --concurrent-runs 1").run().await.expect(0);
    let first = client.submit("steps", &steps::held("first")).await;
    steps::wait_until_held(&target, "first", 1).await;
    let second = client.submit("steps", &json!({})).await;
    let standing = wait_for(&client, &second, "suite").await;
    assert_says(text(&standing["waits_for"][0]["text"]), &["1 runs of its suite"]);
    // Other suites do not wait for it.
    client.upload_guest("ten").await;
    assert_eq!(client.run("ten", &json!({})).await["status"], "passed");
    target.release("first");
    assert!(ended_in_order(&client, [&first, &second]).await);
    for (policy, words) in [
        (json!({"concurrent_runs": 0}), "concurrent_runs"),
        (json!({"locks": [""]}), "locks"),
        (json!({"locks": vec!["x"; 17]}), "17 locks"),
    ] {
        let answer = client.put("/suites/default/steps/policy", &policy).await;
        assert_says(&answer.problem(422), &[words]);
    }
}

#[tokio::test]
async fn a_run_that_supersedes_cancels_the_older_ones_of_its_group_and_no_others() {
    let target = Target::start().await;
    let server =
        steps::server(Settings::default().flag("runner-concurrent-runs", 2), &target).await;
    let client = server.client();
    let of = |group: &str| json!({"reference": "abc", "group": group});
    let running = client.submit("steps", &held("running", of("main"))).await;
    let other = client.submit("steps", &held("other", of("release"))).await;
    steps::wait_until_held(&target, "running", 1).await;
    steps::wait_until_held(&target, "other", 1).await;
    let queued = client.submit("steps", &of("main")).await;
    let line = "run steps --group main --reference def --supersede --detach";
    let newest = at(&server, line).run().await.expect(0);
    let newest = newest.trim();
    for run in [&running, &queued] {
        let run = client.finished(run).await;
        assert_eq!(run["status"], "cancelled");
        assert_says(text(&run["message"]), &["cancelled by the run #4", newest, "supersedes"]);
    }
    assert_eq!(client.finished(newest).await["status"], "passed");
    target.release("other");
    let other = client.finished(&other).await;
    assert_eq!((&other["status"], &other["group"]), (&json!("passed"), &json!("release")));
    assert_eq!(test(&other, "step-5")["status"], "passed");
    let answer = client.post("/suites/default/steps/runs", &json!({"supersede": true})).await;
    assert_says(&answer.problem(422), &["give a reference or a group"]);
}

#[tokio::test]
async fn a_superseding_run_holds_across_a_kill() {
    let target = Target::start().await;
    let settings = Settings::default().flag("runner-concurrent-runs", 1);
    let mut server = steps::server(settings, &target).await;
    let client = server.client();
    let blocker = client.submit("steps", &steps::held("blocker")).await;
    steps::wait_until_held(&target, "blocker", 1).await;
    let main = json!({"reference": "main", "supersede": true});
    let older = client.submit("steps", &main).await;
    let newer = client.submit("steps", &main).await;
    server.kill9().await;
    let server: Server = server.restart().await;
    let client = server.client();
    // Before the run ends that is before it, whether or not it was told to stop when the server was killed.
    assert_eq!(client.finished(&older).await["status"], "cancelled");
    target.release("blocker");
    for run in [&blocker, &newer] {
        let run = client.finished(run).await;
        assert_eq!(run["status"], "passed", "{run:#}");
    }
    let location = client.get(&format!("/runs/{newer}")).await;
    assert_eq!(location.status, StatusCode::OK);
}

#[tokio::test]
async fn runs_that_were_told_to_stop_end_after_a_kill_without_waiting_for_their_turn() {
    let target = Target::start().await;
    let settings = Settings::default().flag("runner-concurrent-runs", 1);
    let mut server = steps::server(settings, &target).await;
    let client = server.client();
    let blocker = client.submit("steps", &steps::held("blocker")).await;
    steps::wait_until_held(&target, "blocker", 1).await;
    // More than are ended at a time: of some the end is not stored yet when the server is killed.
    let mut runs = Vec::new();
    for _ in 0..40 {
        runs.push(client.submit("steps", &json!({})).await);
    }
    let stop = |run| {
        let client = client.clone();
        async move { client.post(&format!("/runs/{run}/cancel"), &json!({})).await.status }
    };
    futures::future::join_all(runs.iter().map(stop)).await;
    server.kill9().await;
    let server: Server = server.restart().await;
    let client = server.client();
    for run in &runs {
        assert_eq!(client.finished(run).await["status"], "cancelled");
    }
    assert_eq!(client.json(&format!("/runs/{blocker}")).await["status"], "running");
    target.release("blocker");
    assert_eq!(client.finished(&blocker).await["status"], "passed");
}
