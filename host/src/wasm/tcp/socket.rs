//! `wasi:sockets/tcp`: wasmtime-wasi's sockets behind our rules. A socket connects to what was
//! granted, and does nothing else.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, Host as NetworkHost, HostNetwork, IpAddressFamily, IpSocketAddress,
};
use wasmtime_wasi::p2::bindings::sockets::tcp::{Host, HostTcpSocket, ShutdownType};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket;
use wasmtime_wasi::p2::pipe::{ClosedInputStream, ClosedOutputStream};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, IoError, Network, SocketError, SocketResult,
    TcpSocket,
};

use super::stream::{Incoming, Open, Outgoing};
use super::{TcpCtx, TcpCtxView};
use crate::model::Limit;
use crate::wasm::traffic::advice;

type Socket = Resource<TcpSocket>;
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

impl TcpCtx {
    /// Allows or denies a connection, and records it.
    fn begin(&self, address: SocketAddr) -> Result<Open, ErrorCode> {
        let Some(grant) = self.grant(address) else {
            let advice = advice("allow_tcp", &address.to_string());
            let reason = format!("not allowed by the policy: {advice}");
            self.traffic.deny("CONNECT", &format!("tcp://{address}"), &reason);
            return Err(ErrorCode::AccessDenied);
        };
        let url = format!("tcp://{}", grant.target);
        let ongoing = self.traffic.begin("CONNECT", &url, None).ok_or(ErrorCode::AccessDenied)?;
        let Some(slot) = self.traffic.try_slot() else {
            ongoing.fail("too many concurrent connections: raise limit concurrent_requests");
            return Err(ErrorCode::NewSocketLimit);
        };
        Ok(Open { ongoing, _slot: slot })
    }
}

impl tcp_create_socket::Host for TcpCtxView<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Socket> {
        // A socket is a descriptor of the whole server's.
        if self.ctx.held >= self.ctx.traffic.limits().concurrent_requests {
            self.ctx.traffic.hit(Limit::ConcurrentRequests);
            return Err(ErrorCode::NewSocketLimit.into());
        }
        let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.sockets(), family)?;
        self.ctx.held += 1;
        Ok(socket)
    }
}

impl Host for TcpCtxView<'_> {}

/// Hands a call on as it is.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        $(fn $name(&mut self, socket: Socket, $($argument: $type),*) -> $result {
            HostTcpSocket::$name(&mut self.sockets(), socket, $($argument),*)
        })+
    };
}

impl HostTcpSocket for TcpCtxView<'_> {
    fn start_connect(
        &mut self,
        socket: Socket,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        let place = socket.rep();
        if self.ctx.connecting.contains_key(&place) {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        let open = self.ctx.begin(address.into())?;
        HostTcpSocket::start_connect(&mut self.sockets(), socket, network, address)
            .inspect_err(|error| open.ongoing.fail(&error.to_string()))?;
        self.ctx.connecting.insert(place, open);
        Ok(())
    }

    fn finish_connect(&mut self, socket: Socket) -> SocketResult<Streams> {
        let place = socket.rep();
        let streams = HostTcpSocket::finish_connect(&mut self.sockets(), socket);
        if matches!(&streams, Err(error) if error.downcast_ref() == Some(&ErrorCode::WouldBlock)) {
            return streams;
        }
        let open = self.ctx.connecting.remove(&place).ok_or(ErrorCode::NotInProgress)?;
        let (input, output) =
            streams.inspect_err(|error| open.ongoing.fail(&format!("cannot connect: {error}")))?;
        let open = Arc::new(open);
        let slot = self.table.get_mut(&input)?;
        let inner = mem::replace(slot, Box::new(ClosedInputStream));
        *slot = Box::new(Incoming::new(inner, open.clone()));
        let slot = self.table.get_mut(&output)?;
        let inner = mem::replace(slot, Box::new(ClosedOutputStream));
        *slot = Box::new(Outgoing::new(inner, open));
        Ok((input, output))
    }

    async fn start_bind(
        &mut self,
        _: Socket,
        _: Resource<Network>,
        _: IpSocketAddress,
    ) -> SocketResult<()> {
        Err(ErrorCode::AccessDenied.into())
    }

    fn finish_bind(&mut self, _: Socket) -> SocketResult<()> {
        Err(ErrorCode::NotInProgress.into())
    }

    async fn start_listen(&mut self, _: Socket) -> SocketResult<()> {
        Err(ErrorCode::AccessDenied.into())
    }

    fn finish_listen(&mut self, _: Socket) -> SocketResult<()> {
        Err(ErrorCode::NotInProgress.into())
    }

    fn accept(
        &mut self,
        _: Socket,
    ) -> SocketResult<(Socket, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        Err(ErrorCode::InvalidState.into())
    }

    fn drop(&mut self, socket: Socket) -> wasmtime::Result<()> {
        let place = socket.rep();
        HostTcpSocket::drop(&mut self.sockets(), socket)?;
        self.ctx.connecting.remove(&place);
        self.ctx.held -= 1;
        Ok(())
    }

    pass_on! {
        local_address() -> SocketResult<IpSocketAddress>;
        remote_address() -> SocketResult<IpSocketAddress>;
        is_listening() -> wasmtime::Result<bool>;
        address_family() -> wasmtime::Result<IpAddressFamily>;
        set_listen_backlog_size(value: u64) -> SocketResult<()>;
        keep_alive_enabled() -> SocketResult<bool>;
        set_keep_alive_enabled(value: bool) -> SocketResult<()>;
        keep_alive_idle_time() -> SocketResult<u64>;
        set_keep_alive_idle_time(value: u64) -> SocketResult<()>;
        keep_alive_interval() -> SocketResult<u64>;
        set_keep_alive_interval(value: u64) -> SocketResult<()>;
        keep_alive_count() -> SocketResult<u32>;
        set_keep_alive_count(value: u32) -> SocketResult<()>;
        hop_limit() -> SocketResult<u8>;
        set_hop_limit(value: u8) -> SocketResult<()>;
        receive_buffer_size() -> SocketResult<u64>;
        set_receive_buffer_size(value: u64) -> SocketResult<()>;
        send_buffer_size() -> SocketResult<u64>;
        set_send_buffer_size(value: u64) -> SocketResult<()>;
        subscribe() -> wasmtime::Result<Resource<DynPollable>>;
        shutdown(how: ShutdownType) -> SocketResult<()>;
    }
}

// The bindings ask for these on the same view, for the translation of errors.
impl NetworkHost for TcpCtxView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<IoError>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        NetworkHost::network_error_code(&mut self.sockets(), error)
    }
}

impl HostNetwork for TcpCtxView<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        HostNetwork::drop(&mut self.sockets(), network)
    }
}
