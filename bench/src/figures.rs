//! How figures are summed up and printed.

use std::time::Duration;

/// Samples of one thing, in order of size.
#[derive(Clone)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// The `percent`th percentile (nearest rank); zero of none.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The middle one.
    pub(crate) fn median(&self) -> Duration {
        self.percentile(50.0)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `p50 1.25 ms, p99 2.50 ms, max 3.00 ms`.
    pub(crate) fn summary(&self) -> String {
        let [p50, p99, max] = [50.0, 99.0, 100.0].map(|percent| ms(self.percentile(percent)));
        format!("p50 {p50}, p99 {p99}, max {max}")
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        let mut samples: Vec<_> = samples.into_iter().collect();
        samples.sort_unstable();
        Self(samples)
    }
}

impl IntoIterator for Samples {
    type Item = Duration;
    type IntoIter = std::vec::IntoIter<Duration>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The largest of some rates; zero of none. What else the machine does only ever takes from a rate.
pub(crate) fn best(rates: impl IntoIterator<Item = f64>) -> f64 {
    rates.into_iter().fold(0.0, f64::max)
}

/// The middle one of some ratios, with the least and the largest: `0.52 (0.44 to 0.61)`.
pub(crate) fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_unstable_by(f64::total_cmp);
    let at = |at: usize| ratios.get(at).copied().unwrap_or_default();
    let (middle, last) = (ratios.len() / 2, ratios.len().saturating_sub(1));
    format!("{:.2} ({:.2} to {:.2})", at(middle), at(0), at(last))
}

/// Milliseconds with a fraction.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// MiB with a fraction, of KiB.
pub(crate) fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let samples: Samples = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(samples.percentile(50.0), Duration::from_millis(50));
        assert_eq!(samples.percentile(99.0), Duration::from_millis(99));
        assert_eq!(samples.percentile(100.0), Duration::from_millis(100));
        assert_eq!(Samples::from_iter([]).median(), Duration::ZERO);
        assert_eq!(best([1.0, 3.0, 2.0]), 3.0);
        assert_eq!(spread(vec![0.5, 0.25, 1.0]), "0.50 (0.25 to 1.00)");
    }
}
