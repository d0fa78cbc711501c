//! What an operator sets of plugins.

use serde::{Deserialize, Serialize};

/// Settings of plugins (`[plugin]` of `handoff.toml`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginSettings {
    /// How many plugins may be installed: 64.
    pub installed: usize,
    /// How many deliveries may wait for one plugin: 10,000. What comes then is not told to it, and counted.
    pub outbox: usize,
    /// How many deliveries of one plugin are remembered that do not wait: 1,000. The oldest go first.
    pub deliveries: usize,
    /// How long a call of a plugin may take, in milliseconds, unless the limits of its policy say otherwise:
    /// 30 s.
    pub hook_timeout_ms: u64,
    /// How much of one processor all plugins together may use, in percent: 10; and so much again what works out
    /// what they are told. Who computes more rests in between. Gates are not held up.
    pub cpu_percent: u32,
    /// How long a run waits for a gate, in milliseconds: 2 s.
    pub gate_timeout_ms: u64,
    /// How long to wait before a delivery is tried again, in milliseconds, the first time: 1 s. Twice as long
    /// each further time, and up to a half more by chance.
    pub retry_initial_ms: u64,
    /// How long to wait at most, in milliseconds: 1 hour.
    pub retry_max_ms: u64,
    /// For how long a delivery is tried, in milliseconds: 1 day. Then it is set aside.
    pub retry_for_ms: u64,
    /// After how many calls in a row that trap or go beyond a limit a plugin is disabled: 10.
    pub breaks: u32,
    /// How many bytes a report may have that a plugin reads: 16 MiB. A larger one is refused.
    pub report_bytes: usize,
    /// Where people reach this server, for the links that plugins send out. Empty: the address that it
    /// listens at.
    pub public_url: String,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            installed: 64,
            outbox: 10_000,
            deliveries: 1_000,
            hook_timeout_ms: 30_000,
            cpu_percent: 10,
            gate_timeout_ms: 2_000,
            retry_initial_ms: 1_000,
            retry_max_ms: 3_600_000,
            retry_for_ms: 86_400_000,
            breaks: 10,
            report_bytes: 16 << 20,
            public_url: String::new(),
        }
    }
}
