//! Write a Handoff test suite in Rust: plain functions with an attribute, as with Rust's own tests.
//!
//! ```
//! use handoff_sdk::{Context, Result, ensure};
//!
//! handoff_sdk::suite! { name: "hello", timeout: "5s" }
//!
//! /// One and one are two.
//! #[handoff_sdk::test]
//! fn adds() {
//!     assert_eq!(1 + 1, 2);
//! }
//!
//! #[handoff_sdk::test(attempts = 3, tags = ["smoke"])]
//! fn answers(cx: &Context) -> Result {
//!     let server = cx.require_param("server")?;
//!     ensure!(server.starts_with("http"), "{server} is no URL");
//!     Ok(())
//! }
//! ```
//!
//! - [`suite!`] names the suite, [`test`](macro@test) makes a function a test, [`tests`] makes tests
//!   from a table, [`setup`] and [`teardown`] run before and after.
//! - A test fails by a panic, so `assert!` and every assertion crate work, or by an `Err`. Both are
//!   reported with file and line. It skips by [`skip!`].
//! - [`Context`] is what the running test can ask of the server: parameters, values handed from one
//!   test to the next, files to keep, timed spans, more time.
//! - [`http`] sends requests.
//!
//! Tests run in the order of their files' names and lines, each in a fresh instance: nothing that a
//! test leaves in memory or in `/tmp` is there in the next one. Use [`Context::set`] for what must be.
//!
//! A component cannot catch a panic: it ends the attempt. Nothing after it runs, destructors
//! included. What must be cleaned up belongs into [`teardown`].

mod bindings;
mod context;
mod error;
mod guest;
#[cfg(feature = "http")]
pub mod http;
mod log;
mod panic;
#[allow(missing_docs, reason = "but for `TestCase`, public for the macros only")]
mod registry;
mod skip;
mod values;

pub use context::{Context, Span};
pub use error::{Error, Refusal, Result};
pub use handoff_sdk_macros::{setup, suite, teardown, test, tests};
pub use log::Level;
pub use registry::TestCase;
pub use skip::Skip;

/// What the macros expand to. Not for use by hand; changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::error::{Caught, Ending, Returned, ViaDisplay, ViaError, ViaSendError};
    pub use crate::log::write;
    pub use crate::registry::{Header, Place, Setup, Source, Teardown, Test, Visitor, visit};
    pub use inventory;
}
