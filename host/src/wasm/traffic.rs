//! What an attempt sends and receives: its record and its bounds, the same for HTTP and TCP.
//!
//! Every request and connection becomes an [`Exchange`], denied ones included. Whether it is allowed
//! is decided elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::LimitsHit;
use crate::metrics::Metrics;
use crate::model::{Exchange, Limit, Limits};

/// The longest URL, method or reason that is kept of an exchange, in bytes; the rest is cut.
const MAX_TEXT_BYTES: usize = 2048;

/// The traffic of one attempt. Cheap to make and to clone; clones share the record.
#[derive(Clone)]
pub(crate) struct Traffic(Arc<Inner>);

struct Inner {
    limits: Arc<Limits>,
    hits: LimitsHit,
    metrics: Metrics,
    sent: AtomicU64,
    received: AtomicU64,
    slots: Arc<Semaphore>,
    records: Mutex<Vec<Arc<Record>>>,
}

/// One exchange while it is under way and after.
struct Record {
    exchange: Mutex<Exchange>,
    started: Instant,
    ended: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

/// One of the [`Limits::concurrent_requests`]; dropped when its connection is closed.
pub(super) struct Slot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// A limit on bytes was reached, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit {} of {bytes} bytes is reached: raise it in the policy", .limit.as_str())]
pub(super) struct Over {
    limit: Limit,
    pub(super) bytes: u64,
}

/// What to do so that a denied target is allowed: the policy's entry and the option for it.
pub(super) fn advice(list: &str, entry: &str) -> String {
    let option = list.replace('_', "-");
    format!("grant {list} = [\"{entry}\"], on the command line by --{option} {entry}")
}

impl Traffic {
    /// No traffic so far.
    pub(crate) fn new(limits: Arc<Limits>, hits: LimitsHit, metrics: Metrics) -> Self {
        let slots = usize::try_from(limits.concurrent_requests).unwrap_or(usize::MAX);
        Self(Arc::new(Inner {
            limits,
            hits,
            metrics,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            slots: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
            records: Mutex::new(Vec::new()),
        }))
    }

    /// The exchanges so far, in order of their start. Those still under way are shown as they are
    /// now.
    pub(crate) fn finish(&self) -> Vec<Exchange> {
        self.records().iter().map(|record| record.show()).collect()
    }

    /// The attempt's limits.
    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Records that `limit` was hit.
    pub(super) fn hit(&self, limit: Limit) {
        self.0.hits.hit(limit);
    }

    /// Records an exchange that the policy allows. None when [`Limits::requests`] is reached.
    pub(super) fn begin(
        &self,
        method: &str,
        url: &str,
        trace_id: Option<String>,
    ) -> Option<Ongoing> {
        let record = self.record(method, url, None, trace_id)?;
        self.0.metrics.outgoing_request(true);
        Some(Ongoing { tally: Tally { traffic: self.clone(), record } })
    }

    /// Records an exchange that was denied.
    pub(super) fn deny(&self, method: &str, url: &str, reason: &str) {
        self.0.metrics.outgoing_request(false);
        if let Some(record) = self.record(method, url, Some(reason), None) {
            record.end();
        }
    }

    /// Waits for its turn. Bounded by whoever waits.
    pub(super) async fn slot(&self) -> Option<Slot> {
        match self.try_slot() {
            Some(slot) => Some(slot),
            None => self.0.slots.clone().acquire_owned().await.ok().map(Slot),
        }
    }

    /// A place among the concurrent exchanges, if one is free.
    pub(super) fn try_slot(&self) -> Option<Slot> {
        let slot = self.0.slots.clone().try_acquire_owned().ok().map(Slot);
        if slot.is_none() {
            self.hit(Limit::ConcurrentRequests);
        }
        slot
    }

    fn record(
        &self,
        method: &str,
        url: &str,
        denied: Option<&str>,
        trace_id: Option<String>,
    ) -> Option<Arc<Record>> {
        let mut records = self.records();
        if records.len() as u64 >= self.0.limits.requests {
            self.hit(Limit::Requests);
            return None;
        }
        let record = Arc::new(Record {
            exchange: Mutex::new(Exchange {
                started_at: Timestamp::now(),
                method: cut(method),
                url: cut(url),
                allowed: denied.is_none(),
                status: None,
                error: denied.map(cut),
                sent_bytes: 0,
                received_bytes: 0,
                duration_ms: 0,
                trace_id,
            }),
            started: Instant::now(),
            ended: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        });
        records.push(record.clone());
        Some(record)
    }

    fn records(&self) -> MutexGuard<'_, Vec<Arc<Record>>> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let mut exchange = self.exchange();
        if !self.ended.swap(true, Ordering::Relaxed) {
            exchange.duration_ms = self.age_ms();
        }
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn show(&self) -> Exchange {
        let mut exchange = self.exchange().clone();
        if !self.ended.load(Ordering::Relaxed) {
            exchange.duration_ms = self.age_ms();
        }
        exchange.sent_bytes = self.sent.load(Ordering::Relaxed);
        exchange.received_bytes = self.received.load(Ordering::Relaxed);
        exchange
    }
}

/// An exchange under way. It ends when this is dropped.
pub(super) struct Ongoing {
    tally: Tally,
}

impl Ongoing {
    /// A counter for its bytes.
    pub(super) fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Records the status of the answer.
    pub(super) fn status(&self, status: u16) {
        self.tally.record.exchange().status = Some(status);
    }

    /// Records why it came to nothing; the first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        self.tally.fail(reason);
    }

    /// Records that, as was found after it began, the policy does not allow it.
    pub(super) fn deny(&self, reason: &str) {
        self.tally.record.exchange().allowed = false;
        self.fail(reason);
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.tally.record.end();
    }
}

/// Counts the bytes of one exchange against the attempt's limits.
#[derive(Clone)]
pub(super) struct Tally {
    traffic: Traffic,
    record: Arc<Record>,
}

impl Tally {
    /// Counts bytes to be sent; they must not be sent if they are over the limit.
    pub(super) fn sent(&self, bytes: usize) -> Result<(), Over> {
        let inner = &self.traffic.0;
        self.count(bytes, &inner.sent, &self.record.sent, Limit::SentBytes)
    }

    /// Counts bytes received; they must not be handed on if they are over the limit.
    pub(super) fn received(&self, bytes: usize) -> Result<(), Over> {
        let inner = &self.traffic.0;
        self.count(bytes, &inner.received, &self.record.received, Limit::ReceivedBytes)
    }

    /// Records why the exchange came to nothing; the first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        self.record.exchange().error.get_or_insert_with(|| cut(reason));
    }

    fn count(
        &self,
        bytes: usize,
        total: &AtomicU64,
        own: &AtomicU64,
        limit: Limit,
    ) -> Result<(), Over> {
        let bytes = bytes as u64;
        let allowed = self.traffic.limits().get(limit);
        let fits = |sum: u64| sum.checked_add(bytes).filter(|sum| *sum <= allowed);
        if total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            let over = Over { limit, bytes: allowed };
            self.traffic.hit(limit);
            self.fail(&over.to_string());
            return Err(over);
        }
        own.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_TEXT_BYTES - '…'.len_utf8());
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(limits: Limits) -> (Traffic, LimitsHit) {
        let hits = LimitsHit::default();
        (Traffic::new(Arc::new(limits), hits.clone(), Metrics::new()), hits)
    }

    #[test]
    fn exchanges_are_kept_in_order_up_to_the_limit() {
        let (traffic, hits) = traffic(Limits { requests: 2, ..Limits::default() });
        let first = traffic.begin("GET", "http://a/", Some("t".into())).unwrap();
        traffic.deny("POST", &"é".repeat(MAX_TEXT_BYTES), "no");
        assert!(traffic.begin("GET", "http://b/", None).is_none());
        traffic.deny("GET", "http://c/", "no");
        assert_eq!(hits.take(), [Limit::Requests]);
        first.status(200);
        drop(first);
        let [first, second] = traffic.finish().try_into().unwrap();
        assert_eq!((first.method.as_str(), first.status, first.allowed), ("GET", Some(200), true));
        assert_eq!((second.error.as_deref(), second.allowed), (Some("no"), false));
        assert!(second.url.len() <= MAX_TEXT_BYTES && second.url.ends_with('…'));
    }

    #[test]
    fn bytes_are_counted_for_the_exchange_and_bounded_for_the_attempt() {
        let (traffic, hits) =
            traffic(Limits { sent_bytes: 10, received_bytes: u64::MAX, ..Limits::default() });
        let [a, b] = ["a", "b"].map(|url| traffic.begin("GET", url, None).unwrap());
        assert_eq!(a.tally().sent(6), Ok(()));
        assert_eq!(b.tally().received(100), Ok(()));
        let over = b.tally().sent(5).unwrap_err();
        assert_eq!(over, Over { limit: Limit::SentBytes, bytes: 10 });
        assert_eq!(b.tally().sent(4), Ok(()));
        assert_eq!(hits.take(), [Limit::SentBytes]);
        let [a, b] = traffic.finish().try_into().unwrap();
        assert_eq!((a.sent_bytes, a.received_bytes, a.error), (6, 0, None));
        assert_eq!((b.sent_bytes, b.received_bytes), (4, 100));
        assert!(b.error.unwrap().contains("sent_bytes of 10 bytes"));
    }

    #[tokio::test]
    async fn slots_are_waited_for() {
        let (traffic, hits) = traffic(Limits { concurrent_requests: 1, ..Limits::default() });
        let slot = traffic.slot().await.unwrap();
        assert_eq!(hits.take(), []);
        assert!(traffic.try_slot().is_none());
        assert_eq!(hits.take(), [Limit::ConcurrentRequests]);
        let waiting = tokio::spawn({
            let traffic = traffic.clone();
            async move { traffic.slot().await.is_some() }
        });
        drop(slot);
        assert!(waiting.await.unwrap());
    }
}
