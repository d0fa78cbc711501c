//! Why something was not done, and whether it is of use to try again.

use std::fmt;
use std::time::Duration;

/// What a plugin's functions give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done. Any other error becomes one by `?`, and is then tried again.
pub struct Error {
    message: String,
    retry_after: Option<Duration>,
    permanent: bool,
}

impl Error {
    /// Something that may go better later.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), retry_after: None, permanent: false }
    }

    /// Something that is of no use to try again.
    pub fn permanent(message: impl fmt::Display) -> Self {
        Self { permanent: true, ..Self::new(message) }
    }

    /// When to try again, at the earliest.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether it is of no use to try again.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// When to try again, at the earliest.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}
