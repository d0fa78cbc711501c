//! From a request to what exactly is to be done: a pure rule, so that a run means the same after a
//! restart.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::choice::{Choice, in_words};
use super::{
    Cause, Digest, Fixtures, Limits, Mark, Marks, OnFlaky, Priority, Protocol, RETRIED, RunId,
    Shard, Sharing, SuiteId, SuiteVersion, Tags, wrong_with_name,
};

/// What somebody asked for. All of it is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRequest {
    /// Which version. Default: the newest upload.
    pub version: Option<Digest>,
    /// A regular expression on the names of tests, unanchored.
    pub filter: Option<String>,
    /// Which tags.
    pub tags: Tags,
    /// Which part of the suite; the tests of the other parts are not in the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// What is being tested, for example a commit or a release.
    pub reference: Option<String>,
    /// Who or what asked.
    pub initiated_by: Option<String>,
    /// Parameters, read by the guest like configuration.
    pub params: BTreeMap<String, String>,
    /// The deadline of the whole run, from its start, setup included and teardown not.
    pub timeout_ms: Option<u64>,
    /// The deadline of each attempt, in place of what the tests and the suite say.
    pub test_timeout_ms: Option<u64>,
    /// How often each test is tried at most, in place of what the tests and the suite say.
    pub max_attempts: Option<u32>,
    /// How long to wait before a further attempt.
    pub retry_wait: Wait,
    /// How many tests may run at the same time.
    pub parallelism: Option<u32>,
    /// Runs the tests in the order that this number gives.
    pub shuffle_seed: Option<u64>,
    /// How many rounds of all its tests the run has at most, between one setup and one teardown. Default: 1,
    /// or as many as a run may have if one of the next two says when they end.
    pub repeat: Option<u32>,
    /// No further round begins so long after the start of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_for_ms: Option<u64>,
    /// No further round begins after one that failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeat_until_failure: bool,
    /// After which causes of a failure a test is tried again. Default: after each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<Cause>,
    /// How long further attempts and the waits before them may take in sum; none begins that would come
    /// later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_budget_ms: Option<u64>,
    /// What becomes of the run if a test passed only when it was tried again.
    #[serde(skip_serializing_if = "OnFlaky::is_default")]
    pub on_flaky: OnFlaky,
    /// At which failure that counts the run is stopped. Default: at none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<u32>,
    /// Which class of runs it is of.
    #[serde(skip_serializing_if = "Priority::is_default")]
    pub priority: Priority,
    /// Suites that must have passed for the same reference before it begins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<SuiteId>,
    /// How long it waits for them at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs_within_ms: Option<u64>,
    /// What runs of the suite have in common of which the newest alone matters. Default: the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether it cancels what of the suite has the same group, is older and has not ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub supersede: bool,
}

impl RunRequest {
    /// What of the suite it has in common with others, of which the newest alone matters.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref().or(self.reference.as_deref())
    }

    /// Fails if there can be no such run, whatever tests the suite has.
    pub fn check(
        &self,
        suite: Option<&SuiteId>,
        bounds: &RunBounds,
        limits: &Limits,
    ) -> Result<(), PlanError> {
        check(self, bounds, limits)?;
        check_needs(self, suite)?;
        Choice::of(self).map(drop)
    }
}

/// How long to wait before a further attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Wait {
    /// Not at all.
    #[default]
    None,
    /// Always as long.
    Fixed {
        /// How long.
        wait_ms: u64,
    },
    /// Twice as long each time, less a random part of up to a half.
    Exponential {
        /// Before the second attempt.
        initial_ms: u64,
        /// Never longer than this.
        max_ms: u64,
    },
}

impl Wait {
    /// How long to wait before attempt `number` (2 or more), where `jitter` is in `0.0..1.0`.
    pub fn before(self, number: u32, jitter: f64) -> u64 {
        match self {
            Self::None => 0,
            Self::Fixed { wait_ms } => wait_ms,
            Self::Exponential { initial_ms, max_ms } => {
                let doublings = number.saturating_sub(2).min(32);
                let full = initial_ms.saturating_mul(1 << doublings).min(max_ms);
                full - (full as f64 * 0.5 * jitter) as u64
            }
        }
    }

    fn longest(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Fixed { wait_ms } => wait_ms,
            Self::Exponential { max_ms, .. } => max_ms,
        }
    }
}

/// The server's defaults and caps for runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunBounds {
    /// The deadline of a run that names none: 1 hour.
    pub timeout_ms: u64,
    /// The longest deadline of a run: 24 hours.
    pub max_timeout_ms: u64,
    /// How often a test is tried if nobody says: once.
    pub attempts: u32,
    /// How often a test is tried at most, whoever asks: 10.
    pub max_attempts: u32,
    /// The longest wait before a further attempt: 10 minutes.
    pub max_retry_wait_ms: u64,
    /// How many tests of one run may run at the same time at most: 64.
    pub max_parallelism: u32,
    /// How long a run may wait for suites that it needs, and does if it does not say: 24 hours. It is
    /// cancelled then.
    pub max_needs_wait_ms: u64,
    /// The most rounds of a run: 100,000.
    pub max_repeat: u32,
    /// The most attempts that one run may come to, retries included: tests times attempts times rounds.
    /// 200,000, so that the largest suite can be tried as often as any.
    pub max_planned_attempts: u64,
    /// Bytes of all parameters, names included: 64 KiB.
    pub params_bytes: u64,
    /// Bytes of a filter, a reference, an initiator, a tag, a reason: 1 KiB.
    pub text_bytes: u64,
    /// How many times something of one run may be taken out of the statistics: 1,000.
    pub max_cleared: u64,
}

impl Default for RunBounds {
    fn default() -> Self {
        Self {
            timeout_ms: 3_600_000,
            max_timeout_ms: 86_400_000,
            attempts: 1,
            max_attempts: 10,
            max_retry_wait_ms: 600_000,
            max_parallelism: 64,
            max_needs_wait_ms: 86_400_000,
            max_repeat: 100_000,
            max_planned_attempts: 200_000,
            params_bytes: 64 << 10,
            text_bytes: 1 << 10,
            max_cleared: 1_000,
        }
    }
}

impl RunBounds {
    /// Fails if a run may come to more attempts than it may have.
    pub fn check_attempts(&self, planned: u64) -> Result<(), PlanError> {
        let limit = self.max_planned_attempts;
        if planned <= limit { Ok(()) } else { Err(PlanError::TooManyAttempts { planned, limit }) }
    }

    /// Fails if the text in a field of a request is too long.
    pub fn check_text(&self, field: &'static str, text: &str) -> Result<(), PlanError> {
        long(field, text.len(), self.text_bytes)
    }
}

/// What exactly a run does. Stored with its first event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The run.
    pub id: RunId,
    /// Its number in its suite, from 1.
    pub number: u64,
    /// The suite.
    pub suite: SuiteId,
    /// The version, pinned.
    pub version: Digest,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What was asked for, as it was asked.
    pub request: RunRequest,
    /// The deadline of the whole run.
    pub timeout_ms: u64,
    /// How many tests may run at the same time.
    pub parallelism: u32,
    /// How many rounds.
    pub repeat: u32,
    /// The tests in the order in which they run.
    pub tests: Vec<PlannedTest>,
    /// If the version is a program that was not written for us: how its tests are run and judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Protocol>,
    /// The language in which the version says that it was written, which is a guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The files that the version brought along when the run was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixtures: Option<Fixtures>,
    /// What it shares with other runs.
    #[serde(default, skip_serializing_if = "Sharing::is_free")]
    pub sharing: Sharing,
}

/// A test in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTest {
    /// Its name.
    pub name: String,
    /// Whether its failure does not fail the run.
    pub soft: bool,
    /// The deadline of an attempt; none leaves it to the suite's limits.
    pub timeout_ms: Option<u64>,
    /// How often it is tried at most.
    pub max_attempts: u32,
    /// If it is not to be run: why.
    pub skip: Option<String>,
    /// What an operator said of it when the run was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

impl RunSpec {
    /// The run as what is said of its tests has it, as far as that holds.
    pub fn marked(&mut self, marks: &Marks) {
        for test in &mut self.tests {
            if let Some(mark) = marks.get(&test.name).filter(|mark| mark.holds_at(self.created_at))
            {
                test.marked(mark);
            }
        }
    }
}

impl PlannedTest {
    /// How many attempts a round of it comes to at most; one that is skipped counts as one.
    pub fn tries(&self) -> u64 {
        if self.skip.is_some() { 1 } else { self.max_attempts.into() }
    }
}

/// A request that cannot become a run. The message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The filter is no regular expression.
    #[error("the filter is not a regular expression: {0}")]
    Filter(String),
    /// No test is left to run.
    #[error("no test matches {0}: the suite has {1}")]
    NothingMatches(String, String),
    /// A number is out of its range.
    #[error("{field} is {value}: it must be from {least} to {most}")]
    OutOfRange {
        /// The field of the request.
        field: &'static str,
        /// What was asked for.
        value: u64,
        /// The least that is allowed.
        least: u64,
        /// The most that is allowed.
        most: u64,
    },
    /// It may come to too many attempts.
    #[error(
        "the run may come to {planned} attempts (tests times attempts times rounds), and \
         runner.bounds.max_planned_attempts allows {limit}: ask for fewer tests, a smaller \
         max_attempts or a smaller repeat"
    )]
    TooManyAttempts {
        /// What it may come to.
        planned: u64,
        /// The bound.
        limit: u64,
    },
    /// Too much of one run was cleared already.
    #[error(
        "{limit} times something of this run was cleared already, and runner.bounds.max_cleared allows \
         no more: clear whole tests, or the run"
    )]
    TooManyCleared {
        /// The bound.
        limit: u64,
    },
    /// After this, nothing is tried again, or always.
    #[error(
        "retry_on: {} is no cause to choose: write some of {}",
        .0.as_str(),
        RETRIED.map(Cause::as_str).join(", ")
    )]
    NotRetried(Cause),
    /// What it needs cannot be.
    #[error("needs: {0}")]
    Needs(String),
    /// It cannot be known what it supersedes.
    #[error("supersede needs to know which runs are meant: give a reference or a group")]
    NoGroup,
    /// A parameter that no guest could be given as it is.
    #[error("params: {0}")]
    Params(String),
    /// A text is too long.
    #[error("{field} has {found} bytes, {limit} are allowed")]
    TooLong {
        /// The field of the request.
        field: &'static str,
        /// Its size.
        found: usize,
        /// The bound.
        limit: u64,
    },
}

impl PlanError {
    /// The setting of the bound that refused the request, if one did. The longest time of an attempt is a
    /// limit, and a policy may set it.
    pub fn bound(&self) -> Option<&'static str> {
        match self {
            Self::TooManyAttempts { .. } => Some("runner.bounds.max_planned_attempts"),
            Self::TooManyCleared { .. } => Some("runner.bounds.max_cleared"),
            Self::TooLong { field: "params", .. } => Some("runner.bounds.params_bytes"),
            Self::TooLong { .. } => Some("runner.bounds.text_bytes"),
            Self::OutOfRange { field, value, most, .. } if value > most => match *field {
                "timeout_ms" | "retry_budget_ms" | "repeat_for_ms" => {
                    Some("runner.bounds.max_timeout_ms")
                }
                "max_attempts" => Some("runner.bounds.max_attempts"),
                "parallelism" => Some("runner.bounds.max_parallelism"),
                "repeat" => Some("runner.bounds.max_repeat"),
                "needs_within_ms" => Some("runner.bounds.max_needs_wait_ms"),
                "retry_wait" => Some("runner.bounds.max_retry_wait_ms"),
                _ => None,
            },
            Self::OutOfRange { .. }
            | Self::Filter(_)
            | Self::NothingMatches(..)
            | Self::NoGroup
            | Self::Needs(_)
            | Self::NotRetried(_)
            | Self::Params(_) => None,
        }
    }
}

/// Decides what a run of `version` does. What a request asks beyond a cap is refused; what a
/// component asks beyond a cap is cut down to it.
pub fn plan(
    version: &SuiteVersion,
    request: RunRequest,
    bounds: &RunBounds,
    limits: &Limits,
    id: RunId,
    number: u64,
    created_at: Timestamp,
) -> Result<RunSpec, PlanError> {
    check(&request, bounds, limits)?;
    check_needs(&request, Some(&version.suite))?;
    let described = &version.description;
    let chosen = Choice::of(&request)?;
    if !described.tests.iter().any(|test| chosen.takes(test)) {
        return Err(PlanError::NothingMatches(chosen.in_words(), in_words(&described.tests)));
    }
    // A part without a test is fine: whoever splits a suite does not know what is in which part.
    let in_shard = |name: &str| request.shard.is_none_or(|shard| shard.takes(name));
    let mut tests: Vec<_> = described
        .tests
        .iter()
        .filter(|test| in_shard(&test.name))
        .map(|test| {
            let declared = test.attempts.or(described.attempts);
            let attempts = request.max_attempts.or(declared).unwrap_or(bounds.attempts);
            let timeout = request.test_timeout_ms.or(test.timeout_ms).or(described.timeout_ms);
            PlannedTest {
                name: test.name.clone(),
                soft: test.soft,
                timeout_ms: timeout.map(|ms| ms.min(limits.max_timeout_ms)),
                max_attempts: attempts.clamp(1, bounds.max_attempts),
                skip: chosen.reason_to_skip(test),
                mark: None,
            }
        })
        .collect();
    // What is skipped is so in the first round alone.
    let (skipped, tried): (Vec<_>, Vec<_>) = tests.iter().partition(|test| test.skip.is_some());
    let (skipped, tries): (u64, u64) =
        (skipped.len() as u64, tried.iter().map(|test| test.tries()).sum());
    let repeat = rounds(&request, bounds, skipped, tries);
    bounds.check_attempts(skipped + tries * u64::from(repeat))?;
    if let Some(seed) = request.shuffle_seed {
        shuffle(&mut tests, seed);
    }
    Ok(RunSpec {
        id,
        number,
        suite: version.suite.clone(),
        version: version.digest,
        created_at,
        timeout_ms: timeout(&request, bounds),
        parallelism: request
            .parallelism
            .or(described.parallelism)
            .unwrap_or(1)
            .clamp(1, bounds.max_parallelism),
        repeat,
        tests,
        request,
        program: version.program,
        language: version.language.clone(),
        fixtures: None,
        sharing: Sharing::default(),
    })
}

/// How many rounds a run has at most, each of so many tries.
fn rounds(request: &RunRequest, bounds: &RunBounds, skipped: u64, tries: u64) -> u32 {
    let has_an_end = request.repeat_for_ms.is_some() || request.repeat_until_failure;
    let fitting = bounds.max_planned_attempts.saturating_sub(skipped) / tries.max(1);
    let fitting = u32::try_from(fitting).unwrap_or(u32::MAX).min(bounds.max_repeat);
    request.repeat.unwrap_or(if has_an_end { fitting.max(1) } else { 1 })
}

/// The deadline of a run: that of its rounds comes before what one that names none has.
fn timeout(request: &RunRequest, bounds: &RunBounds) -> u64 {
    let usual = bounds.timeout_ms.saturating_add(request.repeat_for_ms.unwrap_or(0));
    request.timeout_ms.unwrap_or(usual).min(bounds.max_timeout_ms)
}

fn check(request: &RunRequest, bounds: &RunBounds, limits: &Limits) -> Result<(), PlanError> {
    let ranges = [
        ("timeout_ms", request.timeout_ms, bounds.max_timeout_ms),
        ("test_timeout_ms", request.test_timeout_ms, limits.max_timeout_ms),
        ("max_attempts", request.max_attempts.map(u64::from), bounds.max_attempts.into()),
        ("parallelism", request.parallelism.map(u64::from), bounds.max_parallelism.into()),
        ("repeat", request.repeat.map(u64::from), bounds.max_repeat.into()),
        ("max_failures", request.max_failures.map(u64::from), u32::MAX.into()),
        ("needs_within_ms", request.needs_within_ms, bounds.max_needs_wait_ms),
        ("retry_budget_ms", request.retry_budget_ms, bounds.max_timeout_ms),
        ("repeat_for_ms", request.repeat_for_ms, bounds.max_timeout_ms),
    ];
    for (field, value, most) in ranges {
        value.map_or(Ok(()), |value| range(field, value, 1, most))?;
    }
    range("retry_wait", request.retry_wait.longest(), 0, bounds.max_retry_wait_ms)?;
    let tags = request.tags.include.iter().chain(&request.tags.exclude);
    let texts = [
        ("filter", request.filter.as_deref()),
        ("reference", request.reference.as_deref()),
        ("initiated_by", request.initiated_by.as_deref()),
        ("group", request.group.as_deref()),
    ];
    let texts = texts.into_iter().filter_map(|(field, text)| Some((field, text?)));
    for (field, text) in texts.chain(tags.map(|tag| ("tags", tag.as_str()))) {
        bounds.check_text(field, text)?;
    }
    if let Some(cause) = request.retry_on.iter().find(|cause| !RETRIED.contains(cause)) {
        return Err(PlanError::NotRetried(*cause));
    }
    if request.supersede && request.group().is_none_or(str::is_empty) {
        return Err(PlanError::NoGroup);
    }
    for (name, value) in &request.params {
        if let Some(wrong) = wrong_with_name(name) {
            return Err(PlanError::Params(wrong));
        }
        if value.contains('\0') {
            return Err(PlanError::Params(format!("the value of {name:?} has a NUL")));
        }
    }
    let params = request.params.iter().map(|(name, value)| name.len() + value.len()).sum();
    long("params", params, bounds.params_bytes)
}

/// The most suites that a run may need: a part of the contract, as each is looked up whenever one of them ends.
const MAX_NEEDS: usize = 16;

fn check_needs(request: &RunRequest, suite: Option<&SuiteId>) -> Result<(), PlanError> {
    let wrong = |text: &str| Err(PlanError::Needs(text.into()));
    match &request.needs {
        needs if needs.is_empty() && request.needs_within_ms.is_some() => {
            wrong("needs_within_ms says how long it waits for the suites that it needs: name some")
        }
        needs if needs.is_empty() => Ok(()),
        needs if needs.len() > MAX_NEEDS => wrong("a run can need 16 suites at most"),
        needs if suite.is_some_and(|suite| needs.contains(suite)) => {
            wrong("a suite cannot need itself")
        }
        _ if request.reference.is_none() => {
            wrong("give the reference for which the suites must have passed")
        }
        _ => Ok(()),
    }
}

fn range(field: &'static str, value: u64, least: u64, most: u64) -> Result<(), PlanError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(PlanError::OutOfRange { field, value, least, most })
}

fn long(field: &'static str, found: usize, limit: u64) -> Result<(), PlanError> {
    if found as u64 <= limit { Ok(()) } else { Err(PlanError::TooLong { field, found, limit }) }
}

/// Fisher and Yates' shuffle with SplitMix64 (Steele, Lea and Flood 2014): written out here, because a
/// library's generator may give another order in its next release, and a recorded seed must not.
fn shuffle(tests: &mut [PlannedTest], seed: u64) {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    for last in (1..tests.len()).rev() {
        let bound = last as u128 + 1;
        tests.swap(last, ((u128::from(next()) * bound) >> 64) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SuiteDescription, TestCase};

    fn version(tests: Vec<TestCase>) -> SuiteVersion {
        SuiteVersion {
            suite: "hello".parse().unwrap(),
            digest: Digest::of(b""),
            description: SuiteDescription { tests, attempts: Some(3), ..Default::default() },
            imports: vec![],
            size_bytes: 0,
            created_at: Timestamp::UNIX_EPOCH,
            program: None,
            language: None,
        }
    }

    fn test(name: &str, tags: &[&str]) -> TestCase {
        let tags = tags.iter().map(|tag| (*tag).into()).collect();
        TestCase { name: name.into(), tags, ..Default::default() }
    }

    fn planned(tests: Vec<TestCase>, request: RunRequest) -> Result<RunSpec, PlanError> {
        let bounds = RunBounds::default();
        let limits = Limits::default();
        plan(&version(tests), request, &bounds, &limits, RunId::new(), 1, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_is_filtered_out_says_why() {
        let tests =
            vec![test("log in", &["smoke"]), test("log out", &[]), test("pay", &["smoke", "slow"])];
        let request = RunRequest {
            filter: Some("log|pay".into()),
            tags: Tags { include: vec!["smoke".into()], exclude: vec!["slow".into()] },
            ..Default::default()
        };
        let spec = planned(tests, request).unwrap();
        let reasons: Vec<_> = spec.tests.iter().map(|t| t.skip.as_deref()).collect();
        assert_eq!(
            reasons,
            [
                None,
                Some("filtered out: it has none of the tags [\"smoke\"]"),
                Some("filtered out: it has the tag \"slow\""),
            ]
        );
    }

    #[test]
    fn a_request_that_matches_nothing_is_refused() {
        let request = RunRequest { filter: Some("x".into()), ..Default::default() };
        let error = planned(vec![test("a", &[])], request).unwrap_err();
        assert_eq!(error.to_string(), "no test matches the filter \"x\": the suite has \"a\"");
        let request = RunRequest { filter: Some("(".into()), ..Default::default() };
        let error = planned(vec![test("a", &[])], request).unwrap_err();
        assert!(matches!(error, PlanError::Filter(_)));
    }

    #[test]
    fn the_shards_of_a_suite_have_each_of_its_tests_once() {
        let tests: Vec<_> = (0..20).map(|n| test(&format!("test {n}"), &[])).collect();
        let names = |shard: &str, filter: &str| {
            let request = RunRequest {
                shard: Some(shard.parse().unwrap()),
                filter: Some(filter.into()),
                ..Default::default()
            };
            let spec = planned(tests.clone(), request)?;
            let names = spec.tests.into_iter().filter(|test| test.skip.is_none()).map(|t| t.name);
            Ok::<_, PlanError>(names.collect::<Vec<_>>())
        };
        let mut all: Vec<_> =
            ["1/3", "2/3", "3/3"].iter().flat_map(|shard| names(shard, "").unwrap()).collect();
        all.sort_by_key(|name| name["test ".len()..].parse::<u32>().unwrap());
        assert_eq!(all, tests.iter().map(|test| test.name.clone()).collect::<Vec<_>>());
        // One test cannot be in all of them, and those without it have none.
        let of_one = ["1/3", "2/3", "3/3"].map(|shard| names(shard, "test 7").unwrap().len());
        assert_eq!(of_one.iter().sum::<usize>(), 1, "{of_one:?}");
        let error = names("1/3", "none of them").unwrap_err();
        assert!(matches!(error, PlanError::NothingMatches(..)), "what matches nothing is refused");
    }

    #[test]
    fn a_suite_whose_tests_are_all_disabled_runs_and_skips_them() {
        let off = TestCase { disabled: Some("moved".into()), ..test("a", &[]) };
        let spec = planned(vec![off], RunRequest::default()).unwrap();
        assert_eq!(spec.tests[0].skip.as_deref(), Some("disabled: moved"));
    }

    #[test]
    fn attempts_come_from_the_request_the_test_the_suite_in_that_order() {
        let own = TestCase { attempts: Some(5), ..test("own", &[]) };
        let greedy = TestCase { attempts: Some(5000), ..test("greedy", &[]) };
        let tests = vec![own, test("suite", &[]), greedy];
        let attempts = |request| {
            let spec = planned(tests.clone(), request).unwrap();
            spec.tests.iter().map(|t| t.max_attempts).collect::<Vec<_>>()
        };
        assert_eq!(attempts(RunRequest::default()), [5, 3, 10]);
        assert_eq!(attempts(RunRequest { max_attempts: Some(2), ..Default::default() }), [2, 2, 2]);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for request in [
            RunRequest { timeout_ms: Some(0), ..Default::default() },
            RunRequest { timeout_ms: Some(u64::MAX), ..Default::default() },
            RunRequest { test_timeout_ms: Some(0), ..Default::default() },
            RunRequest { max_attempts: Some(0), ..Default::default() },
            RunRequest { max_attempts: Some(11), ..Default::default() },
            RunRequest { parallelism: Some(0), ..Default::default() },
            RunRequest { repeat: Some(0), ..Default::default() },
            RunRequest { max_failures: Some(0), ..Default::default() },
            RunRequest { retry_wait: Wait::Fixed { wait_ms: u64::MAX }, ..Default::default() },
        ] {
            let error = planned(vec![test("a", &[])], request.clone()).unwrap_err();
            assert!(matches!(error, PlanError::OutOfRange { .. }), "{request:?}");
        }
    }

    #[test]
    fn parameters_that_would_be_lost_are_refused() {
        for (name, value) in [("", "x"), ("a\0", "x"), ("a", "x\0")] {
            let params = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let request = RunRequest { params, ..Default::default() };
            let error = planned(vec![test("a", &[])], request).unwrap_err();
            assert!(matches!(error, PlanError::Params(_)), "{name:?}={value:?}: {error}");
        }
    }

    #[test]
    fn a_run_that_may_come_to_too_many_attempts_is_refused() {
        let bounds = RunBounds { max_planned_attempts: 60, ..RunBounds::default() };
        let plan = |max_attempts, repeat, filter: &str| {
            let tests = (0..10).map(|n| test(&n.to_string(), &[])).collect();
            let request = RunRequest {
                max_attempts: Some(max_attempts),
                repeat: Some(repeat),
                filter: Some(filter.into()),
                ..Default::default()
            };
            let (limits, at) = (Limits::default(), Timestamp::UNIX_EPOCH);
            plan(&version(tests), request, &bounds, &limits, RunId::new(), 1, at)
        };
        assert!(plan(3, 2, "").is_ok());
        assert_eq!(
            plan(3, 3, "").unwrap_err(),
            PlanError::TooManyAttempts { planned: 90, limit: 60 }
        );
        // Nine tests that are skipped and one that is tried.
        assert!(plan(10, 3, "0").is_ok());
        let largest = RunBounds::default();
        assert!(largest.check_attempts(Limits::default().tests * 10).is_ok());
    }

    #[test]
    fn rounds_that_end_by_themselves_are_as_many_as_fit_and_have_the_time() {
        let tests = || vec![test("a", &[]), test("b", &[])];
        let of = |request| planned(tests(), request).map(|spec| (spec.repeat, spec.timeout_ms));
        let bounds = RunBounds::default();
        // Three attempts each, as the suite says.
        let fitting = u32::try_from(bounds.max_planned_attempts / 6).unwrap();
        let until = RunRequest { repeat_until_failure: true, ..Default::default() };
        assert_eq!(of(until.clone()), Ok((fitting, bounds.timeout_ms)));
        assert_eq!(of(RunRequest { repeat: Some(5), ..until }), Ok((5, bounds.timeout_ms)));
        let hours = |hours: u64| RunRequest {
            repeat_for_ms: Some(hours * 3_600_000),
            ..Default::default()
        };
        assert_eq!(of(hours(2)), Ok((fitting, bounds.timeout_ms + 7_200_000)));
        assert_eq!(of(hours(24)), Ok((fitting, bounds.max_timeout_ms)));
        let own = RunRequest { timeout_ms: Some(9), ..hours(2) };
        assert_eq!(of(own), Ok((fitting, 9)));
        let error = of(hours(25)).unwrap_err();
        assert_eq!(error.bound(), Some("runner.bounds.max_timeout_ms"), "{error}");
        assert!(of(hours(0)).is_err());
        let skipped = TestCase { disabled: Some("moved".into()), ..test("b", &[]) };
        let none = planned(vec![skipped.clone()], hours(1)).unwrap();
        assert_eq!(none.repeat, bounds.max_repeat);
        // What is skipped is so once.
        let often = |repeat| {
            let request =
                RunRequest { repeat: Some(repeat), max_attempts: Some(2), ..Default::default() };
            planned(vec![test("a", &[]), skipped.clone()], request).map(|spec| spec.repeat)
        };
        assert_eq!(often(99_999), Ok(99_999));
        assert_eq!(often(100_000).unwrap_err().bound(), Some("runner.bounds.max_planned_attempts"));
    }

    #[test]
    fn a_seed_gives_the_same_order_for_ever() {
        let tests: Vec<_> = (0..8).map(|n| test(&n.to_string(), &[])).collect();
        let request = RunRequest { shuffle_seed: Some(42), ..Default::default() };
        let spec = planned(tests, request).unwrap();
        let order: String = spec.tests.iter().map(|t| t.name.as_str()).collect();
        let mut sorted: Vec<_> = order.chars().collect();
        sorted.sort_unstable();
        assert_eq!(sorted, ('0'..'8').collect::<Vec<_>>());
        assert_eq!(order, "43207615");
    }

    #[test]
    fn waits_grow_up_to_their_cap() {
        let wait = Wait::Exponential { initial_ms: 100, max_ms: 1000 };
        let waits: Vec<_> = (2..8).map(|number| wait.before(number, 0.0)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(wait.before(2, 0.999_999), 51);
        assert_eq!(wait.before(u32::MAX, 0.0), 1000);
    }
}
