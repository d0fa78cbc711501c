//! Splits a suite over several jobs that run side by side.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One of several parts of a suite, written `2/5`: the second of five.
///
/// The part that a test is in follows from its name and from how many parts there are, and from nothing
/// else: the first eight bytes of the SHA-256 of the name in UTF-8, read as a big-endian number, modulo
/// the number of parts, plus one. So each test is in exactly one part, everybody can compute which, and
/// a test that is added, removed or renamed moves no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// Which part, counted from 1.
    part: u32,
    /// How many parts there are.
    parts: u32,
}

/// A text that names no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no shard: write `i/n` with i from 1 to n, such as `2/5` for the second of five")]
pub struct InvalidShard(String);

impl Shard {
    /// Whether the test of that name is in this part.
    pub fn takes(self, name: &str) -> bool {
        let hash = Sha256::digest(name);
        let number = hash.iter().take(8).fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        number % u64::from(self.parts) == u64::from(self.part - 1)
    }
}

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, InvalidShard> {
        let bad = || InvalidShard(text.chars().take(64).collect());
        // `parse` takes a sign, and that is no way to count.
        let number = |text: &str| text.parse().ok().filter(|_| !text.starts_with('+'));
        let (part, parts) = text.split_once('/').ok_or_else(bad)?;
        let (part, parts) = (number(part).ok_or_else(bad)?, number(parts).ok_or_else(bad)?);
        if (1..=parts).contains(&part) { Ok(Self { part, parts }) } else { Err(bad()) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.parts)
    }
}

impl TryFrom<String> for Shard {
    type Error = InvalidShard;

    fn try_from(text: String) -> Result<Self, InvalidShard> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: u32) -> impl Iterator<Item = Shard> {
        (1..=parts).map(move |part| Shard { part, parts })
    }

    #[test]
    fn each_test_is_in_exactly_one_part() {
        for count in [1, 2, 3, 7, 64] {
            for name in (0..200).map(|n| format!("größe/{n}")) {
                assert_eq!(parts(count).filter(|shard| shard.takes(&name)).count(), 1, "{name}");
            }
        }
    }

    #[test]
    fn the_parts_are_about_as_large_as_each_other() {
        let names: Vec<_> = (0..1000).map(|n| format!("test {n}")).collect();
        for shard in parts(4) {
            let taken = names.iter().filter(|name| shard.takes(name)).count();
            assert!((200..300).contains(&taken), "{shard} has {taken} of 1000");
        }
    }

    #[test]
    fn where_a_test_is_stays_so_for_ever() {
        // `printf %s NAME | sha256sum | cut -c-16`, read as a number, modulo 5, plus one.
        for (name, shard) in [("", "3/5"), ("log in", "3/5"), ("größe", "5/5")] {
            let taken = parts(5).find(|shard| shard.takes(name)).unwrap();
            assert_eq!(taken.to_string(), shard, "{name:?}");
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for wrong in [
            "", "1", "/", "0/5", "6/5", "1/0", "0/0", "-1/5", "+1/5", "1/+5", "1/2/3", "a/b",
            " 1/2",
        ] {
            let error = wrong.parse::<Shard>().unwrap_err().to_string();
            assert!(error.contains("from 1 to n"), "{error}");
        }
        assert!(format!("1/{}", u64::MAX).parse::<Shard>().is_err());
        assert_eq!("5/5".parse::<Shard>().unwrap().to_string(), "5/5");
    }
}
