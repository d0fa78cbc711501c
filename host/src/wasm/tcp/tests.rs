//! TCP through the host traits, against real servers on the loopback interface.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::instance_network::Host as _;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::tcp::{HostTcpSocket as _, ShutdownType};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket::Host as _;
use wasmtime_wasi::p2::bindings::sockets::udp_create_socket::Host as _;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, Network, Pollable as _, SocketResult, StreamError, TcpSocket,
};

use super::lookup::{Host as _, HostResolveAddressStream as _};
use super::*;
use crate::metrics::Metrics;
use crate::model::{Exchange, Limit, Limits};
use crate::wasm::limits::LimitsHit;

struct Guest {
    ctx: TcpCtx,
    table: ResourceTable,
    traffic: Traffic,
    hits: LimitsHit,
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

impl Guest {
    async fn new(grants: &[&str], limits: Limits) -> Self {
        let resolver = Resolver::fixed(&[("db.test", &["127.0.0.1"]), ("other.test", &["::1"])]);
        let allow_tcp = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let policy = Policy { allow_tcp, ..Policy::default() };
        let hits = LimitsHit::default();
        let traffic = Traffic::new(Arc::new(limits), hits.clone(), Metrics::new());
        let ctx = TcpCtx::new(&policy, traffic.clone(), &resolver).await;
        Self { ctx, table: ResourceTable::new(), traffic, hits }
    }

    fn tcp(&mut self) -> TcpCtxView<'_> {
        TcpCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }

    fn network(&mut self) -> Resource<Network> {
        self.tcp().sockets().instance_network().unwrap()
    }

    fn socket(&mut self) -> Result<Resource<TcpSocket>, ErrorCode> {
        code(self.tcp().create_tcp_socket(IpAddressFamily::Ipv4))
    }

    fn start(
        &mut self,
        socket: &Resource<TcpSocket>,
        address: SocketAddr,
    ) -> Result<(), ErrorCode> {
        let network = self.network();
        code(self.tcp().start_connect(again(socket), network, address.into()))
    }

    async fn connect(
        &mut self,
        socket: &Resource<TcpSocket>,
        address: SocketAddr,
    ) -> Result<Streams, ErrorCode> {
        self.start(socket, address)?;
        self.table.get_mut(socket).unwrap().ready().await;
        code(self.tcp().finish_connect(again(socket)))
    }

    async fn write(&mut self, output: &Resource<DynOutputStream>, text: &'static str) {
        let output = self.table.get_mut(output).unwrap();
        output.blocking_write_and_flush(text.into()).await.unwrap();
    }

    fn look_up(&mut self, name: &str) -> Result<Vec<IpAddr>, ErrorCode> {
        let network = self.network();
        let stream = code(self.tcp().resolve_addresses(network, name.into()))?;
        let mut found = Vec::new();
        while let Some(address) = code(self.tcp().resolve_next_address(again(&stream)))? {
            found.push(match address {
                IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
                IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
            });
        }
        Ok(found)
    }

    fn exchange(&self) -> Exchange {
        let [exchange] = self.traffic.finish().try_into().unwrap();
        exchange
    }
}

fn again<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

fn code<T>(result: SocketResult<T>) -> Result<T, ErrorCode> {
    result.map_err(|error| error.downcast().unwrap())
}

/// A server that sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_granted_connection_carries_bytes_and_is_recorded() {
    let address = echo().await;
    let grant = format!("db.test:{}", address.port());
    let mut guest = Guest::new(&[&grant], Limits::default()).await;
    let socket = guest.socket().unwrap();
    let (input, output) = guest.connect(&socket, address).await.unwrap();
    guest.write(&output, "hello").await;
    let mut heard = Vec::new();
    while heard.len() < 5 {
        let input = guest.table.get_mut(&input).unwrap();
        heard.extend(input.blocking_read(99).await.unwrap());
    }
    assert_eq!(heard, b"hello");
    code(guest.tcp().shutdown(again(&socket), ShutdownType::Send)).unwrap();
    let end = guest.table.get_mut(&input).unwrap().blocking_read(1).await;
    assert!(matches!(end, Err(StreamError::Closed)));
    guest.table.delete(input).unwrap();
    guest.table.delete(output).unwrap();
    wasmtime_wasi::p2::bindings::sockets::tcp::HostTcpSocket::drop(&mut guest.tcp(), socket)
        .unwrap();
    assert_eq!(guest.ctx.held, 0);
    let exchange = guest.exchange();
    assert_eq!((exchange.method.as_str(), exchange.url), ("CONNECT", format!("tcp://{grant}")));
    assert_eq!((exchange.sent_bytes, exchange.received_bytes), (5, 5));
    assert!(exchange.allowed && exchange.error.is_none());
}

#[tokio::test]
async fn without_a_grant_everything_is_denied_at_the_call() {
    let mut guest = Guest::new(&[], Limits::default()).await;
    let address: SocketAddr = "127.0.0.1:5432".parse().unwrap();
    let socket = guest.socket().unwrap();
    assert_eq!(guest.start(&socket, address), Err(ErrorCode::AccessDenied));
    assert_eq!(guest.look_up("db.test"), Err(ErrorCode::AccessDenied));
    let said = guest.traffic.finish().into_iter().map(|exchange| exchange.error.unwrap());
    for (said, entry) in said.zip(["127.0.0.1:5432", "db.test:PORT"]) {
        let advice = format!(
            "policy: grant allow_tcp = [\"{entry}\"], on the command line by --allow-tcp {entry}"
        );
        assert!(said.contains(&advice), "{said}");
    }
    let udp = guest.tcp().sockets().create_udp_socket(IpAddressFamily::Ipv4).await;
    assert_eq!(code(udp).map(drop), Err(ErrorCode::AccessDenied));
    let exchanges = guest.traffic.finish();
    assert_eq!(exchanges.len(), 2);
    assert!(exchanges.iter().all(|exchange| !exchange.allowed));
}

#[tokio::test]
async fn another_port_or_address_than_the_granted_is_denied() {
    let address = echo().await;
    let other = echo().await;
    let mut guest = Guest::new(&[&format!("db.test:{}", address.port())], Limits::default()).await;
    let socket = guest.socket().unwrap();
    let elsewhere = SocketAddr::new("127.0.0.2".parse().unwrap(), address.port());
    for denied in [other, elsewhere] {
        assert_eq!(guest.start(&socket, denied), Err(ErrorCode::AccessDenied));
        let exchange = guest.traffic.finish().pop().unwrap();
        assert!(!exchange.allowed);
        let advice = format!("by --allow-tcp {denied}");
        assert!(exchange.error.unwrap().ends_with(&advice));
    }
    // The socket is as good as new.
    guest.connect(&socket, address).await.unwrap();
}

#[tokio::test]
async fn nobody_listens() {
    let address = echo().await;
    let mut guest = Guest::new(&[&address.to_string()], Limits::default()).await;
    let socket = guest.socket().unwrap();
    let network = guest.network();
    for local in ["0.0.0.0:0", "127.0.0.1:0"] {
        let local: SocketAddr = local.parse().unwrap();
        let network = again(&network);
        let bound = guest.tcp().start_bind(again(&socket), network, local.into()).await;
        assert_eq!(code(bound), Err(ErrorCode::AccessDenied));
    }
    let listening = guest.tcp().start_listen(again(&socket)).await;
    assert_eq!(code(listening), Err(ErrorCode::AccessDenied));
    assert!(code(guest.tcp().accept(socket)).is_err());
    let udp = guest.tcp().sockets().create_udp_socket(IpAddressFamily::Ipv6).await;
    assert_eq!(code(udp).map(drop), Err(ErrorCode::AccessDenied));
}

#[tokio::test]
async fn only_granted_names_are_looked_up() {
    let grants = ["db.test:5432", "gone.test:1"];
    let mut guest = Guest::new(&grants, Limits::default()).await;
    let home: IpAddr = "127.0.0.1".parse().unwrap();
    assert_eq!(guest.look_up("DB.test."), Ok(vec![home]));
    assert_eq!(guest.look_up("127.0.0.1"), Ok(vec![home]));
    assert_eq!(guest.look_up("[::1]"), Ok(vec!["::1".parse().unwrap()]));
    assert_eq!(guest.look_up("gone.test"), Err(ErrorCode::NameUnresolvable));
    assert_eq!(guest.traffic.finish().len(), 0);
    for other in ["other.test", "s3cret.db.test", ""] {
        assert_eq!(guest.look_up(other), Err(ErrorCode::AccessDenied), "{other}");
    }
    assert!(guest.traffic.finish().iter().all(|exchange| !exchange.allowed));
}

#[tokio::test]
async fn bytes_are_bounded_both_ways() {
    let address = echo().await;
    let address_text = address.to_string();
    let grants = [address_text.as_str()];
    let limits = Limits { sent_bytes: 4, ..Limits::default() };
    let mut guest = Guest::new(&grants, limits).await;
    let socket = guest.socket().unwrap();
    let (_input, output) = guest.connect(&socket, address).await.unwrap();
    let output = guest.table.get_mut(&output).unwrap();
    output.blocking_write_and_flush("1234".into()).await.unwrap();
    let over = output.blocking_write_and_flush("5".into()).await;
    assert!(matches!(over, Err(StreamError::LastOperationFailed(_))));
    assert!(matches!(output.check_write(), Err(StreamError::Closed)));
    assert_eq!(guest.hits.take(), [Limit::SentBytes]);

    let limits = Limits { received_bytes: 4, ..Limits::default() };
    let mut guest = Guest::new(&grants, limits).await;
    let socket = guest.socket().unwrap();
    let (input, output) = guest.connect(&socket, address).await.unwrap();
    guest.write(&output, "12345").await;
    let input = guest.table.get_mut(&input).unwrap();
    let mut end = Ok(());
    while end.is_ok() {
        end = input.blocking_read(99).await.map(drop);
    }
    assert!(matches!(end, Err(StreamError::LastOperationFailed(_))), "{end:?}");
    assert!(matches!(input.read(1), Err(StreamError::Closed)));
    assert_eq!(guest.hits.take(), [Limit::ReceivedBytes]);
    assert!(guest.exchange().error.unwrap().contains("limit received_bytes of 4 bytes"));
}

#[tokio::test]
async fn connections_are_bounded() {
    let address = echo().await;
    let limits = Limits { concurrent_requests: 2, ..Limits::default() };
    let mut guest = Guest::new(&[&address.to_string()], limits).await;
    let sockets = [guest.socket().unwrap(), guest.socket().unwrap()];
    assert_eq!(guest.socket().map(drop), Err(ErrorCode::NewSocketLimit));
    assert_eq!(guest.hits.take(), [Limit::ConcurrentRequests]);
    // A request over HTTP takes one of the same places.
    let slot = guest.traffic.try_slot();
    guest.connect(&sockets[0], address).await.unwrap();
    assert_eq!(guest.start(&sockets[1], address), Err(ErrorCode::NewSocketLimit));
    drop(slot);
    guest.connect(&sockets[1], address).await.unwrap();
}

#[tokio::test]
async fn a_refused_connection_is_recorded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut guest = Guest::new(&[&address.to_string()], Limits::default()).await;
    let socket = guest.socket().unwrap();
    let refused = guest.connect(&socket, address).await.map(drop);
    assert_eq!(refused, Err(ErrorCode::ConnectionRefused));
    let exchange = guest.exchange();
    assert!(exchange.allowed);
    assert!(exchange.error.unwrap().starts_with("cannot connect"));
}

#[tokio::test]
async fn a_connection_under_way_cannot_be_started_again() {
    let address = echo().await;
    let mut guest = Guest::new(&[&address.to_string()], Limits::default()).await;
    let socket = guest.socket().unwrap();
    assert_eq!(code(guest.tcp().finish_connect(again(&socket))).map(drop), {
        Err(ErrorCode::NotInProgress)
    });
    guest.start(&socket, address).unwrap();
    assert_eq!(guest.start(&socket, address), Err(ErrorCode::ConcurrencyConflict));
    guest.table.get_mut(&socket).unwrap().ready().await;
    let (mut input, _output) = code(guest.tcp().finish_connect(again(&socket))).unwrap();
    assert_eq!(guest.start(&socket, address), Err(ErrorCode::InvalidState));
    assert_eq!(guest.traffic.finish().len(), 2);
    input = again(&input);
    assert!(guest.table.get_mut(&input).is_ok());
}

#[tokio::test]
async fn a_large_write_arrives_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reading = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.shutdown().await.unwrap();
        all.len()
    });
    let mut guest = Guest::new(&[&address.to_string()], Limits::default()).await;
    let socket = guest.socket().unwrap();
    let (_input, output) = guest.connect(&socket, address).await.unwrap();
    let bytes = vec![7; 10_000_000];
    let stream = guest.table.get_mut(&output).unwrap();
    stream.blocking_write_and_flush(bytes.into()).await.unwrap();
    code(guest.tcp().shutdown(socket, ShutdownType::Send)).unwrap();
    assert_eq!(reading.await.unwrap(), 10_000_000);
    assert_eq!(guest.exchange().sent_bytes, 10_000_000);
}
