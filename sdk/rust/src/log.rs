//! Log lines with a level.

use crate::bindings::handoff::suite::{context, vocabulary};

/// How grave a log line is, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Finer than `Debug`.
    Trace,
    /// Of use to whoever writes the suite.
    Debug,
    /// The ordinary course of a test.
    Info,
    /// Something to look at that does not fail the test.
    Warn,
    /// Something that will probably fail the test.
    Error,
}

/// Writes to the attempt's log.
pub fn write(level: Level, message: &str) {
    crate::guest::flush(); // keeps the order with what was printed without a line break
    let level = match level {
        Level::Trace => vocabulary::Level::Trace,
        Level::Debug => vocabulary::Level::Debug,
        Level::Info => vocabulary::Level::Info,
        Level::Warn => vocabulary::Level::Warn,
        Level::Error => vocabulary::Level::Error,
    };
    context::log(level, message);
}

/// Logs a message, as with `format!`, at a [`Level`]. For each level there is a macro of its name.
#[macro_export]
macro_rules! log {
    ($level:expr, $($message:tt)+) => {
        $crate::__private::write($level, &::std::format!($($message)+))
    };
}

macro_rules! levels {
    ($dollar:tt $($name:ident $level:ident $words:literal;)+) => {
        $(
            #[doc = $words]
            #[macro_export]
            macro_rules! $name {
                ($dollar($dollar message:tt)+) => {
                    $crate::log!($crate::Level::$level, $dollar($dollar message)+)
                };
            }
        )+
    };
}

levels! { $
    trace Trace "Logs at level `trace`, as with `format!`.";
    debug Debug "Logs at level `debug`, as with `format!`.";
    info Info "Logs at level `info`, as with `format!`.";
    warn Warn "Logs at level `warn`, as with `format!`.";
    error Error "Logs at level `error`, as with `format!`.";
}
