//! What is different from the last run that passed.

use super::rows::Rows;
use super::show;
use super::text::{self, Html};
use crate::model::{Run, RunId, RunStatus, RunSummary, SuiteId};
use crate::storage::{Page, RunQuery, Storage, StorageError};

/// How many names of tests are given of each kind.
const NAMES: usize = 10;
/// How many of a suite's passed runs are looked through for one that is older.
const LOOKED_AT: usize = 50;

/// Something that is different.
pub(super) struct Difference {
    pub(super) what: &'static str,
    pub(super) then: Html,
    pub(super) now: Html,
}

/// The last run that passed before this one, with what differs; none if none did, or this one did.
pub(super) fn with_last_passed(
    storage: &Storage,
    rows: &Rows,
    run: &Run,
) -> Result<Option<(RunId, u64, Vec<Difference>)>, StorageError> {
    if run.status == RunStatus::Passed || !run.status.is_terminal() {
        return Ok(None);
    }
    let Some(passed) = last_passed(storage, &run.spec.suite, run)? else { return Ok(None) };
    let (id, number) = (passed.id, passed.number);
    let Some(folded) = storage.run(id)? else { return Ok(None) };
    let mut found = Vec::new();
    let mut differ = |what, then: String, now: String| {
        if then != now {
            let (then, now) = (text::guest(&then), text::guest(&now));
            found.push(Difference { what, then, now });
        }
    };
    let (then, now) = (&folded.spec, &run.spec);
    let short = |digest: &crate::model::Digest| text::start(&digest.to_string(), 24);
    differ("Version", short(&then.version), short(&now.version));
    let fixtures = |spec: &crate::model::RunSpec| {
        spec.fixtures.as_ref().map_or_else(|| "none".into(), |it| short(&it.digest))
    };
    differ("Fixtures", fixtures(then), fixtures(now));
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".into());
    differ("Reference", said(&then.request.reference), said(&now.request.reference));
    differ("Filter", said(&then.request.filter), said(&now.request.filter));
    let params = |spec: &crate::model::RunSpec| {
        let params = spec.request.params.iter().map(|(name, value)| format!("{name}={value}"));
        text::start(&params.collect::<Vec<_>>().join(" "), 400)
    };
    differ("Parameters", params(then), params(now));
    let took = |run: &Run| run.duration_ms().map(show::duration).unwrap_or_default();
    differ("Took", took(&folded), took(run));
    let names = |run: &Run| run.tests.iter().map(|test| test.name.clone()).collect::<Vec<_>>();
    let (then, now) = (names(&folded), names(run));
    let only = |these: &[String], others: &Run| {
        let only = these.iter().filter(|name| others.test(name).is_none());
        only.cloned().collect::<Vec<_>>()
    };
    found.extend(listed("Tests that are gone", &only(&then, run), true));
    found.extend(listed("Tests that are new", &only(&now, &folded), false));
    if let Some(row) = rows.of(storage, passed)? {
        let failed = run.tests.iter().filter(|test| {
            let before = row.tests.get(&test.name);
            test.status == crate::model::TestStatus::Failed
                && before.is_some_and(|cell| matches!(cell.look.word, "passed" | "flaky"))
        });
        let failed: Vec<_> = failed.map(|test| test.name.clone()).collect();
        found.extend(listed("Passed then, fail now", &failed, false));
    }
    Ok(Some((id, number, found)))
}

fn listed(what: &'static str, names: &[String], is_then: bool) -> Option<Difference> {
    if names.is_empty() {
        return None;
    }
    let more = names.len().saturating_sub(NAMES);
    let shown: Vec<_> = names.iter().take(NAMES).map(|name| text::name(name).to_string()).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = Html::made(format!("{}{more}", shown.join(", ")));
    let (then, now) = if is_then { (names, Html::default()) } else { (Html::default(), names) };
    Some(Difference { what, then, now })
}

fn last_passed(
    storage: &Storage,
    suite: &SuiteId,
    run: &Run,
) -> Result<Option<RunSummary>, StorageError> {
    let status = Some(RunStatus::Passed);
    let query = RunQuery { suite: Some(suite.clone()), status, ..RunQuery::default() };
    let runs = storage.runs(&query, &Page { limit: LOOKED_AT, cursor: None })?.items;
    Ok(runs.into_iter().find(|passed| passed.created_at < run.spec.created_at))
}
