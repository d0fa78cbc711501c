//! Which WebAssembly proposals suites may use.

use wasmparser::WasmFeatures;

/// Exactly what the engines allow; a test compares the two. Everything that current toolchains
/// produce without being asked is in it; garbage collection, exceptions, function references,
/// threads, 64-bit memories and component-model async are not, because most advisories of the engine
/// were in those.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::GC_TYPES);

#[cfg(test)]
mod tests {
    use std::hash::Hash as _;

    use super::super::cache::Fingerprint;
    use super::*;
    use crate::wasm;

    /// The hash of an engine covers its features, so setting them once more must not change it.
    #[test]
    fn the_engines_allow_the_same() {
        for metered in [false, true] {
            let plain = wasmtime::Engine::new(&wasm::config(metered)).unwrap();
            let mut config = wasm::config(metered);
            config.wasm_features(FEATURES, true).wasm_features(FEATURES.complement(), false);
            let explicit = wasmtime::Engine::new(&config).unwrap();
            let hash = |engine: &wasmtime::Engine| {
                let mut fingerprint = Fingerprint::default();
                engine.precompile_compatibility_hash().hash(&mut fingerprint);
                fingerprint.into_bytes()
            };
            assert_eq!(hash(&plain), hash(&explicit), "metered: {metered}");
        }
    }
}
