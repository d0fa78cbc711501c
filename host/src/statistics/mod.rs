//! What many results of a test, or of a suite, come to: rates, durations, since when something changed, and
//! the words `flaky` and `broken`.
//!
//! Pure: no input, no output, no clock. What counts and what does not is decided in `tally`, which makes
//! [`Sample`]s of a run's events; `series` keeps what is known of a test from its samples, one after
//! the other; `report` answers questions over a window of them. The store keeps samples and series, and hands
//! them out. Each rule and formula is explained in docs/statistics.md.

mod groups;
mod outcomes;
mod ranks;
mod rates;
mod report;
mod sample;
mod series;
#[cfg(test)]
mod simulations;
mod tally;

pub use groups::{Fingerprint, Group, Spot};
pub use outcomes::{RateChange, last_rate_change};
pub use ranks::{LevelChange, last_fuel_change, last_level_change};
pub use rates::{Interval, quantile, runs_to_be_sure, wilson};
pub use report::{Changed, Confirmation, Measure, Report, Shift, Window, report};
pub use sample::{Outcome, Sample, Seen};
pub use series::{Brief, News, Series, State, Totals};
pub use tally::{Counted, Failed, Tally};
