//! A small receiver of webhooks: what the demo's plugin posts to. Answers each request and shows what it heard.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver as Heard, Sender};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// The largest body that is read.
const BODY_BYTES: u64 = 1 << 20;
/// How long a sender may take over a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A receiver that serves until the process ends.
pub(crate) struct Receiver {
    address: SocketAddr,
    heard: Heard<()>,
}

impl Receiver {
    /// Starts one at any free port of this machine.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen for webhooks")?;
        let address = listener.local_addr()?;
        let (sender, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A sender that breaks off is no reason to stop.
                drop(answer(stream, &sender));
            }
        });
        Ok(Self { address, heard })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until it has heard one more; false if that takes too long.
    pub(crate) fn wait(&self) -> bool {
        self.heard.recv_timeout(PATIENCE).is_ok()
    }
}

fn answer(mut stream: TcpStream, heard: &Sender<()>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = Vec::new();
    reader.take(BODY_BYTES.min(length)).read_to_end(&mut body)?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")?;
    println!("{}", shown(&body));
    // Nobody may listen any more.
    let _ = heard.send(());
    Ok(())
}

fn shown(body: &[u8]) -> String {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (run, suite) = (&event["run"], &event["run"]["suite"]);
    format!(
        "webhook: {} {}/{} #{} {}",
        text(&event["event"]),
        text(&suite["namespace"]),
        text(&suite["name"]),
        run["number"],
        text(&run["status"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_posted_is_answered_and_heard() {
        let receiver = Receiver::start().unwrap();
        let mut stream = TcpStream::connect(receiver.address).unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        assert!(receiver.wait());
    }

    #[test]
    fn an_event_is_shown_on_one_line() {
        let body = br#"{"event": "run_finished", "run": {"number": 3, "status": "passed",
            "suite": {"namespace": "default", "name": "hello"}}}"#;
        assert_eq!(shown(body), "webhook: run_finished default/hello #3 passed");
    }
}
