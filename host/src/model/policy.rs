//! What the operator grants to a suite. A component is never asked.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
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
    /// What no two runs may use at the same time, in addition to what the suite declares.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<String>,
    /// How many runs of the suite may be under way at the same time; the suite may declare fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_runs: Option<u32>,
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
            .field("locks", &self.locks)
            .field("concurrent_runs", &self.concurrent_runs)
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

    /// What is wrong with the host, if no request could ever go there.
    pub fn wrong_with_host(&self) -> Option<String> {
        match self.host.strip_prefix("*.") {
            Some(name) if ends_in_number(name) => {
                Some(format!("nothing is below {name}, which is an address: write the whole host"))
            }
            Some(name) => wrong_with_host(name),
            None => wrong_with_host(&self.host),
        }
    }
}

impl TcpTarget {
    /// What is wrong with the host, if no connection could ever go there.
    pub fn wrong_with_host(&self) -> Option<String> {
        wrong_with_host(&self.host)
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
            Some(port) => Some(read_port(port).ok_or_else(bad)?),
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
        let port = port.and_then(read_port).ok_or_else(bad)?;
        if !is_host(&host) {
            return Err(bad());
        }
        Ok(Self { host, port })
    }
}

/// Splits `host[:port]`, where the host may be `[v6]`; gives the host as a request's is compared with it:
/// a name in lower case without the dot that ends it, an address in its one usual form.
fn split_port(authority: &str) -> Option<(String, Option<&str>)> {
    let Some(rest) = authority.strip_prefix('[') else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        return Some((without_root(host).to_ascii_lowercase(), port));
    };
    let (host, rest) = rest.split_once(']')?;
    let host = host.parse::<Ipv6Addr>().ok()?.to_string();
    match rest {
        "" => Some((host, None)),
        _ => Some((host, Some(rest.strip_prefix(':')?))),
    }
}

/// A name without the dot that ends it, which stands for the root of all names: with it and without it
/// the same host is meant.
pub fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// A port as its digits alone.
pub fn read_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

fn is_host(host: &str) -> bool {
    let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    host.parse::<Ipv6Addr>().is_ok()
        || (!host.is_empty() && host.len() <= 253 && host.bytes().all(ok))
}

/// Beyond what [`is_host`] asks. Grants that were stored before this was asked stay readable.
fn wrong_with_host(host: &str) -> Option<String> {
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    if ends_in_number(host) {
        return Some(format!(
            "{host} is neither a name nor an address: write an address as four numbers from 0 to 255"
        ));
    }
    let odd = host.split('.').find(|label| !(1..=63).contains(&label.len()))?;
    Some(match odd {
        "" => format!("{host} is no name: it has an empty part"),
        _ => format!("{host} is no name: its part {odd} is longer than 63 characters"),
    })
}

/// Whether clients take the host for an IPv4 address, whatever it looks like (WHATWG URL, "ends in a
/// number"): such as `127.1`, which is `127.0.0.1`.
fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hexadecimal = |digits: &str| digits.bytes().all(|c| c.is_ascii_hexdigit());
    (!last.is_empty() && last.bytes().all(|c| c.is_ascii_digit()))
        || last.strip_prefix("0x").is_some_and(hexadecimal)
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
    fn a_host_has_one_form_however_it_is_written() {
        for (written, shown) in [
            ("http://[0:0::1]:80", "http://[::1]"),
            ("http://[2001:DB8:0::1]", "http://[2001:db8::1]"),
            ("https://Example.COM.", "https://example.com"),
            ("https://*.example.com.:8443", "https://*.example.com:8443"),
            ("http://a:080/", "http://a"),
        ] {
            assert_eq!(pattern(written).to_string(), shown);
        }
        for (written, shown) in [("[0:0::1]:5", "[::1]:5"), ("DB.:05", "db:5")] {
            assert_eq!(written.parse::<TcpTarget>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_host_that_nothing_could_reach_is_told() {
        for fine in ["a", "a_b", "a-1.b", "1a", "192.0.2.1", "[::1]", "*.example.com", "a.1b"] {
            assert_eq!(pattern(&format!("http://{fine}")).wrong_with_host(), None, "{fine}");
        }
        let long = "a".repeat(64);
        for (bad, words) in [
            ("a..b", "an empty part"),
            (".a", "an empty part"),
            ("a..", "an empty part"),
            ("*..a", "an empty part"),
            (long.as_str(), "longer than 63"),
            ("127.1", "four numbers"),
            ("2130706433", "four numbers"),
            ("0x7f.0X1", "four numbers"),
            ("256.1.1.1", "four numbers"),
            ("*.0.0.1", "nothing is below 0.0.1"),
        ] {
            let wrong = pattern(&format!("http://{bad}")).wrong_with_host().unwrap();
            assert!(wrong.contains(words), "{bad}: {wrong}");
            if !bad.contains('*') {
                let target: TcpTarget = format!("{bad}:1").parse().unwrap();
                assert_eq!(target.wrong_with_host(), Some(wrong));
            }
        }
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
            "https://a:+80",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
        for bad in ["a", "a:", "a:0", ":1", "a:*", "*.a:1", "a:+1"] {
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
