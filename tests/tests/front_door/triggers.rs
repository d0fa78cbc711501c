//! Runs that other systems start by calling.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use handoff_tests::{Answer, Client, Handoff, Server, Settings, patiently};
use reqwest::{Method, RequestBuilder, StatusCode};
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};

/// How often the server is killed while it is called.
const KILLS: usize = 10;
/// How long it lives at most between its start and its death.
const LONGEST_LIFE_MS: u64 = 1_500;

const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

fn tag(signed: &str) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, KEY), signed.as_bytes()).as_ref().to_vec()
}

fn generic(name: &str) -> Value {
    json!({
        "name": name, "suite": "ten", "secret": secret(), "filter": "adds",
        "mapping": {"reference": "{/release}", "params": {"url": "{/url|none}"}},
    })
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A call that is signed as the Standard Webhooks specification has it.
fn call(client: &Client, trigger: &str, id: &str, at: u64, body: &Value) -> RequestBuilder {
    let body = body.to_string();
    let signature = format!("v1,{}", STANDARD.encode(tag(&format!("{id}.{at}.{body}"))));
    let request = client.request(Method::POST, &format!("/triggers/{trigger}"));
    let request = request.header("webhook-id", id).header("webhook-timestamp", at.to_string());
    request
        .header("webhook-signature", signature)
        .header("content-type", "application/json")
        .body(body)
}

/// A call that is signed as GitHub does.
fn github(client: &Client, trigger: &str, id: &str, event: &str, body: &Value) -> RequestBuilder {
    let body = body.to_string();
    let signature = format!("sha256={}", hex::encode(tag(&body)));
    let request = client.request(Method::POST, &format!("/triggers/{trigger}"));
    let request = request.header("x-github-delivery", id).header("x-github-event", event);
    request
        .header("x-hub-signature-256", signature)
        .header("content-type", "application/json")
        .body(body)
}

fn deployment(id: u64, state: &str, environment: &str) -> Value {
    json!({
        "action": "created",
        "deployment_status": {
            "id": id, "state": state, "environment": environment,
            "environment_url": "https://shop.example",
        },
        "deployment": {"id": 7, "sha": "f95f852bd8", "ref": "main", "environment": environment},
        "repository": {"full_name": "Codertocat/Hello-World"},
    })
}

async fn history(client: &Client, name: &str) -> Vec<Value> {
    client.list(&format!("/triggers/{name}/history")).await
}

/// The run that a call started, when it has ended.
async fn started(client: &Client, answer: Answer) -> Value {
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let row = answer.expect(StatusCode::ACCEPTED);
    assert_eq!(row["outcome"], "started", "{row:#}");
    assert!(location.ends_with(row["run"].as_str().unwrap()), "{location}");
    client.finished(row["run"].as_str().unwrap()).await
}

#[tokio::test]
async fn a_call_starts_a_run_of_what_was_deployed() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("ten").await;
    let create = async || client.post("/triggers", &generic("deployed")).await;
    let made = create().await.expect(StatusCode::CREATED);
    assert_eq!(made["path"], "/api/v1/triggers/deployed", "{made:#}");
    assert_eq!((&made["status"], &made["sender"]), (&json!("active"), &json!("generic")));
    assert_eq!(create().await.expect(StatusCode::OK)["created_at"], made["created_at"]);
    let payload = json!({"release": "v1.2", "url": "https://shop.example"});
    let send = async |id: &str, at, payload: &Value| {
        client.send(call(&client, "deployed", id, at, payload)).await
    };
    let run = started(&client, send("one", seconds(), &payload).await).await;
    assert_eq!((&run["status"], &run["reference"]), (&json!("passed"), &json!("v1.2")), "{run:#}");
    assert_eq!(run["initiated_by"], "trigger deployed");
    assert_eq!(run["params"]["url"], "https://shop.example");

    // Nothing of these starts a run.
    let replay = send("one", seconds(), &payload).await.problem(409);
    assert!(replay.contains(run["id"].as_str().unwrap()), "{replay}");
    let old = send("two", seconds() - 3_600, &payload).await.problem(401);
    assert!(old.contains("webhooks.tolerance_ms"), "{old}");
    let unfit = send("three", seconds(), &json!({"url": "x"})).await.problem(422);
    assert!(unfit.contains("nothing at /release"), "{unfit}");
    let unsigned = client.post("/triggers/deployed", &payload).await.problem(401);
    assert!(unsigned.contains("webhook-id is missing"), "{unsigned}");
    let forged = call(&client, "deployed", "four", seconds(), &payload).body("{}");
    assert!(client.send(forged).await.problem(401).contains("no `v1,` signature"));
    client.send(call(&client, "nowhere", "five", seconds(), &payload)).await.problem(404);
    assert_eq!(client.list("/runs").await.len(), 1);

    let rows = history(&client, "deployed").await;
    let told: Vec<_> =
        rows.iter().map(|row| (row["outcome"].as_str().unwrap(), row["signed"] == true)).collect();
    let (signed, unsigned) = (("refused", true), ("refused", false));
    assert_eq!(told, [unsigned, unsigned, signed, signed, signed, ("started", true)]);
    assert_eq!((&rows[5]["run"], &rows[5]["delivery"]), (&run["id"], &json!("one")));
    assert!(rows[..5].iter().all(|row| row["run"].is_null() && row["reason"].is_string()));
    let metrics = client.get("/metrics").await.body;
    let counted = "handoff_trigger_calls_total{outcome=\"refused\"} 5";
    assert!(metrics.as_str().unwrap().contains(counted), "{metrics}");

    // The secret is nowhere to be read, and stays when something else is changed.
    let request = client.request(Method::PATCH, "/triggers/deployed");
    let changed = client.send(request.json(&json!({"reference": "main", "mapping": null}))).await;
    let changed = changed.expect(StatusCode::OK);
    assert_eq!(changed["mapping"]["reference"], Value::Null, "{changed:#}");
    for told in [&made, &changed, &client.json("/triggers").await, &json!(server.log())] {
        let told = told.to_string();
        assert!(!told.contains(&STANDARD.encode(KEY)) && !told.contains("whsec_"), "{told}");
    }
    let run = started(&client, send("six", seconds(), &json!({})).await).await;
    assert_eq!(run["reference"], "main");
    client.delete("/triggers/deployed").await.expect(StatusCode::NO_CONTENT);
    client.get("/triggers/deployed").await.problem(404);
    send("seven", seconds(), &payload).await.problem(404);
}

#[tokio::test]
async fn github_starts_runs_by_the_events_that_are_wanted() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("ten").await;
    let body = json!({
        "name": "github", "suite": {"name": "ten"}, "sender": "github",
        "secret": String::from_utf8_lossy(KEY), "filter": "adds",
        "environments": ["production", "pr-*"], "events": ["deployment_status", "push"],
        "mapping": {"params": {"url": "{/deployment_status/environment_url|none}"}},
    });
    client.post("/triggers", &body).await.expect(StatusCode::CREATED);
    let send = async |id: &str, event: &str, body: &Value| {
        client.send(github(&client, "github", id, event, body)).await
    };
    let ping = send("a", "ping", &json!({"zen": "Design for failure.", "hook_id": 1})).await;
    assert_eq!(ping.expect(StatusCode::OK)["outcome"], "ignored");
    let run =
        started(&client, send("b", "deployment_status", &deployment(1, "success", "pr-7")).await);
    let run = run.await;
    assert_eq!((&run["status"], &run["reference"]), (&json!("passed"), &json!("f95f852bd8")));
    assert_eq!(run["params"]["url"], "https://shop.example");
    for (id, event, body, why) in [
        ("c", "deployment_status", deployment(2, "pending", "pr-7"), "the state pending"),
        ("d", "deployment_status", deployment(3, "success", "staging"), "the environment staging"),
        ("e", "pull_request", json!({"action": "opened"}), "the event pull_request"),
        ("f", "push", json!({"ref": "refs/tags/v1", "after": "f95f852bd8"}), "is no branch"),
    ] {
        let row = send(id, event, &body).await.expect(StatusCode::OK);
        assert_eq!((&row["outcome"], &row["event"]), (&json!("ignored"), &json!(event)), "{row:#}");
        assert!(row["reason"].as_str().unwrap().contains(why), "{row:#}");
    }
    let push = json!({"ref": "refs/heads/main", "after": "0123abcd", "deleted": false});
    let run = started(&client, send("g", "push", &push).await).await;
    assert_eq!((&run["reference"], &run["params"]["url"]), (&json!("0123abcd"), &json!("none")));
    for (id, what) in [("g", "the same"), ("h", "the same body as another delivery")] {
        assert!(
            send(id, "push", &push).await.problem(409).contains("nothing is started"),
            "{what}"
        );
    }
    assert_eq!(client.list("/runs").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_server_is_killed_no_delivery_starts_two_runs() {
    let mut server = Server::start().await;
    server.client().upload_guest("ten").await;
    for name in ["one", "two"] {
        server.client().post("/triggers", &generic(name)).await.expect(StatusCode::CREATED);
    }
    let mut answered = BTreeSet::new();
    let mut next = 0;
    // What has no answer yet is sent again, as senders do.
    let mut open: Vec<(String, String)> = Vec::new();
    for kill in 1..=KILLS {
        let life = Duration::from_millis(rand::random_range(0..LONGEST_LIFE_MS));
        let client = server.client();
        let calling = async {
            loop {
                while open.len() < 4 {
                    next += 1;
                    let trigger = if next % 2 == 0 { "one" } else { "two" };
                    open.push((trigger.to_owned(), format!("delivery-{next}")));
                }
                let calls = open.iter().map(|(trigger, id)| {
                    let body = json!({"release": id});
                    client.try_send(call(&client, trigger, id, seconds(), &body))
                });
                let answers = futures::future::join_all(calls).await;
                let mut still = Vec::new();
                for (delivery, answer) in std::mem::take(&mut open).into_iter().zip(answers) {
                    match answer.map(|answer| answer.status.as_u16()) {
                        Ok(202 | 409) => _ = answered.insert(delivery.1),
                        Ok(status) if status < 500 => panic!("{delivery:?}: {status}"),
                        Ok(_) | Err(_) => still.push(delivery),
                    }
                }
                open = still;
            }
        };
        let life = tokio::time::timeout(life, calling).await;
        assert!(life.is_err(), "calls never end");
        server.kill9().await;
        server = server.restart().await;
        eprintln!("kill {kill} of {KILLS}: {} deliveries answered", answered.len());
    }
    let client = server.client();
    let mut rows = BTreeMap::new();
    for name in ["one", "two"] {
        for row in history(&client, name).await {
            let delivery = row["delivery"].as_str().unwrap().to_owned();
            match row["outcome"].as_str().unwrap() {
                "started" => {
                    let run = row["run"].as_str().unwrap().to_owned();
                    let before = rows.insert(delivery, run);
                    assert_eq!(before, None, "a delivery has started two runs: {row:#}");
                }
                "refused" => assert!(row["reason"].as_str().unwrap().contains("taken before")),
                other => panic!("{other}: {row:#}"),
            }
        }
    }
    let mut runs = BTreeMap::new();
    for run in client.list("/runs").await {
        let reference = run["reference"].as_str().unwrap().to_owned();
        let id = run["id"].as_str().unwrap().to_owned();
        let before = runs.insert(reference, id);
        assert_eq!(before, None, "two runs of one delivery: {run:#}");
    }
    assert_eq!(runs, rows, "each run has its row, and each row its run");
    assert!(answered.iter().all(|delivery| runs.contains_key(delivery)), "none is lost");
    assert!(!answered.is_empty());
    for run in runs.values() {
        client.finished(run).await;
    }
}

#[tokio::test]
async fn a_call_that_cannot_be_read_leaves_a_row() {
    let server = Settings::default().flag("webhooks-body-bytes", 1_000).start().await;
    let client = server.client();
    client.post("/triggers", &generic("small")).await.expect(StatusCode::CREATED);
    assert_eq!(client.json("/triggers/small").await["status"], "broken");
    let large = json!({"release": "x".repeat(2_000)});
    let refused =
        client.send(call(&client, "small", "large", seconds(), &large)).await.problem(413);
    assert!(refused.contains("webhooks.body_bytes"), "{refused}");
    let gone =
        client.send(call(&client, "small", "gone", seconds(), &json!({"release": "1"}))).await;
    assert!(gone.problem(404).contains("there is no suite default/ten"));
    let rows = history(&client, "small").await;
    assert_eq!((&rows[0]["outcome"], &rows[1]["outcome"]), (&json!("failed"), &json!("refused")));
    assert!(rows[1]["reason"].as_str().unwrap().contains("webhooks.body_bytes"), "{rows:#?}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.as_str().unwrap().contains("{limit=\"webhooks_body_bytes\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_cannot_be_a_trigger_is_refused_with_the_reason() {
    let server = Server::start().await;
    let client = server.client();
    let wrong = async |field: &str, value: Value| {
        let mut body = generic("wrong");
        body[field] = value;
        client.post("/triggers", &body).await.problem(422)
    };
    assert!(wrong("secret", json!("hunter2")).await.contains("openssl rand"));
    assert!(wrong("secret", json!(null)).await.contains("`secret`"));
    assert!(wrong("events", json!(["push"])).await.contains("`sender`: `github`"));
    assert!(wrong("mapping", json!({"reference": "{/a"})).await.contains("brace"));
    assert!(wrong("mapping", json!({"params": {"a": "{b}"}})).await.contains("no JSON pointer"));
    assert!(wrong("suite", json!(null)).await.contains("which suite"));
    assert!(wrong("secret_env", json!("PATH")).await.contains("configuration file"));
    assert!(wrong("colour", json!("red")).await.contains("colour"));
    assert_eq!(client.list("/triggers").await, Vec::<Value>::new());
    client.post("/triggers", &generic("one")).await.expect(StatusCode::CREATED);
    let mut other = generic("one");
    other["suite"] = json!("other");
    let taken = client.post("/triggers", &other).await.problem(409);
    assert!(taken.contains("there is a trigger one"), "{taken}");
}

#[tokio::test]
async fn triggers_of_the_configuration_file_are_changed_there_alone() {
    let server = Server::start().await;
    server.client().upload_guest("ten").await;
    let file = server.home().join("handoff.toml");
    std::fs::write(server.home().join("secret"), format!("{}\n", secret())).unwrap();
    let declare = |suite: &str| {
        let text = format!(
            "[[triggers]]\nname = \"declared\"\nsuite = \"{suite}\"\nsecret_file = \"secret\"\n\
             mapping.reference = \"{{/release}}\"\nfilter = \"adds\"\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    declare("ten");
    let server = server.restart().await;
    let client = server.client();
    assert_eq!(client.json("/triggers/declared").await["declared"], true);
    let told = client.delete("/triggers/declared").await.problem(409);
    assert!(told.contains("the server's configuration declares"), "{told}");
    let request = client.request(Method::PATCH, "/triggers/declared").json(&json!({"filter": "x"}));
    client.send(request).await.problem(409);
    let payload = json!({"release": "v1"});
    let answer = client.send(call(&client, "declared", "one", seconds(), &payload)).await;
    assert_eq!(started(&client, answer).await["reference"], "v1");

    declare("other");
    let server = server.restart().await;
    let client = server.client();
    assert_eq!(client.json("/triggers/declared").await["suite"]["name"], "other");
    // What was delivered before is known still.
    client.send(call(&client, "declared", "one", seconds(), &payload)).await.problem(409);
    std::fs::write(&file, "").unwrap();
    let mut server = server.restart().await;
    assert_eq!(server.client().list("/triggers").await, Vec::<Value>::new());
    server.kill9().await;
    let text = "[[triggers]]\nname = \"declared\"\nsuite = \"ten\"\nsecret_env = \"NO_SUCH\"\n";
    std::fs::write(&file, text).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let told = Handoff::new(&serve).directory(server.home()).run().await.failure(2);
    assert!(told.contains("NO_SUCH is not set"), "{told}");
}

#[tokio::test]
async fn triggers_are_kept_on_the_command_line() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("ten").await;
    let handoff = async |arguments: &[&str]| {
        let arguments: Vec<_> = ["triggers"].iter().chain(arguments).copied().collect();
        let command = Handoff::new(&arguments).variable("HANDOFF_SERVER", server.url());
        command.variable("HOOK_SECRET", &secret()).run().await
    };
    let create = ["create", "cli", "ten", "adds", "--reference-from", "{/release}"];
    assert!(handoff(&create).await.failure(2).contains("--secret-file"));
    let unset = [&create[..], &["--secret-env", "NO_SUCH"]].concat();
    assert!(handoff(&unset).await.failure(2).contains("NO_SUCH is not set"));
    let told = handoff(&[&create[..], &["--secret-env", "HOOK_SECRET"]].concat()).await.expect(0);
    assert!(told.contains("cli runs default/ten"), "{told}");
    assert!(told.contains("POST /api/v1/triggers/cli (generic)"), "{told}");
    let answer = client.send(call(&client, "cli", "one", seconds(), &json!({"release": "v3"})));
    let run = started(&client, answer.await).await;
    assert_eq!(run["reference"], "v3");
    let told = handoff(&["history", "cli"]).await.expect(0);
    assert!(told.contains("started") && told.contains(run["id"].as_str().unwrap()), "{told}");
    let told = handoff(&["list"]).await.expect(0);
    assert!(told.contains("active  cli  default/ten  generic"), "{told}");
    let file = server.home().join("secret");
    std::fs::write(&file, "github's secret\n").unwrap();
    let file = file.to_str().unwrap();
    let change = ["change", "cli", "--sender", "github", "--secret-file", file, "--branch", "main"];
    let told = handoff(&change).await.expect(0);
    for word in ["(github)", "branches      main", "states        success", "environments  all"] {
        assert!(told.contains(word), "{word:?} in {told}");
    }
    assert!(handoff(&["change", "cli"]).await.failure(2).contains("say what to change"));
    let told = handoff(&["change", "cli", "--event", "release"]).await.failure(2);
    assert!(told.contains("deployment_status"), "{told}");
    handoff(&["delete", "cli"]).await.expect(0);
    assert!(handoff(&["show", "cli"]).await.failure(2).contains("there is no trigger cli"));
    patiently("nothing is left", async { assert!(client.list("/triggers").await.is_empty()) })
        .await;
}
