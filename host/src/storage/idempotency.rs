//! What was made for which Idempotency-Key, so that the same request asked twice is done once.
//! Forgotten after a time, or when there are too many, a few with each batch.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::durable::Database;
use super::{EarlierAnswer, IdempotencyKey, StorageError, StorageSettings, keys, record};
use crate::model::Digest;

/// What was made for a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) made: EarlierAnswer,
    /// The digest of the request that it was made for.
    pub(super) request: Digest,
    pub(super) at: Timestamp,
}

impl Answered {
    /// The answer to give to this request with the same key.
    pub(super) fn to(&self, request: &Digest) -> Result<EarlierAnswer, StorageError> {
        if self.request == *request { Ok(self.made.clone()) } else { Err(StorageError::KeyReused) }
    }
}

/// What stands for a key in the store; a key itself may be of any length.
pub(super) fn digest(key: &IdempotencyKey) -> Digest {
    Digest::of(key.key.as_bytes())
}

/// What was made for a key that is not yet forgotten.
pub(super) fn find(
    database: &Database,
    key: &Digest,
    settings: &StorageSettings,
    now: Timestamp,
) -> Result<Option<Answered>, StorageError> {
    let Some(bytes) = database.get_raw(&keys::idempotency(key))? else { return Ok(None) };
    let answered: Answered = record::decode(&bytes)?;
    Ok(if is_old(answered.at, settings, now) { None } else { Some(answered) })
}

fn is_old(at: Timestamp, settings: &StorageSettings, now: Timestamp) -> bool {
    let ttl = SignedDuration::from_millis(settings.idempotency_ttl_ms.min(i64::MAX as u64) as i64);
    now.duration_since(at) > ttl
}

/// How many keys are stored; the committing thread's own.
pub(super) struct Keys(u64);

impl Keys {
    /// Counts the keys in the store.
    pub(super) fn open(database: &Database) -> Self {
        Self(database.scan(keys::IDEMPOTENCY_BY_TIME).count() as u64)
    }

    /// Stores these with the batch, and forgets old ones: at least as many as are added, so that
    /// there are never many more than allowed. True if some are forgotten before their time.
    pub(super) fn stage<'a>(
        &mut self,
        database: &Database,
        batch: &mut sled::Batch,
        settings: &StorageSettings,
        added: impl ExactSizeIterator<Item = (&'a Digest, &'a Answered)>,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut early = false;
        self.0 += added.len() as u64;
        // First, so that a key that is forgotten and stored again stays.
        for entry in database.scan(keys::IDEMPOTENCY_BY_TIME).keys().take(2 * added.len()) {
            let entry = entry?;
            let Some((at, key)) = keys::read_idempotency_at(&entry[1..]) else { continue };
            if self.0 <= settings.idempotency_keys && !is_old(at, settings, now) {
                break;
            }
            batch.remove(entry);
            self.0 -= 1;
            early |= !is_old(at, settings, now);
            // A key that was stored again since has a newer entry in the list of times.
            let answered = database.get_raw(&keys::idempotency(&key))?;
            let answered = answered.and_then(|bytes| record::decode::<Answered>(&bytes).ok());
            if answered.is_none_or(|answered| keys::time(answered.at) == keys::time(at)) {
                batch.remove(keys::idempotency(&key));
            }
        }
        for (key, answered) in added {
            batch.insert(keys::idempotency(key), record::encode(answered)?);
            batch.insert(keys::idempotency_at(answered.at, key), &[]);
        }
        Ok(early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;
    use std::collections::HashMap;

    struct Store {
        _dir: tempfile::TempDir,
        database: Database,
        keys: Keys,
        settings: StorageSettings,
    }

    fn store(idempotency_ttl_ms: u64, idempotency_keys: u64) -> Store {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("db"), 1 << 20).unwrap();
        let keys = Keys::open(&database);
        let settings =
            StorageSettings { idempotency_ttl_ms, idempotency_keys, ..Default::default() };
        Store { _dir: dir, database, keys, settings }
    }

    impl Store {
        /// True if another was forgotten before its time.
        fn add(&mut self, key: &str, at: i64) -> bool {
            let at = Timestamp::from_second(at).unwrap();
            let request = Digest::of(b"request");
            let made = EarlierAnswer::Event { run: RunId::new(), seq: 1 };
            let answered = Answered { made, request, at };
            let added = HashMap::from([(Digest::of(key.as_bytes()), answered)]);
            let mut batch = sled::Batch::default();
            let Self { database, keys, settings, .. } = self;
            let early = keys.stage(database, &mut batch, settings, added.iter(), at).unwrap();
            database.commit(batch).unwrap();
            early
        }

        fn has(&self, key: &str, at: i64) -> bool {
            let at = Timestamp::from_second(at).unwrap();
            let key = Digest::of(key.as_bytes());
            find(&self.database, &key, &self.settings, at).unwrap().is_some()
        }
    }

    #[test]
    fn a_key_is_forgotten_after_its_time() {
        let mut store = store(10_000, 100);
        store.add("a", 100);
        assert!(store.has("a", 110));
        assert!(!store.has("a", 111));
        assert!(!store.add("b", 111));
        assert_eq!(store.keys.0, 1);
        assert_eq!(store.database.scan(b"k").count(), 1);
    }

    #[test]
    fn a_key_that_is_stored_again_after_its_time_stays() {
        let mut store = store(10_000, 100);
        store.add("a", 100);
        store.add("a", 111);
        assert!(store.has("a", 111));
        store.add("b", 112);
        assert!(store.has("a", 112));
        assert_eq!(store.keys.0, 2);
    }

    #[test]
    fn the_oldest_keys_go_when_there_are_too_many() {
        let mut store = store(u64::MAX, 3);
        for at in 0..10 {
            assert_eq!(store.add(&format!("key {at}"), at), at >= 3);
        }
        assert!(!store.has("key 6", 10));
        assert!((7..10).all(|at| store.has(&format!("key {at}"), 10)));
        assert_eq!(store.keys.0, 3);
        assert_eq!(Keys::open(&store.database).0, 3);
    }
}
