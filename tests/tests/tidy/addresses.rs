//! Tests talk to this machine alone.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::source::Tree;

/// Tests that tell public addresses from others and reach none: path and reason.
pub(crate) const CLASSIFIED: &[(&str, &str)] =
    &[("host/src/wasm/address.rs", "decides which addresses are public, and connects to none")];

/// Names that are reserved and lead nowhere (RFC 2606, RFC 6761).
const RESERVED: [&str; 7] =
    ["example", "example.com", "example.net", "example.org", "invalid", "localhost", "test"];

/// Finds names and addresses of other machines in the texts of tests.
pub(crate) fn check(tree: &Tree, classified: &[(&str, &str)]) -> Vec<String> {
    let mut findings = Vec::new();
    for code in tree.code() {
        let is_excepted = classified.iter().any(|(path, _)| *path == code.path);
        // An example may show a link; what its tests may reach, the sandbox decides.
        if is_excepted || code.path.starts_with("examples/") {
            continue;
        }
        for token in code.tokens.iter().filter(|token| code.is_test(token.line)) {
            let Some(literal) = token.literal() else { continue };
            for place in outside(literal) {
                findings.push(format!("{}:{}: a test names {place}", code.path, token.line));
            }
        }
    }
    findings
}

/// The names and addresses in a text that are not of this machine.
fn outside(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let addresses = text.split(|c| !is_part(c)).filter_map(|piece| piece.parse().ok());
    let addresses = addresses.filter(|address| !is_own_v4(*address)).map(|a| a.to_string());
    let hosts = text.match_indices("://").filter_map(|(at, sign)| host(&text[at + sign.len()..]));
    let hosts = hosts.filter(|host| !is_own_host(host)).map(str::to_owned);
    addresses.chain(hosts).collect()
}

/// The host that a URL goes on with; none if it is put together from parts.
fn host(rest: &str) -> Option<&str> {
    if let Some(address) = rest.strip_prefix('[') {
        return address.split_once(']').map(|(address, _)| address);
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-._*".contains(c)));
    let host = &rest[..end.unwrap_or(rest.len())];
    (!host.is_empty()).then_some(host)
}

fn is_own_host(host: &str) -> bool {
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        let is_documentation = address.segments()[..2] == [0x2001, 0xdb8];
        let is_private = address.is_unique_local() || address.is_unicast_link_local();
        return address.is_loopback() || address.is_unspecified() || is_documentation || is_private;
    }
    let host = host.to_ascii_lowercase();
    // An IPv4 address is looked at by itself. A name without a dot leads nowhere, and no top level
    // has a single letter.
    let top = host.rsplit_once('.').map_or("", |(_, top)| top);
    let is_reserved = |name: &&str| host == **name || host.ends_with(&format!(".{name}"));
    host.parse::<Ipv4Addr>().is_ok() || top.len() < 2 || RESERVED.iter().any(is_reserved)
}

fn is_own_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a, b & 0xc0) == (100, 64)
        || (a, b & 0xfe) == (198, 18)
        || (a, b, c) == (192, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_clean, assert_finds};

    #[test]
    fn another_machine_is_found() {
        let sample = |text: &str| {
            let path = "tests/tests/a.rs";
            check(&Tree::of(&[(path, &format!("fn a() {{ b(\"{text}\") }}\n"))]), &[])
        };
        // Put together, so that this file does not break its own rule.
        let public = ["8", "8", "8", "8"].join(".");
        assert_finds(&sample(&format!("{public}:53")), "a test names 8.");
        let name = ["www", "wikipedia", "org"].join(".");
        assert_finds(&sample(&format!("https://{name}/a")), "a test names www");
        let public = format!("http://[{}]/", ["2606", "4700", "", "1"].join(":"));
        assert_finds(&sample(&public), "a test names 2606");
        for fine in [
            "http://127.0.0.1:80/a",
            "http://{address}/a",
            "https://api.example.com",
            "https://*.example.org",
            "http://nowhere.test:1/",
            "http://a:80",
            "http://[::1]:80",
            "10.0.0.1",
            "192.0.2.7",
            "169.254.169.254",
            "version 1.2.3",
        ] {
            assert_clean(&sample(fine));
        }
    }

    #[test]
    fn code_that_is_no_test_may_name_what_it_likes() {
        let link = ["https://www", "w3", "org/"].join(".");
        let text = format!("fn a() {{ b(\"{link}\") }}\n");
        assert_clean(&check(&Tree::of(&[("host/src/a.rs", &text)]), &[]));
        let excepted = [("tests/src/a.rs", "tells public addresses from others")];
        assert_clean(&check(&Tree::of(&[("tests/src/a.rs", &text)]), &excepted));
        assert_finds(&check(&Tree::of(&[("tests/src/a.rs", &text)]), &[]), "a test names");
    }
}
