//! An export on its way in: laid aside in a directory of the store, which gets another name once it is whole
//! and checked. What has the first name at a start is cut off, and removed; what has the second is stored.

use std::fs::{self, File};
use std::io::{self, BufRead, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::check::{AllHere, Checker, Most, TransferError};
use super::lines::LINE_BYTES;
use crate::model::Digest;
use crate::storage::{Storage, private_dir};

/// Every so many bytes it is looked whether the disk has room.
const LOOK_BYTES: u64 = 4 << 20;

/// The directory of an import that comes, or is done with.
const COMING: &str = "import";

/// Where an import lies that is whole.
#[derive(Debug)]
pub struct Spool(pub(super) PathBuf);

/// Where imports lie below the store's directory: while they come, and when they are whole.
pub(super) fn places(data: &Path) -> (PathBuf, PathBuf) {
    (data.join(COMING), data.join("import-whole"))
}

/// Where a file lies.
pub(super) fn blob(blobs: &Path, digest: &Digest) -> PathBuf {
    blobs.join(digest.hex())
}

impl Spool {
    pub(super) fn lines(&self) -> PathBuf {
        self.0.join("lines")
    }

    /// How each suite stood here before.
    pub(super) fn here(&self) -> PathBuf {
        self.0.join("here.json")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// Removes it once it is stored. Not under the name of what is whole: if the process ended halfway, the rest
    /// would be taken for that at the next start.
    pub(super) fn remove(&self) -> io::Result<()> {
        let coming = self.0.with_file_name(COMING);
        clear(&coming)?;
        fs::rename(&self.0, &coming)?;
        clear(&coming)
    }
}

/// Lays an export aside and checks it. When this returns it is imported, even if the process ends at once:
/// see [`super::resume`]. After an error nothing of it is left.
pub fn import(
    storage: &Storage,
    data: &Path,
    most: Most,
    from: impl BufRead,
) -> Result<Spool, TransferError> {
    let (coming, whole) = places(data);
    if whole.exists() {
        return Err(TransferError::Busy);
    }
    clear(&coming)?;
    let taken = lay_aside(storage, &Spool(coming.clone()), most, from);
    let renamed = taken.and_then(|here| {
        // From now on no run that starts here has a number of those that come.
        for (suite, here) in here {
            if !storage.reserve_numbers(&suite, here.highest, here.coming)? {
                return Err(TransferError::Meanwhile(suite));
            }
        }
        fs::rename(&coming, &whole)?;
        Ok(private_dir(&whole)?)
    });
    match renamed {
        Ok(()) => Ok(Spool(whole)),
        Err(error) => {
            // What stays is removed at the next start.
            _ = clear(&coming);
            Err(error)
        }
    }
}

pub(super) fn clear(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn lay_aside(
    storage: &Storage,
    spool: &Spool,
    most: Most,
    mut from: impl BufRead,
) -> Result<AllHere, TransferError> {
    private_dir(&spool.0)?;
    let blobs = spool.blobs();
    private_dir(&blobs)?;
    let mut lines = BufWriter::new(File::create(spool.lines())?);
    let mut checker = Checker::new(storage, &blobs, most)?;
    let (mut line, mut since, mut all) = (Vec::new(), LOOK_BYTES, 0);
    loop {
        if since >= LOOK_BYTES {
            storage.check_room_for(0)?;
            since = 0;
        }
        line.clear();
        let read = io::Read::take(&mut from, LINE_BYTES as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        (since, all) = (since + read as u64, all + read as u64);
        if checker.take(&line)? {
            lines.write_all(&line)?;
        }
    }
    let here = checker.finish()?;
    let mut file = File::create(spool.here())?;
    file.write_all(
        &serde_json::to_vec(&here.iter().collect::<Vec<_>>()).map_err(io::Error::from)?,
    )?;
    file.sync_all()?;
    lines.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    for file in fs::read_dir(&blobs)? {
        File::open(file?.path())?.sync_all()?;
    }
    private_dir(&blobs)?;
    private_dir(&spool.0)?;
    // It is written once more when it is stored, and takes no more there than here.
    storage.check_room_for(all)?;
    Ok(here)
}
