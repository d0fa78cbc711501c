//! The words of the product as plain data, and the rules that follow from data alone.
//!
//! Nothing here does input or output, knows a clock, or names a library of another layer. What is
//! stored and what leaves the executor is made of these types, so a change to a field is a change to
//! a stored format: see `storage::record` for how versions are kept apart.

mod activity;
mod attempt;
mod attempts;
mod choice;
mod cleared;
mod event;
mod fixtures;
mod ids;
mod keeping;
mod limits;
mod mark;
mod notice;
mod plan;
mod plugin;
mod policy;
mod protocol;
mod queueing;
mod retrying;
mod rounds;
mod run;
#[cfg(test)]
pub(crate) mod samples;
mod schedule;
mod shard;
mod step;
mod suite;
mod template;
mod trigger;

pub use activity::Activity;
pub use attempt::{
    Artifact, Attempt, AttemptDetail, Cause, Exchange, Failure, Frame, Level, Location, LogLine,
    Outcome, Source, Span, SubResult, TestStatus, Value, short,
};
pub use attempts::{Attempts, Round};
pub use choice::Tags;
pub use cleared::{ClearedAttempt, Clearing};
pub use event::{EventKind, RunEvent};
pub use fixtures::Fixtures;
pub use ids::{Digest, InvalidName, Name, RunId, SuiteId};
pub use keeping::{Keep, KeepRule, Pin};
pub use limits::{Limit, Limits, LimitsPatch};
pub use mark::{Mark, MarkKind, Marks, end_of_day};
pub use notice::{Notice, NoticeKind, NoticeRun, NoticeSuite, NoticeTest, NoticeTrouble};
pub use plan::{PlanError, PlannedTest, RunBounds, RunRequest, RunSpec, Wait, plan};
pub use plugin::{
    Annotation, Delivery, DeliveryCall, DeliveryStatus, Filters, GateFailure, Gated, Kept, Plugin,
    Standing, Wishes,
};
pub use policy::{
    HostPattern, InvalidPattern, Policy, TcpTarget, read_port, without_root, wrong_with_name,
};
pub use protocol::{Protocol, UnknownProtocol};
pub use queueing::{Priority, Sharing, check_locks};
pub use retrying::{OnFlaky, RETRIED, retried};
pub use rounds::{FirstFailure, Rounds, Tally, Took};
pub use run::{Counts, Run, RunStatus, RunSummary, Stage, Test};
pub use schedule::{
    CatchUp, CatchUpMode, DueOutcome, DueRow, Ends, Overlap, Paused, Schedule, ScheduleSpec,
};
pub use shard::{InvalidShard, Shard};
pub use step::Step;
pub use suite::{
    Introduction, InvalidDescription, Label, Link, SuiteDescription, SuiteVersion, TestCase,
};
pub use template::{InvalidTemplate, NothingThere, Template};
pub use trigger::{
    CallOutcome, CallRow, GithubFilter, Mapping, Secret, Sender, Trigger, TriggerCounts,
    TriggerSpec,
};
