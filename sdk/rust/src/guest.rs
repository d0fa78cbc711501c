//! The four functions that a suite exports, on top of the registry.
#![cfg_attr(
    not(target_family = "wasm"),
    allow(dead_code, reason = "exported from components only")
)]

use crate::bindings::exports::handoff::suite::tests::{
    Attribute, Failure, Guest, Link, Outcome, SuiteDescription,
};
use crate::context::Context;
use crate::error::Ending;
use crate::registry::{self, Described, Run};
use crate::{panic, skip};
use std::io::Write;

/// The suite that the crate's attributes make up.
pub(crate) struct Suite;

impl Guest for Suite {
    fn describe() -> SuiteDescription {
        panic::report();
        let described = registry::describe();
        flush();
        match described {
            Ok(described) => described.into(),
            Err(problem) => panic!("{problem}"),
        }
    }

    fn setup() -> Outcome {
        call(registry::setup())
    }

    fn run(test: String) -> Outcome {
        panic::report();
        match registry::find(&test) {
            Some(run) => call(Some(run)),
            None => Outcome::Failed(Failure {
                message: format!("there is no test `{test}` in this suite"),
                location: None,
            }),
        }
    }

    fn teardown() -> Result<(), Failure> {
        match call(registry::teardown()) {
            Outcome::Failed(failure) => Err(failure),
            Outcome::Passed | Outcome::Skipped(_) => Ok(()),
        }
    }
}

/// Calls a function of the suite; one that is not there passes.
fn call(run: Option<Run>) -> Outcome {
    panic::report();
    skip::forget();
    let ending = run.map_or(Ending::Passed, |run| run(&Context::new()));
    flush();
    ending.into()
}

/// Rust keeps the last unfinished line back, and nothing would ever write it.
pub(crate) fn flush() {
    // Nobody is left who could be told that stdout is closed.
    let _ = std::io::stdout().flush();
}

impl From<Described> for SuiteDescription {
    fn from(described: Described) -> Self {
        let header = described.header;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            name: header.name.to_owned(),
            namespace: owned(header.namespace),
            description: owned(header.description),
            links: header
                .links
                .iter()
                .map(|(title, url)| Link { title: (*title).to_owned(), url: (*url).to_owned() })
                .collect(),
            labels: header
                .labels
                .iter()
                .map(|(key, value)| Attribute {
                    key: (*key).to_owned(),
                    value: (*value).to_owned(),
                })
                .collect(),
            owner: owned(header.owner),
            timeout_ms: header.timeout_ms,
            attempts: header.attempts,
            parallelism: header.parallelism,
            wants_http: header.wants_http.iter().map(|host| (*host).to_owned()).collect(),
            tests: described.cases,
        }
    }
}
