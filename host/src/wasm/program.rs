//! Test programs that were never written for us: asks one for its tests, by the protocol that is given
//! or the one that it turns out to have. What its words mean is in `crate::program`.

use std::collections::BTreeSet;

use super::execute::{Answer, Call, Ending, Execution};
use super::suite::{DescribeError, Described, Program, Sandbox};
use super::verdict;
use crate::compile::Loaded;
use crate::model::{
    Introduction, InvalidDescription, Limit, Limits, Name, Protocol, Source, SuiteDescription,
    TestCase, short,
};
use crate::program::first_words;

/// Beside a test's name, what stands on a line of a list.
const LINE_EXTRA_BYTES: usize = 32;

/// How much of names a program is asked the reasons for at once. Of more tests, the reason is not shown.
const REASONS_BYTES: usize = 8 << 10;

/// What Rust calls tests that are disabled.
const IGNORED: &str = "ignored";

/// What Go says of its language.
const GO: &str = "Go";

/// What stands for bytes that are no UTF-8.
const NOT_UTF8: char = char::REPLACEMENT_CHARACTER;

/// What the program is and which tests it has. The description is not checked yet.
pub(super) async fn describe(
    sandbox: &Sandbox,
    component: &Loaded,
    introduction: &Introduction,
    language: Option<&str>,
) -> Result<Described, DescribeError> {
    let name = introduction.name.clone().ok_or(DescribeError::Unnamed)?;
    let asked = Asked { sandbox, component, name: &name };
    let (protocol, tests) = match introduction.protocol {
        Some(protocol) => (protocol, asked.tests(protocol).await?),
        None => asked.find(language).await?,
    };
    let description = SuiteDescription { tests, ..SuiteDescription::default() };
    Ok(Described { namespace: None, name, description, program: Some(protocol) })
}

/// The arguments with which a program runs one test: its own name, what it is granted, and last what
/// its harness needs, which so has the last word.
pub(super) fn run_arguments(program: &Program, granted: &[String], test: &str) -> Vec<String> {
    let mut arguments = vec![program.name.to_string()];
    arguments.extend(granted.iter().cloned());
    arguments.extend(program.protocol.run_arguments(test));
    arguments
}

/// A program that is asked what it is.
struct Asked<'a> {
    sandbox: &'a Sandbox,
    component: &'a Loaded,
    name: &'a Name,
}

impl Asked<'_> {
    /// Whichever harness lists tests; a program that has none is one test itself.
    async fn find(
        &self,
        language: Option<&str>,
    ) -> Result<(Protocol, Vec<TestCase>), DescribeError> {
        let guess = if language == Some(GO) { Protocol::GoTest } else { Protocol::Libtest };
        match self.tests(guess).await {
            Ok(tests) if !tests.is_empty() => Ok((guess, tests)),
            // It did whatever it does with arguments that it does not know.
            Ok(_) | Err(DescribeError::Guest(_)) => {
                let protocol = Protocol::ExitCode;
                Ok((protocol, self.tests(protocol).await?))
            }
            Err(error) => Err(error),
        }
    }

    /// The tests of a program of that protocol.
    async fn tests(&self, protocol: Protocol) -> Result<Vec<TestCase>, DescribeError> {
        let Some(arguments) = protocol.list_arguments() else {
            return Ok(protocol.tests(self.name.as_str(), "").unwrap_or_default());
        };
        let name = self.name.as_str();
        let arguments = std::iter::once(name).chain(arguments.iter().copied());
        let call = Call::List(arguments.map(str::to_owned).collect());
        let limits = limits_of_list(self.sandbox.limits());
        let mut execution = self.sandbox.ask(self.component, call, limits).await?;
        if !matches!(execution.ending, Ending::Returned(Answer::Done)) {
            // A `TestMain` may find fault with a run without tests, after the list.
            let list = protocol.tests(name, &stdout(&execution)).unwrap_or_default();
            if protocol != Protocol::GoTest || list.is_empty() || !verdict::exited(&execution) {
                return Err(refused(protocol, &mut execution));
            }
        }
        let mut tests = listed(protocol, name, &execution)?;
        if let Some(arguments) = protocol.list_ignored_arguments().filter(|_| !tests.is_empty()) {
            self.mark_ignored(protocol, arguments, &mut tests).await?;
        }
        Ok(tests)
    }

    /// Disables the tests that the program itself would skip, with its reasons. Where it does not say
    /// clearly which these are, it skips them when they are run.
    async fn mark_ignored(
        &self,
        protocol: Protocol,
        arguments: &[&str],
        tests: &mut [TestCase],
    ) -> Result<(), DescribeError> {
        let limits = limits_of_list(self.sandbox.limits());
        let arguments = arguments.iter().map(|it| (*it).to_owned());
        let Some(output) = self.output(arguments, limits).await? else { return Ok(()) };
        let listed = protocol.tests(self.name.as_str(), &output).unwrap_or_default();
        let ignored: BTreeSet<_> = listed.iter().map(|test| test.name.as_str()).collect();
        // A harness that does not know of ignored tests lists all of them again.
        if ignored.is_empty() || tests.iter().all(|test| ignored.contains(test.name.as_str())) {
            return Ok(());
        }
        let names: Vec<_> = ignored.iter().copied().collect();
        let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
        let mut told = None;
        if bytes <= REASONS_BYTES {
            let arguments = protocol.reasons_arguments(&names).into_iter();
            told = self.output(arguments, self.sandbox.limits().clone()).await?;
        }
        let told = told.unwrap_or_default();
        for test in tests.iter_mut().filter(|test| ignored.contains(test.name.as_str())) {
            let reason = protocol.reason(&test.name, &told);
            let reason = reason.map(|reason| format!("{IGNORED}: {reason}"));
            test.disabled = Some(reason.unwrap_or_else(|| IGNORED.to_owned()));
        }
        Ok(())
    }

    /// What the program writes with these arguments; none if it does not end well.
    async fn output(
        &self,
        arguments: impl Iterator<Item = String>,
        limits: Limits,
    ) -> Result<Option<String>, DescribeError> {
        let call = Call::List(std::iter::once(self.name.to_string()).chain(arguments).collect());
        let execution = self.sandbox.ask(self.component, call, limits).await?;
        let ended = matches!(execution.ending, Ending::Returned(Answer::Done));
        Ok((ended && execution.log.dropped_bytes == 0).then(|| stdout(&execution)))
    }
}

/// What to do about a protocol that is not the program's.
const OTHERWISE: &str = "leave the protocol out to have it found, or name another";

/// How many bytes of what a program says are told in a sentence of ours.
const WORDS_BYTES: usize = 300;

/// Why a program did not list its tests, in its own words too.
fn refused(protocol: Protocol, execution: &mut Execution) -> DescribeError {
    match verdict::of_describe(execution) {
        DescribeError::Guest(why) => {
            let words = first_words(&execution.log.lines).map(|words| short(words, WORDS_BYTES));
            let words = words.map_or(String::new(), |words| format!(" ({words})"));
            let told = format!("did not list its tests as {protocol} does: it {why}{words}");
            DescribeError::Guest(format!("{told}; {OTHERWISE}"))
        }
        error => error,
    }
}

/// What it wrote to its standard output.
fn stdout(execution: &Execution) -> String {
    // Behind the host's remark that lines were dropped comes only the end.
    let lines = execution.log.lines.iter().take_while(|line| line.source != Source::Host);
    let lines = lines.filter(|line| line.source == Source::Stdout);
    lines.flat_map(|line| [line.text.as_str(), "\n"]).collect()
}

/// A list has as many lines as there may be tests, each as long as a name may be.
fn limits_of_list(limits: &Limits) -> Limits {
    let line = (SuiteDescription::MAX_TEST_NAME_BYTES + LINE_EXTRA_BYTES) as u64;
    // One more, so that one too many is seen as such.
    let all = limits.tests.saturating_add(1).saturating_mul(line);
    Limits { log_head_bytes: all, log_tail_bytes: line, log_line_bytes: line, ..limits.clone() }
}

fn listed(
    protocol: Protocol,
    name: &str,
    execution: &Execution,
) -> Result<Vec<TestCase>, DescribeError> {
    let Some(tests) = protocol.tests(name, &stdout(execution)) else {
        let message = if execution.hits.was_hit(Limit::LogLineBytes) {
            let most = SuiteDescription::MAX_TEST_NAME_BYTES;
            format!("did not list its tests as {protocol} does in names of at most {most} bytes")
        } else {
            format!("did not list its tests as {protocol} does; {OTHERWISE}")
        };
        return Err(DescribeError::Guest(message));
    };
    if execution.log.dropped_bytes > 0 {
        // At least as many: of the rest nothing is known.
        let (found, limit) = (tests.len(), execution.limits.tests);
        return Err(InvalidDescription::TooManyTests { found, limit }.into());
    }
    if let Some(at) = tests.iter().position(|test| test.name.contains(NOT_UTF8)) {
        let (number, problem) = (at + 1, "not UTF-8".to_owned());
        return Err(InvalidDescription::TestName { number, problem }.into());
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_as_many_tests_as_there_may_be_is_kept_whole() {
        let limits = Limits { tests: 10, ..Limits::default() };
        let list = limits_of_list(&limits);
        let longest = format!("{}: benchmark\n", "x".repeat(SuiteDescription::MAX_TEST_NAME_BYTES));
        assert!(list.log_line_bytes as usize >= longest.len());
        assert!(list.log_head_bytes as usize >= 10 * longest.len());
        assert_eq!((list.timeout_ms, list.fuel), (limits.timeout_ms, limits.fuel));
    }
}
