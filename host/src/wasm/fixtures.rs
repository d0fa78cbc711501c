//! The files that runs bring along, each archive unpacked once and shared by all attempts of all runs
//! that are under way with it.
//!
//! What they take together is bounded by `sandbox.fixtures.memory_bytes`. A run waits for its share before
//! it starts and gives it back when it ends, so nobody who has one waits for another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fs::{self, ArchiveError, FixtureContents, Node};
use super::settings::FixtureSettings;
use crate::metrics::Metrics;
use crate::model::{Digest, Fixtures};

/// Memory is counted in pieces of so many bytes, because a semaphore counts to 2^32 at once.
const PIECE_BYTES: u64 = 64 << 10;

/// What a file or directory takes beside its bytes.
const NODE_BYTES: u64 = 512;

/// Why a run does not have its files.
#[derive(Debug, thiserror::Error)]
pub enum FixturesError {
    /// What is stored is not what it was, or the bounds are lower than when it came.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It would never fit.
    #[error(
        "read the fixtures: they take {needed} bytes of memory, and there are {all} (setting \
         `sandbox.fixtures.memory_bytes`)"
    )]
    TooLarge {
        /// What they would take.
        needed: u64,
        /// What there is.
        all: u64,
    },
    /// They cannot be found, or the platform failed otherwise.
    #[error("read the fixtures: {0}")]
    Host(String),
}

/// Unpacked files, for as long as somebody has them.
pub struct FixtureFiles {
    root: Arc<Node>,
    _room: OwnedSemaphorePermit,
}

impl FixtureFiles {
    pub(super) fn root(&self) -> &Arc<Node> {
        &self.root
    }
}

/// Where unpacked files are found again.
pub(super) struct Shelf {
    settings: FixtureSettings,
    room: Arc<Semaphore>,
    pieces: u32,
    /// Held while an archive is in memory beside its files, and while one is measured.
    reading: tokio::sync::Mutex<()>,
    places: Mutex<HashMap<Digest, Place>>,
    metrics: Metrics,
}

/// Where the files of one archive are, or are being put.
type Place = Arc<tokio::sync::Mutex<Weak<FixtureFiles>>>;

impl Shelf {
    pub(super) fn new(settings: FixtureSettings, metrics: Metrics) -> Self {
        let pieces = u32::try_from(settings.memory_bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new((pieces as usize).min(Semaphore::MAX_PERMITS)));
        let (reading, places) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { settings, room, pieces, reading, places, metrics }
    }

    /// Reads an archive that somebody sent, and keeps nothing of it.
    pub(super) async fn measure(&self, archive: Bytes) -> Result<FixtureContents, FixturesError> {
        let contents = {
            let _one = self.reading.lock().await;
            self.read(archive, fs::measure).await
        };
        if let Err(FixturesError::Archive(error)) = &contents
            && let Some(bound) = error.bound()
        {
            self.metrics.server_limit_hit(bound);
        }
        let contents = contents?;
        self.pieces_of(contents)?;
        Ok(contents)
    }

    /// The files of an archive, which `archive` gives if they are not unpacked. Waits until there is room
    /// for them.
    pub(super) async fn take(
        &self,
        fixtures: &Fixtures,
        archive: impl Future<Output = Result<Bytes, String>>,
    ) -> Result<Arc<FixtureFiles>, FixturesError> {
        let place = self.place(fixtures.digest);
        let mut place = place.lock().await;
        if let Some(files) = place.upgrade() {
            return Ok(files);
        }
        let expected = FixtureContents { files: fixtures.files, bytes: fixtures.unpacked_bytes };
        let pieces = self.pieces_of(expected)?;
        if self.room.available_permits() < pieces as usize {
            self.metrics.server_limit_hit("sandbox.fixtures.memory_bytes");
        }
        let room = self.room.clone().acquire_many_owned(pieces).await;
        let room = room.map_err(|_| FixturesError::Host("the sandbox is closed".to_owned()))?;
        let _one = self.reading.lock().await;
        let archive = archive.await.map_err(FixturesError::Host)?;
        let (root, contents) = self.read(archive, fs::unpack).await?;
        if contents != expected {
            let told = "they are not what they were when they came".to_owned();
            return Err(FixturesError::Host(told));
        }
        let files = Arc::new(FixtureFiles { root, _room: room });
        *place = Arc::downgrade(&files);
        Ok(files)
    }

    /// The place of an archive. Forgets those of which nobody has the files any more.
    fn place(&self, digest: Digest) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // A place that somebody is at cannot be locked, or is held by them too.
        places.retain(|_, place| {
            Arc::strong_count(place) > 1
                || place.try_lock().is_ok_and(|files| files.strong_count() > 0)
        });
        places.entry(digest).or_default().clone()
    }

    /// What files take of the room, if they fit at all.
    fn pieces_of(&self, contents: FixtureContents) -> Result<u32, FixturesError> {
        let needed = contents.bytes.saturating_add(contents.files.saturating_mul(NODE_BYTES));
        let pieces = u32::try_from(needed.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        if pieces <= self.pieces {
            return Ok(pieces);
        }
        self.metrics.server_limit_hit("sandbox.fixtures.memory_bytes");
        Err(FixturesError::TooLarge { needed, all: self.settings.memory_bytes })
    }

    /// Reads an archive, off the threads that serve others.
    async fn read<T: Send + 'static>(
        &self,
        archive: Bytes,
        read: fn(&[u8], &FixtureSettings) -> Result<T, ArchiveError>,
    ) -> Result<T, FixturesError> {
        let settings = self.settings.clone();
        let read = tokio::task::spawn_blocking(move || read(&archive, &settings)).await;
        Ok(read
            .map_err(|error| FixturesError::Host(format!("they made the host fail: {error}")))??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_BYTES: u64 = 3 * PIECE_BYTES;

    /// Room for two archives of one file, and a little.
    fn shelf() -> Arc<Shelf> {
        let settings =
            FixtureSettings { memory_bytes: 9 * PIECE_BYTES, ..FixtureSettings::default() };
        Arc::new(Shelf::new(settings, Metrics::new()))
    }

    /// An archive of one file that has this byte only.
    fn archive(byte: u8) -> (Fixtures, Bytes) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(FILE_BYTES);
        let content = vec![byte; FILE_BYTES as usize];
        tar.append_data(&mut header, "a", content.as_slice()).unwrap();
        let archive = Bytes::from(tar.into_inner().unwrap());
        let (digest, archive_bytes) = (Digest::of(&archive), archive.len() as u64);
        let fixtures = Fixtures { digest, archive_bytes, files: 1, unpacked_bytes: FILE_BYTES };
        (fixtures, archive)
    }

    async fn take(shelf: &Shelf, byte: u8) -> Arc<FixtureFiles> {
        let (fixtures, archive) = archive(byte);
        shelf.take(&fixtures, async { Ok(archive) }).await.unwrap()
    }

    #[tokio::test]
    async fn an_archive_is_unpacked_once_for_all_who_have_it() {
        let shelf = shelf();
        let first = take(&shelf, 1).await;
        let (fixtures, _) = archive(1);
        let never = async { panic!("it is unpacked already") };
        let second = shelf.take(&fixtures, never).await.unwrap();
        assert!(Arc::ptr_eq(first.root(), second.root()));
        assert_eq!(shelf.room.available_permits(), 5);
        drop((first, second));
        assert_eq!(shelf.room.available_permits(), 9);
        let other = take(&shelf, 2).await;
        assert_eq!(shelf.places.lock().unwrap().len(), 1, "the first is forgotten");
        drop(other);
    }

    #[tokio::test]
    async fn whoever_finds_no_room_waits_for_it() {
        let shelf = shelf();
        let held = [take(&shelf, 1).await, take(&shelf, 2).await];
        let third = tokio::spawn({
            let shelf = shelf.clone();
            async move { take(&shelf, 3).await }
        });
        let told = "{limit=\"sandbox_fixtures_memory_bytes\"} 1";
        while !shelf.metrics.render().contains(told) {
            tokio::task::yield_now().await;
        }
        assert!(!third.is_finished());
        drop(held);
        third.await.unwrap();
    }

    #[tokio::test]
    async fn what_never_fits_or_has_changed_is_told() {
        let shelf = shelf();
        let (fixtures, archive) = archive(1);
        let large = Fixtures { unpacked_bytes: 10 * PIECE_BYTES, ..fixtures.clone() };
        let told = shelf.take(&large, async { Ok(archive.clone()) }).await.err().unwrap();
        assert!(told.to_string().contains("`sandbox.fixtures.memory_bytes`"), "{told}");
        let other = Fixtures { files: 2, ..fixtures.clone() };
        let told = shelf.take(&other, async { Ok(archive.clone()) }).await.err().unwrap();
        assert!(told.to_string().contains("not what they were"), "{told}");
        let gone = async { Err("they were deleted".to_owned()) };
        let told = shelf.take(&fixtures, gone).await.err().unwrap();
        assert_eq!(told.to_string(), "read the fixtures: they were deleted");
        assert_eq!(shelf.room.available_permits(), 9);
        shelf.take(&fixtures, async { Ok(archive) }).await.unwrap();
    }
}
