//! Requests whose head cannot be taken: too long an address, too many headers, no HTTP at all. Each is
//! answered as every other request that is refused.

use handoff_tests::{Answer, Client, Server, Settings, patiently};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::clients::{connect, hit};
use crate::results::{assert_says, metric};

const GET: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n";

/// What the server answers to these bytes until it closes the connection, which it must not reset.
async fn answers(server: &Server, said: &[u8]) -> Vec<Answer> {
    let mut stream = connect(server).await;
    stream.write_all(said).await.unwrap();
    let mut heard = String::new();
    let hearing = stream.read_to_string(&mut heard);
    patiently("the server closes", hearing).await.expect("the connection is not reset");
    let mut answers = Vec::new();
    let mut rest = heard.as_str();
    while let Some((head, more)) = rest.split_once("\r\n\r\n") {
        let (first, lines) = head.split_once("\r\n").unwrap();
        let status = first.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        let headers = lines.split("\r\n").map(header).collect::<HeaderMap>();
        let size = headers["content-length"].to_str().unwrap().parse().unwrap();
        let (body, next) = more.split_at(size);
        let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
        answers.push(Answer { status: StatusCode::from_u16(status).unwrap(), headers, body });
        rest = next;
    }
    assert_eq!(rest, "", "an answer is whole");
    answers
}

/// The only answer to these bytes: a problem with an id, after which the connection is closed.
async fn refusal(server: &Server, said: &[u8], status: u16) -> String {
    let mut answers = answers(server, said).await;
    let answer = answers.pop().expect("there is an answer");
    assert!(answers.is_empty(), "there is one answer");
    assert_eq!(answer.headers["connection"], "close");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.body["request_id"], answer.headers["x-request-id"].to_str().unwrap());
    answer.problem(status)
}

#[tokio::test]
async fn an_address_that_is_too_long_is_refused_and_the_next_request_is_not() {
    let server = Settings::default().flag("http-uri-bytes", 100).start().await;
    let client = server.client();
    let path = |bytes: usize| format!("/healthz?{}", "x".repeat(bytes - "/healthz?".len()));
    client.get(&path(100)).await.expect(StatusCode::OK);
    let answer = client.get(&path(101)).await;
    assert!(answer.headers.get("connection").is_none(), "the connection goes on: {answer:?}");
    assert!(answer.headers.contains_key("x-request-id"));
    assert_says(&answer.problem(414), &["100 bytes", "`http.uri_bytes`"]);
    hit(&client, "http_uri_bytes").await;
    // Longer than hyper reads, and one that does not even end within a head.
    for bytes in [65_535, 200_000] {
        let said = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n", path(bytes));
        let detail = refusal(&server, said.as_bytes(), 414).await;
        assert_says(&detail, &["100 bytes", "`http.uri_bytes`"]);
    }
}

/// How often the server answered what it could not read.
async fn unreadable(client: &Client, status: u16) -> u64 {
    let labels = format!("method=\"other\",route=\"unmatched\",status=\"{status}\"");
    metric(client, &format!("handoff_http_requests_total{{{labels}}}")).await
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_whether_it_ends_or_not() {
    let settings = Settings::default().flag("http-head-bytes", 10_000);
    let server = settings.flag("http-header-timeout-ms", 3_600_000).start().await;
    let client = server.client();
    let head = |bytes: usize| {
        let start = format!("{GET}connection: close\r\nx: ");
        format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
    };
    assert_eq!(answers(&server, head(10_000).as_bytes()).await[0].status, 200);
    let endless = &head(1_000_000)[..100_000];
    for said in [&head(10_001), &head(1_000_000), endless] {
        let detail = refusal(&server, said.as_bytes(), 431).await;
        assert_says(&detail, &["10000 bytes", "`http.head_bytes`"]);
    }
    hit(&client, "http_head_bytes").await;
    assert_eq!(unreadable(&client, 431).await, 3);
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let server = Settings::default().flag("http-headers", 10).start().await;
    let client = server.client();
    let head = |headers: usize| {
        format!("{GET}connection: close\r\n{}\r\n", "x: y\r\n".repeat(headers - 2))
    };
    assert_eq!(answers(&server, head(10).as_bytes()).await[0].status, 200);
    let detail = refusal(&server, head(11).as_bytes(), 431).await;
    assert_says(&detail, &["10 headers", "`http.headers`"]);
    hit(&client, "http_headers").await;
    assert_eq!(unreadable(&client, 431).await, 1);
}

#[tokio::test]
async fn what_is_no_http_is_answered_too_also_after_what_was() {
    let server = Server::start().await;
    let client = server.client();
    let garbage: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 the start of TLS\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET / HTTP/3.0\r\nhost: localhost\r\n\r\n",
    ];
    for said in garbage {
        assert_says(&refusal(&server, said, 400).await, &["cannot be read as HTTP/1.1"]);
    }
    assert_eq!(unreadable(&client, 400).await, 5);
    let after_one = [GET.as_bytes(), b"\r\n", garbage[2]].concat();
    let [first, second] = answers(&server, &after_one).await.try_into().unwrap();
    first.expect(StatusCode::OK);
    assert_says(&second.problem(400), &["cannot be read as HTTP/1.1"]);
    client.get("/healthz").await.expect(StatusCode::OK);
}
