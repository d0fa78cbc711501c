//! All metrics of the server, declared in one struct whose doc comments are the help texts.
//!
//! The only user of the `prometheus` crate. No label holds a run's id or an error's text, and the number
//! of label values is bounded: suites beyond the first [`MAX_SUITES`] are counted under `other`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::model::{
    CallOutcome, DueOutcome, EventKind, Limit, Round, RunEvent, RunId, RunStatus, SuiteId,
    TestStatus,
};

/// How many suites have label values of their own.
pub const MAX_SUITES: usize = 200;

/// Seconds, for what takes from a millisecond to minutes.
const SHORT: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Seconds, for what takes from a hundredth of a second to hours.
const LONG: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// The labels of a suite.
const SUITE: &[&str] = &["namespace", "suite_name"];
/// The labels of a suite, and how something of it ended.
const SUITE_RESULT: &[&str] = &["namespace", "suite_name", "result"];

/// Declares each metric once: field, type, name, labels or buckets; the help text is the doc comment.
macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:ident = $name:literal $(, $argument:expr)*;)+) => {
        struct Declared { $($(#[doc = $doc])+ $field: $kind,)+ }

        impl Declared {
            fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
                $(
                    let help = concat!($($doc),+).trim();
                    let $field = make::$kind(Opts::new($name, help) $(, $argument)*)?;
                    registry.register(Box::new($field.clone()))?;
                )+
                Ok(Self { $($field,)+ })
            }
        }
    };
}

metrics! {
    /// Runs under way.
    running: IntGaugeVec = "handoff_testsuites_running", SUITE;
    /// Runs that ended, by result.
    runs: IntCounterVec = "handoff_testsuites_started_total", SUITE_RESULT;
    /// Tests that got their verdict, by result.
    tests: IntCounterVec = "handoff_tests_run_total", SUITE_RESULT;
    /// Tests that are flaky or broken at present, by state.
    states: IntGaugeVec = "handoff_tests_in_state", &["namespace", "suite_name", "state"];
    /// Turns in the statistics of suites and tests, by kind.
    news: IntCounterVec = "handoff_statistics_news_total", &["news"];
    /// Tests that passed after a failed attempt.
    flaky: IntCounterVec = "handoff_tests_flaky_total", SUITE;
    /// When a run of the suite last passed, in seconds since 1970.
    last_success: GaugeVec = "handoff_testsuites_last_success_timestamp_seconds", SUITE;
    /// How long runs took, from their start to their end.
    run_seconds: HistogramVec = "handoff_run_duration_seconds", SUITE, LONG;
    /// How long tests took, all attempts together.
    test_seconds: HistogramVec = "handoff_test_duration_seconds", SUITE, SHORT;
    /// How long attempts took, by result.
    attempt_seconds: HistogramVec = "handoff_attempt_duration_seconds", &["result"], SHORT;
    /// Runs that wait.
    queue_depth: IntGauge = "handoff_queue_depth";
    /// Runs that an executor works on.
    executing: IntGauge = "handoff_runs_executing";
    /// How long runs waited before they started.
    queue_seconds: Histogram = "handoff_queue_wait_seconds", LONG;
    /// How late the times of schedules are dealt with, in seconds.
    schedule_lag_seconds: Histogram = "handoff_schedule_lag_seconds", LONG;
    /// Times of schedules, by what became of them.
    schedule_times: IntCounterVec = "handoff_schedule_times_total", &["outcome"];
    /// Calls to triggers, by what became of them.
    trigger_calls: IntCounterVec = "handoff_trigger_calls_total", &["outcome"];
    /// Calls of plugins to tell them something, by what became of it.
    deliveries: IntCounterVec = "handoff_plugin_deliveries_total", &["outcome"];
    /// Slots of the engines' pools that attempts have.
    sandbox_slots: IntGauge = "handoff_sandbox_slots_in_use";
    /// Attempts and describes that wait for slots and memory.
    sandbox_waiting: IntGauge = "handoff_sandbox_attempts_waiting";
    /// Memory that attempts under way may use together.
    sandbox_memory: IntGauge = "handoff_sandbox_memory_reserved_bytes";
    /// Bounds that were hit, by their name.
    limit_hits: IntCounterVec = "handoff_limit_hits_total", &["limit"];
    /// How long it took to have compiled code, by where it came from.
    compile_seconds: HistogramVec = "handoff_compile_duration_seconds", &["from"], LONG;
    /// Compiled code that was asked for, by where it came from: memory and disk are cache hits.
    compile_results: IntCounterVec = "handoff_compile_cache_total", &["from"];
    /// Outgoing requests and connections of suites, by the policy's decision.
    outgoing: IntCounterVec = "handoff_outgoing_requests_total", &["decision"];
    /// Batches of events made durable.
    commits: IntCounter = "handoff_storage_commits_total";
    /// Events made durable.
    events: IntCounter = "handoff_storage_events_total";
    /// How long it took to make a batch durable.
    commit_seconds: Histogram = "handoff_storage_commit_duration_seconds", SHORT;
    /// Bytes that the store takes on disk.
    disk_bytes: Gauge = "handoff_storage_disk_bytes";
    /// Free space of the store's disk.
    free_bytes: Gauge = "handoff_storage_free_bytes";
    /// Runs that were forgotten because of their age or number.
    forgotten_runs: IntCounter = "handoff_retention_runs_total";
    /// Bytes of records and files that went with them.
    forgotten_bytes: IntCounter = "handoff_retention_bytes_total";
    /// Requests answered, by method, route and status.
    requests: IntCounterVec = "handoff_http_requests_total", &["method", "route", "status"];
    /// How long it took to begin an answer, by route.
    request_seconds: HistogramVec = "handoff_http_request_duration_seconds", &["route"], SHORT;
}

/// One constructor for each type of metric, named as the type.
#[allow(non_snake_case, reason = "the macro finds a constructor by its type's name")]
mod make {
    use super::*;

    type Made<T> = Result<T, prometheus::Error>;

    pub(super) fn IntGauge(opts: Opts) -> Made<IntGauge> {
        IntGauge::with_opts(opts)
    }
    pub(super) fn Gauge(opts: Opts) -> Made<Gauge> {
        Gauge::with_opts(opts)
    }
    pub(super) fn IntCounter(opts: Opts) -> Made<IntCounter> {
        IntCounter::with_opts(opts)
    }
    pub(super) fn IntGaugeVec(opts: Opts, labels: &[&str]) -> Made<IntGaugeVec> {
        IntGaugeVec::new(opts, labels)
    }
    pub(super) fn GaugeVec(opts: Opts, labels: &[&str]) -> Made<GaugeVec> {
        GaugeVec::new(opts, labels)
    }
    pub(super) fn IntCounterVec(opts: Opts, labels: &[&str]) -> Made<IntCounterVec> {
        IntCounterVec::new(opts, labels)
    }
    pub(super) fn Histogram(opts: Opts, buckets: &[f64]) -> Made<Histogram> {
        Histogram::with_opts(HistogramOpts::from(opts).buckets(buckets.to_vec()))
    }
    pub(super) fn HistogramVec(opts: Opts, labels: &[&str], buckets: &[f64]) -> Made<HistogramVec> {
        HistogramVec::new(HistogramOpts::from(opts).buckets(buckets.to_vec()), labels)
    }
}

/// All metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    declared: Declared,
    known: Mutex<Known>,
}

/// What metrics have to remember between events.
#[derive(Default)]
struct Known {
    /// Suites with label values of their own.
    suites: HashSet<SuiteId>,
    /// Runs under way, and since when.
    running: HashMap<RunId, Timestamp>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    ///
    /// # Panics
    /// If two metrics are declared with one name, which a test would show.
    pub fn new() -> Self {
        let registry = Registry::new();
        #[allow(clippy::expect_used, reason = "declarations are constant and tested")]
        let declared = Declared::register(&registry).expect("metrics are declared well");
        for limit in Limit::ALL {
            declared.limit_hits.with_label_values(&[limit.as_str()]);
        }
        for decision in ["allowed", "denied"] {
            declared.outgoing.with_label_values(&[decision]);
        }
        Self(Arc::new(Inner { registry, declared, known: Mutex::default() }))
    }

    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let families = self.0.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::error!(%error, "failed to write metrics as text");
            String::new()
        })
    }

    /// A bound of an attempt was hit.
    pub fn limit_hit(&self, limit: Limit) {
        self.0.declared.limit_hits.with_label_values(&[limit.as_str()]).inc();
    }

    /// A bound of the server itself (not of an attempt) was hit, which this setting sets. Its label is the
    /// setting's key with underscores: `runner_queue` for `runner.queue`.
    pub fn server_limit_hit(&self, setting: &'static str) {
        self.0.declared.limit_hits.with_label_values(&[&setting.replace('.', "_")]).inc();
    }

    /// An attempt began or, with negative numbers, ended to have slots and memory.
    pub fn sandbox_room(&self, slots: i64, memory_bytes: i64) {
        self.0.declared.sandbox_slots.add(slots);
        self.0.declared.sandbox_memory.add(memory_bytes);
    }

    /// One more waits for slots and memory, or, with -1, one less.
    pub fn sandbox_waiting(&self, more: i64) {
        self.0.declared.sandbox_waiting.add(more);
    }

    /// A suite asked for a request or a connection.
    pub fn outgoing_request(&self, allowed: bool) {
        let decision = if allowed { "allowed" } else { "denied" };
        self.0.declared.outgoing.with_label_values(&[decision]).inc();
    }

    /// Compiled code was asked for. It came from `memory`, from `disk`, was `compiled`, was
    /// `rejected_disk` (a corrupt or foreign file) or `failed`.
    pub fn compiled(&self, from: &'static str, took: Duration) {
        self.0.declared.compile_results.with_label_values(&[from]).inc();
        self.0.declared.compile_seconds.with_label_values(&[from]).observe(took.as_secs_f64());
    }

    /// An event of a run was stored. Called in order for each. With a test's verdict comes what its
    /// attempts in that round came to, if it had any.
    pub fn run_event(&self, suite: &SuiteId, event: &RunEvent, round: Option<&Round>) {
        let declared = &self.0.declared;
        let labels = self.labels(suite);
        let labels = [labels.0.as_str(), labels.1.as_str()];
        match &event.kind {
            EventKind::RunStarted => {
                if self.known().running.insert(event.run_id, event.at).is_none() {
                    declared.running.with_label_values(&labels).inc();
                }
            }
            EventKind::AttemptFinished { attempt, .. } => {
                let seconds = attempt.duration_ms as f64 / 1000.0;
                let result = [attempt.status.as_str()];
                declared.attempt_seconds.with_label_values(&result).observe(seconds);
            }
            EventKind::TestFinished { status, .. } => {
                let result = [labels[0], labels[1], status.as_str()];
                declared.tests.with_label_values(&result).inc();
                if let Some(round) = round {
                    let took = round.duration_ms as f64 / 1000.0;
                    declared.test_seconds.with_label_values(&labels).observe(took);
                    if *status == TestStatus::Passed && round.failed {
                        declared.flaky.with_label_values(&labels).inc();
                    }
                }
            }
            EventKind::RunFinished { status, .. } => self.run_finished(labels, event, *status),
            // So that the gauge is there, at 0, before the run starts.
            EventKind::RunQueued { .. } => declared.running.with_label_values(&labels).add(0),
            EventKind::AttemptStarted { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::RetryRequested { .. }
            | EventKind::Cleared { .. } => {}
        }
    }

    fn run_finished(&self, labels: [&str; 2], event: &RunEvent, status: RunStatus) {
        let declared = &self.0.declared;
        declared.runs.with_label_values(&[labels[0], labels[1], status.as_str()]).inc();
        // A run that was stopped before it started is not among those under way.
        if let Some(since) = self.known().running.remove(&event.run_id) {
            declared.running.with_label_values(&labels).dec();
            let took = event.at.duration_since(since).as_secs_f64().max(0.0);
            declared.run_seconds.with_label_values(&labels).observe(took);
        }
        if status == RunStatus::Passed {
            let seconds = event.at.as_millisecond() as f64 / 1000.0;
            declared.last_success.with_label_values(&labels).set(seconds);
        }
    }

    /// How many runs wait, and how many an executor works on.
    pub fn queue(&self, waiting: usize, running: usize) {
        self.0.declared.queue_depth.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.0.declared.executing.set(i64::try_from(running).unwrap_or(i64::MAX));
    }

    /// A run started after it had waited.
    pub fn time_in_queue(&self, waited: Duration) {
        self.0.declared.queue_seconds.observe(waited.as_secs_f64());
    }

    /// A time of a schedule was dealt with so late.
    pub fn schedule_lag(&self, lag: Duration) {
        self.0.declared.schedule_lag_seconds.observe(lag.as_secs_f64());
    }

    /// What became of a time of a schedule is stored.
    pub fn schedule_time(&self, outcome: DueOutcome) {
        self.0.declared.schedule_times.with_label_values(&[outcome.as_str()]).inc();
    }

    /// What becomes of a call to a trigger is known.
    pub fn trigger_call(&self, outcome: CallOutcome) {
        self.0.declared.trigger_calls.with_label_values(&[outcome.as_str()]).inc();
    }

    /// So many more tests of a suite are in this state. That most tests are in is not counted.
    pub fn tests_in_state(&self, suite: &SuiteId, state: &'static str, more: i64) {
        if state == "steady" {
            return;
        }
        let (namespace, name) = self.labels(suite);
        self.0.declared.states.with_label_values(&[namespace.as_str(), &name, state]).add(more);
    }

    /// A result turned something: see `statistics::News`.
    pub fn statistics_news(&self, news: &'static str) {
        self.0.declared.news.with_label_values(&[news]).inc();
    }

    /// A plugin was told something: it was `delivered`, is `set_aside`, or `failed` and is tried again.
    pub fn plugin_delivery(&self, outcome: &'static str) {
        self.0.declared.deliveries.with_label_values(&[outcome]).inc();
    }

    /// A batch of events was made durable.
    pub fn stored(&self, events: usize, took: Duration) {
        self.0.declared.commits.inc();
        self.0.declared.events.inc_by(events as u64);
        self.0.declared.commit_seconds.observe(took.as_secs_f64());
    }

    /// The store takes so much space, and so much is free.
    pub fn disk_use(&self, bytes: u64, free: u64) {
        self.0.declared.disk_bytes.set(bytes as f64);
        self.0.declared.free_bytes.set(free as f64);
    }

    /// So many runs were forgotten, with so many bytes of records and files.
    pub fn forgotten(&self, runs: u64, bytes: u64) {
        self.0.declared.forgotten_runs.inc_by(runs);
        self.0.declared.forgotten_bytes.inc_by(bytes);
    }

    /// A request was answered. `route` is the route's template, never a path.
    pub fn http_request(&self, method: &str, route: &str, status: u16, took: Duration) {
        const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        let labels = [method, route, &status.to_string()];
        self.0.declared.requests.with_label_values(&labels).inc();
        self.0.declared.request_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// The suite's label values, or `other` twice if there are too many suites.
    fn labels(&self, suite: &SuiteId) -> (String, String) {
        let mut known = self.known();
        if !known.suites.contains(suite) {
            if known.suites.len() >= MAX_SUITES {
                return ("other".into(), "other".into());
            }
            known.suites.insert(suite.clone());
        }
        (suite.namespace.to_string(), suite.name.to_string())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counts, Digest, Run, RunRequest, RunSpec};

    fn run(suite: &str) -> Run {
        Run::new(RunSpec {
            id: RunId::new(),
            number: 1,
            suite: suite.parse().unwrap(),
            version: Digest::of(b""),
            created_at: Timestamp::UNIX_EPOCH,
            request: RunRequest::default(),
            timeout_ms: 1000,
            parallelism: 1,
            repeat: 1,
            tests: vec![],
            program: None,
            language: None,
            fixtures: None,
            sharing: Default::default(),
        })
    }

    fn tell(metrics: &Metrics, run: &Run, at: i64, kind: EventKind) {
        let at = Timestamp::from_second(at).unwrap();
        let event = RunEvent { run_id: run.spec.id, seq: 1, at, kind };
        metrics.run_event(&run.spec.suite, &event, None);
    }

    fn finished(status: RunStatus) -> EventKind {
        EventKind::RunFinished { status, message: None, counts: Counts::default() }
    }

    #[test]
    fn all_metrics_have_a_help_text_and_the_limits_are_there_at_zero() {
        let metrics = Metrics::new();
        let text = metrics.render();
        for limit in Limit::ALL {
            let line = format!("handoff_limit_hits_total{{limit=\"{}\"}} 0\n", limit.as_str());
            assert!(text.contains(&line), "{line}");
        }
        assert!(text.contains("# HELP handoff_queue_depth Runs that wait.\n"));
        metrics.limit_hit(Limit::Fuel);
        metrics.server_limit_hit("http.connections");
        let text = metrics.render();
        for limit in ["fuel", "http_connections"] {
            assert!(text.contains(&format!("handoff_limit_hits_total{{limit=\"{limit}\"}} 1\n")));
        }
    }

    #[test]
    fn a_run_is_running_from_its_start_to_its_end() {
        let metrics = Metrics::new();
        let run = run("team/hello");
        let labels = "namespace=\"team\",suite_name=\"hello\"";
        let has = |line: &str| {
            let line = line.replace("SUITE", labels) + "\n";
            assert!(metrics.render().contains(&line), "{line}{}", metrics.render());
        };
        let spec = Box::new(crate::model::samples::spec(&["a"]));
        tell(&metrics, &run, 9, EventKind::RunQueued { spec });
        has("handoff_testsuites_running{SUITE} 0");
        tell(&metrics, &run, 10, EventKind::RunStarted);
        // Taken up again after a restart of the executor.
        tell(&metrics, &run, 11, EventKind::RunStarted);
        has("handoff_testsuites_running{SUITE} 1");
        tell(&metrics, &run, 14, finished(RunStatus::Passed));
        has("handoff_testsuites_running{SUITE} 0");
        has(
            "handoff_testsuites_started_total{namespace=\"team\",result=\"passed\",suite_name=\"hello\"} 1",
        );
        has("handoff_testsuites_last_success_timestamp_seconds{SUITE} 14");
        has("handoff_run_duration_seconds_sum{SUITE} 3");
    }

    #[test]
    fn a_run_stopped_in_the_queue_was_never_running() {
        let metrics = Metrics::new();
        tell(&metrics, &run("hello"), 1, finished(RunStatus::Cancelled));
        assert!(!metrics.render().contains("handoff_testsuites_running{"));
    }

    #[test]
    fn label_values_are_bounded() {
        let metrics = Metrics::new();
        for number in 0..MAX_SUITES + 50 {
            tell(&metrics, &run(&format!("s{number}")), 1, finished(RunStatus::Failed));
        }
        let text = metrics.render();
        let series = text.lines().filter(|l| l.starts_with("handoff_testsuites_started_total{"));
        assert_eq!(series.count(), MAX_SUITES + 1);
        assert!(text.contains("{namespace=\"other\",result=\"failed\",suite_name=\"other\"} 50"));
        metrics.http_request("BREW", "/x", 418, Duration::ZERO);
        assert!(metrics.render().contains("method=\"other\""));
    }
}
