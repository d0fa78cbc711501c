//! Processes that we start and end, each by its own id.

use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How often a waiting parent looks.
const LOOK: Duration = Duration::from_millis(20);

/// Set once Ctrl-C, SIGTERM or SIGHUP came.
#[derive(Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens from now on. The same signal a second time ends the program at once.
    pub(crate) fn listen() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [Signal::INT, Signal::TERM, Signal::HUP].map(Signal::as_raw) {
            // The order matters: the first signal must not find the flag set by itself.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
                .context("failed to listen for signals")?;
        }
        Ok(Self(stop))
    }

    /// Whether we were asked to stop.
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A child that does not outlive this value: it is asked to end, and killed if it does not.
pub(crate) struct Guard {
    child: Child,
    grace: Duration,
}

impl Guard {
    /// Starts a child that gets so long to end by itself.
    pub(crate) fn spawn(command: &mut Command, grace: Duration) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("failed to run {}", command.get_program().display()))?;
        Ok(Self { child, grace })
    }

    /// Takes the child's standard output, if it is piped.
    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until the child ends. When we are asked to stop meanwhile, the child is.
    pub(crate) fn wait(&mut self, stop: &Stop) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait().context("failed to wait for a child")? {
                return Ok(status);
            }
            if stop.requested() {
                return self.end();
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends the child: SIGTERM, and SIGKILL when its time is over.
    pub(crate) fn end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + self.grace;
        // Only this thread reaps the child, so until `try_wait` says so its id is nobody else's.
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        }
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK);
        }
        self.child.kill().context("failed to kill a child")?;
        self.child.wait().context("failed to wait for a child")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

/// Runs a command to its end; an error unless it succeeds.
pub(crate) fn check(command: &mut Command, stop: &Stop, what: &str) -> Result<()> {
    let status = Guard::spawn(command, Duration::from_secs(5))?.wait(stop)?;
    ensure!(status.success(), "{what} failed ({status})");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(requested: bool) -> Stop {
        Stop(Arc::new(AtomicBool::new(requested)))
    }

    fn sh(script: &str, grace: Duration) -> Guard {
        Guard::spawn(Command::new("sh").args(["-c", script]), grace).unwrap()
    }

    #[test]
    fn a_child_that_ends_by_itself_is_waited_for() {
        let status = sh("exit 7", Duration::ZERO).wait(&stop(false)).unwrap();
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn a_child_is_asked_to_end_and_killed_if_it_does_not() {
        use std::os::unix::process::ExitStatusExt;
        let polite = sh("exec sleep 1000", Duration::from_secs(60)).wait(&stop(true)).unwrap();
        assert_eq!(polite.signal(), Some(Signal::TERM.as_raw()));
        let rude = sh("trap '' TERM; echo; exec sleep 1000", Duration::ZERO).end().unwrap();
        assert!(rude.signal().is_some());
    }
}
