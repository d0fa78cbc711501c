//! From names to addresses, and which addresses an untrusted guest may be sent to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::SandboxSettings;
use crate::metrics::Metrics;

/// The most addresses of one name that are tried. No setting: a guest has no say in it, and who serves
/// more behind one name expects no client to try them all.
const MAX_ADDRESSES: usize = 16;

/// Looks up names. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Resolver {
    source: Source,
    /// How long the names that an attempt may connect to may take.
    tcp_patience: Duration,
    metrics: Metrics,
}

#[derive(Clone)]
enum Source {
    System(Arc<Semaphore>),
    #[cfg(test)]
    Fixed(Arc<std::collections::HashMap<String, Vec<IpAddr>>>),
}

impl Resolver {
    /// Looks up as the system does.
    pub(super) fn system(settings: &SandboxSettings, metrics: Metrics) -> Self {
        let lookups = settings.concurrent_lookups.clamp(1, Semaphore::MAX_PERMITS);
        let source = Source::System(Arc::new(Semaphore::new(lookups)));
        let tcp_patience = Duration::from_millis(settings.tcp_lookup_ms);
        Self { source, tcp_patience, metrics }
    }

    /// Knows these names and no others.
    #[cfg(test)]
    pub(super) fn fixed(names: &[(&str, &[&str])]) -> Self {
        let parse = |list: &[&str]| list.iter().map(|ip| ip.parse().expect("an address")).collect();
        let names = names.iter().map(|(name, list)| ((*name).to_owned(), parse(list)));
        let source = Source::Fixed(Arc::new(names.collect()));
        Self { source, ..Self::system(&SandboxSettings::default(), Metrics::new()) }
    }

    /// Keeps one lookup from starting for as long as it is held.
    #[cfg(test)]
    pub(super) fn occupied(&self) -> tokio::sync::OwnedSemaphorePermit {
        let Source::System(slots) = &self.source else { panic!("it knows its names") };
        slots.clone().try_acquire_owned().expect("a free slot")
    }

    /// The same, for no longer than a name that an attempt may connect to may take.
    pub(super) async fn resolve_for_tcp(
        &self,
        host: &str,
        port: u16,
    ) -> io::Result<Vec<SocketAddr>> {
        match tokio::time::timeout(self.tcp_patience, self.resolve(host, port)).await {
            Ok(found) => found,
            Err(_) => {
                self.metrics.server_limit_hit("sandbox.tcp_lookup_ms");
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
            }
        }
    }

    /// The addresses of `host`, which may be an address itself, without repeats, at most
    /// [`MAX_ADDRESSES`]. How long this may take is up to the caller.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let found = match &self.source {
            Source::System(slots) => {
                if slots.available_permits() == 0 {
                    self.metrics.server_limit_hit("sandbox.concurrent_lookups");
                }
                let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
                let host = host.to_owned();
                let look_up = move || {
                    let _slot = slot;
                    (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
                };
                tokio::task::spawn_blocking(look_up).await??
            }
            #[cfg(test)]
            Source::Fixed(names) => match names.get(host) {
                Some(list) => list.iter().map(|ip| SocketAddr::new(*ip, port)).collect(),
                None => return Err(io::Error::other("unknown name")),
            },
        };
        let mut unique = Vec::new();
        for address in found {
            if unique.len() < MAX_ADDRESSES && !unique.contains(&address) {
                unique.push(address);
            }
        }
        Ok(unique)
    }
}

/// Whether the address is one on the public Internet, after the IANA registries of special-purpose
/// addresses (RFC 6890). Forms of IPv6 that carry an IPv4 address (mapped, NAT64, 6to4, Teredo) are
/// not: they would be a way around the rules for IPv4.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = match a {
        0 | 10 | 127 => true,
        // Shared address space of carriers.
        100 => (64..128).contains(&b),
        // Link-local, where clouds keep their metadata service.
        169 => b == 254,
        172 => (16..32).contains(&b),
        // Protocol assignments, documentation, 6to4 relays, private.
        192 => b == 168 || (b == 0 && (c == 0 || c == 2)) || (b == 88 && c == 99),
        // Benchmarks, documentation.
        198 => b == 18 || b == 19 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        // Multicast, reserved, broadcast.
        _ => a >= 224,
    };
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // Global unicast is 2000::/3; everything else (loopback, unique local, link-local, multicast,
    // mapped, NAT64 …) is out.
    (a & 0xe000) == 0x2000
        // Protocol assignments, among them Teredo, and documentation.
        && !(a == 0x2001 && (b < 0x0200 || b == 0x0db8))
        // 6to4.
        && a != 0x2002
        // Documentation.
        && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_on_the_public_internet_are_public() {
        for public in ["1.1.1.1", "9.9.9.9", "172.32.0.1", "100.128.0.1", "2606:4700::1111"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        let special = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:1.1.1.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ];
        for special in special {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    #[tokio::test]
    async fn an_address_is_its_own_name_and_names_have_bounded_addresses() {
        let resolver = Resolver::system(&SandboxSettings::default(), Metrics::new());
        let addresses = resolver.resolve("127.0.0.1", 80).await.unwrap();
        assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
        let many: Vec<String> = (0..100).map(|n| format!("10.0.0.{}", n / 2)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let resolver = Resolver::fixed(&[("many", &many)]);
        assert_eq!(resolver.resolve("many", 1).await.unwrap().len(), MAX_ADDRESSES);
        assert!(resolver.resolve("other", 1).await.is_err());
    }

    #[tokio::test]
    async fn so_many_names_are_looked_up_at_once_and_more_wait() {
        let metrics = Metrics::new();
        let settings = SandboxSettings {
            concurrent_lookups: 1,
            tcp_lookup_ms: 10,
            ..SandboxSettings::default()
        };
        let resolver = Resolver::system(&settings, metrics.clone());
        let occupied = resolver.occupied();
        let mut waiting = Box::pin(resolver.resolve("localhost", 80));
        assert!(futures::poll!(&mut waiting).is_pending());
        let late = resolver.resolve_for_tcp("localhost", 80).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(occupied);
        assert!(!waiting.await.unwrap().is_empty());
        let text = metrics.render();
        for (limit, hits) in [("sandbox_concurrent_lookups", 2), ("sandbox_tcp_lookup_ms", 1)] {
            let line = format!("handoff_limit_hits_total{{limit=\"{limit}\"}} {hits}\n");
            assert!(text.contains(&line), "{line}");
        }
    }
}
