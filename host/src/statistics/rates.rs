//! Formulas over numbers alone.

/// The 97.5 % quantile of the normal distribution: 95 % lie within as many deviations to both sides.
const Z: f64 = 1.959_963_984_540_054;
/// What remains possible where somebody is 95 % sure.
const DOUBT: f64 = 0.05;

/// A rate, and between which values it lies with a confidence of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The rate that was seen.
    pub rate: f64,
    /// The least that it may be.
    pub low: f64,
    /// The most.
    pub high: f64,
}

/// Wilson's score interval of `hits` among `all`; none if there is nothing to count.
pub fn wilson(hits: u64, all: u64) -> Option<Interval> {
    if all == 0 {
        return None;
    }
    let (n, rate) = (all as f64, hits as f64 / all as f64);
    let scale = 1.0 + Z * Z / n;
    let centre = (rate + Z * Z / (2.0 * n)) / scale;
    let reach = Z / scale * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
    // At both ends the bound is the end itself, which rounding may miss.
    let low = if hits == 0 { 0.0 } else { (centre - reach).max(0.0) };
    let high = if hits == all { 1.0 } else { (centre + reach).min(1.0) };
    Some(Interval { rate, low, high })
}

/// The smallest value that at least this part of the sorted values does not exceed (nearest rank).
pub fn quantile(sorted: &[u64], part: f64) -> Option<u64> {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// How many clean runs in a row make 95 % sure that a test which had `bad` bad results of `all` is mended:
/// so many in a row would come with at most 5 % if it failed as often as before. One more good result is
/// taken into account than there was, so that no estimate is certainty.
pub fn runs_to_be_sure(bad: u64, all: u64) -> u64 {
    if bad == 0 {
        return 0;
    }
    let rate = bad as f64 / (all.max(bad) as f64 + 1.0);
    (DOUBT.ln() / (1.0 - rate).ln()).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 5e-5
    }

    /// The values of Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I.
    #[test]
    fn wilsons_interval_is_as_published() {
        for (hits, all, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
            (29, 29, 0.8830, 1.0),
        ] {
            let found = wilson(hits, all).unwrap();
            assert!(close(found.low, low) && close(found.high, high), "{hits}/{all}: {found:?}");
        }
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<u64> = (1..=20).collect();
        let at = |part| quantile(&values, part).unwrap();
        assert_eq!((at(0.0), at(0.5), at(0.95), at(1.0)), (1, 10, 19, 20));
        assert_eq!(quantile(&[7], 0.5), Some(7));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn the_rarer_the_failure_the_more_runs_it_takes_to_be_sure() {
        assert_eq!(runs_to_be_sure(0, 100), 0);
        assert_eq!(runs_to_be_sure(10, 99), 29);
        assert_eq!(runs_to_be_sure(2, 99), 149);
        for (bad, all) in [(1, 1), (2, 2), (5, 10), (30, 99), (1, 99)] {
            let runs = runs_to_be_sure(bad, all);
            let rate = bad as f64 / (all as f64 + 1.0);
            assert!((1.0 - rate).powf(runs as f64) <= DOUBT, "{bad}/{all}: {runs}");
            assert!((1.0 - rate).powf(runs as f64 - 1.0) > DOUBT, "{bad}/{all}: {runs}");
        }
    }
}
