//! For each failed test, asks Loki, Tempo, Elasticsearch and Prometheus for what carries its trace id or lies in
//! its time, and adds the first lines and links to the run.

mod link;
mod question;
mod source;

use handoff_plugin::{
    Annotation, Config, Context, Error, Event, EventKind, Level, Plugin, Result, Wishes, text,
};
use link::Links;
use question::Question;
use source::{Found, Source};
use std::time::Duration;

/// Characters of a line that is added; the server keeps 2,000 bytes of a text.
const LINE_CHARS: usize = 400;
/// Annotations that the server takes of one event.
const ANNOTATIONS: usize = 20;
/// How soon to ask again.
const AGAIN: Duration = Duration::from_secs(5);
/// For how long one source that does not answer holds up what the others say.
const PATIENCE: Duration = Duration::from_secs(600);

/// The plugin.
pub struct Traces {
    sources: Vec<Source>,
    links: Links,
    /// How many failed tests are asked about.
    tests: usize,
    lines: usize,
    /// What is asked for on either side of an attempt.
    margin: Duration,
    /// How long what is asked for may take to arrive.
    settle: Duration,
    events: Vec<EventKind>,
}

impl Plugin for Traces {
    fn init(config: &Config) -> Result<Self> {
        let sources = Source::read(config)?;
        if sources.is_empty() {
            let told = "set `loki.url`, `tempo.url`, `elasticsearch.url` or `prometheus.url`";
            return Err(Error::permanent(told));
        }
        let ms = |name: &str, default| config.parse(name, default).map(Duration::from_millis);
        let tests = config.parse("tests", ANNOTATIONS / sources.len())?;
        Ok(Self {
            links: Links::read(config)?,
            tests: tests.min(ANNOTATIONS / sources.len()),
            sources,
            lines: config.parse("lines", 10)?,
            margin: ms("margin_ms", 2_000)?,
            settle: ms("settle_ms", 30_000)?,
            events: config.events("run_finished"),
        })
    }

    fn wishes(&self) -> Wishes {
        let wishes = Wishes::events(self.events.iter().cloned());
        self.sources.iter().fold(wishes, |wishes, source| wishes.http(source.url()))
    }

    fn handle(&self, event: &Event, cx: &mut Context<'_>) -> Result<Vec<Annotation>> {
        let ended: jiff::Timestamp = event.at.parse()?;
        let age = cx.now().saturating_sub(Duration::try_from(ended.as_duration())?);
        let (mut said, mut wrong, mut asked) = (Vec::new(), Vec::new(), 0);
        for test in event.failures.iter().take(self.tests) {
            let question = Question::about(event, test, self.margin)?;
            for source in self.sources.iter().filter(|source| source.can_be_asked(&question)) {
                asked += 1;
                match source.ask(&question, self.lines, cx) {
                    Ok(None) => {}
                    Ok(Some(found)) => said.push(self.annotation(source, &question, found)?),
                    // All are asked once more when it may be there again.
                    Err(error) if !error.is_permanent() && age < PATIENCE => return Err(error),
                    Err(error) => {
                        cx.log(Level::Warn, format!("{}: {error}", source.name()));
                        wrong.push((source.name(), error));
                    }
                }
            }
        }
        if !said.is_empty() {
            wrong.dedup_by_key(|(name, _)| *name);
            said.extend(wrong.iter().map(|(name, error)| {
                let told = text::line(error.message(), LINE_CHARS);
                Annotation::new(format!("{name} could not be asked")).value("error", told)
            }));
            return Ok(said);
        }
        // One that may pass goes before one that is for good.
        wrong.sort_by_key(|(_, error)| error.is_permanent());
        match wrong.into_iter().next() {
            Some((_, error)) => Err(error),
            // What was written may still be on its way.
            None if asked > 0 && age < self.settle => {
                Err(Error::new("there is nothing yet").retry_after(AGAIN))
            }
            None => Ok(said),
        }
    }
}

impl Traces {
    fn annotation(&self, source: &Source, question: &Question, found: Found) -> Result<Annotation> {
        let title = format!("{} of {}", found.what, question.test);
        let mut said = Annotation::new(title).value("test", &question.test);
        if let Some(url) = self.links.to(source, question)? {
            said = said.url(url);
        }
        for (number, line) in found.lines.iter().enumerate() {
            said = said.value(format!("line {}", number + 1), text::line(line, LINE_CHARS));
        }
        let more = found.all.saturating_sub(found.lines.len());
        Ok(if more > 0 { said.value("more", more) } else { said })
    }
}

handoff_plugin::plugin!(Traces);

#[cfg(test)]
mod tests;
