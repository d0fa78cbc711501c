//! `cargo xtask guests`: every suite and plugin of the repository as a component in `target/guests`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::programs;
use crate::workspace::Workspace;

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "guest";

/// Builds all guests in one call of cargo and copies those that changed. Gives their number.
pub(crate) fn build(workspace: &Workspace) -> Result<usize> {
    if workspace.guests.is_empty() {
        eprintln!("there are no guests to build");
        return Ok(0);
    }
    ensure_target(workspace, TARGET)?;
    let packages = workspace.guests.iter().flat_map(|guest| ["--package", &guest.package]);
    let status = workspace
        .cargo(&["build", "--profile", PROFILE, "--target", TARGET])
        .args(packages)
        .status()
        .context("failed to run cargo")?;
    ensure!(status.success(), "the guests did not build");

    let built = workspace.target.join(TARGET).join(PROFILE);
    let to = workspace.target.join("guests");
    fs::create_dir_all(&to).with_context(|| format!("failed to make {}", to.display()))?;
    for guest in &workspace.guests {
        copy_if_changed(&built.join(&guest.file), &workspace.component(&guest.name))?;
    }
    Ok(workspace.guests.len() + programs::build(workspace)?)
}

/// Leaves an unchanged file alone, so that its time tells when it changed.
pub(crate) fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("failed to read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // Whoever reads it meanwhile sees the old file or the new one.
    let unfinished = to.with_extension("wasm.part");
    let copied = fs::write(&unfinished, new).and_then(|()| fs::rename(&unfinished, to));
    copied.with_context(|| format!("failed to write {}", to.display()))
}

/// Adds a target of guests to the toolchain if it is missing.
pub(crate) fn ensure_target(workspace: &Workspace, target: &str) -> Result<()> {
    if has_target(workspace, target)? {
        return Ok(());
    }
    eprintln!("adding the target {target}");
    let added = Command::new("rustup")
        .args(["target", "add", target])
        .current_dir(&workspace.root)
        .status();
    let problem = match added {
        Ok(status) if status.success() && has_target(workspace, target)? => return Ok(()),
        Ok(status) => format!("`rustup target add {target}` ended with {status}"),
        Err(error) => format!("`rustup` cannot be run ({error})"),
    };
    bail!(
        "the toolchain has no target {target}, and {problem}.\n\
         Add it by hand to the toolchain that rust-toolchain.toml names, or set RUSTUP_TOOLCHAIN to \
         any other toolchain that has it."
    )
}

/// Whether the standard library for the target is there. Asks the compiler, which knows it for
/// toolchains that do not come from rustup, too.
fn has_target(workspace: &Workspace, target: &str) -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(&workspace.root)
        .stderr(Stdio::null())
        .output()
        .context("failed to run rustc")?;
    let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".rlib");
    Ok(output.status.success()
        && fs::read_dir(directory).is_ok_and(|files| {
            files.flatten().any(|file| is_std(&file.file_name().to_string_lossy()))
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_component_is_not_written_again() {
        let directory = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (from, to) = (directory.join("a.wasm"), directory.join("b.wasm"));
        fs::write(&from, "one").unwrap();
        copy_if_changed(&from, &to).unwrap();
        let before = fs::metadata(&to).unwrap().modified().unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), before);
        fs::write(&from, "two").unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");
        fs::remove_dir_all(directory).unwrap();
    }
}
