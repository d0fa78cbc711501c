//! Where attempts wait until there is room for them: slots of the engines' pools, and memory.
//!
//! Both are given in the order in which they were asked for, whoever asks; so a suite with many tests
//! is ahead of another by no more than the attempts that it has waiting already, of which its run's
//! parallelism allows so many. Slots are taken before memory by everybody, and an attempt that has both
//! waits for nothing more of either, so none waits for ever.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::SandboxSettings;
use crate::metrics::Metrics;

/// Memory is counted in pieces of so many bytes, because a semaphore counts to 2^32 at once.
const PIECE_BYTES: u64 = 1 << 20;

/// All the room that there is.
pub(super) struct Rooms {
    slots: Arc<Semaphore>,
    all_slots: u32,
    memory: Arc<Semaphore>,
    all_memory: u32,
    metrics: Metrics,
}

/// The room of one attempt, until this is dropped.
pub(super) struct Room {
    slots: OwnedSemaphorePermit,
    memory: OwnedSemaphorePermit,
    metrics: Metrics,
}

impl Rooms {
    /// The room of attempts.
    pub(super) fn new(settings: &SandboxSettings, metrics: Metrics) -> Self {
        Self::of(settings.concurrent_attempts as u64, settings.memory_in_all(), metrics)
    }

    /// The room of plugins' hooks.
    pub(super) fn for_hooks(settings: &SandboxSettings, metrics: Metrics) -> Self {
        let slots = settings.concurrent_hooks as u64;
        Self::of(slots, slots.saturating_mul(settings.limits.memory_bytes), metrics)
    }

    fn of(slots: u64, memory_bytes: u64, metrics: Metrics) -> Self {
        let permits = |count: u64| u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let all_slots = permits(slots);
        let all_memory = permits(memory_bytes / PIECE_BYTES);
        let semaphore =
            |count: u32| Arc::new(Semaphore::new((count as usize).min(Semaphore::MAX_PERMITS)));
        Self {
            slots: semaphore(all_slots),
            all_slots,
            memory: semaphore(all_memory),
            all_memory,
            metrics,
        }
    }

    /// Waits for so many slots and so much memory. Of more memory than there is, waits for all: no
    /// attempt can have more. Fails if there are not as many slots at all.
    pub(super) async fn take(&self, slots: u32, memory_bytes: u64) -> Result<Room, String> {
        let all = self.all_slots;
        if slots > all {
            return Err(format!(
                "the component has so many memories or tables that it takes {slots} slots, and \
                 there are {all}: raise `concurrent_attempts`"
            ));
        }
        let pieces = memory_bytes.div_ceil(PIECE_BYTES).max(1);
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX).min(self.all_memory);
        let _waiting = Waiting::new(&self.metrics);
        let closed = |_| "the sandbox is closed".to_owned();
        let slots = self.slots.clone().acquire_many_owned(slots).await.map_err(closed)?;
        let memory = self.memory.clone().acquire_many_owned(pieces).await.map_err(closed)?;
        let room = Room { slots, memory, metrics: self.metrics.clone() };
        self.metrics.sandbox_room(room.slots(), room.memory_bytes());
        Ok(room)
    }
}

impl Room {
    fn slots(&self) -> i64 {
        self.slots.num_permits() as i64
    }

    fn memory_bytes(&self) -> i64 {
        self.memory.num_permits() as i64 * PIECE_BYTES as i64
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.metrics.sandbox_room(-self.slots(), -self.memory_bytes());
    }
}

/// Counted among those that wait, until this is dropped.
struct Waiting<'a>(&'a Metrics);

impl<'a> Waiting<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.sandbox_waiting(1);
        Self(metrics)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.sandbox_waiting(-1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn rooms(slots: usize, memory_bytes: u64) -> (Rooms, Metrics) {
        let metrics = Metrics::new();
        let settings = SandboxSettings {
            concurrent_attempts: slots,
            total_memory_bytes: memory_bytes,
            ..SandboxSettings::default()
        };
        (Rooms::new(&settings, metrics.clone()), metrics)
    }

    fn shows(metrics: &Metrics, slots: u64, waiting: u64, memory_bytes: u64) {
        let text = metrics.render();
        for (name, value) in [
            ("handoff_sandbox_slots_in_use", slots),
            ("handoff_sandbox_attempts_waiting", waiting),
            ("handoff_sandbox_memory_reserved_bytes", memory_bytes),
        ] {
            assert!(text.contains(&format!("\n{name} {value}\n")), "{name} is not {value}");
        }
    }

    #[test]
    fn attempts_wait_for_memory_in_their_order() {
        let (rooms, metrics) = rooms(10, 10 * MIB);
        let first = rooms.take(1, 6 * MIB).now_or_never().unwrap().unwrap();
        let mut large = Box::pin(rooms.take(1, 8 * MIB));
        assert!(large.as_mut().now_or_never().is_none());
        // There would be enough for this one, but the other was first.
        let mut small = Box::pin(rooms.take(1, MIB));
        assert!(small.as_mut().now_or_never().is_none());
        shows(&metrics, 1, 2, 6 * MIB);
        drop(first);
        let large = large.now_or_never().unwrap().unwrap();
        let small = small.now_or_never().unwrap().unwrap();
        shows(&metrics, 2, 0, 9 * MIB);
        drop((large, small));
        shows(&metrics, 0, 0, 0);
    }

    #[test]
    fn more_memory_than_there_is_means_all_of_it() {
        let (rooms, _) = rooms(2, 4 * MIB);
        let all = rooms.take(1, u64::MAX).now_or_never().unwrap().unwrap();
        assert!(rooms.take(1, 1).now_or_never().is_none());
        drop(all);
        assert!(rooms.take(1, 1).now_or_never().is_some());
    }

    #[test]
    fn one_that_gives_up_waiting_leaves_nothing_taken() {
        let (rooms, metrics) = rooms(2, 4 * MIB);
        let first = rooms.take(1, 4 * MIB).now_or_never().unwrap().unwrap();
        // It has its slot already when it gives up.
        assert!(rooms.take(1, MIB).now_or_never().is_none());
        drop(first);
        shows(&metrics, 0, 0, 0);
        assert!(rooms.take(2, 4 * MIB).now_or_never().is_some());
        assert!(rooms.take(3, MIB).now_or_never().unwrap().is_err());
    }
}
