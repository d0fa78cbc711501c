//! `wasi:filesystem` as Rust, with our own descriptors.

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package handoff:capabilities;
            world files {
                import wasi:filesystem/types@0.2.12;
                import wasi:filesystem/preopens@0.2.12;
            }
        ",
        world: "handoff:capabilities/files",
        imports: { default: trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:filesystem/types.descriptor": crate::wasm::fs::wasi::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": crate::wasm::fs::wasi::Listing,
        },
        trappable_error_type: {
            "wasi:filesystem/types.error-code" => crate::wasm::fs::wasi::FsError,
        },
        require_store_data_send: true,
    });
}

pub(super) use generated::wasi::filesystem::{preopens, types};
