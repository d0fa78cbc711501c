//! Skipping from anywhere in a test, through whatever error type it uses.
//!
//! A skip travels to the test as an error. On the way it may be boxed, wrapped or turned into a text
//! by any error crate, so it is recognised by its text, which is remembered when it is made.

use std::cell::RefCell;
use std::fmt;

thread_local! {
    static LATEST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The error that says that the test is not applicable here. See [`skip!`](crate::skip!).
#[derive(Clone, Debug)]
pub struct Skip {
    reason: String,
}

impl Skip {
    /// A skip for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        LATEST.set(Some(reason.clone()));
        Self { reason }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.reason))
    }
}

impl std::error::Error for Skip {}

fn text(reason: &str) -> String {
    format!("skipped: {reason}")
}

/// The reason, if one of these texts of an error and its causes is that of the latest skip.
pub(crate) fn reason_in(mut texts: impl Iterator<Item = String>) -> Option<String> {
    let reason = LATEST.take()?;
    let wanted = text(&reason);
    texts.any(|text| text == wanted).then_some(reason)
}

/// Forgets the latest skip: what comes now is something else.
pub(crate) fn forget() {
    LATEST.set(None);
}

/// Skips the test, for a reason as with `format!`: returns a [`Skip`] as the error of the function it
/// is in. In a helper, pass the error on with `?`.
///
/// ```
/// use handoff_sdk::{Context, Result, skip};
///
/// fn token(cx: &Context) -> Result<String> {
///     match cx.param("token") {
///         Some(token) => Ok(token),
///         None => skip!("there is no token for {}", "staging"),
///     }
/// }
///
/// #[handoff_sdk::test]
/// fn logs_in(cx: &Context) -> Result {
///     let token = token(cx)?;
///     assert!(!token.is_empty());
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {
        return ::core::result::Result::Err(
            ::core::convert::From::from($crate::Skip::new(::std::format!($($reason)+))),
        )
    };
}

#[cfg(test)]
mod tests {
    use crate::error::Ending;
    use crate::{Error, Result};
    use std::error::Error as StdError;

    fn nested() -> Result<u32> {
        skip!("not on {}", "Sundays")
    }

    fn skipped(ending: Ending) -> bool {
        matches!(ending, Ending::Skipped(reason) if reason == "not on Sundays")
    }

    #[test]
    fn a_skip_reaches_the_test_through_any_error_type() {
        fn boxed() -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
            skip!("not on {}", "Sundays")
        }
        assert!(skipped(Ending::from(nested().map(|_| ()))));
        assert!(skipped(Ending::from(Err(nested().unwrap_err().context("while looking")))));
        assert!(skipped(Ending::from(Err(nested().unwrap_err().to_string()))));
        let error: Box<dyn StdError> = boxed().unwrap_err();
        assert!(skipped(Ending::from(Err(error))));
    }

    #[test]
    fn a_failure_after_a_skip_that_was_ignored_is_a_failure() {
        assert!(nested().is_err());
        let ending = Ending::from(Err(Error::msg("broken")));
        assert!(matches!(ending, Ending::Failed { .. }), "{ending:?}");
    }
}
