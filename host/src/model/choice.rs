//! Which tests of a suite a request chooses.

use regex::RegexBuilder;
use serde::{Deserialize, Serialize};

use super::{PlanError, RunRequest, TestCase};

/// A choice by tags. A test is chosen if it has one of `include` (or that is empty) and none of
/// `exclude`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tags {
    /// One of these.
    pub include: Vec<String>,
    /// None of these.
    pub exclude: Vec<String>,
}

/// What is wrong with a regular expression, without the picture of where.
fn in_a_sentence(error: &regex::Error) -> String {
    let told = error.to_string();
    let last = told.lines().next_back().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// A filter and tags, ready to be asked.
pub(super) struct Choice<'a> {
    filter: Option<regex::Regex>,
    tags: &'a Tags,
}

impl<'a> Choice<'a> {
    /// A compiled filter takes at most this much memory.
    const REGEX_BYTES: usize = 1 << 20;

    pub(super) fn of(request: &'a RunRequest) -> Result<Self, PlanError> {
        let compile = |text: &String| {
            let built = RegexBuilder::new(text).size_limit(Self::REGEX_BYTES).build();
            built.map_err(|error| PlanError::Filter(in_a_sentence(&error)))
        };
        let filter = request.filter.as_ref().map(compile).transpose()?;
        Ok(Self { filter, tags: &request.tags })
    }

    /// Whether a test is chosen, disabled or not.
    pub(super) fn takes(&self, test: &TestCase) -> bool {
        self.filtered_out(test).is_none()
    }

    fn filtered_out(&self, test: &TestCase) -> Option<String> {
        if let Some(filter) = &self.filter
            && !filter.is_match(&test.name)
        {
            return Some(format!("filtered out: the name does not match {:?}", filter.as_str()));
        }
        if let Some(tag) = test.tags.iter().find(|tag| self.tags.exclude.contains(tag)) {
            return Some(format!("filtered out: it has the tag {tag:?}"));
        }
        let include = &self.tags.include;
        if !include.is_empty() && !test.tags.iter().any(|tag| include.contains(tag)) {
            return Some(format!("filtered out: it has none of the tags {include:?}"));
        }
        None
    }

    /// Why a test is not to run, if it is not.
    pub(super) fn reason_to_skip(&self, test: &TestCase) -> Option<String> {
        let disabled = || test.disabled.as_ref().map(|reason| format!("disabled: {reason}"));
        self.filtered_out(test).or_else(disabled)
    }

    /// The choice, for people.
    pub(super) fn in_words(&self) -> String {
        let mut words = Vec::new();
        if let Some(filter) = &self.filter {
            words.push(format!("the filter {:?}", filter.as_str()));
        }
        if !self.tags.include.is_empty() {
            words.push(format!("the tags {:?}", self.tags.include));
        }
        if !self.tags.exclude.is_empty() {
            words.push(format!("none of the tags {:?}", self.tags.exclude));
        }
        words.join(" and ")
    }
}

/// The first few names, and how many there are.
pub(super) fn in_words(tests: &[TestCase]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = tests.iter().take(SHOWN).map(|test| format!("{:?}", test.name)).collect();
    match tests.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names.join(", ")),
    }
}
