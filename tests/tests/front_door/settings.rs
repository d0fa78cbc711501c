//! Starting a server: its settings, what stands in its way, suites from its configuration file.

use handoff_tests::{Client, Handoff, Server, Settings, Target, guest, guest_file};
use serde_json::{Value, json};

#[tokio::test]
async fn a_second_server_on_the_same_data_or_port_says_so_and_does_no_harm() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let data = server.data();
    let data = data.to_str().unwrap();
    let second = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data];
    let told = Handoff::new(&second).run().await.failure(102);
    assert!(told.contains(data) || told.contains("in use"), "{told}");

    let address = server.url().strip_prefix("http://").unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = other.path().join("data");
    let second = ["serve", "--listen", address, "--data-dir", other.to_str().unwrap()];
    let told = Handoff::new(&second).run().await.failure(102);
    assert!(told.contains(address), "{told}");
    assert!(!other.exists(), "a server that cannot listen makes no store");

    assert_eq!(client.run("noop", &json!({})).await["status"], "passed");
    let server = server.restart().await;
    assert_eq!(server.client().list("/runs").await.len(), 1);
}

#[tokio::test]
async fn a_setting_that_is_wrong_is_named_with_where_it_came_from() {
    let home = tempfile::tempdir().unwrap();
    let serve = || Handoff::new(&["serve", "--listen", "127.0.0.1:0"]).directory(home.path());
    let told = serve().variable("HANDOFF_RUNNER_QUEUE", "many").run().await.failure(2);
    assert!(told.contains("runner.queue") && told.contains("HANDOFF_RUNNER_QUEUE"), "{told}");
    std::fs::write(home.path().join("handoff.toml"), "[runner]\nquue = 1\n").unwrap();
    let told = serve().run().await.failure(2);
    assert!(told.contains("line 2") && told.contains("quue"), "{told}");
    let flag = Handoff::new(&["serve", "--runner-quue", "1"]).directory(home.path());
    assert!(flag.run().await.failure(2).contains("runner-quue"));
}

#[tokio::test]
async fn a_setting_that_cannot_be_is_refused_with_what_is_allowed() {
    let home = tempfile::tempdir().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for (key, value, allowed) in [
        ("sandbox.limits.timeout_ms", "0", "from 1 to"),
        ("sandbox.tick_us", "0", "from 1 to 1000000"),
        ("sandbox.concurrent_attempts", "0", "from 1 to 100000"),
        ("runner.concurrent_runs", "0", "from 1 to"),
        ("runner.bounds.max_attempts", "0", "from 1 to"),
        ("http.header_timeout_ms", "18446744073709551615", "from 1 to"),
        (
            "sandbox.limits.memory_bytes",
            "2147483648",
            "sandbox.max_memory_bytes, which is 1073741824",
        ),
        (
            "http.body_memory_bytes",
            "1000",
            "http.body_bytes, which is 1048576: raise it, or lower that",
        ),
        ("http.body_bytes", "67108865", "http.body_memory_bytes, which is 67108864: lower it"),
        (
            "http.upload_memory_bytes",
            "1000",
            "compile.component_bytes, which is 67108864: raise it",
        ),
        (
            "compile.component_bytes",
            "268435457",
            "http.upload_memory_bytes, which is 268435456: lower",
        ),
    ] {
        let flag = format!("--{}", key.replace(['.', '_'], "-"));
        let given = Handoff::new(&[&serve[..], &[&flag, value]].concat()).directory(home.path());
        let told = given.run().await.failure(2);
        for word in [key, &flag, value, allowed] {
            assert!(told.contains(word), "{told:?} does not say {word:?}");
        }
    }
    let noop = guest_file("noop");
    let noop = noop.to_str().unwrap();
    let file = format!("[[suites]]\nfile = {noop:?}\npolicy.limits.timeout_ms = 0\n");
    std::fs::write(home.path().join("handoff.toml"), file).unwrap();
    let told = Handoff::new(&serve).directory(home.path()).run().await.failure(2);
    for word in ["suites.policy.limits.timeout_ms", noop, "handoff.toml", "from 1 to"] {
        assert!(told.contains(word), "{told:?} does not say {word:?}");
    }
    let policy = home.path().join("policy.toml");
    std::fs::write(&policy, "[limits]\nmemory_bytes = 2147483648\n").unwrap();
    let test = ["test", noop, "--policy", policy.to_str().unwrap()];
    let told = Handoff::new(&test).directory(home.path()).run().await.failure(2);
    assert!(told.contains("limits.memory_bytes"), "{told}");
}

/// A server whose configuration file lists a suite, with what it is granted.
async fn declared(target: &Target, component: &[u8]) -> Server {
    let server = Settings::default().variable("STEPS_TARGET", target.url()).start().await;
    std::fs::write(server.home().join("steps.wasm"), component).unwrap();
    let file = format!(
        "[[suites]]\nfile = \"steps.wasm\"\nnamespace = \"team\"\n\
         policy.allow_http = [\"{}\"]\nsecrets_env.target = \"STEPS_TARGET\"\n",
        target.url()
    );
    std::fs::write(server.home().join("handoff.toml"), file).unwrap();
    server.restart().await
}

async fn passes(client: &Client) -> Value {
    let request = client.request(reqwest::Method::POST, "/suites/team/steps/runs");
    let request = request.query(&[("wait", "2m")]).json(&json!({}));
    let run = client.send(request).await.expect(reqwest::StatusCode::OK);
    assert_eq!(run["status"], "passed", "{run:#}");
    run
}

#[tokio::test]
async fn suites_of_the_configuration_file_are_there_when_the_server_is() {
    let target = Target::start().await;
    let server = declared(&target, &guest("steps")).await;
    let client = server.client();
    let first = passes(&client).await;
    let policy = client.json("/suites/team/steps/policy").await;
    assert_eq!(policy["secrets"], json!({"target": null}));
    // What somebody changed meanwhile, the file sets again.
    let path = "/suites/team/steps/policy";
    client.put(path, &json!({})).await.expect(reqwest::StatusCode::OK);
    let server = server.restart().await;
    let client = server.client();
    let second = passes(&client).await;
    assert_eq!(second["suite"], first["suite"]);
    assert_eq!(client.list("/suites/team/steps/versions").await.len(), 1);

    let steps = server.home().join("steps.wasm");
    std::fs::write(&steps, handoff_tests::salted(&guest("steps"), 1)).unwrap();
    let server = server.restart().await;
    assert_ne!(passes(&server.client()).await["suite"], first["suite"]);
    // Back to the version before.
    std::fs::write(&steps, guest("steps")).unwrap();
    let server = server.restart().await;
    assert_eq!(passes(&server.client()).await["suite"], first["suite"]);
}

#[tokio::test]
async fn a_suite_of_the_configuration_file_that_cannot_be_loaded_stops_the_start() {
    let home = tempfile::tempdir().unwrap();
    let serve = || Handoff::new(&["serve", "--listen", "127.0.0.1:0"]).directory(home.path());
    let write = |text: &str| std::fs::write(home.path().join("handoff.toml"), text).unwrap();
    write("[[suites]]\nfile = \"nothing.wasm\"\n");
    let told = serve().run().await.failure(2);
    assert!(told.contains("nothing.wasm"), "{told}");
    let empty = guest_file("describe-empty");
    write(&format!("[[suites]]\nfile = {:?}\n", empty.to_str().unwrap()));
    let told = serve().run().await.failure(102);
    assert!(told.contains("no tests"), "{told}");
    write("[[suites]]\nfile = \"a.wasm\"\nsecrets_env.a = \"NOT_SET\"\n");
    let told = serve().run().await.failure(2);
    assert!(told.contains("NOT_SET"), "{told}");
}

#[tokio::test]
async fn data_that_is_no_store_is_told_and_left_alone() {
    let server = Server::start().await;
    server.client().upload_guest("noop").await;
    let mut server = server;
    server.kill9().await;
    let damaged = tempfile::tempdir().unwrap();
    std::fs::write(damaged.path().join("data"), "not a directory").unwrap();
    let data = damaged.path().join("data");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    let told = Handoff::new(&serve).run().await.failure(102);
    // Which data, and why not.
    assert!(told.contains(data.to_str().unwrap()) && told.contains("os error"), "{told}");
    assert_eq!(std::fs::read_to_string(&data).unwrap(), "not a directory");
}
