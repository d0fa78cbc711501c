//! The HTTP client of a Handoff server: where things are, how it fails, how a run is followed.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use clap::Args;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::exit::{Exit, Failure, Refused};
use super::request::duration;
use super::sse::{Parser, ServerSentEvent};
use super::terminal::safe_line;
use super::told;
use crate::compile::{CompileSettings, read_at_most};
use crate::http::views::RunSummaryView;
use crate::model::{EventKind, RunEvent, RunId, SuiteId};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take to begin: longer than a server takes over an upload, which it answers
/// when it is compiled.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How long a stream of events may be silent, or take to begin. It shows signs of life more often.
const SILENT_AT_MOST: Duration = Duration::from_secs(60);
/// How long to wait before the connection is tried again: first, and at most.
const RECONNECT_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How many events are read ahead of what is shown.
const EVENTS_AHEAD: usize = 256;
/// The largest answer that is read to tell of an error.
const MAX_PROBLEM_BYTES: usize = 64 << 10;

/// Answers that are not about what was asked, but about who asks, or when: asking again may help.
const NOT_THE_REQUEST: [StatusCode; 4] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_MANY_REQUESTS,
];

/// Which server to use.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// The server's address
    #[arg(
        long,
        env = "HANDOFF_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:1337",
        help_heading = "Server"
    )]
    pub(crate) server: String,
    /// How long the server may be away while a run is followed
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration,
          help_heading = "Server")]
    pub(crate) away: Duration,
}

/// A server.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    /// How long a server that went away while a run is followed may take to come back.
    away: Duration,
}

/// An error as the server tells it (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    detail: String,
    request_id: Option<String>,
}

impl Client {
    /// The server at that address. Nothing is sent yet.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self, Failure> {
        let text = &args.server;
        let wrong = |why: String| {
            let example = "write for example http://127.0.0.1:1337";
            let told = format!("the server {text:?} is no address: {why}; {example}");
            Failure::told(Exit::Usage, told)
        };
        let base = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("handoff/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT);
        match (base.scheme(), base.host_str()) {
            // The machine's own certificates are only read where they are needed: a small container
            // may have none.
            ("http", Some(host)) => {
                http =
                    http.tls_backend_preconfigured(no_certificates().map_err(Failure::platform)?);
                // A proxy cannot reach this machine by that name.
                if matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
                    http = http.no_proxy();
                }
            }
            // An error says that there is a provider already, which is as good.
            ("https", Some(_)) => {
                _ = rustls::crypto::ring::default_provider().install_default();
            }
            (_, None) => return Err(wrong("it names no host".into())),
            (scheme, _) => return Err(wrong(format!("{scheme:?} is neither http nor https"))),
        }
        let http = http.build().map_err(anyhow::Error::new);
        let http = http.map_err(|error| Failure::platform(error.context("set up HTTP")))?;
        Ok(Self { http, base, away: args.away })
    }

    /// A request to `/api/v1/` and these segments, each of which may be any text.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        self.http.request(method, url)
    }

    /// Fails unless the server takes work.
    pub(crate) async fn ready(&self) -> Result<(), Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("readyz");
        }
        self.send(self.http.get(url)).await.map(drop)
    }

    /// The answer to a GET.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        json(self.send(self.request(Method::GET, path).query(query)).await?).await
    }

    /// The answer to a POST that creates something. A key makes it safe to send it again when the
    /// connection broke before the answer.
    pub(crate) async fn create<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &Value,
    ) -> Result<T, Failure> {
        let key = uuid::Uuid::now_v7().to_string();
        let request =
            || self.request(Method::POST, path).header("idempotency-key", &key).json(body);
        let first = self.answer(request()).await?;
        let answer = match first {
            Err(error) if error.is_request() && !error.is_connect() => {
                self.answer(request()).await?
            }
            first => first,
        };
        json(self.accept(answer).await?).await
    }

    /// Sends a request and takes its answer if the server did what was asked.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        self.accept(self.answer(request).await?).await
    }

    /// The same for what may take hours.
    pub(crate) async fn send_long(&self, request: RequestBuilder) -> Result<Response, Failure> {
        self.accept(request.send().await).await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<reqwest::Result<Response>, Failure> {
        timeout(ANSWER_TIMEOUT, request.send()).await.map_err(|_| {
            let minutes = ANSWER_TIMEOUT.as_secs() / 60;
            let told = format!("the server at {} did not answer in {minutes} minutes", self.base);
            Failure::told(Exit::Server, told)
        })
    }

    async fn accept(&self, answer: reqwest::Result<Response>) -> Result<Response, Failure> {
        let answer = answer.map_err(|error| self.unreachable(error))?;
        if answer.status().is_client_error() || answer.status().is_server_error() {
            return Err(refused(answer).await);
        }
        Ok(answer)
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let hint = if error.is_connect() {
            format!(
                "reach the server at {}: start it with `handoff serve`, or name another with \
                 --server or HANDOFF_SERVER",
                self.base
            )
        } else {
            format!("talk to the server at {}", self.base)
        };
        let cause = innermost(&error);
        Failure::server(anyhow::anyhow!(cause).context(hint))
    }

    /// A run by its id, or by its suite and number as in `hello#12`.
    pub(crate) async fn run(&self, text: &str) -> Result<Value, Failure> {
        if let Ok(id) = text.parse::<RunId>() {
            return self.get(&["runs", &id.to_string()], &[]).await;
        }
        let wrong = || {
            let how = "write its id, or its suite and number such as `hello#12`";
            Failure::told(Exit::Usage, format!("{text:?} is no run: {how}"))
        };
        let (suite, number) = text.rsplit_once('#').ok_or_else(wrong)?;
        let suite: SuiteId = suite.parse().map_err(|_| wrong())?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (namespace, name) = (suite.namespace.as_str(), suite.name.as_str());
        self.get(&["suites", namespace, name, "runs", &number.to_string()], &[]).await
    }

    /// The id of a run that is given as for [`Self::run`]. An id is taken at its word.
    pub(crate) async fn run_id(&self, text: &str) -> Result<RunId, Failure> {
        match text.parse() {
            Ok(id) => Ok(id),
            Err(_) => Ok(read::<RunSummaryView>(self.run(text).await?)?.id),
        }
    }

    /// Asks a run to stop.
    pub(crate) async fn cancel(&self, run: RunId, by: Option<&str>) -> Result<(), Failure> {
        let request = self.request(Method::POST, &["runs", &run.to_string(), "cancel"]);
        self.send(request.json(&json!({ "initiated_by": by }))).await.map(drop)
    }

    /// A run's events after `after` as they come, to its end. A connection that breaks is made again,
    /// from the last event heard. Ends with an error when the server is away for too long.
    pub(crate) fn follow(
        &self,
        run: RunId,
        after: u64,
    ) -> mpsc::Receiver<Result<RunEvent, Failure>> {
        let (events, heard) = mpsc::channel(EVENTS_AHEAD);
        let follow = Follow {
            client: self.clone(),
            run,
            last: after,
            ended: false,
            away_since: None,
            wait: RECONNECT_AFTER.0,
            events,
        };
        tokio::spawn(follow.deliver_all());
        heard
    }
}

/// A run that is being followed.
struct Follow {
    client: Client,
    run: RunId,
    last: u64,
    /// Whether the last event heard is the end of the run.
    ended: bool,
    away_since: Option<Instant>,
    wait: Duration,
    events: mpsc::Sender<Result<RunEvent, Failure>>,
}

impl Follow {
    async fn deliver_all(mut self) {
        while !self.ended && !self.events.is_closed() {
            if let Err(failure) = self.connection().await {
                // Nobody may listen any more; then nobody misses it.
                _ = self.events.send(Err(failure)).await;
                return;
            }
        }
    }

    /// Hears what one connection tells. An error is one that another connection would not mend.
    async fn connection(&mut self) -> Result<(), Failure> {
        let Some(mut answer) = self.connect().await? else { return Ok(()) };
        let mut parser = Parser::default();
        loop {
            let Ok(chunk) = timeout(SILENT_AT_MOST, answer.chunk()).await else {
                return self.away("the server fell silent".into());
            };
            match chunk {
                Ok(Some(bytes)) => {
                    let events = parser
                        .push(&bytes)
                        .map_err(|error| Failure::told(Exit::Server, error.to_string()))?;
                    self.take(events).await?;
                }
                // The server closes the stream behind the last event.
                Ok(None) | Err(_) if self.ended => return Ok(()),
                Ok(None) => return self.away("the server ended the stream of events early".into()),
                Err(error) => return self.away(innermost(&error)),
            }
        }
    }

    async fn take(&mut self, events: Vec<ServerSentEvent>) -> Result<(), Failure> {
        for event in events {
            let read = told::event(event.data.as_bytes())?;
            (self.away_since, self.wait) = (None, RECONNECT_AFTER.0);
            if let Some(id) = event.id.and_then(|id| id.parse().ok()) {
                self.last = id;
            }
            if let Some(event) = read {
                self.ended = matches!(event.kind, EventKind::RunFinished { .. });
                _ = self.events.send(Ok(event)).await;
            }
        }
        Ok(())
    }

    /// The stream of events; none if the server is away at present.
    async fn connect(&mut self) -> Result<Option<Response>, Failure> {
        if self.away_since.is_some() {
            tokio::time::sleep(self.wait).await;
            self.wait = (self.wait * 2).min(RECONNECT_AFTER.1);
        }
        let id = self.run.to_string();
        let request = self
            .client
            .request(Method::GET, &["runs", &id, "events"])
            .header("accept", "text/event-stream")
            .header("last-event-id", self.last.to_string());
        let Ok(answer) = timeout(SILENT_AT_MOST, request.send()).await else {
            self.away("the server does not answer".into())?;
            return Ok(None);
        };
        match answer {
            Ok(answer) if answer.status() == StatusCode::OK => return Ok(Some(answer)),
            // It is starting, stopping, or has too much to do.
            Ok(answer) if answer.status().is_server_error() => {
                self.away(format!("the server answered {}", answer.status()))?;
            }
            Ok(answer) => return Err(refused(answer).await),
            Err(error) => self.away(innermost(&error))?,
        }
        Ok(None)
    }

    /// Notes that the server is away, and gives up when that is so for too long.
    fn away(&mut self, why: String) -> Result<(), Failure> {
        if self.away_since.get_or_insert_with(Instant::now).elapsed() < self.client.away {
            return Ok(());
        }
        let told = format!(
            "follow the run {}: the server at {} was away for {}; the run goes on when it is back",
            self.run,
            self.client.base,
            humantime::Duration::from(self.client.away)
        );
        Err(Failure::server(anyhow::anyhow!(why).context(told)))
    }
}

/// TLS that trusts nobody, for a client that never uses it.
fn no_certificates() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

/// What an answer holds.
pub(crate) async fn json<T: DeserializeOwned>(answer: Response) -> Result<T, Failure> {
    let told = format!("read the answer of {} (is it a handoff server?)", answer.url());
    let body = answer.bytes().await.map_err(broken)?;
    serde_json::from_slice(&body)
        .map_err(|error| Failure::server(anyhow::Error::new(error).context(told)))
}

/// What JSON of the server means.
pub(crate) fn read<T: DeserializeOwned>(json: Value) -> Result<T, Failure> {
    let told = "read the server's answer (is it of another version?)";
    serde_json::from_value(json)
        .map_err(|error| Failure::server(anyhow::Error::new(error).context(told)))
}

/// What a line of JSON of the server means.
pub(crate) fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Failure> {
    let told = "read a line of the server (is it of another version?)";
    serde_json::from_slice(line)
        .map_err(|error| Failure::server(anyhow::Error::new(error).context(told)))
}

/// An answer of one JSON object a line.
pub(crate) struct Lines {
    answer: Response,
    /// What came behind the last complete line.
    rest: BytesMut,
}

impl Lines {
    /// The longest line that is taken: a log line, escaped, with what goes with it.
    const MAX_BYTES: usize = 1 << 20;

    pub(crate) fn of(answer: Response) -> Self {
        Self { answer, rest: BytesMut::new() }
    }

    /// The next line without its line break; none at the end. May be dropped at any time and asked
    /// again.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let mut line = self.rest.split_to(end + 1);
                line.truncate(end);
                return Ok(Some(line.freeze()));
            }
            if self.rest.len() > Self::MAX_BYTES {
                return Err(Failure::told(Exit::Server, "a line of the server is too long"));
            }
            match self.answer.chunk().await.map_err(broken)? {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

/// The failure that an answer of status 400 or above tells of.
async fn refused(mut answer: Response) -> Failure {
    let status = answer.status();
    let mut body = Vec::new();
    while body.len() < MAX_PROBLEM_BYTES
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    failure_of(status, serde_json::from_slice(&body).unwrap_or_default())
}

/// The failure that a problem tells of.
pub(crate) fn failure_of(status: StatusCode, problem: Problem) -> Failure {
    let detail = [&problem.detail, &problem.title].into_iter().find(|text| !text.is_empty());
    let detail = detail.map_or_else(
        || format!("the server answered {status}; is it a handoff server?"),
        |detail| safe_line(detail).into_owned(),
    );
    let id = problem.request_id.filter(|_| status.is_server_error());
    let id = id.map(|id| format!(" (request {})", safe_line(&id)));
    // That no test matches is asked of the server like a run, and ends like a run without tests.
    // What the request asks for stands in the command line, and asking again does not help.
    let exit = match problem.kind.strip_prefix("urn:handoff:problem:") {
        Some("nothing-matches") => Exit::NoTests,
        Some(_) if status.is_client_error() && !NOT_THE_REQUEST.contains(&status) => Exit::Usage,
        _ => Exit::Server,
    };
    Failure { exit, error: Refused(format!("{detail}{}", id.unwrap_or_default())).into() }
}

/// An answer that ended before its end.
pub(crate) fn broken(error: reqwest::Error) -> Failure {
    Failure::server(
        anyhow::anyhow!(innermost(&error)).context("hear the server's answer to its end"),
    )
}

/// What went wrong at the bottom: the layers above only say that a request failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The bytes of a file that the command line names. How large a file may be is for the server to say;
/// what is no file and need not end is read as far as a server takes it by default.
pub(crate) fn read_file(path: &std::path::Path) -> Result<Bytes, Failure> {
    let open = std::fs::File::open(path).and_then(|file| Ok((file.metadata()?.is_file(), file)));
    let read = open.and_then(|(regular, file)| match regular {
        true => std::fs::read(path).map(Bytes::from),
        false => read_at_most(file, CompileSettings::default().component_bytes),
    });
    read.map_err(|error| {
        Failure::usage(anyhow::Error::new(error).context(format!("read {}", path.display())))
    })
}
