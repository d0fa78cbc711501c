//! The WIT worlds as Rust: generated, private, and re-exported by hand, so that what the sandbox
//! uses of it can be read here.

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "handoff:suite/suite",
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
            "handoff:suite/context.span": crate::wasm::context::SpanHandle,
        },
        require_store_data_send: true,
    });
}

pub(crate) use generated::SuitePre;
pub(crate) use generated::exports::handoff::suite::tests;
pub(crate) use generated::handoff::suite::context;
#[expect(unreachable_pub, reason = "the generated code of the plugins' world re-exports it")]
pub use generated::handoff::suite::vocabulary;
