//! What a suite may reach: what it was granted, within its limits, and recorded.

use std::net::SocketAddr;

use handoff_tests::{Client, Seen, Server, Target, patiently};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::results::{array, assert_says, attempt, detail, lines, metric, only, test, text};

/// A server with the suite `http`, which may ask the target, under these limits.
async fn http(target: &Target, limits: Value) -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("http").await;
    let policy = json!({
        "allow_http": [target.url()],
        "config": {"target": target.url()},
        "limits": limits,
    });
    client.set_policy("http", &policy).await;
    (server, client)
}

async fn exchanges(client: &Client, run: &Value, test: &str) -> Vec<Value> {
    array(&detail(client, run, test).await["exchanges"]).to_vec()
}

async fn decisions(client: &Client, decision: &str) -> u64 {
    let series = format!("handoff_outgoing_requests_total{{decision=\"{decision}\"}}");
    metric(client, &series).await
}

#[tokio::test]
async fn requests_of_every_kind_reach_what_is_granted() {
    let target = Target::start().await;
    let (_server, client) = http(&target, json!({})).await;
    let names = [
        "gets",
        "posts_json",
        "puts",
        "patches",
        "deletes",
        "sends_headers",
        "is_not_redirected",
        "sends_a_big_body",
        "receives_a_big_body",
        "strange_urls_are_errors",
        "cannot_smuggle_headers",
    ];
    let filter = format!("^({}|fails_by_an_unexpected_status)$", names.join("|"));
    let run = client.run("http", &json!({"filter": filter})).await;
    for name in names {
        assert_eq!(test(&run, name)["status"], "passed", "{:#}", attempt(&run, name));
    }
    let failed = attempt(&run, "fails_by_an_unexpected_status");
    assert_says(text(&failed["message"]), &["/nowhere", "expected status 200, got 404"]);
    let redirected = target.seen().iter().filter(|request| request.path == "/redirect").count();
    assert_eq!(redirected, 1, "asked once, and followed by nobody");
    assert_eq!(exchanges(&client, &run, "is_not_redirected").await.len(), 1);
    assert_eq!(decisions(&client, "allowed").await, target.seen_count() as u64);
}

#[tokio::test]
async fn each_exchange_is_recorded_without_the_values_of_its_query() {
    let target = Target::start().await;
    let (_server, client) = http(&target, json!({})).await;
    let run = client.run("http", &json!({"filter": "^(gets|sends_a_big_body)$"})).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    let [got] = &exchanges(&client, &run, "gets").await[..] else { panic!("one exchange") };
    assert_eq!((&got["method"], &got["status"]), (&json!("GET"), &json!(200)));
    assert_eq!(got["url"], format!("{}/echo?q=***", target.url()));
    assert_eq!((&got["allowed"], &got["error"]), (&json!(true), &Value::Null));
    assert_eq!(got["sent_bytes"], 0);
    assert!(got["received_bytes"].as_u64().unwrap() > 0, "{got:#}");
    assert!(got["started_at"].is_string() && got["duration_ms"].is_u64(), "{got:#}");
    let seen = target.seen();
    let trace =
        &seen.iter().find(|request| request.path == "/echo").unwrap().headers["traceparent"];
    assert_eq!(trace.split('-').nth(1), got["trace_id"].as_str(), "the trace can be found");
    let [sent] = &exchanges(&client, &run, "sends_a_big_body").await[..] else { panic!("one") };
    assert_eq!((&sent["method"], &sent["sent_bytes"]), (&json!("POST"), &json!(8 << 20)));
    assert_eq!(sent["received_bytes"], "8388608".len());
}

#[tokio::test]
async fn what_is_not_granted_is_denied_with_the_grant_that_would_allow_it() {
    let (target, other) = (Target::start().await, Target::start().await);
    let (_server, client) = http(&target, json!({})).await;
    // Another port of the same host.
    let request = json!({
        "filter": "^(is_denied|fails_by_a_denied_request)$",
        "params": {"denied": other.url()},
    });
    let run = client.run("http", &request).await;
    assert_eq!(test(&run, "is_denied")["status"], "passed", "{run:#}");
    let failed = attempt(&run, "fails_by_a_denied_request");
    assert_eq!((&failed["status"], &failed["cause"]), (&json!("failed"), &json!("assertion")));
    assert_says(text(&failed["message"]), &["http://denied.example.test", "allow_http"]);
    let denied = [
        ("is_denied", other.url()),
        ("fails_by_a_denied_request", "http://denied.example.test".to_owned()),
    ];
    for (name, origin) in denied {
        let [exchange] = &exchanges(&client, &run, name).await[..] else { panic!("{name}") };
        assert_eq!((&exchange["allowed"], &exchange["status"]), (&json!(false), &Value::Null));
        let advice = format!("grant allow_http = [\"{origin}\"]");
        assert_says(text(&exchange["error"]), &["not allowed by the policy", &advice]);
    }
    assert_eq!((decisions(&client, "denied").await, other.seen_count()), (2, 0));
}

#[tokio::test]
async fn the_bytes_and_the_number_of_requests_are_bounded() {
    let target = Target::start().await;
    let (_server, client) = http(&target, json!({})).await;
    let cases = [
        ("sent_bytes", 20 << 20, "sends_too_much", "REFUSED AFTER 16 MiB"),
        ("received_bytes", 20 << 20, "receives_too_much", "REFUSED AFTER 16 MiB"),
        ("requests", 5, "sends_too_many_requests", "REFUSED AFTER 5 REQUESTS"),
        ("header_bytes", 16 << 10, "strange_urls_are_errors", "true"),
    ];
    for (limit, value, name, said) in cases {
        let policy = json!({
            "allow_http": [target.url()],
            "config": {"target": target.url()},
            "limits": {limit: value},
        });
        client.set_policy("http", &policy).await;
        let series = format!("handoff_limit_hits_total{{limit=\"{limit}\"}}");
        let before = metric(&client, &series).await;
        let run = client.run("http", &only(name)).await;
        let attempt = attempt(&run, name);
        assert_eq!(attempt["status"], "passed", "{limit}: {attempt:#}");
        assert_eq!(attempt["limits_hit"], json!([limit]), "{limit}: {attempt:#}");
        assert_eq!(metric(&client, &series).await, before + 1, "{limit}");
        let lines = lines(&client, &run, name).await;
        assert!(lines.iter().any(|line| line.contains(said)), "{limit}: {lines:?}");
    }
}

#[tokio::test]
async fn requests_at_the_same_time_wait_for_their_turn() {
    let target = Target::start().await;
    let (_server, client) = http(&target, json!({"concurrent_requests": 4})).await;
    let name = "sends_many_at_once";
    let run = client.submit("http", &only(name)).await;
    target.wait_for("four requests wait", |seen| seen.len() >= 4).await;
    target.release("slow");
    let run = client.finished(&run).await;
    let attempt = attempt(&run, name);
    assert_eq!(attempt["limits_hit"], json!(["concurrent_requests"]), "{attempt:#}");
    assert_eq!(lines(&client, &run, name).await, ["ANSWERED 100 OF 100"]);
    assert_eq!(exchanges(&client, &run, name).await.len(), 100);
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_at_the_deadline_or_at_the_tests_own_time() {
    let target = Target::start().await;
    let (_server, client) = http(&target, json!({})).await;
    let request = json!({"filter": "^(waits_for_ever|stops_waiting|waits_for_a_slow_answer)$"});
    target.release("slow");
    let run = client.run("http", &request).await;
    let attempt = attempt(&run, "waits_for_ever");
    assert_eq!((&attempt["status"], &attempt["cause"]), (&json!("failed"), &json!("timeout")));
    assert_says(text(&attempt["message"]), &["deadline of 200 ms"]);
    let [exchange] = &exchanges(&client, &run, "waits_for_ever").await[..] else { panic!("one") };
    assert_eq!((&exchange["allowed"], &exchange["status"]), (&json!(true), &Value::Null));
    for name in ["stops_waiting", "waits_for_a_slow_answer"] {
        assert_eq!(test(&run, name)["status"], "passed", "{run:#}");
    }
}

/// A port at which nobody listens.
async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_broken_answer_is_told_in_words_that_show_nothing_of_the_host() {
    let target = Target::start().await;
    let (_server, client) = http(&target, json!({})).await;
    let closed = format!("http://{}", closed_port().await);
    let policy = json!({
        "allow_http": [target.url(), closed],
        "config": {"target": target.url(), "closed": closed},
    });
    client.set_policy("http", &policy).await;
    let request = json!({"filter": "^sees_a_(broken_answer|refused_connection)$"});
    let run = client.run("http", &request).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    for (name, said, error) in [
        ("sees_a_broken_answer", "BROKEN: ", "the answer broke off"),
        ("sees_a_refused_connection", "UNREACHABLE: ", "nothing listens there"),
    ] {
        let lines = lines(&client, &run, name).await.join("\n");
        assert_says(&lines, &[said]);
        let [exchange] = &exchanges(&client, &run, name).await[..] else { panic!("{name}") };
        let recorded = text(&exchange["error"]);
        assert_says(recorded, &[error]);
        for text in [lines.as_str(), recorded] {
            for trace in [".rs", "backtrace", ".cargo", "wasmtime", "hyper"] {
                assert!(!text.contains(trace), "{name} shows {trace:?}: {text}");
            }
        }
    }
}

/// A server that sends back what it gets, or only listens. It ends when this is dropped.
struct Tcp {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Tcp {
    async fn start(echoes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                // Half a block must not wait until the other side has acknowledged the first half.
                stream.set_nodelay(true).unwrap();
                open.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    match echoes {
                        true => drop(tokio::io::copy(&mut read, &mut write).await),
                        false => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server with the suite `tcp`, which may connect to these, under these limits.
async fn tcp(echo: &Tcp, silent: &Tcp, limits: Value) -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("tcp").await;
    let policy = json!({
        "allow_tcp": [echo.address.to_string(), silent.address.to_string()],
        "config": {
            "target": echo.address.to_string(),
            "silent": silent.address.to_string(),
            "denied": closed_port().await.to_string(),
        },
        "limits": limits,
    });
    client.set_policy("tcp", &policy).await;
    (server, client)
}

#[tokio::test]
async fn connections_go_where_they_are_granted_and_nowhere_else() {
    let (echo, silent) = (Tcp::start(true).await, Tcp::start(false).await);
    let (_server, client) = tcp(&echo, &silent, json!({})).await;
    let passing = [
        "echoes",
        "echoes_megabytes",
        "is_denied_another_port",
        "cannot_listen",
        "cannot_use_udp",
        "cannot_look_up_names",
    ];
    let filter = format!("^({}|waits_for_ever)$", passing.join("|"));
    let run = client.run("tcp", &json!({"filter": filter})).await;
    for name in passing {
        assert_eq!(test(&run, name)["status"], "passed", "{:#}", attempt(&run, name));
    }
    let [echoed] = &exchanges(&client, &run, "echoes").await[..] else { panic!("one exchange") };
    assert_eq!((&echoed["method"], &echoed["allowed"]), (&json!("CONNECT"), &json!(true)));
    assert_eq!(echoed["url"], format!("tcp://{}", echo.address));
    assert_eq!((&echoed["sent_bytes"], &echoed["received_bytes"]), (&json!(8), &json!(8)));
    let [denied] = &exchanges(&client, &run, "is_denied_another_port").await[..] else {
        panic!("one exchange")
    };
    assert_eq!(denied["allowed"], false);
    assert_says(text(&denied["error"]), &["not allowed by the policy", "allow_tcp = ["]);
    assert_eq!(attempt(&run, "waits_for_ever")["cause"], "timeout", "{run:#}");
    assert!(decisions(&client, "denied").await > 0);
}

#[tokio::test]
async fn connections_and_their_bytes_are_bounded() {
    let (echo, silent) = (Tcp::start(true).await, Tcp::start(false).await);
    let limits = json!({"sent_bytes": 1 << 20, "concurrent_requests": 3});
    let (_server, client) = tcp(&echo, &silent, limits).await;
    let request = json!({"filter": "^(sends_without_end|opens_too_many)$"});
    let run = client.run("tcp", &request).await;
    assert_eq!(run["status"], "passed", "{run:#}");
    for (name, limit, said) in [
        ("sends_without_end", "sent_bytes", "REFUSED AFTER 1024 KiB"),
        ("opens_too_many", "concurrent_requests", "REFUSED AFTER 3 CONNECTIONS"),
    ] {
        assert_eq!(attempt(&run, name)["limits_hit"], json!([limit]), "{run:#}");
        let lines = lines(&client, &run, name).await;
        assert!(lines.iter().any(|line| line.contains(said)), "{lines:?}");
    }
}

#[tokio::test]
async fn without_a_grant_nothing_is_reached() {
    let (target, echo) = (Target::start().await, Tcp::start(true).await);
    let server = Server::start().await;
    let client = server.client();
    for (suite, url, name, said, grant) in [
        ("http", target.url(), "gets", "allow_http", "allow_http"),
        ("tcp", echo.address.to_string(), "echoes", "Permission denied", "allow_tcp"),
    ] {
        client.upload_guest(suite).await;
        let mut request = only(name);
        request["params"] = json!({"target": url});
        let run = client.run(suite, &request).await;
        assert_eq!(run["status"], "failed", "{run:#}");
        assert_says(text(&attempt(&run, name)["message"]), &[said]);
        let [exchange] = &exchanges(&client, &run, name).await[..] else { panic!("{name}") };
        assert_eq!(exchange["allowed"], false);
        let advice = format!("grant {grant} = [\"{url}\"]");
        assert_says(text(&exchange["error"]), &["not allowed by the policy", &advice]);
    }
    let seen: Vec<Seen> = target.seen();
    assert!(seen.is_empty(), "{seen:?}");
    patiently("the server is well", client.get("/healthz")).await;
}
