//! Suites that run by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handoff_tests::{Client, Handoff, Server, Settings, Target, patiently};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// How often the server is killed while schedules are due.
const KILLS: usize = 12;
/// How long it lives at most between its start and its death: two times come meanwhile.
const LONGEST_LIFE_MS: u64 = 2_500;

/// A server with the suite `steps`, which tells the target of each test.
async fn stage() -> (Server, Target) {
    let (server, target) = (Server::start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("steps").await;
    let policy = json!({"allow_http": [target.url()], "config": {"target": target.url()}});
    client.set_policy("steps", &policy).await;
    (server, target)
}

fn every_second(name: &str) -> Value {
    json!({
        "name": name, "suite": {"namespace": "default", "name": "steps"}, "cron": "@every 1s",
        "overlap": "allow", "filter": "step-1", "params": {"run": name}, "reference": name,
    })
}

/// Until the setup of so many runs was seen.
async fn runs_seen(target: &Target, name: &str, runs: usize) {
    let begun = |seen: &[handoff_tests::Seen]| {
        let setups =
            seen.iter().filter(|it| it.query["test"] == "setup" && it.query["run"] == name);
        setups.count() >= runs
    };
    target.wait_for(&format!("{runs} runs of {name}"), begun).await;
}

async fn history(client: &Client, name: &str) -> Vec<Value> {
    client.list(&format!("/schedules/{name}/history")).await
}

/// What asks beyond a bound is refused and counted; what asked before the bound was made smaller is shown as
/// broken, and nobody who looks at it counts.
#[tokio::test]
async fn a_schedule_beyond_a_bound_is_refused_and_one_from_before_is_broken() {
    let server = Server::start().await;
    server.client().upload_guest("noop").await;
    let asked = |name: &str| json!({"name": name, "suite": "default/noop", "cron": "@daily", "max_attempts": 5});
    server.client().post("/schedules", &asked("a")).await.expect(StatusCode::CREATED);
    let smaller = Settings::default().flag("runner-bounds-max-attempts", 2);
    let server = server.restart_with(smaller).await;
    let client = server.client();
    let hits = async || {
        let metrics = client.get("/metrics").await.body;
        let text = metrics.as_str().unwrap().to_owned();
        let line = text.lines().find(|line| line.contains("limit=\"runner_bounds_max_attempts\""));
        line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
    };
    for _ in 0..2 {
        let shown = client.json("/schedules/a").await;
        assert!(shown.to_string().contains("max_attempts is 5"), "{shown:#}");
    }
    assert_eq!(hits().await, None);
    assert!(
        client.post("/schedules", &asked("b")).await.problem(422).contains("max_attempts is 5")
    );
    assert_eq!(hits().await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_schedule_runs_its_suite_and_keeps_what_became_of_each_time() {
    let (server, target) = stage().await;
    let client = server.client();
    let made = client.post("/schedules", &every_second("often")).await.expect(StatusCode::CREATED);
    assert_eq!(made["status"], "active", "{made:#}");
    assert_eq!(made["next"].as_array().unwrap().len(), 5, "{made:#}");
    assert_eq!(made["in_words"], "Every 1s.");
    let again = client.post("/schedules", &every_second("often")).await.expect(StatusCode::OK);
    assert_eq!(again["created_at"], made["created_at"]);
    let keyed = async |name: &str| {
        let request = client.request(Method::POST, "/schedules").header("idempotency-key", "make");
        let mut body = every_second(name);
        body["paused"] = json!(true);
        client.send(request.json(&body)).await
    };
    let first = keyed("keyed").await.expect(StatusCode::CREATED);
    assert_eq!(keyed("keyed").await.expect(StatusCode::CREATED)["created_at"], first["created_at"]);
    assert!(keyed("other").await.problem(422).contains("Idempotency-Key"));

    runs_seen(&target, "often", 2).await;
    let paused =
        client.post("/schedules/often/pause", &json!({"by": "me", "reason": "enough"})).await;
    let paused = paused.expect(StatusCode::OK);
    assert_eq!((&paused["status"], &paused["next"]), (&json!("paused"), &json!([])));
    assert!(paused["reason"].as_str().unwrap().ends_with("by me: enough"), "{paused:#}");

    let rows = history(&client, "often").await;
    assert!(rows.len() >= 2, "{rows:#?}");
    for row in &rows {
        assert_eq!(row["outcome"], "started", "{row:#}");
        let run = client.finished(row["run"].as_str().unwrap()).await;
        assert_eq!((&run["status"], &run["reference"]), (&json!("passed"), &json!("often")));
        assert_eq!(run["initiated_by"], "schedule often");
    }
    let metrics = client.get("/metrics").await.body;
    let metrics = metrics.as_str().unwrap();
    let started = format!("handoff_schedule_times_total{{outcome=\"started\"}} {}", rows.len());
    assert!(metrics.contains(&started), "no {started:?} in {metrics}");
    assert!(metrics.contains("handoff_schedule_lag_seconds_count"), "{metrics}");

    let trigger = async |by: &str| {
        let request = client.request(Method::POST, "/schedules/often/trigger");
        client.send(request.header("idempotency-key", "once").json(&json!({"by": by}))).await
    };
    let run = trigger("me").await.expect(StatusCode::ACCEPTED);
    assert_eq!(trigger("me").await.expect(StatusCode::ACCEPTED)["id"], run["id"]);
    assert!(trigger("you").await.problem(422).contains("Idempotency-Key"));
    let row = history(&client, "often").await.remove(0);
    assert_eq!((&row["outcome"], &row["run"]), (&json!("triggered"), &run["id"]));
    let resumed = client.post("/schedules/often/resume", &json!({})).await.expect(StatusCode::OK);
    assert_eq!(resumed["status"], "active");
    runs_seen(&target, "often", rows.len() + 2).await;
    client.delete("/schedules/often").await.expect(StatusCode::NO_CONTENT);
    client.get("/schedules/often").await.problem(404);
    client.get("/schedules/often/history").await.problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_server_is_killed_no_time_starts_two_runs() {
    let (mut server, target) = stage().await;
    let names: Vec<String> = (1..=5).map(|n| format!("kill-{n}")).collect();
    for name in &names {
        let mut body = every_second(name);
        body["catch_up"] = json!({"mode": "all", "at_most": 5});
        server.client().post("/schedules", &body).await.expect(StatusCode::CREATED);
    }
    for kill in 1..=KILLS {
        let life = Duration::from_millis(rand::random_range(0..LONGEST_LIFE_MS));
        let gone = tokio::time::timeout(life, server.ended()).await;
        assert!(gone.is_err(), "the server ended by itself: {gone:?}");
        server.kill9().await;
        server = server.restart().await;
        eprintln!("kill {kill} of {KILLS}: {} requests seen", target.seen_count());
    }
    let client = server.client();
    for name in &names {
        client.post(&format!("/schedules/{name}/pause"), &json!({})).await.expect(StatusCode::OK);
        let rows = history(&client, name).await;
        let times: BTreeSet<_> = rows.iter().map(|row| row["due_at"].as_str().unwrap()).collect();
        assert_eq!(times.len(), rows.len(), "a time has two rows: {rows:#?}");
        let told: BTreeSet<_> = rows.iter().filter_map(|row| row["run"].as_str()).collect();
        let runs = client.list(&format!("/runs?reference={name}")).await;
        let stored: BTreeSet<_> = runs.iter().map(|run| run["id"].as_str().unwrap()).collect();
        assert_eq!(stored, told, "each run has its time, and each time its run");
        assert!(!stored.is_empty(), "{name} never ran");
        for run in stored {
            let status = client.finished(run).await["status"].clone();
            assert!(["passed", "error"].contains(&status.as_str().unwrap()), "{status}");
        }
        // No time between the first and the last is without a row.
        let first_and_last = (times.first().unwrap(), times.last().unwrap());
        let [first, last] = [first_and_last.0, first_and_last.1]
            .map(|time| time.parse::<jiff::Timestamp>().unwrap());
        let seconds = last.duration_since(first).as_secs();
        assert_eq!(rows.len() as i64, seconds + 1, "{name}: {rows:#?}");
    }
}

#[tokio::test]
async fn a_schedule_of_a_suite_that_is_gone_is_broken_and_does_not_spin() {
    let (server, target) = stage().await;
    let client = server.client();
    client.post("/schedules", &every_second("lost")).await.expect(StatusCode::CREATED);
    runs_seen(&target, "lost", 1).await;
    client.delete("/suites/default/steps").await.expect(StatusCode::NO_CONTENT);
    let failed = patiently("a time fails", async {
        loop {
            let rows = history(&client, "lost").await;
            if rows[0]["outcome"] == "failed" {
                return rows;
            }
        }
    })
    .await;
    assert!(failed[0]["reason"].as_str().unwrap().contains("there is no suite"), "{failed:#?}");
    let broken = client.json("/schedules/lost").await;
    assert_eq!(broken["status"], "broken", "{broken:#}");
    assert!(broken["reason"].as_str().unwrap().contains("upload it"), "{broken:#}");
    // One row for each second.
    let mut each_second = BTreeMap::new();
    for row in &failed {
        *each_second.entry(row["due_at"].as_str().unwrap()).or_insert(0) += 1;
    }
    assert!(each_second.values().all(|rows| *rows == 1), "{failed:#?}");
}

#[tokio::test]
async fn what_cannot_be_scheduled_is_refused_with_the_reason() {
    let server = Server::start().await;
    let client = server.client();
    let wrong = async |field: &str, value: Value| {
        let mut body = every_second("wrong");
        body[field] = value;
        client.post("/schedules", &body).await.problem(422)
    };
    assert!(wrong("cron", json!("61 * * * *")).await.contains("the minute field"));
    assert!(wrong("cron", json!("* * * * * * * *")).await.contains("has 8 fields"));
    assert!(wrong("cron", json!("0 0 30 2 *")).await.contains("never due"));
    assert!(wrong("timezone", json!("Europe/Berln")).await.contains("Europe/Berlin"));
    assert!(wrong("jitter_ms", json!(u64::MAX)).await.contains("scheduler.max_jitter_ms"));
    for (field, value) in [
        ("colour", json!("red")),
        ("overlap", json!("sometimes")),
        ("suite", json!(7)),
        ("name", json!("No Name")),
        ("catch_up", json!({"mode": "all", "most": 1})),
    ] {
        let mut body = every_second("wrong");
        body[field] = value;
        let answer = client.post("/schedules", &body).await;
        assert!(answer.status.is_client_error(), "{field}: {}", answer.status);
    }
    assert_eq!(client.list("/schedules").await, Vec::<Value>::new());

    client.post("/schedules", &every_second("one")).await.expect(StatusCode::CREATED);
    let mut other = every_second("one");
    other["cron"] = json!("@hourly");
    assert!(
        client.post("/schedules", &other).await.problem(409).contains("there is a schedule one")
    );
    let patch = async |patch: Value| {
        let request = client.request(Method::PATCH, "/schedules/one").json(&patch);
        client.send(request).await
    };
    let changed = patch(json!({"cron": "0 9 * * MON-FRI", "reference": null})).await;
    let changed = changed.expect(StatusCode::OK);
    assert_eq!(
        (&changed["cron"], &changed["reference"]),
        (&json!("0 9 * * MON-FRI"), &json!(null))
    );
    assert!(patch(json!({"cron": "x"})).await.problem(422).contains("cron expression"));
    assert!(patch(json!({"name": "two"})).await.problem(422).contains("keeps its name"));
    assert_eq!(client.json("/schedules/one").await["cron"], "0 9 * * MON-FRI");
}

#[tokio::test]
async fn a_schedules_runs_are_what_it_asks_for() {
    let server = Server::start().await;
    let client = server.client();
    let outcomes = handoff_tests::guest("outcomes");
    let older = client.upload(outcomes.clone()).await["suite"]["version"].clone();
    // The same with an empty section of a name of its own, which is another version.
    let newer = client.upload([outcomes, vec![0, 2, 1, b'x']].concat()).await;
    assert_ne!(newer["suite"]["version"], older);
    let asked = json!({
        "version": older, "filter": "isolated", "tags": ["isolation"], "params": {"stage": "live"},
        "reference": "v1.2", "initiated_by": "nightly", "timeout_ms": 50_000,
        "test_timeout_ms": 20_000, "max_attempts": 2, "parallelism": 2, "shuffle_seed": 7, "repeat": 2,
        "retry_wait": {"kind": "fixed", "wait_ms": 1},
    });
    let mut body = asked.clone();
    body["name"] = json!("all");
    body["suite"] = json!("fixtures/outcomes");
    body["cron"] = json!("@yearly");
    let made = client.post("/schedules", &body).await.expect(StatusCode::CREATED);
    for (field, value) in asked.as_object().unwrap() {
        let expected = match field.as_str() {
            "tags" => &json!({"include": ["isolation"], "exclude": []}),
            _ => value,
        };
        assert_eq!(&made[field], expected, "{field}");
    }
    let run = client.post("/schedules/all/trigger", &json!({})).await.expect(StatusCode::ACCEPTED);
    let run = client.finished(run["id"].as_str().unwrap()).await;
    assert_eq!((&run["status"], &run["suite"]["version"]), (&json!("passed"), &older), "{run:#}");
    let same = [
        "filter",
        "params",
        "reference",
        "initiated_by",
        "timeout_ms",
        "parallelism",
        "shuffle_seed",
    ];
    for field in same {
        assert_eq!(run[field], asked[field], "{field}");
    }
    let tests = run["tests"].as_array().unwrap();
    let tried: Vec<_> = tests.iter().filter(|test| test["status"] == "passed").collect();
    assert_eq!(tried.len(), 2, "{run:#}");
    assert!(tried.iter().all(|test| test["attempts_total"] == 2), "two rounds: {run:#}");

    client.upload_guest("flaky").await;
    let flaky = |name: &str, attempts: u32| {
        json!({
            "name": name, "suite": "flaky", "cron": "@yearly", "filter": "^assertion$",
            "params": {"failures": "1"}, "max_attempts": attempts,
        })
    };
    for (name, attempts, status) in [("once", 1, "failed"), ("twice", 2, "passed")] {
        client.post("/schedules", &flaky(name, attempts)).await.expect(StatusCode::CREATED);
        let path = format!("/schedules/{name}/trigger");
        let run = client.post(&path, &json!({})).await.expect(StatusCode::ACCEPTED);
        let run = client.finished(run["id"].as_str().unwrap()).await;
        assert_eq!(run["status"], status, "{run:#}");
    }
}

#[tokio::test]
async fn schedules_of_the_configuration_file_are_changed_there_alone() {
    let (server, target) = stage().await;
    let file = server.home().join("handoff.toml");
    let declare = |cron: &str| {
        let text = format!(
            "[[schedules]]\nname = \"declared\"\nsuite = \"steps\"\ncron = \"{cron}\"\n\
             params.run = \"declared\"\nfilter = \"step-1\"\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    declare("@every 1s");
    let server = server.restart().await;
    let client = server.client();
    runs_seen(&target, "declared", 1).await;
    assert_eq!(client.json("/schedules/declared").await["declared"], true);
    let told = client.delete("/schedules/declared").await.problem(409);
    assert!(told.contains("the server's configuration declares"), "{told}");
    client.post("/schedules/declared/pause", &json!({})).await.problem(409);
    let other = client.post("/schedules", &every_second("other")).await;
    other.expect(StatusCode::CREATED);

    declare("@hourly");
    let server = server.restart().await;
    assert_eq!(server.client().json("/schedules/declared").await["cron"], "@hourly");
    declare("61 * * * *");
    let mut server = server;
    server.kill9().await;
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let told = Handoff::new(&serve).directory(server.home()).run().await.failure(102);
    assert!(told.contains("the minute field"), "{told}");
    std::fs::write(&file, "").unwrap();
    let server = server.restart().await;
    let names: Vec<_> = server.client().list("/schedules").await;
    assert_eq!(names.iter().map(|it| &it["name"]).collect::<Vec<_>>(), [&json!("other")]);
}

#[tokio::test]
async fn schedules_are_kept_on_the_command_line() {
    let (server, target) = stage().await;
    let handoff = async |arguments: &[&str]| {
        let arguments: Vec<_> = ["schedules"].iter().chain(arguments).copied().collect();
        Handoff::new(&arguments).variable("HANDOFF_SERVER", server.url()).run().await
    };
    let made = handoff(&[
        "create",
        "cli",
        "steps",
        "step-1",
        "--cron",
        "@every 1s",
        "--param",
        "run=cli",
        "--overlap",
        "allow",
    ]);
    let told = made.await.expect(0);
    assert!(told.contains("cli runs default/steps") && told.contains("next"), "{told}");
    runs_seen(&target, "cli", 1).await;
    let told = handoff(&["pause", "cli", "--reason", "enough"]).await.expect(0);
    assert!(told.contains("paused") && told.contains("enough"), "{told}");
    assert!(handoff(&["list"]).await.expect(0).contains("@every 1s"));
    assert!(handoff(&["history", "cli"]).await.expect(0).contains("started"));
    let told =
        handoff(&["change", "cli", "--cron", "0 9 * * MON-FRI", "--timezone", "Europe/Berlin"])
            .await;
    assert!(told.expect(0).contains("Europe/Berlin"));
    assert!(handoff(&["change", "cli"]).await.failure(2).contains("say what to change"));
    assert!(
        handoff(&["change", "cli", "--cron", "0 25 * * *"])
            .await
            .failure(2)
            .contains("the hour field")
    );
    let run = handoff(&["trigger", "cli"]).await.expect(0);
    assert_eq!(server.client().finished(run.trim()).await["status"], "passed");
    assert!(handoff(&["resume", "cli"]).await.expect(0).contains("active"));
    handoff(&["delete", "cli"]).await.expect(0);
    assert!(handoff(&["show", "cli"]).await.failure(2).contains("there is no schedule cli"));
}
