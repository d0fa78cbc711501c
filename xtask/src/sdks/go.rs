//! Go: the module, its own tests, and its suites.
//!
//! Go knows by itself what is current, so everything is always asked for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{Place, command, run};

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
    let tool = tool(place)?;
    for (suite, component) in SUITES {
        let source = place.source.join(suite);
        let core = place.work.join(component);
        run(go(&source, false).args(["vet", "."]))?;
        run(go(&source, false)
            .args(["build", "-trimpath", "-buildmode=c-shared", "-o"])
            .args([&core, Path::new(".")]))?;
        wrap(&tool, place, &core, &place.guests.join(component))?;
    }
    Ok(())
}

/// A call of Go, for this machine or for a component.
fn go(directory: &Path, native: bool) -> std::process::Command {
    let mut go = command("go", directory);
    if !native {
        go.env("GOOS", "wasip1").env("GOARCH", "wasm");
    }
    go
}

/// Makes a component of what the compiler made, unless it is what was made a component last time.
fn wrap(tool: &Path, place: &Place, core: &Path, component: &Path) -> Result<()> {
    let wrapped = core.with_extension("wrapped");
    let same = |a: &Path, b: &Path| matches!((fs::read(a), fs::read(b)), (Ok(a), Ok(b)) if a == b);
    if component.is_file() && same(core, &wrapped) {
        return Ok(());
    }
    let embedded = core.with_extension("embedded");
    run(command(tool, &place.work)
        .arg("embed")
        .arg(core)
        .arg("--wit")
        .arg(world(place)?)
        .arg("-o")
        .arg(&embedded))?;
    // Whoever reads it meanwhile sees the old file or the new one.
    let unfinished = component.with_extension("part");
    run(command(tool, &place.work)
        .arg("new")
        .arg(&embedded)
        .args(["--wasi-reactor", "-o"])
        .arg(&unfinished))?;
    fs::rename(&unfinished, component)
        .and_then(|()| fs::copy(core, &wrapped))
        .with_context(|| format!("failed to write {}", component.display()))?;
    Ok(())
}

/// The SDK's world with what it names, as a directory of its own: jco 1.34.0 does not hear which world
/// of a package is meant.
fn world(place: &Place) -> Result<PathBuf> {
    let world = place.work.join("wit");
    let suite = world.join("deps/handoff-suite");
    if world.exists() {
        fs::remove_dir_all(&world)
            .with_context(|| format!("failed to clear {}", world.display()))?;
    }
    fs::create_dir_all(&suite).with_context(|| format!("failed to make {}", suite.display()))?;
    fs::copy(place.source.join("internal/generate/guest.wit"), world.join("guest.wit"))
        .context("failed to copy the SDK's world")?;
    copy(&place.wit, &suite)?;
    for package in fs::read_dir(place.wit.join("deps"))? {
        let package = package?;
        copy(&package.path(), &world.join("deps").join(package.file_name()))?;
    }
    Ok(world)
}

/// Copies the files of a directory, and no directories in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let told = || format!("failed to copy {} to {}", from.display(), to.display());
    fs::create_dir_all(to).with_context(told)?;
    for entry in fs::read_dir(from).with_context(told)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name)).with_context(told)?;
        }
    }
    Ok(())
}

/// The tool that makes components, installed as the SDK locks it.
fn tool(place: &Place) -> Result<PathBuf> {
    let (locked, installed) = (place.source.join("componentize"), place.work.join("componentize"));
    let tool = installed.join("node_modules/.bin/jco");
    let lock = |directory: &Path| fs::read(directory.join("package-lock.json"));
    if tool.exists() && lock(&locked)? == lock(&installed).unwrap_or_default() {
        return Ok(tool);
    }
    fs::create_dir_all(&installed)?;
    fs::copy(locked.join("package.json"), installed.join("package.json"))?;
    fs::copy(locked.join("package-lock.json"), installed.join("package-lock.json"))?;
    // Not `npm ci`: that wants the lock file to name the packages of other platforms too.
    run(command("npm", &installed).args(["install", "--no-save", "--no-fund", "--no-audit"]))?;
    ensure!(tool.exists(), "npm installed no {}", tool.display());
    Ok(tool)
}
