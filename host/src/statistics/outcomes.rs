//! Since when a test fails more, or less, often: a change-point in a series of outcomes.
//!
//! Fisher's exact test compares the results before a place with those after it. The place is the one at which
//! the test is least likely to be a coincidence, so its p-value alone would promise too much: what is told is
//! the probability that a series without any change, with as many bad results in any order, has a place
//! that looks as unlikely or more. That is computed exactly, by going through all orders at once, result by
//! result, so nothing is assumed of how many places there are to choose from.

use statrs::distribution::{DiscreteCDF as _, Hypergeometric};

/// A change is told if a series without one looks as changed with at most this probability.
const SIGNIFICANT: f64 = 0.005;
/// So many bad results, or so many good ones, must stand together at the end or at the start: one alone tells
/// nothing of how often there will be more.
const TOGETHER: usize = 2;
/// Two probabilities that differ by less than this part are the same: they are sums of rounded numbers.
const ROUNDING: f64 = 1.0 + 1e-9;

/// Where a series of outcomes changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateChange {
    /// The first result after the change.
    pub at: usize,
    /// How many results before it are looked at, and how many of them are bad.
    pub before: (usize, usize),
    /// How many from it on, and how many of them are bad.
    pub after: (usize, usize),
    /// How likely a series without a change looks like this.
    pub p_value: f64,
}

/// The last change of a series, oldest result first, where true is a bad one.
pub fn last_rate_change(bad: &[bool]) -> Option<RateChange> {
    let mut last: Option<RateChange> = None;
    let mut from = 0;
    // What came after a change may have changed again.
    while let Some(change) = rate_change(&bad[from..]) {
        from += change.at;
        last = Some(RateChange { at: from, ..change });
    }
    last
}

/// The most striking change of a series, if it is significant.
fn rate_change(bad: &[bool]) -> Option<RateChange> {
    let total = bad.iter().filter(|bad| **bad).count();
    // Whichever there are fewer of tells the whole story.
    let rare = 2 * total <= bad.len();
    let marked: Vec<bool> = bad.iter().map(|bad| *bad == rare).collect();
    let scan = Scan { all: bad.len() as u64, marked: total.min(bad.len() - total) as u64 };
    let (at, split) = scan.most_striking(&marked)?;
    // Searching can only make it likelier.
    if split > SIGNIFICANT {
        return None;
    }
    let p_value = scan.chance_of(split * ROUNDING);
    let count = |part: &[bool]| (part.len(), part.iter().filter(|bad| **bad).count());
    (p_value <= SIGNIFICANT).then(|| RateChange {
        at,
        before: count(&bad[..at]),
        after: count(&bad[at..]),
        p_value,
    })
}

/// A series of so many results, of which so many are marked.
struct Scan {
    all: u64,
    marked: u64,
}

impl Scan {
    /// How likely at least `found` of the marked ones are among `length` results that stand together.
    fn tail(&self, length: u64, found: u64) -> f64 {
        if found == 0 {
            return 1.0;
        }
        Hypergeometric::new(self.all, self.marked, length).map_or(1.0, |it| it.sf(found - 1))
    }

    /// The place that is least likely a coincidence, and how likely it is by itself.
    fn most_striking(&self, marked: &[bool]) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64)> = None;
        let mut try_at = |at: usize, p: f64| {
            if at > 0 && at < marked.len() && best.is_none_or(|(_, least)| p < least) {
                best = Some((at, p));
            }
        };
        // Marked results stand together most closely in a part that begins, or ends, with one.
        let places = marked.iter().enumerate().filter(|(_, marked)| **marked).map(|(at, _)| at);
        for (before, at) in places.enumerate() {
            let (from_here, to_here) = (self.marked - before as u64, before as u64 + 1);
            if from_here >= TOGETHER as u64 {
                try_at(at, self.tail(self.all - at as u64, from_here));
            }
            if to_here >= TOGETHER as u64 {
                try_at(at + 1, self.tail(at as u64 + 1, to_here));
            }
        }
        best
    }

    /// For each number of marked results up to all: the longest part of the series in which so many are as
    /// unlikely as `p`, or more.
    fn critical(&self, p: f64) -> Vec<u64> {
        let mut longest = vec![0; self.marked as usize + 1];
        let mut length = 0;
        for found in TOGETHER as u64..=self.marked {
            while length < self.all && self.tail(length + 1, found) <= p {
                length += 1;
            }
            longest[found as usize] = length;
        }
        longest
    }

    /// How likely a series in any order has a place as unlikely as `p`, or more.
    fn chance_of(&self, p: f64) -> f64 {
        let critical = self.critical(p);
        let is_striking = |length: u64, found: u64| {
            let (rest, others) = (self.all - length, self.marked - found);
            let is_part = length > 0 && rest > 0;
            is_part && (length <= critical[found as usize] || rest <= critical[others as usize])
        };
        // From the end: how likely so many of the last results are marked, and nothing was striking yet.
        let mut quiet = vec![0.0; self.marked as usize + 1];
        quiet[0] = 1.0;
        let mut striking = 0.0;
        for length in 1..=self.all {
            let left = (self.all - length + 1) as f64;
            for found in (0..=self.marked.min(length)).rev() {
                let here = found as usize;
                let unmarked = 1.0 - ((self.marked - found) as f64 / left).min(1.0);
                let mut likely = quiet[here] * unmarked;
                if found > 0 {
                    likely += quiet[here - 1] * (self.marked - found + 1) as f64 / left;
                }
                if is_striking(length, found) {
                    striking += likely;
                    likely = 0.0;
                }
                quiet[here] = likely;
            }
        }
        striking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `.` passed, `x` failed.
    fn series(text: &str) -> Vec<bool> {
        text.chars().map(|it| it == 'x').collect()
    }

    #[test]
    fn the_chance_is_that_of_all_orders() {
        let scan = Scan { all: 12, marked: 4 };
        let orders = (0_u32..1 << 12).filter(|bits| bits.count_ones() == 4);
        let striking: Vec<f64> = orders
            .map(|bits| {
                let marked: Vec<bool> = (0..12).map(|at| bits >> at & 1 == 1).collect();
                scan.most_striking(&marked).unwrap().1
            })
            .collect();
        for p in [0.002, 0.01, 0.02, 0.05, 0.1, 0.3] {
            let counted = striking.iter().filter(|it| **it <= p * ROUNDING).count() as f64;
            let (expected, found) = (counted / striking.len() as f64, scan.chance_of(p * ROUNDING));
            assert!((expected - found).abs() < 1e-9, "{p}: {expected} counted, {found} computed");
        }
    }

    #[test]
    fn a_test_that_breaks_is_found_where_it_broke() {
        let change = last_rate_change(&series(&(".".repeat(100) + "xxx"))).unwrap();
        assert_eq!((change.at, change.before, change.after), (100, (100, 0), (3, 3)));
        assert!(change.p_value < 1e-4, "{change:?}");
        let mended = last_rate_change(&series(&("x".repeat(30) + &".".repeat(30)))).unwrap();
        assert_eq!((mended.at, mended.before, mended.after), (30, (30, 30), (30, 0)));
    }

    #[test]
    fn of_several_changes_the_last_is_told() {
        let text = ".".repeat(100) + &"x".repeat(20) + &".".repeat(60) + "xxxxx";
        assert_eq!(last_rate_change(&series(&text)).unwrap().at, 180);
    }

    #[test]
    fn what_does_not_change_has_no_change() {
        for text in ["", ".", "x", "..........", "xxxxxxxxxx", ".x.x.x.x.x.x.x", "....x", "x...."] {
            assert_eq!(last_rate_change(&series(text)), None, "{text}");
        }
        let once = ".".repeat(400) + "x";
        assert_eq!(last_rate_change(&series(&once)), None, "one alone tells nothing");
    }
}
