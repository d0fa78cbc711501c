//! Generated from `wit/`: the only place that does.
#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, reason = "generated code")]

wit_bindgen::generate!({
    path: ["../../../wit", "../../../wit/plugin"],
    inline: "
        package handoff:rust-plugin-sdk;
        world rust-plugin-sdk {
            import handoff:plugin/host@0.1.0;
            import wasi:config/store@0.2.0-rc.1;
            export handoff:plugin/hooks@0.1.0;
        }
    ",
    world: "handoff:rust-plugin-sdk/rust-plugin-sdk",
    pub_export_macro: true,
    default_bindings_module: "handoff_plugin::__private::bindings",
    generate_all,
});
