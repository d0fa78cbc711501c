//! Outgoing HTTP: `wasi:http` with a sender of our own, which lets a guest reach the hosts that it was
//! granted and nothing else.
//!
//! Of `wasmtime-wasi-http` only the translation of types is used; it is built without a sender. What
//! the sender promises: the target is taken apart and put together again by us (GHSA-5qpp), names are
//! resolved and addresses checked by us, redirects are the guest's to follow and are checked again,
//! HTTP/1.1 only, empty frames are dropped (GHSA-f8mm), each connection is new, and everything is
//! bounded by the attempt's limits and its deadline. A denial is an error that the guest can report.

mod body;
mod send;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode, IoError};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
};

pub(crate) use self::tls::TlsError;
use super::address::Resolver;
use super::deadline::SharedDeadline;
use super::traffic::Traffic;
use crate::model::Policy;

/// The most bytes that a guest may write to a request's body at once. A body buffers two such pieces
/// on the host until the network takes them. A buffer's size and no bound: the guest writes again.
const OUTGOING_CHUNK_BYTES: usize = 16 << 10;

/// What all attempts share: how to look up names and whom to trust. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpShared {
    tls: TlsConnector,
    resolver: Resolver,
}

impl HttpShared {
    /// Trusts the Mozilla root certificates, and those in `tls_ca_file` (PEM) beside them.
    pub(crate) fn new(tls_ca_file: Option<&Path>, resolver: Resolver) -> Result<Self, TlsError> {
        Ok(Self { tls: tls::connector(tls_ca_file)?, resolver })
    }

    /// Where names are looked up.
    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }
}

/// One attempt's outgoing HTTP. Costs a few reference counts until the first request.
pub(crate) struct HttpCtx {
    wasi: WasiHttpCtx,
    sender: Sender,
}

impl HttpCtx {
    /// Lets the guest reach what `policy` allows until `deadline`. Exchanges go to `traffic`.
    pub(crate) fn new(
        shared: HttpShared,
        policy: Arc<Policy>,
        traffic: Traffic,
        deadline: SharedDeadline,
    ) -> Self {
        let mut wasi = WasiHttpCtx::new();
        // wasmtime-wasi-http traps when fields outgrow its limit. With room to spare the guest gets
        // as far as our own check, which is an error that it can report.
        let header_bytes = usize::try_from(traffic.limits().header_bytes).unwrap_or(usize::MAX);
        wasi.set_field_size_limit(header_bytes.saturating_mul(2).saturating_add(128 << 10));
        Self { wasi, sender: Sender { shared, policy, traffic, deadline, refused: None } }
    }
}

/// What [`add_to_linker`] wants to see of a store's state.
pub(crate) trait HttpView: Send + 'static {
    /// The attempt's HTTP and its resources.
    fn http(&mut self) -> HttpCtxView<'_>;
}

/// A view of a store's state, on which calls are answered.
pub(crate) struct HttpCtxView<'a> {
    /// The attempt's HTTP.
    pub(crate) ctx: &'a mut HttpCtx,
    /// The store's resources.
    pub(crate) table: &'a mut ResourceTable,
}

impl<'a> HttpCtxView<'a> {
    fn into_wasi(self) -> WasiHttpCtxView<'a> {
        let HttpCtx { wasi, sender } = self.ctx;
        WasiHttpCtxView { hooks: sender, table: self.table, ctx: wasi }
    }

    /// `handle`, with what is refused refused at the call. wasmtime-wasi-http alone would tell it
    /// with the answer, and by then the guest, whose request's body is gone, may have taken it for a
    /// broken connection.
    fn handle(
        self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Result<Resource<HostFutureIncomingResponse>, ErrorCode>> {
        let HttpCtxView { ctx, table } = self;
        let mut wasi = HttpCtxView { ctx: &mut *ctx, table: &mut *table }.into_wasi();
        let handled = outgoing_handler::Host::handle(&mut wasi, request, options);
        match (handled, ctx.sender.refused.take()) {
            (Ok(answer), None) => Ok(Ok(answer)),
            (Ok(answer), Some(refused)) => {
                table.delete(answer)?;
                Ok(Err(refused))
            }
            (Err(error), _) => error.downcast().map(Err),
        }
    }

    /// `http-error-code`: why a body broke off. wasmtime-wasi-http 48 looks for an [`ErrorCode`] in what its own
    /// body keeps as an [`Error`], and so never finds any.
    fn error_code(&self, error: &Resource<IoError>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(error)?.downcast_ref().map(code_of_body))
    }
}

/// The code of an error of a body, see [`body`].
fn code_of_body(error: &Error) -> ErrorCode {
    match error {
        Error::HttpResponseBodySize(bytes) => ErrorCode::HttpResponseBodySize(*bytes),
        Error::HttpRequestBodySize(bytes) => ErrorCode::HttpRequestBodySize(*bytes),
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        _ => ErrorCode::HttpProtocolError,
    }
}

/// Links `wasi:http/types` and `wasi:http/outgoing-handler`.
pub(crate) fn add_to_linker<T: HttpView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let options = types::LinkOptions::default();
    types::add_to_linker::<T, WasiHttp>(linker, &options, |state| state.http().into_wasi())?;
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap("http-error-code", |mut store: StoreContextMut<'_, T>, (error,)| {
        Ok((store.data_mut().http().error_code(&error)?,))
    })?;
    linker.allow_shadowing(false);
    let mut handler = linker.instance("wasi:http/outgoing-handler@0.2.12")?;
    handler.func_wrap("handle", |mut store: StoreContextMut<'_, T>, (request, options)| {
        Ok((store.data_mut().http().handle(request, options)?,))
    })
}

/// Sends requests on behalf of one attempt.
struct Sender {
    shared: HttpShared,
    policy: Arc<Policy>,
    traffic: Traffic,
    deadline: SharedDeadline,
    /// Why the last request was refused, until that is told.
    refused: Option<ErrorCode>,
}

impl WasiHttpHooks for Sender {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        // Decided here and now, so that the record has the order of the guest's calls.
        let prepared = self.prepare(request, options.unwrap_or_default());
        self.refused = prepared.as_ref().err().cloned();
        Box::new(async move {
            let answer = prepared?.send().await?;
            // The connection is driven by a task that the answer's body owns.
            let driver: Driver = Box::new(std::future::ready(Ok(())));
            Ok((answer, driver))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        OUTGOING_CHUNK_BYTES
    }
}

type Answer = (http::Response<WasiBody>, Driver);
type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;
