//! How much of a processor plugins use, so that what they do delays no run.
//!
//! A low priority alone is not enough: the operating system lets whoever runs finish a slice of some
//! milliseconds, even if a thread that it favours far more wakes meanwhile, and a run wakes many threads, one
//! after the other. So plugins that compute rest for longer than they work. An even lower priority would make it
//! worse: who holds a lock that runs need must not wait for a processor.

use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::metrics::Metrics;

/// How much of a processor's time all plugins together may use at once before they rest: some calls that do what
/// plugins are for.
const AT_ONCE: Duration = Duration::from_millis(20);

/// The share of a processor that all plugins have together.
pub struct Pace {
    /// How many seconds each second of a processor must last.
    seconds_each: f64,
    /// When what was used so far is paid for.
    paid_at: Mutex<Instant>,
    metrics: Metrics,
}

impl Pace {
    /// So much of one processor, in percent.
    pub fn new(cpu_percent: u32, metrics: Metrics) -> Self {
        let seconds_each = 100.0 / f64::from(cpu_percent.max(1));
        Self { seconds_each, paid_at: Mutex::new(Instant::now()), metrics }
    }

    /// Does some work, and rests whenever too much was used.
    pub async fn keep<F: Future>(&self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        let mut rest = self.rest_after(Instant::now(), Duration::ZERO);
        loop {
            if let Some(until) = rest.take() {
                self.metrics.server_limit_hit("plugin.cpu_percent");
                tokio::time::sleep_until(until).await;
            }
            let worked = std::future::poll_fn(|context| {
                let begin = processor_time();
                let polled = work.as_mut().poll(context);
                let used = processor_time().saturating_sub(begin);
                rest = self.rest_after(Instant::now(), used);
                match polled {
                    Poll::Ready(output) => Poll::Ready(Some(output)),
                    Poll::Pending if rest.is_some() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            });
            if let Some(output) = worked.await {
                return output;
            }
        }
    }

    /// Counts what was used; until when to rest, if that was too much.
    fn rest_after(&self, now: Instant, used: Duration) -> Option<Instant> {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_at = (*paid_at).max(now) + used.mul_f64(self.seconds_each);
        let until = *paid_at - AT_ONCE.mul_f64(self.seconds_each);
        (until > now).then_some(until)
    }
}

/// What this thread used of its processor so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // The kernel gives neither negative.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_beyond_what_may_be_at_once_is_paid_for_with_rest() {
        let pace = Pace::new(50, Metrics::new());
        let (now, beyond) = (Instant::now(), AT_ONCE / 2);
        assert_eq!(pace.rest_after(now, AT_ONCE / 2), None);
        let until = now + 2 * beyond;
        assert_eq!(pace.rest_after(now, AT_ONCE), Some(until));
        assert_eq!(pace.rest_after(until, Duration::ZERO), None);
        let later = until + Duration::from_secs(1);
        assert_eq!(pace.rest_after(later, AT_ONCE), None);
        let more = pace.rest_after(later, beyond);
        assert_eq!(more, Some(later + 2 * beyond), "rest is not saved up");
    }
}
