//! What a call that has ended means: for an attempt, or for a description.

use jiff::Timestamp;
use wasmtime_wasi::I32Exit;

use super::execute::{Answer, Ending, Execution};
use super::limits::{LimitsHit, cut_message};
use super::log::FinishedLog;
use super::secrets::Masker;
use super::suite::DescribeError;
use super::trap::{self, Circumstances, Explanation, in_words};
use crate::compile::LeftOut;
use crate::model::{
    Artifact, Attempt, AttemptDetail, Cause, Digest, Failure, Frame, Limit, Limits, Location,
    LogLine, Outcome, Protocol, Source, SubResult, TestStatus, Value,
};
use crate::program::{Ended, Judgement};

/// By what the end of a program is judged that was not written for us.
pub(super) struct Judge {
    pub(super) protocol: Protocol,
    /// The test that it ran.
    pub(super) test: String,
}

/// How an attempt ended.
#[derive(Default)]
struct Verdict {
    status: TestStatus,
    cause: Option<Cause>,
    message: Option<String>,
    location: Option<Location>,
    backtrace: Vec<Frame>,
    further: Vec<Failure>,
    /// Parts that a program told in its output.
    parts: Vec<SubResult>,
}

/// The attempt that `execution` was. Without a judge it was a call of a suite.
pub(super) fn of_attempt(
    round: u32,
    number: u32,
    mut execution: Execution,
    by: Option<&Judge>,
) -> Attempt {
    let Verdict { status, cause, message, location, backtrace, further, parts } =
        judge(&mut execution, by);
    execution.record.sub_results.extend(parts);
    let Execution { record, log, exchanges, ended, symbols, hits, limits, .. } = &mut execution;
    let mut remark = |text: String| {
        log.lines.push(LogLine { at: Timestamp::now(), source: Source::Host, text: text.into() });
    };
    if hits.was_hit(Limit::ScratchBytes) {
        // Most languages' libraries make an I/O error of it when they write to a file.
        let limit = limits.scratch_bytes;
        remark(format!("no space was left in /tmp: {limit} bytes (limit `scratch_bytes`)"));
    }
    if let Some(LeftOut { bytes, limit }) = symbols.left_out()
        && !backtrace.is_empty()
    {
        remark(format!(
            "the backtrace has no files and lines: {bytes} bytes of debug information are more than \
             {limit} (compile.debug_bytes)"
        ));
    }
    let mut detail = AttemptDetail {
        whole: None,
        log: std::mem::take(&mut log.lines),
        log_dropped_bytes: log.dropped_bytes,
        backtrace,
        further_failures: further,
        exchanges: std::mem::take(exchanges),
        spans: record.take_spans(*ended),
        sub_results: std::mem::take(&mut record.sub_results),
        values: std::mem::take(&mut record.values),
    };
    mask(&log.masker, &mut detail);
    let mut artifacts = std::mem::take(&mut record.artifacts);
    artifacts.iter_mut().for_each(|artifact| mask_artifact(&log.masker, artifact));
    let duration = execution.ended.duration_since(execution.started);
    Attempt {
        number,
        round,
        status,
        cause,
        soft: execution.record.soft,
        message,
        location,
        started_at: execution.started_at,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        fuel_used: execution.fuel_used,
        memory_peak_bytes: execution.memory_peak,
        logs_truncated: detail.log_dropped_bytes > 0,
        limits_hit: execution.hits.take(),
        artifacts,
        detail: Some(Box::new(detail)),
    }
}

/// Why `describe` did not answer.
pub(super) fn of_describe(execution: &mut Execution) -> DescribeError {
    let message = match explain(execution) {
        Some(Explanation { cause: Cause::Timeout, .. }) => {
            format!("did not answer within {}", in_words(execution.timeout))
        }
        Some(Explanation { cause: Cause::Host, message, .. }) => {
            return DescribeError::Host(message);
        }
        Some(Explanation { cause: Cause::Panic, message, location, .. }) => match location {
            Some(Location { file, line, .. }) => format!("panicked at {file}:{line}: {message}"),
            None => format!("panicked: {message}"),
        },
        Some(explanation) => explanation.message,
        None => return DescribeError::Host("it was stopped".into()),
    };
    let mut message = message;
    execution.log.masker.apply(&mut message);
    cut_message(&mut message, &execution.limits, &execution.hits);
    DescribeError::Guest(message)
}

/// Why a hook of a plugin did not answer; none if it did, or was stopped.
pub(super) fn of_hook(execution: &mut Execution) -> Option<String> {
    let explanation = explain(execution)?;
    if explanation.cause == Cause::Timeout {
        execution.hits.hit(Limit::TimeoutMs);
    }
    let mut message = match (explanation.cause, explanation.location) {
        (Cause::Panic, Some(Location { file, line, .. })) => {
            format!("panicked at {file}:{line}: {}", explanation.message)
        }
        (Cause::Panic, None) => format!("panicked: {}", explanation.message),
        (Cause::Timeout, _) => format!("was {}", explanation.message),
        _ => explanation.message,
    };
    cut_message(&mut message, &execution.limits, &execution.hits);
    Some(message)
}

/// Whether the guest was still running at its deadline.
pub(super) fn timed_out(execution: &Execution) -> bool {
    explain(execution).is_some_and(|why| why.cause == Cause::Timeout)
}

/// Whether the guest ended itself with an exit code.
pub(super) fn exited(execution: &Execution) -> bool {
    matches!(explain(execution), Some(Explanation { cause: Cause::Exit, .. }))
}

/// Why the guest did not return; none if it did, or was cancelled.
fn explain(execution: &Execution) -> Option<Explanation> {
    let Execution {
        ending, limits, memory_limit, hits, log, timeout, instantiated, symbols, ..
    } = execution;
    match ending {
        Ending::Returned(_) | Ending::Cancelled => None,
        Ending::TimedOut => Some(Explanation::timeout(*timeout)),
        Ending::Failed(error) => {
            let (memory_limit, timeout, instantiated) = (*memory_limit, *timeout, *instantiated);
            let log = &log.lines;
            let known =
                Circumstances { limits, memory_limit, hits, log, timeout, instantiated, symbols };
            Some(trap::explain(error, &known))
        }
    }
}

fn judge(execution: &mut Execution, by: Option<&Judge>) -> Verdict {
    let explanation = explain(execution);
    let timed_out =
        explanation.as_ref().is_some_and(|explanation| explanation.cause == Cause::Timeout);
    let run_is_over = timed_out && execution.run_is_over;
    if timed_out && !run_is_over {
        // Whoever set it: this is the bound on wall time.
        execution.hits.hit(Limit::TimeoutMs);
    }
    let mut reported = std::mem::take(&mut execution.record.failures);
    let ending = std::mem::replace(&mut execution.ending, Ending::Cancelled);
    let mut own = match (ending, explanation) {
        (ending @ (Ending::Returned(_) | Ending::Failed(_) | Ending::TimedOut), explanation)
            if let Some(by) = by =>
        {
            of_program(by, &ending, explanation, execution)
        }
        (Ending::Cancelled, _) => Verdict { status: TestStatus::Cancelled, ..Verdict::default() },
        (Ending::Returned(Answer::Outcome(outcome)), _) => of_outcome(outcome),
        (_, Some(_)) if run_is_over => Verdict {
            status: TestStatus::Cancelled,
            message: Some("it was still running when the run reached its deadline".into()),
            ..Verdict::default()
        },
        (_, Some(explanation)) => of_explanation(explanation),
        // A stage never answers with a description.
        (_, None) => Verdict { status: TestStatus::Error, ..Verdict::default() },
    };
    let Execution { log: FinishedLog { masker, .. }, limits, hits, .. } = &*execution;
    if let Some(message) = &mut own.message {
        masker.apply(message);
        cut_message(message, limits, hits);
    }
    mask_location(masker, own.location.as_mut());
    // These were cut when they were reported.
    reported.iter_mut().for_each(|failure| mask_failure(masker, failure));
    // What was reported wins over how the call ended, except where that says nothing of the test.
    if reported.is_empty() || matches!(own.status, TestStatus::Cancelled | TestStatus::Error) {
        return Verdict { further: reported, ..own };
    }
    let first = reported.remove(0);
    let trapped = matches!(own.cause, Some(Cause::Trap | Cause::Panic));
    if let Some(message) = own.message
        && own.status == TestStatus::Failed
        && !trapped
        && message != first.message
    {
        reported.push(Failure { message, location: own.location });
    }
    Verdict {
        status: TestStatus::Failed,
        cause: Some(if trapped { Cause::Panic } else { Cause::Assertion }),
        message: Some(first.message),
        location: first.location,
        backtrace: own.backtrace,
        further: reported,
        parts: own.parts,
    }
}

/// What a program's protocol makes of its end. Our limits, the deadline and the host's mistakes come
/// before whatever the program said; the parts that it told until then are kept.
fn of_program(
    by: &Judge,
    ending: &Ending,
    explanation: Option<Explanation>,
    execution: &mut Execution,
) -> Verdict {
    let exit_code = match ending {
        Ending::Failed(error) => error.downcast_ref().map_or(0, |I32Exit(code)| *code),
        _ => 0,
    };
    let exit_code = u8::try_from(exit_code).unwrap_or(u8::MAX);
    // Where a harness ends the program says nothing of the test.
    let exited = matches!(explanation, Some(Explanation { cause: Cause::Exit, .. }));
    let (ended, foreign) = match &explanation {
        None => (Ended::Code(0), false),
        Some(Explanation { cause: Cause::Exit, .. }) => (Ended::Code(exit_code), false),
        Some(Explanation { cause: Cause::Panic, message, location, .. }) => {
            let (message, location) = (message.clone(), location.clone());
            (Ended::Trapped(Some(Failure { message, location })), false)
        }
        Some(Explanation { cause: Cause::Trap, .. }) => (Ended::Trapped(None), false),
        Some(_) => (Ended::Trapped(None), true),
    };
    let Execution { log, limits, hits, .. } = execution;
    let reader = log.reader.take().unwrap_or_else(|| by.protocol.reader(0));
    let Judgement { outcome, cause, mut sub_results } =
        by.protocol.judge(&by.test, ended, &log.lines, reader);
    if let Some(mark) = by.protocol.mark() {
        let from_program = log.lines.iter_mut().filter(|line| line.source == Source::Stdout);
        from_program.for_each(|line| line.text.retain(|character| character != mark));
    }
    // What is cut is masked before, lest the cut goes through a secret.
    sub_results.iter_mut().for_each(|part| mask_part(&log.masker, part));
    bound_parts(&mut sub_results, limits, hits);
    let told = of_outcome(outcome);
    let verdict = match explanation {
        None => Verdict { cause, ..told },
        // Which trap it was says more than that it was one.
        Some(explanation) if foreign || cause == Some(Cause::Trap) => of_explanation(explanation),
        Some(_) if exited && cause != Some(Cause::Exit) => Verdict { cause, ..told },
        Some(Explanation { backtrace, .. }) => Verdict { cause, backtrace, ..told },
    };
    Verdict { parts: sub_results, ..verdict }
}

/// The bounds that hold for the parts that a suite reports. Their texts come from the log and are no
/// longer than that in all.
fn bound_parts(parts: &mut Vec<SubResult>, limits: &Limits, hits: &LimitsHit) {
    let most = usize::try_from(limits.sub_results).unwrap_or(usize::MAX);
    if parts.len() > most {
        hits.hit(Limit::SubResults);
        parts.truncate(most);
    }
    for SubResult { name, outcome, .. } in parts {
        cut_message(name, limits, hits);
        match outcome {
            Outcome::Failed(Failure { message, .. }) => cut_message(message, limits, hits),
            Outcome::Skipped { reason } => cut_message(reason, limits, hits),
            Outcome::Passed => {}
        }
    }
}

fn of_outcome(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Passed => Verdict { status: TestStatus::Passed, ..Verdict::default() },
        Outcome::Skipped { reason } => {
            let message = Some(reason);
            Verdict { status: TestStatus::Skipped, message, ..Verdict::default() }
        }
        Outcome::Failed(Failure { message, location }) => Verdict {
            status: TestStatus::Failed,
            cause: Some(Cause::Assertion),
            message: Some(message),
            location,
            ..Verdict::default()
        },
    }
}

fn of_explanation(explanation: Explanation) -> Verdict {
    let Explanation { cause, message, location, backtrace } = explanation;
    let status = if cause == Cause::Host { TestStatus::Error } else { TestStatus::Failed };
    let (cause, message) = (Some(cause), Some(message));
    Verdict { status, cause, message, location, backtrace, ..Verdict::default() }
}

fn mask_failure(masker: &Masker, failure: &mut Failure) {
    masker.apply(&mut failure.message);
    mask_location(masker, failure.location.as_mut());
}

/// A file's name is a text of the guest's like any other.
fn mask_location(masker: &Masker, location: Option<&mut Location>) {
    if let Some(location) = location {
        masker.apply(&mut location.file);
    }
}

fn mask_part(masker: &Masker, part: &mut SubResult) {
    masker.apply(&mut part.name);
    match &mut part.outcome {
        Outcome::Passed => {}
        Outcome::Failed(failure) => mask_failure(masker, failure),
        Outcome::Skipped { reason } => masker.apply(reason),
    }
}

fn mask_artifact(masker: &Masker, artifact: &mut Artifact) {
    masker.apply(&mut artifact.name);
    masker.apply(&mut artifact.media_type);
    if let Some(masked) = masker.mask_bytes(&artifact.content) {
        artifact.size_bytes = masked.len() as u64;
        artifact.digest = Digest::of(&masked);
        artifact.content = masked.into();
    }
}

/// Masks the texts of the detail that are not masked yet; but what values hold, which stays in clear
/// for the suite: one that has a secret in it becomes secret itself.
fn mask(masker: &Masker, detail: &mut AttemptDetail) {
    let AttemptDetail { spans, sub_results, values, exchanges, .. } = detail;
    for span in spans {
        masker.apply(&mut span.name);
        for (key, value) in &mut span.attributes {
            masker.apply(key);
            masker.apply(value);
        }
    }
    sub_results.iter_mut().for_each(|part| mask_part(masker, part));
    for Value { name, value, secret } in values {
        masker.apply(name);
        *secret |= masker.finds(value);
    }
    for exchange in exchanges {
        masker.apply(&mut exchange.method);
        masker.apply(&mut exchange.url);
        exchange.trace_id.iter_mut().for_each(|id| masker.apply(id));
        exchange.error.iter_mut().for_each(|error| masker.apply(error));
    }
}
