//! A map of bounded size that forgets what was not used for longest.

use std::collections::HashMap;
use std::hash::Hash;

/// Finding the oldest entry walks over all of them: meant for some thousand at most.
pub(super) struct Lru<K, V> {
    max_entries: usize,
    max_bytes: u64,
    clock: u64,
    bytes: u64,
    entries: HashMap<K, Entry<V>>,
}

struct Entry<V> {
    used: u64,
    bytes: u64,
    value: V,
}

impl<K: Copy + Eq + Hash, V: Clone> Lru<K, V> {
    /// An empty map for so many entries, whose sizes add up to so much.
    pub(super) fn new(max_entries: usize, max_bytes: u64) -> Self {
        Self { max_entries, max_bytes, clock: 0, bytes: 0, entries: HashMap::new() }
    }

    /// The value of `key`, which now counts as used.
    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    /// Keeps `value`, and forgets what was not used for longest until the rest fits. What is too
    /// large by itself is not kept.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: u64) {
        self.remove(&key);
        if self.max_entries == 0 || bytes > self.max_bytes {
            return;
        }
        while self.entries.len() >= self.max_entries || self.bytes + bytes > self.max_bytes {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else { break };
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.entries.insert(key, Entry { used: self.clock, bytes, value });
    }

    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_not_used_for_longest_goes_first() {
        let mut lru = Lru::new(2, 100);
        lru.insert(1, "one", 1);
        lru.insert(2, "two", 1);
        assert_eq!(lru.get(&1), Some("one"));
        lru.insert(3, "three", 1);
        assert_eq!((lru.get(&1), lru.get(&2), lru.get(&3)), (Some("one"), None, Some("three")));
    }

    #[test]
    fn large_entries_make_room_for_fewer() {
        let mut lru = Lru::new(10, 100);
        lru.insert(1, "one", 40);
        lru.insert(2, "two", 60);
        lru.insert(2, "two again", 50);
        assert_eq!((lru.get(&1), lru.get(&2)), (Some("one"), Some("two again")));
        lru.insert(3, "three", 20);
        assert_eq!(
            (lru.get(&1), lru.get(&2), lru.get(&3)),
            (None, Some("two again"), Some("three"))
        );
        lru.insert(4, "four", 101);
        assert_eq!((lru.get(&2), lru.get(&4)), (Some("two again"), None));
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let mut lru = Lru::new(0, 100);
        lru.insert(1, "one", 1);
        assert_eq!(lru.get(&1), None);
    }
}
