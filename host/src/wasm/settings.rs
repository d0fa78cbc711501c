//! What an operator sets of the sandbox.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::engine::{MEMORIES_PER_SLOT, TABLES_PER_SLOT};
use crate::model::{Limits, LimitsPatch};

/// Settings of the sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxSettings {
    /// Attempts and describes at the same time; more wait. Sizes the pools: 256.
    pub concurrent_attempts: usize,
    /// Hooks of plugins at the same time; more wait. They take none of the places of attempts: 16.
    pub concurrent_hooks: usize,
    /// Memory of all attempts and describes at the same time, in bytes; each counts with the limit
    /// `memory_bytes` that holds for it, and more wait. No single attempt has more. 0: as much as
    /// `concurrent_attempts` with the `memory_bytes` of `limits` may have, 64 GiB by default. Set it
    /// to what the machine can spare if suites that use their memory may run at the same time.
    pub total_memory_bytes: u64,
    /// How long a describe or a teardown waits for a free slot and memory, in milliseconds: 60 s.
    /// Other attempts wait until their run's deadline.
    pub slot_wait_ms: u64,
    /// How often a guest that computes is asked whether its time is up, in microseconds: 250. With fewer than 64
    /// guests at a time less often, four times as long with up to 16.
    pub tick_us: u64,
    /// The limits of an attempt whose suite's policy sets none.
    pub limits: Limits,
    /// Languages whose suites run unmetered unless their policy sets `fuel`, as `handoff inspect` calls
    /// them: none, as counting instructions takes more than a third of the time again in none.
    pub unmetered_languages: Vec<String>,
    /// Stack of WebAssembly that each guest may use beside its memory, in bytes: 512 KiB. Go's own runner
    /// gives 8 MiB to programs that call themselves very deep.
    pub stack_bytes: usize,
    /// The files that suites bring along.
    pub fixtures: FixtureSettings,
    /// How long `describe` may take, in milliseconds: 5 s.
    pub describe_timeout_ms: u64,
    /// Names looked up at the same time, for all attempts together; more wait. Each takes a thread for
    /// as long as the system's resolver wants, even when nobody waits for it any more: 32.
    pub concurrent_lookups: usize,
    /// How long the names of `allow_tcp` may take to be looked up when an attempt starts, in
    /// milliseconds: 5 s. One that takes longer cannot be reached in that attempt.
    pub tcp_lookup_ms: u64,
    /// A file with further certificate authorities, in PEM, that outgoing HTTPS requests trust.
    pub tls_ca_file: Option<PathBuf>,
    /// Whether instances are made in pools of reserved address space. Without pools an attempt costs
    /// two to three times as much; where the address space is too small for them the server does
    /// without by itself. On.
    pub pooling: bool,
    /// The most that any suite's `memory_bytes` has an effect up to; the size of the pools' slots: 1 GiB.
    pub max_memory_bytes: u64,
    /// The most that any suite's `table_elements` has an effect up to for one table: 100,000.
    pub max_table_elements: usize,
    /// Linear memories that one component may have: 16, and no more than all attempts have together, two
    /// each. One with more than two takes the place of several attempts.
    pub memories_per_component: u32,
    /// Tables that one component may have: 64, and no more than all attempts have together, eight each.
    /// One with more than eight takes the place of several attempts.
    pub tables_per_component: u32,
    /// How much of a slot's linear memory stays resident between attempts: 2 MiB. The server's memory
    /// when idle is at most this, and the next two, times the most attempts that ever ran at the same
    /// time plus `unused_warm_slots`, and no more than those attempts touched.
    pub linear_memory_keep_resident_bytes: usize,
    /// How much of a slot's tables stays resident between attempts: 1 MiB.
    pub table_keep_resident_bytes: usize,
    /// How much of a slot's stack stays resident between attempts: 64 KiB.
    pub stack_keep_resident_bytes: usize,
    /// Slots that stay prepared for a component that does not run at the moment, before another
    /// component takes one of them instead of a fresh one: 16.
    pub unused_warm_slots: u32,
    /// Components that stay linked and ready; the least recently used goes first: 32.
    pub prepared_suites: usize,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            concurrent_attempts: 256,
            concurrent_hooks: 16,
            total_memory_bytes: 0,
            slot_wait_ms: 60_000,
            tick_us: 250,
            limits: Limits::default(),
            // In none of the languages with an SDK: docs/languages.md has the figures.
            unmetered_languages: Vec::new(),
            stack_bytes: 512 << 10,
            fixtures: FixtureSettings::default(),
            describe_timeout_ms: 5_000,
            concurrent_lookups: 32,
            tcp_lookup_ms: 5_000,
            tls_ca_file: None,
            pooling: true,
            max_memory_bytes: 1 << 30,
            max_table_elements: 100_000,
            memories_per_component: 16,
            tables_per_component: 64,
            linear_memory_keep_resident_bytes: 2 << 20,
            table_keep_resident_bytes: 1 << 20,
            stack_keep_resident_bytes: 64 << 10,
            unused_warm_slots: 16,
            prepared_suites: 32,
        }
    }
}

/// What the files may be that suites bring along. They live in the server's memory while a run is under
/// way. The `[sandbox.fixtures]` table of `handoff.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FixtureSettings {
    /// The largest archive, as it is sent, in bytes: 64 MiB.
    pub archive_bytes: u64,
    /// The most bytes that the files of one archive may have: 256 MiB.
    pub unpacked_bytes: u64,
    /// The most files and directories in one archive: 10,000.
    pub files: u64,
    /// The longest path in an archive, in bytes: 1,024.
    pub path_bytes: u64,
    /// How deep files may lie: 32 steps, their own name included.
    pub depth: u64,
    /// Memory of all files of runs that are under way, in bytes: 1 GiB. Those of one archive count once,
    /// however many runs have it. A run whose files find no room waits for it, up to its own deadline.
    pub memory_bytes: u64,
}

impl Default for FixtureSettings {
    fn default() -> Self {
        Self {
            archive_bytes: 64 << 20,
            unpacked_bytes: 256 << 20,
            files: 10_000,
            path_bytes: 1_024,
            depth: 32,
            memory_bytes: 1 << 30,
        }
    }
}

impl SandboxSettings {
    /// Memory of all attempts at the same time, in bytes: `total_memory_bytes`, or what follows from
    /// the other settings where that is 0.
    pub fn memory_in_all(&self) -> u64 {
        match self.total_memory_bytes {
            0 => (self.concurrent_attempts as u64).saturating_mul(self.limits.memory_bytes),
            set => set,
        }
    }

    /// Whether the instructions of a suite in `language` are counted, where its policy has these limits. A
    /// policy that sets a budget has it kept, and one of 0 switches the counting off; where it says
    /// nothing, the server's budget holds, but for the languages that run unmetered.
    pub fn meters(&self, policy: &LimitsPatch, language: Option<&str>) -> bool {
        let free = |language| self.unmetered_languages.iter().any(|it| it == language);
        match policy.fuel {
            Some(fuel) => fuel > 0,
            None => self.limits.fuel > 0 && !language.is_some_and(free),
        }
    }

    /// Linear memories of all attempts at the same time.
    pub fn memories_in_all(&self) -> u32 {
        self.slots().saturating_mul(MEMORIES_PER_SLOT)
    }

    /// Tables of all attempts at the same time.
    pub fn tables_in_all(&self) -> u32 {
        self.slots().saturating_mul(TABLES_PER_SLOT)
    }

    /// Slots of the pools for hooks of plugins.
    pub(super) fn hook_slots(&self) -> u32 {
        u32::try_from(self.concurrent_hooks.max(1)).unwrap_or(u32::MAX)
    }

    /// Slots of the pools for attempts.
    pub(super) fn slots(&self) -> u32 {
        u32::try_from(self.concurrent_attempts.max(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_says_of_fuel_goes_before_the_language() {
        let server = |fuel| {
            let limits = Limits { fuel, ..Limits::default() };
            let unmetered_languages = ["JavaScript", "Python"].map(str::to_owned).to_vec();
            SandboxSettings { limits, unmetered_languages, ..SandboxSettings::default() }
        };
        let (metered, unmetered) = (server(1), server(0));
        let says = |fuel| LimitsPatch { fuel, ..LimitsPatch::default() };
        for (language, by_default) in [
            (Some("Rust"), true),
            (Some("Python"), false),
            (Some("JavaScript"), false),
            (None, true),
        ] {
            assert_eq!(metered.meters(&says(None), language), by_default, "{language:?}");
            assert!(!unmetered.meters(&says(None), language));
            for server in [&metered, &unmetered] {
                assert!(server.meters(&says(Some(1)), language));
                assert!(!server.meters(&says(Some(0)), language));
            }
        }
        assert!(SandboxSettings::default().meters(&says(None), Some("Python")));
    }
}
