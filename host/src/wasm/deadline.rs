//! The moment at which an attempt ends, shared by all that wait on its behalf.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When an attempt ends. Only ever moves later, so whoever slept until it asks again on waking.
/// Cheap to clone; clones share the moment.
#[derive(Clone, Debug)]
pub(crate) struct SharedDeadline(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What `after_ns` counts from.
    base: Instant,
    after_ns: AtomicU64,
}

impl SharedDeadline {
    /// A deadline at `at`.
    pub(crate) fn new(at: Instant) -> Self {
        Self(Arc::new(Inner { base: at, after_ns: AtomicU64::new(0) }))
    }

    /// The deadline as it is now.
    pub(crate) fn at(&self) -> Instant {
        self.0.base + Duration::from_nanos(self.0.after_ns.load(Ordering::Relaxed))
    }

    /// How long until the deadline; zero once it has passed.
    pub(crate) fn remaining(&self) -> Duration {
        self.at().saturating_duration_since(Instant::now())
    }

    /// Moves the deadline to `at`; an earlier moment than the present one changes nothing.
    pub(crate) fn extend_to(&self, at: Instant) {
        let after = at.saturating_duration_since(self.0.base).as_nanos();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.0.after_ns.fetch_max(after, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_moves_later_and_never_earlier() {
        let start = Instant::now();
        let deadline = SharedDeadline::new(start + Duration::from_secs(100));
        let other = deadline.clone();
        other.extend_to(start + Duration::from_secs(150));
        assert_eq!(deadline.at(), start + Duration::from_secs(150));
        other.extend_to(start);
        assert_eq!(deadline.at(), start + Duration::from_secs(150));
        assert!(deadline.remaining() > Duration::from_secs(100));
        assert_eq!(SharedDeadline::new(start).remaining(), Duration::ZERO);
    }
}
