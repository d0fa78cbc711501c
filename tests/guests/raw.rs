//! The contract without the SDK, for suites that the SDK would refuse. The including crate gives
//! `fn describe() -> SuiteDescription`.
#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, reason = "generated code")]
#![allow(dead_code, reason = "not every suite gets so far as to use all of it")]

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "package handoff:fixture; world raw { export handoff:suite/tests@0.1.0; }",
    world: "handoff:fixture/raw",
    generate_all,
});

pub use exports::handoff::suite::tests::{Failure, Guest, Outcome, SuiteDescription, TestCase};

pub struct Suite;

impl Guest for Suite {
    fn describe() -> SuiteDescription {
        crate::describe()
    }

    fn setup() -> Outcome {
        Outcome::Passed
    }

    fn run(_: String) -> Outcome {
        Outcome::Passed
    }

    fn teardown() -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(target_family = "wasm")]
export!(Suite);

/// A suite with that name and tests of those names, and nothing else.
pub fn suite(name: &str, tests: &[&str]) -> SuiteDescription {
    SuiteDescription {
        name: name.to_owned(),
        namespace: None,
        description: None,
        links: Vec::new(),
        labels: Vec::new(),
        owner: None,
        timeout_ms: None,
        attempts: None,
        parallelism: None,
        wants_http: Vec::new(),
        tests: tests.iter().map(|name| case(name)).collect(),
    }
}

fn case(name: &str) -> TestCase {
    TestCase {
        name: name.to_owned(),
        description: None,
        tags: Vec::new(),
        timeout_ms: None,
        attempts: None,
        soft: false,
        disabled: None,
    }
}
