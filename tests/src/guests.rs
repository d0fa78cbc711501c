//! The components that `cargo xtask guests` builds.

use std::path::PathBuf;

/// The directory that cargo builds into. A test runs from `target/PROFILE/deps`.
pub fn target_directory() -> PathBuf {
    binary_directory().parent().expect("a profile is built in the target directory").to_owned()
}

/// Where `handoff` is that is tested, with the other binaries of this profile.
pub fn binary_directory() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let deps = test.parent().expect("a file is in a directory");
    deps.parent().expect("a test runs from target/PROFILE/deps").to_owned()
}

/// Where the component of that name is.
pub(crate) fn file(name: &str) -> PathBuf {
    target_directory().join("guests").join(name).with_extension("wasm")
}

/// The component of that name: an example, a plugin or a fixture.
///
/// # Panics
/// When it was not built.
pub fn guest(name: &str) -> Vec<u8> {
    let path = file(name);
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("no component at {} ({error}): run the tests by `cargo xtask test`", path.display())
    })
}

/// The component of that name, if the tools for its language were there to build it; says so if not.
pub fn optional_guest(name: &str) -> Option<Vec<u8>> {
    if !file(name).exists() {
        eprintln!("NOT TESTED: {name}, which was not built: its language's tools are not here");
        return None;
    }
    Some(guest(name))
}

/// The same component as other bytes, thus another version of its suite: with a custom section that
/// holds `salt`.
pub fn salted(component: &[u8], salt: u64) -> Vec<u8> {
    let name = b"salt";
    let mut section = vec![name.len() as u8];
    section.extend(name);
    section.extend(salt.to_le_bytes());
    let mut bytes = component.to_vec();
    // Section 0 is custom; the size fits in one byte of LEB128.
    bytes.extend([0, section.len() as u8]);
    bytes.extend(section);
    bytes
}
