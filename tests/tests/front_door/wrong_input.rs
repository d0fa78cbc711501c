//! What users send by mistake or on purpose: each is refused in words that tell what to do, and
//! nothing else changes.

use std::convert::Infallible;

use futures::stream;
use handoff_tests::{Client, Server, Settings, guest, patiently, salted};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clients::hit;
use crate::components::{slow_to_compile, with_instance, with_memory, with_module};

/// An empty core module: the magic number and version 1.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// The largest component that a server takes by default.
const COMPONENT_BYTES: usize = 64 << 20;

/// The detail of the refusal of an upload; afterwards there is no more than before.
async fn refused(client: &Client, component: Vec<u8>, status: u16) -> String {
    let before = client.list("/suites").await.len();
    let answer = client.send(client.upload_request(component)).await;
    assert_eq!(client.list("/suites").await.len(), before, "nothing was stored");
    answer.problem(status)
}

#[track_caller]
fn assert_says(detail: &str, words: &[&str]) {
    for word in words {
        assert!(detail.contains(word), "{detail:?} does not say {word:?}");
    }
}

#[tokio::test]
async fn an_upload_that_is_no_component_is_refused_with_what_was_expected() {
    let server = Server::start().await;
    let client = server.client();
    refused(&client, Vec::new(), 422).await;
    refused(&client, b"#!/bin/sh\n".to_vec(), 422).await;
    assert_says(&refused(&client, CORE_MODULE.to_vec(), 422).await, &["component"]);
    let whole = guest("noop");
    for part in [1, 2, 3] {
        refused(&client, whole[..whole.len() * part / 4].to_vec(), 422).await;
    }
}

/// The most that a process has had in memory so far.
fn peak_memory_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn two_hundred_megabytes_of_zeroes_are_refused_without_being_kept_in_memory() {
    // However much a client sends on after its answer is heard out, so that every client sees the answer;
    // `clients` has what becomes of one that sends more than that.
    let settings = Settings::default().flag("http-linger-bytes", 1_u64 << 30);
    let server = settings.flag("http-linger-ms", 3_600_000).start().await;
    let client = server.client();
    let zeroes = || stream::iter((0..200).map(|_| Ok::<_, Infallible>(vec![0_u8; 1 << 20])));
    let announced = client.upload_request(Vec::new()).header("content-length", 200 << 20);
    let requests = [announced.body(Body::wrap_stream(zeroes())), {
        client.upload_request(Vec::new()).body(Body::wrap_stream(zeroes()))
    }];
    for request in requests {
        let detail = client.send(request).await.problem(413);
        assert_says(&detail, &["67108864 bytes", "compile.component_bytes"]);
    }
    // The same for what is only a little too large.
    let detail = refused(&client, vec![0; COMPONENT_BYTES + 1], 413).await;
    assert_says(&detail, &["67108864 bytes", "compile.component_bytes"]);
    // Below the bound, zeroes are looked at and are no WebAssembly.
    assert_says(&refused(&client, vec![0; 1 << 20], 422).await, &["not WebAssembly"]);
    client.get("/healthz").await.expect(StatusCode::OK);
    assert!(client.list("/suites").await.is_empty());
    #[cfg(target_os = "linux")]
    assert!(peak_memory_bytes(server.pid()) < 200 << 20, "what was refused was kept");
}

#[tokio::test]
async fn a_component_that_takes_too_long_to_compile_is_refused_and_holds_up_nobody() {
    // Many times what the other component here needs, and a fraction of what the slow one would: time of the
    // processor does not pass while others have it.
    let settings = Settings::default().flag("compile-cpu-ms", 2_000);
    // Only that bound is to be hit, however loaded the machine is.
    let settings = settings
        .flag("compile-inspect-ms", 600_000)
        .flag("compile-wall-ms", 600_000)
        .flag("http-upload-timeout-ms", 600_000);
    let server = settings.start().await;
    let client = server.client();
    let slow = with_module(&guest("noop"), &slow_to_compile(2, 60_000));
    assert!(slow.len() < COMPONENT_BYTES);
    assert_says(&refused(&client, slow.clone(), 422).await, &["compile", "cpu_ms"]);
    // The same bytes are refused again without the work; others are taken.
    let compiled = "handoff_compile_cache_total";
    let count = async || {
        let metrics = client.get("/metrics").await.body;
        let lines = metrics.as_str().unwrap().lines().filter(|line| line.starts_with(compiled));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>()
    };
    let before = count().await;
    refused(&client, slow, 422).await;
    assert_eq!(count().await, before, "a failure is remembered");
    client.upload_guest("noop").await;
}

#[tokio::test]
async fn a_component_with_a_huge_memory_is_refused_or_fails_and_costs_nothing() {
    let server = Server::start().await;
    let client = server.client();
    // 4 GiB from the start, where a suite is asked for its tests.
    let huge = with_instance(&guest("noop"), &with_memory(1 << 16));
    assert_says(&refused(&client, huge, 422).await, &["memory"]);
    let fits = with_instance(&guest("noop"), &with_memory(16));
    client.upload(fits).await;
    assert_eq!(client.run("noop", &json!({})).await["status"], "passed");
}

#[tokio::test]
async fn a_description_that_breaks_the_contract_is_refused_with_what_is_wrong() {
    let server = Server::start().await;
    let client = server.client();
    let detail = refused(&client, guest("describe-empty"), 422).await;
    assert_says(&detail, &["no tests"]);
    let detail = refused(&client, guest("describe-duplicate"), 422).await;
    assert_says(&detail, &["unique"]);
    let detail = refused(&client, guest("describe-huge-name"), 422).await;
    assert!(detail.len() < 4096, "a refusal does not repeat what was too long");
    for guest_name in ["describe-traps", "describe-loops"] {
        let detail = refused(&client, guest(guest_name), 422).await;
        assert_says(&detail, &["describe"]);
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_is_refused_with_the_field_at_fault() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let cases: &[(Value, &[&str])] = &[
        (json!({"filter": "("}), &["filter", "regular expression"]),
        (json!({"filter": "^there is no such test$"}), &["no test matches"]),
        (json!({"timeout_ms": 0}), &["timeout_ms"]),
        (json!({"timeout_ms": 86_400_001}), &["timeout_ms", "86400000"]),
        (json!({"max_attempts": 11}), &["max_attempts", "10"]),
        (json!({"parallelism": 0}), &["parallelism"]),
        (json!({"repeat": 100_001}), &["repeat", "100000"]),
        (json!({"repeat_for_ms": 86_400_001}), &["repeat_for_ms", "86400000"]),
        (json!({"repeat": "ten"}), &["repeat"]),
        (json!({"fliter": "a"}), &["fliter"]),
        (json!({"timeout_ms": "soon"}), &["timeout_ms"]),
        (json!({"params": {"": "x"}}), &["params", "empty"]),
        (json!({"params": {"a": "\u{0}"}}), &["params", "\"a\"", "NUL"]),
        (json!({"retry_wait": "x"}), &["retry_wait", "{\"kind\": \"none\"}"]),
        (json!({"retry_wait": {"fixed_ms": 1}}), &["retry_wait", "\"wait_ms\": 100"]),
        (json!([]), &[]),
    ];
    for (request, words) in cases {
        let answer = client.send(client.run_request("noop", request)).await;
        assert_says(&answer.problem(422), words);
    }
    assert!(client.list("/runs").await.is_empty());
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let missing = client.send(client.run_request("nowhere", &json!({}))).await;
    assert_says(&missing.problem(404), &["default/nowhere"]);
    let version = format!("sha256:{}", "0".repeat(64));
    let missing = client.send(client.run_request("noop", &json!({"version": version}))).await;
    assert_says(&missing.problem(404), &[&version]);
    let run = "01890a5d-ac96-774b-bcce-b302099a8057";
    for path in ["", "/events", "/logs", "/report?format=junit"] {
        assert_says(&client.get(&format!("/runs/{run}{path}")).await.problem(404), &[run]);
    }
    client.get("/runs/12").await.problem(404);
    client.send(client.request(Method::GET, "/nothing")).await.problem(404);
}

#[tokio::test]
async fn what_is_not_utf8_is_refused_wherever_it_comes() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    assert_says(&refused(&client, guest("describe-not-utf8"), 422).await, &["describe"]);
    let body = b"{\"reference\": \"\xff\"}".to_vec();
    let request = client.run_request("noop", &json!({})).body(body);
    client.send(request).await.problem(400);
    client.get("/suites/default/%FF").await.problem(404);
    // Not the runs with the reference U+FFFD, which is what a lenient reader makes of it.
    assert_says(&client.get("/runs?reference=%FF").await.problem(400), &["UTF-8"]);
    assert!(client.list("/runs").await.is_empty());
}

#[tokio::test]
async fn what_is_left_out_may_be_null_and_a_list_is_never_taken_for_fields() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let nulls = json!({"filter": null, "tags": null, "params": null, "retry_wait": null});
    assert_eq!(client.run("noop", &nulls).await["status"], "passed");
    let policy = "/suites/default/noop/policy";
    let put =
        async |body: Value| client.send(client.request(Method::PUT, policy).json(&body)).await;
    put(json!({"allow_http": null, "env": null, "limits": null})).await.expect(StatusCode::OK);
    assert_says(&put(json!({"limits": [1, 2]})).await.problem(422), &["object of limits"]);
    let hosts = json!({"allow_http": ["https://a..b"]});
    assert_says(&put(hosts).await.problem(422), &["allow_http", "an empty part"]);
    client.send(client.run_request("noop", &json!({"tags": [["a"], ["b"]]}))).await.problem(422);
}

#[tokio::test]
async fn a_compressed_body_is_refused_as_such() {
    let server = Server::start().await;
    let client = server.client();
    for (encoding, status) in [("gzip", 415), ("br", 415), ("Identity", 422)] {
        let request = client.upload_request(b"no component".to_vec());
        let answer = client.send(request.header("content-encoding", encoding)).await;
        let detail = answer.problem(status);
        assert_eq!(detail.contains("content-encoding"), status == 415, "{detail}");
    }
}

#[tokio::test]
async fn a_client_that_sends_one_byte_at_a_time_is_cut_off() {
    let settings =
        Settings::default().flag("http-body-timeout-ms", 300).flag("http-header-timeout-ms", 300);
    let server = settings.start().await;
    let client = server.client();
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let head = format!(
        "POST /api/v1/suites HTTP/1.1\r\nhost: {address}\r\ncontent-length: 1000000\r\n\r\n"
    );
    for (said, status) in [(head.as_str(), Some("HTTP/1.1 408")), ("POST /api", None)] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let mut beat = tokio::time::interval(std::time::Duration::from_millis(20));
        let drip = async {
            // Until the server closes.
            while writer.write_all(b"x").await.is_ok() {
                beat.tick().await;
            }
        };
        let mut heard = Vec::new();
        let hear = async { reader.read_to_end(&mut heard).await.map_or((), |_| ()) };
        patiently("the server closes", async {
            tokio::select! {
                () = drip => {}
                () = hear => {}
            }
        })
        .await;
        let heard = String::from_utf8_lossy(&heard);
        let is_expected = match status {
            Some(status) => heard.starts_with(status),
            // To what may become any request there is no answer.
            None => heard.is_empty(),
        };
        assert!(is_expected, "{said:?}: {heard:?}");
    }
    for limit in ["http_body_timeout_ms", "http_header_timeout_ms"] {
        hit(&client, limit).await;
    }
    client.get("/healthz").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_stored_before_is_lost() {
    let server = Server::start().await;
    let client = server.client();
    let version = client.upload_guest("noop").await;
    let run = client.run("noop", &json!({})).await;
    // More than any disk has: as good as full.
    let full = Settings::default().flag("storage-min-free-bytes", 1_u64 << 60);
    let server = server.restart_with(full).await;
    let client = server.client();
    let refused = client.send(client.run_request("noop", &json!({}))).await;
    assert_says(&refused.problem(507), &["free"]);
    let upload = client.upload_request(salted(&guest("noop"), 1));
    client.send(upload).await.problem(507);
    client.put("/suites/default/noop/policy", &json!({})).await.problem(507);
    assert_eq!(client.json("/suites/default/noop").await["newest"], version);
    let path = format!("/runs/{}", run["id"].as_str().unwrap());
    assert_eq!(client.json(&path).await, run);

    let server = server.restart_with(Settings::default()).await;
    let client = server.client();
    assert_eq!(client.json(&path).await, run);
    assert_eq!(client.list("/runs").await.len(), 1, "what was refused was not stored");
    assert_eq!(client.run("noop", &json!({})).await["status"], "passed");
}
