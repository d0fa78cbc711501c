//! Schedules with a real store, runs that end when a test says so, and a clock that a test turns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::model::{
    CatchUp, CatchUpMode, Counts, Ends, EventKind, Limits, Overlap, RunBounds, RunStatus, samples,
};
use crate::storage::{Page, StorageSettings};

/// Runs that are stored and never executed.
#[derive(Clone)]
struct Fake {
    storage: Storage,
    ends: Arc<Mutex<HashMap<RunId, CancellationToken>>>,
    refuse: Arc<Mutex<bool>>,
}

impl Fake {
    fn token(&self, run: RunId) -> CancellationToken {
        self.ends.lock().unwrap().entry(run).or_default().clone()
    }
}

impl Runs for Fake {
    fn check(&self, suite: &SuiteId, request: &RunRequest) -> Result<(), SubmitError> {
        Ok(request.check(Some(suite), &RunBounds::default(), &Limits::default())?)
    }

    fn submit(
        &self,
        suite: SuiteId,
        _: RunRequest,
        dealt: MakeDealt,
        key: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<RunId, SubmitError>> {
        Box::pin(async move {
            if *self.refuse.lock().unwrap() {
                return Err(SubmitError::NoSuite(suite));
            }
            let spec = samples::spec(&["test"]);
            let id = spec.id;
            let queued = EventKind::RunQueued { spec: Box::new(spec) };
            let stored = self.storage.append_due(id, queued, dealt(id), key).await.await.unwrap();
            stored.map_err(SubmitError::Storage)?;
            self.token(id);
            Ok(id)
        })
    }

    fn cancel(&self, run: RunId, _: String) -> BoxFuture<'_, ()> {
        Box::pin(end(self, run, RunStatus::Cancelled))
    }

    fn ended(&self, run: RunId) -> Option<CancellationToken> {
        Some(self.token(run))
    }
}

async fn end(fake: &Fake, run: RunId, status: RunStatus) {
    let finished = EventKind::RunFinished { status, message: None, counts: Counts::default() };
    fake.storage.append(run, finished, None).await.await.unwrap().unwrap();
}

struct Stage {
    dir: tempfile::TempDir,
    fake: Fake,
    scheduler: Scheduler,
}

const START: &str = "2026-03-01T00:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// So many seconds after the start.
fn after(seconds: i64) -> Timestamp {
    at(START) + SignedDuration::from_secs(seconds)
}

fn name() -> Name {
    "nightly".parse().unwrap()
}

fn every(distance: &str) -> ScheduleSpec {
    ScheduleSpec {
        suite: samples::spec(&["test"]).suite,
        request: RunRequest::default(),
        cron: format!("@every {distance}"),
        timezone: "UTC".into(),
        jitter_ms: 0,
        overlap: Overlap::Allow,
        catch_up: CatchUp::default(),
        ends: Ends::default(),
        pause_on_failure: false,
        description: None,
    }
}

async fn open(dir: &std::path::Path, now: Timestamp) -> (Fake, Scheduler) {
    let settings = SchedulerSettings {
        most: 3,
        missed_rows: 4,
        waiting: 2,
        at_once: 2,
        max_catch_up: 10,
        max_jitter_ms: 9_000,
        description_bytes: 9,
        ..Default::default()
    };
    open_with(dir, now, settings).await
}

async fn open_with(
    dir: &std::path::Path,
    now: Timestamp,
    scheduled: SchedulerSettings,
) -> (Fake, Scheduler) {
    let metrics = Metrics::new();
    let settings = StorageSettings { schedule_rows: 20, ..StorageSettings::default() };
    let storage =
        Storage::open(dir.join("store"), settings, metrics.clone(), Box::new(|_| {})).unwrap();
    let fake = Fake { storage: storage.clone(), ends: Arc::default(), refuse: Arc::default() };
    let scheduler =
        Scheduler::open(storage, Box::new(fake.clone()), scheduled, metrics, now).await.unwrap();
    (fake, scheduler)
}

async fn stage(spec: ScheduleSpec) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let (fake, scheduler) = open(dir.path(), at(START)).await;
    scheduler.create(name(), spec, false, None, at(START)).await.unwrap();
    Stage { dir, fake, scheduler }
}

impl Stage {
    fn hit(&self, limit: &str) -> bool {
        let metrics = self.scheduler.0.metrics.render();
        metrics.contains(&format!("handoff_limit_hits_total{{limit=\"{limit}\"}} "))
    }

    /// What became of the schedule's times, the first first, as seconds after the start.
    fn rows(&self) -> Vec<(i64, DueOutcome)> {
        let page = Page { limit: 100, cursor: None };
        let rows = self.fake.storage.due_rows(&name(), &page).unwrap().items;
        let seconds = |row: &DueRow| row.due_at.duration_since(at(START)).as_secs();
        rows.iter().rev().map(|row| (seconds(row), row.outcome)).collect()
    }

    fn runs(&self) -> Vec<RunId> {
        let page = Page { limit: 100, cursor: None };
        let rows = self.fake.storage.due_rows(&name(), &page).unwrap().items;
        rows.iter().rev().filter_map(|row| row.run).collect()
    }

    async fn reopened(self, now: Timestamp) -> Self {
        let Self { dir, fake, scheduler } = self;
        fake.storage.close().await.unwrap();
        drop((fake, scheduler));
        let (fake, scheduler) = open(dir.path(), now).await;
        Self { dir, fake, scheduler }
    }
}
use DueOutcome::{CaughtUp, Failed, Missed, Skipped, Started, Waiting};

#[tokio::test]
async fn each_time_starts_one_run() {
    let stage = stage(every("10s")).await;
    for second in [5, 10, 10, 12, 20, 19, 20] {
        stage.scheduler.tick(after(second)).await;
    }
    assert_eq!(stage.rows(), [(10, Started), (20, Started)]);
    assert_eq!(stage.runs().len(), 2);
    let reading = stage.scheduler.get(&name(), after(20)).await.unwrap();
    assert_eq!(reading.next, [30, 40, 50, 60, 70].map(after));
    assert_eq!(reading.schedule.runs, 2);
}

#[tokio::test]
async fn what_could_never_run_is_refused() {
    let stage = stage(every("1h")).await;
    let create = async |spec: ScheduleSpec| {
        let (name, at) = ("other".parse().unwrap(), after(1));
        stage.scheduler.create(name, spec, false, None, at).await.map_err(|error| error.to_string())
    };
    let asked = |request: RunRequest| ScheduleSpec { request, ..every("1h") };
    let nothing = RunRequest::default;
    for (spec, told) in [
        (asked(RunRequest { filter: Some("(".into()), ..nothing() }), "unclosed group"),
        (asked(RunRequest { max_attempts: Some(0), ..nothing() }), "max_attempts is 0"),
        (asked(RunRequest { timeout_ms: Some(u64::MAX), ..nothing() }), "timeout_ms"),
        (asked(RunRequest { repeat: Some(100_001), ..nothing() }), "repeat is 100001"),
        (asked(RunRequest { supersede: true, ..nothing() }), "supersede"),
        (asked(RunRequest { needs_within_ms: Some(1), ..nothing() }), "needs"),
        (every_ending(Ends { after_runs: Some(0), ..Ends::default() }), "ends"),
        (every_ending(Ends { at: Some(after(1)), ..Ends::default() }), "ends"),
    ] {
        let refused = create(spec).await.unwrap_err();
        assert!(refused.contains(told) && !refused.contains('\n'), "{refused}");
    }
    let change = asked(RunRequest { parallelism: Some(0), ..nothing() });
    let refused = stage.scheduler.change(&name(), change, false, after(1)).await.unwrap_err();
    assert!(refused.to_string().contains("parallelism is 0"), "{refused}");
    // A file may declare one that is over, and says which one is wrong.
    let over = every_ending(Ends { at: Some(after(1)), ..Ends::default() });
    stage.scheduler.declare(vec![("b".parse().unwrap(), over, false)], after(2)).await.unwrap();
    let wrong = asked(RunRequest { filter: Some("(".into()), ..nothing() });
    let declared = vec![("c".parse().unwrap(), wrong, false)];
    let (name, error) = stage.scheduler.declare(declared, after(2)).await.unwrap_err();
    assert!(name.as_str() == "c" && error.to_string().contains("filter"), "{name}: {error}");
}

fn every_ending(ends: Ends) -> ScheduleSpec {
    ScheduleSpec { ends, ..every("1h") }
}

#[tokio::test]
async fn a_clock_that_is_set_back_repeats_nothing() {
    let stage = stage(every("1h")).await;
    stage.scheduler.tick(after(3600)).await;
    stage.scheduler.tick(after(0)).await;
    stage.scheduler.tick(after(3600)).await;
    assert_eq!(stage.rows(), [(3600, Started)]);
    stage.scheduler.tick(after(7200)).await;
    assert_eq!(stage.rows(), [(3600, Started), (7200, Started)]);
}

#[tokio::test]
async fn of_a_year_of_seconds_only_the_last_are_looked_for() {
    let cron = |cron: &str| ScheduleSpec { cron: cron.into(), ..every("1s") };
    let year = 365 * 24 * 3600;
    // The second is due in the first minutes of the year alone.
    for (spec, last) in [
        (every("1s"), year),
        (cron("* * * * * *"), year),
        (cron("* * 0-5 1 3 *"), 6 * 3600 - 1),
        (cron("* * * * 3 *"), 31 * 24 * 3600 - 1),
    ] {
        let catch_up = CatchUp { mode: CatchUpMode::None, ..CatchUp::default() };
        let told = spec.cron.clone();
        let stage = stage(ScheduleSpec { catch_up, ..spec }).await;
        stage.scheduler.tick(after(year + 3)).await;
        let rows = stage.rows();
        let missed: Vec<_> = rows.iter().filter(|row| row.1 == Missed).map(|row| row.0).collect();
        // What is not late yet has started.
        let last = last.min(year + 3 - 11);
        assert_eq!(missed, [last - 3, last - 2, last - 1, last], "{told}");
        let page = Page { limit: 100, cursor: None };
        let rows = stage.fake.storage.due_rows(&name(), &page).unwrap().items;
        let first = rows.iter().rev().find(|row| row.outcome == Missed).unwrap();
        let reason = first.reason.as_ref().unwrap();
        assert!(reason.contains(" times before it: "), "{first:?}");
        // Six hours of seconds are counted after all.
        assert_eq!(reason.starts_with("as at least "), told != "* * 0-5 1 3 *", "{first:?}");
        let next = stage.scheduler.get(&name(), after(year + 3)).await.unwrap().next;
        assert_eq!(next.len(), 5);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_forward_is_made_up_for_by_the_rule() {
    let catch_up = CatchUp { mode: CatchUpMode::None, ..CatchUp::default() };
    let stage = stage(ScheduleSpec { catch_up, ..every("10m") }).await;
    stage.scheduler.tick(after(3011)).await;
    // Five are missed. The first is counted in the row of the second, as four have rows.
    assert_eq!(stage.rows(), [1200, 1800, 2400, 3000].map(|second| (second, Missed)));
    let page = Page { limit: 100, cursor: None };
    let rows = stage.fake.storage.due_rows(&name(), &page).unwrap().items;
    assert!(rows[3].reason.as_ref().unwrap().starts_with("as 1 times before it"), "{rows:?}");
    assert!(stage.hit("scheduler_missed_rows"));
}

#[tokio::test]
async fn a_clock_that_jumps_by_an_hour_and_back_starts_nothing_twice_and_runs_no_hour() {
    let stage = stage(every("1m")).await;
    stage.scheduler.tick(after(60)).await;
    // An hour forward: the last of the times that it passed over is made up for, as the default is.
    stage.scheduler.tick(after(3_690)).await;
    let forward = [
        &[(60, Started)][..],
        &[3_420, 3_480, 3_540, 3_600].map(|second| (second, Missed))[1..],
        &[(3_660, CaughtUp)],
    ]
    .concat();
    assert_eq!(stage.rows(), forward);
    // And back: what was dealt with stays so, until the clock is there again.
    for second in [90, 120, 1_800, 3_659] {
        stage.scheduler.tick(after(second)).await;
    }
    assert_eq!(stage.rows(), forward);
    stage.scheduler.tick(after(3_720)).await;
    assert_eq!(stage.rows().last(), Some(&(3_720, Started)));
    assert_eq!(stage.runs().len(), 3);
}

#[tokio::test]
async fn every_second_of_a_suite_that_takes_a_minute_has_one_run_at_a_time_and_a_row_each() {
    for (overlap, others) in [(Overlap::Skip, vec![]), (Overlap::Queue, vec![Waiting; 2])] {
        let stage = stage(ScheduleSpec { overlap, ..every("1s") }).await;
        for second in 1..=18 {
            stage.scheduler.tick(after(second)).await;
        }
        let rows = stage.rows();
        let seconds: Vec<_> = rows.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, (1..=18).collect::<Vec<_>>(), "{overlap:?}: a row each");
        let outcomes: Vec<_> = rows.iter().map(|(_, outcome)| *outcome).collect();
        let skipped = vec![Skipped; 17 - others.len()];
        assert_eq!(outcomes, [vec![Started], others, skipped].concat(), "{overlap:?}");
        assert_eq!(stage.runs().len(), 1, "{overlap:?}");
        // A minute later, when it has ended.
        end(&stage.fake, stage.runs()[0], RunStatus::Passed).await;
        let entry = stage.scheduler.entry(&name()).unwrap();
        stage.scheduler.after_a_run(&entry, after(19)).await;
        stage.scheduler.tick(after(19)).await;
        assert_eq!(stage.runs().len(), 2, "{overlap:?}");
    }
}

#[tokio::test]
async fn of_1000_schedules_that_are_due_in_the_same_second_each_starts_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let (fake, scheduler) = open_with(dir.path(), at(START), SchedulerSettings::default()).await;
    let names: Vec<Name> = (0..1_000).map(|n| format!("s{n}").parse().unwrap()).collect();
    let create = |name: &Name| {
        let (scheduler, name) = (scheduler.clone(), name.clone());
        async move { scheduler.create(name, every("10s"), false, None, at(START)).await.unwrap() }
    };
    futures::future::join_all(names.iter().map(create)).await;
    // Looked at several times meanwhile, as by a loop that is woken.
    futures::future::join_all((0..3).map(|_| scheduler.tick(after(10)))).await;
    for name in &names {
        let page = Page { limit: 10, cursor: None };
        let rows = fake.storage.due_rows(name, &page).unwrap().items;
        let told: Vec<_> = rows.iter().map(|row| (row.due_at, row.outcome)).collect();
        assert_eq!(told, [(after(10), Started)], "{name}");
    }
    assert_eq!(fake.ends.lock().unwrap().len(), 1_000);
}

#[tokio::test]
async fn what_passed_while_nobody_was_there_is_caught_up_with() {
    let catch_up = |mode| CatchUp { mode, at_most: 2, window_ms: 3_600_000 };
    for (mode, expected) in [
        (CatchUpMode::None, vec![(60, Missed), (120, Missed), (180, Missed)]),
        (CatchUpMode::Latest, vec![(60, Missed), (120, Missed), (180, CaughtUp)]),
        (CatchUpMode::All, vec![(60, Missed), (120, CaughtUp), (180, CaughtUp)]),
    ] {
        let stage = stage(ScheduleSpec { catch_up: catch_up(mode), ..every("60s") }).await;
        let stage = stage.reopened(after(200)).await;
        stage.scheduler.tick(after(200)).await;
        assert_eq!(stage.rows(), expected, "{mode:?}");
        stage.scheduler.tick(after(201)).await;
        assert_eq!(stage.rows(), expected, "{mode:?}: nothing twice");
        stage.scheduler.tick(after(240)).await;
        assert_eq!(stage.rows().last(), Some(&(240, Started)), "{mode:?}");
    }
    // One after the other, where runs of its are not to overlap.
    let spec = ScheduleSpec { overlap: Overlap::Skip, ..every("60s") };
    let all = stage(ScheduleSpec { catch_up: catch_up(CatchUpMode::All), ..spec }).await;
    let all = all.reopened(after(200)).await;
    all.scheduler.tick(after(200)).await;
    assert_eq!(all.rows(), [(60, Missed), (120, CaughtUp), (180, Waiting)]);
    end(&all.fake, all.runs()[0], RunStatus::Passed).await;
    let entry = all.scheduler.entry(&name()).unwrap();
    all.scheduler.after_a_run(&entry, after(210)).await;
    assert_eq!(all.rows(), [(60, Missed), (120, CaughtUp), (180, Started)]);
    // Too long ago to be made up for.
    let stage = stage(ScheduleSpec { catch_up: catch_up(CatchUpMode::All), ..every("2h") }).await;
    let stage = stage.reopened(after(3 * 3600 + 1)).await;
    stage.scheduler.tick(after(3 * 3600 + 1)).await;
    assert_eq!(stage.rows(), [(7200, Missed)]);
}

#[tokio::test]
async fn overlap_is_dealt_with_as_asked() {
    let with = async |overlap| {
        let stage = stage(ScheduleSpec { overlap, ..every("10s") }).await;
        for second in [10, 20, 30, 40, 50] {
            stage.scheduler.tick(after(second)).await;
        }
        stage
    };
    let started = |seconds: &[i64]| seconds.iter().map(|at| (*at, Started)).collect::<Vec<_>>();

    let allow = with(Overlap::Allow).await;
    assert_eq!(allow.rows(), started(&[10, 20, 30, 40, 50]));

    let skip = with(Overlap::Skip).await;
    let skipped = [20, 30, 40, 50].map(|at| (at, Skipped));
    assert_eq!(skip.rows(), [&started(&[10])[..], &skipped].concat());
    end(&skip.fake, skip.runs()[0], RunStatus::Passed).await;
    skip.scheduler.tick(after(60)).await;
    assert_eq!(skip.rows().last(), Some(&(60, Started)));

    let other = with(Overlap::CancelOther).await;
    assert_eq!(other.rows(), started(&[10, 20, 30, 40, 50]));
    let statuses = other.runs().into_iter().map(|run| other.fake.storage.summary(run));
    let statuses: Vec<_> = statuses.map(|run| run.unwrap().unwrap().status).collect();
    assert_eq!(statuses[..4], [RunStatus::Cancelled; 4]);
    assert_eq!(statuses[4], RunStatus::Queued);

    let queue = with(Overlap::Queue).await;
    let waits = [(20, Waiting), (30, Waiting), (40, Skipped), (50, Skipped)];
    assert_eq!(queue.rows(), [&started(&[10])[..], &waits].concat());
    assert!(queue.hit("scheduler_waiting"));
    let entry = queue.scheduler.entry(&name()).unwrap();
    end(&queue.fake, queue.runs()[0], RunStatus::Passed).await;
    queue.scheduler.after_a_run(&entry, after(55)).await;
    let waits = [(30, Waiting), (40, Skipped), (50, Skipped)];
    assert_eq!(queue.rows(), [&started(&[10, 20])[..], &waits].concat());
    // A second look, while that one is under way, starts nothing.
    queue.scheduler.after_a_run(&entry, after(56)).await;
    assert_eq!(queue.runs().len(), 2);
}

#[tokio::test]
async fn a_schedule_ends_when_it_is_to() {
    let with = async |ends| {
        let stage = stage(ScheduleSpec { ends, ..every("10s") }).await;
        for second in [10, 20, 30, 40] {
            stage.scheduler.tick(after(second)).await;
        }
        let reading = stage.scheduler.get(&name(), after(40)).await.unwrap();
        assert_eq!(reading.next, [], "{ends:?}");
        (stage.rows().len(), reading.ended.unwrap())
    };
    let (rows, why) = with(Ends { after_runs: Some(2), ..Ends::default() }).await;
    assert_eq!((rows, why.as_str()), (2, "it has started the 2 runs that it was to start"));
    let (rows, why) = with(Ends { after_ms: Some(25_000), ..Ends::default() }).await;
    assert_eq!((rows, why.as_str()), (2, "it ended at 2026-03-01T00:00:25Z"));
    let (rows, _) = with(Ends { at: Some(after(35)), ..Ends::default() }).await;
    assert_eq!(rows, 3);
}

#[tokio::test]
async fn what_waits_when_a_schedule_has_started_its_runs_is_not_started() {
    let ends = Ends { after_runs: Some(2), ..Ends::default() };
    let stage = stage(ScheduleSpec { ends, overlap: Overlap::Queue, ..every("10s") }).await;
    let entry = stage.scheduler.entry(&name()).unwrap();
    for second in [10, 20, 30] {
        stage.scheduler.tick(after(second)).await;
    }
    for (run, second) in [(0, 31), (1, 32)] {
        end(&stage.fake, stage.runs()[run], RunStatus::Passed).await;
        stage.scheduler.after_a_run(&entry, after(second)).await;
        assert_eq!(stage.runs().len(), 2);
    }
    assert_eq!(stage.rows(), [(10, Started), (20, Started), (30, Skipped)]);
}

#[tokio::test]
async fn a_failure_pauses_a_schedule_that_is_to_pause() {
    let spec = ScheduleSpec { pause_on_failure: true, overlap: Overlap::Queue, ..every("10s") };
    let stage = stage(spec).await;
    stage.scheduler.tick(after(10)).await;
    stage.scheduler.tick(after(20)).await;
    let entry = stage.scheduler.entry(&name()).unwrap();
    end(&stage.fake, stage.runs()[0], RunStatus::Failed).await;
    stage.scheduler.after_a_run(&entry, after(25)).await;
    assert_eq!(stage.rows(), [(10, Started), (20, Skipped)]);
    stage.scheduler.tick(after(30)).await;
    let reading = stage.scheduler.get(&name(), after(30)).await.unwrap();
    assert!(reading.schedule.paused.unwrap().reason.unwrap().ends_with("failed"));
    assert_eq!(reading.next, []);
    // Times while it was paused are none.
    let resumed = stage.scheduler.resume(&name(), after(45)).await.unwrap();
    assert_eq!(resumed.next[0], after(50));
    stage.scheduler.tick(after(50)).await;
    assert_eq!(stage.rows()[2..], [(50, Started)]);
}

#[tokio::test]
async fn a_run_that_is_refused_leaves_a_row() {
    let stage = stage(every("10s")).await;
    *stage.fake.refuse.lock().unwrap() = true;
    stage.scheduler.tick(after(10)).await;
    stage.scheduler.tick(after(11)).await;
    assert_eq!(stage.rows(), [(10, Failed)]);
    let broken = stage.scheduler.get(&name(), after(11)).await.unwrap().broken.unwrap();
    assert!(broken.contains("there is no suite"), "{broken}");
    *stage.fake.refuse.lock().unwrap() = false;
    stage.scheduler.tick(after(20)).await;
    assert_eq!(stage.rows(), [(10, Failed), (20, Started)]);
}

#[tokio::test]
async fn the_store_takes_a_time_once() {
    let stage = stage(every("10s")).await;
    let schedule = stage.scheduler.get(&name(), after(0)).await.unwrap().schedule;
    let row =
        |outcome| DueRow { due_at: after(10), at: after(10), outcome, run: None, reason: None };
    let dealt = |outcome| Dealt { schedule: schedule.clone(), rows: vec![row(outcome)] };
    let put = async |outcome| stage.fake.storage.put_schedule(dealt(outcome), None).await;
    put(Waiting).await.unwrap();
    put(Started).await.unwrap();
    let error = put(Started).await.unwrap_err();
    assert!(matches!(error, StorageError::DealtWith(_)), "{error}");
    assert_eq!(stage.rows(), [(10, Started)]);
}

#[tokio::test]
async fn only_the_last_rows_are_kept() {
    let stage = stage(every("10s")).await;
    for time in 1..=30 {
        stage.scheduler.tick(after(time * 10)).await;
    }
    let rows = stage.rows();
    assert_eq!((rows.len(), rows[0].0, rows[19].0), (20, 110, 300));
    assert!(stage.hit("storage_schedule_rows"));
}

#[tokio::test]
async fn schedules_are_made_once_changed_and_deleted() {
    let stage = stage(every("10s")).await;
    let scheduler = &stage.scheduler;
    let (_, new) = scheduler.create(name(), every("10s"), false, None, after(1)).await.unwrap();
    assert!(!new, "the same again");
    let other = scheduler.create(name(), every("20s"), false, None, after(1)).await.unwrap_err();
    assert!(matches!(other, ScheduleError::Taken(_)), "{other}");
    for more in ["a", "b"] {
        scheduler.create(more.parse().unwrap(), every("1h"), false, None, after(1)).await.unwrap();
    }
    scheduler.declare(vec![("b".parse().unwrap(), every("2h"), true)], after(1)).await.unwrap();
    let full = scheduler.create("c".parse().unwrap(), every("1h"), false, None, after(1)).await;
    assert!(matches!(full, Err(ScheduleError::TooMany(3))));
    assert!(stage.hit("scheduler_most"));
    let declared = scheduler.delete(&"b".parse().unwrap()).await.unwrap_err();
    assert!(matches!(declared, ScheduleError::Declared(_)), "{declared}");

    let changed = scheduler.change(&name(), every("1m"), false, after(5)).await.unwrap();
    assert_eq!(changed.next[0], after(65), "it counts from the change");
    scheduler.delete(&name()).await.unwrap();
    scheduler.tick(after(100)).await;
    assert_eq!(stage.rows(), []);
    let gone = scheduler.get(&name(), after(100)).await.unwrap_err();
    assert!(matches!(gone, ScheduleError::NoSchedule(_)), "{gone}");
}

#[tokio::test]
async fn values_that_cannot_be_are_refused() {
    let stage = stage(every("10s")).await;
    let wrong = async |spec| {
        stage
            .scheduler
            .create("x".parse().unwrap(), spec, false, None, after(0))
            .await
            .unwrap_err()
            .to_string()
    };
    let cron = |cron: &str| ScheduleSpec { cron: cron.into(), ..every("1s") };
    assert!(wrong(cron("61 * * * *")).await.contains("the minute field"));
    assert!(wrong(cron("0 0 30 2 *")).await.contains("never due"));
    let zone = ScheduleSpec { timezone: "Europe/Berln".into(), ..every("1s") };
    assert!(wrong(zone).await.contains("did you mean Europe/Berlin?"));
    let jitter = ScheduleSpec { jitter_ms: 9_001, ..every("1s") };
    assert!(wrong(jitter).await.contains("scheduler.max_jitter_ms"));
    let catch_up = CatchUp { at_most: 11, ..CatchUp::default() };
    assert!(
        wrong(ScheduleSpec { catch_up, ..every("1s") }).await.contains("scheduler.max_catch_up")
    );
    let long = ScheduleSpec { description: Some("x".repeat(10)), ..every("1s") };
    assert!(wrong(long).await.contains("scheduler.description_bytes"));
    for limit in
        ["scheduler_max_jitter_ms", "scheduler_max_catch_up", "scheduler_description_bytes"]
    {
        assert!(stage.hit(limit), "{limit}");
    }
}

#[tokio::test]
async fn jitter_is_the_same_whenever_it_is_asked_for() {
    let spec = ScheduleSpec { jitter_ms: 5_000, ..every("1m") };
    let schedule = stage(spec).await.scheduler.get(&name(), after(0)).await.unwrap().schedule;
    let later = |n: i64| due::fires(&schedule, after(n * 60)).duration_since(after(n * 60));
    let all: Vec<_> = (1..100).map(later).collect();
    assert_eq!(all, (1..100).map(later).collect::<Vec<_>>());
    assert!(all.iter().all(|by| (0..=5_000).contains(&by.as_millis())));
    let distinct: BTreeSet<_> = all.iter().map(SignedDuration::as_millis).collect();
    assert!(distinct.len() > 50, "{distinct:?}");
}
