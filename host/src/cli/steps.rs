//! What is done with a component before its tests can run, for whoever waits for it. It goes to standard
//! error, so that results can be piped.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::course::MayLeave;
use super::terminal::{Look, Style};
use super::watch::TICK;
use crate::model::Step;

/// Shows steps on `out`: a line that is drawn again where somebody looks on, and elsewhere a line for each
/// step that takes long.
pub(super) struct Steps<W: Write> {
    out: W,
    look: Look,
    component_bytes: u64,
    step: Option<Step>,
    since: Instant,
    drawn: bool,
}

/// Shows the steps that are told until nobody tells any more.
pub(super) async fn show(
    mut steps: watch::Receiver<Step>,
    look: Look,
    component_bytes: u64,
) -> io::Result<()> {
    let mut shown = Steps::new(MayLeave::new(io::stderr()), look, component_bytes, Instant::now());
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            changed = steps.changed() => match changed {
                Ok(()) => shown.tell(*steps.borrow_and_update(), Instant::now())?,
                Err(_) => return shown.end(),
            },
            _ = tick.tick() => shown.draw(Instant::now())?,
        }
    }
}

impl<W: Write> Steps<W> {
    /// Nothing is shown yet.
    pub(super) fn new(out: W, look: Look, component_bytes: u64, now: Instant) -> Self {
        Self { out, look, component_bytes, step: None, since: now, drawn: false }
    }

    /// A step begins, or goes on.
    pub(super) fn tell(&mut self, step: Step, now: Instant) -> io::Result<()> {
        let begins = self.step.replace(step) != Some(step);
        if !self.look.live && begins && matches!(step, Step::Wait | Step::Compile) {
            let line = self.line(step);
            writeln!(self.out, "{line}")?;
        }
        self.draw(now)
    }

    /// Draws the line again.
    pub(super) fn draw(&mut self, now: Instant) -> io::Result<()> {
        let Some(step) = self.step.filter(|_| self.look.live) else { return Ok(()) };
        let seconds = now.saturating_duration_since(self.since).as_secs();
        let line = self.line(step);
        self.drawn = true;
        // As the progress of a run: one carriage return takes it away.
        write!(self.out, "\r\x1b[?7l{line}, {}\x1b[K\x1b[?7h", clock(seconds))?;
        self.out.flush()
    }

    /// Takes the line away.
    pub(super) fn end(mut self) -> io::Result<()> {
        if self.drawn {
            write!(self.out, "\r\x1b[K")?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn line(&self, step: Step) -> String {
        let label = match step {
            Step::Check => "Checking",
            Step::Wait => "Waiting",
            Step::Compile => "Compiling",
            Step::Describe => "Describing",
        };
        let label = self.look.paint(Style::Good, &format!("{label:>12}"));
        let mib = self.component_bytes as f64 / f64::from(1 << 20);
        let more = match step {
            Step::Check | Step::Describe => "",
            Step::Wait => " until others are compiled",
            Step::Compile => "; the result is kept",
        };
        format!("{label} {mib:.1} MiB{more}")
    }
}

fn clock(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(look: Look) -> String {
        let mut out = Vec::new();
        let start = Instant::now();
        let mut steps = Steps::new(&mut out, look, 22 << 20, start);
        steps.draw(start).unwrap();
        for (step, seconds) in [(Step::Check, 0), (Step::Wait, 1), (Step::Compile, 2)] {
            steps.tell(step, start + Duration::from_secs(seconds)).unwrap();
        }
        steps.draw(start + Duration::from_secs(3)).unwrap();
        steps.tell(Step::Compile, start + Duration::from_secs(4)).unwrap();
        steps.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn where_nobody_looks_on_what_takes_long_is_told_once() {
        let expected = "     Waiting 22.0 MiB until others are compiled\n   \
                        Compiling 22.0 MiB; the result is kept\n";
        assert_eq!(shown(Look::PLAIN), expected);
    }

    #[test]
    fn on_a_terminal_one_line_tells_the_step_and_for_how_long_and_goes() {
        let shown = shown(Look { color: false, live: true });
        let drawn = "\r\x1b[?7l   Compiling 22.0 MiB; the result is kept, 3s\x1b[K\x1b[?7h";
        assert!(shown.contains(drawn) && shown.ends_with("\r\x1b[K"), "{shown:?}");
        assert!(!shown.contains('\n'), "{shown:?}");
    }
}
