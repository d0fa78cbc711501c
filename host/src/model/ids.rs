//! Identities: suites by name, versions by digest, runs by UUID.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A namespace or a suite's name: lower-case letters, digits, `-`, `_` and `.`, at most 64 bytes,
/// starting with a letter or digit. Safe in a URL, a file name, a metric label and a storage key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: use lower-case letters, digits, `-`, `_` and `.`, at most 64 bytes, \
     starting with a letter or digit"
)]
pub struct InvalidName(String);

impl Name {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// A name in a sample.
    pub(super) fn sample() -> Self {
        Self("sample".into())
    }

    /// The namespace of a suite that names none.
    pub fn default_namespace() -> Self {
        Self("default".into())
    }

    /// The name of a program by that of its file, without its directory and extension: less what cargo
    /// and Go add to it, with `-` for what a name may not have. None if nothing is left.
    pub fn of_program(file: &str) -> Option<Self> {
        let file = file.strip_suffix(".test").unwrap_or(file);
        let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|c| c.is_ascii_hexdigit());
        let file = match file.rsplit_once('-') {
            Some((name, hash)) if is_hash(hash) => name,
            _ => file,
        };
        let allowed = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '-' | '_' | '.') => c,
            _ => '-',
        };
        let name: String = file.chars().map(allowed).collect();
        let name = name.trim_start_matches(['-', '_', '.']);
        // What is left is ASCII.
        Self::try_from(name[..name.len().min(Self::MAX_BYTES)].to_owned()).ok()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        let ok =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_' | b'.');
        let bytes = text.as_bytes();
        let starts_well =
            bytes.first().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if starts_well && bytes.len() <= Self::MAX_BYTES && bytes.iter().copied().all(ok) {
            Ok(Self(text))
        } else {
            // What was refused may be hostile and large; the message shows a piece of it.
            Err(InvalidName(text.chars().take(Self::MAX_BYTES).collect()))
        }
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::try_from(text.to_owned())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What identifies a suite: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SuiteId {
    /// The namespace.
    pub namespace: Name,
    /// The name, unique in the namespace.
    pub name: Name,
}

impl fmt::Display for SuiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Reads `namespace/name`, or a bare `name` in the default namespace.
impl FromStr for SuiteId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('/') {
            Some((namespace, name)) => {
                Ok(Self { namespace: namespace.parse()?, name: name.parse()? })
            }
            None => Ok(Self { namespace: Name::default_namespace(), name: text.parse()? }),
        }
    }
}

/// The SHA-256 of some bytes, written `sha256:` and 64 hexadecimal digits. Names a suite's version,
/// and every blob on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 64 hexadecimal digits, without `sha256:`; a safe file name.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version: expected `sha256:` and 64 hexadecimal digits")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let digits = text.strip_prefix("sha256:").ok_or(InvalidDigest)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| InvalidDigest)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A run's identity: a UUIDv7, so that ids sort by the time at which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// A new id, later than every id made before by this process.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id's 16 bytes; their order is the order of ids.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_after_its_file() {
        let named = |file: &str| Name::of_program(file).map(String::from);
        for (file, name) in [
            ("shop", "shop"),
            ("shop-0123456789abcdef", "shop"),
            ("shop-api-0123456789abcde", "shop-api-0123456789abcde"),
            ("strings.test", "strings"),
            ("Größe 1", "gr--e-1"),
            ("_x", "x"),
        ] {
            assert_eq!(named(file).as_deref(), Some(name));
        }
        assert_eq!(named(&"x".repeat(1000)).unwrap().len(), Name::MAX_BYTES);
        for none in ["", "...", "日本"] {
            assert_eq!(named(none), None);
        }
    }

    #[test]
    fn names_are_safe_in_a_path() {
        for good in ["a", "a-b_c.d", "0", &"x".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "A", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_suite_without_a_namespace_is_in_the_default_one() {
        assert_eq!("hello".parse::<SuiteId>().unwrap().to_string(), "default/hello");
        assert_eq!("team/hello".parse::<SuiteId>().unwrap().to_string(), "team/hello");
        assert!("a/b/c".parse::<SuiteId>().is_err());
    }

    #[test]
    fn a_digest_reads_back() {
        let digest = Digest::of(b"");
        assert_eq!(
            digest.to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("sha256:00".parse::<Digest>().is_err());
        assert!(digest.hex().parse::<Digest>().is_err());
    }

    #[test]
    fn later_runs_have_greater_ids() {
        let ids: Vec<_> = (0..1000).map(|_| RunId::new()).collect();
        assert!(ids.is_sorted());
    }
}
