//! Plugins, what they are told, what they keep, and what they said of runs.
//!
//! The journal is written with the events themselves, in the same batch: so nothing that a plugin is to hear is
//! lost, whenever the process is killed. It is short: whoever deals with it (`plugins::router`) takes its
//! entries off in order and stores in one batch what follows from them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::batch::Batch;
use super::durable::Database;
use super::message::{Change, PluginChange};
use super::{Made, Page, Paged, Shared, Storage, StorageError, cursor, keys, record, values};
use crate::model::{
    Annotation, Delivery, DeliveryStatus, DueOutcome, DueRow, EventKind, Gated, Kept, Name,
    NoticeKind, NoticeTrouble, Plugin, RunEvent, RunId, Schedule, Stage, SuiteId,
};

/// Something that plugins may have to hear of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum JournalEntry {
    /// An event of a run.
    Event {
        /// The run.
        run: RunId,
        /// The event's number in the run.
        seq: u64,
    },
    /// A time of a schedule that started no run, and should have.
    Missed {
        /// The schedule.
        schedule: Name,
        /// The suite that it runs; none in entries of an earlier version.
        #[serde(default)]
        suite: Option<SuiteId>,
        /// What it tests.
        #[serde(default)]
        reference: Option<String>,
        /// The time.
        due_at: Timestamp,
        /// Why.
        reason: Option<String>,
    },
    /// A plugin that failed again and again.
    Disabled {
        /// The plugin.
        plugin: Name,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}

/// The most deliveries whose annotations are shown of a run.
const MAX_ANNOTATED: usize = 200;

/// How far the journal was dealt with, and which number the next delivery has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routing {
    /// The last entry of the journal that was dealt with.
    pub through: u64,
    /// The highest number of a delivery.
    pub deliveries: u64,
}

/// A suite that fails: which suite, and which of its runs, by what they were restricted to.
pub type Scope = (SuiteId, String);

/// What follows from entries of the journal. Stored whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Routed {
    /// The entries that are dealt with.
    pub entries: Vec<u64>,
    /// How far it is dealt with.
    pub routing: Routing,
    /// What plugins are to hear.
    pub deliveries: Vec<Delivery>,
    /// Troubles that began, went on, or ended.
    pub troubles: Vec<(Scope, Option<NoticeTrouble>)>,
    /// For how many notices there was no room, by plugin.
    pub missed: Vec<(Name, u64)>,
}

/// What became of a delivery.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The delivery as it is from now on.
    pub delivery: Delivery,
    /// What the plugin wants kept.
    pub kept: Kept,
    /// What it said of the run.
    pub annotations: Vec<Annotation>,
    /// Older deliveries that are forgotten.
    pub forgotten: Vec<u64>,
}

/// Which events are journaled, and how many were.
#[derive(Default)]
pub(super) struct Journal {
    /// One bit for each [`NoticeKind`].
    wanted: AtomicU32,
    /// The number of the last entry.
    last: AtomicU64,
    /// The last entry that is durable.
    durable: AtomicU64,
    /// Tells whoever deals with it that there is more.
    changed: Notify,
}

fn bit(kind: NoticeKind) -> u32 {
    1 << kind as u32
}

impl Journal {
    pub(super) fn open(database: &Database) -> Result<Self, StorageError> {
        let last = match database.scan(keys::JOURNAL).keys().next_back().transpose()? {
            Some(key) => keys::read_journal(&key).unwrap_or_default(),
            None => 0,
        };
        let last = last.max(routing(database)?.through);
        let (last, durable) = (AtomicU64::new(last), AtomicU64::new(last));
        Ok(Self { wanted: AtomicU32::new(0), last, durable, changed: Notify::new() })
    }

    /// Adds the event to the batch if a plugin may have to hear of it.
    pub(super) fn note(
        &self,
        writes: &mut sled::Batch,
        event: &RunEvent,
    ) -> Result<(), StorageError> {
        let kind = match &event.kind {
            EventKind::RunQueued { .. } => NoticeKind::RunQueued,
            EventKind::RunStarted => NoticeKind::RunStarted,
            EventKind::AttemptFinished { stage: Stage::Test(_), .. } => NoticeKind::AttemptFinished,
            EventKind::TestFinished { .. } => NoticeKind::TestFinished,
            EventKind::RunFinished { .. } => NoticeKind::RunFinished,
            _ => return Ok(()),
        };
        if self.wanted.load(Ordering::Acquire) & bit(kind) == 0 {
            return Ok(());
        }
        let entry = JournalEntry::Event { run: event.run_id, seq: event.seq };
        self.add(writes, &entry)
    }

    /// Adds to the batch what became of a time of a schedule, if plugins may have to hear of it.
    pub(super) fn note_due(
        &self,
        writes: &mut sled::Batch,
        schedule: &Schedule,
        row: &DueRow,
    ) -> Result<(), StorageError> {
        let missed = matches!(row.outcome, DueOutcome::Missed | DueOutcome::Failed);
        if !missed || self.wanted.load(Ordering::Acquire) & bit(NoticeKind::ScheduleMissed) == 0 {
            return Ok(());
        }
        let entry = JournalEntry::Missed {
            schedule: schedule.name.clone(),
            suite: Some(schedule.spec.suite.clone()),
            reference: schedule.spec.request.reference.clone(),
            due_at: row.due_at,
            reason: row.reason.clone(),
        };
        self.add(writes, &entry)
    }

    fn add(&self, writes: &mut sled::Batch, entry: &JournalEntry) -> Result<(), StorageError> {
        let number = self.last.fetch_add(1, Ordering::AcqRel) + 1;
        writes.insert(keys::journal(number), record::encode(entry)?);
        Ok(())
    }

    /// The batch with the last entry is durable.
    pub(super) fn stored(&self) {
        let last = self.last.load(Ordering::Acquire);
        if self.durable.swap(last, Ordering::AcqRel) != last {
            self.changed.notify_one();
        }
    }
}

impl Storage {
    /// Journals events of these kinds from now on, and no others.
    pub fn journal(&self, kinds: impl IntoIterator<Item = NoticeKind>) {
        let wanted = kinds.into_iter().map(bit).fold(0, |all, one| all | one);
        self.shared().journal.wanted.store(wanted, Ordering::Release);
    }

    /// Resolves when there may be more in the journal than when this was called.
    pub async fn journal_changed(&self) {
        self.shared().journal.changed.notified().await;
    }

    /// Entries of the journal behind `after` that are durable, in order, with their numbers.
    pub fn journaled(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, JournalEntry)>, StorageError> {
        let shared = self.shared();
        let durable = shared.journal.durable.load(Ordering::Acquire);
        let bounds =
            keys::journal(after.saturating_add(1))..keys::journal(durable.saturating_add(1));
        let mut entries = Vec::new();
        for entry in shared.database.range(bounds).take(limit) {
            let (key, value) = entry?;
            let number = keys::read_journal(&key)
                .ok_or_else(|| StorageError::Damaged("a key of the journal".into()))?;
            entries.push((number, record::decode(&value)?));
        }
        Ok(entries)
    }

    /// How many entries of the journal were not dealt with yet.
    pub fn journal_behind(&self) -> Result<u64, StorageError> {
        let durable = self.shared().journal.durable.load(Ordering::Acquire);
        Ok(durable.saturating_sub(self.routing()?.through))
    }

    /// How far the journal was dealt with.
    pub fn routing(&self) -> Result<Routing, StorageError> {
        routing(&self.shared().database)
    }

    /// Every plugin, by name.
    pub fn plugins(&self) -> Result<Vec<Plugin>, StorageError> {
        installed(&self.shared().database)
    }

    /// One plugin.
    pub fn plugin(&self, name: &Name) -> Result<Option<Plugin>, StorageError> {
        plugin(&self.shared().database, name)
    }

    /// Stores a plugin, with its component if that is new, and for which key. Durable when it returns.
    pub async fn put_plugin(
        &self,
        plugin: Plugin,
        component: Option<Bytes>,
        made: Option<Made>,
    ) -> Result<(), StorageError> {
        let plugin = Box::new(plugin);
        let put = PluginChange::Put { plugin, component, broke: None };
        self.change(Change::Plugin(put, made)).await.map(drop)
    }

    /// Stores a plugin that is disabled because it failed again and again, and that others are to hear so.
    pub async fn disable_plugin(&self, plugin: Plugin, reason: String) -> Result<(), StorageError> {
        let plugin = Box::new(plugin);
        let put = PluginChange::Put { plugin, component: None, broke: Some(reason) };
        self.change(Change::Plugin(put, None)).await.map(drop)
    }

    /// Forgets a plugin with all that it kept and was told; what it said of runs stays. False if there was
    /// none.
    pub async fn delete_plugin(&self, name: &Name) -> Result<bool, StorageError> {
        self.change(Change::Plugin(PluginChange::Delete { name: name.clone() }, None)).await
    }

    /// Stores what follows from the journal, or what a plugin is told for a key.
    pub async fn route(&self, routed: Routed, made: Option<Made>) -> Result<(), StorageError> {
        // Here, and not in the committing thread, for which runs wait.
        let records = routed.deliveries.iter().map(record::encode).collect::<Result<_, _>>()?;
        let change = PluginChange::Routed(Box::new(routed), records);
        self.change(Change::Plugin(change, made)).await.map(drop)
    }

    /// Stores what became of a delivery, or that it is to be told again for a key. False if it is not there any
    /// more.
    pub async fn settle(&self, settled: Settled, made: Option<Made>) -> Result<bool, StorageError> {
        let record = record::encode(&settled.delivery)?;
        self.change(Change::Plugin(PluginChange::Settled(Box::new(settled), record), made)).await
    }

    /// The deliveries of a plugin that wait, in order: their numbers and the suites that they are about.
    pub fn waiting_deliveries(&self, name: &Name) -> Result<Vec<(u64, String)>, StorageError> {
        let start = keys::waiting(name);
        let mut waiting = Vec::new();
        for entry in self.shared().database.scan(&start) {
            let (key, suite) = entry?;
            let number = keys::read_number(&key[start.len()..]);
            waiting.extend(number.map(|number| (number, String::from_utf8_lossy(&suite).into())));
        }
        Ok(waiting)
    }

    /// The numbers of all deliveries of a plugin, the newest first.
    pub fn delivery_numbers(&self, name: &Name) -> Result<Vec<u64>, StorageError> {
        let start = keys::plugin_deliveries(name);
        let keys = self.shared().database.scan(&start).keys();
        let mut numbers = Vec::new();
        for key in keys {
            numbers.extend(keys::read_number(&key?[start.len()..]).map(|number| !number));
        }
        Ok(numbers)
    }

    /// One delivery.
    pub fn delivery(&self, name: &Name, number: u64) -> Result<Option<Delivery>, StorageError> {
        delivery(&self.shared().database, name, number)
    }

    /// Deliveries of a plugin, the newest first.
    pub fn deliveries(&self, name: &Name, page: &Page) -> Result<Paged<Delivery>, StorageError> {
        let database = &self.shared().database;
        cursor::page(
            database,
            &keys::plugin_deliveries(name),
            page,
            |rest| match keys::read_number(rest) {
                Some(inverted) => delivery(database, name, !inverted),
                None => Ok(None),
            },
        )
    }

    /// What a plugin keeps.
    pub fn plugin_values(&self, name: &Name) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let start = keys::kept(name);
        let database = &self.shared().database;
        let mut kept = Vec::new();
        for key in database.scan(&start).keys() {
            let key = key?;
            let value = values::get(database, &key)?;
            let name = String::from_utf8_lossy(&key[start.len()..]).into_owned();
            kept.extend(value.map(|value| (name, value.to_vec())));
        }
        Ok(kept)
    }

    /// The troubles that a suite is in.
    pub fn troubles(&self, suite: &SuiteId) -> Result<Vec<(String, NoticeTrouble)>, StorageError> {
        let start = keys::troubles(suite);
        let mut troubles = Vec::new();
        for entry in self.shared().database.scan(&start) {
            let (key, value) = entry?;
            let scope = String::from_utf8_lossy(&key[start.len()..]).into_owned();
            troubles.push((scope, record::decode(&value)?));
        }
        Ok(troubles)
    }

    /// Stores what the gates said to a run.
    pub async fn put_gated(&self, run: RunId, gated: Gated) -> Result<(), StorageError> {
        let gated = Box::new(gated);
        self.change(Change::Plugin(PluginChange::Gated { run, gated }, None)).await.map(drop)
    }

    /// What the gates said to a run; none if none was asked.
    pub fn gated(&self, run: RunId) -> Result<Option<Gated>, StorageError> {
        let record = values::get(&self.shared().database, &keys::gated(run))?;
        record.map(|bytes| record::decode(&bytes)).transpose()
    }

    /// What plugins said of a run, in order, each with the plugin's name.
    pub fn annotations(&self, run: RunId) -> Result<Vec<(Name, Annotation)>, StorageError> {
        let database = &self.shared().database;
        let mut all = self.gated(run)?.map(|gated| gated.said).unwrap_or_default();
        for key in database.scan(&keys::annotations(run)).keys().take(MAX_ANNOTATED) {
            if let Some(record) = values::get(database, &key?)? {
                let (plugin, said): (Name, Vec<Annotation>) = record::decode(&record)?;
                all.extend(said.into_iter().map(|annotation| (plugin.clone(), annotation)));
            }
        }
        Ok(all)
    }
}

fn routing(database: &Database) -> Result<Routing, StorageError> {
    let record = database.get_raw(keys::ROUTING)?;
    Ok(record.map(|bytes| record::decode(&bytes)).transpose()?.unwrap_or_default())
}

pub(super) fn installed(database: &Database) -> Result<Vec<Plugin>, StorageError> {
    let records = database.scan(keys::PLUGINS).keys().map(|key| {
        let record = values::get(database, &key?)?;
        record.map(|bytes| record::decode(&bytes)).transpose()
    });
    records.filter_map(Result::transpose).collect()
}

fn plugin(database: &Database, name: &Name) -> Result<Option<Plugin>, StorageError> {
    let record = values::get(database, &keys::plugin(name))?;
    record.map(|bytes| record::decode(&bytes)).transpose()
}

fn delivery(
    database: &Database,
    name: &Name,
    number: u64,
) -> Result<Option<Delivery>, StorageError> {
    let record = values::get(database, &keys::plugin_delivery(name, number))?;
    record.map(|bytes| record::decode(&bytes)).transpose()
}

/// Puts a record in place of one that may be there.
fn replace(
    database: &Database,
    writes: &mut sled::Batch,
    key: &[u8],
    record: &[u8],
) -> Result<(), StorageError> {
    values::remove(database, writes, key)?;
    values::put(writes, key, record);
    Ok(())
}

/// Adds a change to the batch; false if there was nothing to change.
pub(super) fn stage(
    shared: &Shared,
    batch: &mut Batch,
    change: PluginChange,
) -> Result<bool, StorageError> {
    let database = &shared.database;
    match change {
        PluginChange::Put { mut plugin, broke, .. } => {
            if let Some(reason) = broke {
                let (plugin, at) = (plugin.name.clone(), plugin.updated_at);
                let entry = JournalEntry::Disabled { plugin, at, reason };
                shared.journal.add(&mut batch.writes, &entry)?;
            }
            let before = self::plugin(database, &plugin.name)?;
            batch.needs(plugin.digest, 1);
            before.iter().for_each(|before| batch.needs(before.digest, -1));
            // Counted where notices are stored.
            plugin.missed = before.map_or(0, |before| before.missed);
            let key = keys::plugin(&plugin.name);
            replace(database, &mut batch.writes, &key, &record::encode(&*plugin)?)?;
            Ok(true)
        }
        PluginChange::Delete { name } => stage_removal(database, batch, &name),
        PluginChange::Routed(routed, records) => {
            stage_routed(database, &mut batch.writes, *routed, &records)
        }
        PluginChange::Gated { run, gated } => {
            let record = record::encode(&*gated)?;
            replace(database, &mut batch.writes, &keys::gated(run), &record)?;
            Ok(true)
        }
        PluginChange::Settled(settled, record) => stage_settled(database, batch, *settled, &record),
    }
}

fn stage_removal(
    database: &Database,
    batch: &mut Batch,
    name: &Name,
) -> Result<bool, StorageError> {
    let Some(before) = plugin(database, name)? else { return Ok(false) };
    batch.needs(before.digest, -1);
    values::remove(database, &mut batch.writes, &keys::plugin(name))?;
    for start in [keys::waiting(name), keys::plugin_deliveries(name), keys::kept(name)] {
        for key in database.scan(&start).keys() {
            values::remove(database, &mut batch.writes, &key?)?;
        }
    }
    Ok(true)
}

fn stage_routed(
    database: &Database,
    writes: &mut sled::Batch,
    routed: Routed,
    records: &[Vec<u8>],
) -> Result<bool, StorageError> {
    let Routed { entries, routing, deliveries, troubles, missed } = routed;
    for number in entries {
        writes.remove(keys::journal(number));
    }
    writes.insert(keys::ROUTING, record::encode(&routing)?);
    for (delivery, record) in deliveries.iter().zip(records) {
        // None of these is there yet.
        values::put(writes, &keys::plugin_delivery(&delivery.plugin, delivery.number), record);
        put_waiting(writes, delivery);
    }
    for ((suite, scope), trouble) in troubles {
        let key = keys::trouble(&suite, &scope);
        match trouble {
            Some(trouble) => writes.insert(key, record::encode(&trouble)?),
            None => writes.remove(key),
        }
    }
    for (name, more) in missed {
        if let Some(mut plugin) = plugin(database, &name)? {
            plugin.missed += more;
            let key = keys::plugin(&name);
            replace(database, writes, &key, &record::encode(&plugin)?)?;
        }
    }
    Ok(true)
}

/// Whether a delivery waits.
fn put_waiting(writes: &mut sled::Batch, delivery: &Delivery) {
    let waiting = keys::waits(&delivery.plugin, delivery.number);
    match delivery.status {
        DeliveryStatus::Pending => writes.insert(waiting, delivery.lane().as_bytes()),
        DeliveryStatus::Delivered | DeliveryStatus::SetAside => writes.remove(waiting),
    }
}

fn stage_settled(
    database: &Database,
    batch: &mut Batch,
    settled: Settled,
    record: &[u8],
) -> Result<bool, StorageError> {
    let Settled { delivery, kept, annotations, forgotten } = settled;
    let name = &delivery.plugin;
    let run = delivery.notice.run.as_ref().map(|run| run.id).filter(|_| !annotations.is_empty());
    // A delivery may be told for longer than its run is kept: what is said then would stay for ever.
    let run = match run {
        Some(run) if batch.gone.contains(&run) => None,
        Some(run) => database.get_raw(&keys::run(run))?.map(|_| run),
        None => None,
    };
    let writes = &mut batch.writes;
    if database.get_raw(&keys::plugin(name))?.is_none() {
        return Ok(false);
    }
    replace(database, writes, &keys::plugin_delivery(name, delivery.number), record)?;
    put_waiting(writes, &delivery);
    for number in forgotten {
        // It waits again since.
        if database.get_raw(&keys::waits(name, number))?.is_some() {
            continue;
        }
        values::remove(database, writes, &keys::plugin_delivery(name, number))?;
    }
    for (value, content) in kept {
        let key = [keys::kept(name).as_slice(), value.as_bytes()].concat();
        values::remove(database, writes, &key)?;
        if let Some(content) = content {
            values::put(writes, &key, &content);
        }
    }
    if let Some(run) = run {
        let key = keys::annotation(run, delivery.number);
        replace(database, writes, &key, &record::encode(&(name, annotations))?)?;
    }
    Ok(true)
}
