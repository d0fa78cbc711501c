//! The server is killed at random moments under load, again and again, and started again each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use handoff_tests::{
    Client, Event, Events, RunId, Seen, Server, Settings, Target, guest, patiently, salted,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::history::{History, by_run, who};

/// How often the server is killed; `HANDOFF_KILLS` asks for more.
const KILLS: u64 = 50;
/// How long it lives at most between its start and its death.
const LONGEST_LIFE_MS: u64 = 400;
/// In every so many lives an upload is acknowledged before the random moment is chosen: it takes
/// longer than most of them last.
const UPLOAD_EACH: u64 = 10;
/// How many clients ask for runs; more than may run at the same time, so that some wait in the queue.
const CLIENTS: usize = 6;
const CONCURRENT_RUNS: usize = 3;

/// What the server acknowledged and what it told.
#[derive(Default)]
struct Ledger {
    runs: BTreeMap<RunId, Acknowledged>,
    /// Keys of requests that got no answer.
    unanswered: BTreeSet<String>,
    versions: BTreeSet<String>,
    asked: u64,
}

struct Acknowledged {
    key: String,
    heard: Vec<Heard>,
}

/// An event, and how many requests the tested system had got when it was heard.
struct Heard {
    event: Event,
    seen: usize,
}

type Shared = Arc<Mutex<Ledger>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_server_is_killed_nothing_acknowledged_is_lost_and_nothing_finished_runs_again()
 {
    let kills = std::env::var("HANDOFF_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let target = Arc::new(Target::start().await);
    let settings = Settings::default().flag("runner-concurrent-runs", CONCURRENT_RUNS);
    let mut server = settings.start().await;
    server.client().upload_guest("steps").await;
    let policy = json!({"allow_http": [target.url()], "config": {"target": target.url()}});
    server.client().set_policy("steps", &policy).await;

    let ledger = Shared::default();
    for kill in 1..=kills {
        let until_an_upload = kill % UPLOAD_EACH == 0;
        live_and_die(&mut server, &target, &ledger, until_an_upload).await;
        server = server.restart().await;
        nothing_acknowledged_is_missing(&server.client(), &ledger).await;
        ask_again(&server.client(), &ledger).await;
        let runs = ledger.lock().unwrap().runs.len();
        eprintln!("kill {kill} of {kills}: {runs} runs acknowledged so far");
    }
    every_run_ends_well(&server.client(), &target, &ledger).await;
}

/// Puts the server under load and kills it at a random moment.
async fn live_and_die(
    server: &mut Server,
    target: &Arc<Target>,
    ledger: &Shared,
    until_an_upload: bool,
) {
    let mut load = JoinSet::new();
    for _ in 0..CLIENTS {
        load.spawn(ask_for_runs(server.client(), Arc::clone(target), Arc::clone(ledger)));
    }
    let uploaded = Arc::new(Notify::new());
    load.spawn(upload_versions(server.client(), Arc::clone(ledger), Arc::clone(&uploaded)));
    if until_an_upload {
        patiently("an upload is acknowledged", uploaded.notified()).await;
    }

    let life = Duration::from_millis(rand::random_range(0..LONGEST_LIFE_MS));
    let early = tokio::time::timeout(life, load.join_next()).await;
    assert!(early.is_err(), "a client gave up while the server was alive: {early:?}");
    server.kill9().await;
    patiently("the clients notice", async {
        while let Some(client) = load.join_next().await {
            client.expect("a client met nothing but the server's death");
        }
    })
    .await;
}

/// Asks for one run after the other and follows each, until the server dies.
async fn ask_for_runs(client: Client, target: Arc<Target>, ledger: Shared) {
    loop {
        let key = new_key(&ledger);
        let Some(run) = ask(&client, &key).await else { return };
        let acknowledged = Acknowledged { key: key.clone(), heard: Vec::new() };
        {
            let mut ledger = ledger.lock().unwrap();
            ledger.unanswered.remove(&key);
            ledger.runs.insert(run.clone(), acknowledged);
        }
        let Ok(answer) = client.events_request(&run, 0).send().await else { return };
        let mut events = Events::new(answer);
        let mut ended = false;
        while let Some(event) = events.next().await {
            ended = event.name == "run_finished";
            let heard = Heard { event, seen: target.seen_count() };
            ledger.lock().unwrap().runs.get_mut(&run).unwrap().heard.push(heard);
        }
        if !ended {
            return;
        }
    }
}

/// A key that was not used before, noted as not answered.
fn new_key(ledger: &Shared) -> String {
    let mut ledger = ledger.lock().unwrap();
    ledger.asked += 1;
    let key = format!("key-{}", ledger.asked);
    ledger.unanswered.insert(key.clone());
    key
}

/// Asks for a run; none if no answer came.
async fn ask(client: &Client, key: &str) -> Option<RunId> {
    let request = json!({"reference": key, "params": {"run": key}});
    let request = client.run_request("steps", &request).header("idempotency-key", key);
    let answer = client.try_send(request).await.ok()?;
    let run = answer.expect(StatusCode::ACCEPTED);
    Some(run["id"].as_str().unwrap().to_owned())
}

/// Uploads one new version after the other, until the server dies.
async fn upload_versions(client: Client, ledger: Shared, uploaded: Arc<Notify>) {
    let component = guest("steps");
    loop {
        let upload = client.upload_request(salted(&component, rand::random()));
        let upload = upload.query(&[("namespace", "uploads")]);
        let Ok(answer) = client.try_send(upload).await else { return };
        let version = answer.expect(StatusCode::CREATED)["suite"]["version"].take();
        ledger.lock().unwrap().versions.insert(version.as_str().unwrap().to_owned());
        uploaded.notify_one();
    }
}

/// What was acknowledged is there right after the restart.
async fn nothing_acknowledged_is_missing(client: &Client, ledger: &Shared) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let runs = client.list("/runs?suite=default/steps&limit=100").await;
    let runs: BTreeSet<_> = runs.iter().map(|run| text(&run["id"])).collect();
    let versions = client.get("/suites/uploads/steps").await;
    let versions: BTreeSet<_> = match versions.status {
        // It may have died before the first upload.
        StatusCode::NOT_FOUND => BTreeSet::new(),
        _ => client
            .list("/suites/uploads/steps/versions?limit=100")
            .await
            .iter()
            .map(|version| text(&version["suite"]["version"]))
            .collect(),
    };
    let ledger = ledger.lock().unwrap();
    let lost: Vec<_> = ledger.runs.keys().filter(|run| !runs.contains(*run)).collect();
    assert!(lost.is_empty(), "acknowledged runs are lost: {lost:?}");
    let lost: Vec<_> = ledger.versions.difference(&versions).collect();
    assert!(lost.is_empty(), "acknowledged uploads are lost: {lost:?}");
}

/// Repeats the requests that got no answer, as a client with an idempotency key would.
async fn ask_again(client: &Client, ledger: &Shared) {
    let unanswered = std::mem::take(&mut ledger.lock().unwrap().unanswered);
    for key in unanswered {
        let run = ask(client, &key).await.expect("the server is alive");
        ledger.lock().unwrap().runs.insert(run, Acknowledged { key, heard: Vec::new() });
    }
}

/// Every run reaches its end, with a history that keeps to the rules.
async fn every_run_ends_well(client: &Client, target: &Target, ledger: &Shared) {
    let ledger = std::mem::take(&mut *ledger.lock().unwrap());
    let mut histories = Vec::new();
    for (run, acknowledged) in &ledger.runs {
        let events = patiently("the run ends", async { client.events(run, 0).await.rest().await });
        histories.push((run, acknowledged, events.await));
    }
    let seen = target.seen();
    let seen = by_run(&seen);
    let mut lost = 0;
    for (run, acknowledged, events) in &histories {
        let history = History::of_ended_run(events);
        history.tells_what_was_heard(acknowledged.heard.iter().map(|heard| &heard.event));
        let seen = seen.get(acknowledged.key.as_str()).map_or(&[][..], Vec::as_slice);
        history
            .records_what_was_seen(&seen.iter().map(|(_, request)| *request).collect::<Vec<_>>());
        what_was_heard_as_passed_did_not_run_again(&acknowledged.heard, seen);
        assert_eq!(history.status(), "passed", "run {run}: {events:#?}");
        lost += history.lost();
    }
    one_run_for_each_key(client, &ledger).await;
    each_result_counts_once(client, &ledger).await;
    eprintln!("{} runs, {lost} attempts cut short", ledger.runs.len());
    assert!(lost > 0, "no kill met a running attempt: the test shows nothing");
    assert!(!ledger.versions.is_empty(), "no upload was acknowledged: the test shows nothing");
}

/// The tested system got no further request of an attempt after somebody heard that it passed.
fn what_was_heard_as_passed_did_not_run_again(heard: &[Heard], seen: &[(usize, &Seen)]) {
    let is_passed = |event: &Event| event.data["attempt"]["status"] == "passed";
    for heard in heard.iter().filter(|heard| is_passed(&heard.event)) {
        let who = who(&heard.event.attempt().unwrap());
        let again = seen.iter().find(|(at, r)| *at >= heard.seen && r.query["test"] == who);
        assert!(again.is_none(), "{who} ran again: {:?}, then {again:?}", heard.event);
    }
}

/// A request that was repeated after a kill made one run, not two.
async fn one_run_for_each_key(client: &Client, ledger: &Ledger) {
    let runs = client.list("/runs?suite=default/steps&limit=100").await;
    let mut by_key = BTreeMap::<&str, usize>::new();
    for run in &runs {
        *by_key.entry(run["reference"].as_str().unwrap()).or_default() += 1;
    }
    let twice: Vec<_> = by_key.iter().filter(|(_, runs)| **runs > 1).collect();
    assert!(twice.is_empty(), "one key made several runs: {twice:?}");
    assert_eq!(runs.len(), ledger.runs.len(), "a run that nobody asked for");
}

/// Each run, and each test of it, is one result.
async fn each_result_counts_once(client: &Client, ledger: &Ledger) {
    let runs = json!({"runs": ledger.runs.len(), "failed": 0, "retried": 0});
    let suite = client.json("/suites/default/steps/statistics").await;
    assert_eq!(suite["totals"], runs);
    let tests = client.list("/suites/default/steps/statistics/tests").await;
    assert!(!tests.is_empty());
    for test in tests {
        assert_eq!(test["totals"], runs, "{test:#}");
    }
}
