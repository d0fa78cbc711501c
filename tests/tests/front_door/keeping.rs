//! What is kept and what is forgotten, and stores that older versions wrote.

use std::path::Path;

use handoff_tests::{Client, Handoff, Server, Settings, patiently};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::results::{assert_says, attempt, metric, only, run_of, text};

const OUTCOMES: &str = "fixtures/outcomes";

/// Runs one test of the suite, and gives the path of the run.
async fn run(client: &Client, test: &str) -> String {
    let run = run_of(client, OUTCOMES, &only(test)).await;
    format!("/runs/{}", text(&run["id"]))
}

/// Waits until a run is forgotten.
async fn wait_until_gone(client: &Client, path: &str) {
    let gone = async {
        while client.get(path).await.status != StatusCode::NOT_FOUND {
            tokio::task::yield_now().await;
        }
    };
    patiently("the run is forgotten", gone).await;
}

/// Goes through all suites once, to the end.
pub(crate) async fn forget(client: &Client) -> Value {
    let before = client.json("/retention").await["last_round"]["started_at"].clone();
    client.post("/retention", &json!({})).await.expect(StatusCode::ACCEPTED);
    let ended = async {
        loop {
            let now = client.json("/retention").await;
            let round = &now["last_round"];
            if round["started_at"] != before && round["finished_at"].is_string() {
                return now;
            }
            tokio::task::yield_now().await;
        }
    };
    patiently("a round ends", ended).await
}

/// Every file below a directory.
fn files_below(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|it| if it.path().is_dir() { files_below(&it.path()) } else { 1 }).sum()
}

#[tokio::test]
async fn runs_too_many_go_with_their_files_and_pinned_ones_and_the_last_of_each_kind_stay() {
    let settings = Settings::default().flag("retention-runs", 2).flag("retention-pins", 1);
    let server = settings.flag("retention-pause-ms", 0).start().await;
    let client = server.client();
    client.upload_guest("outcomes").await;
    let pinned = run(&client, "keeps_files").await;
    let same_files = run(&client, "keeps_files").await;
    let failed = run(&client, "fails_by_assertion").await;
    let passed = run(&client, "passes").await;
    let newest = [run(&client, "passes").await, run(&client, "passes").await];

    let pin = json!({"by": "somebody", "reason": "to be looked at"});
    let answer = client.put(&format!("{pinned}/pin"), &pin).await.expect(StatusCode::OK);
    assert_eq!((&answer["by"], &answer["reason"]), (&pin["by"], &pin["reason"]));
    assert_eq!(client.json(&pinned).await["pinned"], answer);
    let listed = client.list("/runs").await;
    assert_eq!(listed.last().unwrap()["pinned"], answer);
    let refused = client.put(&format!("{failed}/pin"), &json!({})).await.problem(409);
    assert_says(&refused, &["1 runs are pinned", "retention.pins"]);
    let hits = "handoff_limit_hits_total{limit=\"retention_pins\"}";
    assert_eq!(metric(&client, hits).await, 1);
    client.delete("/runs/01010101-0101-7101-8101-010101010101/pin").await.problem(404);
    let long = json!({"reason": "x".repeat(2_000)});
    client.put(&format!("{pinned}/pin"), &long).await.problem(422);

    let round = forget(&client).await;
    assert_eq!(round["forgotten"]["runs"], 2, "{round:#}");
    assert_eq!(round["pinned_runs"], 1);
    assert!(round["disk"]["artifacts_bytes"].as_u64().unwrap() > 0, "{round:#}");
    for gone in [&same_files, &passed] {
        for path in [gone.clone(), format!("{gone}/logs"), format!("{gone}/artifacts")] {
            client.get(&path).await.problem(404);
        }
    }
    for kept in [&pinned, &failed, &newest[0], &newest[1]] {
        client.json(kept).await;
    }
    // The files are the pinned run's too.
    client.get(&format!("{pinned}/artifacts/2")).await.expect(StatusCode::OK);
    assert_eq!(metric(&client, "handoff_retention_runs_total").await, 2);
    assert!(metric(&client, "handoff_retention_bytes_total").await > 0);
    assert!(metric(&client, "handoff_storage_free_bytes").await > 0);

    client.delete(&format!("{pinned}/pin")).await.expect(StatusCode::NO_CONTENT);
    let round = forget(&client).await;
    assert_eq!(round["last_round"]["forgotten"]["runs"], 1, "{round:#}");
    assert_eq!(round["last_round"]["forgotten"]["files"], 3, "{round:#}");
    assert_eq!(files_below(&server.data().join("blobs")), 0);
    // The numbers go on.
    assert_eq!(run_of(&client, OUTCOMES, &only("passes")).await["number"], 7);
}

#[tokio::test]
async fn a_suite_says_how_long_its_runs_are_kept_on_the_command_line_too() {
    let server = Settings::default().flag("retention-age-ms", 1).start().await;
    let client = server.client();
    let handoff =
        |arguments: &[&str]| Handoff::new(arguments).variable("HANDOFF_SERVER", server.url()).run();
    client.upload_guest("outcomes").await;
    handoff(&["retention", "set", OUTCOMES, "--age", "0s"]).await.expect(0);
    let policy = client.json(&format!("/suites/{OUTCOMES}/policy")).await;
    assert_eq!(policy["keep"], json!({"age_ms": 0}));
    let first = run(&client, "passes").await;
    let second = run(&client, "passes").await;
    forget(&client).await;
    client.json(&first).await;

    handoff(&["pin", &format!("{OUTCOMES}#1"), "--reason", "why"]).await.expect(0);
    handoff(&["retention", "set", OUTCOMES, "--default"]).await.expect(0);
    forget(&client).await;
    assert_eq!(client.json(&first).await["pinned"]["reason"], "why");
    assert!(handoff(&["runs"]).await.expect(0).contains("(pinned)"));
    handoff(&["unpin", &format!("{OUTCOMES}#1")]).await.expect(0);
    handoff(&["retention", "now"]).await.expect(0);
    wait_until_gone(&client, &first).await;
    client.json(&second).await;
    let told = handoff(&["retention"]).await.expect(0);
    assert_says(&told, &["for 1ms after its end", "0 pinned", "artifacts", "free"]);
    let json: Value =
        serde_json::from_str(&handoff(&["retention", "-o", "json"]).await.expect(0)).unwrap();
    assert_eq!(json["forgotten"]["runs"], 1);

    let path = format!("/suites/{OUTCOMES}/policy");
    let refused = client.put(&path, &json!({"keep": {"age_ms": u64::MAX}})).await.problem(422);
    assert_says(&refused, &["keep.age_ms"]);
    let refused = client.put(&path, &json!({"keep": {"days": 1}})).await.problem(422);
    assert_says(&refused, &["days", "age_ms", "runs"]);
}

#[tokio::test]
async fn whenever_it_is_killed_while_it_forgets_what_is_listed_is_whole_and_the_rest_goes_later() {
    const RUNS: usize = 40;
    let mut server = Server::start().await;
    let client = server.client();
    client.upload_guest("outcomes").await;
    for _ in 0..RUNS {
        run(&client, "keeps_files").await;
    }
    let settings = Settings::default().flag("retention-runs", 1).flag("retention-step-runs", 1);
    let settings = settings.flag("retention-pause-ms", 0);
    for _ in 0..6 {
        server = server.restart_with(settings.clone()).await;
        let client = server.client();
        let (start, at) = (client.list("/runs").await.len(), rand::random_range(1..=8));
        let some_gone = async {
            while start > 1 && client.list("/runs").await.len() > start.saturating_sub(at).max(1) {
                tokio::task::yield_now().await;
            }
        };
        patiently("some are forgotten", some_gone).await;
        server.kill9().await;
        // Nothing is forgotten while it is looked at.
        server = server.restart_with(Settings::default()).await;
        let client = server.client();
        for listed in client.list("/runs").await {
            let path = format!("/runs/{}", text(&listed["id"]));
            let run = client.json(&path).await;
            assert_eq!(run["status"], "passed");
            assert_eq!(attempt(&run, "keeps_files")["status"], "passed", "{run:#}");
            client.get(&format!("{path}/artifacts/2")).await.expect(StatusCode::OK);
        }
    }
    let server = server.restart_with(settings).await;
    let client = server.client();
    forget(&client).await;
    assert_eq!(client.list("/runs").await.len(), 1);
    assert_eq!(files_below(&server.data().join("blobs")), 3);
}

/// A store as a server of format 1 left it: a suite with its policy, two runs with logs and files, a
/// schedule. It is never to be made anew.
const FORMAT_1: &[u8] = include_bytes!("stores/format-1.tar.zst");

/// A store as a server of format 2 left it: a suite with 70 runs of one test, of which every tenth failed, in
/// three references, and a muted test. It is never to be made anew.
const FORMAT_2: &[u8] = include_bytes!("stores/format-2.tar.zst");

/// A server with a store as an older version left it.
async fn server_of(store: &[u8], settings: Settings) -> Server {
    let mut server = Server::start().await;
    server.kill9().await;
    std::fs::remove_dir_all(server.data()).unwrap();
    let archive = zstd::stream::decode_all(store).unwrap();
    tar::Archive::new(archive.as_slice()).unpack(server.data()).unwrap();
    server.restart_with(settings).await
}

#[tokio::test]
async fn lists_of_a_store_of_format_2_are_the_same_whatever_is_asked_for() {
    let settings = Settings::default().flag("retention-age-ms", 0);
    let server = server_of(FORMAT_2, settings.clone()).await;
    let client = server.client();
    let numbers = async |query: &str| -> Vec<u64> {
        let runs = client.list(&format!("/runs?limit=11&{query}")).await;
        runs.iter().map(|run| run["number"].as_u64().unwrap()).collect()
    };
    let expected = |of: &dyn Fn(u64) -> bool| -> Vec<u64> {
        (1..=70).rev().filter(|number| of(*number)).collect()
    };
    for (query, of) in [
        ("", &(|_| true) as &dyn Fn(u64) -> bool),
        ("suite=flaky", &|_| true),
        ("status=failed", &|number| number % 10 == 0),
        ("status=passed&suite=flaky", &|number| number % 10 != 0),
        ("reference=r1", &|number| number % 3 == 1),
        ("reference=r2&status=failed&suite=default/flaky", &|number| number % 30 == 20),
    ] {
        assert_eq!(numbers(query).await, expected(of), "{query}");
    }
    let run = client.json("/suites/default/flaky/runs/65").await;
    assert_eq!((&run["number"], &run["reference"]), (&json!(65), &json!("r2")));
    let marks = client.list("/suites/default/flaky/marks").await;
    assert_eq!((marks.len(), &marks[0]["kind"]), (1, &json!("muted")));
    let statistics = client.json("/suites/default/flaky/tests/assertion/statistics").await;
    assert_eq!(statistics["totals"], json!({"runs": 70, "failed": 7, "retried": 9}));

    // What comes stands before what was there, and what was there goes as anything else.
    let new = client.run("flaky", &only("steady")).await;
    assert_eq!(new["number"], 71);
    assert_eq!(numbers("suite=flaky").await[..2], [71, 70]);
    let server = server.restart_with(settings.flag("retention-runs", 5)).await;
    let client = server.client();
    forget(&client).await;
    let numbers: Vec<_> = client.list("/runs?suite=flaky").await;
    let numbers: Vec<_> = numbers.iter().map(|run| run["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [71, 70, 69, 68, 67]);
    client.get("/suites/default/flaky/runs/65").await.problem(404);
}

#[tokio::test]
async fn a_store_that_an_older_version_wrote_is_read_and_goes_on() {
    let settings = Settings::default().flag("retention-age-ms", 0);
    let server = server_of(FORMAT_1, settings.clone()).await;
    let client = server.client();
    let runs = client.list("/runs").await;
    let found: Vec<_> = runs.iter().map(|run| (&run["number"], &run["status"])).collect();
    assert_eq!(found, [(&json!(2), &json!("passed")), (&json!(1), &json!("failed"))]);
    let path = format!("/runs/{}", text(&runs[1]["id"]));
    assert_eq!(client.list("/runs?reference=golden").await, runs[1..]);
    let log = client.get(&format!("{path}/logs")).await.expect(StatusCode::OK);
    assert_says(text(&log), &["ASSERTION FAILED ON PURPOSE"]);
    let file = client.get(&format!("{path}/artifacts/2")).await;
    assert_eq!(file.expect(StatusCode::OK), json!({"answer": 42}));
    let policy = client.json(&format!("/suites/{OUTCOMES}/policy")).await;
    assert_eq!(policy["allow_http"], json!(["https://example.com"]));
    assert_eq!(client.json("/schedules/nightly").await["status"], "paused");
    let run = run_of(&client, OUTCOMES, &only("passes")).await;
    assert_eq!((&run["status"], &run["number"]), (&json!("passed"), &json!(3)));

    // What it left is found by what this version looks for, so that it goes as anything else.
    let gone = path;
    client.delete(&format!("/suites/{OUTCOMES}")).await.expect(StatusCode::NO_CONTENT);
    let server = server.restart_with(settings.flag("retention-runs", 1)).await;
    wait_until_gone(&server.client(), &gone).await;
    forget(&server.client()).await;
    assert_eq!(files_below(&server.data().join("blobs")), 0);
}
