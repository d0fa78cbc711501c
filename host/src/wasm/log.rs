//! What an attempt says: stdout, stderr and log calls, in order, as lines, bounded.
//!
//! The start and the end are kept and the middle is dropped and counted, so that the last lines
//! before a trap are never lost. A line is placed in the log when it is complete; what is left
//! without a line break when the attempt ends is a line too. Secrets are masked before a line is
//! stored or shown.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use compact_str::{CompactString, format_compact};
use jiff::Timestamp;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::limits::LimitsHit;
use super::secrets::Masker;
use crate::model::{Level, Limit, Limits, LogLine, Policy, Source, Value};
use crate::program::Reader;

/// What a guest may write to a stream in one call. Also the most that `write-zeroes` makes the host
/// allocate.
const WRITE_PERMIT: usize = 64 << 10;

/// What a line counts at least, because an empty one takes memory too.
const LINE_MIN_COST: usize = 16;

/// For how many lines of the end there is room beside the start as soon as the start is full: all there may be
/// by default. Not a setting: it bounds nothing.
const TAIL_RESERVED: usize = 4_097;

/// An attempt's log. Cheap to clone; clones share the log.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Inner>>);

/// A log that has come to its end.
pub(crate) struct FinishedLog {
    /// The lines, with a remark where lines were dropped.
    pub(crate) lines: Vec<LogLine>,
    /// How many bytes were dropped.
    pub(crate) dropped_bytes: u64,
    /// Masks the attempt's other texts.
    pub(crate) masker: Masker,
    /// What read its lines, if anything did.
    pub(crate) reader: Option<Reader>,
}

struct Inner {
    head: Vec<LogLine>,
    head_cost: usize,
    tail: VecDeque<LogLine>,
    tail_cost: usize,
    dropped_bytes: u64,
    /// The lines of stdout and stderr that have no line break yet.
    partial: [Option<Partial>; 2],
    bounds: Bounds,
    secrets: Secrets,
    live: Option<Live>,
    /// Reads each line of stdout, whether it is kept or not.
    reader: Option<Reader>,
    hits: LimitsHit,
}

/// Who gets the lines as they come.
pub(crate) struct Live {
    pub(crate) lines: mpsc::Sender<LogLine>,
    /// A character that a harness marks lines with, and that nobody is shown.
    pub(crate) mark: Option<char>,
}

impl Live {
    fn show(&self, line: &LogLine) {
        let mut line = line.clone();
        if let Some(mark) = self.mark {
            line.text.retain(|character| character != mark);
        }
        // Watching never holds a test up: whoever is slow misses lines.
        _ = self.lines.try_send(line);
    }
}

struct Bounds {
    head: usize,
    tail: usize,
    line: usize,
}

/// The start of a line.
struct Partial {
    at: Timestamp,
    /// What is kept of it: as much as a line may have, and the longest secret more, so that a secret
    /// that the cut goes through is recognised.
    bytes: Vec<u8>,
    /// Bytes beyond that.
    more: u64,
}

/// Which of the two streams.
#[derive(Clone, Copy)]
pub(crate) enum Stdio {
    Stdout,
    Stderr,
}

/// Where the secrets are, and the masker once there is a text to mask: most attempts have none.
struct Secrets {
    policy: Arc<Policy>,
    values: Arc<Vec<Value>>,
    masker: Option<Masker>,
    /// Whether a secret became known after lines were stored.
    late: bool,
}

impl Secrets {
    fn masker(&mut self) -> &mut Masker {
        self.masker.get_or_insert_with(|| {
            let granted = self.policy.secrets.values().map(String::as_str);
            let set = self.values.iter().filter(|v| v.secret).map(|v| v.value.as_str());
            Masker::new(granted.chain(set))
        })
    }
}

impl Log {
    /// An empty log, in which the policy's secrets and the secret ones of `values` are masked. Each
    /// line is offered to `live` and dropped there if it is full.
    pub(crate) fn new(
        limits: &Limits,
        policy: Arc<Policy>,
        values: Arc<Vec<Value>>,
        live: Option<Live>,
        hits: LimitsHit,
    ) -> Self {
        let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let bounds = Bounds {
            head: size(limits.log_head_bytes),
            tail: size(limits.log_tail_bytes),
            line: size(limits.log_line_bytes),
        };
        Self(Arc::new(Mutex::new(Inner {
            head: Vec::new(),
            head_cost: 0,
            tail: VecDeque::new(),
            tail_cost: 0,
            dropped_bytes: 0,
            partial: [None, None],
            bounds,
            secrets: Secrets { policy, values, masker: None, late: false },
            live,
            reader: None,
            hits,
        })))
    }

    /// The same log, read by `reader` while it is written.
    pub(crate) fn read_by(self, reader: Option<Reader>) -> Self {
        self.lock().reader = reader;
        self
    }

    /// The guest's end of one stream.
    pub(crate) fn stream(&self, stdio: Stdio) -> Capture {
        Capture { log: self.clone(), stdio }
    }

    /// Takes what a log call says; it may have several lines, and its end is the end of a line.
    pub(crate) fn log(&self, level: Level, message: &str) {
        self.lock().log(level, message.as_bytes());
    }

    /// Masks the secrets that are known so far.
    pub(crate) fn mask(&self, text: &mut String) {
        self.lock().secrets.masker().apply(text);
    }

    /// From now on masks `secret` too.
    pub(crate) fn add_secret(&self, secret: &str) {
        let mut inner = self.lock();
        if inner.secrets.masker().add([secret]) {
            inner.secrets.late = true;
        }
    }

    /// Ends the log.
    pub(crate) fn finish(&self) -> FinishedLog {
        self.lock().finish()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of the host in here leaves at worst a line out.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, stdio: Stdio, bytes: &[u8]) {
        let now = Timestamp::now();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ended = piece.strip_suffix(b"\n");
            let piece = ended.unwrap_or(piece);
            let kept = self.kept();
            let partial = self.partial[stdio as usize].get_or_insert_with(|| Partial {
                at: now,
                bytes: Vec::new(),
                more: 0,
            });
            let room = kept.saturating_sub(partial.bytes.len());
            let (keep, more) = piece.split_at(room.min(piece.len()));
            partial.bytes.extend_from_slice(keep);
            partial.more += more.len() as u64;
            if ended.is_some() {
                self.complete(stdio);
            }
        }
    }

    /// How much of a line is looked at: what is shown of it, and as much more as the longest secret or
    /// a character that the cut goes through.
    fn kept(&mut self) -> usize {
        self.bounds.line.saturating_add(self.secrets.masker().longest().max(3))
    }

    fn complete(&mut self, stdio: Stdio) {
        let source = match stdio {
            Stdio::Stdout => Source::Stdout,
            Stdio::Stderr => Source::Stderr,
        };
        if let Some(Partial { at, bytes, more }) = self.partial[stdio as usize].take() {
            self.line(source, at, &bytes, more);
        }
    }

    fn log(&mut self, level: Level, message: &[u8]) {
        let now = Timestamp::now();
        let message = message.strip_suffix(b"\n").unwrap_or(message);
        let (start, skipped, end) = self.worth_splitting(message);
        self.log_lines(level, now, start);
        if skipped > 0 {
            self.drop_bytes(skipped);
            self.log_lines(level, now, end);
        }
    }

    /// A message that is larger than the whole log is not taken apart line by line: of its middle
    /// nothing would be kept. Cuts it at line breaks.
    fn worth_splitting<'a>(&self, message: &'a [u8]) -> (&'a [u8], u64, &'a [u8]) {
        let Bounds { head, tail, line } = self.bounds;
        let (start, end) = (head.saturating_add(line), tail.saturating_add(line));
        if message.len() <= start.saturating_add(end) {
            return (message, 0, &[]);
        }
        let newline = |byte: &u8| *byte == b'\n';
        let Some(start) = message[start..].iter().position(newline).map(|at| start + at) else {
            return (message, 0, &[]);
        };
        let end = message.len() - end;
        let Some(end) = message[end..].iter().position(newline).map(|at| end + at + 1) else {
            return (message, 0, &[]);
        };
        // The line break at `start` ends a line that is kept.
        match end.checked_sub(start + 1) {
            Some(skipped @ 1..) => (&message[..start], skipped as u64, &message[end..]),
            _ => (message, 0, &[]),
        }
    }

    fn log_lines(&mut self, level: Level, at: Timestamp, lines: &[u8]) {
        for line in lines.split(|byte| *byte == b'\n') {
            let (keep, more) = line.split_at(self.kept().min(line.len()));
            self.line(Source::Log(level), at, keep, more.len() as u64);
        }
    }

    /// Masks, cuts and stores one line, of which `more` bytes are missing already.
    fn line(&mut self, source: Source, at: Timestamp, bytes: &[u8], more: u64) {
        let bytes = if more == 0 { bytes.strip_suffix(b"\r").unwrap_or(bytes) } else { bytes };
        let text = String::from_utf8_lossy(bytes);
        let end = text.floor_char_boundary(self.bounds.line);
        let cut = more + (text.len() - end) as u64;
        let whole = text;
        let mut text = CompactString::from(self.secrets.masker().mask_start(&whole, end));
        if let Some(reader) = &mut self.reader
            && source == Source::Stdout
        {
            // A mask would make other words of it, and what is read is masked later: but of what is cut, a mask
            // may no longer know the end.
            reader.line(if cut == 0 { &whole } else { &text });
        }
        if cut > 0 {
            self.hits.hit(Limit::LogLineBytes);
            text.push_str(&format!(" … [{cut} bytes cut]"));
        }
        let line = LogLine { at, source, text };
        if let Some(live) = &self.live {
            live.show(&line);
        }
        self.store(line);
    }

    fn store(&mut self, line: LogLine) {
        let cost = cost(&line);
        let in_head = self.tail.is_empty() && self.dropped_bytes == 0;
        if in_head && self.head_cost + cost <= self.bounds.head {
            self.head_cost += cost;
            self.head.push(line);
            return;
        }
        if in_head {
            // Now, and not when it ends: attempts with much to tell tend to end together, at their deadline.
            self.head.reserve_exact((self.bounds.tail / LINE_MIN_COST + 1).min(TAIL_RESERVED));
        }
        self.tail_cost += cost;
        self.tail.push_back(line);
        // The last line stays, however small the bound is.
        while self.tail_cost > self.bounds.tail && self.tail.len() > 1 {
            if let Some(dropped) = self.tail.pop_front() {
                self.tail_cost -= self::cost(&dropped);
                self.drop_bytes(dropped.text.len() as u64 + 1);
            }
        }
    }

    fn drop_bytes(&mut self, bytes: u64) {
        // The middle is what neither end has room for.
        self.hits.hit(Limit::LogHeadBytes);
        self.hits.hit(Limit::LogTailBytes);
        self.dropped_bytes += bytes;
    }

    fn finish(&mut self) -> FinishedLog {
        let begun = |partial: &Option<Partial>| partial.as_ref().map(|p| p.at);
        if begun(&self.partial[1]) < begun(&self.partial[0]) {
            self.complete(Stdio::Stderr);
        }
        self.complete(Stdio::Stdout);
        self.complete(Stdio::Stderr);
        let mut lines = std::mem::take(&mut self.head);
        let tail = std::mem::take(&mut self.tail);
        if self.dropped_bytes > 0 {
            let at = tail.front().map_or_else(Timestamp::now, |line| line.at);
            let text = format_compact!("… {} bytes of log dropped …", self.dropped_bytes);
            lines.push(LogLine { at, source: Source::Host, text });
        }
        lines.extend(tail);
        let masker = std::mem::take(self.secrets.masker());
        if self.secrets.late {
            for line in &mut lines {
                if let Cow::Owned(masked) = masker.mask(&line.text) {
                    line.text = masked.into();
                }
            }
        }
        let reader = self.reader.take();
        FinishedLog { lines, dropped_bytes: self.dropped_bytes, masker, reader }
    }
}

fn cost(line: &LogLine) -> usize {
    (line.text.len() + 1).max(LINE_MIN_COST)
}

/// The guest's end of stdout or stderr.
pub(crate) struct Capture {
    log: Log,
    stdio: Stdio,
}

impl Capture {
    fn another(&self) -> Self {
        Self { log: self.log.clone(), stdio: self.stdio }
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    /// Overridden because of GHSA-5m8g-xhq4-4h93: the default wraps `async_stream` in an
    /// `AsyncWriteStream`, whose queue grows by every write of zero bytes without bound.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.another())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.another())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_PERMIT {
            return Err(StreamError::trap("wrote more to stdout or stderr than was permitted"));
        }
        self.log.lock().write(self.stdio, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }

    // The default asks three times whether it may.
    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write(bytes)
    }
}

impl AsyncWrite for Capture {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITE_PERMIT)];
        self.log.lock().write(self.stdio, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
