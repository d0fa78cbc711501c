//! Says in words why a guest did not return: which limit, trap, panic, exit or mistake of the host.

use std::time::Duration;

use wasmtime::{FrameInfo, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::{I32Exit, ResourceTableError};

use super::limits::LimitsHit;
use super::panic;
use crate::compile::{Symbol, Symbols, readable};
use crate::model::{Cause, Frame, Limit, Limits, Location, LogLine};

/// Ends a guest that went beyond a limit in a call that has no way to say so.
#[derive(Debug, thiserror::Error)]
#[error("{message} (limit `{}`)", limit.as_str())]
pub(crate) struct LimitTrap {
    /// The limit.
    pub(crate) limit: Limit,
    /// What the guest did, as what follows on "it".
    pub(crate) message: String,
}

/// Ends a guest that computes at its deadline.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub(crate) struct DeadlinePassed;

/// Why a guest did not return.
pub(crate) struct Explanation {
    /// What ended it.
    pub(crate) cause: Cause,
    /// In words.
    pub(crate) message: String,
    /// Where, if its own words say so.
    pub(crate) location: Option<Location>,
    /// The stack of WebAssembly, innermost first.
    pub(crate) backtrace: Vec<Frame>,
}

impl Explanation {
    fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), location: None, backtrace: Vec::new() }
    }

    /// It was still running at its deadline.
    pub(crate) fn timeout(timeout: Duration) -> Self {
        let timeout = in_words(timeout);
        Self::new(Cause::Timeout, format!("still running at its deadline of {timeout}"))
    }
}

/// What is known beside the error.
pub(crate) struct Circumstances<'a> {
    /// The limits that held.
    pub(crate) limits: &'a Limits,
    /// Bytes of memory that there might be.
    pub(crate) memory_limit: u64,
    /// The limits that were hit.
    pub(crate) hits: &'a LimitsHit,
    /// What the guest said.
    pub(crate) log: &'a [LogLine],
    /// From the start to the deadline.
    pub(crate) timeout: Duration,
    /// Whether the instance had been made.
    pub(crate) instantiated: bool,
    /// Files and lines of its code.
    pub(crate) symbols: &'a Symbols,
}

/// Explains `error`, and records the limit if one is behind it.
pub(crate) fn explain(error: &wasmtime::Error, known: &Circumstances<'_>) -> Explanation {
    let mut explanation = of_known_error(error, known)
        .or_else(|| of_engine_limit(error, known))
        .or_else(|| of_denied_growth(error, known))
        .unwrap_or_else(|| of_trap(error, known));
    if let Some(backtrace) = error.downcast_ref() {
        explanation.backtrace = frames(backtrace, known.symbols);
    }
    explanation
}

/// Errors that have a type of their own.
fn of_known_error(error: &wasmtime::Error, known: &Circumstances<'_>) -> Option<Explanation> {
    if error.is::<DeadlinePassed>() {
        return Some(Explanation::timeout(known.timeout));
    }
    if let Some(trap) = error.downcast_ref::<LimitTrap>() {
        known.hits.hit(trap.limit);
        return Some(Explanation::new(Cause::Trap, trap.to_string()));
    }
    if let Some(Trap::OutOfFuel) = error.downcast_ref::<Trap>() {
        known.hits.hit(Limit::Fuel);
        let message = format!("used up its {} units of fuel (limit `fuel`)", known.limits.fuel);
        return Some(Explanation::new(Cause::Fuel, message));
    }
    if let Some(error) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Some(Explanation::new(Cause::Host, format!("the server has no room: {error}")));
    }
    None
}

/// Limits that the engine keeps for us; it says so in words only, which the tests hold fast.
fn of_engine_limit(error: &wasmtime::Error, known: &Circumstances<'_>) -> Option<Explanation> {
    let text = error.root_cause().to_string();
    let hit = |limit: Limit, what: &str| {
        known.hits.hit(limit);
        let (name, value) = (limit.as_str(), known.limits.get(limit));
        Explanation::new(Cause::Trap, format!("{what} {value} (limit `{name}`)"))
    };
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        let what = "passed more bytes to the host in one call than";
        return Some(hit(Limit::HostCallBytes, what));
    }
    let table_full = matches!(error.downcast_ref(), Some(ResourceTableError::Full));
    if table_full || text.contains("store handle limit exceeded") {
        return Some(hit(Limit::Handles, "held more handles to resources at one time than"));
    }
    if text.starts_with("resource limit exceeded") {
        return Some(hit(Limit::Instances, "has more core instances, memories or tables than"));
    }
    None
}

/// A guest that was refused memory or table elements seldom gets far, and seldom says why.
fn of_denied_growth(error: &wasmtime::Error, known: &Circumstances<'_>) -> Option<Explanation> {
    if known.hits.was_hit(Limit::MemoryBytes) {
        let limit = known.memory_limit;
        let end = ending(error);
        let message =
            format!("wanted more than {limit} bytes of memory (limit `memory_bytes`) and {end}");
        return Some(Explanation::new(Cause::Memory, message));
    }
    if known.hits.was_hit(Limit::TableElements) {
        let limit = known.limits.table_elements;
        let end = ending(error);
        let message =
            format!("wanted more than {limit} table elements (limit `table_elements`) and {end}");
        return Some(Explanation::new(Cause::Trap, message));
    }
    None
}

fn ending(error: &wasmtime::Error) -> String {
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return format!("ended itself with exit code {code}");
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => format!("trapped: {}", in_plain_words(*trap)),
        None => "could not be started".into(),
    }
}

fn of_trap(error: &wasmtime::Error, known: &Circumstances<'_>) -> Explanation {
    let words = panic::find(known.log);
    if let Some(I32Exit(code)) = error.downcast_ref() {
        let mut explanation =
            Explanation::new(Cause::Exit, format!("ended itself with exit code {code}"));
        if let Some(failure) = words {
            explanation.message = format!("{}: {}", explanation.message, failure.message);
            explanation.location = failure.location;
        }
        return explanation;
    }
    let Some(trap) = error.downcast_ref::<Trap>() else { return of_other(error, known) };
    if *trap == Trap::UnreachableCodeReached
        && let Some(failure) = words
    {
        let mut explanation = Explanation::new(Cause::Panic, failure.message);
        explanation.location = failure.location;
        return explanation;
    }
    let mut message = format!("trapped: {}", in_plain_words(*trap));
    if *trap == Trap::UnreachableCodeReached
        && let Some(last) = panic::last_words(known.log)
    {
        message = format!("{message}; its last line on stderr: {last}");
    }
    Explanation::new(Cause::Trap, message)
}

/// Errors of no type: the host refused what a guest did in a call, or could not make the instance.
fn of_other(error: &wasmtime::Error, known: &Circumstances<'_>) -> Explanation {
    let from_guest = known.instantiated || error.is::<WasmBacktrace>();
    let (cause, what) =
        if from_guest { (Cause::Trap, "trapped") } else { (Cause::Host, "could not be started") };
    Explanation::new(cause, format!("{what}: {}", error.root_cause()))
}

fn in_plain_words(trap: Trap) -> String {
    match trap {
        Trap::StackOverflow => {
            "its stack overflowed (setting `sandbox.stack_bytes`), probably by an endless recursion"
                .into()
        }
        Trap::UnreachableCodeReached => "it aborted (`unreachable` was executed)".into(),
        Trap::MemoryOutOfBounds => "it accessed memory out of bounds".into(),
        Trap::IntegerDivisionByZero => "it divided an integer by zero".into(),
        Trap::CannotEnterComponent => "it was entered again while it was running".into(),
        other => {
            let text = other.to_string();
            text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
        }
    }
}

/// A duration as a person writes it: `100 ms`, `5 s`, `1 min 30 s`.
pub(crate) fn in_words(duration: Duration) -> String {
    let ms = duration.as_millis();
    match (ms / 60_000, ms % 60_000) {
        (0, ms) if ms % 1000 == 0 && ms > 0 => format!("{} s", ms / 1000),
        (0, ms) => format!("{ms} ms"),
        (min, 0) => format!("{min} min"),
        (min, ms) if ms % 1000 == 0 => format!("{min} min {} s", ms / 1000),
        _ => format!("{ms} ms"),
    }
}

/// The most frames kept; inlined functions count. No setting: the engine gives no more than 20 calls,
/// and of those that are inlined in one place the symbols keep as many.
const MAX_FRAMES: usize = 64;

fn frames(backtrace: &WasmBacktrace, symbols: &Symbols) -> Vec<Frame> {
    // Made readable one by one, so that what is cut costs nothing.
    backtrace.frames().iter().flat_map(|info| frames_of(info, symbols)).take(MAX_FRAMES).collect()
}

/// The functions at one call: what the source has inlined there, or else the call itself.
fn frames_of(info: &FrameInfo, symbols: &Symbols) -> impl Iterator<Item = Frame> {
    let called = || match info.func_name() {
        Some(name) => readable(name),
        None => format!("<wasm function {}>", info.func_index()),
    };
    let place = info.module_offset().zip(info.func_offset());
    let found = place.map(|(at, into)| symbols.find(at.saturating_sub(into), at));
    let mut found = found.into_iter().flatten().peekable();
    let call = found.peek().is_none().then(|| Frame { function: called(), location: None });
    call.into_iter().chain(found.map(move |Symbol { function, place }| Frame {
        function: function.map_or_else(called, str::to_owned),
        location: place.map(|(file, line, column)| Location {
            file: file.to_owned(),
            line,
            column,
        }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let words = |ms| in_words(Duration::from_millis(ms));
        assert_eq!(words(100), "100 ms");
        assert_eq!(words(0), "0 ms");
        assert_eq!(words(5_000), "5 s");
        assert_eq!(words(90_000), "1 min 30 s");
        assert_eq!(words(900_000), "15 min");
        assert_eq!(words(61_500), "61500 ms");
    }
}
