//! Between WIT's types and the model's. The only translator.

use super::bindings::{tests, vocabulary as wit};
use crate::model::{
    Failure, InvalidName, Label, Level, Link, Location, Name, Outcome, SuiteDescription, TestCase,
};

pub(super) fn level(level: wit::Level) -> Level {
    match level {
        wit::Level::Trace => Level::Trace,
        wit::Level::Debug => Level::Debug,
        wit::Level::Info => Level::Info,
        wit::Level::Warn => Level::Warn,
        wit::Level::Error => Level::Error,
    }
}

pub(super) fn failure(failure: wit::Failure) -> Failure {
    Failure { message: failure.message, location: failure.location.map(location) }
}

fn location(location: wit::Location) -> Location {
    let wit::Location { file, line, column } = location;
    Location { file, line, column }
}

pub(super) fn outcome(outcome: wit::Outcome) -> Outcome {
    match outcome {
        wit::Outcome::Passed => Outcome::Passed,
        wit::Outcome::Failed(reported) => Outcome::Failed(failure(reported)),
        wit::Outcome::Skipped(reason) => Outcome::Skipped { reason },
    }
}

/// What `teardown` answers.
pub(super) fn teardown(result: Result<(), wit::Failure>) -> Outcome {
    match result {
        Ok(()) => Outcome::Passed,
        Err(reported) => Outcome::Failed(failure(reported)),
    }
}

/// What `describe` answers: namespace, name, and the rest.
pub(super) fn description(
    described: tests::SuiteDescription,
) -> Result<(Option<Name>, Name, SuiteDescription), InvalidName> {
    let name = Name::try_from(described.name)?;
    let namespace = described.namespace.map(Name::try_from).transpose()?;
    let description = SuiteDescription {
        description: described.description,
        links: described.links.into_iter().map(link).collect(),
        labels: described.labels.into_iter().map(label).collect(),
        owner: described.owner,
        timeout_ms: described.timeout_ms,
        attempts: described.attempts,
        parallelism: described.parallelism,
        wants_http: described.wants_http,
        tests: described.tests.into_iter().map(test_case).collect(),
    };
    Ok((namespace, name, description))
}

fn link(link: wit::Link) -> Link {
    Link { title: link.title, url: link.url }
}

fn label(attribute: wit::Attribute) -> Label {
    Label { key: attribute.key, value: attribute.value }
}

fn test_case(test: tests::TestCase) -> TestCase {
    TestCase {
        name: test.name,
        description: test.description,
        tags: test.tags,
        timeout_ms: test.timeout_ms,
        attempts: test.attempts,
        soft: test.soft,
        disabled: test.disabled,
    }
}
