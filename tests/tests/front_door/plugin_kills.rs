//! The server is killed while plugins are told what happened: each end of a run reaches a healthy plugin at
//! least once, in order, and none is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handoff_tests::{Server, Target, guest, patiently};
use rand::RngExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// How often the server is killed; `HANDOFF_KILLS` asks for more.
const KILLS: u64 = 50;
/// How long it lives at most after it has taken runs.
const LONGEST_LIFE_MS: u64 = 300;
/// How many runs are asked for in each life.
const RUNS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_server_is_killed_each_end_of_a_run_is_told_in_order() {
    let kills = std::env::var("HANDOFF_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let (mut server, target) = (Server::start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("noop").await;
    let request = client.request(Method::POST, "/plugins?name=hook").body(guest("webhook"));
    client.send(request).await.expect(StatusCode::CREATED);
    let grant = json!({
        "config": {"url": format!("{}/hook", target.url())},
        "policy": {"allow_http": [target.url()]},
    });
    let request = client.request(Method::PATCH, "/plugins/hook").json(&grant);
    assert_eq!(client.send(request).await.expect(StatusCode::OK)["enabled"], true);

    let mut acknowledged = BTreeSet::new();
    for _ in 0..kills {
        let client = server.client();
        for _ in 0..RUNS {
            acknowledged.insert(client.submit("noop", &json!({})).await);
        }
        let life = Duration::from_millis(rand::rng().random_range(0..LONGEST_LIFE_MS));
        // Nothing is waited for: the moment is to be any.
        _ = tokio::time::timeout(life, std::future::pending::<()>()).await;
        server = server.restart().await;
    }
    let client = server.client();
    for run in &acknowledged {
        client.finished(run).await;
    }
    let wait = async {
        loop {
            let told = client.list("/plugins/hook/deliveries").await;
            let done = told.iter().filter(|delivery| delivery["status"] == "delivered");
            let runs: BTreeSet<_> = done.map(|it| it["run"].as_str().unwrap().to_owned()).collect();
            if acknowledged.is_subset(&runs) {
                return told;
            }
        }
    };
    let told = patiently("each end is told", wait).await;
    assert_eq!(told.len(), acknowledged.len(), "one delivery for each run");

    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let numbers: BTreeMap<_, _> =
        told.iter().map(|it| (text(&it["event_id"]), it["number"].as_u64().unwrap())).collect();
    let (mut first, mut known) = (Vec::new(), BTreeSet::new());
    for seen in target.seen() {
        let id = seen.headers["webhook-id"].clone();
        if known.insert(id.clone()) {
            first.push(numbers[&id]);
        }
    }
    assert_eq!(first.len(), told.len(), "each was heard");
    assert!(first.is_sorted(), "heard in order: {first:?}");
}
