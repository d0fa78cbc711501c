//! Server-sent events, read from a stream of bytes.
//! The format: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.

/// The largest event that is taken: a run's first event names all its tests.
const MAX_BYTES: usize = 64 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerSentEvent {
    /// Its id, if it has one.
    pub(crate) id: Option<String>,
    /// Its data.
    pub(crate) data: String,
}

/// An event is larger than what is taken.
#[derive(Debug, thiserror::Error)]
#[error("an event of the server is larger than {MAX_BYTES} bytes")]
pub(crate) struct TooLarge;

/// Splits a stream of bytes into events.
#[derive(Default)]
pub(crate) struct Parser {
    /// Bytes after the last complete line.
    rest: Vec<u8>,
    /// The event whose lines are being read, and whether it has any.
    event: ServerSentEvent,
    has_data: bool,
}

impl Parser {
    /// The events that are complete with these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<ServerSentEvent>, TooLarge> {
        let mut events = Vec::new();
        let mut bytes = bytes;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.rest);
            let line =
                String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            events.extend(self.line(&line));
            self.check()?;
        }
        self.rest.extend_from_slice(bytes);
        self.check()?;
        Ok(events)
    }

    fn check(&self) -> Result<(), TooLarge> {
        if self.rest.len() + self.event.data.len() > MAX_BYTES { Err(TooLarge) } else { Ok(()) }
    }

    fn line(&mut self, line: &str) -> Option<ServerSentEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "id" => self.event.id = Some(value.to_owned()),
            // A comment, such as the sign of life, has an empty field name.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": alive\n\nevent: run_started\r\nid: 2\r\ndata: {\"a\":\r\ndata:1}\r\n\r\n\
                          id: 3\n\ndata: größe\n\ndata: cut off";

    fn event(id: Option<&str>, data: &str) -> ServerSentEvent {
        ServerSentEvent { id: id.map(Into::into), data: data.into() }
    }

    #[test]
    fn events_are_read_wherever_the_stream_is_cut() {
        let expected = [event(Some("2"), "{\"a\":\n1}"), event(None, "größe")];
        for size in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let events: Vec<_> =
                STREAM.as_bytes().chunks(size).flat_map(|c| parser.push(c).unwrap()).collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MAX_BYTES / 2 + 1];
        assert!(parser.push(&piece).is_ok());
        assert!(parser.push(&piece).is_err());
    }
}
