//! The run as the API shows it, with everything that its attempts left behind. Attempt after attempt is
//! fetched and written, so that a long report is never whole in memory.

use std::collections::HashMap;
use std::io::{self, Write};

use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::{Case, Told, restored};
use crate::http::views::{AttemptView, DetailView, RunView, StageAttemptsView, TestView};
use crate::model::{Attempt, Attempts, Stage};

pub(super) fn write(told: &Told<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut head = RunView::without_tests(told.run);
    add_details(head.setup.as_mut(), Stage::Setup, &told.run.setup, told)?;
    add_details(head.teardown.as_mut(), Stage::Teardown, &told.run.teardown, told)?;
    let report = WithList { head, name: "tests", list: Tests(told) };
    serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
    writeln!(out)
}

fn add_details(
    view: Option<&mut StageAttemptsView>,
    stage: Stage,
    kept: &Attempts,
    told: &Told<'_>,
) -> io::Result<()> {
    if let Some(view) = view {
        let fetched = told.fetched(&stage, &mut HashMap::new())?;
        let all = fetched.as_deref().unwrap_or(kept);
        view.attempts = all.iter().map(|attempt| detailed(attempt, kept, &stage, told)).collect();
    }
    Ok(())
}

/// An attempt with its detail. One that left nothing behind has a detail too, with empty lists.
fn detailed(attempt: &Attempt, among: &Attempts, stage: &Stage, told: &Told<'_>) -> AttemptView {
    let detail = told.detail(stage, attempt).unwrap_or_default();
    let view = AttemptView::of(&restored(attempt, &detail), among);
    AttemptView { detail: Some(DetailView::of(&detail, true)), ..view }
}

/// A view with one of its lists in place of that list, which is written item by item.
struct WithList<V, L> {
    head: V,
    name: &'static str,
    list: L,
}

impl<V: Serialize, L: Serialize> Serialize for WithList<V, L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let serde_json::Value::Object(fields) =
            serde_json::to_value(&self.head).map_err(S::Error::custom)?
        else {
            return Err(S::Error::custom("a view is an object"));
        };
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for (name, value) in fields.iter().filter(|(name, _)| *name != self.name) {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry(self.name, &self.list)?;
        map.end()
    }
}

struct Tests<'a>(&'a Told<'a>);

impl Serialize for Tests<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for case in self.0.cases() {
            let case = case.map_err(S::Error::custom)?;
            // Setup and teardown stand beside the tests.
            let Stage::Test(name) = &case.stage else { continue };
            let Some(test) = self.0.run.test(name) else { continue };
            let head = TestView::without_attempts(test);
            let list = AttemptsOf(self.0, &test.attempts, case);
            seq.serialize_element(&WithList { head, name: "attempts", list })?;
        }
        seq.end()
    }
}

struct AttemptsOf<'a>(&'a Told<'a>, &'a Attempts, Case<'a>);

impl Serialize for AttemptsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(told, among, case) = self;
        let view = |attempt| detailed(attempt, among, &case.stage, told);
        serializer.collect_seq(case.attempts.iter().map(view))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, samples};

    #[test]
    fn the_report_is_the_runs_view_with_details() {
        let (run, detail) = samples::run();
        let mut out = Vec::new();
        Format::Json.write(&run, &detail, &mut out).unwrap();
        let report: crate::http::views::RunView = serde_json::from_slice(&out).unwrap();
        assert_eq!(report.tests.len(), run.tests.len());
        let log = report.tests[0].attempts[0].detail.as_ref().unwrap().log.as_ref().unwrap();
        assert_eq!(log[0].text, "hello from passes, attempt 1");
        assert!(report.teardown.unwrap().attempts[0].detail.is_some());
    }
}
