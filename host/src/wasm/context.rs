//! `handoff:suite/context`: what an attempt may say of itself, ask for and keep.
//!
//! Everything is bounded: what cannot be refused is cut or dropped, what can be refused is refused by
//! the name of its limit. What is collected here stays in clear; secrets are masked once, when the
//! attempt ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::bindings::context::{self as generated, Host, HostSpan};
use super::bindings::vocabulary::{self as wit, Refusal};
use super::convert;
use super::deadline::SharedDeadline;
use super::limits::{LimitsHit, cut_message};
use super::log::Log;
use crate::model::{Artifact, Digest, Failure, Limit, Limits, Outcome, Span, SubResult, Value};

/// What an attempt has said of itself so far.
pub(crate) struct ContextCtx {
    pub(crate) log: Log,
    pub(crate) deadline: SharedDeadline,
    pub(crate) hits: LimitsHit,
    limits: Arc<Limits>,
    /// Whether this is a test's attempt and not a `describe`, in which nothing is kept or granted.
    running: bool,
    number: u32,
    /// No extension goes beyond this.
    latest: Instant,
    /// Values of earlier attempts.
    values: Arc<Vec<Value>>,
    /// Bytes left for texts of the record.
    record_left: u64,
    /// Bytes of secret values that the attempt set, those replaced since included.
    secrets_added: usize,
    pub(crate) record: Record,
}

/// What an attempt leaves behind beside its log.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) soft: bool,
    pub(crate) failures: Vec<Failure>,
    pub(crate) sub_results: Vec<SubResult>,
    pub(crate) values: Vec<Value>,
    pub(crate) artifacts: Vec<Artifact>,
    spans: Vec<OpenSpan>,
}

struct OpenSpan {
    name: String,
    started_at: Timestamp,
    started: Instant,
    duration: Option<Duration>,
    attributes: Vec<(String, String)>,
}

/// The guest's handle to a span: its place in the record, unless there were too many.
#[expect(unreachable_pub, reason = "generated code re-exports it within a private module")]
pub struct SpanHandle(Option<usize>);

/// What is the same for every call of an attempt.
pub(crate) struct Terms {
    pub(crate) limits: Arc<Limits>,
    pub(crate) running: bool,
    pub(crate) number: u32,
    pub(crate) latest: Instant,
    pub(crate) values: Arc<Vec<Value>>,
}

/// What a failure costs of `record_bytes`.
fn failure_bytes(failure: &Failure) -> usize {
    failure.message.len() + failure.location.as_ref().map_or(0, |location| location.file.len())
}

impl ContextCtx {
    pub(crate) fn new(terms: Terms, log: Log, deadline: SharedDeadline, hits: LimitsHit) -> Self {
        let Terms { limits, running, number, latest, values } = terms;
        let record_left = limits.record_bytes;
        let record = Record::default();
        Self {
            log,
            deadline,
            hits,
            limits,
            running,
            number,
            latest,
            values,
            record_left,
            secrets_added: 0,
            record,
        }
    }

    fn refuse(&self, limit: Limit, what: String) -> Refusal {
        self.hits.hit(limit);
        let rule = limit.as_str();
        let value = self.limits.get(limit);
        Refusal {
            rule: rule.into(),
            message: format!("{what}, {value} are allowed (limit `{rule}`)"),
        }
    }

    fn check(&self, limit: Limit, wanted: usize, what: &str) -> Result<(), Refusal> {
        if wanted as u64 <= self.limits.get(limit) {
            return Ok(());
        }
        Err(self.refuse(limit, format!("{wanted} {what}")))
    }

    fn check_name(&self, what: &str, name: &str) -> Result<(), Refusal> {
        self.check(Limit::NameBytes, name.len(), &format!("bytes in the name of {what}"))?;
        let problem = match name {
            "" => "is empty",
            _ if name.chars().any(char::is_control) => "has control characters",
            _ => return Ok(()),
        };
        Err(Refusal { rule: "name".into(), message: format!("the name of {what} {problem}") })
    }

    /// Sets an attribute of a span, unless it has too many.
    fn set_attribute(&mut self, span: usize, attribute: wit::Attribute) {
        let wit::Attribute { key, value } = attribute;
        let attributes = &mut self.record.spans[span].attributes;
        if let Some((_, old)) = attributes.iter_mut().find(|(known, _)| *known == key) {
            *old = value;
        } else if (attributes.len() as u64) < self.limits.span_attributes {
            attributes.push((key, value));
        } else {
            self.hits.hit(Limit::SpanAttributes);
        }
    }

    /// Takes `bytes` from what texts of the record may have in sum.
    fn charge(&mut self, bytes: usize) -> bool {
        match self.record_left.checked_sub(bytes as u64) {
            Some(left) => {
                self.record_left = left;
                true
            }
            None => {
                self.hits.hit(Limit::RecordBytes);
                false
            }
        }
    }

    /// Cuts a message at its limit. What is cut is masked before, lest the cut goes through a secret.
    fn cut(&self, text: &mut String) {
        if text.len() as u64 > self.limits.message_bytes {
            self.log.mask(text);
            cut_message(text, &self.limits, &self.hits);
        }
    }

    fn cut_failure(&self, failure: &mut Failure) {
        self.cut(&mut failure.message);
        if let Some(location) = &mut failure.location {
            self.cut(&mut location.file);
        }
    }

    /// Bytes of secrets that are masked. One that was replaced is masked on.
    fn secret_bytes(&self) -> usize {
        let earlier = self.values.iter().filter(|v| v.secret);
        self.secrets_added + earlier.map(|v| v.value.len()).sum::<usize>()
    }

    fn keep_value(&mut self, value: Value) -> Result<(), Refusal> {
        self.check_name("a value", &value.name)?;
        self.check(Limit::ValueBytes, value.value.len(), "bytes in one value")?;
        let is_new = |v: &&Value| v.name != value.name;
        let own = self.record.values.iter().filter(is_new).count();
        let own_names = |name: &str| self.record.values.iter().any(|v| v.name == name);
        let earlier = self.values.iter().filter(is_new).filter(|v| !own_names(&v.name)).count();
        self.check(Limit::Values, own + earlier + 1, "values in one run")?;
        if value.secret {
            let secret = self.secret_bytes() + value.value.len();
            self.check(Limit::SecretBytes, secret, "bytes of secret values in one run")?;
            self.secrets_added += value.value.len();
            self.log.add_secret(&value.value);
        }
        self.record.values.retain(|v| v.name != value.name);
        self.record.values.push(value);
        Ok(())
    }

    fn keep_artifact(
        &mut self,
        name: String,
        media_type: String,
        content: Vec<u8>,
    ) -> Result<(), Refusal> {
        self.check_name("an artifact", &name)?;
        self.check_name("a media type", &media_type)?;
        self.check(Limit::Artifacts, self.record.artifacts.len() + 1, "files in one attempt")?;
        self.check(Limit::ArtifactBytes, content.len(), "bytes in one file")?;
        let kept: usize = self.record.artifacts.iter().map(|a| a.content.len()).sum();
        let total = kept + content.len();
        self.check(Limit::ArtifactTotalBytes, total, "bytes in all files of one attempt")?;
        self.record.artifacts.push(Artifact {
            name,
            media_type,
            size_bytes: content.len() as u64,
            digest: Digest::of(&content),
            content: Bytes::from(content),
        });
        Ok(())
    }

    fn keep_sub_result(
        &mut self,
        mut name: String,
        mut outcome: Outcome,
        duration_ms: u64,
    ) -> Result<(), Refusal> {
        self.check(Limit::SubResults, self.record.sub_results.len() + 1, "parts in one attempt")?;
        self.cut(&mut name);
        let text = match &mut outcome {
            Outcome::Passed => 0,
            Outcome::Failed(failure) => {
                self.cut_failure(failure);
                failure_bytes(failure)
            }
            Outcome::Skipped { reason } => {
                self.cut(reason);
                reason.len()
            }
        };
        if !self.charge(name.len() + text) {
            return Err(self.refuse(Limit::RecordBytes, "more bytes of names and messages".into()));
        }
        self.record.sub_results.push(SubResult { name, outcome, duration_ms });
        Ok(())
    }

    /// Moves the deadline, and gives what then remains.
    fn extend(&mut self, by_ms: u64) -> Result<u64, Refusal> {
        let at = self.deadline.at();
        let wanted = at.checked_add(Duration::from_millis(by_ms));
        let granted = wanted.map_or(self.latest, |wanted| wanted.min(self.latest));
        if wanted != Some(granted) {
            self.hits.hit(Limit::MaxTimeoutMs);
        }
        if granted <= at && by_ms > 0 {
            let message = format!(
                "the deadline cannot be later: an attempt may take {} ms (limit `max_timeout_ms`), \
                 and no longer than its run",
                self.limits.max_timeout_ms
            );
            return Err(Refusal { rule: Limit::MaxTimeoutMs.as_str().into(), message });
        }
        self.deadline.extend_to(granted);
        Ok(self.remaining_ms())
    }

    fn remaining_ms(&self) -> u64 {
        u64::try_from(self.deadline.remaining().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Record {
    /// The spans; one that is open ended at `end`.
    pub(crate) fn take_spans(&mut self, end: Instant) -> Vec<Span> {
        let spans = std::mem::take(&mut self.spans).into_iter().map(|span| {
            let open = end.saturating_duration_since(span.started);
            let duration = span.duration.unwrap_or(open).as_millis();
            Span {
                name: span.name,
                started_at: span.started_at,
                duration_ms: u64::try_from(duration).unwrap_or(u64::MAX),
                attributes: span.attributes,
            }
        });
        spans.collect()
    }
}

/// The context together with the table in which the guest's spans are.
pub(crate) struct ContextView<'a> {
    pub(crate) ctx: &'a mut ContextCtx,
    pub(crate) table: &'a mut ResourceTable,
}

impl Host for ContextView<'_> {
    fn log(&mut self, level: wit::Level, message: String) -> wasmtime::Result<()> {
        self.ctx.log.log(convert::level(level), &message);
        Ok(())
    }

    fn attempt_number(&mut self) -> wasmtime::Result<u32> {
        Ok(self.ctx.number)
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(self.ctx.remaining_ms())
    }

    fn extend_deadline(&mut self, by_ms: u64) -> wasmtime::Result<Result<u64, Refusal>> {
        if !self.ctx.running {
            let message = "`describe` has a fixed deadline".into();
            return Ok(Err(Refusal { rule: "describe_timeout_ms".into(), message }));
        }
        Ok(self.ctx.extend(by_ms))
    }

    fn mark_soft(&mut self) -> wasmtime::Result<()> {
        self.ctx.record.soft = true;
        Ok(())
    }

    fn report_failure(&mut self, failure: wit::Failure) -> wasmtime::Result<()> {
        let mut failure = convert::failure(failure);
        self.ctx.cut_failure(&mut failure);
        // The first names the cause, so it is kept in any case.
        if self.ctx.record.failures.is_empty() {
            self.ctx.charge(failure_bytes(&failure));
            self.ctx.record.failures.push(failure);
        } else if self.ctx.record.failures.len() as u64 > self.ctx.limits.failures {
            self.ctx.hits.hit(Limit::Failures);
        } else if self.ctx.charge(failure_bytes(&failure)) {
            self.ctx.record.failures.push(failure);
        }
        Ok(())
    }

    fn report_sub_result(
        &mut self,
        name: String,
        outcome: wit::Outcome,
        duration_ms: u64,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        Ok(self.ctx.keep_sub_result(name, convert::outcome(outcome), duration_ms))
    }

    fn set_value(
        &mut self,
        name: String,
        value: String,
        secret: bool,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        Ok(self.ctx.keep_value(Value { name, value, secret }))
    }

    fn get_value(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        let mut values = self.ctx.record.values.iter().chain(self.ctx.values.iter());
        Ok(values.find(|value| value.name == name).map(|value| value.value.clone()))
    }

    fn attach(
        &mut self,
        name: String,
        media_type: String,
        content: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        Ok(self.ctx.keep_artifact(name, media_type, content))
    }
}

impl HostSpan for ContextView<'_> {
    fn new(
        &mut self,
        name: String,
        attributes: Vec<wit::Attribute>,
    ) -> wasmtime::Result<Resource<SpanHandle>> {
        let spans = self.ctx.record.spans.len();
        let size = |a: &wit::Attribute| a.key.len() + a.value.len();
        let text = name.len() + attributes.iter().map(size).sum::<usize>();
        let handle = if self.ctx.check(Limit::Spans, spans + 1, "spans").is_err() {
            SpanHandle(None)
        } else if self.ctx.charge(text) {
            let span = OpenSpan {
                name,
                started_at: Timestamp::now(),
                started: Instant::now(),
                duration: None,
                attributes: Vec::new(),
            };
            self.ctx.record.spans.push(span);
            attributes.into_iter().for_each(|attribute| self.ctx.set_attribute(spans, attribute));
            SpanHandle(Some(spans))
        } else {
            SpanHandle(None)
        };
        Ok(self.table.push(handle)?)
    }

    fn set_attribute(
        &mut self,
        span: Resource<SpanHandle>,
        attribute: wit::Attribute,
    ) -> wasmtime::Result<()> {
        if let Some(at) = self.table.get(&span)?.0
            && self.ctx.charge(attribute.key.len() + attribute.value.len())
        {
            self.ctx.set_attribute(at, attribute);
        }
        Ok(())
    }

    fn end(&mut self, span: Resource<SpanHandle>) -> wasmtime::Result<()> {
        self.end_span(&span)
    }

    fn drop(&mut self, span: Resource<SpanHandle>) -> wasmtime::Result<()> {
        self.end_span(&span)?;
        self.table.delete(span)?;
        Ok(())
    }
}

impl ContextView<'_> {
    fn end_span(&mut self, span: &Resource<SpanHandle>) -> wasmtime::Result<()> {
        if let Some(at) = self.table.get(span)?.0 {
            let span = &mut self.ctx.record.spans[at];
            span.duration.get_or_insert_with(|| span.started.elapsed());
        }
        Ok(())
    }
}

struct HasContext;

impl HasData for HasContext {
    type Data<'a> = ContextView<'a>;
}

/// Offers `handoff:suite/context`.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> ContextView<'_>,
) -> wasmtime::Result<()> {
    generated::add_to_linker::<T, HasContext>(linker, get)
}
