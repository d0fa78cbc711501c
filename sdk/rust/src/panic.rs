//! Reports a panic before it ends in a trap: after it nothing of the suite runs any more.

use crate::bindings::handoff::suite::context;
use crate::bindings::handoff::suite::vocabulary::{Failure, Location};
use crate::error::bounded;
use crate::{context as parts, guest};
use std::panic::PanicHookInfo;

/// Makes panics report themselves with their message and place.
pub(crate) fn report() {
    std::panic::set_hook(Box::new(|panic| {
        let failure = failure(panic);
        guest::flush(); // so that what was printed before comes before
        if let Some(Location { file, line, .. }) = &failure.location {
            eprintln!("panicked at {file}:{line}: {}", failure.message);
        }
        parts::fail_open(&failure);
        context::report_failure(&failure);
    }));
}

fn failure(panic: &PanicHookInfo<'_>) -> Failure {
    let message = panic.payload_as_str().unwrap_or("a panic with a payload that is no text");
    let location = panic.location().map(|at| Location {
        file: at.file().to_owned(),
        line: at.line(),
        column: Some(at.column()),
    });
    Failure { message: bounded(message.to_owned()), location }
}
