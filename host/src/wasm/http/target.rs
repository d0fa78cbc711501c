//! Where a request goes, taken apart from what the guest wrote and put together again.

use std::fmt;
use std::net::Ipv6Addr;

use http::Uri;
use http::uri::Scheme;

use crate::model::{Policy, read_port, without_root};

/// A request's target. Only this is used to decide, to connect and to write the request, so that no
/// two of them can disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) https: bool,
    /// A name or an address in lower case, without brackets and without the dot that ends a name.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query; starts with a slash.
    pub(super) path: String,
}

/// What the policy says of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be reached if its address is on the public Internet.
    IfPublic,
    /// It may be reached wherever it is: the operator named this very host.
    Anywhere,
    Denied,
}

impl Target {
    /// Takes the URI apart. The error says what is wrong with it.
    pub(super) fn read(uri: &Uri) -> Result<Self, &'static str> {
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err("the URL's scheme must be http or https"),
        };
        let authority = uri.authority().ok_or("the URL has no host")?;
        if authority.as_str().contains('@') {
            return Err("the URL has a user or password: send an authorization header instead");
        }
        let host = authority.host().to_ascii_lowercase();
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().map(|ip| ip.to_string()).ok(),
            None => Some(without_root(&host).to_owned()).filter(|host| is_name(host)),
        };
        let host = host.ok_or("the URL's host is neither a name nor an address")?;
        let usual = if https { 443 } else { 80 };
        // Without the host what remains is empty or `:port`; the URI's own reading of the port
        // forgives too much.
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => {
                read_port(port).ok_or("the URL's port is no port")?
            }
            _ => usual,
        };
        let path = match uri.path_and_query() {
            Some(path) if !matches!(path.path(), "" | "/") && !path.path().starts_with('/') => {
                return Err("the URL's path does not start with a slash");
            }
            Some(path) => match path.query() {
                Some(query) => format!("{}?{query}", rooted(path.path())),
                None => rooted(path.path()).to_owned(),
            },
            None => "/".to_owned(),
        };
        Ok(Self { https, host, port, path })
    }

    /// What the policy says.
    pub(super) fn verdict(&self, policy: &Policy) -> Verdict {
        let mut verdict = Verdict::Denied;
        for pattern in &policy.allow_http {
            if pattern.matches(self.https, &self.host, self.port) {
                if pattern.names_host_itself() {
                    return Verdict::Anywhere;
                }
                verdict = Verdict::IfPublic;
            }
        }
        verdict
    }

    /// Scheme, host and port, as a grant would be written.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Host and port, as the `Host` header wants them (RFC 9110 §7.2).
    pub(super) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.https { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

/// The URL as it may be shown: with its query values masked. A part of the query without a name is
/// taken for a value.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path.as_str(), None),
        };
        write!(f, "{}{path}", self.origin())?;
        for (index, part) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match part.split_once('=') {
                Some((name, _)) => write!(f, "{name}=***")?,
                None if part.is_empty() => {}
                None => f.write_str("***")?,
            }
        }
        Ok(())
    }
}

/// The URL of a target that cannot be read: nothing of it but scheme and host is fit to be shown.
pub(super) fn show_unreadable(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    format!("{scheme}://{}", uri.host().unwrap_or_default())
}

fn rooted(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

fn is_name(host: &str) -> bool {
    let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    !host.is_empty() && host.len() <= 253 && host.bytes().all(ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Result<Target, &'static str> {
        Target::read(&uri.parse().unwrap())
    }

    #[test]
    fn a_target_is_put_together_from_what_was_understood() {
        let target = read("http://EXAMPLE.com:80/a/b?x=1").unwrap();
        assert_eq!(target.authority(), "example.com");
        assert_eq!(target.origin(), "http://example.com");
        assert_eq!(target.path, "/a/b?x=1");
        assert_eq!(read("https://a:8443").unwrap().authority(), "a:8443");
        assert_eq!(read("https://a?q").unwrap().path, "/?q");
        let six = read("http://[0:0::1]:8080/").unwrap();
        assert_eq!((six.host.as_str(), six.authority().as_str()), ("::1", "[::1]:8080"));
        assert_eq!(read("http://[::1]/").unwrap().port, 80);
    }

    #[test]
    fn a_target_that_can_be_read_in_two_ways_is_refused() {
        for bad in [
            "ftp://a/",
            "/relative",
            "http://user@a/",
            "http://allowed@evil/",
            "http://user:secret@a/",
            "http://a:0/",
            "http://a:99999/",
            "http://a%2eb/",
            "http://a!b/",
            "http://a:/",
            "http://a:+80/",
            "http://./",
        ] {
            let refused = bad.parse().map_or(true, |uri| Target::read(&uri).is_err());
            assert!(refused, "{bad}");
        }
        // Absolute form in the path (GHSA-5qpp), and the asterisk form.
        for path in ["*", "http://evil/"] {
            let uri = Uri::builder().scheme("http").authority("a").path_and_query(path).build();
            assert!(uri.map_or(true, |uri| Target::read(&uri).is_err()), "{path}");
        }
    }

    #[test]
    fn a_url_is_shown_without_values() {
        let shown = |uri: &str| read(uri).unwrap().to_string();
        assert_eq!(shown("http://a/b?token=s3cret&x=1&bare"), "http://a/b?token=***&x=***&***");
        assert_eq!(shown("http://a/"), "http://a/");
        assert_eq!(shown("http://a/?"), "http://a/?");
        let uri = "http://user:s3cret@a/p?q=s3cret".parse().unwrap();
        assert_eq!(show_unreadable(&uri), "http://a");
    }

    #[test]
    fn a_pattern_allows_less_than_a_name() {
        let verdict = |grants: &[&str], uri: &str| {
            let allow_http = grants.iter().map(|g| g.parse().unwrap()).collect();
            read(uri).unwrap().verdict(&Policy { allow_http, ..Policy::default() })
        };
        assert_eq!(verdict(&["http://a"], "http://a/"), Verdict::Anywhere);
        assert_eq!(verdict(&["http://*.a"], "http://b.a/"), Verdict::IfPublic);
        assert_eq!(verdict(&["http://*.a", "http://b.a"], "http://b.a/"), Verdict::Anywhere);
        assert_eq!(verdict(&["http://a"], "https://a/"), Verdict::Denied);
        assert_eq!(verdict(&["http://a"], "http://a:81/"), Verdict::Denied);
        assert_eq!(verdict(&[], "http://a/"), Verdict::Denied);
        assert_eq!(verdict(&["http://[::1]"], "http://[0::1]/"), Verdict::Anywhere);
        assert_eq!(verdict(&["http://[0::1]"], "http://[::1]/"), Verdict::Anywhere);
        assert_eq!(verdict(&["http://a"], "http://a./"), Verdict::Anywhere);
        assert_eq!(verdict(&["http://a."], "http://a/"), Verdict::Anywhere);
        assert_eq!(verdict(&["http://*.a."], "http://b.a/"), Verdict::IfPublic);
    }
}
