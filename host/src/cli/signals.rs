//! Ctrl-C and requests to terminate. The first asks a command to come to an orderly end, the second
//! ends it at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals as they come.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Takes signals from now on, in place of what they would do.
    pub(crate) fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
