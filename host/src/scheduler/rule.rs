//! When a schedule is due: a cron expression in a time zone, or a fixed distance.
//!
//! On days with a shifted clock, each local time counts once: one that does not exist is due at the next
//! instant that does, and of one that happens twice the first is meant. Several that do not exist are due
//! together, once. A rule for every hour (`*/5 * * * *`) goes on by what the clock shows instead: nothing is
//! made up for the hour that is left out, and both of the hours that look alike have their times, so that a
//! suite that runs every five minutes never pauses for an hour. This is what Vixie's cron does for jobs
//! with `*`. `@every` knows no clock: it counts from its start.
//!
//! The expressions are those of croner, which follows the Open Cron Pattern Specification.

use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

/// The shortest distance of `@every`: as often as a cron expression with seconds can ask for.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest: ten years, so that the next time always exists.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// When something is due.
#[derive(Clone, Debug)]
pub struct Rule {
    kind: Kind,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Kind {
    Cron(Box<Cron>),
    Every { distance: Duration, start: Timestamp },
}

/// Why there is no such rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The expression has too few or too many fields.
    #[error(
        "the cron expression {expression:?} has {found} fields: it takes five (minute, hour, day of month, \
         month, day of week), or six with seconds before them, or one of @yearly, @monthly, @weekly, \
         @daily, @hourly and `@every 30s`"
    )]
    Fields {
        /// What was given.
        expression: String,
        /// How many it has.
        found: usize,
    },
    /// One field is wrong.
    #[error("the {field} field of the cron expression is wrong: {value:?} {problem}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it holds.
        value: String,
        /// Why it cannot be.
        problem: String,
    },
    /// Fields that are right by themselves and not together.
    #[error("the cron expression {expression:?} is wrong: {problem}")]
    Expression {
        /// What was given.
        expression: String,
        /// Why it cannot be.
        problem: String,
    },
    /// It has no time.
    #[error("the cron expression {0:?} is never due: there is no such day")]
    Never(String),
    /// `@every` without a duration that can be.
    #[error(
        "{0:?} is not a distance: write `@every 30s` or `@every 1h 30m`, from one second to ten years"
    )]
    Distance(String),
    /// There is no such zone.
    #[error("there is no time zone {name:?}{}", hint(.near))]
    Zone {
        /// What was given.
        name: String,
        /// Zones with a similar name.
        near: Vec<String>,
    },
}

fn hint(near: &[String]) -> String {
    match near {
        [] => ": use a name of the IANA time zone database, such as Europe/Berlin or UTC".into(),
        near => format!(": did you mean {}?", near.join(" or ")),
    }
}

/// The names of the fields, from the last to the first: the seconds may be missing.
const FIELDS: [&str; 6] = ["day of week", "month", "day of month", "hour", "minute", "second"];

impl Rule {
    /// Reads a rule. `start` is what `@every` counts from. `zone` is a name of the IANA database.
    pub fn new(expression: &str, zone: &str, start: Timestamp) -> Result<Self, RuleError> {
        let zone = TimeZone::get(zone)
            .map_err(|_| RuleError::Zone { name: zone.to_owned(), near: similar(zone) })?;
        let expression = expression.trim();
        let kind = match expression.strip_prefix("@every") {
            Some(distance) => Kind::Every { distance: distance_of(expression, distance)?, start },
            None => Kind::Cron(Box::new(cron(expression)?)),
        };
        let rule = Self { kind, zone };
        match rule.after(start) {
            Some(_) => Ok(rule),
            None => Err(RuleError::Never(expression.to_owned())),
        }
    }

    /// The first time after `time` at which it is due; none after the year 5000.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        match &self.kind {
            Kind::Cron(cron) if is_for_every_hour(cron) => {
                let time = time.to_zoned(self.zone.clone());
                Some(cron.find_next_occurrence(&time, false).ok()?.timestamp())
            }
            Kind::Cron(cron) => {
                // The times that clocks show, as if none were ever shifted.
                let civil = time.to_zoned(self.zone.clone()).datetime();
                let mut shown = civil.to_zoned(TimeZone::UTC).ok()?;
                loop {
                    shown = cron.find_next_occurrence(&shown, false).ok()?;
                    let instant = self.first_instant(&shown)?;
                    if instant > time {
                        return Some(instant);
                    }
                }
            }
            Kind::Every { distance, start } => {
                let distance = distance.as_nanos() as i128;
                let passed = (time.as_nanosecond() - start.as_nanosecond()).max(-1);
                let next = passed.div_euclid(distance) + 1;
                Timestamp::from_nanosecond(start.as_nanosecond() + next * distance).ok()
            }
        }
    }

    /// When clocks in the zone first show this time, or the next instant if they never do.
    fn first_instant(&self, shown: &Zoned) -> Option<Timestamp> {
        let local = self.zone.to_ambiguous_zoned(shown.datetime());
        let is_left_out = matches!(local.offset(), AmbiguousOffset::Gap { .. });
        // Of a time that is left out, what it would be had the clock not been shifted: the shift, or later.
        let instant = local.compatible().ok()?.timestamp();
        match is_left_out {
            true => {
                let behind = instant.checked_add(SignedDuration::from_nanos(1)).ok()?;
                Some(self.zone.preceding(behind).next()?.timestamp())
            }
            false => Some(instant),
        }
    }

    /// The times after `time` at which it is due, in order.
    pub fn iter_after(&self, time: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.after(time), |time| self.after(*time))
    }

    /// The zone in which it is read.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The rule in words, as far as there are any.
    pub fn in_words(&self) -> String {
        match &self.kind {
            Kind::Cron(cron) => cron.describe(),
            Kind::Every { distance, .. } => {
                format!("Every {}.", humantime::format_duration(*distance))
            }
        }
    }
}

fn is_for_every_hour(cron: &Cron) -> bool {
    cron.pattern.hours.values().len() == 24
}

fn distance_of(expression: &str, distance: &str) -> Result<Duration, RuleError> {
    let wrong = || RuleError::Distance(shown(expression));
    // `@everything` is no `@every`.
    let distance = distance.strip_prefix(char::is_whitespace).ok_or_else(wrong)?;
    let distance = humantime::parse_duration(distance.trim()).map_err(|_| wrong())?;
    match (SHORTEST..=LONGEST).contains(&distance) {
        true => Ok(distance),
        false => Err(wrong()),
    }
}

fn cron(expression: &str) -> Result<Cron, RuleError> {
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let error = match parser.parse(expression) {
        Ok(cron) => return Ok(cron),
        Err(error) => error,
    };
    let fields: Vec<&str> = expression.split_whitespace().collect();
    if expression.starts_with('@') || !(5..=6).contains(&fields.len()) {
        return Err(RuleError::Fields { expression: shown(expression), found: fields.len() });
    }
    // Each field by itself, with any time in the others, to find the one that is wrong.
    for (at, name) in FIELDS.iter().enumerate().take(fields.len()) {
        let place = fields.len() - 1 - at;
        let mut alone = vec!["*"; fields.len()];
        alone[place] = fields[place];
        if let Err(error) = parser.parse(&alone.join(" ")) {
            let (value, problem) = (shown(fields[place]), problem(&error));
            return Err(RuleError::Field { field: name, value, problem });
        }
    }
    Err(RuleError::Expression { expression: shown(expression), problem: problem(&error) })
}

/// What croner says, as the end of a sentence.
fn problem(error: &CronError) -> String {
    let text = match error {
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text.clone(),
        other => other.to_string(),
    };
    format!("({})", text.trim_end_matches('.'))
}

/// As much of a wrong text as a message shows.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Up to three zones whose names are nearest.
fn similar(name: &str) -> Vec<String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace([' ', '_', '-'], "");
    let wanted = plain(name);
    if wanted.is_empty() || wanted.len() > 64 {
        return Vec::new();
    }
    let known = jiff::tz::db().available();
    let mut near: Vec<_> = known
        .filter_map(|known| {
            let known = known.as_str().to_owned();
            let city = plain(known.rsplit('/').next().unwrap_or(&known));
            let distance = strsim::osa_distance(&wanted, &plain(&known))
                .min(strsim::osa_distance(&wanted, &city));
            (distance <= 2).then_some((distance, known))
        })
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next `most` times after `from`, as clocks in the zone show them.
    fn shown(expression: &str, zone: &str, from: &str, most: usize) -> Vec<String> {
        let from = from.parse().unwrap();
        let rule = Rule::new(expression, zone, from).unwrap();
        let shown = |time: Timestamp| {
            time.to_zoned(rule.zone().clone()).strftime("%d %H:%M %z").to_string()
        };
        rule.iter_after(from).take(most).map(shown).collect()
    }

    #[test]
    fn a_time_that_does_not_exist_is_due_once_at_the_next_that_does() {
        let spring = |expression| shown(expression, "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring("30 2 * * *"), ["29 03:00 +0200", "30 02:30 +0200"]);
        assert_eq!(spring("15,45 2 * * *"), ["29 03:00 +0200", "30 02:15 +0200"]);
        // The very first time that is left out.
        assert_eq!(spring("0 2 * * *"), ["29 03:00 +0200", "30 02:00 +0200"]);
        assert_eq!(spring("0 2 29 3 *")[0], "29 03:00 +0200");
        let midnight = shown("0 0 5 9 *", "America/Santiago", "2027-01-01T00:00:00Z", 1);
        assert_eq!(midnight, ["05 01:00 -0300"]);
        assert_eq!(spring("0 2,3 * * *"), ["29 03:00 +0200", "30 02:00 +0200"]);
        let new_york = shown("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2);
        assert_eq!(new_york, ["08 03:00 -0400", "09 02:30 -0400"]);
        // Half an hour is left out.
        let lord_howe = shown("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2);
        assert_eq!(lord_howe, ["04 02:30 +1100", "05 02:15 +1100"]);
        // A whole day is left out.
        let apia = shown("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3);
        assert_eq!(apia, ["29 12:00 -1000", "31 00:00 +1400", "31 12:00 +1400"]);
    }

    #[test]
    fn a_time_that_comes_twice_is_due_once() {
        let autumn = |expression| shown(expression, "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn("30 2 * * *"), ["25 02:30 +0200", "26 02:30 +0100"]);
        assert_eq!(autumn("0 */2 25 10 *")[..1], ["25 00:00 +0200"]);
        let hours = shown("0 1-3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 4);
        assert_eq!(hours, ["25 01:00 +0200", "25 02:00 +0200", "25 03:00 +0100", "26 01:00 +0100"]);
        // Asked for in the second of the two hours.
        let later = shown("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1);
        assert_eq!(later, ["26 02:30 +0100"]);
    }

    #[test]
    fn a_rule_for_every_hour_goes_on_by_the_clock() {
        let spring = shown("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:10:00Z", 3);
        assert_eq!(spring, ["29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200"]);
        let autumn = shown("30 * * * *", "Europe/Berlin", "2026-10-24T23:40:00Z", 3);
        assert_eq!(autumn, ["25 02:30 +0200", "25 02:30 +0100", "25 03:30 +0100"]);
        let every = shown("@every 1h", "Europe/Berlin", "2026-10-24T23:40:00Z", 3);
        assert_eq!(every, ["25 02:40 +0200", "25 02:40 +0100", "25 03:40 +0100"]);
    }

    #[test]
    fn fields_and_names_are_those_of_cron() {
        let times = |expression| shown(expression, "UTC", "2026-11-20T10:00:30Z", 2);
        assert_eq!(times("@hourly"), ["20 11:00 +0000", "20 12:00 +0000"]);
        assert_eq!(times("15 10 * * MON-FRI"), ["20 10:15 +0000", "23 10:15 +0000"]);
        assert_eq!(times("*/20 0 10 * * *"), ["20 10:00 +0000", "21 10:00 +0000"]);
        assert_eq!(times("@every 90s"), ["20 10:02 +0000", "20 10:03 +0000"]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_field() {
        let wrong = |expression: &str| {
            Rule::new(expression, "UTC", Timestamp::UNIX_EPOCH).unwrap_err().to_string()
        };
        for (expression, field) in [
            ("60 * * * *", "the minute field"),
            ("* 24 * * *", "the hour field"),
            ("* * 0 * *", "the day of month field"),
            ("* * * foo *", "the month field"),
            ("* * * * 9", "the day of week field"),
            ("61 * * * * *", "the second field"),
            ("*/0 * * * *", "the minute field"),
        ] {
            assert!(wrong(expression).starts_with(field), "{}", wrong(expression));
        }
        assert!(wrong("").contains("has 0 fields"));
        assert!(wrong("* * * *").contains("has 4 fields"));
        assert!(wrong("* * * * * * *").contains("has 7 fields"));
        assert!(wrong("@reboot").contains("@hourly"));
        assert!(wrong("0 0 31 2 *").contains("is never due"));
        for distance in
            ["@every", "@every 0s", "@every 1ms", "@every fortnight", "@everything", "@every 11y"]
        {
            assert!(wrong(distance).contains("is not a distance"), "{}", wrong(distance));
        }
        let zone = Rule::new("@daily", "Mars/Olympus", Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(zone.to_string().contains("IANA"), "{zone}");
    }
}
