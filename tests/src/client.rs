//! A client of the HTTP interface, as a user's own would be.

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde_json::Value;

use crate::{Events, patiently};

/// The id of a run.
pub type RunId = String;

/// Talks to one server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: reqwest::header::HeaderMap,
    /// The body as JSON, or as a text if it is none.
    pub body: Value,
}

impl Client {
    /// A client for the server at that URL.
    pub fn new(url: &str) -> Self {
        Self { base: url.to_owned(), http: http_client() }
    }

    /// A request to `path`, below `/api/v1` unless it is one of the few that are not.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let outside = ["/api/", "/metrics", "/healthz", "/readyz"];
        let prefix = if outside.iter().any(|o| path.starts_with(o)) { "" } else { "/api/v1" };
        self.http.request(method, format!("{}{prefix}{path}", self.base))
    }

    /// A request to a page, whose path stands as it is.
    pub fn page(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request; an error if there was no answer, for example because the server was killed.
    pub async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, headers, body })
    }

    /// Sends a request and waits for the answer, whatever its status.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        patiently("the server answers", self.try_send(request)).await.expect("the server answers")
    }

    /// The answer to a GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// The answer to a POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// The answer to a PUT of JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// The answer to a DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// The JSON at `path`.
    pub async fn json(&self, path: &str) -> Value {
        self.get(path).await.expect(StatusCode::OK)
    }

    /// Every item of a list, page by page.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut url = Url::parse(&format!("{}/api/v1{path}", self.base)).expect("a path");
            url.query_pairs_mut().extend_pairs(cursor.iter().map(|cursor| ("cursor", cursor)));
            let page = self.send(self.http.get(url)).await.expect(StatusCode::OK);
            items.extend(page["items"].as_array().expect("a list has items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return items,
            }
        }
    }

    /// A request that uploads a component.
    pub fn upload_request(&self, component: Vec<u8>) -> RequestBuilder {
        let request = self.request(Method::POST, "/suites");
        request.header("content-type", "application/wasm").body(component)
    }

    /// Uploads a component and gives its version.
    pub async fn upload(&self, component: Vec<u8>) -> Value {
        let answer = self.send(self.upload_request(component)).await;
        let accepted = [StatusCode::CREATED, StatusCode::OK].contains(&answer.status);
        assert!(accepted, "the component is taken: {answer:?}");
        answer.body
    }

    /// Uploads the guest of that name and gives its version.
    pub async fn upload_guest(&self, name: &str) -> Value {
        self.upload(crate::guest(name)).await
    }

    /// Sets the policy of a suite in the default namespace.
    pub async fn set_policy(&self, suite: &str, policy: &Value) {
        let answer = self.put(&format!("/suites/default/{suite}/policy"), policy).await;
        assert!(answer.status.is_success(), "the policy is taken: {answer:?}");
    }

    /// A request for a run of a suite in the default namespace.
    pub fn run_request(&self, suite: &str, request: &Value) -> RequestBuilder {
        self.request(Method::POST, &format!("/suites/default/{suite}/runs")).json(request)
    }

    /// Asks for a run and gives its id.
    pub async fn submit(&self, suite: &str, request: &Value) -> RunId {
        let answer = self.send(self.run_request(suite, request)).await;
        let run = answer.expect(StatusCode::ACCEPTED);
        run["id"].as_str().expect("a run has an id").to_owned()
    }

    /// Asks for a run, follows it to its end and gives it as it then stands.
    pub async fn run(&self, suite: &str, request: &Value) -> Value {
        let run = self.submit(suite, request).await;
        self.finished(&run).await
    }

    /// Follows a run to its end and gives it as it then stands.
    pub async fn finished(&self, run: &str) -> Value {
        let mut events = self.events(run, 0).await;
        patiently("the run ends", events.rest()).await;
        self.json(&format!("/runs/{run}")).await
    }

    /// The events of a run after number `after`: those stored, then those to come.
    pub async fn events(&self, run: &str, after: u64) -> Events {
        let request = self.events_request(run, after);
        let answer = patiently("the events begin", request.send()).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "the events of run {run}");
        Events::new(answer)
    }

    /// A request for the events of a run after number `after`.
    pub fn events_request(&self, run: &str, after: u64) -> RequestBuilder {
        let request = self.request(Method::GET, &format!("/runs/{run}/events"));
        let request = request.header("accept", "text/event-stream");
        if after == 0 { request } else { request.header("last-event-id", after.to_string()) }
    }
}

/// A client that goes nowhere but where it is told.
pub(crate) fn http_client() -> reqwest::Client {
    // A second call finds the first one's provider, which is the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    http.build().expect("a client needs nothing from outside")
}

impl Answer {
    /// The body, if the status is as expected.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn expect(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    /// The detail of a problem (RFC 9457) with that status.
    ///
    /// # Panics
    /// If the answer is something else, or lacks one of the members that a problem has.
    #[track_caller]
    pub fn problem(self, status: u16) -> String {
        let media_type = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        assert_eq!(media_type, Some("application/problem+json"), "{:#}", self.body);
        let status = StatusCode::from_u16(status).expect("a status");
        let problem = self.expect(status);
        for member in ["type", "title", "detail", "request_id"] {
            assert!(problem[member].is_string(), "a problem has a {member}: {problem:#}");
        }
        assert_eq!(problem["status"], status.as_u16());
        problem["detail"].as_str().unwrap_or_default().to_owned()
    }
}
