//! Moving a server: everything out, and back in.

use std::time::Duration;

use handoff_tests::{Client, Handoff, Server, Settings, guest};
use reqwest::{Method, StatusCode};
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};

use crate::keeping::forget;
use crate::results::{assert_says, metric, only, run_of, text};

const OUTCOMES: &str = "fixtures/outcomes";

/// A server with something of everything, of whose runs the first is forgotten.
async fn filled() -> Server {
    let server = Settings::default().flag("retention-pause-ms", 0).start().await;
    let client = server.client();
    for guest in ["outcomes", "ten", "flaky"] {
        client.upload_guest(guest).await;
    }
    let policy = json!({"config": {"a": "b"}, "keep": {"runs": 4}});
    let policy = client.put(&format!("/suites/{OUTCOMES}/policy"), &policy).await;
    policy.expect(StatusCode::OK);
    for test in ["passes", "keeps_files", "keeps_files", "fails_by_assertion", "sets_values"] {
        run_of(&client, OUTCOMES, &only(test)).await;
    }
    // Flaky, and two of them at the same time.
    let flaky = json!({"filter": "^assertion$", "reference": "main", "params": {"failures": "1"}});
    let both = tokio::join!(client.run("flaky", &flaky), client.run("flaky", &flaky));
    assert_eq!((&both.0["status"], &both.1["status"]), (&json!("passed"), &json!("passed")));
    forget(&client).await;
    let runs = client.list(&format!("/runs?suite={OUTCOMES}")).await;
    assert_eq!(runs.len(), 4, "one is forgotten, and its statistics stay");
    let pin = format!("/runs/{}/pin", text(&runs[1]["id"]));
    client.put(&pin, &json!({"reason": "why"})).await.expect(StatusCode::OK);
    let mark = json!({"kind": "muted", "reason": "known"});
    client.put("/suites/default/flaky/marks/steady", &mark).await.expect(StatusCode::OK);
    let schedule = json!({"name": "nightly", "suite": OUTCOMES, "cron": "0 2 1 1 *"});
    client.post("/schedules", &schedule).await.expect(StatusCode::CREATED);
    let trigger =
        json!({"name": "deployed", "suite": OUTCOMES, "sender": "github", "secret": "hunter3"});
    client.post("/triggers", &trigger).await.expect(StatusCode::CREATED);
    server
}

async fn export(client: &Client) -> String {
    text(&client.get("/export").await.expect(StatusCode::OK)).to_owned()
}

async fn import(client: &Client, lines: String) -> handoff_tests::Answer {
    client.send(client.request(Method::POST, "/import").body(lines)).await
}

/// What somebody sees of everything that an import could bring.
async fn all(client: &Client) -> Vec<Vec<Value>> {
    let mut found = Vec::new();
    for list in ["/runs", "/suites", "/schedules", "/triggers", "/statistics/flaky"] {
        found.push(client.list(list).await);
    }
    for suite in [OUTCOMES, "default/flaky"] {
        found.push(client.list(&format!("/suites/{suite}/statistics/tests")).await);
        found.push(client.list(&format!("/suites/{suite}/failures")).await);
        let statistics = client.get(&format!("/suites/{suite}/statistics")).await;
        found.extend((statistics.status == StatusCode::OK).then(|| vec![statistics.body]));
    }
    found
}

#[tokio::test]
async fn what_a_server_exports_another_imports_and_exports_the_same() {
    let (from, to) = (filled().await, Server::start().await);
    let (old, new) = (from.client(), to.client());
    let exported = export(&old).await;
    let answer = import(&new, exported.clone()).await.expect(StatusCode::OK);
    let expected = json!({
        "runs": 6, "runs_there": 0, "versions": 3, "schedules": 1, "triggers": 1, "plugins": 0,
        "missing_secrets": {"trigger deployed": ["secret"]},
    });
    assert_eq!(answer, expected);
    assert_eq!(all(&new).await, all(&old).await);
    assert_eq!(export(&new).await, exported);
    for run in old.list("/runs").await {
        for what in ["", "/logs", "/artifacts", "/report?format=junit"] {
            let path = format!("/runs/{}{what}", text(&run["id"]));
            assert_eq!(new.get(&path).await.body, old.get(&path).await.body, "{path}");
        }
    }
    let runs = new.list(&format!("/runs?suite={OUTCOMES}")).await;
    let path = format!("/runs/{}/artifacts/2", text(&runs[3]["id"]));
    assert_eq!(new.json(&path).await, json!({"answer": 42}));
    let test = "/suites/default/flaky/tests/assertion/statistics?window=1";
    assert_eq!(new.json(test).await, old.json(test).await);

    // The same again changes nothing, and the server goes on where the other was.
    let again = import(&new, exported).await.expect(StatusCode::OK);
    assert_eq!((&again["runs"], &again["runs_there"]), (&json!(0), &json!(6)));
    assert_eq!(all(&new).await, all(&old).await);
    let to = to.restart().await;
    assert_eq!(all(&to.client()).await, all(&old).await);
    assert_eq!(run_of(&to.client(), OUTCOMES, &only("passes")).await["number"], 6);
}

#[tokio::test]
async fn the_command_line_moves_a_server() {
    let (from, to) = (filled().await, Server::start().await);
    let directory = tempfile::tempdir().unwrap();
    let handoff = |server: &Server, arguments: &[&str]| {
        let command = Handoff::new(arguments).variable("HANDOFF_SERVER", server.url());
        command.directory(directory.path()).run()
    };
    let policy = json!({"secrets": {"token": "hunter2"}});
    let path = format!("/suites/{OUTCOMES}/policy");
    from.client().put(&path, &policy).await.expect(StatusCode::OK);
    handoff(&from, &["export", "all.ndjson"]).await.expect(0);
    let exported = std::fs::read_to_string(directory.path().join("all.ndjson")).unwrap();
    assert!(!exported.contains("hunter"), "a secret is in the export");
    assert!(!directory.path().join("all.ndjson.part").exists());
    let told = handoff(&to, &["import", "all.ndjson"]).await.expect(0);
    assert_says(
        &told,
        &[
            "imported 6 runs, 3 versions, 1 schedule, 1 trigger and 0 plugins",
            "fixtures/outcomes: token",
            "trigger deployed: secret",
        ],
    );
    assert_eq!(all(&to.client()).await, all(&from.client()).await);
    let refused = handoff(&to, &["import", "/dev/null"]).await.failure(2);
    assert_says(&refused, &["cut off", "nothing was imported"]);
}

#[tokio::test]
async fn what_is_no_whole_export_is_refused_with_the_reason_and_leaves_nothing() {
    let (from, to) = (filled().await, Server::start().await);
    let exported = export(&from.client()).await;
    let client = to.client();
    let before = all(&client).await;
    let lines: Vec<&str> = exported.split_inclusive('\n').collect();
    let cut = |at: usize| lines[..at].concat();
    let newer = lines[0].replace("\"format\":1", "\"format\":2");
    let damaged = exported.replacen("{\"data\":\"AGFz", "{\"data\":\"BGFz", 1);
    let lost = [&lines[..1], &lines[lines.len() - 1..]].concat().concat();
    let event = lines.iter().position(|line| line.starts_with("{\"event\":")).unwrap();
    let gap = [&lines[..event], &lines[event + 1..]].concat().concat();
    for (wrong, says) in [
        (String::new(), "cut off"),
        ("hello\n".to_owned(), "line 1 is none of an export"),
        ("{}\n".to_owned(), "line 1 is none of an export"),
        (lines[1..].concat(), "the first line"),
        (cut(1), "cut off"),
        (cut(lines.len() / 2), "cut off"),
        (cut(lines.len() - 1), "behind line"),
        (exported[..exported.len() - 10].to_owned(), "cut off"),
        (newer, "format 2"),
        (
            "{\"handoff_export\":{\"format\":9,\"by\":\"handoff 9\",\"x\":1}}\n".to_owned(),
            "handoff 9",
        ),
        (damaged, "is damaged"),
        (lost, "something is lost"),
        (gap, "that is not number 1"),
        (exported.clone() + lines[0], "follows the end"),
    ] {
        let refused = import(&client, wrong).await.problem(422);
        assert_says(&refused, &[says, "nothing was imported"]);
        assert_eq!(all(&client).await, before, "{says}");
    }
    for left in ["import", "import-whole"] {
        assert!(!to.data().join(left).exists(), "{left}");
    }

    // A run of its own has a number that one of these has.
    client.upload_guest("outcomes").await;
    for _ in 0..2 {
        run_of(&client, OUTCOMES, &only("passes")).await;
    }
    let refused = import(&client, exported).await.problem(409);
    assert_says(&refused, &["the number 2 of fixtures/outcomes", "nothing was imported"]);
    assert_eq!(client.list("/runs").await.len(), 2);
}

#[tokio::test]
async fn an_import_of_more_than_may_be_is_refused_and_leaves_nothing() {
    let from = Server::start().await;
    let old = from.client();
    old.upload_guest("noop").await;
    for name in ["a", "b"] {
        let schedule = json!({"name": name, "suite": "default/noop", "cron": "0 2 1 1 *"});
        old.post("/schedules", &schedule).await.expect(StatusCode::CREATED);
        let trigger =
            json!({"name": name, "suite": "default/noop", "sender": "github", "secret": "hunter3"});
        old.post("/triggers", &trigger).await.expect(StatusCode::CREATED);
        let plugin = old.request(Method::POST, &format!("/plugins?name={name}"));
        old.send(plugin.body(guest("webhook"))).await.expect(StatusCode::CREATED);
    }
    let exported = export(&old).await;
    for setting in ["scheduler.most", "webhooks.most", "plugin.installed"] {
        let flag = setting.replace('.', "-");
        let to = Settings::default().flag(&flag, 1).start().await;
        let client = to.client();
        let refused = import(&client, exported.clone()).await.problem(409);
        assert_says(&refused, &["more than 1 ", setting, "nothing was imported"]);
        let hits = setting.replace('.', "_");
        let hits = format!("handoff_limit_hits_total{{limit=\"{hits}\"}}");
        assert_eq!(metric(&client, &hits).await, 1);
        assert_eq!(client.list("/suites").await, Vec::<Value>::new());
        let to = to.restart_with(Settings::default().flag(&flag, 2)).await;
        let answer = import(&to.client(), exported.clone()).await.expect(StatusCode::OK);
        assert_eq!(answer["schedules"], 2);
        // What is there already is no more.
        import(&to.client(), exported.clone()).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn an_import_that_stalls_is_cut_off_and_one_for_which_there_is_no_room_is_refused() {
    let from = filled().await;
    let exported = export(&from.client()).await;
    let to = Settings::default().flag("http-transfer-timeout-ms", 200).start().await;
    let client = to.client();
    let first = exported.lines().next().unwrap().to_owned() + "\n";
    let stalled = futures::stream::iter([Ok::<_, std::io::Error>(first)]);
    let stalled = futures::StreamExt::chain(stalled, futures::stream::pending());
    let body = reqwest::Body::wrap_stream(stalled);
    let refused =
        client.send(client.request(Method::POST, "/import").body(body)).await.problem(503);
    assert_says(&refused, &["http.transfer_timeout_ms"]);
    let hits = "handoff_limit_hits_total{limit=\"http_transfer_timeout_ms\"}";
    assert_eq!(metric(&client, hits).await, 1);

    let full = Settings::default().flag("storage-min-free-bytes", u64::MAX / 4);
    let to = to.restart_with(full).await;
    import(&to.client(), exported.clone()).await.problem(507);
    assert_eq!(to.client().list("/runs").await, Vec::<Value>::new());
    let to = to.restart_with(Settings::default()).await;
    import(&to.client(), exported).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn whenever_it_is_killed_an_import_is_there_whole_or_not_at_all() {
    let from = filled().await;
    let exported = export(&from.client()).await;
    let expected = all(&from.client()).await;
    let (mut none, mut whole) = (0, 0);
    let mut longest = 400;
    for _ in 0..12 {
        let mut to = Server::start().await;
        let client = to.client();
        let lines = exported.clone();
        let importing = tokio::spawn(async move {
            client.try_send(client.request(Method::POST, "/import").body(lines)).await.is_ok()
        });
        let life = Duration::from_millis(rand::random_range(0..longest));
        let early = tokio::time::timeout(life, importing).await;
        if early.is_ok() {
            longest = (longest / 2).max(20);
        }
        to.kill9().await;
        let to = to.restart().await;
        let found = all(&to.client()).await;
        match found[0].len() {
            0 => none += 1,
            _ => whole += 1,
        }
        assert!(found == expected || found.iter().all(Vec::is_empty), "{found:#?}");
        let again = import(&to.client(), exported.clone()).await.expect(StatusCode::OK);
        assert_eq!(again["runs"].as_u64().unwrap() + again["runs_there"].as_u64().unwrap(), 6);
        assert_eq!(all(&to.client()).await, expected);
    }
    eprintln!("{none} imports left nothing, {whole} were there");
}

#[tokio::test]
async fn what_is_exported_while_runs_go_on_has_those_that_have_ended_and_the_rest_comes_later() {
    let (from, to) = (Server::start().await, Server::start().await);
    let (old, new) = (from.client(), to.client());
    old.upload_guest("flaky").await;
    let request = json!({"filter": "^assertion$", "params": {"failures": "1"}});
    let runs = async {
        for _ in 0..30 {
            old.run("flaky", &request).await;
        }
    };
    let exports = async {
        let mut exports = Vec::new();
        for _ in 0..5 {
            exports.push(export(&old).await);
        }
        exports
    };
    let ((), exports) = tokio::join!(runs, exports);
    let mut there = 0;
    for exported in exports.into_iter().chain([export(&old).await]) {
        let answer = import(&new, exported).await.expect(StatusCode::OK);
        assert_eq!(answer["runs_there"], json!(there));
        there += answer["runs"].as_u64().unwrap();
        // Nobody takes it for a run of this server that none of these has an end.
        assert!(new.list("/runs").await.iter().all(|run| run["status"] == "passed"));
        assert_eq!(new.list("/runs").await.len() as u64, there);
    }
    assert_eq!(there, 30);
    assert_eq!(all(&new).await, all(&old).await);

    // From here on it goes its own way, and knows what it had when that comes again.
    run_of(&new, "default/flaky", &request).await;
    let before = all(&new).await;
    let answer = import(&new, export(&old).await).await.expect(StatusCode::OK);
    assert_eq!((&answer["runs"], &answer["runs_there"]), (&json!(0), &json!(30)));
    assert_eq!(all(&new).await, before);
    let run = run_of(&old, "default/flaky", &request).await;
    assert_eq!(run["number"], 31);
    let refused = import(&new, export(&old).await).await.problem(409);
    assert_says(&refused, &["the number 31 of default/flaky"]);
}

#[tokio::test]
async fn a_trigger_that_is_imported_refuses_every_call_until_it_has_its_secret_again() {
    let (from, to) = (filled().await, Server::start().await);
    import(&to.client(), export(&from.client()).await).await.expect(StatusCode::OK);
    let client = to.client();
    for secret in ["hunter3", ""] {
        let call = client.request(Method::POST, "/triggers/deployed").body("{}");
        let key = Key::new(HMAC_SHA256, secret.as_bytes());
        let signature = hex::encode(sign(&key, b"{}"));
        let call = call.header("x-hub-signature-256", format!("sha256={signature}"));
        let call = call.header("x-github-event", "ping").header("x-github-delivery", "1");
        client.send(call).await.problem(401);
    }
}
