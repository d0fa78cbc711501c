//! Generated from `wit/`: the only place that does. Imports that a suite does not use are dropped
//! when its component is linked.
#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, reason = "generated code")]

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package handoff:rust-sdk;
        world rust-sdk {
            import handoff:suite/context@0.1.0;
            import wasi:config/store@0.2.0-rc.1;
            export handoff:suite/tests@0.1.0;
        }
    ",
    world: "handoff:rust-sdk/rust-sdk",
    generate_all,
});

// Natively the crate can be checked and unit tested, but exports nothing.
#[cfg(target_family = "wasm")]
export!(Suite);

#[cfg(target_family = "wasm")]
use crate::guest::Suite;
