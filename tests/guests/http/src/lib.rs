//! Requests of every kind to the server that the configuration names as `target`
//! (`http://127.0.0.1:PORT`). Each test says what it asks for: `ANY /echo` is to answer with JSON
//! `{method, path, headers, body}`.

use handoff_sdk::http::{self, Kind};
use handoff_sdk::{Context, Result, TestCase, ensure, ensure_eq};
use serde_json::{Value, json};
use std::time::Duration;

handoff_sdk::suite! { name: "http", timeout: "5s", wants_http: ["http://127.0.0.1:8080"] }

fn target(cx: &Context, path: &str) -> Result<String> {
    Ok(format!("{}{path}", cx.require_param("target")?))
}

#[handoff_sdk::test]
fn gets(cx: &Context) -> Result {
    let answer = http::get(target(cx, "/echo")?).query("q", "a b").send()?.expect_status(200)?;
    let echo: Value = answer.json()?;
    ensure_eq!(echo["method"], "GET");
    ensure_eq!(echo["path"], "/echo?q=a%20b");
    ensure_eq!(echo["body"], "");
    Ok(())
}

#[handoff_sdk::test]
fn posts_json(cx: &Context) -> Result {
    let sent = json!({ "name": "größe ✓" });
    let echo: Value = http::post(target(cx, "/echo")?).json(&sent).send()?.json()?;
    ensure_eq!(echo["method"], "POST");
    ensure_eq!(echo["headers"]["content-type"], "application/json");
    ensure_eq!(echo["body"], sent.to_string());
    Ok(())
}

#[handoff_sdk::tests]
fn other_methods() -> impl Iterator<Item = TestCase> {
    [
        ("puts", http::Method::PUT),
        ("patches", http::Method::PATCH),
        ("deletes", http::Method::DELETE),
    ]
    .into_iter()
    .map(|(name, method)| {
        TestCase::new(name, move |cx| -> Result {
            let url = target(cx, "/echo")?;
            let echo: Value = http::request(method.clone(), url).body("body").send()?.json()?;
            ensure_eq!(echo["method"], method.as_str());
            ensure_eq!(echo["body"], "body");
            Ok(())
        })
    })
}

#[handoff_sdk::test]
fn sends_headers(cx: &Context) -> Result {
    let request = http::get(target(cx, "/echo")?).header("x-handoff", "yes").bearer("token");
    let echo: Value = request.send()?.json()?;
    ensure_eq!(echo["headers"]["x-handoff"], "yes");
    ensure_eq!(echo["headers"]["authorization"], "Bearer token");
    ensure!(echo["headers"]["traceparent"].is_string(), "THERE IS NO TRACEPARENT");
    Ok(())
}

/// `GET /nowhere` answers 404.
#[handoff_sdk::test]
fn fails_by_an_unexpected_status(cx: &Context) -> Result {
    http::get(target(cx, "/nowhere")?).send()?.expect_status(200)?;
    Ok(())
}

/// `GET /redirect` answers 302 to a host that is not granted. Nobody follows it.
#[handoff_sdk::test]
fn is_not_redirected(cx: &Context) -> Result {
    let answer = http::get(target(cx, "/redirect")?).send()?.expect_status(302)?;
    ensure!(answer.header("location").is_some());
    Ok(())
}

/// The configuration's `denied`, or a host that is never granted.
#[handoff_sdk::test]
fn is_denied(cx: &Context) -> Result {
    let url = cx.param("denied").unwrap_or_else(|| "http://denied.example.test/".into());
    match http::get(url).send() {
        Err(error) => {
            ensure_eq!(error.kind(), Kind::Denied);
            println!("DENIED: {error}");
            Ok(())
        }
        Ok(answer) => handoff_sdk::bail!("REACHED WHAT IS DENIED: {}", answer.status()),
    }
}

/// The same as a failure.
#[handoff_sdk::test]
fn fails_by_a_denied_request() -> Result {
    http::get("http://denied.example.test/").send()?;
    Ok(())
}

/// `POST /count` answers with the number of bytes of the body.
#[handoff_sdk::test]
fn sends_a_big_body(cx: &Context) -> Result {
    let answer = http::post(target(cx, "/count")?).body(vec![b'x'; 8 << 20]).send()?;
    ensure_eq!(answer.text(), (8 << 20).to_string());
    Ok(())
}

/// `GET /bytes/N` answers with so many bytes.
#[handoff_sdk::test]
fn receives_a_big_body(cx: &Context) -> Result {
    let answer = http::get(target(cx, "/bytes/8388608")?).send()?.expect_status(200)?;
    ensure_eq!(answer.bytes().len(), 8 << 20);
    Ok(())
}

/// Until it is stopped.
#[handoff_sdk::test(timeout = "1m")]
fn receives_too_much(cx: &Context) -> Result {
    for received in 0..1_000 {
        if let Err(error) = http::get(target(cx, "/bytes/8388608")?).send() {
            println!("REFUSED AFTER {} MiB: {error}", received * 8);
            return Ok(());
        }
    }
    Ok(())
}

/// Until it is stopped.
#[handoff_sdk::test(timeout = "1m")]
fn sends_too_much(cx: &Context) -> Result {
    for sent in 0..1_000 {
        let request = http::post(target(cx, "/count")?).body(vec![b'x'; 8 << 20]);
        if let Err(error) = request.send() {
            println!("REFUSED AFTER {} MiB: {error}", sent * 8);
            return Ok(());
        }
    }
    Ok(())
}

/// `GET /never` accepts and never answers. Ends at the attempt's deadline.
#[handoff_sdk::test(timeout = "200ms")]
fn waits_for_ever(cx: &Context) -> Result {
    http::get(target(cx, "/never")?).send()?;
    Ok(())
}

/// Ends at its own time limit, and goes on.
#[handoff_sdk::test]
fn stops_waiting(cx: &Context) -> Result {
    let request = http::get(target(cx, "/never")?).timeout(Duration::from_millis(50));
    let Err(error) = request.send() else { handoff_sdk::bail!("GOT AN ANSWER") };
    ensure_eq!(error.kind(), Kind::TimedOut);
    gets(cx)
}

/// `GET /slow/MS` answers after so many milliseconds.
#[handoff_sdk::test]
fn waits_for_a_slow_answer(cx: &Context) -> Result {
    http::get(target(cx, "/slow/100")?).send()?.expect_status(200)?;
    Ok(())
}

/// `GET /break` closes the connection in the middle of the body.
#[handoff_sdk::test]
fn sees_a_broken_answer(cx: &Context) -> Result {
    let Err(error) = http::get(target(cx, "/break")?).send() else {
        handoff_sdk::bail!("GOT A WHOLE ANSWER")
    };
    println!("BROKEN: {error}");
    Ok(())
}

/// A port where nobody listens: the configuration's `closed`, granted.
#[handoff_sdk::test]
fn sees_a_refused_connection(cx: &Context) -> Result {
    let Err(error) = http::get(cx.require_param("closed")?).send() else {
        handoff_sdk::bail!("GOT AN ANSWER")
    };
    ensure_eq!(error.kind(), Kind::Unreachable);
    println!("UNREACHABLE: {error}");
    Ok(())
}

#[handoff_sdk::test(timeout = "1m")]
fn sends_too_many_requests(cx: &Context) -> Result {
    for number in 0..100_000 {
        if let Err(error) = http::get(target(cx, "/echo")?).send() {
            println!("REFUSED AFTER {number} REQUESTS: {error}");
            return Ok(());
        }
    }
    Ok(())
}

/// Many at once, to `GET /slow/100`, with wasi:http's own futures.
#[handoff_sdk::test(timeout = "10s")]
fn sends_many_at_once(cx: &Context) -> Result {
    let url = target(cx, "/slow/100")?;
    let answers: Vec<_> = wstd::runtime::block_on(async {
        let requests: Vec<_> =
            (0..100).map(|_| wstd::runtime::spawn(status(url.clone()))).collect();
        let mut answers = Vec::new();
        for request in requests {
            answers.push(request.await);
        }
        answers
    });
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    println!("ANSWERED {good} OF {}", answers.len());
    if let Some(Err(problem)) = answers.iter().find(|answer| answer.is_err()) {
        println!("REFUSED: {problem}");
    }
    Ok(())
}

async fn status(url: String) -> Result<u16, String> {
    let request = wstd::http::Request::get(url).body(wstd::http::Body::empty());
    let request = request.map_err(|error| error.to_string())?;
    let answer =
        wstd::http::Client::new().send(request).await.map_err(|error| format!("{error:#}"))?;
    Ok(answer.status().as_u16())
}

/// What a URL must not be able to do.
#[handoff_sdk::test]
fn strange_urls_are_errors(cx: &Context) -> Result {
    let long = format!("{}/{}", cx.require_param("target")?, "x".repeat(60_000));
    for url in
        ["", "/relative", "http://", "ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://a b/"]
    {
        let Err(error) = http::get(url).send() else { handoff_sdk::bail!("SENT {url:?}") };
        println!("{url:?}: {error}");
    }
    println!("{}", http::get(long).send().is_err());
    Ok(())
}

/// A header that would split the request.
#[handoff_sdk::test]
fn cannot_smuggle_headers(cx: &Context) -> Result {
    let split = http::get(target(cx, "/echo")?).header("x-a", "b\r\nx-c: d").send();
    ensure!(split.is_err(), "SPLIT A REQUEST");
    for name in ["host", "connection", "transfer-encoding"] {
        let sent = http::get(target(cx, "/echo")?).header(name, "x").send();
        ensure!(sent.is_err(), "SENT A HEADER {name}");
    }
    Ok(())
}
