//! Plugins: told of what happens, in order and at least once, and never in the way of a run.

use handoff_tests::{Client, Handoff, Server, Settings, Target, guest, guest_file, patiently};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Installs the component of that name under it, and gives the plugin.
async fn install(client: &Client, name: &str, component: &str) -> Value {
    let request = client.request(Method::POST, &format!("/plugins?name={name}"));
    let request = request.header("content-type", "application/wasm").body(guest(component));
    client.send(request).await.expect(StatusCode::CREATED)
}

async fn change(client: &Client, name: &str, change: &Value) -> Value {
    let request = client.request(Method::PATCH, &format!("/plugins/{name}")).json(change);
    client.send(request).await.expect(StatusCode::OK)
}

/// The webhook plugin, told of these events and posting to the target's `path`.
async fn webhook(client: &Client, target: &Target, path: &str, events: &str) -> Value {
    install(client, "hook", "webhook").await;
    let url = format!("{}{path}", target.url());
    let grant = json!({
        "config": {"url": url, "events": events}, "policy": {"allow_http": [target.url()]},
    });
    let plugin = change(client, "hook", &grant).await;
    assert_eq!(plugin["enabled"], true, "{plugin:#}");
    plugin
}

/// Waits until the deliveries of the plugin are as wanted.
async fn deliveries(
    client: &Client,
    name: &str,
    mut enough: impl FnMut(&[Value]) -> bool,
) -> Vec<Value> {
    let path = format!("/plugins/{name}/deliveries");
    let wait = async {
        loop {
            let found = client.list(&path).await;
            if enough(&found) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    patiently("the deliveries are as wanted", wait).await
}

fn all(status: &'static str) -> impl FnMut(&[Value]) -> bool {
    move |found| !found.is_empty() && found.iter().all(|delivery| delivery["status"] == status)
}

#[tokio::test]
async fn a_plugin_is_told_that_a_run_finished_and_what_it_says_stands_with_the_run() {
    let (server, target) = (Server::start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("noop").await;
    let plugin = install(&client, "hook", "webhook").await;
    assert_eq!(plugin["enabled"], false, "{plugin:#}");
    assert!(plugin["reason"].as_str().unwrap().contains("`url` is not set"), "{plugin:#}");

    let url = format!("{}/hook", target.url());
    let configured = change(&client, "hook", &json!({"config": {"url": url}})).await;
    assert_eq!(configured["enabled"], false, "{configured:#}");
    assert_eq!(configured["asks"]["missing_http"], json!([target.url()]), "{configured:#}");
    let policy = json!({"policy": {"allow_http": [target.url()]}});
    let granted = change(&client, "hook", &policy).await;
    assert_eq!(granted["enabled"], true, "{granted:#}");
    assert_eq!(granted["asks"]["missing_http"], json!([]), "{granted:#}");

    let run = client.run("noop", &json!({"reference": "main"})).await;
    let told = deliveries(&client, "hook", all("delivered")).await;
    assert_eq!((&told[0]["event"], &told[0]["run"]), (&json!("run_finished"), &run["id"]));
    let seen = target.seen();
    assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/hook"));
    assert_eq!(seen[0].headers["webhook-id"], told[0]["event_id"].as_str().unwrap());
    let run = client.json(&format!("/runs/{}", run["id"].as_str().unwrap())).await;
    assert_eq!(run["annotations"][0]["plugin"], "hook");
    assert_eq!(run["annotations"][0]["title"], "Webhook called");

    let number = &told[0]["number"];
    let whole = client.json(&format!("/plugins/hook/deliveries/{number}")).await;
    assert_eq!(whole["payload"]["run"]["reference"], "main", "{whole:#}");
    assert_eq!(whole["last"]["requests"][0]["status"], 200, "{whole:#}");
    let again = format!("/plugins/hook/deliveries/{number}/redeliver");
    client.post(&again, &json!({})).await.expect(StatusCode::ACCEPTED);
    let seen = target.wait_for("it is told again", |seen| seen.len() == 2).await;
    assert_eq!(seen[1].headers["webhook-id"], seen[0].headers["webhook-id"]);
    client.delete("/plugins/hook").await.expect(StatusCode::NO_CONTENT);
    client.get("/plugins/hook").await.problem(404);
    client.delete("/plugins/hook").await.problem(404);
}

#[tokio::test]
async fn the_same_request_with_its_key_does_nothing_twice_also_after_a_kill() {
    let (mut server, target) = (Server::start().await, Target::start().await);
    let keyed = async |client: Client, path: &str, body: Vec<u8>| {
        let request = client.request(Method::POST, path).header("idempotency-key", path);
        client.send(request.body(body)).await
    };
    let install = "/plugins?name=hook";
    let first = keyed(server.client(), install, guest("webhook")).await.expect(StatusCode::CREATED);
    let again = keyed(server.client(), install, guest("webhook")).await.expect(StatusCode::CREATED);
    assert_eq!(first, again);
    keyed(server.client(), install, guest("archive")).await.problem(422);
    let url = format!("{}/hook", target.url());
    let grant = json!({"config": {"url": url}, "policy": {"allow_http": [target.url()]}});
    change(&server.client(), "hook", &grant).await;

    let trial = "/plugins/hook/test";
    let told = async |client: Client, path: &str| {
        keyed(client, path, Vec::new()).await.expect(StatusCode::ACCEPTED)["number"].clone()
    };
    let number = told(server.client(), trial).await;
    deliveries(&server.client(), "hook", all("delivered")).await;
    assert_eq!(told(server.client(), trial).await, number);
    let redeliver = format!("/plugins/hook/deliveries/{number}/redeliver");
    assert_eq!(told(server.client(), &redeliver).await, number);
    target.wait_for("it is told again", |seen| seen.len() == 2).await;
    deliveries(&server.client(), "hook", all("delivered")).await;
    server.kill9().await;
    let server = server.restart().await;
    for path in [trial, &redeliver] {
        assert_eq!(told(server.client(), path).await, number);
    }
    deliveries(&server.client(), "hook", all("delivered")).await;
    assert_eq!(target.seen().len(), 2);
    // What was made and is gone is made again.
    server.client().delete("/plugins/hook").await.expect(StatusCode::NO_CONTENT);
    keyed(server.client(), install, guest("webhook")).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn secrets_are_write_only_and_what_was_read_can_be_sent_back() {
    let (server, target) = (Server::start().await, Target::start().await);
    let client = server.client();
    webhook(&client, &target, "/hook", "run_finished").await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let set = change(&client, "hook", &json!({"secrets": {"secret": secret}})).await;
    assert_eq!(set["secrets"], json!({"secret": null}), "{set:#}");
    let kept = change(&client, "hook", &json!({"secrets": {"secret": null}})).await;
    assert_eq!(kept["enabled"], true, "{kept:#}");
    client.post("/plugins/hook/test", &json!({"message": secret})).await;
    let told = deliveries(&client, "hook", all("delivered")).await;
    let seen = target.seen();
    assert!(seen[0].headers["webhook-signature"].starts_with("v1,"), "{seen:#?}");
    let bounds = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core = bounds.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().nth(4) == Some("0"), "no dump has it: {core}");
    assert!(!server.log().contains(secret));
    assert!(!format!("{told:?}{}", client.get("/plugins/hook").await.body).contains(secret));
    let missing = client.request(Method::PATCH, "/plugins/hook");
    let missing = missing.json(&json!({"secrets": {"other": null}}));
    assert!(client.send(missing).await.problem(422).contains("other"));
}

#[tokio::test]
async fn a_suite_that_fails_fails_again_and_recovers_is_told_as_one_trouble() {
    let (server, target) = (Server::start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("flaky").await;
    let events = "suite_failing,suite_still_failing,suite_recovered,test_flaky";
    webhook(&client, &target, "/hook", events).await;
    for failures in ["9", "9", "1", "1", "0"] {
        let request = json!({"filter": "^assertion$", "params": {"failures": failures}});
        client.run("flaky", &request).await;
    }
    let enough = |found: &[Value]| found.len() == 4 && all("delivered")(found);
    let told = deliveries(&client, "hook", enough).await;
    let events: Vec<_> = told.iter().rev().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["suite_failing", "suite_still_failing", "suite_recovered", "test_flaky"]);
    let key = |at: usize| told[at]["dedup_key"].as_str().unwrap();
    assert_eq!((key(3), key(2)), (key(1), key(1)), "one trouble");
    assert_eq!(key(0), "flaky:default/flaky:assertion");
    let whole = client.json(&format!("/plugins/hook/deliveries/{}", told[2]["number"])).await;
    assert_eq!(whole["payload"]["trouble"]["failed_runs"], 2, "{whole:#}");
    assert_eq!(whole["payload"]["failures"][0]["name"], "assertion", "{whole:#}");
}

#[tokio::test]
async fn a_delivery_that_fails_is_tried_again_and_set_aside_in_the_end() {
    let settings = Settings::default()
        .flag("plugin-retry-initial-ms", 1)
        .flag("plugin-retry-max-ms", 5)
        .flag("plugin-retry-for-ms", 3_000)
        .flag("sandbox-concurrent-hooks", 1);
    let (server, target) = (settings.start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("noop").await;
    webhook(&client, &target, "/status/500", "run_finished").await;
    client.run("noop", &json!({})).await;
    let aside = deliveries(&client, "hook", all("set_aside")).await;
    assert!(aside[0]["attempts"].as_u64().unwrap() > 1, "{aside:#?}");
    assert!(aside[0]["last"]["error"].as_str().unwrap().contains("500"), "{aside:#?}");
    let ids = target.seen().into_iter().map(|seen| seen.headers["webhook-id"].clone());
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!(ids.len(), 1, "one event, however often it is told");
    let metrics = client.get("/metrics").await.body;
    let metrics = metrics.as_str().unwrap();
    for line in [
        "handoff_limit_hits_total{limit=\"plugin_retry_for_ms\"} 1",
        "handoff_plugin_deliveries_total{outcome=\"set_aside\"} 1",
    ] {
        assert!(metrics.contains(line), "no {line:?} in {metrics}");
    }
}

#[tokio::test]
async fn what_waits_is_told_after_a_restart_in_the_order_in_which_it_happened() {
    let (mut server, target) = (Server::start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("noop").await;
    webhook(&client, &target, "/hold/it", "run_finished").await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(client.run("noop", &json!({})).await["id"].clone());
    }
    target.wait_for("the first is told", |seen| !seen.is_empty()).await;
    server.kill9().await;
    target.release("it");
    let server = server.restart().await;
    let client = server.client();
    let enough = |found: &[Value]| found.len() == 3 && all("delivered")(found);
    let told = deliveries(&client, "hook", enough).await;
    let told: Vec<_> = told.iter().rev().map(|delivery| delivery["run"].clone()).collect();
    assert_eq!(told, runs);
}

#[tokio::test]
async fn an_outbox_that_is_full_takes_no_more_and_says_so() {
    let settings = Settings::default().flag("plugin-outbox", 2).flag("plugin-deliveries", 1);
    let (server, target) = (settings.start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("noop").await;
    webhook(&client, &target, "/hold/it", "run_finished").await;
    for _ in 0..4 {
        client.run("noop", &json!({})).await;
    }
    let wait = async {
        while client.json("/plugins/hook").await["missed"] != 2 {
            tokio::task::yield_now().await;
        }
    };
    patiently("two are missed", wait).await;
    let refused = client.post("/plugins/hook/test", &json!({})).await.problem(409);
    assert!(refused.contains("plugin.outbox"), "{refused}");
    target.release("it");
    let one = |found: &[Value]| found.len() == 1 && all("delivered")(found);
    deliveries(&client, "hook", one).await;
    let metrics = client.get("/metrics").await.body;
    for limit in ["plugin_outbox", "plugin_deliveries"] {
        let line = format!("handoff_limit_hits_total{{limit=\"{limit}\"}}");
        assert!(metrics.as_str().unwrap().contains(&line), "{limit}");
    }
}

#[tokio::test]
async fn plugins_that_compute_rest_in_between() {
    let settings = Settings::default().flag("plugin-cpu-percent", 1);
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    install(&client, "computes", "misbehaves").await;
    change(&client, "computes", &json!({"config": {"does": "loop"}})).await;
    client.run("noop", &json!({})).await;
    let line = "handoff_limit_hits_total{limit=\"plugin_cpu_percent\"}";
    let wait = async {
        while !client.get("/metrics").await.body.as_str().unwrap().contains(line) {
            tokio::task::yield_now().await;
        }
    };
    patiently("it rests", wait).await;
}

#[tokio::test]
async fn what_is_no_plugin_is_not_installed_and_no_plugin_is_a_suite() {
    let settings = Settings::default().flag("plugin-installed", 1);
    let server = settings.start().await;
    let client = server.client();
    let install_as = async |name: &str, component: &str| {
        let request = client.request(Method::POST, &format!("/plugins?name={name}"));
        client.send(request.body(guest(component))).await
    };
    assert!(install_as("a", "noop").await.problem(422).contains("handoff:plugin/hooks"));
    install_as("a", "webhook").await.expect(StatusCode::CREATED);
    install_as("a", "webhook").await.expect(StatusCode::OK);
    assert!(install_as("b", "webhook").await.problem(409).contains("plugin.installed"));
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.as_str().unwrap().contains("plugin_installed"));
    let upload = client.send(client.upload_request(guest("webhook"))).await;
    assert!(upload.problem(422).contains("handoff plugins install"));
}

#[tokio::test]
async fn a_report_that_is_too_large_for_a_plugin_is_refused_and_counted() {
    let settings = Settings::default().flag("plugin-report-bytes", 100);
    let (server, target) = (settings.start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("noop").await;
    install(&client, "store", "archive").await;
    let grant = json!({
        "config": {"endpoint": target.url(), "bucket": "runs"},
        "secrets": {"access_key_id": "AKID", "secret_access_key": "s3cret"},
        "policy": {"allow_http": [target.url()]},
    });
    change(&client, "store", &grant).await;
    client.run("noop", &json!({})).await;
    let told = deliveries(&client, "store", all("set_aside")).await;
    let error = told[0]["last"]["error"].as_str().unwrap();
    assert!(error.contains("`plugin.report_bytes`"), "{error}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.as_str().unwrap().contains("limit=\"plugin_report_bytes\""));
    assert_eq!(target.seen_count(), 0);
}

/// Installs the plugin that misbehaves under the name of what it does.
async fn misbehaving(client: &Client, does: &str, target: &Target) {
    install(client, does, "misbehaves").await;
    let grant = json!({
        "config": {"does": does, "target": target.url()}, "policy": {"allow_http": [target.url()]},
    });
    let plugin = change(client, does, &grant).await;
    assert_eq!(plugin["enabled"], true, "{plugin:#}");
}

#[tokio::test]
async fn a_plugin_that_breaks_again_and_again_is_disabled_loudly() {
    let settings = Settings::default()
        .flag("plugin-breaks", 2)
        .flag("plugin-retry-initial-ms", 1)
        .flag("plugin-hook-timeout-ms", 60_000);
    let (server, target) = (settings.start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("noop").await;
    webhook(&client, &target, "/hook", "plugin_disabled").await;
    misbehaving(&client, "trap", &target).await;
    client.run("noop", &json!({})).await;
    let told = deliveries(&client, "hook", all("delivered")).await;
    assert_eq!(told[0]["event"], "plugin_disabled", "{told:#?}");
    let plugin = client.json("/plugins/trap").await;
    assert_eq!(plugin["enabled"], false, "{plugin:#}");
    assert!(plugin["reason"].as_str().unwrap().contains("TRAPS"), "{plugin:#}");
    assert!(plugin["waiting"].as_u64().unwrap() > 0, "{plugin:#}");
    let metrics = client.get("/metrics").await.body;
    assert!(metrics.as_str().unwrap().contains("limit=\"plugin_breaks\"} 1"));
    client.post("/plugins/trap/test", &json!({})).await.problem(409);
    // It stays so whatever is set, until somebody enables it.
    let set = change(&client, "trap", &json!({"config": {"does": "nothing"}})).await;
    assert_eq!(set["enabled"], false, "{set:#}");
    change(&client, "trap", &json!({"enabled": true})).await;
    let enough = |found: &[Value]| found.len() >= 3 && all("delivered")(found);
    deliveries(&client, "trap", enough).await;
}

#[tokio::test]
async fn a_plugin_whose_init_breaks_stays_disabled_and_says_how() {
    let server = Server::start().await;
    let client = server.client();
    install(&client, "broken", "misbehaves").await;
    let plugin = change(&client, "broken", &json!({"config": {"does": "init"}})).await;
    assert_eq!(plugin["enabled"], false, "{plugin:#}");
    assert!(plugin["reason"].as_str().unwrap().contains("INIT PANICS"), "{plugin:#}");
    let enable = client.request(Method::PATCH, "/plugins/broken").json(&json!({"enabled": true}));
    assert!(client.send(enable).await.problem(422).contains("INIT PANICS"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_plugins_do_runs_finish_with_the_same_results() {
    const RUNS: usize = 200;
    let settings = Settings::default().flag("plugin-hook-timeout-ms", 2_000);
    let (server, target) = (settings.start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("flaky").await;
    let before = client.run("flaky", &json!({"filter": "^assertion$|^steady$"})).await;
    for does in ["trap", "loop", "sleep", "allocate", "log", "request", "keep", "nothing"] {
        misbehaving(&client, does, &target).await;
    }
    // Enough to tell whether it is held up.
    change(&client, "nothing", &json!({"filters": {"events": ["run_finished"]}})).await;
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let run = client.run("flaky", &json!({"filter": "^assertion$|^steady$"})).await;
        assert_eq!(run["counts"], before["counts"], "{run:#}");
        runs.push(run["id"].clone());
        if number == RUNS / 2 {
            // Replaced while it is told something.
            let request = client.request(Method::POST, "/plugins?name=sleep");
            client.send(request.body(guest("misbehaves"))).await.expect(StatusCode::OK);
        }
    }
    let healthy = |found: &[Value]| found.len() == RUNS && all("delivered")(found);
    let told = deliveries(&client, "nothing", healthy).await;
    let finished: Vec<_> = told.iter().rev().map(|delivery| delivery["run"].clone()).collect();
    assert_eq!(finished, runs);
}

#[tokio::test]
async fn a_gate_refuses_a_run_adds_parameters_and_holds_nobody_up_when_it_is_late() {
    let settings = Settings::default().flag("plugin-gate-timeout-ms", 300);
    let (server, target) = (settings.start().await, Target::start().await);
    let client = server.client();
    client.upload_guest("flaky").await;
    let request = json!({"filter": "^assertion$"});

    misbehaving(&client, "gate-add", &target).await;
    let run = client.run("flaky", &request).await;
    assert_eq!((&run["status"], &run["counts"]["flaky"]), (&json!("passed"), &json!(0)));
    assert_eq!(run["annotations"][0]["title"], "Gate: go", "{run:#}");
    assert_eq!(run["annotations"][0]["values"], json!([["failures", "0"]]), "{run:#}");
    client.delete("/plugins/gate-add").await.expect(StatusCode::NO_CONTENT);

    misbehaving(&client, "gate-refuse", &target).await;
    let run = client.run("flaky", &request).await;
    assert_eq!(run["status"], "cancelled", "{run:#}");
    assert!(run["message"].as_str().unwrap().contains("IT IS FRIDAY"), "{run:#}");
    change(&client, "gate-refuse", &json!({"filters": {"suites": ["other"]}})).await;
    assert_eq!(client.run("flaky", &request).await["status"], "passed");
    client.delete("/plugins/gate-refuse").await.expect(StatusCode::NO_CONTENT);

    misbehaving(&client, "gate-loop", &target).await;
    let run = client.run("flaky", &request).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    let title = run["annotations"][0]["title"].as_str().unwrap();
    assert!(title.starts_with("Gate: failed"), "{run:#}");
    change(&client, "gate-loop", &json!({"gate_failure": "refuse"})).await;
    let run = client.run("flaky", &request).await;
    assert_eq!(run["status"], "cancelled", "{run:#}");
    let metrics = client.get("/metrics").await.body;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("limit=\"plugin_gate_timeout_ms\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_plugin_is_tried_out_without_a_server() {
    let target = Target::start().await;
    let webhook = guest_file("webhook");
    let webhook = webhook.to_str().unwrap();
    let url = format!("url={}/hook", target.url());
    let run = async |more: &[&str]| {
        let line = [&["plugins", "try", webhook, "--event", "run-finished"][..], more].concat();
        Handoff::new(&line).run().await
    };
    let told = run(&["--config", &url, "--allow-http", &target.url()]).await.expect(0);
    assert!(told.contains("would like to hear of run_finished"), "{told}");
    assert!(told.contains("allowed: 200"), "{told}");
    assert_eq!(target.seen_count(), 1);
    let told = run(&["--config", &url]).await.expect(100);
    assert!(told.contains("denied"), "{told}");
    let told = run(&[]).await.expect(100);
    assert!(told.contains("`url` is not set"), "{told}");
}

#[tokio::test]
async fn a_plugin_is_imported_without_secrets_and_disabled_and_what_it_said_stands_with_the_run() {
    let (from, to, target) = (Server::start().await, Server::start().await, Target::start().await);
    let (old, new) = (from.client(), to.client());
    old.upload_guest("noop").await;
    webhook(&old, &target, "/hook", "run_finished").await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    change(&old, "hook", &json!({"secrets": {"secret": secret}})).await;
    let run = old.run("noop", &json!({})).await;
    deliveries(&old, "hook", all("delivered")).await;
    let exported = old.get("/export").await.expect(StatusCode::OK);
    let exported = exported.as_str().unwrap().to_owned();
    assert!(!exported.contains(secret));
    let import = new.request(Method::POST, "/import").body(exported);
    let imported = new.send(import).await.expect(StatusCode::OK);
    assert_eq!(imported["plugins"], 1);
    assert_eq!(imported["missing_secrets"], json!({"plugin hook": ["secret"]}));
    let path = format!("/runs/{}", run["id"].as_str().unwrap());
    assert_eq!(new.json(&path).await["annotations"], old.json(&path).await["annotations"]);
    assert_eq!(new.json(&path).await["annotations"][0]["title"], "Webhook called");

    let plugin = new.json("/plugins/hook").await;
    assert_eq!(plugin["enabled"], false, "{plugin:#}");
    assert!(plugin["reason"].as_str().unwrap().contains("imported"), "{plugin:#}");
    new.run("noop", &json!({})).await;
    let enabled = json!({"secrets": {"secret": secret}, "enabled": true});
    assert_eq!(change(&new, "hook", &enabled).await["enabled"], true);
    let run = new.run("noop", &json!({})).await;
    let told = deliveries(&new, "hook", all("delivered")).await;
    assert_eq!((told.len(), &told[0]["run"]), (1, &run["id"]));
}
