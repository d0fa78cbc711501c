//! Options that say how a run on a server stands to other runs there, and what it waits for as it is told.

use clap::Args;
use serde_json::{Map, Value};

use super::request::body;
use super::terminal::safe_line;
use crate::http::views::QueueView;
use crate::model::{Priority, RunRequest};

/// How a run stands to others on the server.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TurnArgs {
    /// Which class of runs it is of: low, normal or high
    #[arg(long, value_name = "CLASS", help_heading = "Turn")]
    priority: Option<Priority>,
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
    Some(format!("at place {} for {texts}", queue.place))
}
