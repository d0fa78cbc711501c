//! How long to wait before a delivery is tried again.

use std::time::Duration;

use rand::RngExt as _;

use super::PluginSettings;

/// The wait after so many attempts: it doubles each time, and is longer by up to a half by chance, so that
/// what failed together is not tried together. What the other side asked for is kept to.
pub(super) fn wait(settings: &PluginSettings, attempts: u32, asked: Option<Duration>) -> Duration {
    let doubled = 1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
    let wait = settings.retry_initial_ms.saturating_mul(doubled).min(settings.retry_max_ms);
    let chance = rand::rng().random_range(0..=wait / 2);
    Duration::from_millis(wait.saturating_add(chance)).max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_its_cap_and_keeps_to_what_was_asked_for() {
        let settings = PluginSettings::default();
        for (attempts, least) in [(1, 1_000), (2, 2_000), (5, 16_000), (40, 3_600_000)] {
            let wait = wait(&settings, attempts, None).as_millis() as u64;
            assert!((least..=least + least / 2).contains(&wait), "{attempts}: {wait}");
        }
        let asked = Duration::from_secs(7200);
        assert_eq!(wait(&settings, 1, Some(asked)), asked);
    }
}
