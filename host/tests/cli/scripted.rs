//! A server that answers what a test says, to see what the command line makes of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method and path, such as `GET /api/v1/runs`.
    pub(crate) line: String,
    /// The header, in lower case.
    pub(crate) header: String,
    /// The body.
    pub(crate) body: String,
}

/// An answer. The connection is closed behind it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
    /// Whether to keep the connection open behind the body, without a word.
    pub(crate) hang: bool,
}

impl Answer {
    pub(crate) fn json(status: u16, body: impl ToString) -> Self {
        Self { status, kind: "application/json", body: body.to_string(), hang: false }
    }

    pub(crate) fn text(kind: &'static str, body: String) -> Self {
        Self { status: 200, kind, body, hang: false }
    }
}

/// A running server.
pub(crate) struct Scripted {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// Answers each request by `answer`, which also hears how many requests for the same line came
    /// before.
    pub(crate) fn start(
        answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::<Request>::new()));
        let (heard, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (heard, answer) = (heard.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let request = read(&stream);
                    let mut heard = heard.lock().unwrap();
                    let before = heard.iter().filter(|r| r.line == request.line).count();
                    heard.push(request.clone());
                    drop(heard);
                    write(&mut stream, answer(&request, before));
                });
            }
        });
        Self { url, requests }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let line = lines.remove(0);
    let header = lines.join("\n").to_lowercase();
    let length = header.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let line = line.trim_end_matches(" HTTP/1.1").to_owned();
    Request { line, header, body: String::from_utf8_lossy(&body).into_owned() }
}

fn write(stream: &mut TcpStream, answer: Answer) {
    let Answer { status, kind, body, hang } = answer;
    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
    // A client that has gone away is no fault of the script.
    _ = stream.write_all(format!("{head}{body}").as_bytes()).and_then(|()| stream.flush());
    if hang {
        // Until the client closes.
        _ = stream.read(&mut [0]);
    }
}
