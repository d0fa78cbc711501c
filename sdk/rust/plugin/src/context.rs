//! What a plugin may do while it handles an event.

use crate::event::{Event, Run, Statistics, Test};
use crate::http::{Request, Response};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How grave a log line is, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Finer than `Debug`.
    Trace,
    /// Of use to whoever writes the plugin.
    Debug,
    /// The ordinary course.
    Info,
    /// Something to look at.
    Warn,
    /// Something that went wrong.
    Error,
}

/// What there is around a plugin: the server, or a test.
pub(crate) trait Backend {
    fn send(&mut self, request: Request) -> Result<Response>;
    fn log(&mut self, level: Level, message: &str);
    fn get(&mut self, key: &str) -> Option<Vec<u8>>;
    fn set(&mut self, key: &str, value: &[u8]) -> Result<()>;
    fn delete(&mut self, key: &str);
    fn keys(&mut self, prefix: &str) -> Vec<String>;
    fn run(&mut self, id: &str) -> Result<Option<String>>;
    fn runs(&mut self, suite: &str, limit: u32) -> Result<Vec<String>>;
    fn tests(&mut self, run: &str, from: u32, limit: u32) -> Result<Vec<String>>;
    fn report(&mut self, run: &str, format: &str) -> Result<Option<Vec<u8>>>;
    fn statistics(&mut self, suite: &str, test: Option<&str>) -> Result<Option<String>>;
    fn now(&mut self) -> Duration;
    fn remaining(&mut self) -> Duration;
}

/// What is remembered of events that were told, so that the store does not grow.
const TOLD: &str = "told/";
/// How many values [`Context::keep_last`] keeps.
const KEPT: usize = 64;
/// Tests that are read at a time.
const TESTS: u32 = 500;

/// What a plugin may do while it handles an event.
pub struct Context<'a>(pub(crate) &'a mut dyn Backend);

impl Context<'_> {
    /// Sends a request and waits for the whole answer, whatever its status; no longer than nine tenths of what
    /// is left of the call, so that a service that does not answer is an error and not the end of the call.
    pub fn send(&mut self, request: Request) -> Result<Response> {
        let timeout = request.timeout.min(self.remaining() * 9 / 10);
        self.0.send(Request { timeout, ..request })
    }

    /// Writes to the plugin's log.
    pub fn log(&mut self, level: Level, message: impl AsRef<str>) {
        self.0.log(level, message.as_ref());
    }

    /// The value of that name in the plugin's own store, which survives restarts and upgrades.
    pub fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    /// The same as a text.
    pub fn get_text(&mut self, key: &str) -> Option<String> {
        String::from_utf8(self.0.get(key)?).ok()
    }

    /// Keeps a value. It is stored when the event was handled, whether that went well or not.
    pub fn set(&mut self, key: &str, value: impl AsRef<[u8]>) -> Result<()> {
        self.0.set(key, value.as_ref())
    }

    /// Forgets a value.
    pub fn delete(&mut self, key: &str) {
        self.0.delete(key);
    }

    /// The names of values that start with this, in order.
    pub fn keys(&mut self, prefix: &str) -> Vec<String> {
        self.0.keys(prefix)
    }

    /// Keeps a value under `prefix` and `key`, and of those under `prefix` the last 64 by their keys. For what
    /// can be found again, and for keys in the order of time, such as ids of events and runs.
    pub fn keep_last(&mut self, prefix: &str, key: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let key = format!("{prefix}{key}");
        let mut known = self.keys(prefix);
        known.retain(|it| *it != key);
        let more = (known.len() + 1).saturating_sub(KEPT);
        known.drain(..more).for_each(|key| self.delete(&key));
        self.set(&key, value)
    }

    /// Whether [`Self::told`] was called for this event: it came again, and what cannot be done twice is done.
    pub fn was_told(&mut self, event: &Event) -> bool {
        self.get(&format!("{TOLD}{}", event.id)).is_some()
    }

    /// Remembers for [`Self::was_told`] that the event was handled.
    pub fn told(&mut self, event: &Event) -> Result<()> {
        self.keep_last(TOLD, &event.id, "")
    }

    /// A run as it stands; none if there is no such run.
    pub fn run(&mut self, id: &str) -> Result<Option<Run>> {
        self.0.run(id)?.map(|json| read(&json)).transpose()
    }

    /// The last runs of a suite, `namespace/name`, the newest first.
    pub fn runs(&mut self, suite: &str, limit: u32) -> Result<Vec<Run>> {
        self.0.runs(suite, limit)?.iter().map(|json| read(json)).collect()
    }

    /// All tests of a run as they stand, with what their last attempts came to.
    pub fn tests(&mut self, run: &str) -> Result<Vec<Test>> {
        let mut tests = Vec::new();
        loop {
            let more = self.0.tests(run, tests.len() as u32, TESTS)?;
            let is_last = more.len() < TESTS as usize;
            for test in more {
                tests.push(read(&test)?);
            }
            if is_last {
                return Ok(tests);
            }
        }
    }

    /// A report of a run: `json`, `junit`, `go-test` or `tap`; none if there is no such run.
    pub fn report(&mut self, run: &str, format: &str) -> Result<Option<Vec<u8>>> {
        self.0.report(run, format)
    }

    /// How a suite, `namespace/name`, or one of its tests stands by its results so far; none if there are none.
    pub fn statistics(&mut self, suite: &str, test: Option<&str>) -> Result<Option<Statistics>> {
        self.0.statistics(suite, test)?.map(|json| read(&json)).transpose()
    }

    /// The time since 1970 in UTC.
    pub fn now(&mut self) -> Duration {
        self.0.now()
    }

    /// How long the call may still run.
    pub fn remaining(&mut self) -> Duration {
        self.0.remaining()
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    let unread =
        |error| Error::new(format!("what the server says of a run cannot be read: {error}"));
    serde_json::from_str(json).map_err(unread)
}
