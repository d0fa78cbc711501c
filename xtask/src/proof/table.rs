//! The table in `docs/programs.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Compared;
use super::known::{self, Difference, Explanation, KNOWN};

const BEGIN: &str = "<!-- written by `cargo xtask programs --write` -->\n";
const END: &str = "<!-- end of what is written -->\n";

const HEAD: &str = "| package | version | target | tests | as natively | explained |\n\
    | --- | --- | --- | --- | --- | --- |\n";
const DIFFERENCES: &str = "| package | test | natively | here | why |\n\
    | --- | --- | --- | --- | --- |\n";

/// Writes the table.
pub(crate) fn write(docs: &Path, compared: &[Compared]) -> Result<()> {
    let text = read(docs)?;
    let (before, rest) = text.split_once(BEGIN).context("the place of the table is not marked")?;
    let (_, after) = rest.split_once(END).context("the end of the table is not marked")?;
    let rows: String = compared.iter().map(row).collect();
    let mut differences: Vec<String> = compared.iter().flat_map(explained).collect();
    differences.dedup();
    let differences = differences.concat();
    let table = format!("{HEAD}{rows}\n{DIFFERENCES}{differences}");
    std::fs::write(docs, format!("{before}{BEGIN}\n{table}\n{END}{after}"))
        .with_context(|| format!("failed to write {}", docs.display()))
}

/// Fails unless the table has what was found.
pub(crate) fn compare(docs: &Path, compared: &[Compared]) -> Result<()> {
    let text = read(docs)?;
    for line in compared.iter().flat_map(|it| [row(it)].into_iter().chain(explained(it))) {
        let line = line.trim_end();
        ensure!(
            text.lines().any(|it| it == line),
            "{} lacks this line: run `cargo xtask programs --write`\n{line}",
            docs.display()
        );
    }
    Ok(())
}

fn read(docs: &Path) -> Result<String> {
    std::fs::read_to_string(docs).with_context(|| format!("failed to read {}", docs.display()))
}

fn row(of: &Compared) -> String {
    let tests: usize = of.programs.iter().map(|it| it.native.len()).sum();
    let all = of.programs.iter().flat_map(|program| known::differences(of, program));
    let different = all.filter(|it| it.native != super::Verdict::Absent).count();
    let Compared { package, version, target, .. } = of;
    let same = tests - different;
    format!("| `{package}` | {version} | {target} | {tests} | {same} | {different} |\n")
}

/// The rows of a package's differences, the same for each target.
fn explained(of: &Compared) -> Vec<String> {
    let package = &of.package;
    let mut rows = Vec::new();
    let (mut must_panic, mut fuzz) = (0, Vec::new());
    for program in &of.programs {
        for Difference { test, native, here, explanation } in known::differences(of, program) {
            match explanation {
                Some(Explanation::MustPanic) => must_panic += 1,
                Some(Explanation::FuzzTarget) => fuzz.push(test.split('/').next().unwrap_or(test)),
                Some(Explanation::Listed(at)) => {
                    let (native, here) = (native.as_str(), here.as_str());
                    let reason = KNOWN[at].reason;
                    rows.push(format!(
                        "| `{package}` | `{test}` | {native} | {here} | {reason} |\n"
                    ));
                }
                None => {}
            }
        }
    }
    if must_panic > 0 {
        let what = if must_panic == 1 { "the one".into() } else { format!("the {must_panic}") };
        rows.push(format!(
            "| `{package}` | {what} with `should_panic` | passed | skipped | nothing unwinds on \
             WebAssembly, so that Rust's harness ignores them itself |\n"
        ));
    }
    fuzz.dedup();
    if !fuzz.is_empty() {
        let mut names = String::new();
        for name in fuzz {
            let comma = if names.is_empty() { "" } else { ", " };
            _ = write!(names, "{comma}`{name}`");
        }
        rows.push(format!(
            "| `{package}` | {names} | passed | not there | fuzz targets are left out; `go test` runs \
             their seeds |\n"
        ));
    }
    rows
}
