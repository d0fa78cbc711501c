//! The bytes of a component, or the file that has them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use super::error::CompileError;

/// How much of a file is hashed at once: it stays in the processor's cache meanwhile.
const CHUNK_BYTES: usize = 256 << 10;

/// A component. One in a file that was compiled before is looked at, and not kept in memory. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Upload(Source);

#[derive(Clone, Debug)]
enum Source {
    Bytes(Bytes),
    File(Arc<File>),
}

impl From<Bytes> for Upload {
    fn from(bytes: Bytes) -> Self {
        Self(Source::Bytes(bytes))
    }
}

impl Upload {
    /// What is in a file from its start. What is no regular file, such as a pipe, is read here, and may
    /// hold so many bytes at most.
    pub fn open(file: File, most: u64) -> io::Result<Self> {
        if file.metadata()?.is_file() {
            return Ok(Self(Source::File(Arc::new(file))));
        }
        Ok(read_at_most(file, most)?.into())
    }

    /// How many bytes there are.
    pub fn size(&self) -> io::Result<u64> {
        match &self.0 {
            Source::Bytes(bytes) => Ok(bytes.len() as u64),
            Source::File(file) => Ok(file.metadata()?.len()),
        }
    }

    /// All of them.
    pub(super) fn bytes(&self) -> io::Result<Bytes> {
        match &self.0 {
            Source::Bytes(bytes) => Ok(bytes.clone()),
            Source::File(file) => {
                let mut bytes = vec![0; usize::try_from(self.size()?).map_err(io::Error::other)?];
                file.read_exact_at(&mut bytes, 0)?;
                Ok(bytes.into())
            }
        }
    }

    /// All of them, read where it holds nobody up.
    pub async fn read(self) -> Result<Bytes, CompileError> {
        let read = tokio::task::spawn_blocking(move || self.bytes()).await;
        let read = read.map_err(io::Error::other).flatten();
        read.map_err(|error| CompileError::Unread(error.to_string()))
    }

    /// The first of them, at most so many.
    pub(super) fn head(&self, most: usize) -> io::Result<Bytes> {
        match &self.0 {
            Source::Bytes(bytes) => Ok(bytes.slice(..bytes.len().min(most))),
            Source::File(file) => {
                let mut head = vec![0; most];
                let mut read = 0;
                while read < most {
                    match file.read_at(&mut head[read..], read as u64)? {
                        0 => break,
                        more => read += more,
                    }
                }
                head.truncate(read);
                Ok(head.into())
            }
        }
    }

    /// Their BLAKE3.
    pub(super) fn hash(&self) -> io::Result<[u8; 32]> {
        let Source::File(file) = &self.0 else {
            return Ok(blake3::hash(&self.bytes()?).into());
        };
        let (mut hasher, mut chunk, mut at) = (blake3::Hasher::new(), vec![0; CHUNK_BYTES], 0);
        loop {
            match file.read_at(&mut chunk, at)? {
                0 => return Ok(hasher.finalize().into()),
                read => {
                    hasher.update(&chunk[..read]);
                    at += read as u64;
                }
            }
        }
    }
}

/// All that can be read, of something that need not end.
///
/// # Errors
///
/// There are more than so many bytes, or reading fails.
pub fn read_at_most(from: impl io::Read, most: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!(
                "it has more than {most} bytes (compile.component_bytes), and is no regular file"
            ),
        ));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_is_as_good_as_its_bytes() {
        let bytes: Vec<_> = (0..CHUNK_BYTES * 2 + 7).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let (file, bytes) = (Upload::open(file, 0).unwrap(), Upload::from(Bytes::from(bytes)));
        assert!(matches!(file.0, Source::File(_)));
        assert_eq!(file.size().unwrap(), bytes.size().unwrap());
        assert_eq!(file.hash().unwrap(), bytes.hash().unwrap());
        assert_eq!(file.bytes().unwrap(), bytes.bytes().unwrap());
        for most in [0, 5, usize::MAX >> 40] {
            assert_eq!(file.head(most).unwrap(), bytes.head(most).unwrap(), "{most}");
        }
    }

    #[test]
    fn what_comes_through_a_pipe_is_read() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"component").unwrap();
        drop(writer);
        let pipe = Upload::open(std::os::fd::OwnedFd::from(reader).into(), 9).unwrap();
        assert_eq!(pipe.bytes().unwrap(), "component");
    }

    #[test]
    fn what_never_ends_is_not_read_for_ever() {
        let error = Upload::open(File::open("/dev/zero").unwrap(), 1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(error.to_string().contains("compile.component_bytes"), "{error}");
    }
}
