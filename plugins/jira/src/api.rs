//! Jira's REST API, as far as it is needed: version 3 of the Cloud, version 2 of Data Center.

use crate::text::{Block, document, markup};
use handoff_plugin::http::{self, Response};
use handoff_plugin::{Context, Error, Level, Result};
use serde_json::{Value, json};

/// The API.
pub(crate) struct Api<'a, 'b> {
    pub(crate) url: &'a str,
    /// Whose token it is: there are accounts in the Cloud, and Data Center needs none.
    pub(crate) email: Option<&'a str>,
    pub(crate) token: &'a str,
    pub(crate) cx: &'a mut Context<'b>,
}

impl Api<'_, '_> {
    fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Response> {
        let version = if self.email.is_some() { 3 } else { 2 };
        let request = http::request(method, format!("{}/rest/api/{version}{path}", self.url));
        let request = request.header("accept", "application/json");
        let request = match self.email {
            Some(email) => request.basic(email, self.token),
            None => request.bearer(self.token),
        };
        self.cx.send(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    /// A text as this API has it.
    pub(crate) fn text(&self, blocks: &[Block]) -> Value {
        match self.email {
            Some(_) => document(blocks),
            None => json!(markup(blocks)),
        }
    }

    /// Whether the project can be seen.
    pub(crate) fn project(&mut self, key: &str) -> Result<()> {
        self.send("GET", &format!("/project/{}", http::encode(key)), None)?.success().map(drop)
    }

    /// The issue with a label.
    pub(crate) fn find(&mut self, project: &str, label: &str) -> Result<Option<String>> {
        let path = if self.email.is_some() { "/search/jql" } else { "/search" };
        // Neither has anything in it that could end the text.
        let jql = format!("project = \"{project}\" AND labels = \"{label}\" ORDER BY created DESC");
        let body = json!({"jql": jql, "maxResults": 1, "fields": ["summary"]});
        let found: Value = self.send("POST", path, Some(&body))?.success()?.json()?;
        Ok(found["issues"][0]["key"].as_str().map(str::to_owned))
    }

    /// Opens an issue and gives its key.
    pub(crate) fn create(&mut self, fields: Value) -> Result<String> {
        let answer = self.send("POST", "/issue", Some(&json!({"fields": fields})))?;
        let made: Value = answer.success()?.json()?;
        let key = made["key"].as_str().map(str::to_owned);
        key.ok_or_else(|| Error::new("Jira opened an issue and did not say which"))
    }

    /// Sets the description of an issue; false if there is none any more.
    pub(crate) fn describe(&mut self, issue: &str, description: &[Block]) -> Result<bool> {
        let body = json!({"fields": {"description": self.text(description)}});
        there(self.send("PUT", &format!("/issue/{}", http::encode(issue)), Some(&body))?)
    }

    /// Comments on an issue; false if there is none any more.
    pub(crate) fn comment(&mut self, issue: &str, text: &[Block]) -> Result<bool> {
        let body = json!({"body": self.text(text)});
        let path = format!("/issue/{}/comment", http::encode(issue));
        there(self.send("POST", &path, Some(&body))?)
    }

    /// Moves an issue on by the transition of that name, if it has it where it stands.
    pub(crate) fn transition(&mut self, issue: &str, name: &str) -> Result<()> {
        let path = format!("/issue/{}/transitions", http::encode(issue));
        let found: Value = self.send("GET", &path, None)?.success()?.json()?;
        let all = found["transitions"].as_array().cloned().unwrap_or_default();
        let is_it =
            |it: &&Value| it["name"].as_str().is_some_and(|it| it.eq_ignore_ascii_case(name));
        let Some(transition) = all.iter().find(is_it) else {
            self.cx.log(Level::Warn, format!("{issue} has no transition {name:?} where it stands"));
            return Ok(());
        };
        let body = json!({"transition": {"id": transition["id"]}});
        self.send("POST", &path, Some(&body))?.success().map(drop)
    }
}

/// False if the issue is not there.
fn there(answer: Response) -> Result<bool> {
    match answer.status() {
        404 => Ok(false),
        _ => answer.success().map(|_| true),
    }
}
