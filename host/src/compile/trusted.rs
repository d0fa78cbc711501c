//! The one gate through which machine code enters the server, and the symbols beside it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::order::{TRAILER_BYTES, symbols_length};
use super::symbols::Symbols;

/// Machine code that our own compiler made, and its symbols, packed: it came through the pipe of a
/// child that this process started, or out of a cache file whose keyed hash says so. Nothing else makes
/// one.
pub(super) struct Trusted(Code);

enum Code {
    /// A file of the cache that begins with so many bytes of it.
    File(File, u64),
    Memory(Vec<u8>),
}

impl Trusted {
    /// The answer of a child process of ours, and the file of the cache that it was just written to, if
    /// it was.
    pub(super) fn from_child(answer: Vec<u8>, written: Option<File>) -> Self {
        let length = answer.len() as u64;
        Self(written.map_or_else(|| Code::Memory(answer), |file| Code::File(file, length)))
    }

    /// A file of the cache of which the first `length` bytes were verified by its keyed hash.
    pub(super) fn from_verified_file(file: File, length: u64) -> Self {
        Self(Code::File(file, length))
    }

    /// Loads it. Fails, without running any of it, if it was made for another engine or version, or
    /// needs more than the engine's pools have.
    #[expect(unsafe_code, reason = "loading machine code is what wasmtime marks unsafe")]
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<(Component, Symbols)> {
        let broken = || wasmtime::Error::msg("code and symbols cannot be told apart");
        let symbols = self.symbols()?.ok_or_else(broken)?;
        let symbols = postcard::from_bytes(&symbols).map_err(|_| broken())?;
        let component = match &self.0 {
            // Mapped, not read: what is not used takes no memory, and each instance's memory starts as
            // a copy-on-write view of the same pages.
            Code::File(file, _) => {
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                // SAFETY: see below. The file is the very one that was written or verified, whatever its
                // name stands for by now, and the cache never changes a file: it makes new ones and
                // deletes them. Who else may write into the cache's directory, this server's own user,
                // could as well change the binary, which is mapped in the same way. What follows the
                // code in the file is no part of the object that wasmtime reads.
                unsafe { Component::deserialize_file(engine, path) }?
            }
            // SAFETY: `deserialize` demands bytes that `precompile_component` made and nobody changed.
            // They are what our child process wrote to a pipe that nobody else can write to, with its
            // length and hash; in a file, those bytes with a BLAKE3 hash of them under a random key that
            // only this user can read. That the code fits this engine and this version of wasmtime is
            // checked by wasmtime's own header check.
            Code::Memory(bytes) => unsafe { Component::deserialize(engine, bytes) }?,
        };
        Ok((component, symbols))
    }

    /// The symbols, packed; none if this is not code with symbols.
    fn symbols(&self) -> io::Result<Option<Vec<u8>>> {
        let Some(end) = self.length().checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
        let length = symbols_length(&self.read(end, TRAILER_BYTES)?);
        match length.and_then(|length| end.checked_sub(length)) {
            Some(start) => Ok(Some(self.read(start, (end - start) as usize)?)),
            None => Ok(None),
        }
    }

    fn length(&self) -> u64 {
        match &self.0 {
            Code::File(_, length) => *length,
            Code::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read(&self, start: u64, length: usize) -> io::Result<Vec<u8>> {
        match &self.0 {
            Code::File(file, _) => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, start).map(|()| bytes)
            }
            Code::Memory(bytes) => Ok(bytes[start as usize..start as usize + length].to_vec()),
        }
    }
}
