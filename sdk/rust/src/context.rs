//! What the server offers to the attempt that is running, as idiomatic Rust.

use crate::bindings::handoff::suite::context as host;
use crate::bindings::handoff::suite::vocabulary::{Attribute, Failure, Outcome};
use crate::bindings::wasi::config::store;
use crate::error::{Ending, Error, Refusal, Result, Returned, bounded};
use crate::registry::Place;
use crate::values;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, Instant};

/// The attempt that is running, handed to every test that wants it.
#[derive(Debug)]
pub struct Context {
    _private: (),
}

impl Context {
    pub(crate) fn new() -> Self {
        Self { _private: () }
    }

    /// Which attempt at this test this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        host::attempt_number()
    }

    /// How long the attempt may still run.
    pub fn remaining(&self) -> Duration {
        Duration::from_millis(host::remaining_ms())
    }

    /// Asks for so much time beyond the present deadline, in whole milliseconds. Gives how long the
    /// attempt may now still run: the server grants up to its cap, and refuses when it can grant
    /// nothing.
    pub fn extend_deadline(&self, by: Duration) -> Result<Duration, Refusal> {
        let millis = by.as_millis().try_into().unwrap_or(u64::MAX);
        Ok(Duration::from_millis(host::extend_deadline(millis)?))
    }

    /// From now on a failure of this attempt is shown without failing the run.
    pub fn mark_soft(&self) {
        host::mark_soft();
    }

    /// Reports a failure now and goes on. The attempt then counts as failed whatever comes after.
    #[track_caller]
    pub fn report_failure(&self, message: impl fmt::Display) {
        let location = Some(Place::caller().into());
        let message = bounded(message.to_string());
        host::report_failure(&Failure { message, location });
    }

    /// Runs a named part of this test, such as a row of a table, and reports how it ended and how long
    /// it took. Gives whether it did not fail.
    ///
    /// An `Err` fails the part and nothing else: end the test with an assertion over all parts if it
    /// shall fail with them. Use [`ensure!`](crate::ensure) in parts; a panic fails the part and ends
    /// the test.
    ///
    /// # Panics
    /// If the server keeps no more parts (limit `sub_results`).
    #[track_caller]
    pub fn part<R: Returned>(&self, name: &str, run: impl FnOnce() -> R) -> bool
    where
        Ending: From<std::result::Result<(), R::Error>>,
    {
        let place = Place::caller();
        OPEN.with_borrow_mut(|open| open.push((name.to_owned(), Instant::now())));
        let ending = Ending::from(run().into_result()).or_at(place);
        let passed = !matches!(ending, Ending::Failed { .. });
        if let Some((name, started)) = OPEN.with_borrow_mut(Vec::pop)
            && let Err(refusal) = report(&name, started, &ending.into())
        {
            panic!("failed to report the part `{name}`: {refusal}");
        }
        passed
    }

    /// Keeps a value for the rest of the run: for later tests, for teardown, for people. It becomes
    /// visible to other attempts when this one ended without a failure.
    ///
    /// A text is kept as it is, everything else as JSON.
    #[track_caller]
    pub fn set(&self, name: &str, value: &(impl Serialize + ?Sized)) -> Result {
        keep(name, value, false, Place::caller())
    }

    /// The same for what must not be seen: it is handed to this suite alone and is masked wherever
    /// else it would appear, logs and failure messages included. What is masked is the value as it is
    /// kept, so keep a token as a text by itself, not in a structure.
    #[track_caller]
    pub fn set_secret(&self, name: &str, value: &(impl Serialize + ?Sized)) -> Result {
        keep(name, value, true, Place::caller())
    }

    /// The value of that name, if one was set in this run.
    ///
    /// # Errors
    /// If the value is none of type `T`.
    #[track_caller]
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let place = Place::caller();
        let Some(text) = host::get_value(name) else { return Ok(None) };
        values::from_text(&text).map(Some).map_err(|problem| {
            let wanted = std::any::type_name::<T>();
            Error::at(place, problem).context(format_args!("the value `{name}` is no {wanted}"))
        })
    }

    /// The value of that name. Like [`get`](Self::get), but a value that was not set is an error.
    #[track_caller]
    pub fn require<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        match self.get(name)? {
            Some(value) => Ok(value),
            None => Err(Error::msg(format_args!("no test has set the value `{name}`"))),
        }
    }

    /// The run's parameter of that name, or else the suite's configuration value of that name.
    ///
    /// # Panics
    /// If it cannot be read, which is so while the suite is described.
    pub fn param(&self, name: &str) -> Option<String> {
        let value = store::get(name);
        value.unwrap_or_else(|error| panic!("failed to read the parameter `{name}`: {error}"))
    }

    /// The same, but one that is not there is an error that says how to set it.
    #[track_caller]
    pub fn require_param(&self, name: &str) -> Result<String> {
        match self.param(name) {
            Some(value) => Ok(value),
            None => Err(Error::msg(format_args!(
                "`{name}` is not set: give it as a parameter of the run, or in the configuration of \
                 the suite's policy"
            ))),
        }
    }

    /// All parameters and configuration values.
    ///
    /// # Panics
    /// As [`param`](Self::param) does.
    pub fn params(&self) -> Vec<(String, String)> {
        store::get_all().unwrap_or_else(|error| panic!("failed to read the parameters: {error}"))
    }

    /// Keeps a file with the attempt. The name is shown to people and is no path; the media type is for
    /// example `image/png`.
    pub fn attach(
        &self,
        name: &str,
        media_type: &str,
        content: impl AsRef<[u8]>,
    ) -> Result<(), Refusal> {
        Ok(host::attach(name, media_type, content.as_ref())?)
    }

    /// Keeps a value as a JSON file with the attempt.
    #[track_caller]
    pub fn attach_json(&self, name: &str, value: &(impl Serialize + ?Sized)) -> Result {
        let place = Place::caller();
        let content = serde_json::to_vec_pretty(value).map_err(|error| Error::at(place, error))?;
        self.attach(name, "application/json", content).map_err(|refusal| Error::at(place, refusal))
    }

    /// Starts a timed span of the attempt's timeline. It ends when it is dropped.
    #[must_use = "the span ends when it is dropped: bind it to a name"]
    pub fn span(&self, name: &str) -> Span {
        Span(host::Span::new(name, &[]))
    }
}

/// A timed part of the attempt, for its timeline. Spans that overlap nest by time.
#[derive(Debug)]
pub struct Span(host::Span);

impl Span {
    /// Adds an attribute, or replaces the one with that key.
    pub fn set(&self, key: &str, value: impl fmt::Display) {
        let attribute = Attribute { key: key.to_owned(), value: value.to_string() };
        self.0.set_attribute(&attribute);
    }

    /// The same, for a span that is being made: `let _span = cx.span("login").with("user", id);`
    pub fn with(self, key: &str, value: impl fmt::Display) -> Self {
        self.set(key, value);
        self
    }

    /// Ends it now.
    pub fn end(self) {
        self.0.end();
    }
}

fn keep(name: &str, value: &(impl Serialize + ?Sized), secret: bool, place: Place) -> Result {
    let text = values::to_text(value).map_err(|error| Error::at(place, error))?;
    let kept = host::set_value(name, &text, secret);
    kept.map_err(|refusal| Error::at(place, Refusal::from(refusal)))
}

thread_local! {
    /// The parts that are running, outermost first.
    static OPEN: RefCell<Vec<(String, Instant)>> = const { RefCell::new(Vec::new()) };
}

/// Reports the parts that are running as failed: the test is about to end inside them.
pub(crate) fn fail_open(failure: &Failure) {
    let open = OPEN.with_borrow_mut(std::mem::take);
    for (name, started) in open.into_iter().rev() {
        // The panic is what must be seen, not that there were too many parts.
        let _ = report(&name, started, &Outcome::Failed(failure.clone()));
    }
}

fn report(name: &str, started: Instant, outcome: &Outcome) -> Result<(), Refusal> {
    let millis = started.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    Ok(host::report_sub_result(name, outcome, millis)?)
}
