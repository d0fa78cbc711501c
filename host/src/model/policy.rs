//! What the operator grants to a suite. A component is never asked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Keep, LimitsPatch};

/// What is wrong with the name of a parameter, of configuration or of a variable, if anything is.
pub fn wrong_with_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a name is empty".into());
    }
    name.contains('\0').then(|| format!("the name {name:?} has a NUL"))
}

/// A grant. The default grants nothing.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Where HTTP requests may go.
    pub allow_http: Vec<HostPattern>,
    /// Where TCP connections may go.
    pub allow_tcp: Vec<TcpTarget>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Arguments of a test program, before those that its harness needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Where the files are found that a version brings along. Default: `/`, where relative paths start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixtures_path: Option<String>,
    /// Configuration, read by the guest through `wasi:config/store`.
    pub config: BTreeMap<String, String>,
    /// Configuration that is masked wherever it would be shown. Write-only over HTTP.
    pub secrets: BTreeMap<String, String>,
    /// Limits that differ from the server's.
    pub limits: LimitsPatch,
    /// How long runs are kept, where that differs from the server's.
    #[serde(skip_serializing_if = "Keep::is_empty")]
    pub keep: Keep,
}

impl Policy {
    /// Where a guest finds its fixtures.
    pub fn fixtures_path(&self) -> &str {
        self.fixtures_path.as_deref().unwrap_or("/")
    }

    /// What the arguments come to, each with the NUL behind it.
    pub fn args_bytes(&self) -> u64 {
        self.args.iter().map(|arg| arg.len() as u64 + 1).sum()
    }
}

/// Shows which secrets there are, not what they are.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("allow_http", &self.allow_http)
            .field("allow_tcp", &self.allow_tcp)
            .field("env", &self.env.keys())
            .field("args", &self.args)
            .field("fixtures_path", &self.fixtures_path)
            .field("config", &self.config)
            .field("secrets", &self.secrets.keys())
            .field("limits", &self.limits)
            .field("keep", &self.keep)
            .finish()
    }
}

/// A scheme, host and port that requests may go to, written as a URL without a path:
/// `https://api.example.com`, `http://127.0.0.1:8080`, `https://*.example.com` for every name below
/// `example.com` (not that name itself), `http://localhost:*` for every port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    https: bool,
    /// Lower case, without brackets; `*.` in front stands for any name below.
    host: String,
    port: Option<u16>,
}

/// A host and port that TCP connections may go to, written `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TcpTarget {
    /// A name or an address, lower case, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A grant that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Not of the form of an HTTP grant.
    #[error(
        "{0:?} is not a host to allow: write `https://host`, `http://host:port`, \
         `https://*.example.com` or `http://host:*`, without path, user or query"
    )]
    Http(String),
    /// Not of the form of a TCP grant.
    #[error("{0:?} is not a TCP target to allow: write `host:port`")]
    Tcp(String),
}

impl HostPattern {
    /// Whether a request with this scheme, host (lower case, without brackets) and port may pass.
    pub fn matches(&self, https: bool, host: &str, port: u16) -> bool {
        let host_matches = match self.host.strip_prefix('*') {
            // `suffix` starts with the dot, so that `*.example.com` does not match `badexample.com`.
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => host == self.host,
        };
        https == self.https && host_matches && self.port.is_none_or(|p| p == port)
    }

    /// Whether the operator wrote this very host, not a pattern that covers it. Only then may it be
    /// an address that is not public.
    pub fn names_host_itself(&self) -> bool {
        !self.host.starts_with('*')
    }
}

impl FromStr for HostPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let bad = || InvalidPattern::Http(text.chars().take(256).collect());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(bad()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_port(authority).ok_or_else(bad)?;
        let port = match port {
            None => Some(if https { 443 } else { 80 }),
            Some("*") => None,
            Some(port) => Some(port.parse().ok().filter(|p| *p != 0).ok_or_else(bad)?),
        };
        let name = host.strip_prefix("*.").unwrap_or(&host);
        if name.is_empty() || name.contains('*') || !is_host(name) {
            return Err(bad());
        }
        Ok(Self { https, host, port })
    }
}

impl FromStr for TcpTarget {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let bad = || InvalidPattern::Tcp(text.chars().take(256).collect());
        let (host, port) = split_port(text).ok_or_else(bad)?;
        let port = port.and_then(|p| p.parse().ok()).filter(|p| *p != 0).ok_or_else(bad)?;
        if !is_host(&host) {
            return Err(bad());
        }
        Ok(Self { host, port })
    }
}

/// Splits `host[:port]`, where the host may be `[v6]`; gives the host in lower case.
fn split_port(authority: &str) -> Option<(String, Option<&str>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match rest {
                "" => (host, None),
                _ => (host, Some(rest.strip_prefix(':')?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    Some((host.to_ascii_lowercase(), port))
}

fn is_host(host: &str) -> bool {
    let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    host.parse::<std::net::Ipv6Addr>().is_ok()
        || (!host.is_empty() && host.len() <= 253 && host.bytes().all(ok))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.https { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", bracketed(&self.host))?;
        match self.port {
            None => f.write_str(":*"),
            Some(port) if port == usual => Ok(()),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

impl fmt::Display for TcpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(&self.host), self.port)
    }
}

impl TryFrom<String> for HostPattern {
    type Error = InvalidPattern;

    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl TryFrom<String> for TcpTarget {
    type Error = InvalidPattern;

    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl From<TcpTarget> for String {
    fn from(target: TcpTarget) -> Self {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_grant_matches_its_scheme_host_and_port_only() {
        let plain = pattern("https://API.example.com");
        assert!(plain.matches(true, "api.example.com", 443));
        assert!(!plain.matches(false, "api.example.com", 443));
        assert!(!plain.matches(true, "api.example.com", 8443));
        assert!(!plain.matches(true, "x.api.example.com", 443));
        let below = pattern("https://*.example.com");
        assert!(below.matches(true, "a.example.com", 443));
        assert!(below.matches(true, "a.b.example.com", 443));
        assert!(!below.matches(true, "example.com", 443));
        assert!(!below.matches(true, "badexample.com", 443));
        assert!(!below.matches(true, ".example.com", 443));
        assert!(pattern("http://localhost:*").matches(false, "localhost", 1));
        assert!(pattern("http://[::1]:80").matches(false, "::1", 80));
    }

    #[test]
    fn a_grant_reads_back_as_it_is_shown() {
        for text in ["https://a", "http://a:8080", "https://*.a.b", "http://a:*", "http://[::1]:1"]
        {
            assert_eq!(pattern(text).to_string(), text);
        }
        assert_eq!("[::1]:5432".parse::<TcpTarget>().unwrap().to_string(), "[::1]:5432");
        assert_eq!("DB:5432".parse::<TcpTarget>().unwrap().to_string(), "db:5432");
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for bad in [
            "",
            "a",
            "ftp://a",
            "https://",
            "https://*",
            "https://a*b",
            "https://*.*.a",
            "https://u@a",
            "https://a/b",
            "https://a?b",
            "https://a:0",
            "https://a:99999",
            "https://[::1",
            "https://a:b:c",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
        for bad in ["a", "a:", "a:0", ":1", "a:*", "*.a:1"] {
            assert!(bad.parse::<TcpTarget>().is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_output_hides_secrets_and_environment() {
        let secrets = BTreeMap::from([("token".to_owned(), "hunter2".to_owned())]);
        let policy = Policy { env: secrets.clone(), secrets, ..Policy::default() };
        let shown = format!("{policy:?}");
        assert!(shown.contains("token") && !shown.contains("hunter2"), "{shown}");
    }
}
