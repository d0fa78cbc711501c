//! Raw TCP to the hosts that the operator granted by `allow_tcp`; everything else is denied when a guest
//! connects or looks up a name, as an error, and recorded with the grant that would allow it. No
//! listening, no binding, no UDP, ever.
//!
//! The names of the grants are looked up once, when the attempt starts. Only those addresses and
//! ports pass, and a guest that looks a name up is told those addresses or nothing, so that the name
//! service is no way out. The sockets themselves are wasmtime-wasi's; this module stands before
//! them.

mod lookup;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::join_all;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::bindings::sockets as bindings;
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSockets, WasiSocketsCtx, WasiSocketsCtxView};

use self::stream::Open;
use super::address::Resolver;
use super::traffic::Traffic;
use crate::model::{Policy, TcpTarget};

/// One attempt's TCP. Costs next to nothing without a grant.
pub(crate) struct TcpCtx {
    /// wasmtime-wasi's own check, a second wall behind ours.
    sockets: Option<WasiSocketsCtx>,
    grants: Arc<[Grant]>,
    traffic: Traffic,
    /// Connections on their way, by the socket's place in the table.
    connecting: HashMap<u32, Open>,
    /// How many sockets the guest holds.
    held: u64,
}

/// What the operator granted, and where it is.
struct Grant {
    target: TcpTarget,
    addresses: Result<Vec<IpAddr>, String>,
}

impl Grant {
    async fn find(target: &TcpTarget, resolver: &Resolver) -> Self {
        let found = resolver.resolve_for_tcp(&target.host, target.port).await;
        let addresses = |found: Vec<SocketAddr>| {
            found.iter().map(|address| address.ip().to_canonical()).collect()
        };
        let addresses = found.map(addresses).map_err(|error| error.to_string());
        Self { target: target.clone(), addresses }
    }

    fn covers(&self, address: SocketAddr) -> bool {
        self.target.port == address.port()
            && self.addresses.as_ref().is_ok_and(|list| list.contains(&address.ip()))
    }
}

impl TcpCtx {
    /// Looks up what `policy` grants. Exchanges go to `traffic`.
    pub(crate) async fn new(policy: &Policy, traffic: Traffic, resolver: &Resolver) -> Self {
        let finds = policy.allow_tcp.iter().map(|target| Grant::find(target, resolver));
        let grants: Arc<[Grant]> = join_all(finds).await.into();
        Self { sockets: None, grants, traffic, connecting: HashMap::new(), held: 0 }
    }

    /// Made when they are first asked for: most attempts never do.
    fn sockets(&mut self) -> &mut WasiSocketsCtx {
        self.sockets.get_or_insert_with(|| sockets_to(self.grants.clone()))
    }

    fn grant(&self, address: SocketAddr) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.covers(address))
    }
}

fn sockets_to(grants: Arc<[Grant]>) -> WasiSocketsCtx {
    let check = move |address: SocketAddr, usage| {
        let allowed = match usage {
            SocketAddrUse::TcpConnect => grants.iter().any(|grant| grant.covers(address)),
            // Asked before a connect too, for the port that the system will choose.
            SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
            _ => false,
        };
        Box::pin(std::future::ready(allowed)) as _
    };
    let mut wasi = WasiCtx::builder().allow_tcp(true).socket_addr_check(check).build();
    wasi.sockets().clone()
}

/// What [`add_to_linker`] wants to see of a store's state.
pub(crate) trait TcpView: Send + 'static {
    /// The attempt's TCP and its resources.
    fn tcp(&mut self) -> TcpCtxView<'_>;
}

/// A view of a store's state, on which the host traits are implemented.
pub(crate) struct TcpCtxView<'a> {
    /// The attempt's TCP.
    pub(crate) ctx: &'a mut TcpCtx,
    /// The store's resources.
    pub(crate) table: &'a mut ResourceTable,
}

impl TcpCtxView<'_> {
    fn sockets(&mut self) -> WasiSocketsCtxView<'_> {
        WasiSocketsCtxView { ctx: self.ctx.sockets(), table: self.table }
    }
}

struct HasTcp;

impl HasData for HasTcp {
    type Data<'a> = TcpCtxView<'a>;
}

/// Links all of `wasi:sockets`.
pub(crate) fn add_to_linker<T: TcpView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    fn theirs<T: TcpView>(state: &mut T) -> WasiSocketsCtxView<'_> {
        let TcpCtxView { ctx, table } = state.tcp();
        WasiSocketsCtxView { ctx: ctx.sockets(), table }
    }
    let options = bindings::network::LinkOptions::default();
    bindings::network::add_to_linker::<T, WasiSockets>(linker, &options, theirs)?;
    bindings::instance_network::add_to_linker::<T, WasiSockets>(linker, theirs)?;
    bindings::udp::add_to_linker::<T, WasiSockets>(linker, theirs)?;
    bindings::udp_create_socket::add_to_linker::<T, WasiSockets>(linker, theirs)?;
    bindings::tcp::add_to_linker::<T, HasTcp>(linker, T::tcp)?;
    bindings::tcp_create_socket::add_to_linker::<T, HasTcp>(linker, T::tcp)?;
    lookup::add_to_linker::<T, HasTcp>(linker, T::tcp)
}
