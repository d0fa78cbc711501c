//! One execution of a test (or of setup, or teardown) and everything it left behind.

use compact_str::CompactString;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Digest, Limit};

/// The state of a test, or of one attempt at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestStatus {
    /// Not yet started.
    #[default]
    Pending,
    /// Under way.
    Running,
    /// It passed.
    Passed,
    /// The test, or the tested system, is at fault.
    Failed,
    /// Not run, with a reason.
    Skipped,
    /// The platform is at fault.
    Error,
    /// Somebody stopped the run.
    Cancelled,
}

impl TestStatus {
    /// Whether it will not change any more by itself.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The word for it in JSON, in labels and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What ended an attempt that failed or ended in error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The test reported a failure.
    Assertion,
    /// The language's panic or uncaught exception.
    Panic,
    /// WebAssembly trapped.
    Trap,
    /// The guest ended itself with an exit code.
    Exit,
    /// It was still running at its deadline.
    Timeout,
    /// It used up its instruction budget.
    Fuel,
    /// It wanted more memory than its limit.
    Memory,
    /// Setup failed, so the test was not run.
    Setup,
    /// The host made a mistake.
    Host,
    /// The host went away while the attempt was under way.
    Lost,
}

impl Cause {
    /// The word for it in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assertion => "assertion",
            Self::Panic => "panic",
            Self::Trap => "trap",
            Self::Exit => "exit",
            Self::Timeout => "timeout",
            Self::Fuel => "fuel",
            Self::Memory => "memory",
            Self::Setup => "setup",
            Self::Host => "host",
            Self::Lost => "lost",
        }
    }
}

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The file, as the language's own tools print it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// Why something failed, in the guest's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub message: String,
    /// Where, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// How setup, a test or a part of one ended, in the guest's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Outcome {
    /// It did what it should.
    Passed,
    /// It found something wrong.
    Failed(Failure),
    /// It was not applicable.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// One execution in a fresh instance. Without its `detail`, and with its texts [cut](Self::cut), it is a
/// bounded summary that events and lists carry; the detail is stored and asked for apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which attempt at this test in this round, counted from 1.
    pub number: u32,
    /// Which round of a repeated run, counted from 1.
    pub round: u32,
    /// How it ended. Always terminal.
    pub status: TestStatus,
    /// What ended it, if it failed or ended in error.
    pub cause: Option<Cause>,
    /// Whether the attempt itself asked for its failure not to count (`mark-soft`).
    pub soft: bool,
    /// Why it failed, was skipped or ended in error. In a summary its first
    /// [`SUMMARY_MESSAGE_BYTES`](Self::SUMMARY_MESSAGE_BYTES).
    pub message: Option<String>,
    /// Where it failed.
    pub location: Option<Location>,
    /// When it started.
    pub started_at: Timestamp,
    /// How long it took, from its start: the wait for a free slot does not count.
    pub duration_ms: u64,
    /// Instructions used, in wasmtime's units of fuel; none when the suite runs unmetered, and when the
    /// attempt was cut off at its deadline or cancelled, since what it had used then is not known.
    pub fuel_used: Option<u64>,
    /// The most linear memory that all its instances had at one time.
    pub memory_peak_bytes: u64,
    /// Whether the middle of the log was dropped.
    pub logs_truncated: bool,
    /// The limits that were hit, each once.
    pub limits_hit: Vec<Limit>,
    /// The files it kept.
    pub artifacts: Vec<Artifact>,
    /// The rest. Absent in what is read back from a list of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<AttemptDetail>>,
}

/// What is kept of an attempt beside its summary. Every list is bounded by a limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttemptDetail {
    /// Message and location of the attempt as they were, if its summary has them cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Failure>,
    /// The log: stdout, stderr and log calls, in order.
    pub log: Vec<LogLine>,
    /// How many bytes of log were dropped from the middle.
    pub log_dropped_bytes: u64,
    /// The WebAssembly stack of a trap, innermost first.
    pub backtrace: Vec<Frame>,
    /// Failures reported after the first.
    pub further_failures: Vec<Failure>,
    /// Outgoing HTTP requests and TCP connections, in order of their start.
    pub exchanges: Vec<Exchange>,
    /// Timed parts, in order of their start.
    pub spans: Vec<Span>,
    /// Named parts, in order of their report.
    pub sub_results: Vec<SubResult>,
    /// Values that the attempt set, in order, each name once.
    pub values: Vec<Value>,
}

/// Where a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// A call of `log`, with this level.
    Log(Level),
    /// The host's own remark, such as how much was dropped.
    Host,
}

/// How grave a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Finer than debug.
    Trace,
    /// Of use to the suite's author.
    Debug,
    /// The ordinary course.
    Info,
    /// Something to look at.
    Warn,
    /// Something that will probably fail the test.
    Error,
}

/// One line of an attempt's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When its first byte was written.
    pub at: Timestamp,
    /// Where it came from.
    pub source: Source,
    /// The line without its line break. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub text: CompactString,
}

/// One frame of a WebAssembly stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The function's name, demangled, or `<wasm function 12>`.
    pub function: String,
    /// Its place in the source, where the component carries DWARF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// One outgoing HTTP request, or one TCP connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// When it started.
    pub started_at: Timestamp,
    /// The HTTP method, or `CONNECT` for a TCP connection.
    pub method: String,
    /// The URL without user, password and query values; `tcp://host:port` for a connection.
    pub url: String,
    /// Whether the policy allowed it.
    pub allowed: bool,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Why there was no answer, or why it was denied.
    pub error: Option<String>,
    /// Bytes of body, or of the stream, sent.
    pub sent_bytes: u64,
    /// Bytes of body, or of the stream, received.
    pub received_bytes: u64,
    /// From the start to the last byte, or to the end of the attempt.
    pub duration_ms: u64,
    /// The trace id that was sent along in `traceparent`.
    pub trace_id: Option<String>,
}

/// A timed part of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How long it took; to the end of the attempt if it was not ended.
    pub duration_ms: u64,
    /// Attributes, each key once.
    pub attributes: Vec<(String, String)>,
}

/// A named part of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubResult {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, by the guest's own measure.
    pub duration_ms: u64,
}

/// A value that lasts for the rest of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// The value in clear. Handed to the suite alone: whatever shows a value to anybody else masks it
    /// if it is secret.
    pub value: String,
    /// Whether it is secret.
    pub secret: bool,
}

/// A file kept with an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name, for people. Untrusted, no path.
    pub name: String,
    /// Its media type, as the guest says. Untrusted.
    pub media_type: String,
    /// Its size.
    pub size_bytes: u64,
    /// The SHA-256 of its content, by which it is stored.
    pub digest: Digest,
    /// Its content on the way from the sandbox to the store; never part of JSON.
    #[serde(skip)]
    pub content: bytes::Bytes,
}

impl Attempt {
    /// Bytes of the message in a summary. Events and folds hold the summaries of all attempts of a run,
    /// and a message may have `message_bytes`, 64 KiB, in itself. Part of what is stored, and of no use
    /// to tune: so no setting.
    pub const SUMMARY_MESSAGE_BYTES: usize = 1 << 10;
    /// Bytes of the file in a summary's location.
    pub const SUMMARY_FILE_BYTES: usize = 256;

    /// An attempt that took no time and left nothing behind.
    pub fn new(round: u32, number: u32, status: TestStatus, started_at: Timestamp) -> Self {
        Self {
            number,
            round,
            status,
            cause: None,
            soft: false,
            message: None,
            location: None,
            started_at,
            duration_ms: 0,
            fuel_used: None,
            memory_peak_bytes: 0,
            logs_truncated: false,
            limits_hit: Vec::new(),
            artifacts: Vec::new(),
            detail: None,
        }
    }

    /// The attempt without its detail, and with its texts cut.
    pub fn summary(&self) -> Self {
        let mut summary = Self {
            message: self.message.as_deref().map(|text| short(text, Self::SUMMARY_MESSAGE_BYTES)),
            location: self.location.clone(),
            limits_hit: self.limits_hit.clone(),
            artifacts: self.artifacts.clone(),
            detail: None,
            ..*self
        };
        if let Some(Location { file, .. }) = &mut summary.location {
            *file = short(file, Self::SUMMARY_FILE_BYTES);
        }
        summary
    }

    /// Cuts message and location to what a summary has of them; the detail then has them whole.
    pub fn cut(&mut self) {
        let Self { message, location, .. } = self.summary();
        if (&message, &location) != (&self.message, &self.location) {
            let whole = std::mem::replace(&mut self.message, message);
            let location = std::mem::replace(&mut self.location, location);
            let message = whole.unwrap_or_default();
            self.detail.get_or_insert_default().whole = Some(Failure { message, location });
        }
    }

    /// Whether the detail may have more of message or location. A guest can make it seem so, which costs
    /// a look at the detail.
    pub fn is_cut(&self) -> bool {
        let cut = |text: &String| text.ends_with(CUT);
        self.message.as_ref().is_some_and(cut)
            || self.location.as_ref().is_some_and(|location| cut(&location.file))
    }

    /// Puts message and location back as they were.
    pub fn restore(&mut self, detail: &AttemptDetail) {
        if let Some(Failure { message, location }) = &detail.whole {
            self.message = self.message.is_some().then(|| message.clone());
            self.location.clone_from(location);
        }
    }
}

/// Marks the end of a text that was cut.
const CUT: &str = " … (cut)";

/// The text, or as much of its start as `most` bytes hold with a mark at the end.
pub fn short(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(CUT.len()));
    format!("{}{CUT}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(message: &str, file: &str) -> Attempt {
        let location = Location { file: file.into(), line: 1, column: None };
        Attempt {
            cause: Some(Cause::Assertion),
            message: Some(message.into()),
            location: Some(location),
            ..Attempt::new(1, 1, TestStatus::Failed, Timestamp::UNIX_EPOCH)
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_comes_back_whole() {
        // Three bytes each, so that the bound falls within one.
        let (message, file) = ("→".repeat(1000), "ä".repeat(200));
        let whole = failed(&message, &file);
        let mut cut = whole.clone();
        cut.cut();
        assert!(cut.message.as_ref().unwrap().len() <= Attempt::SUMMARY_MESSAGE_BYTES);
        assert!(cut.location.as_ref().unwrap().file.len() <= Attempt::SUMMARY_FILE_BYTES);
        assert!(cut.message.as_ref().unwrap().ends_with("→ … (cut)") && cut.is_cut());
        assert_eq!(cut.summary().message, cut.message, "cut once, it stays as it is");
        let detail = cut.detail.take().unwrap();
        cut.restore(&detail);
        assert_eq!(cut, whole);
    }

    #[test]
    fn a_short_text_stays_as_it_is_and_needs_no_detail() {
        let whole = failed(&"x".repeat(Attempt::SUMMARY_MESSAGE_BYTES), "src/lib.rs");
        let mut cut = whole.clone();
        cut.cut();
        assert_eq!(cut, whole);
        assert!(!cut.is_cut());
    }
}
