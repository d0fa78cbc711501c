//! Files read and written as streams. Everything happens at once: no stream holds or awaits anything.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::bindings::types::ErrorCode;
use super::tree::{Fault, Node};

/// The most bytes that are copied by one call of the guest; it asks again for more. A file is read in
/// pieces, so that no call copies all of a large one.
pub(super) const MAX_PIECE_BYTES: usize = 64 << 10;

/// Reads a file from a place on.
pub(super) struct Reader {
    pub(super) file: Arc<Node>,
    pub(super) at: u64,
}

/// Writes a file from a place on, or at its end.
pub(super) struct Writer {
    pub(super) file: Arc<Node>,
    /// None: always at the end.
    pub(super) at: Option<u64>,
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.file.read(self.at, size.min(MAX_PIECE_BYTES)).map_err(failed)?;
        if bytes.is_empty() && size > 0 {
            return Err(StreamError::Closed);
        }
        self.at += bytes.len() as u64;
        Ok(bytes.into())
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match &mut self.at {
            None => self.file.append(&bytes).map_err(failed),
            Some(at) => {
                self.file.write(*at, &bytes).map_err(failed)?;
                *at += bytes.len() as u64;
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_PIECE_BYTES)
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

/// `filesystem-error-code` finds the code in the stream's error again.
fn failed(fault: Fault) -> StreamError {
    StreamError::LastOperationFailed(ErrorCode::from(fault).into())
}
