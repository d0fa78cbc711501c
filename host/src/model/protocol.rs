//! How test programs that were never written for us are understood.

use serde::{Deserialize, Serialize};

/// How a program is asked for its tests and tells how they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Rust's own test harness: what `cargo test --no-run` makes.
    Libtest,
    /// Go's `testing`: what `go test -c` makes.
    GoTest,
    /// One test that writes TAP 13 or 14 to its standard output.
    Tap,
    /// One test that passed if it ended with code 0.
    ExitCode,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Libtest, Self::GoTest, Self::Tap, Self::ExitCode];

    /// The word for it in JSON, in URLs and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Libtest => "libtest",
            Self::GoTest => "go-test",
            Self::Tap => "tap",
            Self::ExitCode => "exit-code",
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        let found = Self::ALL.into_iter().find(|protocol| protocol.as_str() == text);
        found.ok_or_else(|| UnknownProtocol(text.chars().take(64).collect()))
    }
}

/// A protocol that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no protocol: give libtest, go-test, tap or exit-code")]
pub struct UnknownProtocol(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_reads_back_from_its_word() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.as_str().parse(), Ok(protocol));
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.as_str());
        }
        let error = "junit".parse::<Protocol>().unwrap_err().to_string();
        assert!(error.contains("\"junit\"") && error.contains("libtest"), "{error}");
    }
}
