//! Name lookup that knows the granted names and no others.

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package handoff:capabilities;
            world lookup { import wasi:sockets/ip-name-lookup@0.2.12; }
        ",
        world: "handoff:capabilities/lookup",
        imports: { default: trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:sockets/network": wasmtime_wasi::p2::bindings::sockets::network,
            "wasi:sockets/ip-name-lookup.resolve-address-stream": super::Addresses,
        },
        trappable_error_type: {
            "wasi:sockets/network.error-code" => wasmtime_wasi::p2::SocketError,
        },
        require_store_data_send: true,
    });
}

use std::net::IpAddr;

use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, SocketResult, subscribe};

pub(super) use self::generated::wasi::sockets::ip_name_lookup::{
    Host, HostResolveAddressStream, add_to_linker,
};
use super::TcpCtxView;
use crate::model::without_root;
use crate::wasm::traffic::advice;

/// The answer to a lookup; complete from the start.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Addresses(std::vec::IntoIter<IpAddr>);

impl Host for TcpCtxView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<Addresses>> {
        self.table.get(&network)?;
        let found = self.known(&name)?;
        Ok(self.table.push(Addresses(found.into_iter()))?)
    }
}

impl TcpCtxView<'_> {
    fn known(&self, name: &str) -> Result<Vec<IpAddr>, ErrorCode> {
        if let Ok(ip) = name.trim_matches(['[', ']']).parse() {
            return Ok(vec![ip]);
        }
        let host = without_root(name).to_ascii_lowercase();
        let mut named = self.ctx.grants.iter().filter(|grant| grant.target.host == host).peekable();
        if named.peek().is_none() {
            let reason = format!(
                "not allowed by the policy: {} with the port that is meant",
                advice("allow_tcp", &format!("{host}:PORT"))
            );
            self.ctx.traffic.deny("CONNECT", &format!("tcp://{host}"), &reason);
            return Err(ErrorCode::AccessDenied);
        }
        match named.find_map(|grant| grant.addresses.as_ref().ok()) {
            Some(addresses) => Ok(addresses.clone()),
            None => Err(ErrorCode::NameUnresolvable),
        }
    }
}

impl HostResolveAddressStream for TcpCtxView<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<Addresses>,
    ) -> SocketResult<Option<IpAddress>> {
        Ok(self.table.get_mut(&stream)?.0.next().map(IpAddress::from))
    }

    fn subscribe(
        &mut self,
        stream: Resource<Addresses>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, stream)
    }

    fn drop(&mut self, stream: Resource<Addresses>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

#[async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {}
}
