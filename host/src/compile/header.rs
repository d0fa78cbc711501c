//! What the first bytes of an upload tell, so that an obvious mistake costs no process.

use super::error::{Rejection, shown};

const MAGIC: &[u8] = b"\0asm";
/// How much is looked at to tell text from other bytes.
pub(super) const SAMPLE_BYTES: usize = 512;

/// The starts of files that people upload by mistake, and what they are.
const KNOWN: &[(&[u8], &str)] = &[
    (b"PK", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it"),
    (b"\xfd7zXZ", "an xz archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"!<arch>", "a library archive"),
    (b"\x7fELF", "a program, library or compiled component for one machine"),
    (b"MZ", "a program for Windows"),
    (b"\xcf\xfa\xed\xfe", "a program for macOS"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"#!", "a script"),
    (b"<", "HTML or XML"),
    (b"{", "JSON or source code"),
    (b"--", "a form; send the component alone as the body"),
];

/// Version 1, layer 0.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Whether `bytes` start as a core module does.
pub(super) fn is_module(bytes: &[u8]) -> bool {
    bytes.starts_with(MODULE)
}

/// Whether `bytes` start as a component or a core module does.
pub(super) fn check(bytes: &[u8]) -> Result<(), Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::Empty);
    }
    if bytes.len() < 8 && MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
        return Err(Rejection::Truncated { size_bytes: bytes.len() as u64 });
    }
    let Some(&[v0, v1, l0, l1]) = bytes.strip_prefix(MAGIC).and_then(<[u8]>::first_chunk) else {
        return Err(other_format(bytes));
    };
    match (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([l0, l1])) {
        (0x0d, 1) | (1, 0) => Ok(()),
        (version, layer) => Err(Rejection::UnknownFormat { version, layer }),
    }
}

fn other_format(bytes: &[u8]) -> Rejection {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let text = readable(sample);
    if text.is_some_and(is_wat) {
        return Rejection::Text;
    }
    let known = KNOWN.iter().find(|(start, _)| bytes.starts_with(start));
    let kind = match (known, text) {
        (Some((_, kind)), _) => format!(": {kind}"),
        (None, Some(_)) => ": text".into(),
        (None, None) => String::new(),
    };
    let start: String = match text {
        Some(text) => format!("`{}`", shown(&text.chars().take(16).collect::<String>())),
        None => match known {
            Some((start, _)) => format!("`{}`", start.escape_ascii()),
            None => format!("the bytes {}", hex::encode(&sample[..sample.len().min(4)])),
        },
    };
    Rejection::NotWasm { start, kind }
}

/// The sample as text, without a character cut at its end, unless it is none.
fn readable(sample: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(sample) {
        Ok(text) => text,
        Err(cut) if cut.error_len().is_none() => {
            std::str::from_utf8(&sample[..cut.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let binary = |c: char| c.is_control() && !c.is_whitespace();
    (!text.is_empty() && !text.contains(binary)).then_some(text)
}

/// Whether the first expression after comments is a module or component.
fn is_wat(text: &str) -> bool {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while let Some(comment) = rest.strip_prefix(";;") {
        rest = comment.split_once('\n').map_or("", |(_, next)| next).trim_start();
    }
    let Some(inside) = rest.strip_prefix('(') else { return false };
    let inside = inside.trim_start();
    inside.starts_with("module") || inside.starts_with("component")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_uploaded_instead_is_named() {
        let cases: &[(&[u8], &str)] = &[
            (b"PK\x03\x04\x14\0", "it starts with `PK`: a zip archive;"),
            (b"\x1f\x8b\x08\0", "it starts with `\\x1f\\x8b`: a gzip archive; unpack it;"),
            (b"\x7fELF\x02\x01", "it starts with `\\x7fELF`: a program, library or"),
            (b"#!/bin/sh\n", "it starts with `#!/bin/sh `: a script;"),
            (b"{\"a\":1}", "it starts with `{\"a\":1}`: JSON or source code;"),
            (b"hello", "it starts with `hello`: text;"),
            (b"\0\0\0\0\0\0\0\0\0", "it starts with the bytes 00000000;"),
            (b"\xff\xd8\xff\xe0", "it starts with the bytes ffd8ffe0;"),
        ];
        for (bytes, expected) in cases {
            let message = check(bytes).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(message.contains("upload a component that exports handoff:suite/tests@0.1.0"));
            assert!(message.ends_with("or a test program for WASI preview 1 or 2"), "{message}");
        }
    }

    #[test]
    fn text_is_to_be_compiled_first() {
        for text in ["(module)", "  ;; c\n ;; (d\n( component)", "\u{feff}(component $a)"] {
            assert_eq!(check(text.as_bytes()), Err(Rejection::Text), "{text}");
        }
        let cut = format!("(component{}é", " ".repeat(SAMPLE_BYTES - 11));
        assert_eq!(check(cut.as_bytes()), Err(Rejection::Text));
    }

    #[test]
    fn only_the_header_of_a_component_or_module_passes() {
        assert_eq!(check(b""), Err(Rejection::Empty));
        assert_eq!(check(b"\0as"), Err(Rejection::Truncated { size_bytes: 3 }));
        assert_eq!(check(b"\0asm\x0d\0"), Err(Rejection::Truncated { size_bytes: 6 }));
        assert_eq!(check(MODULE), Ok(()));
        let unknown = Rejection::UnknownFormat { version: 0x0e, layer: 1 };
        assert_eq!(check(b"\0asm\x0e\0\x01\0"), Err(unknown));
        assert_eq!(check(b"\0asm\x0d\0\x01\0"), Ok(()));
    }
}
