//! What the tests through the front door share: a real server, a real client, and a system to test.
//!
//! Nothing here names the server's crates. What is known of the server is what its users know: its
//! command line and its HTTP interface. A helper that meets something unexpected panics and says what
//! it met; the test that called it fails with that.

mod client;
mod command;
mod events;
mod guests;
mod languages;
mod server;
mod target;

use std::time::Duration;

pub use client::{Answer, Client, RunId};
pub use command::{Ended, Handoff, Running, guest_file, program};
pub use events::{AttemptKey, Event, Events};
pub use guests::{binary_directory, guest, optional_guest, salted, target_directory};
pub use languages::{LANGUAGES, is_built};
pub use server::{Server, Settings};
pub use target::{Seen, Target};

/// How long a test waits for something that must happen before it gives up. Nothing is measured by
/// it: a machine under load may need long, and a test that waits in vain must end.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Waits for what must happen.
///
/// # Panics
/// When it did not happen within [`PATIENCE`]; `what` says what was waited for.
pub async fn patiently<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}
