//! What the tests of the page need beside cargo: Chromium with its driver, and axe-core, which checks that
//! everybody can use a page. What is not there is installed.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::sdks::{command, is_there, run};
use crate::workspace::Workspace;

/// The checker at its version.
const AXE: &str = "axe-core@4.14.1";
/// Debian's packages, and the programs in them.
const PACKAGES: [&str; 3] = ["chromium", "chromium-driver", "fonts-dejavu-core"];
const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];

/// Sees to it that all of it is there.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    if !PROGRAMS.iter().all(|program| is_there(program)) {
        let wanted = PROGRAMS.join(" and ");
        ensure!(
            is_there("apt-get") && rustix::process::geteuid().is_root(),
            "the tests of the page need the programs {wanted}: install Chromium and its driver"
        );
        let apt = |arguments: &[&str]| {
            let mut apt = command("apt-get", &workspace.root);
            apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
            run(&mut apt)
        };
        apt(&["update", "--quiet=2"])?;
        apt(&[&["install", "--yes", "--quiet=2", "--no-install-recommends"], &PACKAGES[..]]
            .concat())?;
    }
    let place = workspace.target.join("tools").join("page");
    let noted = place.join("installed");
    if fs::read_to_string(&noted).is_ok_and(|there| there == AXE) {
        return Ok(());
    }
    ensure!(is_there("npm"), "the tests of the page need npm, for {AXE}");
    fs::create_dir_all(&place).with_context(|| format!("failed to make {}", place.display()))?;
    let mut npm = command("npm", &place);
    npm.args([
        "install",
        "--no-save",
        "--no-fund",
        "--no-audit",
        "--ignore-scripts",
        "--prefix",
        ".",
        AXE,
    ]);
    run(&mut npm)?;
    fs::write(&noted, AXE).context("failed to note what is installed")
}
