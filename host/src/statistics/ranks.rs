//! Since when a test takes longer, or uses other fuel: change-points in series of numbers.
//!
//! Durations are compared by ranks (Mann and Whitney's test), so that one slow result among many counts no
//! more than any other. The p-value is corrected for all the places that were tried. Fuel does not depend
//! on the machine: where it is the same each time, any other value is a change, and nothing has to be
//! estimated.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::quantile;

/// A change is told if a series without one looks as changed with at most this probability.
const SIGNIFICANT: f64 = 0.001;
/// So many results must stand on both sides.
const SIDE: usize = 5;
/// By how much the medians must differ: what is smaller is of no use to anybody.
const WORTH_TELLING: f64 = 0.2;
/// From so many equal values on, fuel is said to be the same each time.
const STEADY: usize = 3;
/// So many equal values must have come since.
const STEADY_AGAIN: usize = 2;

/// Where the level of a series changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevelChange {
    /// The first value after the change.
    pub at: usize,
    /// The median before.
    pub before: u64,
    /// The median from it on.
    pub after: u64,
    /// How likely a series without a change looks like this; 0 if the values tell it for certain.
    pub p_value: f64,
}

/// The last change in a series of values, oldest first, of which the medians differ by at least
/// `least`.
pub fn last_level_change(values: &[u64], least: u64) -> Option<LevelChange> {
    let mut last: Option<LevelChange> = None;
    let mut from = 0;
    while let Some(change) = level_change(&values[from..], least) {
        from += change.at;
        last = Some(LevelChange { at: from, ..change });
    }
    last
}

/// The last change in a series of fuel, oldest first.
pub fn last_fuel_change(values: &[u64]) -> Option<LevelChange> {
    let equal = |values: &[u64]| {
        let last = values.last();
        values.iter().rev().take_while(|value| Some(*value) == last).count()
    };
    let after = equal(values);
    let before = equal(&values[..values.len() - after]);
    if after == values.len() {
        return None;
    }
    if before >= STEADY && after >= STEADY_AGAIN {
        let at = values.len() - after;
        let (before, after) = (values[at - 1], values[at]);
        return Some(LevelChange { at, before, after, p_value: 0.0 });
    }
    last_level_change(values, 1)
}

/// How likely the last values would be on so different a level from those before `at` by coincidence:
/// Mann and Whitney's test, two-sided, by the normal approximation with ties and continuity corrected.
pub(super) fn rank_test(values: &[u64], at: usize) -> f64 {
    let ranks = Ranks::of(values);
    ranks.p_value(at, ranks.sum[at])
}

fn level_change(values: &[u64], least: u64) -> Option<LevelChange> {
    let count = values.len();
    if count < 2 * SIDE {
        return None;
    }
    let ranks = Ranks::of(values);
    let places = SIDE..=count - SIDE;
    let tried = places.clone().count() as f64;
    let p = |at: usize| ranks.p_value(at, ranks.sum[at]);
    let at = places.map(|at| (at, p(at))).min_by(|a, b| a.1.total_cmp(&b.1))?;
    let (at, p_value) = (at.0, (at.1 * tried).min(1.0));
    let (before, after) = (median(&values[..at])?, median(&values[at..])?);
    let apart = before.abs_diff(after);
    let is_worth = apart >= least && apart as f64 >= WORTH_TELLING * before as f64;
    let change = LevelChange { at, before, after, p_value };
    (p_value <= SIGNIFICANT && is_worth).then_some(change)
}

fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    quantile(&sorted, 0.5)
}

/// The ranks of a series, equal values sharing theirs.
struct Ranks {
    /// The sum of the first so many ranks.
    sum: Vec<f64>,
    /// Σ (t³ - t) over the groups of t equal values.
    ties: f64,
}

impl Ranks {
    fn of(values: &[u64]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|at| values[*at]);
        let mut ranks = vec![0.0; values.len()];
        let (mut ties, mut done) = (0.0, 0);
        for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
            let count = equal.len() as f64;
            let rank = done as f64 + (count + 1.0) / 2.0;
            equal.iter().for_each(|at| ranks[*at] = rank);
            ties += count.powi(3) - count;
            done += equal.len();
        }
        let mut sum = vec![0.0];
        sum.extend(ranks.iter().scan(0.0, |sum, rank| {
            *sum += rank;
            Some(*sum)
        }));
        Self { sum, ties }
    }

    fn p_value(&self, at: usize, sum: f64) -> f64 {
        let all = self.sum.len() as f64 - 1.0;
        let (first, rest) = (at as f64, all - at as f64);
        let spread = first * rest / 12.0 * (all + 1.0 - self.ties / (all * (all - 1.0)));
        if first < 1.0 || rest < 1.0 || spread <= 0.0 {
            return 1.0;
        }
        let off = ((sum - first * (all + 1.0) / 2.0).abs() - 0.5).max(0.0);
        (2.0 * Normal::standard().sf(off / spread.sqrt())).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, example 4.1: p is 0.2544 exactly.
    #[test]
    fn the_rank_test_is_as_published() {
        let at_term = [80, 83, 189, 104, 145, 138, 191, 164, 73, 146];
        let earlier = [115, 88, 90, 74, 121];
        let p = rank_test(&[at_term.as_slice(), &earlier].concat(), at_term.len());
        assert!((p - 0.2544).abs() < 0.015, "{p}");
    }

    #[test]
    fn a_test_that_becomes_slow_is_found_where_it_did() {
        let mut values: Vec<u64> = (0..100).map(|n| 100 + n * 7 % 13).collect();
        assert_eq!(last_level_change(&values, 10), None);
        values.extend((0..10).map(|n| 150 + n % 3));
        let change = last_level_change(&values, 10).unwrap();
        assert_eq!((change.at, change.before, change.after), (100, 106, 151));
        assert_eq!(last_level_change(&values, 100), None, "it is too little to be told");
        values[50] = 100_000;
        assert_eq!(last_level_change(&values, 10).unwrap().at, 100, "one value counts as one");
    }

    #[test]
    fn fuel_that_was_the_same_each_time_tells_of_any_change() {
        let series = |parts: &[(u64, usize)]| -> Vec<u64> {
            parts.iter().flat_map(|(value, count)| vec![*value; *count]).collect()
        };
        let change = last_fuel_change(&series(&[(1000, 50), (1001, 2)])).unwrap();
        assert_eq!(change, LevelChange { at: 50, before: 1000, after: 1001, p_value: 0.0 });
        assert_eq!(last_fuel_change(&series(&[(1000, 50)])), None);
        assert_eq!(last_fuel_change(&series(&[(1000, 50), (1001, 1)])), None, "once is not yet");
        assert_eq!(last_fuel_change(&[]), None);
        let varying: Vec<u64> = (0..60).map(|n| 1000 + n * 7 % 13 + n / 40 * 500).collect();
        let change = last_fuel_change(&varying).unwrap();
        assert_eq!((change.at, change.after > 1400), (40, true));
        assert!(change.p_value > 0.0);
    }
}
