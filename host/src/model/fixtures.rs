//! The files that a version of a suite brings along.

use serde::{Deserialize, Serialize};

use super::Digest;

/// An archive of files that a guest finds beside it, as it was when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixtures {
    /// The SHA-256 of the archive, by which its bytes are stored.
    pub digest: Digest,
    /// The archive's size.
    pub archive_bytes: u64,
    /// Files and directories in it.
    pub files: u64,
    /// Bytes of the files.
    pub unpacked_bytes: u64,
}
