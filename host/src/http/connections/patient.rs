//! A stream that gives up on a peer that takes an answer too slowly. Without it, a client that stops
//! reading, or reads a byte now and then, would hold an answer, and what makes it, for ever.
//!
//! It also keeps back what hyper says by itself when it cannot read a request's head: a bare status. That
//! is all that is ever written while no request is under way; our own answer takes its place.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::places::Place;
use crate::http::HttpSettings;

/// A stream with [`Patience`].
pub(super) struct Patient<S> {
    stream: S,
    place: Arc<Place>,
    patience: Patience,
    /// Runs while a write waits; the limit is the one that is hit when it ends.
    deadline: Option<(Pin<Box<Sleep>>, &'static str)>,
    /// Whether hyper said something by itself, after which it shuts the stream down.
    kept_back: bool,
}

/// The client took its answer too slowly.
#[derive(Debug)]
pub(super) struct TooSlow {
    /// The setting that it did not keep to.
    pub(super) limit: &'static str,
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "send an answer: the client takes it too slowly ({})", self.limit)
    }
}

impl std::error::Error for TooSlow {}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, place: Arc<Place>, settings: &HttpSettings) -> Self {
        let patience = Patience::new(settings);
        Self { stream, place, patience, deadline: None, kept_back: false }
    }

    /// Whether to keep back what is about to be written.
    fn keeps_back(&mut self) -> bool {
        let keeps_back = !self.place.is_under_way();
        self.kept_back |= keeps_back;
        keeps_back
    }

    /// Passes on what is ready; of what is not, how long it has been waiting decides.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.deadline.take().is_some() {
                self.patience.wait_ended(Instant::now());
            }
            return written;
        }
        let patience = &mut self.patience;
        let (deadline, limit) = self.deadline.get_or_insert_with(|| {
            let (until, limit) = patience.wait_began(Instant::now());
            (Box::pin(sleep_until(until)), limit)
        });
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow { limit })))
    }

    fn count(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.patience.taken(*bytes);
        }
    }
}

/// How long a client may make an answer wait: not beyond `write_timeout_ms` at a time, and in all not
/// beyond that and one second for every `write_bytes_per_s` that it takes.
///
/// Only time counts during which something waits to be sent and the client takes none of it, so a
/// stream of events may be silent for as long as it likes.
struct Patience {
    at_a_time: Duration,
    bytes_per_s: u64,
    /// How long this answer has waited in all, the wait under way left out.
    waited: Duration,
    /// What the client took of this answer since it first made it wait; none if it never did. What
    /// went before that may only lie in the kernel's buffers.
    taken: Option<u64>,
    /// Since when it waits.
    since: Option<Instant>,
}

impl Patience {
    fn new(settings: &HttpSettings) -> Self {
        let at_a_time = Duration::from_millis(settings.write_timeout_ms);
        let bytes_per_s = settings.write_bytes_per_s.max(1);
        Self { at_a_time, bytes_per_s, waited: Duration::ZERO, taken: None, since: None }
    }

    /// Until when the client must take something, and the limit that it hits otherwise.
    fn wait_began(&mut self, now: Instant) -> (Instant, &'static str) {
        self.since = Some(now);
        let taken_ms = self.taken.get_or_insert(0).saturating_mul(1_000) / self.bytes_per_s;
        let excused = Duration::from_millis(taken_ms);
        let in_all = (self.at_a_time + excused).saturating_sub(self.waited);
        if in_all < self.at_a_time {
            (now + in_all, "http.write_bytes_per_s")
        } else {
            (now + self.at_a_time, "http.write_timeout_ms")
        }
    }

    fn wait_ended(&mut self, now: Instant) {
        self.waited += self.since.take().map_or(Duration::ZERO, |since| now - since);
    }

    fn taken(&mut self, bytes: usize) {
        if let Some(taken) = &mut self.taken {
            *taken = taken.saturating_add(bytes as u64);
        }
    }

    /// The next answer starts anew.
    fn answer_ended(&mut self) {
        (self.waited, self.taken) = (Duration::ZERO, None);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.keeps_back() {
            return Poll::Ready(Ok(data.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.count(&written);
        self.bounded(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) && self.place.flushed() {
            self.patience.answer_ended();
        }
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.kept_back) {
            return Poll::Ready(Ok(()));
        }
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.keeps_back() {
            return Poll::Ready(Ok(data.iter().map(|part| part.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.count(&written);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// 10 s at a time, 100 bytes a second.
    fn patience() -> Patience {
        let (write_timeout_ms, write_bytes_per_s) = (10_000, 100);
        Patience::new(&HttpSettings { write_timeout_ms, write_bytes_per_s, ..Default::default() })
    }

    /// Whether a client that takes so many bytes after each wait of so many seconds is given up
    /// within so many waits, and for which limit.
    fn given_up(patience: &mut Patience, bytes: usize, wait: u32, waits: u32) -> Option<&str> {
        let mut now = Instant::now();
        for _ in 0..waits {
            let (until, limit) = patience.wait_began(now);
            now += wait * SECOND;
            if until < now {
                return Some(limit);
            }
            patience.wait_ended(now);
            patience.taken(bytes);
        }
        None
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        assert_eq!(given_up(&mut patience(), 1, 11, 1), Some("http.write_timeout_ms"));
        // However much it took before.
        let mut patience = patience();
        assert_eq!(given_up(&mut patience, 1 << 30, 1, 1_000), None);
        assert_eq!(given_up(&mut patience, 0, 11, 1), Some("http.write_timeout_ms"));
    }

    #[test]
    fn a_client_that_takes_a_little_now_and_then_is_given_up() {
        assert_eq!(given_up(&mut patience(), 1, 9, 2), Some("http.write_bytes_per_s"));
        assert_eq!(given_up(&mut patience(), 90, 1, 90), None);
        assert_eq!(given_up(&mut patience(), 90, 1, 100), Some("http.write_bytes_per_s"));
        assert_eq!(given_up(&mut patience(), 100, 1, 100_000), None);
    }

    #[test]
    fn what_lies_in_buffers_before_the_first_wait_excuses_nothing_and_an_answer_starts_anew() {
        let mut patience = patience();
        patience.taken(1 << 30);
        assert_eq!(given_up(&mut patience, 1, 9, 2), Some("http.write_bytes_per_s"));
        patience.answer_ended();
        assert_eq!(given_up(&mut patience, 1, 9, 1), None);
    }
}
