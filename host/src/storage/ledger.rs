//! The committing thread. It alone writes: it takes whatever waits, stores it in one batch with one
//! durable flush, tells the listener, and then answers. So the more is asked at once, the less a
//! flush costs each.
//!
//! While there is no room on the disk, requests for new work are refused, and the progress of runs
//! that were accepted is kept and tried again; the bounded queue then holds the executors back.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc;

use super::batch::{Batch, Standings};
use super::components::Users;
use super::health::State;
use super::idempotency::Keys;
use super::message::{Change, ChangeReply, EventReply, Message, PluginChange};
use super::{EarlierAnswer, IdempotencyKey};
use super::{
    OnStored, Shared, StorageError, fixtures, marks, pins, plugins, retention, schedules, suites,
    transfer, triggers,
};
use crate::model::SuiteVersion;

/// The most messages in one batch, so that those who came first do not wait for all who came after. Not
/// a setting: the queue in front, `storage.queue`, is what bounds memory, and more would share a flush
/// that a thousand share already.
const BATCH_MESSAGES: usize = 1024;
/// The most bytes in one batch, less its last message: eight of sled's segments of 512 KiB. sled holds a
/// batch in memory until it is written, beside what waits, which `storage.queue_bytes` bounds.
const BATCH_BYTES: usize = 4 << 20;
/// How long events that nobody waits for wait for others to share their flush. A flush costs as much for
/// one event as for a thousand, and sled wakes seven threads for each. Not a setting: it delays nobody who
/// waits, and watchers by less than they would notice; and the queue is emptied before it is full.
const COMPANY_WAIT: Duration = Duration::from_millis(20);
/// How long to wait for room on the disk before looking again: soon for whoever made room, and no load
/// on a machine that is in trouble already.
const ROOM_WAIT: Duration = Duration::from_millis(100);

/// While the disk is full, runs are still forgotten as long as this part of `storage.min_free_bytes` is free: to
/// forget is to write, too.
const ROOM_TO_FORGET: u64 = 4;

/// How much less the scheduler of the operating system favours the threads that make large details ready: less
/// than those that run guests. A run waits for the detail of each of its attempts, so they cannot fall
/// far behind.
const DETAILS_NICE: i32 = 10;

/// The state of the committing thread.
pub(super) struct Ledger {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Message>,
    /// Lets the thread wait for the queue and for a time at once. See [`runtime`].
    clock: Runtime,
    on_stored: OnStored,
    /// Taken from the queue, not yet stored.
    backlog: VecDeque<Message>,
    standings: Standings,
    keys: Keys,
    components: Users,
}

/// An answer that is given when the batch is durable.
enum Answer {
    Event(EventReply, Result<u64, StorageError>),
    Change(ChangeReply, Result<bool, StorageError>),
}

/// The runtime of the committing thread, and of up to `details` threads that make large details ready. Those give
/// way to guests: attempts with much to tell tend to end together, and others have their deadline then.
pub(super) fn runtime(details: usize) -> std::io::Result<Runtime> {
    runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(details.max(1))
        .thread_name("details")
        .on_thread_start(|| {
            if let Err(error) = rustix::process::nice(DETAILS_NICE) {
                tracing::debug!(%error, "details are made ready with the server's own priority");
            }
        })
        .build()
}

impl Ledger {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Message>,
        clock: Runtime,
        on_stored: OnStored,
        components: Users,
    ) -> Self {
        let keys = Keys::open(&shared.database);
        let (backlog, standings) = (VecDeque::new(), Standings::default());
        Self { shared, queue, clock, on_stored, backlog, standings, keys, components }
    }

    /// Runs until the store is closed or every handle is gone, and all that was queued is stored.
    pub(super) fn run(mut self) {
        while self.take_what_waits() {
            if let Err(broken) = self.shared.health.usable() {
                self.fail_backlog(&broken);
            } else if let Err(error) = self.shared.check_room() {
                self.make_room();
                self.wait_for_room(&error);
            } else {
                let batch = self.next_batch();
                if self.backlog.is_empty() {
                    // Nothing waits for room any more. Said before the answers: whoever has one may ask
                    // for new work at once.
                    self.shared.health.set(State::Good);
                }
                self.store(batch);
            }
        }
        self.shared.health.set(State::Closed);
    }

    /// Fills the backlog; waits only if it is empty. False at the end.
    fn take_what_waits(&mut self) -> bool {
        if self.backlog.is_empty() {
            match self.clock.block_on(self.queue.recv()) {
                Some(message) => self.take(message),
                None => return false,
            }
        }
        // What was urgent before is in the queue by now.
        let _ = self.shared.urgent.notified().now_or_never();
        self.take_queued();
        if !self.backlog.iter().any(Message::is_urgent) {
            // Not by waiting for the queue: each message would wake this thread.
            let urgent = self.shared.urgent.notified();
            let company = async { tokio::time::timeout(COMPANY_WAIT, urgent).await };
            // Whether somebody came who waits, or the time is over, makes no difference.
            let _ = self.clock.block_on(company);
            self.take_queued();
        }
        true
    }

    fn take_queued(&mut self) {
        while self.backlog.len() < BATCH_MESSAGES {
            let Ok(message) = self.queue.try_recv() else { break };
            self.take(message);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            // What is in the queue is still received.
            Message::Close => self.queue.close(),
            message => self.backlog.push_back(message),
        }
    }

    fn fail_backlog(&mut self, error: &StorageError) {
        self.backlog.drain(..).for_each(|message| message.fail(error));
    }

    /// Stores what makes room, as long as there is a little left to write that in.
    fn make_room(&mut self) {
        let least = self.shared.settings.min_free_bytes / ROOM_TO_FORGET;
        let (freeing, kept) = self.backlog.drain(..).partition(Message::frees);
        self.backlog = kept;
        let freeing: VecDeque<Message> = freeing;
        for message in freeing {
            match (self.shared.free_space)() {
                Ok(free) if free >= least => self.store(vec![message]),
                Ok(_) => message.fail(&StorageError::Full),
                Err(error) => message.fail(&error.into()),
            }
        }
    }

    /// Refuses requests for new work, keeps the rest, and waits a little if there is any.
    fn wait_for_room(&mut self, error: &StorageError) {
        if self.shared.closing.load(Ordering::Acquire) {
            return self.fail_backlog(error);
        }
        let (refused, kept): (VecDeque<_>, _) =
            self.backlog.drain(..).partition(Message::may_be_refused);
        refused.into_iter().for_each(|message| message.fail(error));
        self.backlog = kept;
        if !self.backlog.is_empty() {
            if self.shared.health.check().is_ok() {
                self.shared.metrics.server_limit_hit("storage.min_free_bytes");
            }
            self.shared.health.set(State::Waiting(error.again()));
            std::thread::park_timeout(ROOM_WAIT);
        }
    }

    /// Takes the next batch off the backlog: bounded by number and bytes, and with at most one change
    /// of each suite and schedule, as a change looks at what is stored.
    fn next_batch(&mut self) -> Vec<Message> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut changed = HashSet::new();
        while batch.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            if let Some(Message::Change(change, _)) = self.backlog.front()
                && !changed.insert(change.subject())
            {
                break;
            }
            let Some(message) = self.backlog.pop_front() else { break };
            bytes += message.bytes();
            batch.push(message);
        }
        batch
    }

    fn store(&mut self, messages: Vec<Message>) {
        if let Err(error) = self.write_files(&messages) {
            tracing::error!(%error, "failed to write a file; trying again");
            messages.into_iter().rev().for_each(|it| self.backlog.push_front(it));
            return self.wait_for_room(&error.into());
        }
        // A panic in here leaves a store of which nothing is known, as a failed write does.
        let stored = catch_unwind(AssertUnwindSafe(|| self.commit(messages)));
        if stored.is_err() {
            self.shared.health.set(State::Broken("the committing thread panicked".into()));
        }
    }

    fn write_files(&self, messages: &[Message]) -> std::io::Result<()> {
        for message in messages {
            match message {
                Message::Append(append, _) => self.shared.artifacts.put_all(&append.contents)?,
                Message::Change(Change::PutVersion { version, component, .. }, _) => {
                    self.shared.components.put(&version.digest, component)?;
                }
                Message::Change(
                    Change::PutFixtures { fixtures: Some((fixtures, archive)), .. },
                    _,
                ) => self.shared.components.put(&fixtures.digest, archive)?,
                Message::Change(
                    Change::Plugin(PluginChange::Put { plugin, component: Some(component), .. }, _),
                    _,
                ) => self.shared.components.put(&plugin.digest, component)?,
                Message::Change(Change::Restore { restored, .. }, _) => {
                    transfer::write_files(&self.shared, restored)?;
                }
                Message::Change(..) | Message::Close => {}
            }
        }
        Ok(())
    }

    /// Stores a batch whose files are written, and answers. Whoever waits hears of the failure too
    /// if this panics: the answers are dropped.
    fn commit(&mut self, messages: Vec<Message>) {
        let mut batch = Batch::new();
        let mut rooms = Vec::with_capacity(messages.len());
        let mut answers = Vec::with_capacity(messages.len());
        for message in messages {
            match message {
                Message::Append(mut append, reply) => {
                    rooms.extend(append.room.take());
                    let added = batch.add(&self.shared, &mut self.standings, *append);
                    answers.push(Answer::Event(reply, added));
                }
                Message::Change(change, reply) => {
                    let staged = self.stage(&mut batch, change);
                    answers.push(Answer::Change(reply, staged));
                }
                Message::Close => {}
            }
        }
        match self.flush(batch) {
            Ok(()) => answers.into_iter().for_each(Answer::give),
            Err(error) => {
                tracing::error!(%error, "failed to store a batch; the store takes no more");
                self.shared.health.set(State::Broken(error.to_string()));
                answers.into_iter().for_each(|answer| answer.fail(&error));
            }
        }
    }

    fn stage(&self, batch: &mut Batch, change: Change) -> Result<bool, StorageError> {
        let database = &self.shared.database;
        match change {
            Change::PutVersion { version, key, .. } => self.stage_version(batch, *version, key),
            Change::PutPolicy { suite, before, policy } => {
                let writes = &mut batch.writes;
                suites::stage_policy(database, writes, &suite, before.as_deref(), &policy)
            }
            Change::PutFixtures { suite, version, fixtures: given } => {
                let given = given.as_ref().map(|(fixtures, _)| fixtures.as_ref());
                let writes = &mut batch.writes;
                let before = fixtures::stage(database, writes, &suite, &version, given)?;
                given.into_iter().for_each(|given| batch.needs(given.digest, 1));
                before.iter().for_each(|before| batch.needs(before.digest, -1));
                Ok(before.is_some())
            }
            Change::Mark { suite, test, mark } => {
                let mark = mark.map(|mark| *mark);
                marks::stage(&self.shared, &mut batch.writes, &suite, test, mark)
            }
            Change::Delete { suite } => {
                let mut gone = Vec::new();
                let writes = &mut batch.writes;
                let found =
                    suites::stage_removal(database, writes, &suite, |digest| gone.push(digest))?;
                gone.into_iter().for_each(|digest| batch.needs(digest, -1));
                Ok(found)
            }
            Change::PutSchedule { dealt, key } => {
                if let Some(key) = &key {
                    batch.check_key(&self.shared, key)?;
                    let schedule = dealt.schedule.name.clone();
                    batch.remember(key, EarlierAnswer::Schedule { schedule });
                }
                schedules::stage(&self.shared, batch, *dealt).map(|()| true)
            }
            Change::DeleteSchedule { schedule } => {
                schedules::stage_removal(database, &mut batch.writes, &schedule)
            }
            Change::PutTrigger { called, key } => {
                if let Some(key) = &key {
                    batch.check_key(&self.shared, key)?;
                    let trigger = called.trigger.name.clone();
                    batch.remember(key, EarlierAnswer::Trigger { trigger });
                }
                triggers::stage(&self.shared, batch, *called).map(|()| true)
            }
            Change::DeleteTrigger { trigger } => {
                triggers::stage_removal(database, &mut batch.writes, &trigger)
            }
            Change::Restore { suite, restored } => {
                transfer::stage(&self.shared, batch, suite, restored)
            }
            Change::Pin { run, pin } => pins::stage(&self.shared, batch, run, pin),
            Change::Forget { parts, freed } => {
                retention::stage(&self.shared, batch, parts, &freed).map(|()| true)
            }
            Change::Sweep { files, freed } => {
                batch.loose.extend(files.into_iter().map(|file| (file, freed.clone())));
                Ok(true)
            }
            Change::Plugin(change, made) => {
                if let Some((key, made)) = made {
                    batch.check_key(&self.shared, &key)?;
                    batch.remember(&key, made);
                }
                plugins::stage(&self.shared, batch, change)
            }
        }
    }

    fn stage_version(
        &self,
        batch: &mut Batch,
        version: SuiteVersion,
        key: Option<IdempotencyKey>,
    ) -> Result<bool, StorageError> {
        // Its file is there by now. If it is not stored, and nobody else needs it, it goes again.
        batch.needs(version.digest, 0);
        if let Some(key) = &key {
            batch.check_key(&self.shared, key)?;
        }
        let (new, inherited) =
            suites::stage_version(&self.shared.database, &mut batch.writes, &version)?;
        inherited.into_iter().for_each(|fixtures| batch.needs(fixtures.digest, 1));
        let SuiteVersion { suite, digest: version, .. } = version;
        batch.needs(version, i64::from(new));
        if let Some(key) = key {
            batch.remember(&key, EarlierAnswer::Version { suite, version, new });
        }
        Ok(new)
    }

    fn flush(&mut self, mut batch: Batch) -> Result<(), StorageError> {
        let shared = &self.shared;
        batch.finish(shared, &mut self.keys)?;
        shared.pending.begin(batch.before(), batch.records_before());
        shared.database.commit(std::mem::take(&mut batch.writes))?;
        shared.pending.end();
        shared.journal.stored();
        self.components.change(batch.components(), &shared.components);
        retention::remove_loose(shared, &self.components, std::mem::take(&mut batch.loose));
        let events = batch.stored(shared, &mut self.standings);
        if !events.is_empty() {
            // A listener that panics must not cost the runs their store.
            let told = catch_unwind(AssertUnwindSafe(|| (self.on_stored)(&events)));
            if told.is_err() {
                tracing::error!("failed to tell of stored events: the listener panicked");
            }
        }
        Ok(())
    }
}

impl Answer {
    fn give(self) {
        // Whoever no longer waits does not want to know.
        match self {
            Self::Event(reply, answer) => drop(reply.send(answer.map_err(Arc::new))),
            Self::Change(reply, answer) => drop(reply.send(answer)),
        }
    }

    fn fail(self, error: &StorageError) {
        match self {
            Self::Event(reply, _) => drop(reply.send(Err(Arc::new(error.again())))),
            Self::Change(reply, _) => drop(reply.send(Err(error.again()))),
        }
    }
}
