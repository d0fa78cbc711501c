//! A run's events as they come and as they are kept: server-sent events, WebSocket, live log.

use futures::{SinkExt, StreamExt};
use handoff_tests::{Client, Event, Server, Settings, Target, guest, patiently};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::clients::hit;
use crate::history::History;
use crate::results::assert_says;
use crate::steps;

/// The events that are stored of a run.
async fn stored(client: &Client, run: &str, after: u64) -> Vec<Event> {
    let mut events = client.events(run, after).await;
    patiently("the events end with the run", events.rest()).await
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn socket(server: &Server, path: &str, headers: HeaderMap) -> Result<Socket, Error> {
    let url = format!("{}/api/v1{path}", server.url().replacen("http", "ws", 1));
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().extend(headers);
    let connected = tokio_tungstenite::connect_async(request);
    patiently("the server answers", connected).await.map(|(socket, _)| socket)
}

/// The next event; none when the server closed.
async fn next(socket: &mut Socket) -> Option<Value> {
    loop {
        match patiently("a message comes", socket.next()).await?.unwrap() {
            Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

async fn rest(socket: &mut Socket) -> Vec<Value> {
    let mut events = Vec::new();
    while let Some(event) = next(socket).await {
        events.push(event);
    }
    events
}

fn last_event_id(seq: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("last-event-id", HeaderValue::from(seq));
    headers
}

#[tokio::test]
async fn what_is_heard_live_is_what_is_replayed_also_after_a_kill() {
    let target = Target::start().await;
    let mut server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    let run = client.submit("steps", &steps::held("a")).await;
    let mut sse = client.events(&run, 0).await;
    let mut ws = socket(&server, &format!("/runs/{run}/events"), HeaderMap::new()).await.unwrap();
    // Both follow before the run can end.
    let mut heard = vec![patiently("the run is queued", sse.next()).await.unwrap()];
    let mut messages = vec![next(&mut ws).await.unwrap()];
    steps::wait_until_held(&target, "a", 1).await;
    target.release("a");
    heard.extend(patiently("the run ends", sse.rest()).await);
    messages.extend(rest(&mut ws).await);

    assert_eq!(History::of_ended_run(&heard).status(), "passed");
    assert_eq!(stored(&client, &run, 0).await, heard);
    let data: Vec<_> = heard.iter().map(|event| event.data.clone()).collect();
    assert_eq!(messages, data);
    for event in &heard {
        assert_eq!(event.data["seq"], event.seq);
        assert_eq!(event.data["event"], event.name.as_str());
        assert_eq!(event.data["run_id"], run.as_str());
    }
    server.kill9().await;
    let server = server.restart().await;
    assert_eq!(stored(&server.client(), &run, 0).await, heard);
}

#[tokio::test]
async fn from_every_position_exactly_the_rest_comes() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("flaky").await;
    let run = client.submit("flaky", &json!({})).await;
    client.finished(&run).await;
    let all = stored(&client, &run, 0).await;
    History::of_ended_run(&all);
    let path = format!("/runs/{run}/events");
    for after in 0..=all.len() + 1 {
        let rest_of_all = &all[after.min(all.len())..];
        let after = after as u64;
        assert_eq!(stored(&client, &run, after).await, rest_of_all, "after {after}");
        let mut ws = socket(&server, &path, last_event_id(after)).await.unwrap();
        let seen = rest(&mut ws).await;
        assert!(seen.iter().eq(rest_of_all.iter().map(|event| &event.data)), "after {after}");
        let query = client.request(Method::GET, &format!("{path}?after={after}"));
        let mut events = handoff_tests::Events::new(query.send().await.unwrap());
        assert_eq!(patiently("the events end", events.rest()).await, rest_of_all);
    }
    for odd in ["x", "-1", "1.5"] {
        let request = client.request(Method::GET, &path).header("last-event-id", odd);
        client.send(request).await.problem(400);
    }
}

#[tokio::test]
async fn whoever_comes_back_while_the_run_goes_on_misses_nothing() {
    let target = Target::start().await;
    let server = steps::server(Settings::default(), &target).await;
    let client = server.client();
    let run = client.submit("steps", &steps::held("a")).await;
    let mut first = client.events(&run, 0).await;
    let mut heard = Vec::new();
    let is_held = |event: &Event| event.name == "attempt_started" && event.data["test"] == "step-2";
    while !heard.last().is_some_and(is_held) {
        heard.push(patiently("the second test starts", first.next()).await.unwrap());
    }
    drop(first);
    let mut second = client.events(&run, heard.last().unwrap().seq).await;
    steps::wait_until_held(&target, "a", 1).await;
    target.release("a");
    heard.extend(patiently("the run ends", second.rest()).await);
    assert_eq!(stored(&client, &run, 0).await, heard);
}

#[tokio::test]
async fn readers_that_stop_do_not_hold_up_the_run_or_other_readers() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("thousand").await;
    let run = client.submit("thousand", &json!({})).await;
    let path = format!("/runs/{run}/events");
    let mut stopped = Vec::new();
    for _ in 0..5 {
        let answer = client.events_request(&run, 0).send().await.unwrap();
        let ws = socket(&server, &path, HeaderMap::new()).await.unwrap();
        stopped.push((answer, ws));
    }
    let ended = client.finished(&run).await;
    assert_eq!((&ended["status"], &ended["counts"]["passed"]), (&json!("passed"), &json!(1000)));
    let events = stored(&client, &run, 0).await;
    History::of_ended_run(&events);
    // One that goes on where it stopped still gets everything.
    let (answer, _) = stopped.remove(0);
    let mut late = handoff_tests::Events::new(answer);
    assert_eq!(patiently("the events end", late.rest()).await, events);
}

#[tokio::test]
async fn more_followers_than_allowed_are_told_to_come_back() {
    let target = Target::start().await;
    let settings = Settings::default().flag("runner-watchers-per-run", 2);
    let server = steps::server(settings, &target).await;
    let client = server.client();
    let run = client.submit("steps", &steps::held("a")).await;
    let mut first = client.events(&run, 0).await;
    let second = client.events(&run, 0).await;
    let refused = client.send(client.events_request(&run, 0)).await;
    assert!(refused.headers.contains_key("retry-after"));
    assert_says(&refused.problem(503), &["runner.watchers_per_run"]);
    hit(&client, "runner_watchers_per_run").await;
    drop(second);
    target.release("a");
    patiently("the run ends", first.rest()).await;
    client.finished(&run).await;
}

#[tokio::test]
async fn a_client_that_says_something_hears_everything_and_a_goodbye() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let run = client.run("noop", &json!({})).await["id"].as_str().unwrap().to_owned();
    let known = stored(&client, &run, 0).await.len();
    let path = format!("/runs/{run}/events");
    for _ in 0..20 {
        let mut socket = socket(&server, &path, HeaderMap::new()).await.unwrap();
        // More than is read before the events are told; and nothing here was told to the client yet.
        for _ in 0..100 {
            if socket.send(Message::Text("x".repeat(1000).into())).await.is_err() {
                break;
            }
        }
        assert_eq!(rest(&mut socket).await.len(), known);
    }
}

#[tokio::test]
async fn a_web_socket_is_refused_as_other_requests_are() {
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("noop").await;
    let run = client.run("noop", &json!({})).await["id"].as_str().unwrap().to_owned();
    let status = |refused: Result<Socket, Error>| match refused {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("not refused: {other:?}"),
    };
    let none = "/runs/01890a5d-ac96-774b-bcce-b302099a8057/events";
    assert_eq!(status(socket(&server, none, HeaderMap::new()).await), 404);
    let mut foreign = HeaderMap::new();
    foreign.insert("origin", HeaderValue::from_static("http://page.example"));
    let path = format!("/runs/{run}/events");
    assert_eq!(status(socket(&server, &path, foreign).await), 403);
}

#[tokio::test]
async fn a_log_is_followed_while_a_test_still_runs() {
    let target = Target::start().await;
    let server = Server::start().await;
    let client = server.client();
    client.upload_guest("teardown").await;
    // Every stage waits at the target until it is let go; teardown first says what it saw.
    let held = format!("{}/hold/a", target.url());
    let policy = json!({"allow_http": [target.url()], "config": {"target": held}});
    client.set_policy("teardown", &policy).await;
    let run = client.submit("teardown", &json!({})).await;
    let is_asked = |stage: &'static str| {
        move |seen: &[handoff_tests::Seen]| seen.iter().any(|request| request.path.ends_with(stage))
    };
    target.wait_for("setup runs", is_asked("setup")).await;
    let follow = client.request(Method::GET, &format!("/runs/{run}/logs?follow=true"));
    let answer = patiently("the log begins", follow.send()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut log = answer.bytes_stream();
    target.release("a/stage/setup");
    target.release("a/stage/passes");
    let mut text = String::new();
    while !text.contains("TEARDOWN SAW SET IN SETUP\n") {
        let piece = patiently("the line comes while teardown is held", log.next()).await;
        text.push_str(&String::from_utf8_lossy(&piece.unwrap().unwrap()));
    }
    target.release("a/stage/teardown");
    while let Some(piece) = patiently("the log ends with the run", log.next()).await {
        text.push_str(&String::from_utf8_lossy(&piece.unwrap()));
    }
    assert_eq!(client.finished(&run).await["status"], "passed");
    assert_eq!(text.matches("TEARDOWN SAW").count(), 1, "{text}");

    let stored = client.get(&format!("/runs/{run}/logs")).await.body;
    assert!(stored.as_str().unwrap().contains("TEARDOWN SAW SET IN SETUP"), "{stored}");
}

#[tokio::test]
async fn a_log_is_read_by_test_and_attempt() {
    let server = Server::start().await;
    let client = server.client();
    let upload = client.upload_request(guest("outcomes")).query(&[("namespace", "default")]);
    client.send(upload).await.expect(StatusCode::CREATED);
    let run = client.run("outcomes", &json!({"filter": "logs_at_every_level|shows_its"})).await;
    let path = format!("/runs/{}/logs", run["id"].as_str().unwrap());
    let read = async |query: &str| {
        let answer = client.get(&format!("{path}?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body.as_str().map_or_else(|| answer.body.to_string(), str::to_owned)
    };
    let all = read("").await;
    for words in ["SETUP RAN", "on stdout", "on stderr", "at error", "größe ✓ 1", "ATTEMPT 1"] {
        assert!(all.contains(words), "{words} in {all}");
    }
    let one = read("test=logs_at_every_level&format=json").await;
    let lines: Vec<Value> = one.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<_> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert!(texts.contains(&"on stdout") && !texts.contains(&"ATTEMPT 1"), "{texts:?}");
    assert_eq!(texts.last(), Some(&"without a line break"));
    assert_eq!(read("test=logs_at_every_level&attempt=2").await, "");
    client.get(&format!("{path}?test=nothing")).await.problem(404);
    client.get(&format!("{path}?format=xml")).await.problem(400);
    let (setup, teardown) = (read("stage=setup").await, read("stage=teardown").await);
    assert!(setup.contains("SETUP RAN") && !setup.contains("ATTEMPT 1"), "{setup}");
    assert!(teardown.contains("TEARDOWN SAW") && !teardown.contains("SETUP RAN"), "{teardown}");
    assert!(!read("stage=test").await.contains("SETUP RAN"));
    client.get(&format!("{path}?stage=between")).await.problem(400);
}

#[tokio::test]
async fn setup_and_teardown_are_read_with_all_that_they_left() {
    let server = Server::start().await;
    let client = server.client();
    let upload = client.upload_request(guest("outcomes")).query(&[("namespace", "default")]);
    client.send(upload).await.expect(StatusCode::CREATED);
    let run = client.run("outcomes", &json!({"filter": "^passes$"})).await;
    for stage in ["setup", "teardown"] {
        let read = client.json(&format!("/runs/{}/{stage}", run["id"].as_str().unwrap())).await;
        assert_eq!((&read["status"], &read["attempts_total"]), (&json!("passed"), &json!(1)));
        assert!(read["attempts"][0]["detail"]["values"].is_array(), "{read:#}");
    }
    // Where every test is disabled or left out, neither is begun.
    let mut ended = Vec::new();
    for shard in ["1/99", "2/99"] {
        ended.push(client.run("outcomes", &json!({"filter": "^passes$", "shard": shard})).await);
    }
    let empty = ended.iter().find(|run| run["setup"].is_null()).expect("one test is in one shard");
    assert_eq!(empty["status"], "passed");
    client.get(&format!("/runs/{}/setup", empty["id"].as_str().unwrap())).await.problem(404);
    let nothing = "00000000-0000-7000-8000-000000000000";
    client.get(&format!("/runs/{nothing}/setup")).await.problem(404);
}
