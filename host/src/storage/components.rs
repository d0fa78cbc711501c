//! Which components and archives of fixtures are needed: those of stored versions, and those of runs that
//! have not ended. The file of any other is removed.
//!
//! All of this happens in the committing thread. It removes a file when what named it last is durably gone,
//! and writes the file of what it is about to store even if somebody has just found it there. So an upload
//! of the same bytes at the same time never loses its file. What a crash or a full disk leaves behind is a
//! file that nobody needs, which the next opening removes.

use std::collections::HashMap;

use super::blobs::Blobs;
use super::durable::Database;
use super::{StorageError, keys, plugins, record, runs};
use crate::model::{Digest, Fixtures};

/// How many more need a component after a batch, or, negative, how many fewer.
pub(super) type Changes = HashMap<Digest, i64>;

/// How many versions and unfinished runs need each component. Held in memory: a hundred bytes for each
/// version beside what sled takes for it.
pub(super) struct Users(HashMap<Digest, i64>);

impl Users {
    /// Counts them, and removes the files that nobody needs.
    pub(super) fn open(database: &Database, files: &Blobs) -> Result<Self, StorageError> {
        let mut users = HashMap::new();
        for key in database.scan(keys::VERSIONS).keys() {
            if let Some(digest) = keys::read_version(&key?) {
                *users.entry(digest).or_default() += 1;
            }
        }
        for record in database.scan(keys::FIXTURES).values() {
            let fixtures: Fixtures = record::decode(&record?)?;
            *users.entry(fixtures.digest).or_default() += 1;
        }
        for plugin in plugins::installed(database)? {
            *users.entry(plugin.digest).or_default() += 1;
        }
        for key in database.scan(keys::UNFINISHED).keys() {
            let Some(run) = keys::read_unfinished(&key?[keys::UNFINISHED.len()..]) else {
                continue;
            };
            if let Some(summary) = runs::summary(database, run)? {
                for digest in [Some(summary.version), summary.fixtures].into_iter().flatten() {
                    *users.entry(digest).or_default() += 1;
                }
            }
        }
        files.keep_only(|digest| users.contains_key(digest))?;
        Ok(Self(users))
    }

    /// Whether a version or an unfinished run needs this.
    pub(super) fn need(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }

    /// Takes in what a batch changed that is durable, and removes the files that nobody needs any more.
    pub(super) fn change(&mut self, changes: Changes, files: &Blobs) {
        for (digest, more) in changes {
            let users = self.0.entry(digest).or_default();
            *users += more;
            if *users > 0 {
                continue;
            }
            self.0.remove(&digest);
            if let Err(error) = files.remove(&digest) {
                tracing::warn!(%error, %digest, "failed to remove a component; the next start tries again");
            }
        }
    }
}
