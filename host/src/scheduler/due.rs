//! What a schedule is to do at a moment: pure, so that every case can be tried without a clock.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::rule::Rule;
use crate::model::{CatchUp, CatchUpMode, DueOutcome, Schedule};

/// Which of the times that have come are to start a run, and what the others are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Come {
    /// Times that passed unseen and are not made up for, in order.
    pub(super) missed: Vec<Timestamp>,
    /// How many more passed before them, which are not told one by one.
    pub(super) untold: u64,
    /// Whether there were even more, which nobody counted.
    pub(super) uncounted: bool,
    /// Times that are to start a run, in order, and as what.
    pub(super) now: Vec<(Timestamp, DueOutcome)>,
    /// Up to when all is dealt with.
    pub(super) up_to: Option<Timestamp>,
}

/// How times that have come are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Later than this, and a time counts as passed unseen.
    pub(super) late: Duration,
    /// The most missed times that are told one by one.
    pub(super) told: usize,
}

/// So many times are looked at one after the other. A server that was not there for a year has missed 31
/// million of a schedule that is due each second: of those before, only the last are looked for then.
const WALK: usize = 5_000;

/// What has come of `schedule` at `now`.
pub(super) fn come(schedule: &Schedule, rule: &Rule, now: Timestamp, patience: Patience) -> Come {
    let mut come = Come::default();
    // What was due before this has passed unseen, whatever its jitter.
    let jitter = Duration::from_millis(schedule.spec.jitter_ms);
    let longest = patience.late.saturating_add(jitter).saturating_add(Duration::from_nanos(1));
    let unseen_up_to = now.saturating_sub(signed(longest));
    let unseen_up_to = unseen_up_to.unwrap_or(Timestamp::MIN);
    let passed = passed(rule, schedule.dealt_with, unseen_up_to, patience.told.max(1));
    come.up_to = passed.last.back().copied();
    (come.untold, come.uncounted) = (passed.before, passed.uncounted);
    let mut unseen = passed.last;
    for due in rule.iter_after(schedule.dealt_with.max(unseen_up_to)) {
        let comes = fires(schedule, due);
        if comes > now {
            break;
        }
        come.up_to = Some(due);
        if now.duration_since(comes) <= signed(patience.late) {
            come.now.push((due, DueOutcome::Started));
        } else {
            unseen.push_back(due);
            if unseen.len() > patience.told {
                unseen.pop_front();
                come.untold += 1;
            }
        }
    }
    let latest_is_seen = schedule.spec.catch_up.mode == CatchUpMode::Latest && !come.now.is_empty();
    let made_up = match latest_is_seen {
        true => 0,
        false => made_up(&schedule.spec.catch_up, unseen.make_contiguous(), now),
    };
    let missed = unseen.len() - made_up;
    let caught_up = unseen.drain(missed..).map(|due| (due, DueOutcome::CaughtUp));
    let started = std::mem::take(&mut come.now);
    come.now = caught_up.chain(started).collect();
    come.missed = unseen.into();
    come
}

/// The last times of a rule within some time.
#[derive(Default)]
struct Passed {
    last: VecDeque<Timestamp>,
    /// How many were seen before them.
    before: u64,
    /// Whether there are more before them, which were not.
    uncounted: bool,
}

/// The last `most` times after `from` and up to `to`. Looks at [`WALK`] of them for each time that what is left
/// is halved, so that it ends soon however many they are.
fn passed(rule: &Rule, from: Timestamp, to: Timestamp, most: usize) -> Passed {
    let mut found = Passed::default();
    let mut walked = 0;
    for due in rule.iter_after(from).take_while(|due| *due <= to) {
        found.last.push_back(due);
        if found.last.len() > most {
            found.last.pop_front();
            found.before += 1;
        }
        walked += 1;
        if walked < WALK.max(2 * most) {
            continue;
        }
        let half = due.saturating_add(to.duration_since(due) / 2).unwrap_or(to).max(due);
        let mut later = match half < to {
            true => passed(rule, half, to, most),
            // Too close to each other to be halved further: there is less than a nanosecond between.
            false => break,
        };
        let lacking = most - later.last.len().min(most);
        let between =
            if lacking > 0 { passed(rule, due, half, lacking) } else { Passed::default() };
        let uncounted = later.uncounted || between.uncounted || lacking == 0;
        let mut last: VecDeque<_> = found.last.into_iter().chain(between.last).collect();
        last.extend(later.last.drain(..));
        let over = last.len().saturating_sub(most);
        last.drain(..over);
        let before = found.before + between.before + later.before + over as u64;
        return Passed { last, before, uncounted };
    }
    found
}

/// How many of the last of `unseen` are made up for.
fn made_up(catch_up: &CatchUp, unseen: &[Timestamp], now: Timestamp) -> usize {
    let most = match catch_up.mode {
        CatchUpMode::None => 0,
        CatchUpMode::Latest => 1,
        CatchUpMode::All => catch_up.at_most as usize,
    };
    let window = signed(Duration::from_millis(catch_up.window_ms));
    let recent = unseen.iter().rev().take_while(|due| now.duration_since(**due) <= window);
    recent.take(most).count()
}

/// When the run for `due` starts: later by its jitter, which is the same whenever it is asked for.
pub(super) fn fires(schedule: &Schedule, due: Timestamp) -> Timestamp {
    let most = schedule.spec.jitter_ms;
    if most == 0 {
        return due;
    }
    let name = schedule.name.as_str();
    let hash = Sha256::new().chain_update(name).chain_update(due.as_nanosecond().to_be_bytes());
    let bytes: [u8; 32] = hash.finalize().into();
    let part = u64::from_be_bytes(bytes[..8].try_into().unwrap_or_default());
    let later = part.checked_rem(most.saturating_add(1)).unwrap_or(part);
    due.saturating_add(signed(Duration::from_millis(later))).unwrap_or(Timestamp::MAX)
}

/// Why it starts no more runs, if it does not.
pub(super) fn ended(schedule: &Schedule, now: Timestamp) -> Option<String> {
    let ends = &schedule.spec.ends;
    if let Some(most) = ends.after_runs.filter(|most| schedule.runs >= *most) {
        return Some(format!("it has started the {most} runs that it was to start"));
    }
    let after = ends.after_ms.map(|ms| {
        let end = schedule.created_at.saturating_add(signed(Duration::from_millis(ms)));
        end.unwrap_or(Timestamp::MAX)
    });
    let at = [after, ends.at].into_iter().flatten().min()?;
    (now >= at).then(|| format!("it ended at {at}"))
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
