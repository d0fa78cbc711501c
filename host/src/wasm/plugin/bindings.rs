//! The WIT world of plugins as Rust: generated, private, and re-exported by hand.

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        path: ["../wit", "../wit/plugin"],
        world: "handoff:plugin/plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:cli": wasmtime_wasi::p2::bindings::cli,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:filesystem": wasmtime_wasi::p2::bindings::filesystem,
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:random": wasmtime_wasi::p2::bindings::random,
            "wasi:sockets": wasmtime_wasi::p2::bindings::sockets,
            "wasi:http": wasmtime_wasi_http::p2::bindings::http,
            "handoff:suite/vocabulary": crate::wasm::bindings::vocabulary,
        },
        require_store_data_send: true,
    });
}

pub(crate) use generated::PluginPre;
pub(crate) use generated::exports::handoff::plugin::hooks;
pub(crate) use generated::handoff::plugin::host;
