//! Runs and plugins for tests.

use jiff::Timestamp;

use super::{
    Digest, Filters, GateFailure, PlannedTest, Plugin, Policy, RunId, RunRequest, RunSpec,
    Standing, Wishes,
};

/// A plugin of that name that is told of things.
pub(crate) fn plugin(name: &str, digest: Digest) -> Plugin {
    Plugin {
        name: name.parse().unwrap(),
        digest,
        imports: Vec::new(),
        size_bytes: 6,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        policy: Policy::default(),
        filters: Filters::default(),
        wishes: Wishes::default(),
        standing: Standing::Enabled,
        gate_failure: GateFailure::default(),
        missed: 0,
    }
}

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
