//! Suites, their versions and their tests, as a component's `describe` told them.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Digest, Limits, Name, Protocol, Sharing, SuiteId};

/// One uploaded component of a suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuiteVersion {
    /// The suite.
    pub suite: SuiteId,
    /// The SHA-256 of the component's bytes.
    pub digest: Digest,
    /// What the component said of itself.
    pub description: SuiteDescription,
    /// The interfaces and functions that the component imports, such as `wasi:http/types@0.2.6`.
    pub imports: Vec<String>,
    /// The component's size.
    pub size_bytes: u64,
    /// When it was first uploaded.
    pub created_at: Timestamp,
    /// If it is a program that was not written for us: how its tests are run and judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Protocol>,
    /// The language in which it says that it was written, a guess. None of versions from before this was
    /// asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// What whoever brings a component says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// The namespace, in place of what the component says.
    pub namespace: Option<Name>,
    /// The name of a program, which has none itself. A suite keeps its own.
    pub name: Option<Name>,
    /// How a program's tests are run and judged. Found out if it is not said; a suite takes none.
    pub protocol: Option<Protocol>,
}

/// What `describe` answers, less the name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuiteDescription {
    /// What the suite tests, in Markdown. Untrusted.
    pub description: Option<String>,
    /// Links for whoever looks at a failure. Untrusted.
    pub links: Vec<Link>,
    /// Labels, by which suites are chosen.
    pub labels: Vec<Label>,
    /// Who owns the suite.
    pub owner: Option<String>,
    /// The deadline of a test that has none of its own.
    pub timeout_ms: Option<u64>,
    /// How often a test is tried at most if it does not say so itself.
    pub attempts: Option<u32>,
    /// How many tests may run at the same time.
    pub parallelism: Option<u32>,
    /// The hosts the suite would like to reach.
    pub wants_http: Vec<String>,
    /// The tests, in declared order.
    pub tests: Vec<TestCase>,
}

/// One named case of a suite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TestCase {
    /// Unique in the suite; the test's identity over time.
    pub name: String,
    /// What it checks, in Markdown. Untrusted.
    pub description: Option<String>,
    /// Tags, by which tests are chosen.
    pub tags: Vec<String>,
    /// Its deadline.
    pub timeout_ms: Option<u64>,
    /// How often it is tried at most.
    pub attempts: Option<u32>,
    /// Whether its failure is shown without failing the run.
    pub soft: bool,
    /// If it is not to be run: why.
    pub disabled: Option<String>,
}

/// A titled link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// What the link is called.
    pub title: String,
    /// Where it leads. Untrusted: may be any text.
    pub url: String,
}

/// A name with a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The name.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A description that breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDescription {
    /// There is nothing to run.
    #[error("the suite has no tests: `describe` must name at least one")]
    NoTests,
    /// There are more tests than the server takes.
    #[error("the suite has {found} tests, {limit} are allowed (limit `tests`)")]
    TooManyTests {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: u64,
    },
    /// Two tests have one name.
    #[error("two tests are named {0:?}: a test's name must be unique in its suite")]
    DuplicateTest(String),
    /// A test's name is empty, too long, has control characters, or cannot be part of an address.
    #[error("the name of test {number} is {problem}")]
    TestName {
        /// Which test, counted from 1.
        number: usize,
        /// What is wrong with the name.
        problem: String,
    },
    /// A text is longer than allowed.
    #[error("{what} has {found} bytes, {limit} are allowed")]
    TooLong {
        /// Which text.
        what: String,
        /// Its size.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// A list has more entries than allowed.
    #[error("{what} have {found} entries, {limit} are allowed")]
    TooMany {
        /// Which list.
        what: String,
        /// How many it has.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// A timeout or a number of attempts is zero.
    #[error("{0} is 0: it must be at least 1, or left out")]
    Zero(String),
    /// A label that means something to the server cannot be read.
    #[error("{0}")]
    Label(String),
}

impl SuiteDescription {
    /// The longest name of a test, in bytes.
    pub const MAX_TEST_NAME_BYTES: usize = 512;
    /// The longest tag, label, owner, link title or wished host, in bytes.
    pub const MAX_WORD_BYTES: usize = 128;
    /// The longest URL, in bytes.
    pub const MAX_URL_BYTES: usize = 2048;
    /// The longest description or reason, in bytes.
    pub const MAX_TEXT_BYTES: usize = 64 << 10;
    /// The most tags, labels, links or wished hosts in one list.
    pub const MAX_WORDS: usize = 64;

    /// Checks what the contract promises: names that are unique, of sensible length and readable,
    /// and numbers that are not zero.
    pub fn check(&self, limits: &Limits) -> Result<(), InvalidDescription> {
        if self.tests.is_empty() {
            return Err(InvalidDescription::NoTests);
        }
        if self.tests.len() as u64 > limits.tests {
            let found = self.tests.len();
            return Err(InvalidDescription::TooManyTests { found, limit: limits.tests });
        }
        text("the suite's description", &self.description, Self::MAX_TEXT_BYTES)?;
        text("the suite's owner", &self.owner, Self::MAX_WORD_BYTES)?;
        few("the suite's links", self.links.len())?;
        few("the suite's labels", self.labels.len())?;
        few("the hosts that the suite wants", self.wants_http.len())?;
        words("the suite's links", self.links.iter().map(|link| &link.title))?;
        for link in &self.links {
            long("a link's URL", &link.url, Self::MAX_URL_BYTES)?;
        }
        words("the suite's labels", self.labels.iter().flat_map(|l| [&l.key, &l.value]))?;
        words("the hosts that the suite wants", &self.wants_http)?;
        Sharing::declared(&self.labels).map_err(InvalidDescription::Label)?;
        nonzero("the suite's timeout-ms", self.timeout_ms)?;
        nonzero("the suite's attempts", self.attempts.map(u64::from))?;
        nonzero("the suite's parallelism", self.parallelism.map(u64::from))?;
        let mut seen = HashSet::new();
        for (index, test) in self.tests.iter().enumerate() {
            test.check(index + 1)?;
            if !seen.insert(&test.name) {
                return Err(InvalidDescription::DuplicateTest(test.name.clone()));
            }
        }
        Ok(())
    }
}

impl TestCase {
    fn check(&self, number: usize) -> Result<(), InvalidDescription> {
        let problem = if self.name.is_empty() {
            Some("empty".into())
        } else if self.name.len() > SuiteDescription::MAX_TEST_NAME_BYTES {
            let limit = SuiteDescription::MAX_TEST_NAME_BYTES;
            Some(format!("{} bytes long, {limit} are allowed", self.name.len()))
        } else if self.name.chars().any(char::is_control) {
            Some("not readable: it has control characters".into())
        } else if matches!(self.name.as_str(), "." | "..") {
            // Clients shorten addresses that have these as a part, also when they are encoded.
            Some(format!("{:?}, which no address can have as a part", self.name))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(InvalidDescription::TestName { number, problem });
        }
        let what = |part: &str| format!("{part} of test {:?}", self.name);
        text(&what("the description"), &self.description, SuiteDescription::MAX_TEXT_BYTES)?;
        text(&what("the reason"), &self.disabled, SuiteDescription::MAX_TEXT_BYTES)?;
        few(&what("the tags"), self.tags.len())?;
        words(&what("the tags"), &self.tags)?;
        nonzero(&what("timeout-ms"), self.timeout_ms)?;
        nonzero(&what("attempts"), self.attempts.map(u64::from))
    }
}

fn text(what: &str, text: &Option<String>, limit: usize) -> Result<(), InvalidDescription> {
    text.as_ref().map_or(Ok(()), |text| long(what, text, limit))
}

fn long(what: &str, text: &str, limit: usize) -> Result<(), InvalidDescription> {
    if text.len() <= limit {
        return Ok(());
    }
    Err(InvalidDescription::TooLong { what: what.into(), found: text.len(), limit })
}

fn words<'a>(
    what: &str,
    words: impl IntoIterator<Item = &'a String>,
) -> Result<(), InvalidDescription> {
    let entry = format!("an entry of {what}");
    words.into_iter().try_for_each(|word| long(&entry, word, SuiteDescription::MAX_WORD_BYTES))
}

fn few(what: &str, found: usize) -> Result<(), InvalidDescription> {
    let limit = SuiteDescription::MAX_WORDS;
    if found <= limit {
        return Ok(());
    }
    Err(InvalidDescription::TooMany { what: what.into(), found, limit })
}

fn nonzero(what: &str, number: Option<u64>) -> Result<(), InvalidDescription> {
    if number == Some(0) { Err(InvalidDescription::Zero(what.into())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(names: &[&str]) -> Result<(), InvalidDescription> {
        let tests = names.iter().map(|n| TestCase { name: (*n).into(), ..Default::default() });
        let description = SuiteDescription { tests: tests.collect(), ..Default::default() };
        description.check(&Limits::default())
    }

    #[test]
    fn a_description_needs_tests_with_distinct_readable_names() {
        assert_eq!(described(&["a", "b", "größe 1", "...", "a/../b"]), Ok(()));
        assert_eq!(described(&[]), Err(InvalidDescription::NoTests));
        assert_eq!(described(&["a", "a"]), Err(InvalidDescription::DuplicateTest("a".into())));
        for bad in ["", ".", "..", "a\nb", "a\u{1b}[31m", &"x".repeat(1 << 20)] {
            assert!(matches!(
                described(&[bad]),
                Err(InvalidDescription::TestName { number: 1, .. })
            ));
        }
    }

    #[test]
    fn lists_have_a_bound_that_is_told() {
        let checked = |tags: usize, labels: usize| {
            let tags = vec!["t".to_owned(); tags];
            let test = TestCase { name: "a".into(), tags, ..Default::default() };
            let label = Label { key: "k".into(), value: "v".into() };
            let labels = vec![label; labels];
            let description = SuiteDescription { tests: vec![test], labels, ..Default::default() };
            description.check(&Limits::default()).map_err(|error| error.to_string())
        };
        assert_eq!(checked(64, 64), Ok(()));
        let tags = checked(65, 0).unwrap_err();
        assert_eq!(tags, "the tags of test \"a\" have 65 entries, 64 are allowed");
        let labels = checked(0, 65).unwrap_err();
        assert_eq!(labels, "the suite's labels have 65 entries, 64 are allowed");
    }

    #[test]
    fn zero_attempts_are_refused() {
        let test = TestCase { name: "a".into(), attempts: Some(0), ..Default::default() };
        let description = SuiteDescription { tests: vec![test], ..Default::default() };
        let error = description.check(&Limits::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "attempts of test \"a\" is 0: it must be at least 1, or left out"
        );
    }
}
