//! The events of a run, read from the server-sent events.

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number: the `id` of the server-sent event.
    pub seq: u64,
    /// Its name, for example `attempt_started`.
    pub name: String,
    /// All of it.
    pub data: Value,
}

/// Which attempt of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey {
    /// `setup`, `test` or `teardown`.
    pub stage: String,
    /// The test's name, if it is one.
    pub test: Option<String>,
    /// The round.
    pub round: u64,
    /// The number in the round.
    pub number: u64,
}

impl Event {
    /// The attempt that it tells of, if it tells of one.
    pub fn attempt(&self) -> Option<AttemptKey> {
        let of = match self.name.as_str() {
            "attempt_started" => &self.data,
            "attempt_finished" => &self.data["attempt"],
            _ => return None,
        };
        Some(AttemptKey {
            stage: self.data["stage"].as_str()?.to_owned(),
            test: self.data["test"].as_str().map(str::to_owned),
            round: of["round"].as_u64()?,
            number: of["number"].as_u64()?,
        })
    }
}

/// The events of a run as they come.
pub struct Events {
    bytes: BoxStream<'static, Option<Vec<u8>>>,
    unread: Vec<u8>,
}

impl Events {
    /// Reads them from an answer.
    pub fn new(answer: reqwest::Response) -> Self {
        // Where the server went away, the events end; a test sees that by what is missing.
        let bytes = answer.bytes_stream().map(|piece| piece.ok().map(|bytes| bytes.to_vec()));
        Self { bytes: bytes.boxed(), unread: Vec::new() }
    }

    /// The next event; none when the stream ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8_lossy(&block)) {
                    return Some(event);
                }
            }
            self.unread.extend(self.bytes.next().await??);
        }
    }

    /// Waits for the next event of that name.
    ///
    /// # Panics
    /// When the stream ends before.
    pub async fn wait_for(&mut self, name: &str) -> Event {
        loop {
            match self.next().await {
                Some(event) if event.name == name => return event,
                Some(_) => {}
                None => panic!("the events ended before {name:?}"),
            }
        }
    }

    /// All events up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// Reads one block; none if it is a comment that keeps the connection alive, or something other than
/// an event of the run.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let mut values = block.lines().filter_map(|line| line.strip_prefix(name));
        values.next().map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let data = serde_json::from_str(field("data:")?).ok()?;
    Some(Event { seq: field("id:")?.parse().ok()?, name: field("event:")?.to_owned(), data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_from_its_block() {
        let block = "event: attempt_started\nid: 3\n\
            data: {\"stage\":\"test\",\"test\":\"a\",\"round\":1,\"number\":2}\n\n";
        let event = parse(block).unwrap();
        assert_eq!((event.seq, event.name.as_str()), (3, "attempt_started"));
        let key = event.attempt().unwrap();
        assert_eq!((key.test.as_deref(), key.round, key.number), (Some("a"), 1, 2));
        assert_eq!(parse(": still here\n\n"), None);
    }
}
