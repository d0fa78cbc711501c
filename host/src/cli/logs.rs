//! `handoff logs`: what the attempts of a run wrote.

use std::io::{self, BufWriter, Write};

use clap::Args;
use reqwest::Method;

use super::client::{Client, Lines, ServerArgs, parse};
use super::exit::{Exit, Failure};
use super::failures::write_line;
use super::signals::Interrupts;
use super::terminal::{Look, Style, safe_line};
use super::{Output, Surroundings};
use crate::http::views::LogRecordView;
use crate::model::{LogLine, Stage};

#[derive(Args)]
pub(super) struct LogsArgs {
    /// The run: an id, or a suite and a number such as `hello#12`
    run: String,
    /// Only of this test
    test: Option<String>,
    /// Only of attempts with this number
    #[arg(long)]
    attempt: Option<u32>,
    /// Go on with what attempts under way write, to the end of the run
    #[arg(short, long)]
    follow: bool,
    /// How to write the result; `json` is an object a line
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

impl LogsArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let mut interrupts = Interrupts::listen()?;
        let client = Client::new(&self.server)?;
        let id = client.run_id(&self.run).await?.to_string();
        let mut query = vec![("format", "json".to_owned())];
        query.extend(self.test.map(|test| ("test", test)));
        query.extend(self.attempt.map(|attempt| ("attempt", attempt.to_string())));
        query.extend(self.follow.then(|| ("follow", "true".to_owned())));
        let request = client.request(Method::GET, &["runs", &id, "logs"]).query(&query);
        let mut lines = Lines::of(client.send(request).await?);
        let mut show =
            Show { out: BufWriter::new(io::stdout()), look: surroundings.out, last: None };
        loop {
            let line = tokio::select! {
                line = lines.next() => line?,
                () = interrupts.next() => return Ok(Exit::Interrupted),
            };
            let Some(line) = line else { break };
            match self.output {
                Output::Json => {
                    show.out.write_all(&line)?;
                    show.out.write_all(b"\n")?;
                }
                Output::Human => show.record(parse(&line)?)?,
            }
            if self.follow {
                show.out.flush()?;
            }
        }
        show.out.flush()?;
        Ok(Exit::Passed)
    }
}

/// Writes lines under a heading for each attempt.
struct Show<W: Write> {
    out: W,
    look: Look,
    last: Option<(Stage, u32, u32)>,
}

impl<W: Write> Show<W> {
    fn record(&mut self, record: LogRecordView) -> io::Result<()> {
        let part = (Stage::from(record.stage), record.round, record.attempt);
        if self.last.as_ref() != Some(&part) {
            let name = match &part.0 {
                Stage::Setup => "(setup)".into(),
                Stage::Teardown => "(teardown)".into(),
                Stage::Test(name) => safe_line(name),
            };
            let round = if part.1 > 1 { format!(", round {}", part.1) } else { String::new() };
            let heading = format!("──── {name}, attempt {}{round}", part.2);
            writeln!(self.out, "{}", self.look.paint(Style::Strong, &heading))?;
            self.last = Some(part);
        }
        let line = LogLine::from(record.line);
        let at = line.at.strftime("%H:%M:%S%.3f").to_string();
        write!(self.out, "{} ", self.look.paint(Style::Faint, &at))?;
        write_line(&mut self.out, self.look, &line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_under_a_heading_for_each_attempt() {
        let record = |test: &str, attempt: u32, text: &str| {
            parse(
                serde_json::json!({
                    "stage": "test", "test": test, "round": 1, "attempt": attempt,
                    "at": "2026-01-02T03:04:05.678Z", "source": "stdout", "text": text,
                })
                .to_string()
                .as_bytes(),
            )
            .unwrap()
        };
        let mut show = Show { out: Vec::new(), look: Look::PLAIN, last: None };
        for (attempt, text) in [(1, "one"), (1, "\x1b]0;title\x07"), (2, "three")] {
            show.record(record("log in", attempt, text)).unwrap();
        }
        insta::assert_snapshot!(String::from_utf8(show.out).unwrap());
    }
}
