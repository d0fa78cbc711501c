//! Clients that send more than they may, say nothing, or read too slowly: each is answered or cut off,
//! and holds up nobody else.

use handoff_tests::{Client, Server, Settings, Target, patiently};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::results::{assert_says, metric, only, text};
use crate::steps;

/// Longer than any test: what ends only after this time hangs.
const HOUR_MS: u64 = 3_600_000;
/// The largest component that a server takes by default.
const COMPONENT_BYTES: usize = 64 << 20;

pub(crate) async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.url().strip_prefix("http://").unwrap()).await.unwrap()
}

/// Waits until a bound of the server was hit.
pub(crate) async fn hit(client: &Client, limit: &str) {
    let series = format!("handoff_limit_hits_total{{limit=\"{limit}\"}}");
    patiently(&format!("{limit} is hit"), async { while metric(client, &series).await == 0 {} })
        .await;
}

#[tokio::test]
async fn a_client_whose_body_is_too_large_is_told_and_can_ask_again_at_once() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let spaces = " ".repeat((1 << 20) + 1);
    for _ in 0..200 {
        let request = client.run_request("noop", &json!({})).body(spaces.clone());
        let answer = client.send(request).await;
        assert_eq!(answer.headers["connection"], "close");
        assert_says(&answer.problem(413), &["1048576 bytes", "http.body_bytes"]);
        client.get("/healthz").await.expect(StatusCode::OK);
    }
    hit(&client, "http_body_bytes").await;
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_gets_its_answer() {
    let server = Server::start().await;
    let size = COMPONENT_BYTES + 1;
    let head = "POST /api/v1/suites HTTP/1.1\r\nhost: localhost\r\n";
    let announced = (format!("content-length: {size}\r\n\r\n"), "");
    let chunked = (format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n"), "\r\n0\r\n\r\n");
    for (more, end) in [announced, chunked] {
        let mut stream = connect(&server).await;
        stream.write_all(format!("{head}{more}").as_bytes()).await.unwrap();
        stream.write_all(&vec![0; size]).await.unwrap();
        stream.write_all(end.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        patiently("the answer comes", read).await.expect("the connection is not reset");
        assert_says(&answer, &["HTTP/1.1 413", "connection: close", "compile.component_bytes"]);
    }
    hit(&server.client(), "compile_component_bytes").await;
}

#[tokio::test]
async fn a_client_that_sends_on_and_on_is_cut_off() {
    let settings = Settings::default().flag("http-linger-bytes", 100_000);
    let server = settings.flag("http-linger-ms", HOUR_MS).start().await;
    let head =
        "POST /api/v1/suites HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n";
    let mut stream = connect(&server).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    patiently("the server closes", async { while stream.write_all(&[0; 10_000]).await.is_ok() {} })
        .await;
    hit(&server.client(), "http_linger_bytes").await;

    let server = server.restart_with(Settings::default().flag("http-linger-ms", 10)).await;
    let mut stream = connect(&server).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    hit(&server.client(), "http_linger_ms").await;
}

#[tokio::test]
async fn uploads_that_stall_stop_nobody_from_asking_for_a_run() {
    let target = Target::start().await;
    let settings = Settings::default().flag("http-upload-memory-bytes", 4 << 20);
    let settings = settings.flag("compile-component-bytes", 4 << 20);
    let settings = settings.flag("http-body-timeout-ms", HOUR_MS);
    let settings = settings.flag("http-upload-timeout-ms", HOUR_MS);
    let server = steps::server(settings, &target).await;
    let client = server.client();
    let mut stalled = Vec::new();
    // Whoever comes too late is answered; the others hold what they sent.
    for _ in 0..5 {
        let mut stream = connect(&server).await;
        let head = "POST /api/v1/suites HTTP/1.1\r\nhost: localhost\r\n";
        let head = format!("{head}content-length: {}\r\n\r\n", 2 << 20);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![0; (2 << 20) - 1]).await.unwrap();
        stalled.push(stream);
    }
    hit(&client, "http_upload_memory_bytes").await;
    let upload = client.upload_request(vec![0; 3 << 20]);
    assert_says(&client.send(upload).await.problem(503), &["http.upload_memory_bytes"]);

    let run = client.submit("steps", &steps::held("a")).await;
    steps::wait_until_held(&target, "a", 1).await;
    let by = json!({"initiated_by": "somebody"});
    client.post(&format!("/runs/{run}/cancel"), &by).await.expect(StatusCode::ACCEPTED);
    assert_eq!(client.finished(&run).await["status"], "cancelled");
    let failed = client.run("steps", &json!({"params": {"path-step-2": "/status/500"}})).await;
    let retry = format!("/runs/{}/retry", text(&failed["id"]));
    client.post(&retry, &by).await.expect(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn clients_that_say_nothing_lock_nobody_out() {
    let settings = Settings::default().flag("http-connections", 8);
    let server = settings.flag("http-header-timeout-ms", HOUR_MS).start().await;
    let mut silent = Vec::new();
    for number in 0..20 {
        let mut stream = connect(&server).await;
        if number % 2 == 0 {
            stream.write_all(b"GET /healthz HTT").await.unwrap();
        }
        silent.push(stream);
    }
    let client = server.client();
    client.get("/healthz").await.expect(StatusCode::OK);
    hit(&client, "http_connections").await;
    // Those who came first went first.
    let mut rest = Vec::new();
    let _ = patiently("the first is closed", silent[0].read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

/// A server with a run whose report is larger than what buffers on the way take.
async fn with_large_report(settings: Settings) -> (Server, String) {
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest("limits").await;
    client.set_policy("limits", &json!({"limits": {"log_head_bytes": 32 << 20}})).await;
    let run = client.run("limits", &only("prints_a_hundred_megabytes")).await;
    let path = format!("/api/v1/runs/{}/report", text(&run["id"]));
    (server, path)
}

/// A client that has begun to read a report.
async fn begin(server: &Server, path: &str) -> TcpStream {
    let mut stream = connect(server).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 15];
    patiently("the report begins", stream.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test]
async fn reports_that_nobody_reads_hold_up_no_other() {
    let settings = Settings::default().flag("http-reports", 1).flag("http-open-reports", 3);
    let settings = settings.flag("http-write-timeout-ms", HOUR_MS);
    let (server, path) = with_large_report(settings).await;
    let client = server.client();
    let first = begin(&server, &path).await;
    let second = begin(&server, &path).await;
    let report = client.get(&path).await.expect(StatusCode::OK);
    assert!(report.to_string().len() > 30 << 20, "the report has the log");

    // Only so many may lie about.
    let third = begin(&server, &path).await;
    let waiting = tokio::spawn({
        let (client, path) = (client.clone(), path.clone());
        async move { client.get(&path).await.status }
    });
    hit(&client, "http_open_reports").await;
    drop((first, second, third));
    assert_eq!(waiting.await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_report_that_is_read_too_slowly_breaks_off_visibly() {
    let settings = Settings::default().flag("http-report-timeout-ms", 300);
    let (server, path) = with_large_report(settings).await;
    let mut slow = begin(&server, &path).await;
    hit(&server.client(), "http_report_timeout_ms").await;
    let mut rest = Vec::new();
    let _ = patiently("the report ends", slow.read_to_end(&mut rest)).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "what broke off does not look complete");
}

#[tokio::test]
async fn a_server_that_is_to_end_does_not_wait_for_ever_for_a_client_that_does_not_read() {
    let settings = Settings::default().flag("http-shutdown-timeout-ms", 1);
    let settings = settings.flag("http-write-timeout-ms", HOUR_MS);
    let (mut server, path) = with_large_report(settings).await;
    let slow = begin(&server, &path).await;
    server.sigterm();
    assert!(server.ended().await.success());
    assert_says(&server.log(), &["answers were still under way when the server stopped"]);
    drop(slow);
}

#[tokio::test]
async fn an_answer_that_is_taken_a_little_at_a_time_is_cut_off() {
    let settings = Settings::default().flag("http-write-timeout-ms", 200);
    let settings = settings.flag("http-write-bytes-per-s", 1_u64 << 30);
    let (server, path) = with_large_report(settings).await;
    let mut slow = begin(&server, &path).await;
    let client = server.client();
    let series = |limit| format!("handoff_limit_hits_total{{limit=\"{limit}\"}}");
    // Between two pieces there is a whole request, so that the answer always waits for its client.
    patiently("the answer is cut off", async {
        while metric(&client, &series("http_write_bytes_per_s")).await == 0
            && metric(&client, &series("http_write_timeout_ms")).await == 0
        {
            let _ = slow.read(&mut [0; 16 << 10]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_idle_stream_of_events_is_left_alone() {
    let target = Target::start().await;
    let settings = Settings::default().flag("http-write-timeout-ms", 1);
    let settings = settings.flag("http-write-bytes-per-s", 1_u64 << 30);
    let settings = settings.flag("http-heartbeat-ms", 10);
    let server = steps::server(settings, &target).await;
    let client = server.client();
    let run = client.submit("steps", &steps::held("a")).await;
    let mut events = client.events(&run, 0).await;
    steps::wait_until_held(&target, "a", 1).await;
    // Long after every timeout, as counted by the server's own heartbeat on another stream.
    let request = client.request(Method::GET, &format!("/runs/{run}/events"));
    let mut beats = request.header("last-event-id", "1000000").send().await.unwrap();
    for _ in 0..20 {
        patiently("the server beats", beats.chunk()).await.unwrap().expect("the stream goes on");
    }
    target.release("a");
    let rest: Vec<Value> =
        patiently("the run ends", events.rest()).await.into_iter().map(|e| e.data).collect();
    assert!(!rest.is_empty());
}
