//! What a plugin may do while it handles an event.

use crate::event::Run;
use crate::http::{Request, Response};
use crate::{Error, Result};
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
    fn now(&mut self) -> Duration;
    fn remaining(&mut self) -> Duration;
}

/// What a plugin may do while it handles an event.
pub struct Context<'a>(pub(crate) &'a mut dyn Backend);

impl Context<'_> {
    /// Sends a request and waits for the whole answer, whatever its status.
    pub fn send(&mut self, request: Request) -> Result<Response> {
        self.0.send(request)
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

    /// A run as it stands; none if there is no such run.
    pub fn run(&mut self, id: &str) -> Result<Option<Run>> {
        self.0.run(id)?.map(|json| read(&json)).transpose()
    }

    /// The last runs of a suite, `namespace/name`, the newest first.
    pub fn runs(&mut self, suite: &str, limit: u32) -> Result<Vec<Run>> {
        self.0.runs(suite, limit)?.iter().map(|json| read(json)).collect()
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

fn read(json: &str) -> Result<Run> {
    serde_json::from_str(json).map_err(|error| Error::new(format!("a run cannot be read: {error}")))
}
