//! The shapes of HTTP, and the one translation from the model to JSON.
//!
//! What is stored and what is shown are two promises, so these types are apart from the model's: a
//! stored record may change its form without a client noticing. The doc comments become the text of
//! the OpenAPI document.

mod attempt;
mod cleared;
mod event;
mod mark;
mod plugin;
mod policy;
mod queue;
mod reading;
mod retention;
mod rounds;
mod run;
mod schedule;
mod schemas;
mod statistics;
mod suite;
mod transfer;
mod trigger;

pub use attempt::{
    ArtifactView, AttemptView, DetailView, ExchangeView, FailureView, FrameView, LocationView,
    LogLineView, LogRecordView, RunArtifactView, SpanView, SubResultView, ValueView,
};
pub use cleared::{ClearedAttemptView, ClearingView};
pub use event::{EventBody, EventView, StageView};
pub use mark::{DeclaredMark, LastRunView, MarkBody, MarkView, MarkedView};
pub use plugin::{
    AnnotationView, AsksView, DeliveryCallView, DeliveryView, PluginBody, PluginPolicyView,
    PluginView,
};
pub use policy::PolicyView;
pub use queue::{QueueView, WaitsForView};
pub use retention::{DiskView, FreedView, KeepView, PinView, RetentionView, RoundView};
pub use rounds::{FirstFailureView, RoundsView, TookView};
pub use run::{
    CountsView, RunBody, RunSummaryView, RunView, StageAttemptsView, SuiteRef, TagsBody, TestView,
};
pub use schedule::{DueView, RuleBody, ScheduleBody, ScheduleView, ScheduledSuite, SuiteParts};
pub use statistics::{
    BriefView, ChangeView, ConfirmationView, FailureGroupView, IntervalView, MeasureView,
    ReportView, SeenView, SpotView, StandingView, StatisticsView, SuiteNames, TotalsView,
    TrendView,
};
pub use suite::{
    FixturesView, LabelView, LinkView, ProtocolView, StepView, SuiteSummaryView, SuiteView,
    TestCaseView, UploadEventView, VersionSummaryView, VersionView,
};
pub use transfer::ImportView;
pub use trigger::{CallView, MappingBody, SenderWord, TriggerBody, TriggerRule, TriggerView};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The page's items.
    pub items: Vec<T>,
    /// Give this as `cursor` to get the next page; null on the last one.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A page of the model's items, each translated.
    pub fn of<M>(page: crate::storage::Paged<M>) -> Self
    where
        T: for<'a> From<&'a M>,
    {
        let items = page.items.iter().map(T::from).collect();
        Self { items, next_cursor: page.next_cursor }
    }
}
