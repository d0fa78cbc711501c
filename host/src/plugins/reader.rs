//! Reads runs, reports and statistics on behalf of plugins, in the words of a notice.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::notices::{Said, traces};
use crate::metrics::Metrics;
use crate::model::{Run, RunId};
use crate::report::{Format, Stored};
use crate::statistics::{Seen, Series};
use crate::storage::{Page, RunQuery, Storage, StorageError};
use crate::wasm::{NoReport, Runs};

/// What a plugin reads runs by.
pub(super) struct Reader {
    pub(super) storage: Storage,
    pub(super) base: Arc<str>,
    pub(super) metrics: Metrics,
    /// The largest report.
    pub(super) report_bytes: usize,
}

fn failed(error: &StorageError) -> String {
    format!("failed to {error}")
}

impl Reader {
    fn found(&self, id: &str) -> Result<Option<Run>, String> {
        let Ok(id) = id.parse::<RunId>() else { return Ok(None) };
        self.storage.run(id).map_err(|error| failed(&error))
    }

    fn said(&self, run: &Run) -> Result<Said, String> {
        Said::of(&self.storage, run).map_err(|error| failed(&error))
    }
}

impl Runs for Reader {
    fn run(&self, id: &str) -> Result<Option<String>, String> {
        let Some(run) = self.found(id)? else { return Ok(None) };
        json(&self.said(&run)?.run(&run, &self.base)).map(Some)
    }

    fn runs(&self, suite: &str, limit: usize) -> Result<Vec<String>, String> {
        let suite = suite.parse().map_err(|error| format!("{error}"))?;
        let query = RunQuery { suite: Some(suite), ..RunQuery::default() };
        let page = Page { limit: limit.max(1), cursor: None };
        let found = self.storage.runs(&query, &page).map_err(|error| failed(&error))?;
        let mut runs = Vec::with_capacity(found.items.len());
        for summary in found.items {
            runs.extend(self.run(&summary.id.to_string())?);
        }
        Ok(runs)
    }

    fn tests(&self, run: &str, from: usize, limit: usize) -> Result<Vec<String>, String> {
        let Some(run) = self.found(run)? else { return Ok(Vec::new()) };
        let said = self.said(&run)?;
        let mut tests = Vec::new();
        for test in run.tests.iter().skip(from).take(limit) {
            let Some(mut told) = said.test(&run, &test.name) else { continue };
            let traces = traces(&self.storage, &run, &test.name);
            told.trace_ids = traces.map_err(|error| failed(&error))?;
            tests.push(json(&told)?);
        }
        Ok(tests)
    }

    fn report(&self, run: &str, format: &str) -> Result<Option<Vec<u8>>, NoReport> {
        let format = Format::of(format).ok_or_else(|| {
            let known: Vec<_> = Format::ALL.iter().map(|format| format.as_str()).collect();
            NoReport::Failed(format!("there is no report {format:?}: {}", known.join(", ")))
        })?;
        let Some(run) = self.found(run).map_err(NoReport::Failed)? else { return Ok(None) };
        let storage = self.storage.clone();
        let source = Stored { storage, run: run.spec.id, up_to: run.last_seq };
        let mut out = Bounded { bytes: Vec::new(), most: self.report_bytes, is_over: false };
        let written = format.write(&run, &source, &mut out);
        if out.is_over {
            self.metrics.server_limit_hit("plugin.report_bytes");
            let most = self.report_bytes;
            let told = format!("the report is larger than {most} bytes (`plugin.report_bytes`)");
            return Err(NoReport::TooLarge(told));
        }
        let unwritten = |error| NoReport::Failed(format!("failed to write the report: {error}"));
        written.map_err(unwritten)?;
        Ok(Some(out.bytes))
    }

    fn statistics(&self, suite: &str, test: Option<&str>) -> Result<Option<String>, String> {
        let suite = suite.parse().map_err(|error| format!("{error}"))?;
        let series = self.storage.series(&suite, test.unwrap_or_default());
        let series = series.map_err(|error| failed(&error))?;
        series.map(|series| json(&Standing::of(&series))).transpose()
    }
}

/// How a suite or a test stands. Its JSON is what plugins read, so a field may come, and none may go.
#[derive(Serialize)]
struct Standing<'a> {
    state: &'static str,
    runs: u64,
    failed: u64,
    retried: u64,
    failing: u64,
    failing_since: Option<Place<'a>>,
    last_passed: Option<Place<'a>>,
    typical_duration_ms: Option<u64>,
}

/// Where and when a result was seen.
#[derive(Serialize)]
struct Place<'a> {
    run: RunId,
    number: u64,
    at: Timestamp,
    reference: Option<&'a str>,
}

impl<'a> Standing<'a> {
    fn of(series: &'a Series) -> Self {
        let place = |seen: &'a Seen| Place {
            run: seen.run,
            number: seen.number,
            at: seen.at,
            reference: seen.reference.as_deref(),
        };
        Self {
            state: series.state().as_str(),
            runs: series.totals.runs,
            failed: series.totals.failed,
            retried: series.totals.retried,
            failing: series.failing,
            failing_since: series.failing_since.as_ref().map(place),
            last_passed: series.last_passed.as_ref().map(place),
            typical_duration_ms: series.typical_duration_ms(),
        }
    }
}

fn json(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    is_over: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            self.is_over = true;
            return Err(io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
