//! Suites and their versions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SuiteRef;
use crate::http::error::Problem;
use crate::model::{Digest, Fixtures, Name, Protocol, Step, SuiteId, SuiteVersion, TestCase};

/// An uploaded version: what it contains and what it could reach.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    /// The suite and this version.
    pub suite: SuiteRef,
    /// What the suite tests, in Markdown. Written by the suite's author.
    pub description: Option<String>,
    /// Who owns the suite.
    pub owner: Option<String>,
    /// Links for whoever looks at a failure. Written by the suite's author.
    pub links: Vec<LinkView>,
    /// Labels.
    pub labels: Vec<LabelView>,
    /// The deadline of a test that has none of its own.
    pub timeout_ms: Option<u64>,
    /// How often a test is tried at most if it does not say so itself.
    pub attempts: Option<u32>,
    /// How many tests may run at the same time.
    pub parallelism: Option<u32>,
    /// The hosts the suite would like to reach. What it may reach is in its policy.
    pub wants_http: Vec<String>,
    /// If it is a test program that was not written for this server: how its tests are run and judged.
    pub protocol: Option<ProtocolView>,
    /// The language in which it says that it was written, a guess; null if it says nothing. Suites in the
    /// languages that the setting `sandbox.unmetered_languages` names run unmetered unless their policy
    /// sets the limit `fuel`.
    pub language: Option<String>,
    /// The tests in declared order.
    pub tests: Vec<TestCaseView>,
    /// The interfaces and functions that the component imports.
    pub imports: Vec<String>,
    /// The component's size.
    pub size_bytes: u64,
    /// When it was first uploaded.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<&SuiteVersion> for VersionView {
    fn from(version: &SuiteVersion) -> Self {
        let described = &version.description;
        let link = |l: &crate::model::Link| LinkView { title: l.title.clone(), url: l.url.clone() };
        let label =
            |l: &crate::model::Label| LabelView { key: l.key.clone(), value: l.value.clone() };
        Self {
            suite: SuiteRef::of(&version.suite, version.digest),
            description: described.description.clone(),
            owner: described.owner.clone(),
            links: described.links.iter().map(link).collect(),
            labels: described.labels.iter().map(label).collect(),
            timeout_ms: described.timeout_ms,
            attempts: described.attempts,
            parallelism: described.parallelism,
            wants_http: described.wants_http.clone(),
            protocol: version.program.map(Into::into),
            language: version.language.clone(),
            tests: described.tests.iter().map(Into::into).collect(),
            imports: version.imports.clone(),
            size_bytes: version.size_bytes,
            created_at: version.created_at,
        }
    }
}

/// What is told of an upload while it goes on. The last one is `done` or `refused`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum UploadEventView {
    /// What is being done. Told when it begins, and each second.
    Step {
        /// What is being done.
        step: StepView,
        /// How long the upload has been under way since it arrived.
        elapsed_ms: u64,
    },
    /// It is accepted.
    Done {
        /// Whether the version is new.
        new: bool,
        /// The version.
        version: Box<VersionView>,
    },
    /// It is not accepted.
    Refused {
        /// Why.
        problem: Problem,
    },
}

impl UploadEventView {
    /// Its name as a server-sent event.
    pub(in crate::http) fn name(&self) -> &'static str {
        match self {
            Self::Step { .. } => "step",
            Self::Done { .. } => "done",
            Self::Refused { .. } => "refused",
        }
    }
}

/// What is being done with an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepView {
    /// It is read and validated.
    Check,
    /// It waits until others are compiled.
    Wait,
    /// It is compiled. What was compiled before is not compiled again.
    Compile,
    /// It is asked for its tests.
    Describe,
}

impl From<Step> for StepView {
    fn from(step: Step) -> Self {
        match step {
            Step::Check => Self::Check,
            Step::Wait => Self::Wait,
            Step::Compile => Self::Compile,
            Step::Describe => Self::Describe,
        }
    }
}

/// How the tests of a program are found, run and judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProtocolView {
    /// Rust's own test harness: what `cargo test --no-run` makes.
    Libtest,
    /// Go's `testing`: what `go test -c` makes.
    GoTest,
    /// One test that writes TAP 13 or 14 to its standard output.
    Tap,
    /// One test that passed if it ended with code 0.
    ExitCode,
}

impl From<Protocol> for ProtocolView {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Libtest => Self::Libtest,
            Protocol::GoTest => Self::GoTest,
            Protocol::Tap => Self::Tap,
            Protocol::ExitCode => Self::ExitCode,
        }
    }
}

impl From<ProtocolView> for Protocol {
    fn from(view: ProtocolView) -> Self {
        match view {
            ProtocolView::Libtest => Self::Libtest,
            ProtocolView::GoTest => Self::GoTest,
            ProtocolView::Tap => Self::Tap,
            ProtocolView::ExitCode => Self::ExitCode,
        }
    }
}

/// A test of a suite.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestCaseView {
    /// Its name.
    pub name: String,
    /// What it checks, in Markdown. Written by the suite's author.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its deadline.
    pub timeout_ms: Option<u64>,
    /// How often it is tried at most.
    pub attempts: Option<u32>,
    /// Whether its failure does not fail a run.
    pub soft: bool,
    /// Why it is not run; null if it is.
    pub disabled: Option<String>,
}

impl From<&TestCase> for TestCaseView {
    fn from(test: &TestCase) -> Self {
        Self {
            name: test.name.clone(),
            description: test.description.clone(),
            tags: test.tags.clone(),
            timeout_ms: test.timeout_ms,
            attempts: test.attempts,
            soft: test.soft,
            disabled: test.disabled.clone(),
        }
    }
}

/// A titled link.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkView {
    /// What it is called.
    pub title: String,
    /// Where it leads. May be any text.
    pub url: String,
}

/// A name with a value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LabelView {
    /// The name.
    pub key: String,
    /// The value.
    pub value: String,
}

/// What a list shows of a version.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionSummaryView {
    /// The suite and this version.
    pub suite: SuiteRef,
    /// How many tests it has.
    pub tests_count: u64,
    /// The component's size.
    pub size_bytes: u64,
    /// When it was first uploaded.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<&SuiteVersion> for VersionSummaryView {
    fn from(version: &SuiteVersion) -> Self {
        Self {
            suite: SuiteRef::of(&version.suite, version.digest),
            tests_count: version.description.tests.len() as u64,
            size_bytes: version.size_bytes,
            created_at: version.created_at,
        }
    }
}

/// What a list shows of a suite.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SuiteSummaryView {
    /// The namespace.
    #[schema(value_type = String)]
    pub namespace: Name,
    /// The name.
    #[schema(value_type = String)]
    pub name: Name,
    /// What the suite tests, in Markdown. Written by the suite's author.
    pub description: Option<String>,
    /// Who owns the suite.
    pub owner: Option<String>,
    /// The newest version.
    pub newest: VersionSummaryView,
}

impl From<&SuiteVersion> for SuiteSummaryView {
    fn from(version: &SuiteVersion) -> Self {
        Self {
            namespace: version.suite.namespace.clone(),
            name: version.suite.name.clone(),
            description: version.description.description.clone(),
            owner: version.description.owner.clone(),
            newest: version.into(),
        }
    }
}

/// A suite with its newest version.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SuiteView {
    /// The namespace.
    #[schema(value_type = String)]
    pub namespace: Name,
    /// The name.
    #[schema(value_type = String)]
    pub name: Name,
    /// The newest version.
    pub newest: VersionView,
}

impl From<&SuiteVersion> for SuiteView {
    fn from(version: &SuiteVersion) -> Self {
        Self {
            namespace: version.suite.namespace.clone(),
            name: version.suite.name.clone(),
            newest: version.into(),
        }
    }
}

/// The files that a version brings along.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FixturesView {
    /// The suite and the version.
    pub suite: SuiteRef,
    /// The SHA-256 of the archive's bytes.
    #[schema(value_type = String, example = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    pub digest: Digest,
    /// The archive's size.
    pub archive_bytes: u64,
    /// Files and directories in it.
    pub files: u64,
    /// Bytes of the files.
    pub unpacked_bytes: u64,
}

impl FixturesView {
    /// Those of that version.
    pub fn of(suite: &SuiteId, version: Digest, fixtures: &Fixtures) -> Self {
        let Fixtures { digest, archive_bytes, files, unpacked_bytes } = *fixtures;
        let suite = SuiteRef::of(suite, version);
        Self { suite, digest, archive_bytes, files, unpacked_bytes }
    }
}
