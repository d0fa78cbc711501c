//! Who is connected: a bounded number of places, and which connection gives its place up when there is
//! none left.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// The places for connections.
///
/// When all are taken, a new connection gets that of one without a request under way: a new one that
/// has not sent its request yet, or one that is kept alive. It is taken from the address that has the
/// most connections, and there from the one idle longest, so that nobody can lock others out by
/// connecting and saying nothing. A connection with a request under way is never given up.
pub(super) struct Places {
    limit: usize,
    taken: Mutex<Taken>,
    /// Told when a place may have become free, or its connection idle. Only one waits for it.
    changed: Notify,
}

#[derive(Default)]
struct Taken {
    /// The number of the next connection.
    next: u64,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    peer: IpAddr,
    /// Since when no request is under way.
    idle_since: Option<Instant>,
    evicted: CancellationToken,
}

impl Places {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let (taken, changed) = (Mutex::default(), Notify::new());
        Arc::new(Self { limit: limit.max(1), taken, changed })
    }

    /// A place for a connection from `peer`, when there is one.
    pub(super) async fn take(self: &Arc<Self>, peer: IpAddr, metrics: &Metrics) -> Arc<Place> {
        if self.taken().connections.len() >= self.limit {
            metrics.server_limit_hit("http.connections");
        }
        loop {
            if let Some(place) = self.try_take(peer) {
                return place;
            }
            self.changed.notified().await;
        }
    }

    fn try_take(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Place>> {
        let mut taken = self.taken();
        if taken.connections.len() >= self.limit {
            let given_up = taken.dispensable()?;
            taken.connections.remove(&given_up)?.evicted.cancel();
        }
        let number = taken.next;
        taken.next += 1;
        let evicted = CancellationToken::new();
        let idle_since = Some(Instant::now());
        let connection = Connection { peer, idle_since, evicted: evicted.clone() };
        taken.connections.insert(number, connection);
        let places = Arc::clone(self);
        let [under_way, unread, answered] = [false; 3].map(AtomicBool::new);
        Some(Arc::new(Place { places, number, evicted, under_way, unread, answered }))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The connection that is missed least; none if each has a request under way.
    fn dispensable(&self) -> Option<u64> {
        let mut by_peer = HashMap::<IpAddr, usize>::new();
        for connection in self.connections.values() {
            *by_peer.entry(connection.peer).or_default() += 1;
        }
        let idle = self.connections.iter().filter_map(|(number, connection)| {
            Some((number, by_peer.get(&connection.peer)?, connection.idle_since?))
        });
        let longest = idle.max_by(|a, b| a.1.cmp(b.1).then(b.2.cmp(&a.2)));
        longest.map(|(number, ..)| *number)
    }
}

/// One connection's place, shared by all that serve it. Dropping the last share gives it back.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    evicted: CancellationToken,
    /// Whether a request came whose answer has not been sent.
    under_way: AtomicBool,
    /// Whether the request under way, or the last one, has a body that was not read to its end.
    unread: AtomicBool,
    /// Whether the answer under way has been made; what is left of it is on its way out.
    answered: AtomicBool,
}

impl Place {
    /// Resolves when the connection must give its place to another.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// A request came.
    pub(super) fn request_began(&self, has_body: bool) {
        self.unread.store(has_body, Ordering::Release);
        self.answered.store(false, Ordering::Release);
        self.under_way.store(true, Ordering::Release);
        self.set_idle_since(None);
    }

    /// Whether a request came whose answer has not been sent.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Acquire)
    }

    /// The request's body was read to its end.
    pub(super) fn body_ended(&self) {
        self.unread.store(false, Ordering::Release);
    }

    /// Whether the client may still be sending what nobody reads.
    pub(super) fn has_unread_body(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// The answer has been made.
    pub(super) fn answer_ended(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// Everything that was made has been sent. True if an answer ended with it.
    pub(super) fn flushed(&self) -> bool {
        let ended = self.answered.swap(false, Ordering::AcqRel);
        if ended {
            self.under_way.store(false, Ordering::Release);
            self.set_idle_since(Some(Instant::now()));
            self.places.changed.notify_one();
        }
        ended
    }

    fn set_idle_since(&self, since: Option<Instant>) {
        if let Some(connection) = self.places.taken().connections.get_mut(&self.number) {
            connection.idle_since = since;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().connections.remove(&self.number);
        self.places.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    fn is_evicted(place: &Place) -> bool {
        place.evicted.is_cancelled()
    }

    #[tokio::test]
    async fn the_address_with_the_most_connections_gives_up_the_one_idle_longest() {
        let (places, metrics) = (Places::new(4), Metrics::new());
        let take = async |last| places.take(peer(last), &metrics).await;
        let other = take(2).await;
        let (first, second, third) = (take(1).await, take(1).await, take(1).await);
        first.request_began(false);
        let fifth = take(3).await;
        let all = [&other, &first, &second, &third, &fifth];
        assert_eq!(all.map(|place| is_evicted(place)), [false, false, true, false, false]);
        assert!(metrics.render().contains("{limit=\"http_connections\"} 1"));
    }

    #[tokio::test]
    async fn a_connection_with_a_request_under_way_keeps_its_place_until_its_answer_is_sent() {
        let (places, metrics) = (Places::new(1), Metrics::new());
        let first = places.take(peer(1), &metrics).await;
        first.request_began(true);
        first.answer_ended();
        let mut waiting = by_hand(places.take(peer(2), &metrics));
        assert!(waiting.poll().is_pending());
        assert!(first.flushed() && !first.flushed());
        assert!(waiting.poll().is_ready());
        assert!(is_evicted(&first));
    }

    #[tokio::test]
    async fn a_place_given_back_goes_to_who_waits() {
        let (places, metrics) = (Places::new(1), Metrics::new());
        let first = places.take(peer(1), &metrics).await;
        first.request_began(false);
        let mut waiting = by_hand(places.take(peer(2), &metrics));
        assert!(waiting.poll().is_pending());
        drop(first);
        assert!(waiting.poll().is_ready());
    }

    /// A future that is polled by hand.
    struct ByHand<F>(std::pin::Pin<Box<F>>);

    fn by_hand<F: Future>(future: F) -> ByHand<F> {
        ByHand(Box::pin(future))
    }

    impl<F: Future> ByHand<F> {
        fn poll(&mut self) -> std::task::Poll<F::Output> {
            self.0.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        }
    }
}
