//! TypeScript and JavaScript: the package `@handoff/sdk`, its own tests, and its suites.
//!
//! npm writes beside the sources, so they are copied to where tools go and built there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Place, command, run};

/// What npm and the build make beside the sources.
const MADE: [&str; 3] = ["node_modules", "dist", "wit"];

/// The suites: what stands in the sources, and what it becomes.
const SUITES: [(&str, &str); 2] = [
    ("conformance/suite.ts", "javascript-conformance.wasm"),
    ("example/suite.ts", "javascript-hello.wasm"),
];

/// Builds the package and its suites, unless everything is as it was.
pub(super) fn build(place: &Place) -> Result<()> {
    let sdk = place.work.join("sdk");
    let done = place.work.join("built");
    let installed = place.work.join("installed");

    let lock = Path::new("package-lock.json");
    let locked = !same(&place.source.join(lock), &sdk.join(lock));
    let changed = mirror(&place.source, &sdk)? | mirror(&place.wit, &place.work.join("wit"))?;
    let whole = SUITES.iter().all(|(_, component)| place.guests.join(component).is_file());
    if !changed && done.is_file() && whole {
        return Ok(());
    }
    forget(&done)?;
    let npm = |args: &[&str]| {
        let mut npm = command("npm", &sdk);
        npm.args(args).env("HANDOFF_WIT", &place.wit);
        run(&mut npm)
    };
    if locked || !installed.is_file() {
        forget(&installed)?;
        // Not `npm ci`: that wants the lock file to name the packages of other platforms too, which not
        // every registry has. What the lock file names is installed as it says.
        npm(&["install", "--no-save", "--no-fund", "--no-audit"])?;
        mark(&installed)?;
    }
    for script in ["build", "check", "test"] {
        npm(&["run", "--silent", script])?;
    }
    for (suite, component) in SUITES {
        let mut node = command("node", &sdk);
        node.args(["bin/handoff-build.js", suite, "--output"]).arg(place.guests.join(component));
        run(&mut node)?;
    }
    mark(&done)
}

/// Makes a directory the same as another, but for what is made in it. Says whether anything changed.
fn mirror(from: &Path, to: &Path) -> Result<bool> {
    let told = || format!("failed to copy {} to {}", from.display(), to.display());
    let (wanted, there) = (files(from).with_context(told)?, files(to).with_context(told)?);
    let mut changed = false;
    for gone in there.difference(&wanted) {
        fs::remove_file(to.join(gone)).with_context(told)?;
        changed = true;
    }
    for file in &wanted {
        let (source, copy) = (from.join(file), to.join(file));
        if !same(&source, &copy) {
            fs::create_dir_all(copy.parent().unwrap_or(to)).with_context(told)?;
            fs::copy(&source, &copy).with_context(told)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The files below a directory, as paths relative to it. A directory that is not there has none.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        if !directory.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let inside = path.strip_prefix(root)?.to_owned();
            if MADE.iter().any(|made| inside == Path::new(made)) {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(inside);
            }
        }
    }
    Ok(found)
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(a), Ok(b)) if a == b)
}

fn mark(path: &Path) -> Result<()> {
    fs::write(path, "").with_context(|| format!("failed to write {}", path.display()))
}

fn forget(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("failed to remove {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_what_its_origin_has_and_keeps_what_was_made_in_it() {
        let root = std::env::temp_dir().join(format!("xtask-mirror-{}", std::process::id()));
        let (from, to) = (root.join("from"), root.join("to"));
        fs::create_dir_all(from.join("src")).unwrap();
        fs::write(from.join("src/a"), "a").unwrap();
        assert!(mirror(&from, &to).unwrap(), "the first copy is a change");
        assert!(!mirror(&from, &to).unwrap());

        fs::create_dir_all(to.join("dist")).unwrap();
        fs::write(to.join("dist/a"), "made").unwrap();
        assert!(!mirror(&from, &to).unwrap(), "what was made is no change");

        fs::rename(from.join("src/a"), from.join("src/b")).unwrap();
        assert!(mirror(&from, &to).unwrap());
        assert!(!to.join("src/a").exists());
        assert_eq!(fs::read_to_string(to.join("src/b")).unwrap(), "a");
        assert_eq!(fs::read_to_string(to.join("dist/a")).unwrap(), "made");
        fs::remove_dir_all(root).unwrap();
    }
}
