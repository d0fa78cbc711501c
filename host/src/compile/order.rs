//! What the server and its child process say to each other: an order as an argument, the component
//! on stdin, one answer on stdout.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::error::Rejection;
use super::settings::Structure;

/// The command of the binary that is the child process.
pub(super) const COMMAND: &str = "compile-worker";

/// What to do, and within which limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) job: Job,
    /// How many bytes come on stdin.
    pub(super) input_bytes: u64,
    pub(super) memory_bytes: u64,
    pub(super) cpu_ms: u64,
    pub(super) structure: Structure,
    /// How much debug information is read when compiling.
    pub(super) debug_bytes: u64,
}

/// The two jobs of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Job {
    /// Validate; the answer is [`Names`] as JSON.
    Inspect,
    /// Compile for one of the engines; the answer is [`packed`].
    Compile { metered: bool },
}

/// What a component is run as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It exports our interface of tests.
    #[default]
    Suite,
    /// It exports our interface of a plugin's hooks.
    Plugin,
    /// It exports `wasi:cli/run`: a program that knows nothing of us.
    Program,
}

/// What a valid suite or program exports and imports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) kind: Kind,
    pub(super) language: Option<String>,
    pub(super) exports: Vec<String>,
    pub(super) imports: Vec<String>,
}

/// The verdict of a child that did its work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// Inspection found a fault.
    Rejected(Rejection),
    /// The compiler refuses the component.
    Failed(String),
    /// Memory ran out, and it could still be said.
    Memory,
}

/// Before an answer: a magic with the version of this protocol, whether the job is done, the length
/// of what follows and its BLAKE3.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) done: bool,
    pub(super) length: u64,
    pub(super) hash: [u8; 32],
}

const MAGIC: &[u8; 7] = b"handof1";

impl Header {
    pub(super) const BYTES: usize = MAGIC.len() + 1 + 8 + 32;

    /// The header as the child writes it; `None` if that was no child of ours.
    pub(super) fn parse(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (&done, rest) = rest.split_first()?;
        let (&length, rest) = rest.split_first_chunk()?;
        let (&hash, _) = rest.split_first_chunk()?;
        let done = match done {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { done, length: u64::from_le_bytes(length), hash })
    }
}

/// Writes one answer.
pub(super) fn answer(out: &mut impl Write, done: bool, payload: &[u8]) -> io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&[u8::from(done)])?;
    out.write_all(&(payload.len() as u64).to_le_bytes())?;
    out.write_all(blake3::hash(payload).as_bytes())?;
    out.write_all(payload)?;
    out.flush()
}

/// How many bytes at the end of [`packed`] tell the length of its symbols.
pub(super) const TRAILER_BYTES: usize = 8;

/// Compiled code and the table of symbols as one. The code comes first, so that it can be mapped from
/// where it lies.
pub(super) fn packed(code: Vec<u8>, symbols: &[u8]) -> Vec<u8> {
    let mut packed = code;
    packed.extend(symbols);
    packed.extend((symbols.len() as u64).to_le_bytes());
    packed
}

/// The length of the symbols, of the last bytes of [`packed`].
pub(super) fn symbols_length(trailer: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(trailer.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comes_first_and_the_length_of_the_symbols_last() {
        let bytes = packed(b"code".to_vec(), b"symbols");
        let (rest, trailer) = bytes.split_at(bytes.len() - TRAILER_BYTES);
        assert_eq!((rest, symbols_length(trailer)), (&b"codesymbols"[..], Some(7)));
        assert_eq!(symbols_length(b"short"), None);
    }

    #[test]
    fn an_answer_reads_back() {
        let mut out = Vec::new();
        answer(&mut out, true, b"payload").unwrap();
        let (header, payload) = out.split_first_chunk().unwrap();
        assert_eq!(payload, b"payload");
        let hash = *blake3::hash(b"payload").as_bytes();
        assert_eq!(Header::parse(header), Some(Header { done: true, length: 7, hash }));
        for foreign in [0, 6, 7] {
            let mut header = *header;
            header[foreign] ^= 0x40;
            assert_eq!(Header::parse(&header), None, "byte {foreign}");
        }
    }
}
