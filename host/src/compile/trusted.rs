//! The one gate through which machine code enters the server, and the symbols beside it.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::order::unpacked;
use super::symbols::Symbols;

/// Machine code that our own compiler made: it came through the pipe of a child that this process
/// started, or out of a cache file whose keyed hash says so. Nothing else makes one.
pub(super) struct Trusted {
    bytes: Vec<u8>,
    /// Where the code starts; before it may be a cache file's header.
    start: usize,
}

impl Trusted {
    /// The answer of a child process of ours.
    pub(super) fn from_child(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }

    /// A cache file of which everything from `start` was verified by its keyed hash, in this very
    /// buffer.
    pub(super) fn from_verified_file(bytes: Vec<u8>, start: usize) -> Self {
        Self { bytes, start }
    }

    /// The code and its symbols, packed.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Loads it. Fails, without running any of it, if it was made for another engine or version, or
    /// needs more than the engine's pools have.
    #[expect(unsafe_code, reason = "loading machine code is what wasmtime marks unsafe")]
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<(Component, Symbols)> {
        let broken = || wasmtime::Error::msg("code and symbols cannot be told apart");
        let (code, symbols) = unpacked(self.as_bytes()).ok_or_else(broken)?;
        let symbols = postcard::from_bytes(symbols).map_err(|_| broken())?;
        // SAFETY: `deserialize` demands bytes that `precompile_component` made and nobody changed.
        // They are either what our child process wrote to a pipe that nobody else can write to, with
        // its length and hash; or a file's content, read into memory that is ours alone and then
        // verified there by BLAKE3 under a random key that only this user can read. That the code
        // fits this engine and this version of wasmtime is checked by wasmtime's own header check.
        let component = unsafe { Component::deserialize(engine, code) }?;
        Ok((component, symbols))
    }
}
