//! A run in which everything happened once, for the tests of reports.

use jiff::Timestamp;

use crate::model::{
    Attempt, AttemptDetail, Cause, Counts, Digest, EventKind, Failure, Level, Location, LogLine,
    Outcome, PlannedTest, Run, RunEvent, RunId, RunRequest, RunSpec, RunStatus, Source, Stage,
    SubResult, TestStatus,
};

pub(crate) type Detail = fn(&Stage, u32, u32) -> Option<AttemptDetail>;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_795_219_200_000 + ms).unwrap()
}

/// The run, and what its attempts left behind.
pub(crate) fn run() -> (Run, Detail) {
    use TestStatus::{Error, Failed, Passed, Skipped};
    let mut run = Run::new(spec());
    let mut story = Story { run: &mut run, seq: 1 };
    story.add(EventKind::RunStarted);
    story.attempt(Stage::Setup, 1, Passed, None);
    story.test("passes", &[(Passed, None)]);
    story.test("flaky # 1", &[(Failed, Some(Cause::Assertion)), (Passed, None)]);
    story.test(
        "fails <twice> & \"quoted\"",
        &[(Failed, Some(Cause::Panic)), (Failed, Some(Cause::Timeout))],
    );
    story.test("soft", &[(Failed, Some(Cause::Assertion))]);
    story.test("lost", &[(Error, Some(Cause::Lost)), (Error, Some(Cause::Host))]);
    story.skip("disabled", "disabled: moved to # 2");
    story.attempt(Stage::Test("skips itself".into()), 1, Skipped, None);
    story.verdict("skips itself", Skipped, None);
    story.attempt(Stage::Teardown, 1, Failed, Some(Cause::Trap));
    let counts = Counts::default();
    story.add(EventKind::RunFinished { status: RunStatus::Failed, message: None, counts });
    (run, detail)
}

fn detail(stage: &Stage, _round: u32, number: u32) -> Option<AttemptDetail> {
    let line = |source, text: &str| LogLine { at: at(100), source, text: text.into() };
    let log = match stage {
        Stage::Setup => return None,
        Stage::Test(name) => vec![
            line(Source::Stdout, &format!("hello from {name}, attempt {number}")),
            line(
                Source::Log(Level::Warn),
                "odd: \u{1b}[31mred\u{1b}[0m \u{0} \u{ffff} ]]> ... ---",
            ),
            line(Source::Stderr, "on stderr"),
        ],
        Stage::Teardown => vec![line(Source::Stdout, "cleaning up")],
    };
    let sub_results = match stage {
        Stage::Test(name) if name.starts_with("fails") => parts(),
        _ => Vec::new(),
    };
    Some(AttemptDetail { log, sub_results, ..AttemptDetail::default() })
}

fn parts() -> Vec<SubResult> {
    let location = Some(Location { file: "a.rs".into(), line: 7, column: Some(3) });
    let failure = Failure { message: "one part # 1\nwas bad".into(), location };
    let skipped = Outcome::Skipped { reason: "not now".into() };
    let parts = [
        ("good", Outcome::Passed),
        ("bad", Outcome::Failed(failure.clone())),
        ("bad", Outcome::Failed(Failure { location: None, ..failure })),
        ("left out", skipped),
    ];
    let part = |(name, outcome): (&str, Outcome)| SubResult {
        name: name.into(),
        outcome,
        duration_ms: 20,
    };
    parts.map(part).to_vec()
}

fn spec() -> RunSpec {
    let names = [
        "passes",
        "flaky # 1",
        "fails <twice> & \"quoted\"",
        "soft",
        "lost",
        "disabled",
        "skips itself",
    ];
    let planned = |name: &&str| PlannedTest {
        name: (*name).into(),
        soft: *name == "soft",
        timeout_ms: None,
        max_attempts: 2,
        skip: None,
        mark: None,
    };
    RunSpec {
        id: RunId::from_bytes([7; 16]),
        number: 12,
        suite: "team/hello".parse().unwrap(),
        version: Digest::of(b""),
        created_at: at(-500),
        request: RunRequest { reference: Some("v1.2".into()), ..RunRequest::default() },
        timeout_ms: 1000,
        parallelism: 1,
        repeat: 1,
        tests: names.iter().map(planned).collect(),
        program: None,
        language: None,
        fixtures: None,
        sharing: Default::default(),
    }
}

/// Tells a run's events one after another.
struct Story<'a> {
    run: &'a mut Run,
    seq: u64,
}

impl Story<'_> {
    fn add(&mut self, kind: EventKind) {
        self.seq += 1;
        let at = at(self.seq as i64 * 10);
        self.run.apply(&RunEvent { run_id: self.run.spec.id, seq: self.seq, at, kind });
    }

    fn attempt(&mut self, stage: Stage, number: u32, status: TestStatus, cause: Option<Cause>) {
        let message = match status {
            TestStatus::Passed => None,
            TestStatus::Skipped => Some("not here".to_owned()),
            _ => Some(format!("it went wrong: 1 != 2\nin attempt {number} \\ # here")),
        };
        let location = Location { file: "src/lib.rs".into(), line: 7, column: Some(3) };
        let attempt = Attempt {
            number,
            round: 1,
            status,
            cause,
            soft: false,
            message,
            location: cause.map(|_| location),
            started_at: at(self.seq as i64 * 10),
            duration_ms: 5,
            fuel_used: Some(1000),
            memory_peak_bytes: 65536,
            logs_truncated: false,
            limits_hit: vec![],
            artifacts: vec![],
            detail: None,
        };
        self.add(EventKind::AttemptFinished { stage, attempt: Box::new(attempt) });
    }

    fn test(&mut self, name: &str, attempts: &[(TestStatus, Option<Cause>)]) {
        for (number, (status, cause)) in (1..).zip(attempts) {
            self.attempt(Stage::Test(name.into()), number, *status, *cause);
        }
        self.verdict(name, attempts.last().unwrap().0, None);
    }

    fn skip(&mut self, name: &str, reason: &str) {
        self.verdict(name, TestStatus::Skipped, Some(reason.into()));
    }

    fn verdict(&mut self, name: &str, status: TestStatus, reason: Option<String>) {
        self.add(EventKind::TestFinished { test: name.into(), round: 1, status, reason });
    }
}
