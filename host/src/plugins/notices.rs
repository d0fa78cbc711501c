//! From events of runs, as they are stored, to what plugins are told. Runs are folded as their events come, so
//! that a long run costs no more for each of its events than a short one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::trouble::Troubles;
use crate::model::{
    EventKind, Link, Name, Notice, NoticeKind, NoticeRun, NoticeSuite, NoticeTest, Run, RunEvent,
    RunId, RunStatus, Stage, SuiteId,
};
use crate::statistics::Fingerprint;
use crate::storage::{JournalEntry, Storage, StorageError};

/// Runs that are followed at one time; of more, the one is forgotten that was looked at first, and read again.
/// Not a setting: it costs time alone.
const MAX_RUNS: usize = 64;
/// Traces that are told of one test.
const TRACES: usize = 10;
/// Events that are read at a time.
const EVENTS: usize = 1_000;

/// A run with what its suite says of it.
struct Followed {
    run: Run,
    said: Said,
}

/// Makes notices.
pub(super) struct Notices {
    storage: Storage,
    base: Arc<str>,
    runs: HashMap<RunId, Followed>,
    order: std::collections::VecDeque<RunId>,
}

impl Notices {
    pub(super) fn new(storage: Storage, base: Arc<str>) -> Self {
        Self { storage, base, runs: HashMap::new(), order: std::collections::VecDeque::new() }
    }

    /// What follows from an entry of the journal, in order. `troubles` learns of it too.
    pub(super) fn of(
        &mut self,
        entry: &JournalEntry,
        troubles: &mut Troubles,
        wanted: impl Fn(NoticeKind) -> bool,
    ) -> Result<Vec<Notice>, StorageError> {
        match entry {
            JournalEntry::Event { run, seq } => self.of_event(*run, *seq, troubles, wanted),
            JournalEntry::Missed { schedule, suite, reference, due_at, reason } => {
                let mut notice = blank(NoticeKind::ScheduleMissed, *due_at);
                notice.suite =
                    suite.as_ref().map(|suite| self.suite(suite, reference)).transpose()?;
                notice.dedup_key = format!("schedule:{schedule}");
                notice.schedule = Some(schedule.clone());
                notice.message.clone_from(reason);
                notice.links = vec![self.link("Schedule", &format!("schedules/{schedule}"))];
                Ok(vec![notice])
            }
            JournalEntry::Disabled { plugin, at, reason } => {
                let mut notice = disabled(plugin, *at, reason);
                notice.links = vec![self.link("Plugin", &format!("plugins/{plugin}"))];
                Ok(vec![notice])
            }
        }
    }

    /// A suite as its newest version has it.
    fn suite(
        &self,
        suite: &SuiteId,
        reference: &Option<String>,
    ) -> Result<NoticeSuite, StorageError> {
        let newest = self.storage.newest_version(suite)?;
        let labels = newest.map(|version| version.description.labels).unwrap_or_default();
        let labels = labels.into_iter().map(|label| (label.key, label.value)).collect();
        Ok(NoticeSuite { suite: suite.clone(), labels, reference: reference.clone() })
    }

    /// A page of the server.
    fn link(&self, title: &str, path: &str) -> Link {
        Link { title: title.into(), url: format!("{}/{path}", self.base) }
    }

    fn of_event(
        &mut self,
        id: RunId,
        seq: u64,
        troubles: &mut Troubles,
        wanted: impl Fn(NoticeKind) -> bool,
    ) -> Result<Vec<Notice>, StorageError> {
        let Some(event) = self.advance(id, seq)? else { return Ok(Vec::new()) };
        let Some(known) = self.runs.get(&id) else { return Ok(Vec::new()) };
        let mut notices = Vec::new();
        match &event.kind {
            EventKind::RunQueued { .. } => {
                notices.push(known.notice(NoticeKind::RunQueued, &event))
            }
            EventKind::RunStarted => notices.push(known.notice(NoticeKind::RunStarted, &event)),
            EventKind::AttemptFinished { stage: Stage::Test(test), attempt } => {
                let mut notice = known.notice(NoticeKind::AttemptFinished, &event);
                notice.test = known.test(test);
                if let Some(test) = &mut notice.test {
                    test.status = attempt.status;
                    test.attempts = attempt.number.into();
                }
                notices.push(notice);
            }
            EventKind::TestFinished { test, status, .. } => {
                let mut notice = known.notice(NoticeKind::TestFinished, &event);
                notice.test = known.test(test);
                notice.test.iter_mut().for_each(|test| test.status = *status);
                notices.push(notice);
            }
            EventKind::RunFinished { status, .. } => {
                notices.extend(known.finished(&event, *status, troubles)?);
            }
            _ => {}
        }
        notices.retain(|notice| wanted(notice.event));
        let base = &self.base;
        for notice in &mut notices {
            notice.links = known.links(base);
            notice.run.iter_mut().for_each(|run| run.url = format!("{base}/runs/{id}"));
            self.add_traces(&event, notice)?;
        }
        if let EventKind::RunFinished { .. } = event.kind {
            self.runs.remove(&id);
            self.order.retain(|known| *known != id);
        }
        Ok(notices)
    }

    /// Folds a run up to an event, and gives that. None if it is not there: it was removed meanwhile.
    fn advance(&mut self, id: RunId, seq: u64) -> Result<Option<RunEvent>, StorageError> {
        if self.runs.get(&id).is_some_and(|known| known.run.last_seq >= seq) {
            // Something asks for an earlier event again, as after a failure to store.
            self.runs.remove(&id);
        }
        loop {
            let after = self.runs.get(&id).map_or(0, |known| known.run.last_seq);
            let most = usize::try_from(seq - after).unwrap_or(usize::MAX).min(EVENTS);
            let events = self.storage.events(id, after, most)?;
            let Some(last) = events.last().cloned() else { return Ok(None) };
            match self.runs.get_mut(&id) {
                Some(known) => events.iter().for_each(|event| known.run.apply(event)),
                None => {
                    let Some(run) = Run::fold(&events) else { return Ok(None) };
                    self.follow(run.keeping(1))?;
                }
            }
            if last.seq >= seq {
                return Ok(Some(last));
            }
        }
    }

    fn follow(&mut self, run: Run) -> Result<(), StorageError> {
        let said = Said::of(&self.storage, &run)?;
        let id = run.spec.id;
        while self.order.len() >= MAX_RUNS {
            if let Some(oldest) = self.order.pop_front() {
                self.runs.remove(&oldest);
            }
        }
        self.order.retain(|known| *known != id);
        self.order.push_back(id);
        self.runs.insert(id, Followed { run, said });
        Ok(())
    }

    /// Adds the traces of the requests of the attempts that failed.
    fn add_traces(&self, event: &RunEvent, notice: &mut Notice) -> Result<(), StorageError> {
        let EventKind::RunFinished { .. } = event.kind else { return Ok(()) };
        let Some(known) = self.runs.get(&event.run_id) else { return Ok(()) };
        for test in &mut notice.failures {
            test.trace_ids = traces(&self.storage, &known.run, &test.name)?;
        }
        Ok(())
    }
}

impl Followed {
    fn notice(&self, kind: NoticeKind, event: &RunEvent) -> Notice {
        let mut notice = blank(kind, event.at);
        notice.dedup_key = format!("run:{}", event.run_id);
        notice.run = Some(self.said.run(&self.run, ""));
        notice
    }

    fn test(&self, name: &str) -> Option<NoticeTest> {
        self.said.test(&self.run, name)
    }

    fn links(&self, base: &str) -> Vec<Link> {
        let url = format!("{base}/runs/{}", self.run.spec.id);
        let mut links = vec![Link { title: "Run".into(), url }];
        links.extend(self.said.links.iter().cloned());
        links
    }

    /// What follows from the end of a run: the end itself, and what it means for the suite.
    fn finished(
        &self,
        event: &RunEvent,
        status: RunStatus,
        troubles: &mut Troubles,
    ) -> Result<Vec<Notice>, StorageError> {
        let mut notices = vec![self.notice(NoticeKind::RunFinished, event)];
        if status == RunStatus::Error {
            let mut notice = self.notice(NoticeKind::PlatformError, event);
            notice.dedup_key = format!("error:{}", self.run.spec.suite);
            notice.message.clone_from(&self.run.message);
            notices.push(notice);
        }
        for (kind, dedup_key, trouble) in troubles.of_run(&self.run, event.at)? {
            let mut notice = self.notice(kind, event);
            notice.dedup_key = dedup_key;
            notice.trouble = Some(trouble);
            notices.push(notice);
        }
        for (test, trouble) in troubles.became_flaky(&self.run, event.at)? {
            let mut notice = self.notice(NoticeKind::TestFlaky, event);
            notice.dedup_key = format!("flaky:{}:{test}", self.run.spec.suite);
            notice.test = self.test(&test);
            notice.trouble = Some(trouble);
            notices.push(notice);
        }
        let failures = NoticeTest::failures(&self.run);
        let failures: Vec<_> = failures.iter().filter_map(|test| self.test(&test.name)).collect();
        for notice in &mut notices {
            notice.failures.clone_from(&failures);
        }
        Ok(notices)
    }
}

/// What the version of a run says of its suite.
#[derive(Default)]
pub(super) struct Said {
    labels: BTreeMap<String, String>,
    owner: Option<String>,
    links: Vec<Link>,
    tags: HashMap<String, Vec<String>>,
}

impl Said {
    pub(super) fn of(storage: &Storage, run: &Run) -> Result<Self, StorageError> {
        let version = storage.version(&run.spec.suite, &run.spec.version)?;
        let Some(description) = version.map(|version| version.description) else {
            return Ok(Self::default());
        };
        let labels = description.labels.into_iter().map(|label| (label.key, label.value));
        let tagged = description.tests.into_iter().filter(|test| !test.tags.is_empty());
        Ok(Self {
            labels: labels.collect(),
            owner: description.owner,
            links: description.links,
            tags: tagged.map(|test| (test.name, test.tags)).collect(),
        })
    }

    /// The run as a plugin is told of it.
    pub(super) fn run(&self, run: &Run, base: &str) -> NoticeRun {
        let (labels, owner) = (self.labels.clone(), self.owner.clone());
        NoticeRun { labels, owner, ..NoticeRun::of(run, base) }
    }

    /// The same of a test, but for the traces of its requests.
    pub(super) fn test(&self, run: &Run, name: &str) -> Option<NoticeTest> {
        let last = run.test(name).and_then(|test| test.attempts.last());
        let print = last.and_then(Fingerprint::of);
        Some(NoticeTest {
            tags: self.tags.get(name).cloned().unwrap_or_default(),
            group: print.map(|print| hex::encode(print.id)),
            ..NoticeTest::of(run, name)?
        })
    }
}

/// The traces of the requests of the last attempt at a test.
pub(super) fn traces(
    storage: &Storage,
    run: &Run,
    test: &str,
) -> Result<Vec<String>, StorageError> {
    let last = run.test(test).and_then(|test| test.attempts.last());
    let Some(last) = last else { return Ok(Vec::new()) };
    let stage = Stage::Test(test.to_owned());
    let detail = storage.detail(run.spec.id, &stage, last.round, last.number)?;
    let exchanges = detail.into_iter().flat_map(|detail| detail.exchanges);
    Ok(exchanges.filter_map(|exchange| exchange.trace_id).take(TRACES).collect())
}

/// A notice about nothing yet.
pub(super) fn blank(event: NoticeKind, at: Timestamp) -> Notice {
    Notice {
        id: RunId::new(),
        event,
        at,
        dedup_key: String::new(),
        run: None,
        suite: None,
        test: None,
        failures: Vec::new(),
        trouble: None,
        schedule: None,
        plugin: None,
        message: None,
        links: Vec::new(),
    }
}

fn disabled(plugin: &Name, at: Timestamp, reason: &str) -> Notice {
    let mut notice = blank(NoticeKind::PluginDisabled, at);
    notice.dedup_key = format!("plugin:{plugin}");
    notice.plugin = Some(plugin.clone());
    notice.message = Some(reason.to_owned());
    notice
}

/// What a plugin is told to try it out.
pub(super) fn trial(message: Option<String>, base: &str) -> Notice {
    let mut notice = blank(NoticeKind::Trial, Timestamp::now());
    notice.dedup_key = format!("trial:{}", notice.id);
    notice.message = message;
    notice.links = vec![Link { title: "Server".into(), url: base.to_owned() }];
    notice
}
