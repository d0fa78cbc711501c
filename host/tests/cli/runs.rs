//! `run`, `retry` and `logs` against a scripted server: how they follow, what they tell, how they end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::scripted::{Answer, Request, Scripted};
use crate::{command, told};

const RUN: &str = "01010101-0101-0101-0101-010101010101";
const VERSION: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn suite() -> Value {
    json!({"namespace": "default", "name": "hello", "version": VERSION})
}

fn run_as(status: &str) -> Value {
    json!({
        "id": RUN, "number": 12, "suite": suite(), "status": status, "reference": null,
        "created_at": "2026-01-02T03:04:05Z", "duration_ms": null, "repeat": 1, "parallelism": 1,
        "counts": {"passed": 0, "failed": 0, "skipped": 0, "error": 0, "cancelled": 0, "flaky": 0,
                   "soft_failed": 0},
    })
}

fn attempt(number: u32, status: &str) -> Value {
    json!({
        "number": number, "round": 1, "status": status,
        "cause": if status == "failed" { json!("assertion") } else { json!(null) }, "soft": false,
        "message": if status == "failed" { json!("it is\nwrong") } else { json!(null) },
        "location": null, "started_at": "2026-01-02T03:04:05Z", "duration_ms": 5, "fuel_used": 1,
        "memory_peak_bytes": 1, "logs_truncated": false, "limits_hit": [], "artifacts": [],
    })
}

/// The events of a run whose one test had attempts with these ends.
fn events(attempts: &[&str], run: &str) -> Vec<Value> {
    let mut events = vec![
        json!({"event": "run_queued", "number": 12, "suite": suite(), "tests": [{"name": "a/b", "soft": false, "max_attempts": 2, "skip": null}]}),
        json!({"event": "run_started"}),
    ];
    events.extend(test(1, attempts));
    events.push(finished(run));
    events
}

fn test(first: u32, attempts: &[&str]) -> Vec<Value> {
    let mut events = Vec::new();
    for (number, status) in (first..).zip(attempts) {
        let stage = |event| json!({"event": event, "stage": "test", "test": "a/b"});
        let (mut started, mut ended) = (stage("attempt_started"), stage("attempt_finished"));
        (started["round"], started["number"]) = (json!(1), json!(number));
        ended["attempt"] = attempt(number, status);
        events.extend([started, ended]);
    }
    let status = attempts.last().unwrap();
    let verdict = json!({"event": "test_finished", "test": "a/b", "round": 1, "status": status, "reason": null});
    events.push(verdict);
    events
}

fn finished(run: &str) -> Value {
    let counts = run_as(run)["counts"].clone();
    json!({"event": "run_finished", "status": run, "message": null, "counts": counts})
}

/// A stream of these events, numbered from `first`.
fn stream(first: usize, events: &[Value]) -> Answer {
    let mut text = String::from(": alive\n\n");
    for (seq, event) in (first..).zip(events) {
        let mut event = event.clone();
        event["run_id"] = json!(RUN);
        event["seq"] = json!(seq);
        event["at"] = json!("2026-01-02T03:04:05Z");
        text += &format!("id: {seq}\nevent: x\ndata: {event}\n\n");
    }
    Answer::text("text/event-stream", text)
}

/// What a server with that one run answers to everything but the stream of events.
fn answer(request: &Request, status: &str) -> Answer {
    let test = "GET /api/v1/runs/01010101-0101-0101-0101-010101010101/tests/a%2Fb";
    match request.line.as_str() {
        "POST /api/v1/suites/default/hello/runs" => Answer::json(202, run_as("queued")),
        line if line == test => {
            let mut failed = attempt(1, "failed");
            failed["detail"] = json!({
                "exchanges": [], "log_dropped_bytes": 3, "backtrace": [], "further_failures": [],
                "spans": [], "sub_results": [], "values": [],
            });
            Answer::json(200, json!({"name": "a/b", "attempts": [failed]}))
        }
        line if line.contains("/logs?") => {
            let line = json!({
                "stage": "test", "test": "a/b", "round": 1, "attempt": 1,
                "at": "2026-01-02T03:04:05.001Z", "source": "stdout", "text": "what it wrote",
            });
            Answer::text("application/x-ndjson", format!("{line}\n"))
        }
        line if line.contains("/report?") => Answer::text("application/xml", "<report/>".into()),
        line if line.ends_with("/cancel") => Answer::json(202, run_as("running")),
        line if line.ends_with("/retry") => Answer::json(202, run_as("queued")),
        line if line.contains("/runs/") => Answer::json(200, run_as(status)),
        line => Answer::json(404, json!({"detail": format!("nothing at {line}")})),
    }
}

fn is_events(request: &Request) -> bool {
    request.line.ends_with("/events")
}

/// How `handoff run` with these arguments ends when the run goes like this.
fn run_of(
    attempts: &'static [&str],
    status: &'static str,
    more: &[&str],
) -> (Option<i32>, String, String) {
    let server = Scripted::start(move |request, _| match is_events(request) {
        true => stream(1, &events(attempts, status)),
        false => answer(request, status),
    });
    let arguments = [&["run", "hello", "--server", &server.url], more].concat();
    told(command(&arguments).output().unwrap())
}

#[test]
fn a_run_that_passed_ends_with_0_and_is_shown_line_by_line() {
    let (code, out, err) = run_of(&["passed"], "passed", &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    insta::assert_snapshot!(out);
}

#[test]
fn a_run_that_failed_ends_with_100_and_tells_why() {
    let (code, out, _) = run_of(&["failed"], "failed", &[]);
    assert_eq!(code, Some(100), "{out}");
    insta::assert_snapshot!(out);
}

#[test]
fn a_flaky_run_ends_with_101_only_if_that_was_asked() {
    let (code, out, _) = run_of(&["failed", "passed"], "passed", &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("  TRY 1 FAIL [   0.005s] hello a/b\n"), "{out}");
    assert!(out.contains("    FLKY 2/2 [   0.005s] hello a/b\n"), "{out}");
    let (code, ..) = run_of(&["failed", "passed"], "passed", &["--fail-on-flaky"]);
    assert_eq!(code, Some(101));
}

#[test]
fn an_error_of_the_platform_ends_with_102_and_a_cancelled_run_with_130() {
    assert_eq!(run_of(&["error"], "error", &[]).0, Some(102));
    assert_eq!(run_of(&["cancelled"], "cancelled", &[]).0, Some(130));
}

#[test]
fn json_goes_to_standard_output_and_the_course_to_standard_error() {
    let (code, out, err) = run_of(&["passed"], "passed", &["-o", "json"]);
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["status"], "passed");
    assert!(err.contains("        PASS [   0.005s] hello a/b\n"), "{err}");
}

#[test]
fn a_report_is_fetched_into_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reports/junit.xml");
    let order = format!("junit={}", path.display());
    let (code, ..) = run_of(&["failed"], "failed", &["--report", &order]);
    assert_eq!(code, Some(100));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "<report/>");
}

#[test]
fn a_connection_that_breaks_is_made_again_from_the_last_event() {
    let server = Scripted::start(move |request, before| {
        let events = events(&["passed"], "passed");
        match (is_events(request), before) {
            (true, 0) => stream(1, &events[..3]),
            (true, 1) => Answer::json(503, "{}"),
            (true, _) => stream(4, &events[3..]),
            (false, _) => answer(request, "passed"),
        }
    });
    let (code, out, err) =
        told(command(&["run", "hello", "--server", &server.url]).output().unwrap());
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out.matches("hello a/b").count(), 1, "{out}");
    let follows: Vec<_> = server.requests().into_iter().filter(is_events).collect();
    let after: Vec<_> = follows
        .iter()
        .map(|r| r.header.lines().find_map(|l| l.strip_prefix("last-event-id: ")).unwrap())
        .collect();
    assert_eq!(after, ["0", "3", "3"]);
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let refuse = |status: u16, kind: &'static str, detail: &'static str| {
        let server = Scripted::start(move |_, _| {
            let kind = format!("urn:handoff:problem:{kind}");
            Answer::json(status, json!({"type": kind, "detail": detail, "request_id": "r1"}))
        });
        told(command(&["run", "hello", "--server", &server.url]).output().unwrap())
    };
    let (code, _, err) = refuse(404, "not-found", "there is no suite default/hello\u{1b}[2J");
    assert_eq!(
        (code, err.as_str()),
        (Some(2), "error: there is no suite default/hello\\u{1b}[2J\n")
    );
    let (code, _, err) =
        refuse(422, "nothing-matches", "no test matches the filter \"x\": the suite has \"a\"");
    assert_eq!(code, Some(4), "{err}");
    for (status, kind, expected) in [
        (401, "unauthorized", 96),
        (403, "forbidden", 96),
        (409, "conflict", 2),
        (422, "rejected", 2),
        (429, "queue-full", 96),
        (503, "unavailable", 96),
    ] {
        assert_eq!(refuse(status, kind, "no").0, Some(expected), "{kind}");
    }
    let (code, _, err) = refuse(500, "internal", "the server made a mistake");
    assert_eq!((code, err.as_str()), (Some(96), "error: the server made a mistake (request r1)\n"));
}

#[test]
fn what_is_no_handoff_server_is_told() {
    let server = Scripted::start(|_, _| Answer::text("text/html", "<html>".into()));
    let (code, _, err) = told(command(&["suites", "--server", &server.url]).output().unwrap());
    assert_eq!(code, Some(96));
    assert!(err.contains("is it a handoff server?"), "{err}");
    let server = Scripted::start(|_, _| Answer::json(404, json!({"detail": "no such page"})));
    let (code, _, err) = told(command(&["suites", "--server", &server.url]).output().unwrap());
    assert_eq!(code, Some(96), "{err}");
}

#[test]
fn waiting_has_an_end_and_the_run_goes_on() {
    let server = Scripted::start(|request, _| match is_events(request) {
        true => Answer { hang: true, ..stream(1, &events(&["passed"], "passed")[..2]) },
        false => answer(request, "running"),
    });
    let (code, _, err) = told(
        command(&["run", "hello", "--wait", "1ms", "--server", &server.url]).output().unwrap(),
    );
    assert_eq!(code, Some(103), "{err}");
    assert!(server.requests().iter().all(|request| !request.line.ends_with("/cancel")));
}

/// Starts `handoff run` against a server whose run never ends, and waits until it is followed.
fn endless(server: &Scripted) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    let mut child: Command = command(&["run", "hello", "--server", &server.url]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Starting") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended early");
    }
    (child, out)
}

fn interrupt(child: &std::process::Child) {
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

#[test]
fn an_interrupt_cancels_the_run_and_a_second_one_ends_at_once() {
    let server = Scripted::start(|request, _| match is_events(request) {
        true => {
            let mut events = events(&["passed"], "passed");
            events.truncate(2);
            Answer { hang: true, ..stream(1, &events) }
        }
        false => answer(request, "running"),
    });
    let (mut child, mut out) = endless(&server);
    interrupt(&child);
    while !server.requests().iter().any(|request| request.line.ends_with("/cancel")) {
        assert!(child.try_wait().unwrap().is_none(), "it ended at the first interrupt");
        std::thread::yield_now();
    }
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    out.read_to_string(&mut String::new()).unwrap();
}

#[test]
fn a_retry_shows_what_is_new_and_ends_by_the_new_result() {
    let server = Scripted::start(|request, before| {
        let past = events(&["failed"], "failed");
        if !is_events(request) {
            return answer(request, "failed");
        }
        if before == 0 {
            return stream(1, &past);
        }
        let mut new = vec![
            json!({"event": "retry_requested", "tests": ["a/b"], "by": null}),
            json!({"event": "run_started"}),
        ];
        new.extend(test(2, &["passed"]));
        new.push(finished("passed"));
        stream(past.len() + 1, &new)
    });
    let (code, out, err) =
        told(command(&["retry", "hello#12", "--server", &server.url]).output().unwrap());
    assert_eq!(code, Some(0), "{err}");
    insta::assert_snapshot!(out);
}

#[test]
fn logs_are_shown_under_their_attempts() {
    let server = Scripted::start(|request, _| answer(request, "failed"));
    let (code, out, err) =
        told(command(&["logs", RUN, "a/b", "--server", &server.url]).output().unwrap());
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out, "──── a/b, attempt 1\n03:04:05.001 stdout what it wrote\n");
}

#[test]
fn a_run_is_asked_for_with_what_was_said_and_a_key() {
    let server = Scripted::start(|request, _| answer(request, "queued"));
    let arguments = [
        "run",
        "hello",
        "log.in",
        "--param",
        "a=b",
        "--fail-fast",
        "--detach",
        "--server",
        &server.url,
    ];
    let (code, out, err) = told(command(&arguments).output().unwrap());
    assert_eq!((code, out.trim_end()), (Some(0), RUN), "{err}");
    let request = &server.requests()[0];
    assert!(
        request.header.lines().any(|line| line.starts_with("idempotency-key: ")),
        "{}",
        request.header
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!((&body["filter"], &body["params"]["a"]), (&json!("log.in"), &json!("b")));
    assert_eq!(body["max_failures"], 1);
}
