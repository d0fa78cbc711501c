//! What GitHub's events say, as its documentation of webhook events and payloads has them, and which of them
//! start a run.

use regex::Regex;
use serde_json::Value;

use crate::model::GithubFilter;

/// The events that may start a run.
const EVENTS: [&str; 3] = ["push", "deployment_status", "pull_request"];

/// What an event asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A run of this commit.
    Run {
        /// The commit.
        commit: String,
    },
    /// Nothing, for this reason.
    Nothing(String),
}

/// Fails if a filter names what there is not.
pub(super) fn check(filter: &GithubFilter) -> Result<(), String> {
    if let Some(event) = filter.events.iter().find(|event| !EVENTS.contains(&event.as_str())) {
        return Err(format!("the event {event:?} starts no runs: {} do", EVENTS.join(", ")));
    }
    let patterns = filter.branches.iter().chain(&filter.environments);
    let patterns = patterns.chain(&filter.states).chain(&filter.actions);
    for text in patterns {
        pattern(text).map_err(|error| format!("the pattern {text:?} is too much: {error}"))?;
    }
    Ok(())
}

/// What an event asks for, by its name and payload. Fails if the payload is not as published.
pub(super) fn asked(event: &str, payload: &Value, filter: &GithubFilter) -> Result<Asked, String> {
    let nothing = |why: String| Ok(Asked::Nothing(why));
    if event == "ping" {
        return nothing("a ping: the webhook is set up".into());
    }
    if !filter.events.iter().any(|wanted| wanted == event) {
        return nothing(format!("the event {event} is not among the trigger's events"));
    }
    let payload = Payload { event, payload };
    match event {
        "push" => push(payload, filter),
        "deployment_status" => deployment_status(payload, filter),
        _ => pull_request(payload, filter),
    }
}

fn push(payload: Payload<'_>, filter: &GithubFilter) -> Result<Asked, String> {
    let (git_ref, commit) = (payload.text("/ref")?, payload.text("/after")?);
    let Some(branch) = git_ref.strip_prefix("refs/heads/") else {
        return Ok(Asked::Nothing(format!("{git_ref} is no branch")));
    };
    if payload.flag("/deleted") || commit.bytes().all(|byte| byte == b'0') {
        return Ok(Asked::Nothing(format!("the branch {branch} was deleted")));
    }
    Ok(passes(&[("branch", branch, &filter.branches)], commit))
}

fn deployment_status(payload: Payload<'_>, filter: &GithubFilter) -> Result<Asked, String> {
    let state = payload.text("/deployment_status/state")?;
    let environment = payload.text("/deployment/environment")?;
    let branch = payload.text("/deployment/ref")?;
    let commit = payload.text("/deployment/sha")?;
    Ok(passes(
        &[
            ("state", state, &filter.states),
            ("environment", environment, &filter.environments),
            ("branch", branch, &filter.branches),
        ],
        commit,
    ))
}

fn pull_request(payload: Payload<'_>, filter: &GithubFilter) -> Result<Asked, String> {
    let action = payload.text("/action")?;
    let branch = payload.text("/pull_request/base/ref")?;
    let commit = payload.text("/pull_request/head/sha")?;
    let wanted = [("action", action, &filter.actions), ("branch", branch, &filter.branches)];
    Ok(passes(&wanted, commit))
}

/// A run of the commit, unless something does not match what is wanted of it.
fn passes(wanted: &[(&str, &str, &Vec<String>)], commit: &str) -> Asked {
    for (what, value, patterns) in wanted {
        let matches = |text: &String| pattern(text).is_ok_and(|pattern| pattern.is_match(value));
        if !patterns.is_empty() && !patterns.iter().any(matches) {
            let patterns = patterns.join(", ");
            return Asked::Nothing(format!(
                "the {what} {value} is not among the trigger's: {patterns}"
            ));
        }
    }
    Asked::Run { commit: commit.to_owned() }
}

/// A pattern as GitHub has them: `*` stands for anything but `/`, and `**` for anything.
fn pattern(text: &str) -> Result<Regex, regex::Error> {
    let escaped = regex::escape(text).replace(r"\*\*", ".*").replace(r"\*", "[^/]*");
    Regex::new(&format!("^(?s:{escaped})$"))
}

#[derive(Clone, Copy)]
struct Payload<'a> {
    event: &'a str,
    payload: &'a Value,
}

impl<'a> Payload<'a> {
    fn text(self, pointer: &str) -> Result<&'a str, String> {
        let text = self.payload.pointer(pointer).and_then(Value::as_str);
        text.ok_or_else(|| {
            let event = self.event;
            format!("the payload has no text at {pointer}, which GitHub's event {event} has")
        })
    }

    fn flag(self, pointer: &str) -> bool {
        self.payload.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(commit: &str) -> Asked {
        Asked::Run { commit: commit.into() }
    }

    fn filter(events: &[&str]) -> GithubFilter {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        GithubFilter { events, ..GithubFilter::default() }
    }

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn why(asked: Result<Asked, String>) -> String {
        match asked {
            Ok(Asked::Nothing(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// As in GitHub's documentation, less what nothing here looks at.
    fn push_of(git_ref: &str, after: &str) -> Value {
        json!({
            "ref": git_ref,
            "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
            "after": after,
            "created": false, "deleted": after.starts_with("000"), "forced": false, "base_ref": null,
            "commits": [], "head_commit": null,
            "repository": {
                "id": 186853002, "name": "Hello-World", "full_name": "Codertocat/Hello-World",
                "private": false, "default_branch": "master", "pushed_at": 1557933657,
            },
            "pusher": {"name": "Codertocat", "email": null},
            "sender": {"login": "Codertocat", "id": 21031067, "type": "User"},
        })
    }

    const COMMIT: &str = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e";

    fn deployment_of(state: &str, environment: &str, git_ref: &str) -> Value {
        json!({
            "action": "created",
            "deployment_status": {
                "id": 209916254, "state": state, "description": "", "environment": environment,
                "target_url": "", "created_at": "2019-05-15T15:20:55Z", "updated_at": "2019-05-15T15:20:55Z",
                "creator": {"login": "Codertocat", "id": 21031067, "type": "User"},
            },
            "deployment": {
                "id": 145988746, "sha": COMMIT, "ref": git_ref, "task": "deploy", "payload": {},
                "original_environment": environment, "environment": environment, "description": null,
            },
            "repository": {"id": 186853002, "full_name": "Codertocat/Hello-World"},
            "sender": {"login": "Codertocat", "id": 21031067, "type": "User"},
        })
    }

    fn pull_request_of(action: &str, base: &str) -> Value {
        json!({
            "action": action,
            "number": 2,
            "pull_request": {
                "id": 279147437, "number": 2, "state": "open", "title": "Update the README",
                "head": {"label": "Codertocat:changes", "ref": "changes", "sha": COMMIT},
                "base": {"label": "Codertocat:master", "ref": base, "sha": "f95f852bd8fca8fcc58a"},
                "draft": false, "merged": false,
            },
            "repository": {"id": 186853002, "full_name": "Codertocat/Hello-World"},
            "sender": {"login": "Codertocat", "id": 21031067, "type": "User"},
        })
    }

    #[test]
    fn a_push_to_a_branch_asks_for_its_last_commit() {
        let filter = GithubFilter { branches: list(&["main", "release/*"]), ..filter(&["push"]) };
        let asked = |git_ref, after| asked("push", &push_of(git_ref, after), &filter);
        assert_eq!(asked("refs/heads/main", COMMIT), Ok(run(COMMIT)));
        assert_eq!(asked("refs/heads/release/1.0", COMMIT), Ok(run(COMMIT)));
        assert!(why(asked("refs/heads/release/1/0", COMMIT)).contains("branch release/1/0 is not"));
        assert!(why(asked("refs/heads/mainline", COMMIT)).contains("mainline"));
        assert!(why(asked("refs/tags/simple-tag", COMMIT)).contains("is no branch"));
        let deleted = asked("refs/heads/main", "0000000000000000000000000000000000000000");
        assert!(why(deleted).contains("was deleted"));
    }

    #[test]
    fn a_deployment_asks_for_its_commit_when_it_has_the_state() {
        let all = GithubFilter::default();
        let of = |state, environment, filter: &GithubFilter| {
            asked("deployment_status", &deployment_of(state, environment, "master"), filter)
        };
        assert_eq!(of("success", "production", &all), Ok(run(COMMIT)));
        for state in ["pending", "queued", "in_progress", "failure", "error", "inactive"] {
            assert!(why(of(state, "production", &all)).contains(&format!("state {state} is not")));
        }
        let staging = GithubFilter { environments: list(&["staging", "pr-*"]), ..all.clone() };
        assert_eq!(of("success", "pr-17", &staging), Ok(run(COMMIT)));
        assert!(
            why(of("success", "production", &staging)).contains("environment production is not")
        );
        let other = GithubFilter { branches: list(&["main"]), ..all };
        assert!(why(of("success", "production", &other)).contains("branch master is not"));
    }

    #[test]
    fn a_pull_request_asks_for_its_head_when_it_has_new_code() {
        let filter = GithubFilter { branches: list(&["**"]), ..filter(&["pull_request"]) };
        let of = |action| asked("pull_request", &pull_request_of(action, "feature/x"), &filter);
        for action in ["opened", "reopened", "synchronize"] {
            assert_eq!(of(action), Ok(run(COMMIT)), "{action}");
        }
        for action in ["closed", "labeled", "edited"] {
            assert!(why(of(action)).contains(&format!("action {action} is not")));
        }
    }

    #[test]
    fn other_events_ask_for_nothing_and_other_payloads_are_refused() {
        let default = GithubFilter::default();
        assert!(
            why(asked("ping", &json!({"zen": "Design for failure."}), &default)).contains("ping")
        );
        assert!(why(asked("push", &push_of("refs/heads/main", COMMIT), &default)).contains("push"));
        assert!(why(asked("issues", &json!({}), &default)).contains("issues"));
        for event in EVENTS {
            for payload in
                [json!({}), json!([]), json!({"ref": 7, "action": {}, "deployment": "x"})]
            {
                let refused = asked(event, &payload, &filter(&[event])).unwrap_err();
                assert!(refused.contains("has no text at /"), "{refused}");
            }
        }
    }

    #[test]
    fn a_filter_names_what_there_is() {
        assert!(check(&filter(&EVENTS)).is_ok());
        assert!(check(&filter(&["release"])).unwrap_err().contains("push, deployment_status"));
        let long = GithubFilter { branches: vec!["*".repeat(4_000_000)], ..filter(&[]) };
        assert!(check(&long).is_err());
        // Nothing in a pattern but stars means anything else than itself.
        assert!(
            pattern("a.c").unwrap().is_match("a.c") && !pattern("a.c").unwrap().is_match("abc")
        );
        assert!(!pattern("a").unwrap().is_match("a\n"));
    }
}
