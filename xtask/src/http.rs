//! The little HTTP that the demo and the checks of what is deployed need of a server of their own.
//!
//! HTTP/1.0, so that the answer ends with the connection and comes unchunked. A real client would be
//! more to build than everything else here together.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// Sends a request and gives the answer's JSON; an error unless the status is 2xx.
pub(crate) fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value> {
    let what = || format!("failed to {method} {path}");
    let answer = exchange(server, method, path, body).with_context(what)?;
    let (status, body) = parse(&answer).with_context(what)?;
    ensure!((200..300).contains(&status), "{}: {status} {body}", what());
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(body).with_context(what)
}

/// Asks for a path; an error unless the status is 2xx, whatever the answer says.
pub(crate) fn check(server: SocketAddr, path: &str) -> Result<()> {
    let what = || format!("failed to GET {path}");
    let answer = exchange(server, "GET", path, None).with_context(what)?;
    let (status, body) = parse(&answer).with_context(what)?;
    ensure!((200..300).contains(&status), "{}: {status} {body}", what());
    Ok(())
}

fn exchange(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: {server}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The status and the body of an answer.
fn parse(answer: &str) -> Result<(u16, &str)> {
    let (head, body) =
        answer.split_once("\r\n\r\n").context("the answer has no end of its head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("the answer has no status")?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(answer).unwrap(), (200, "{}"));
        assert!(parse("HTTP/1.0 200 OK\r\n").is_err());
        assert!(parse("\r\n\r\n").is_err());
    }
}
