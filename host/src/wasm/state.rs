//! What a store holds for one attempt, and the linker that offers it to guests.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, io};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

use super::context::{self, ContextCtx, ContextView};
use super::fs::{self, FsCtx, FsView};
use super::http::{self, HttpCtx, HttpCtxView, HttpView};
use super::limits::ResourceCounter;
use super::plugin::context::{self as plugin, PluginCtx, PluginView};
use super::random::{self, RandomCtx};
use super::tcp::{self, TcpCtx, TcpCtxView, TcpView};
use crate::model::Policy;

/// Everything that belongs to one attempt. Each capability has its own part.
pub(crate) struct State {
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) config: ConfigCtx,
    pub(crate) random: RandomCtx,
    pub(crate) fs: FsCtx,
    pub(crate) http: HttpCtx,
    pub(crate) tcp: TcpCtx,
    pub(crate) context: ContextCtx,
    pub(crate) plugin: PluginCtx,
    pub(crate) resources: ResourceCounter,
}

/// Configuration and parameters, put together when the guest first asks.
pub(crate) struct ConfigCtx {
    policy: Arc<Policy>,
    params: Arc<BTreeMap<String, String>>,
    variables: Option<WasiConfigVariables>,
}

impl ConfigCtx {
    pub(crate) fn new(policy: Arc<Policy>, params: Arc<BTreeMap<String, String>>) -> Self {
        Self { policy, params, variables: None }
    }

    /// Parameters hide configuration, and configuration hides secrets, of the same name.
    fn view(&mut self) -> WasiConfig<'_> {
        let Self { policy, params, variables } = self;
        WasiConfig::new(variables.get_or_insert_with(|| {
            let all = policy.secrets.iter().chain(&policy.config).chain(params.iter());
            all.map(|(name, value)| (name.clone(), value.clone())).collect()
        }))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl HttpView for State {
    fn http(&mut self) -> HttpCtxView<'_> {
        HttpCtxView { ctx: &mut self.http, table: &mut self.table }
    }
}

impl TcpView for State {
    fn tcp(&mut self) -> TcpCtxView<'_> {
        TcpCtxView { ctx: &mut self.tcp, table: &mut self.table }
    }
}

/// Offers everything that a suite or a plugin may import; inspection has seen to it that each names its own
/// alone. What is not granted is refused at the call, not here,
/// because language runtimes import what they never use.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    context::add_to_linker(l, |state: &mut State| ContextView {
        ctx: &mut state.context,
        table: &mut state.table,
    })?;
    plugin::add_to_linker(l, |state: &mut State| PluginView {
        plugin: &mut state.plugin,
        context: &mut state.context,
    })?;
    random::add_to_linker(l, |state: &mut State| &mut state.random)?;
    wasmtime_wasi_config::add_to_linker(l, |state: &mut State| state.config.view())?;
    fs::add_to_linker(l, |state: &mut State| FsView {
        ctx: &mut state.fs,
        table: &mut state.table,
    })?;
    http::add_to_linker(l)?;
    tcp::add_to_linker(l)?;
    add_wasi(l)?;
    Ok(linker)
}

/// `wasi:io/error` in words. wasmtime-wasi-io tells an error with the host's own backtrace, where one is
/// captured.
struct Errors<'a>(&'a mut ResourceTable);

struct HasErrors;

impl HasData for HasErrors {
    type Data<'a> = Errors<'a>;
}

impl io::error::Host for Errors<'_> {}

impl io::error::HostError for Errors<'_> {
    fn drop(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<()> {
        Ok(self.0.delete(error).map(drop)?)
    }

    fn to_debug_string(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<String> {
        Ok(format!("{:#}", self.0.get(&error)?))
    }
}

struct HasIo;

impl HasData for HasIo {
    type Data<'a> = &'a mut ResourceTable;
}

/// wasmtime-wasi's interfaces, less those that have an implementation of ours.
fn add_wasi(l: &mut Linker<State>) -> wasmtime::Result<()> {
    io::error::add_to_linker::<State, HasErrors>(l, |state| Errors(&mut state.table))?;
    io::poll::add_to_linker::<State, HasIo>(l, |state| &mut state.table)?;
    io::streams::add_to_linker::<State, HasIo>(l, |state| &mut state.table)?;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)
}
