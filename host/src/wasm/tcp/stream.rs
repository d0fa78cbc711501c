//! The two directions of a connection, counted.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use crate::wasm::traffic::{Ongoing, Over, Slot, Tally};

/// A connection on its way or open. The exchange ends when this is dropped.
pub(super) struct Open {
    pub(super) ongoing: Ongoing,
    pub(super) _slot: Slot,
}

/// What comes in.
pub(super) struct Incoming {
    inner: DynInputStream,
    tally: Tally,
    /// Ended by a limit.
    over: bool,
    _open: Arc<Open>,
}

/// What goes out.
pub(super) struct Outgoing {
    inner: DynOutputStream,
    tally: Tally,
    /// Ended by a limit.
    over: bool,
    _open: Arc<Open>,
}

impl Incoming {
    pub(super) fn new(inner: DynInputStream, open: Arc<Open>) -> Self {
        Self { inner, tally: open.ongoing.tally(), over: false, _open: open }
    }
}

impl Outgoing {
    pub(super) fn new(inner: DynOutputStream, open: Arc<Open>) -> Self {
        Self { inner, tally: open.ongoing.tally(), over: false, _open: open }
    }
}

#[async_trait]
impl InputStream for Incoming {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.over {
            return Err(StreamError::Closed);
        }
        let bytes = self.inner.read(size)?;
        self.tally.received(bytes.len()).map_err(|over| end(&mut self.over, over))?;
        Ok(bytes)
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl OutputStream for Outgoing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.over {
            return Err(StreamError::Closed);
        }
        self.tally.sent(bytes.len()).map_err(|over| end(&mut self.over, over))?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.over { Err(StreamError::Closed) } else { self.inner.check_write() }
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        if !self.over {
            self.inner.ready().await;
        }
    }
}

#[async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        if !self.over {
            self.inner.ready().await;
        }
    }
}

fn end(ended: &mut bool, over: Over) -> StreamError {
    *ended = true;
    StreamError::LastOperationFailed(over.into())
}
