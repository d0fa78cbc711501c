//! The run as the API shows it, with everything that its attempts left behind. Test after test is fetched
//! and written, so that a long report is never whole in memory.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::DetailOf;
use crate::http::views::{AttemptView, DetailView, RunView, TestView};
use crate::model::{Attempt, Run, Stage, Test};

pub(super) fn write(run: &Run, detail: &DetailOf<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut head = RunView::without_tests(run);
    add_details(head.setup.as_mut().map(|s| &mut s.attempts), &run.setup, &Stage::Setup, detail);
    let teardown = head.teardown.as_mut().map(|stage| &mut stage.attempts);
    add_details(teardown, &run.teardown, &Stage::Teardown, detail);
    let report = Report { head, tests: Tests { tests: &run.tests, detail } };
    serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
    writeln!(out)
}

/// A run whose tests are written one by one. The view's own list of tests is empty and left out.
struct Report<'a> {
    head: RunView,
    tests: Tests<'a>,
}

impl Serialize for Report<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeMap};
        let serde_json::Value::Object(fields) =
            serde_json::to_value(&self.head).map_err(S::Error::custom)?
        else {
            return Err(S::Error::custom("a run is an object"));
        };
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for (name, value) in fields.iter().filter(|(name, _)| *name != "tests") {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("tests", &self.tests)?;
        map.end()
    }
}

struct Tests<'a> {
    tests: &'a [Test],
    detail: &'a DetailOf<'a>,
}

impl Serialize for Tests<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.tests.iter().map(|test| {
            let mut view = TestView::from(test);
            let stage = Stage::Test(test.name.clone());
            add_details(Some(&mut view.attempts), &test.attempts, &stage, self.detail);
            view
        }))
    }
}

fn add_details(
    views: Option<&mut Vec<AttemptView>>,
    attempts: &[Attempt],
    stage: &Stage,
    detail: &DetailOf<'_>,
) {
    for (view, attempt) in views.into_iter().flatten().zip(attempts) {
        // One that left nothing behind has a detail too, with empty lists.
        let detail = detail(stage, attempt).unwrap_or_default();
        view.detail = Some(DetailView::of(&detail, true));
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
