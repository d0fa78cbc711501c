//! Settings of the store. What they mean is said here; where each holds, the module that it concerns sees to.

/// Settings of the store (`[storage]`).
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSettings {
    /// sled's page cache, in bytes: 8 MiB. At least 1 MiB is used. sled's index of pages is not part of it
    /// and has no bound: some 600 bytes of memory for each stored run.
    pub cache_bytes: u64,
    /// Refuse writes when the disk has less free space than this, in bytes: 64 MiB.
    pub min_free_bytes: u64,
    /// How many events may wait to be stored: 4,096. Whoever appends then waits.
    pub queue: usize,
    /// How many large details of attempts (more than a hundred lines of log, requests and the like) are made
    /// ready to be stored at the same time: 2. Further ones wait. It takes milliseconds of a processor for
    /// each, which attempts need that are near their deadline.
    pub large_details: usize,
    /// How many bytes the events that wait may hold, artifacts included: 64 MiB. A single larger event
    /// waits until the queue is empty.
    pub queue_bytes: u32,
    /// How long an Idempotency-Key is remembered: 24 hours.
    pub idempotency_ttl_ms: u64,
    /// How many Idempotency-Keys are remembered: 100,000. The oldest go first.
    pub idempotency_keys: u64,
    /// How many attempts a run that is read holds, in sum over its tests: 10,000. Each test has the same
    /// share, its last ones, and at least one; all of a test are read with the test alone.
    pub attempts_shown: usize,
    /// How many tests of a suite may be muted, disabled or expected to fail: 1,000.
    pub marks: u64,
    /// How many times of a schedule are remembered with what became of them: 10,000. The oldest go first.
    pub schedule_rows: u64,
    /// How many calls to a trigger are remembered with what became of them: 10,000. The oldest go first.
    pub trigger_rows: u64,
    /// How many of these may be calls without a right signature, which anybody can make: 1,000. The oldest
    /// go first.
    pub trigger_refusals: u64,
    /// How many ids of deliveries that started runs are remembered of a trigger, to know them again:
    /// 100,000. GitHub's deliveries take two each. The oldest go first.
    pub trigger_deliveries: u64,
    /// How many results of each test, and of each suite, are kept for statistics: 500. The oldest go first.
    pub statistics_results: u64,
    /// Of how many tests of a suite results are kept: 20,000. Tests that have not run for long go first.
    pub statistics_tests: u64,
    /// How many groups of failures of a suite are kept: 1,000. Those not seen for long go first.
    pub statistics_groups: u64,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 8 << 20,
            min_free_bytes: 64 << 20,
            queue: 4096,
            large_details: 2,
            queue_bytes: 64 << 20,
            idempotency_ttl_ms: 86_400_000,
            idempotency_keys: 100_000,
            attempts_shown: 10_000,
            marks: 1_000,
            schedule_rows: 10_000,
            trigger_rows: 10_000,
            trigger_refusals: 1_000,
            trigger_deliveries: 100_000,
            statistics_results: 500,
            statistics_tests: 20_000,
            statistics_groups: 1_000,
        }
    }
}
