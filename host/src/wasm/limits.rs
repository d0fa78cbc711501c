//! What an attempt may use of the engine's resources, and the record of which limits it hit.
//!
//! wasmtime's own `StoreLimits` bounds each memory and each table by itself; here the bound is on
//! their sum, so that a component cannot multiply it by having many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::model::{Limit, Limits};

/// The limits that an attempt has hit, each once. Cheap to clone; clones share the record.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitsHit(Arc<AtomicU64>);

// One bit for each limit.
const _: () = assert!(Limit::ALL.len() <= 64);

impl LimitsHit {
    /// Records that `limit` was hit.
    pub(crate) fn hit(&self, limit: Limit) {
        self.0.fetch_or(1 << limit as u64, Ordering::Relaxed);
    }

    /// Whether `limit` was hit.
    pub(crate) fn was_hit(&self, limit: Limit) -> bool {
        self.0.load(Ordering::Relaxed) & (1 << limit as u64) != 0
    }

    /// The limits hit so far, in the order in which the limits are declared; forgets them.
    pub(crate) fn take(&self) -> Vec<Limit> {
        let hit = self.0.swap(0, Ordering::Relaxed);
        Limit::ALL.iter().copied().filter(|limit| hit & (1 << *limit as u64) != 0).collect()
    }
}

/// Cuts a message at its limit, and says so in the message.
pub(crate) fn cut_message(text: &mut String, limits: &Limits, hits: &LimitsHit) {
    let limit = usize::try_from(limits.message_bytes).unwrap_or(usize::MAX);
    let end = text.floor_char_boundary(limit);
    if end < text.len() {
        hits.hit(Limit::MessageBytes);
        let cut = text.len() - end;
        text.truncate(end);
        text.push_str(&format!(" … [{cut} bytes cut]"));
    }
}

/// Counts one store's memories, tables and instances against their limits.
pub(crate) struct ResourceCounter {
    memory: Sum,
    tables: Sum,
    instances: usize,
    hits: LimitsHit,
}

/// An amount in sum over everything of one kind.
struct Sum {
    now: usize,
    peak: usize,
    limit: usize,
    /// What the last growth added, to be taken back if the engine could not do it after all.
    last: usize,
}

impl Sum {
    fn new(limit: u64) -> Self {
        Self { now: 0, peak: 0, limit: usize::try_from(limit).unwrap_or(usize::MAX), last: 0 }
    }

    /// Adds the growth from `current` to `desired`, unless the sum would pass the limit.
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current);
        self.last = 0;
        if self.now.saturating_add(more) > self.limit {
            return false;
        }
        self.last = more;
        self.now += more;
        self.peak = self.peak.max(self.now);
        true
    }

    fn take_back(&mut self) {
        self.now -= std::mem::take(&mut self.last);
    }
}

impl ResourceCounter {
    /// Nothing used yet. No memory may grow beyond `largest_memory`, because the pool's slots are
    /// no larger.
    pub(crate) fn new(limits: &Limits, largest_memory: u64, hits: LimitsHit) -> Self {
        Self {
            memory: Sum::new(limits.memory_bytes.min(largest_memory)),
            tables: Sum::new(limits.table_elements),
            instances: usize::try_from(limits.instances).unwrap_or(usize::MAX),
            hits,
        }
    }

    /// The most bytes of linear memory that there were at one time.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory.peak as u64
    }

    /// The bytes of linear memory that there may be.
    pub(crate) fn memory_limit(&self) -> u64 {
        self.memory.limit as u64
    }
}

impl ResourceLimiter for ResourceCounter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = self.memory.grow(current, desired);
        if !allowed {
            self.hits.hit(Limit::MemoryBytes);
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.take_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = self.tables.grow(current, desired);
        if !allowed {
            self.hits.hit(Limit::TableElements);
        }
        Ok(allowed)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables.take_back();
        Ok(())
    }

    // An instance has at most a few memories and tables, and their sizes count above; so one limit
    // is enough for the number of each.
    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_recorded_once() {
        let hits = LimitsHit::default();
        for limit in Limit::ALL.iter().chain(Limit::ALL) {
            hits.clone().hit(*limit);
            assert!(hits.was_hit(*limit));
        }
        assert_eq!(hits.take(), Limit::ALL);
        assert_eq!(hits.take(), []);
    }

    #[test]
    fn memory_counts_in_sum_and_a_growth_that_failed_does_not() {
        let hits = LimitsHit::default();
        let limits = Limits { memory_bytes: 100, ..Limits::default() };
        let mut counter = ResourceCounter::new(&limits, 1000, hits.clone());
        assert!(counter.memory_growing(0, 40, None).unwrap());
        assert!(counter.memory_growing(0, 40, None).unwrap());
        assert!(!counter.memory_growing(40, 80, None).unwrap());
        assert!(counter.memory_growing(40, 60, None).unwrap());
        counter.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(counter.memory_growing(40, 60, None).unwrap());
        assert_eq!(counter.peak_memory(), 100);
        assert_eq!(hits.take(), [Limit::MemoryBytes]);
    }
}
