//! Ctrl-C and requests to terminate. The first asks a command to come to an orderly end, the second
//! ends it at once.

use std::io;

use futures::FutureExt as _;
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

    /// Forgets signals that came already. A terminal and a supervisor often send one each for the same
    /// wish, so only what comes after the first was answered is a second one.
    pub(crate) fn forget_pending(&mut self) {
        while self.next().now_or_never().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn signals_that_came_before_an_answer_are_one() {
        let mut interrupts = Interrupts::listen().unwrap();
        for signal in [Signal::TERM, Signal::INT, Signal::TERM] {
            kill_process(getpid(), signal).unwrap();
        }
        interrupts.next().await;
        // Both kinds have been delivered by the time that the runtime hears of one.
        interrupts.forget_pending();
        assert!(interrupts.next().now_or_never().is_none());
        kill_process(getpid(), Signal::TERM).unwrap();
        interrupts.next().await;
    }
}
