//! Runs for tests.

use jiff::Timestamp;

use super::{Digest, PlannedTest, RunId, RunRequest, RunSpec};

/// A run of the suite `hello` with these tests, each tried up to three times.
pub(crate) fn spec(tests: &[&str]) -> RunSpec {
    let test = |name: &&str| PlannedTest {
        name: (*name).into(),
        soft: false,
        timeout_ms: None,
        max_attempts: 3,
        skip: None,
        mark: None,
    };
    RunSpec {
        id: RunId::new(),
        number: 1,
        suite: "hello".parse().unwrap(),
        version: Digest::of(b"component"),
        created_at: Timestamp::now(),
        request: RunRequest::default(),
        timeout_ms: 1000,
        parallelism: 1,
        repeat: 1,
        tests: tests.iter().map(test).collect(),
        program: None,
        language: None,
        fixtures: None,
        sharing: Default::default(),
    }
}
