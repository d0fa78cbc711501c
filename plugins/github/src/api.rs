//! GitHub's REST API, as far as it is needed.

use handoff_plugin::http::{self, Request, Response};
use handoff_plugin::{Context, Error, Result};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// The version of the API that this is written for.
const VERSION: &str = "2022-11-28";
/// How many hexadecimal digits name a commit.
const SHA_DIGITS: usize = 40;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    owner: String,
    name: String,
}

impl Repository {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let fits = |part: &str| {
            let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
            !part.is_empty() && part.chars().all(is_plain) && !part.chars().all(|it| it == '.')
        };
        match text.split_once('/') {
            Some((owner, name)) if fits(owner) && fits(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(Error::permanent(format!("{text:?} is no repository: write `owner/name`"))),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// The API, for one repository.
pub(crate) struct Api<'a, 'b> {
    pub(crate) url: &'a str,
    pub(crate) token: &'a str,
    pub(crate) repository: &'a Repository,
    pub(crate) cx: &'a mut Context<'b>,
}

impl Api<'_, '_> {
    /// Sends a request about the repository, whatever comes of it but for limits on how often.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response> {
        let url = format!("{}/repos/{}{path}", self.url, self.repository);
        let request = http::request(method, url).bearer(self.token);
        let request = request.header("accept", "application/vnd.github+json");
        self.sent(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    fn sent(&mut self, request: Request) -> Result<Response> {
        let request = request
            .header("x-github-api-version", VERSION)
            .header("user-agent", concat!("handoff-github/", env!("CARGO_PKG_VERSION")));
        let answer = self.cx.send(request)?;
        match limited(&answer, self.cx.now()) {
            Some(wait) => Err(Error::new("GitHub wants fewer requests").retry_after(wait)),
            None => Ok(answer),
        }
    }

    /// Whether the repository can be seen at all.
    pub(crate) fn reaches(&mut self) -> Result<()> {
        self.send("GET", "", None)?.success().map(drop)
    }

    /// The commit that a reference stands for: itself, or what a branch, a tag or a pull request points to.
    pub(crate) fn commit(&mut self, reference: &str) -> Result<Option<String>> {
        let is_sha =
            |text: &str| text.len() == SHA_DIGITS && text.chars().all(|it| it.is_ascii_hexdigit());
        if is_sha(reference) {
            return Ok(Some(reference.to_ascii_lowercase()));
        }
        let pull = pull_request(reference);
        let path = match pull {
            Some(number) => format!("/pulls/{number}"),
            None => {
                let named = reference.strip_prefix("refs/").unwrap_or(reference);
                let named: Vec<_> = named.split('/').map(http::encode).collect();
                format!("/commits/{}", named.join("/"))
            }
        };
        let answer = self.send("GET", &path, None)?;
        if matches!(answer.status(), 404 | 422) {
            return Ok(None);
        }
        let found: Value = answer.success()?.json()?;
        // A pull request that is merged on trial has a commit of its own, of which nobody sees the status.
        let commit = if pull.is_some() { &found["head"] } else { &found };
        Ok(commit["sha"].as_str().filter(|sha| is_sha(sha)).map(str::to_owned))
    }

    /// The number of the pull request that a reference names, or the open one that a commit is the head of.
    pub(crate) fn pull_request(&mut self, reference: &str, commit: &str) -> Result<Option<u64>> {
        if let Some(number) = pull_request(reference) {
            return Ok(Some(number));
        }
        let answer = self.send("GET", &format!("/commits/{commit}/pulls?per_page=100"), None)?;
        // Where the token may not see pull requests, there are none.
        if matches!(answer.status(), 403 | 404 | 422) {
            return Ok(None);
        }
        let pulls: Vec<Value> = answer.success()?.json()?;
        let open =
            pulls.iter().find(|pull| pull["state"] == "open" && pull["head"]["sha"] == commit);
        Ok(open.and_then(|pull| pull["number"].as_u64()))
    }
}

/// The number of a pull request in a reference such as `refs/pull/7/head`.
fn pull_request(reference: &str) -> Option<u64> {
    let named = reference.strip_prefix("refs/").unwrap_or(reference);
    named.strip_prefix("pull/")?.split('/').next()?.parse().ok()
}

/// How long to wait, if the service says that there were too many requests: by `Retry-After`, or when there is
/// room again. Both come with 403 as well as with 429.
fn limited(answer: &Response, now: Duration) -> Option<Duration> {
    if !matches!(answer.status(), 403 | 429) {
        return None;
    }
    if let Some(wait) = answer.wait() {
        return Some(wait);
    }
    let number = |name: &str| answer.header(name).and_then(|text| text.trim().parse::<u64>().ok());
    if number("x-ratelimit-remaining") == Some(0) {
        let reset = Duration::from_secs(number("x-ratelimit-reset").unwrap_or_default());
        return Some(reset.saturating_sub(now));
    }
    // "If neither, wait for at least one minute."
    (answer.status() == 429).then_some(Duration::from_secs(60))
}
