//! Options that say how a run on a server stands to other runs there, and what it waits for as it is told.

use clap::Args;
use serde_json::{Map, Value};

use super::request::{body, milliseconds};
use super::terminal::safe_line;
use crate::http::views::QueueView;
use crate::model::{Priority, RunRequest, SuiteId};

/// How a run stands to others on the server.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TurnArgs {
    /// Which class of runs it is of: low, normal or high
    #[arg(long, value_name = "CLASS", help_heading = "Turn")]
    priority: Option<Priority>,
    /// Begin only when this suite has passed for the same reference; may be given more than once
    #[arg(long, value_name = "SUITE", help_heading = "Turn")]
    needs: Vec<SuiteId>,
    /// How long to wait for that at most; the run is cancelled then
    #[arg(
        long,
        value_name = "TIME",
        value_parser = milliseconds,
        requires = "needs",
        help_heading = "Turn"
    )]
    needs_within: Option<u64>,
    /// What runs of the suite have in common of which the newest alone matters, such as a branch
    /// [default: the reference]
    #[arg(long, value_name = "TEXT", help_heading = "Turn")]
    group: Option<String>,
    /// Cancel the older runs of the suite with the same group or reference
    #[arg(long, help_heading = "Turn")]
    supersede: bool,
}

impl TurnArgs {
    /// Adds what was said to what is asked for.
    pub(crate) fn apply(&self, request: &mut RunRequest) {
        request.priority = self.priority.unwrap_or_default();
        request.needs.clone_from(&self.needs);
        request.needs_within_ms = self.needs_within;
        request.group.clone_from(&self.group);
        request.supersede = self.supersede;
    }

    /// What was said, as fields of a body.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let mut request = RunRequest::default();
        self.apply(&mut request);
        let (Value::Object(given), Value::Object(nothing)) =
            (body(&request), body(&RunRequest::default()))
        else {
            return Map::new();
        };
        given.into_iter().filter(|(name, value)| nothing.get(name) != Some(value)).collect()
    }
}

/// What a run as the server shows it waits for, if it does.
pub(super) fn waits_for(run: &Value) -> Option<String> {
    let queue: QueueView = serde_json::from_value(run["queue"].clone()).ok()?;
    let texts = queue.waits_for.iter().map(|what| safe_line(&what.text).into_owned());
    let texts = texts.collect::<Vec<_>>().join(", and for ");
    Some(match queue.place {
        Some(place) => format!("at place {place} for {texts}"),
        None => format!("for {texts}"),
    })
}
