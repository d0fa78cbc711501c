//! Go: the module, its own tests, and its suites. What the compiler makes is what Handoff takes.
//!
//! Go knows by itself what is current, so everything is always asked for.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Place, command, run};
use crate::guests::copy_if_changed;

/// The suites: what stands in the sources, and what it becomes.
const SUITES: [(&str, &str); 2] =
    [("conformance", "go-conformance.wasm"), ("example", "go-hello.wasm")];

/// The packages that are written by hand.
const PACKAGES: [&str; 5] =
    [".", "./internal/abi", "./internal/generate", "./internal/host", "./internal/wasihttp"];

/// Checks the module, and builds its suites.
pub(super) fn build(place: &Place) -> Result<()> {
    for native in [true, false] {
        run(go(&place.source, native).arg("vet").args(PACKAGES))?;
    }
    // One of them tells whether the bindings are those of `wit/`.
    run(go(&place.source, true).args(["test", ".", "./internal/generate"]))?;
    for (suite, file) in SUITES {
        let source = place.source.join(suite);
        let built = place.work.join(file);
        run(go(&source, false).args(["vet", "."]))?;
        run(go(&source, false)
            .args(["build", "-trimpath", "-buildmode=c-shared", "-o"])
            .args([&built, Path::new(".")]))?;
        copy_if_changed(&built, &place.guests.join(file))?;
    }
    Ok(())
}

/// A call of Go, for this machine or for a suite.
fn go(directory: &Path, native: bool) -> Command {
    let mut go = command("go", directory);
    if !native {
        go.env("GOOS", "wasip1").env("GOARCH", "wasm");
    }
    go
}
