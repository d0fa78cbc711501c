//! Failures that are the same: equal cause, equal place, and a message that differs in numbers and names that
//! are made up each time at most.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Attempt, Cause, Digest, Location, RunId, TestStatus};

/// Bytes of a message that tell failures apart. What comes after is mostly data.
const MESSAGE_BYTES: usize = 300;
/// How many tests a group names. Part of what is stored, so no setting.
const TESTS: usize = 20;

/// What failures of one group have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Fingerprint {
    /// Half the digest of the rest: the group's identity.
    pub id: [u8; 16],
    /// What ended the attempt.
    pub cause: Cause,
    /// The message with numbers, identifiers and addresses replaced by what they are.
    pub message: String,
    /// Where it failed.
    pub location: Option<Location>,
}

impl Fingerprint {
    /// That of a failed attempt; none if it did not fail.
    pub fn of(attempt: &Attempt) -> Option<Self> {
        if attempt.status != TestStatus::Failed {
            return None;
        }
        let cause = attempt.cause.unwrap_or(Cause::Assertion);
        let message = normalised(attempt.message.as_deref().unwrap_or_default());
        let location = attempt.location.clone();
        let place = location.as_ref().map(|it| format!("{}:{}", it.file, it.line));
        let place = place.unwrap_or_default();
        let digest = Digest::of([cause.as_str(), &message, &place].join("\0").as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_bytes()[..16]);
        Some(Self { id, cause, message, location })
    }
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spot {
    /// When.
    pub at: Timestamp,
    /// In which run.
    pub run: RunId,
    /// Its number in its suite.
    pub number: u64,
    /// At which test.
    pub test: String,
}

/// Failures with one fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What ended the attempts.
    pub cause: Cause,
    /// The message that they have in common.
    pub message: String,
    /// The message of the first, as it was.
    pub example: Option<String>,
    /// Where.
    pub location: Option<Location>,
    /// How many failures.
    pub count: u64,
    /// At which tests, the first of them.
    pub tests: Vec<String>,
    /// Whether there are more tests than are named.
    pub more_tests: bool,
    /// The first failure.
    pub first: Spot,
    /// The last one.
    pub last: Spot,
}

impl Group {
    /// A group that begins with this failure.
    pub fn new(print: &Fingerprint, example: Option<String>, spot: Spot) -> Self {
        Self {
            cause: print.cause,
            message: print.message.clone(),
            example,
            location: print.location.clone(),
            count: 1,
            tests: vec![spot.test.clone()],
            more_tests: false,
            first: spot.clone(),
            last: spot,
        }
    }

    /// Takes in a further failure.
    pub fn add(&mut self, spot: Spot) {
        self.count += 1;
        if !self.tests.contains(&spot.test) {
            match self.tests.len() < TESTS {
                true => self.tests.push(spot.test.clone()),
                false => self.more_tests = true,
            }
        }
        if spot.at < self.first.at {
            self.first = spot;
        } else if spot.at >= self.last.at {
            self.last = spot;
        }
    }
}

/// A message without what differs each time.
fn normalised(message: &str) -> String {
    let mut text = String::new();
    let mut rest = message.trim();
    while !rest.is_empty() && text.len() < MESSAGE_BYTES {
        let is_word = |it: char| it.is_alphanumeric() || it == '-' || it == '_';
        let end = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
        if end > 0 {
            text.push_str(&word(&rest[..end]));
            rest = &rest[end..];
        } else if rest.starts_with(char::is_whitespace) {
            text.push(' ');
            rest = rest.trim_start();
        } else {
            let next = rest.chars().next().map_or(0, char::len_utf8);
            text.push_str(&rest[..next]);
            rest = &rest[next..];
        }
    }
    let end = text.floor_char_boundary(MESSAGE_BYTES.min(text.len()));
    text.truncate(end);
    text
}

/// A word, or what it is if it differs each time: a long one of hexadecimal digits, or its numbers.
fn word(word: &str) -> String {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let hex = |text: &str| text.chars().all(|it| it.is_ascii_hexdigit() || it == '-');
    if digits == 0 {
        return word.to_owned();
    }
    let bare = word.strip_prefix("0x").unwrap_or(word);
    if hex(bare) && (bare.len() >= 8 || bare.len() < word.len()) && !bare.starts_with('-') {
        let is_number = bare.chars().all(|it| it.is_ascii_digit()) && bare.len() == word.len();
        return if is_number { "<n>" } else { "<id>" }.to_owned();
    }
    let mut text = String::new();
    for letter in word.chars() {
        match letter.is_ascii_digit() {
            false => text.push(letter),
            true if text.ends_with("<n>") => {}
            true => text.push_str("<n>"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_is_left_out_of_a_message() {
        for (message, expected) in [
            ("expected 200, got 503", "expected <n>, got <n>"),
            ("order 0193b6c1-7f00-7000-8000-0123456789ab is gone", "order <id> is gone"),
            ("at 0x7ffdead: bad", "at <id>: bad"),
            (
                "no answer\n   within 1500ms from 10.0.0.1:8080",
                "no answer within <n>ms from <n>.<n>.<n>.<n>:<n>",
            ),
            ("user-42 was refused", "user-<n> was refused"),
            ("commit deadbeef1 is bad", "commit <id> is bad"),
            ("deadbeef is no number", "deadbeef is no number"),
            ("größe 12 µm", "größe <n> µm"),
            ("", ""),
        ] {
            assert_eq!(normalised(message), expected, "{message}");
        }
        assert!(normalised(&"ü ".repeat(10_000)).len() <= MESSAGE_BYTES);
    }

    fn failed(message: &str, line: u32, cause: Cause) -> Attempt {
        Attempt {
            cause: Some(cause),
            message: Some(message.into()),
            location: Some(Location { file: "a.rs".into(), line, column: None }),
            ..Attempt::new(1, 1, TestStatus::Failed, Timestamp::UNIX_EPOCH)
        }
    }

    #[test]
    fn cause_message_and_place_make_a_group() {
        let id = |attempt: Attempt| Fingerprint::of(&attempt).unwrap().id;
        let one = id(failed("got 1", 1, Cause::Panic));
        assert_eq!(one, id(failed("got 22", 1, Cause::Panic)));
        assert_ne!(one, id(failed("got 1", 2, Cause::Panic)));
        assert_ne!(one, id(failed("got 1", 1, Cause::Assertion)));
        assert_ne!(one, id(failed("had 1", 1, Cause::Panic)));
        let passed = Attempt::new(1, 1, TestStatus::Passed, Timestamp::UNIX_EPOCH);
        assert_eq!(Fingerprint::of(&passed), None);
    }

    #[test]
    fn a_group_names_some_tests_and_counts_all() {
        let print = Fingerprint::of(&failed("got 1", 1, Cause::Panic)).unwrap();
        let spot = |n: i64| Spot {
            at: Timestamp::from_second(n).unwrap(),
            run: RunId::new(),
            number: 1,
            test: format!("test {n}"),
        };
        let mut group = Group::new(&print, None, spot(50));
        (51..80).chain([1]).for_each(|n| group.add(spot(n)));
        assert_eq!((group.count, group.tests.len(), group.more_tests), (31, TESTS, true));
        assert_eq!((group.first.at, group.last.at), (spot(1).at, spot(79).at));
    }
}
