//! Tests that are muted, disabled or expected to fail without another version of their suite.

use handoff_tests::{Client, Server, Settings, patiently};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cli::{assert_says, at, handoff};
use crate::clients::hit;
use crate::results::{array, test, text};

const MARKS: &str = "/suites/default/flaky/marks";

async fn server(settings: Settings) -> (Server, Client) {
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    (server, client)
}

/// A run of one test that is tried once, and fails unless `failures` is 0.
async fn run(client: &Client, test: &str, failures: u32) -> Value {
    let params = json!({"failures": failures.to_string()});
    let filter = format!("^{test}$");
    client.run("flaky", &json!({"filter": filter, "max_attempts": 1, "params": params})).await
}

#[tokio::test]
async fn a_muted_test_runs_without_counting_and_is_shown_when_it_passes_again() {
    let (mut server, _) = server(Settings::default()).await;
    let line = "marks mute flaky assertion --until 14d --reason known";
    let told = at(&server, line).run().await.expect(0);
    assert_says(&told, &["assertion is muted until 20", "from the next run on"]);
    server.kill9().await;
    let server = server.restart().await;
    let client = server.client();
    let failed = run(&client, "assertion", 1).await;
    assert_eq!(failed["status"], "passed");
    assert_eq!(
        (&failed["counts"]["failed"], &failed["counts"]["soft_failed"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(test(&failed, "assertion")["mark"]["kind"], "muted");
    let [marked] = &client.list(MARKS).await[..] else { panic!("one is marked") };
    assert_eq!((&marked["passes"], &marked["expired"]), (&json!(false), &json!(false)));
    assert_eq!(marked["last"]["run"], failed["id"]);
    let line = "run flaky ^assertion$ --param failures=0 --attempts 1";
    let told = at(&server, line).run().await.expect(0);
    assert_says(&told, &["Passes again assertion, which is muted", "known"]);
    let passed = client.json("/suites/default/flaky/runs/2").await;
    let told = at(&server, "runs flaky#2").run().await.expect(0);
    assert_says(&told, &["assertion (muted)"]);
    let [marked] = &client.list(MARKS).await[..] else { panic!("one is marked") };
    assert_eq!((&marked["passes"], &marked["last"]["run"]), (&json!(true), &passed["id"]));
    let told = at(&server, "marks list flaky").run().await.expect(0);
    assert_says(&told, &["muted", "known", "passed in run #2; it can be taken off the list"]);
    at(&server, "marks remove flaky assertion").run().await.expect(0);
    assert_eq!(run(&client, "assertion", 1).await["status"], "failed");
    let answer = client.delete(&format!("{MARKS}/assertion")).await;
    assert_says(&answer.problem(404), &["assertion"]);
}

#[tokio::test]
async fn a_disabled_test_does_not_run_and_says_why_until_the_end_of_it() {
    let (server, client) = server(Settings::default()).await;
    let line = "marks disable flaky steady --reason moving";
    at(&server, line).run().await.expect(0);
    let skipped = run(&client, "steady", 0).await;
    assert_eq!((&skipped["status"], &skipped["counts"]["skipped"]), (&json!("passed"), &json!(5)));
    assert_says(text(&test(&skipped, "steady")["reason"]), &["disabled", ": moving"]);
    // It holds no longer than it is said to.
    at(&server, &format!("{line} --until 3s")).run().await.expect(0);
    patiently("it ends", async { while client.list(MARKS).await[0]["expired"] != true {} }).await;
    assert_eq!(run(&client, "steady", 0).await["counts"]["passed"], 1);
    client.delete("/suites/default/flaky").await;
    client.upload_guest("flaky").await;
    assert!(client.list(MARKS).await.is_empty(), "it went with its suite");
}

#[tokio::test]
async fn a_test_that_is_expected_to_fail_fails_the_run_when_it_passes() {
    let (server, client) = server(Settings::default()).await;
    let line = "marks expect-to-fail flaky assertion --reason not-built-yet";
    at(&server, line).run().await.expect(0);
    // It is tried once, whatever is asked for.
    let request = json!({"filter": "^assertion$", "max_attempts": 3});
    let failed = client.run("flaky", &request).await;
    assert_eq!(
        (&failed["status"], &failed["counts"]["soft_failed"]),
        (&json!("passed"), &json!(1))
    );
    assert_eq!(test(&failed, "assertion")["attempts_total"], 1);
    let line = "run flaky ^assertion$ --param failures=0";
    let told = at(&server, line).run().await.expect(100);
    assert_says(&told, &["1 failed"]);
    let passed = client.json("/suites/default/flaky/runs/2").await;
    assert_eq!((&passed["status"], &passed["counts"]["failed"]), (&json!("failed"), &json!(1)));
    let test = test(&passed, "assertion");
    assert_eq!(array(&test["attempts"])[0]["status"], "passed");
    assert_says(text(&test["reason"]), &["it passed", "expected to fail", "not-built-yet"]);
    let [marked] = &client.list(MARKS).await[..] else { panic!("one is marked") };
    assert_eq!(marked["passes"], true);
}

#[tokio::test]
async fn what_cannot_be_said_of_a_test_is_refused() {
    let (_server, client) = server(Settings::default().flag("storage-marks", 1)).await;
    let mute = json!({"kind": "muted", "reason": "x"});
    for (test, mark, status, words) in [
        ("none", mute.clone(), 404, &["no test \"none\""][..]),
        ("steady", json!({"kind": "muted"}), 422, &["reason"]),
        ("steady", json!({"kind": "muted", "reason": " "}), 422, &["reason is missing"]),
        ("steady", json!({"kind": "gone", "reason": "x"}), 422, &["gone", "muted"]),
        ("steady", json!({"kind": "muted", "reason": "x".repeat(2000)}), 422, &["reason", "1024"]),
        (
            "steady",
            json!({"kind": "muted", "reason": "x", "until": "2020-01-01T00:00:00Z"}),
            422,
            &["has passed"],
        ),
    ] {
        let answer = client.put(&format!("{MARKS}/{test}"), &mark).await;
        assert_says(&answer.problem(status), words);
    }
    client.put(&format!("{MARKS}/steady"), &mute).await.expect(StatusCode::OK);
    client.put(&format!("{MARKS}/steady"), &mute).await.expect(StatusCode::OK);
    let detail = client.put(&format!("{MARKS}/soft"), &mute).await.problem(409);
    assert_says(&detail, &["storage.marks"]);
    hit(&client, "storage_marks").await;
    let unknown = client.request(Method::GET, "/suites/default/none/marks");
    client.send(unknown).await.problem(404);
}

#[tokio::test]
async fn marks_of_the_configuration_file_are_changed_there_alone_and_shown_in_statistics() {
    let (server, client) = server(Settings::default()).await;
    let file = server.home().join("handoff.toml");
    let declare = |kind: &str, reason: &str| {
        let text = format!(
            "[[marks]]\nsuite = \"flaky\"\ntest = \"assertion\"\nkind = \"{kind}\"\nreason = \"{reason}\"\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    let mute = json!({"kind": "muted", "reason": "by hand"});
    client.put(&format!("{MARKS}/assertion"), &mute).await.expect(StatusCode::OK);
    declare("expected_to_fail", "not built yet");
    let server = server.restart().await;
    let client = server.client();
    let [marked] = &client.list(MARKS).await[..] else { panic!("one is marked") };
    assert_eq!(
        (&marked["declared"], &marked["kind"]),
        (&json!(true), &json!("expected_to_fail")),
        "it takes the place of what is said otherwise"
    );
    let told = at(&server, "marks list flaky").run().await.expect(0);
    assert_says(&told, &["expected_to_fail", "(declared): not built yet"]);
    let test = format!("{MARKS}/assertion");
    for answer in [client.put(&test, &mute).await, client.delete(&test).await] {
        assert_says(&answer.problem(409), &["the server's configuration declares it"]);
    }
    let failed = run(&client, "assertion", 1).await;
    assert_eq!(
        (&failed["status"], &failed["tests"][0]["mark"]["declared"]),
        (&json!("passed"), &json!(true))
    );

    let statistics = "/suites/default/flaky/tests/assertion/statistics";
    assert_eq!(client.json(statistics).await["mark"]["reason"], "not built yet");
    let tests = client.list("/suites/default/flaky/statistics/tests").await;
    assert_eq!(tests[0]["mark"]["kind"], "expected_to_fail");
    let told = at(&server, "stats flaky assertion").run().await.expect(0);
    assert_says(&told, &["expected to fail: not built yet"]);
    let told = at(&server, "stats flaky").run().await.expect(0);
    assert_says(&told, &["assertion  [expected to fail]"]);

    // What was said by hand holds again where the file says nothing.
    std::fs::write(&file, "").unwrap();
    let mut server = server.restart().await;
    assert_eq!(server.client().list(MARKS).await[0]["reason"], "by hand");
    server.kill9().await;
    for (kind, reason, says) in [("broken", "x", "broken"), ("muted", " ", "the reason is missing")]
    {
        declare(kind, reason);
        let serve = handoff("serve --listen 127.0.0.1:0").directory(server.home());
        assert_says(&serve.run().await.stderr, &[says]);
    }
}

#[tokio::test]
async fn a_muted_test_that_is_flaky_is_listed_as_muted() {
    let (server, client) = server(Settings::default()).await;
    for _ in 0..2 {
        let request = json!({"filter": "^assertion$", "params": {"failures": "1"}});
        client.run("flaky", &request).await;
    }
    at(&server, "marks mute flaky assertion --until 14d --reason known").run().await.expect(0);
    let flaky = client.list("/statistics/flaky").await;
    assert_eq!(
        (&flaky[0]["test"], &flaky[0]["mark"]["kind"]),
        (&json!("assertion"), &json!("muted"))
    );
    let told = at(&server, "flaky").run().await.expect(0);
    assert_says(&told, &["default/flaky assertion  [muted until 20"]);
    at(&server, "marks remove flaky assertion").run().await.expect(0);
    assert_eq!(client.list("/statistics/flaky").await[0]["mark"], Value::Null);
}
