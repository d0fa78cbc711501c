//! What a page cannot do. The layer around everything turns it into an answer, as it does with the API's
//! own errors: the status and the words are decided there, in one place.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::plugins::PluginError;
use crate::retention::PinError;
use crate::runner::{ConfirmError, ControlError, MarkError, SubmitError, UploadError};
use crate::scheduler::ScheduleError;
use crate::storage::StorageError;
use crate::triggers::TriggerError;

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no such thing.
    Missing(String),
    /// The request cannot be read.
    Malformed(String),
    /// What is asked for cannot be.
    Invalid(String),
    /// The form is not of a page that this visitor was given.
    Token,
    /// Too much is uploaded at the same time.
    Busy,
    /// A run was not accepted.
    Submit(SubmitError),
    /// A run was not cancelled or retried.
    Control(ControlError),
    /// A component was not accepted.
    Upload(UploadError),
    /// A schedule is not as somebody wants it.
    Schedule(ScheduleError),
    /// A plugin is not as somebody wants it, or not there.
    Plugin(PluginError),
    /// There is no such trigger.
    Trigger(TriggerError),
    /// A run was not pinned.
    Pin(PinError),
    /// Nothing was said of a test.
    Mark(MarkError),
    /// No run was started that shows whether a test is mended.
    Confirm(ConfirmError),
    /// The store.
    Storage(StorageError),
    /// A mistake of ours.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    /// A mistake of ours.
    pub(super) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // Any status above 400 will do: the layer has the last word.
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(Refused(Arc::new(self)));
        response
    }
}

/// A refusal on its way to the layer.
#[derive(Clone)]
pub(crate) struct Refused(Arc<Refusal>);

impl Refused {
    /// The refusal; none if somebody else holds it too, which nobody does.
    pub(crate) fn take(self) -> Option<Refusal> {
        Arc::into_inner(self.0)
    }
}

macro_rules! from {
    ($($error:ident => $kind:ident),*) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::$kind(error)
            }
        }
    )*};
}

from! {
    SubmitError => Submit, ControlError => Control, UploadError => Upload, ScheduleError => Schedule,
    PluginError => Plugin, TriggerError => Trigger, PinError => Pin, MarkError => Mark, ConfirmError => Confirm,
    StorageError => Storage
}
