//! What an upload costs and tells: the same bytes are worked on once, and compiling a large component
//! shows how far it is and holds up nobody.

use std::time::Instant;

use handoff_tests::{Client, Handoff, Server, Settings, guest, guest_file, patiently};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::components::{slow_to_compile, with_module};
use crate::results::{assert_says, metric, text};

const COMPILED: &str = "handoff_compile_cache_total{from=\"compiled\"}";

/// What an upload tells while it goes on.
struct Told {
    answer: Response,
    rest: String,
}

impl Told {
    async fn of(client: &Client, component: Vec<u8>) -> Self {
        let request = client.upload_request(component).header("accept", "text/event-stream");
        let answer = patiently("the upload begins", request.send()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, rest: String::new() }
    }

    /// The next event.
    async fn next(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                let event = serde_json::from_str(data).unwrap();
                self.rest = rest.to_owned();
                return event;
            }
            let chunk = patiently("the upload goes on", self.answer.chunk()).await.unwrap();
            self.rest.push_str(std::str::from_utf8(&chunk.expect("an end is told")).unwrap());
        }
    }

    /// The next event of this name, or at this step.
    async fn wait_for(&mut self, what: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["event"] == what || event["step"] == what {
                return event;
            }
            assert_eq!(event["event"], "step", "waited for {what}: {event:#}");
        }
    }
}

#[tokio::test]
async fn a_second_upload_of_the_same_bytes_costs_no_compilation() {
    let server = Server::start().await;
    let client = server.client();
    let first = client.send(client.upload_request(guest("noop"))).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(metric(&client, COMPILED).await, 1);
    let again = client.send(client.upload_request(guest("noop"))).await;
    assert_eq!((again.status, again.body), (StatusCode::OK, first.body.clone()));
    assert_eq!(metric(&client, COMPILED).await, 1);

    // After a restart neither the upload nor a run compiles what was compiled before.
    let server = server.restart().await;
    let client = server.client();
    let again = Told::of(&client, guest("noop")).await.wait_for("done").await;
    assert_eq!((&again["new"], &again["version"]), (&json!(false), &first.body));
    assert_eq!(client.run("noop", &json!({})).await["status"], "passed");
    let metrics = client.get("/metrics").await.body;
    assert!(!metrics.as_str().unwrap().contains(COMPILED), "{metrics}");
}

#[tokio::test]
async fn the_same_bytes_at_the_same_time_take_one_place_and_none_is_refused() {
    let settings = Settings::default().flag("compile-inspections", 1);
    let settings = settings.flag("compile-concurrency", 1).flag("compile-queue", 0);
    let server = settings.start().await;
    let client = server.client();
    let uploads = (0..20).map(|_| client.send(client.upload_request(guest("noop"))));
    let answers = futures::future::join_all(uploads).await;
    let new = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(new, 1);
    for answer in &answers {
        assert!(answer.status.is_success(), "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(metric(&client, COMPILED).await, 1);
}

#[tokio::test]
async fn a_compilation_tells_how_far_it_is_and_holds_up_no_run() {
    // It is not to end before the test does.
    let settings = Settings::default().flag("compile-cpu-ms", 3_600_000);
    let settings = settings
        .flag("compile-wall-ms", 3_600_000)
        .flag("http-upload-timeout-ms", 3_600_000)
        .flag("compile-inspect-ms", 600_000);
    let server = settings.start().await;
    let client = server.client();
    client.upload_guest("noop").await;

    let slow = with_module(&guest("thousand"), &slow_to_compile(1_000, 3_000));
    let asked = Instant::now();
    let mut upload = Told::of(&client, slow).await;
    upload.wait_for("compile").await;
    assert_eq!(client.run("noop", &json!({})).await["status"], "passed");
    // It is still compiled when the run is over: what was told before then waits in the connection.
    let over = asked.elapsed().as_millis();
    let mut told = 0;
    while told < over {
        let next = upload.next().await;
        assert_eq!((text(&next["event"]), text(&next["step"])), ("step", "compile"), "{next:#}");
        told = next["elapsed_ms"].as_u64().unwrap().into();
    }
    // A second one has to wait, and says so.
    let other = with_module(&guest("ten"), &slow_to_compile(1, 1));
    Told::of(&client, other).await.wait_for("wait").await;
}

#[tokio::test]
async fn an_upload_that_is_refused_says_so_in_its_last_event() {
    let server = Server::start().await;
    let client = server.client();
    let refused = Told::of(&client, guest("describe-empty")).await.wait_for("refused").await;
    let problem = &refused["problem"];
    assert_eq!(problem["status"], 422, "{refused:#}");
    assert!(problem["request_id"].is_string(), "{refused:#}");
    assert_says(text(&problem["detail"]), &["no tests"]);
    let file = guest_file("describe-empty");
    let upload = ["upload", file.to_str().unwrap(), "--server", server.url()];
    let told = Handoff::new(&upload).run().await.failure(2);
    assert_says(&told, &["no tests"]);
}

#[tokio::test]
async fn the_command_line_says_that_it_compiles_and_does_so_once() {
    let home = tempfile::tempdir().unwrap();
    let (cache, file) = (home.path().to_str().unwrap(), guest_file("noop"));
    let test = ["test", file.to_str().unwrap()];
    for compiles in [true, false] {
        let ended = Handoff::new(&test).variable("XDG_CACHE_HOME", cache).run().await;
        assert_eq!(ended.stderr.contains("Compiling"), compiles, "{}", ended.stderr);
        ended.expect(0);
    }
    let server = Server::start().await;
    let upload = ["upload", file.to_str().unwrap(), "--server", server.url()];
    for compiles in [true, false] {
        let ended = Handoff::new(&upload).run().await;
        assert_eq!(ended.stderr.contains("Compiling"), compiles, "{}", ended.stderr);
        let told = if compiles { "uploaded" } else { "already there" };
        assert_says(&ended.expect(0), &[told]);
    }
}
