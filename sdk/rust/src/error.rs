//! How a test ends: the error that knows where it came from, and the way from any error to a failure.

use crate::bindings::handoff::suite::vocabulary::{Failure, Outcome, Refusal as WitRefusal};
use crate::registry::Place;
use crate::skip;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

/// What a test or one of its helpers gives: `Result` for nothing but success or failure, `Result<T>`
/// for a value.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Any error, with the place where `?` made it one of these.
///
/// Every error converts into it. A test that fails by it is shown with that place and with the whole
/// chain of causes. To make one from a text, see [`bail!`](crate::bail) and [`Error::msg`].
///
/// Other error types work in tests as well; their failures are shown with the place of the test.
pub struct Error(Box<Placed>);

struct Placed {
    error: Box<dyn StdError>,
    place: Place,
}

impl Error {
    /// An error with this message.
    #[track_caller]
    pub fn msg(message: impl fmt::Display) -> Self {
        Self::placed(message.to_string().into(), Place::caller())
    }

    /// The same error below a message that says what was being done.
    pub fn context(self, message: impl fmt::Display) -> Self {
        let Placed { error, place } = *self.0;
        Self::placed(Box::new(Wrapped { message: message.to_string(), error }), place)
    }

    /// The same for what this crate fails with on behalf of its caller.
    pub(crate) fn at(place: Place, error: impl Into<Box<dyn StdError>>) -> Self {
        Self::placed(error.into(), place)
    }

    fn placed(error: Box<dyn StdError>, place: Place) -> Self {
        Self(Box::new(Placed { error, place }))
    }
}

impl<E: StdError + 'static> From<E> for Error {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::placed(Box::new(error), Place::caller())
    }
}

impl From<Error> for Box<dyn StdError> {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// As a failure shows it, so that `unwrap` in a test is readable.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.0))
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl StdError for Placed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

#[derive(Debug)]
struct Wrapped {
    message: String,
    error: Box<dyn StdError>,
}

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Wrapped {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.error)
    }
}

/// The server said no. Nothing was changed, and the test may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name of the limit or rule that was hit, as the server's settings call it, for example
    /// `artifact_bytes`.
    pub rule: String,
    /// What was refused, what to do about it, and the rule.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Refusal {}

impl From<WitRefusal> for Refusal {
    fn from(WitRefusal { rule, message }: WitRefusal) -> Self {
        Self { rule, message }
    }
}

/// How a test, a part of one, setup or teardown ended.
#[allow(missing_docs, reason = "public for the macros only")]
#[derive(Debug)]
pub enum Ending {
    Passed,
    Failed { message: String, place: Option<Place> },
    Skipped(String),
}

impl Ending {
    /// The same; a failure that does not know where it happened, happened there.
    pub(crate) fn or_at(self, otherwise: Place) -> Self {
        match self {
            Self::Failed { message, place } => {
                Self::Failed { message, place: place.or(Some(otherwise)) }
            }
            other => other,
        }
    }
}

impl<E: Into<Box<dyn StdError>>> From<std::result::Result<(), E>> for Ending {
    fn from(result: std::result::Result<(), E>) -> Self {
        let Err(error) = result else { return Self::Passed };
        let error: Box<dyn StdError> = error.into();
        if let Some(reason) = skip::reason_in(links(&*error).map(|link| link.to_string())) {
            return Self::Skipped(reason);
        }
        let place = error.downcast_ref::<Placed>().map(|placed| placed.place);
        Self::Failed { message: chain(&*error), place }
    }
}

impl From<Ending> for Outcome {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Passed => Self::Passed,
            Ending::Skipped(reason) => Self::Skipped(bounded(reason)),
            Ending::Failed { message, place } => {
                Self::Failed(Failure { message: bounded(message), location: place.map(Into::into) })
            }
        }
    }
}

/// As much of a message as is sent to the server, in bytes: twice what it keeps by default. It refuses
/// calls with very much more, and a message that is refused would be lost.
const MESSAGE_BYTES: usize = 128 << 10;

/// The start of a text that is too long.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES));
        text.push('…');
    }
    text
}

/// What a test may give.
#[diagnostic::on_unimplemented(
    message = "a test gives `()` or `Result<(), E>`, not `{Self}`",
    note = "end it with `Ok(())`, or leave out what it returns"
)]
pub trait Returned {
    /// What it fails with.
    type Error;
    /// The same as a result.
    fn into_result(self) -> std::result::Result<(), Self::Error>;
}

impl Returned for () {
    type Error = Infallible;
    fn into_result(self) -> std::result::Result<(), Infallible> {
        Ok(())
    }
}

impl<E> Returned for std::result::Result<(), E> {
    type Error = E;
    fn into_result(self) -> Self {
        self
    }
}

/// What a test failed with, for choosing the way to an ending.
///
/// A test may fail with whatever can be displayed, and what has causes must not lose them. So the
/// macros call `(&&&Caught(&error)).via()`, where the type of the error is known, with [`ViaError`],
/// [`ViaSendError`] and [`ViaDisplay`] in scope. The compiler takes the first that fits, in this
/// order, because it looks for methods with all references first and then takes one off at a time.
pub struct Caught<'a, E>(pub &'a E);

/// Chosen by the macros for errors and what turns into one, such as texts and `anyhow::Error`.
pub trait ViaError {
    /// The way to an ending.
    fn via(&self) -> AsError {
        AsError
    }
}
impl<E: Into<Box<dyn StdError>>> ViaError for &&Caught<'_, E> {}

/// Chosen by the macros for `Box<dyn Error + Send + Sync>`, which turns into no `Box<dyn Error>` in
/// the way in which everything else does.
pub trait ViaSendError {
    /// The way to an ending.
    fn via(&self) -> AsSendError {
        AsSendError
    }
}
impl<E: Into<Box<dyn StdError + Send + Sync>>> ViaSendError for &Caught<'_, E> {}

/// Chosen by the macros for what can only be displayed.
pub trait ViaDisplay {
    /// The way to an ending.
    fn via(&self) -> AsDisplay {
        AsDisplay
    }
}
impl<E: fmt::Display> ViaDisplay for Caught<'_, E> {}

/// The way of [`ViaError`].
pub struct AsError;

/// The way of [`ViaSendError`].
pub struct AsSendError;

/// The way of [`ViaDisplay`].
pub struct AsDisplay;

impl AsError {
    /// How the test ended that stands there and failed with this.
    pub fn ending<E: Into<Box<dyn StdError>>>(self, error: E, place: Place) -> Ending {
        Ending::from(Err(error)).or_at(place)
    }
}

impl AsSendError {
    /// How the test ended that stands there and failed with this.
    pub fn ending<E: Into<Box<dyn StdError + Send + Sync>>>(
        self,
        error: E,
        place: Place,
    ) -> Ending {
        let error: Box<dyn StdError> = error.into();
        Ending::from(Err(error)).or_at(place)
    }
}

impl AsDisplay {
    /// How the test ended that stands there and failed with this.
    pub fn ending(self, error: impl fmt::Display, place: Place) -> Ending {
        Ending::from(Err(error.to_string())).or_at(place)
    }
}

/// An error and its causes, outermost first.
fn links<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a dyn StdError> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let link = next?;
        next = link.source();
        Some(link as &dyn StdError)
    })
}

/// An error with its causes, a line each. A cause that an error already names in its own text is not
/// repeated.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    for cause in links(error).skip(1).map(|cause| cause.to_string()) {
        if !last.contains(&cause) {
            text.push_str("\ncaused by: ");
            text.push_str(&cause);
        }
        last = cause;
    }
    text
}

/// Fails the test, or the helper that it is in: returns an [`Error`] with this message, as with
/// `format!`, and this place. For functions that give a [`Result`](crate::Result).
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err(
            ::core::convert::From::from($crate::Error::msg(::std::format!($($message)+))),
        )
    };
}

/// Fails by [`bail!`] unless the condition holds: `assert!` for helpers and for the parts of a test,
/// which must be able to fail without ending everything.
#[macro_export]
macro_rules! ensure {
    ($condition:expr $(,)?) => {
        if !$condition {
            $crate::bail!("not true: {}", ::core::stringify!($condition));
        }
    };
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::bail!($($message)+);
        }
    };
}

/// Fails by [`bail!`] unless both are equal, and shows both.
#[macro_export]
macro_rules! ensure_eq {
    ($left:expr, $right:expr $(,)?) => {
        match (&$left, &$right) {
            (left, right) => {
                if !(*left == *right) {
                    $crate::bail!("not equal\n  left: {left:?}\n right: {right:?}");
                }
            }
        }
    };
    ($left:expr, $right:expr, $($message:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if !(*left == *right) {
                    $crate::bail!(
                        "{}\n  left: {left:?}\n right: {right:?}",
                        ::core::format_args!($($message)+)
                    );
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<u32> {
        Ok(text.parse::<u32>()?)
    }

    fn failed(ending: Ending) -> (String, Option<Place>) {
        match ending {
            Ending::Failed { message, place } => (message, place),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_error_knows_the_place_of_its_question_mark() {
        let (message, place) = failed(Ending::from(parse("x").map(|_| ())));
        assert_eq!(message, "invalid digit found in string");
        let place = place.unwrap();
        assert!(place.file.ends_with("error.rs") && place.line < line!());
        let line = include_str!("error.rs").lines().nth(place.line as usize - 1).unwrap();
        assert_eq!(line.trim(), "Ok(text.parse::<u32>()?)");
    }

    #[test]
    fn a_failure_shows_every_cause_once() {
        let error = parse("x").unwrap_err().context("failed to read the port").context("no server");
        let (message, place) = failed(Ending::from(Err(error)));
        assert_eq!(
            message,
            "no server\ncaused by: failed to read the port\ncaused by: invalid digit found in string"
        );
        assert!(place.is_some());
        let error = parse("x").unwrap_err().context("no port: invalid digit found in string");
        assert_eq!(failed(Ending::from(Err(error))).0, "no port: invalid digit found in string");
    }

    #[test]
    #[allow(clippy::needless_borrow, reason = "the macros do not know which they need")]
    fn whatever_can_be_displayed_can_be_failed_with() {
        struct Shown;
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("shown")
            }
        }
        #[derive(Debug)]
        struct Wrapped(std::num::ParseIntError);
        impl fmt::Display for Wrapped {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("wrapped")
            }
        }
        impl StdError for Wrapped {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let place = Place { file: "f", line: 1, column: 1 };
        let cause = || "x".parse::<u32>().unwrap_err();
        let send: Box<dyn StdError + Send + Sync> = Box::new(Wrapped(cause()));
        let text = failed((&&&Caught(&"text")).via().ending("text", place));
        let shown = failed((&&&Caught(&Shown)).via().ending(Shown, place));
        let plain = failed((&&&Caught(&cause())).via().ending(cause(), place));
        let send = failed((&&&Caught(&send)).via().ending(send, place));
        let own = failed((&&&Caught(&Error::msg("own"))).via().ending(Error::msg("own"), place));
        assert_eq!(text, ("text".into(), Some(place)));
        assert_eq!(shown, ("shown".into(), Some(place)));
        assert_eq!(plain, ("invalid digit found in string".into(), Some(place)));
        assert_eq!(send.0, "wrapped\ncaused by: invalid digit found in string");
        assert_eq!(own.0, "own");
        assert_ne!(own.1, Some(place), "an error of ours knows its own place");
    }

    #[test]
    fn ensure_tells_what_was_wrong() {
        fn check(a: u32) -> Result {
            ensure!(a > 1);
            ensure!(a > 2, "{a} is small");
            ensure_eq!(a, 4, "compared");
            Ok(())
        }
        assert_eq!(check(1).unwrap_err().to_string(), "not true: a > 1");
        assert_eq!(check(2).unwrap_err().to_string(), "2 is small");
        assert_eq!(check(3).unwrap_err().to_string(), "compared\n  left: 3\n right: 4");
        assert!(check(4).is_ok());
    }
}
