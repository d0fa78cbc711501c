//! The table in `docs/programs.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

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
    let text = written(&read(docs)?, compared)?;
    std::fs::write(docs, text).with_context(|| format!("failed to write {}", docs.display()))
}

/// Fails unless the table has what was found, and, if that was of all programs, nothing else.
pub(crate) fn compare(docs: &Path, compared: &[Compared], is_all: bool) -> Result<()> {
    check(&read(docs)?, compared, is_all)
        .with_context(|| format!("{}: run `cargo xtask programs --write`", docs.display()))
}

fn written(text: &str, compared: &[Compared]) -> Result<String> {
    let (before, _, after) = parts(text)?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", table(compared)))
}

fn check(text: &str, compared: &[Compared], is_all: bool) -> Result<()> {
    let (_, there, _) = parts(text)?;
    let found = table(compared);
    if let Some(line) = found.lines().find(|line| !there.lines().any(|it| it == *line)) {
        bail!("the table lacks this line: {line}");
    }
    let void = there.lines().find(|line| !found.lines().any(|it| it == *line));
    if let Some(line) = void.filter(|_| is_all) {
        bail!("the table has a line that is not so any more: {line}");
    }
    Ok(())
}

/// What stands before the table, the table, and what stands behind it.
fn parts(text: &str) -> Result<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN).context("the place of the table is not marked")?;
    let (there, after) = rest.split_once(END).context("the end of the table is not marked")?;
    Ok((before, there, after))
}

fn table(compared: &[Compared]) -> String {
    let rows: String = compared.iter().map(row).collect();
    let mut differences: Vec<String> = Vec::new();
    // For each target the same.
    for row in compared.iter().flat_map(explained) {
        if !differences.contains(&row) {
            differences.push(row);
        }
    }
    format!("\n{HEAD}{rows}\n{DIFFERENCES}{}\n", differences.concat())
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

#[cfg(test)]
mod tests {
    use super::super::{Program, Verdict};
    use super::*;

    fn compared(target: &'static str) -> Compared {
        let verdict = |name: &str, verdict| (name.to_owned(), verdict);
        let all = ["a", "stress", "must_panic"].map(|name| verdict(name, Verdict::Passed));
        let here = [verdict("a", Verdict::Passed), verdict("must_panic", Verdict::Skipped)];
        let program = Program {
            name: "src/lib.rs".into(),
            native: all.into(),
            must_panic: vec!["must_panic".into()],
            here: here.into(),
        };
        let (package, version) = ("bytes".to_owned(), "1".to_owned());
        Compared { package, version, target, programs: vec![program] }
    }

    #[test]
    fn a_difference_of_both_targets_is_one_row() {
        let table = table(&[compared("wasm32-wasip1"), compared("wasm32-wasip2")]);
        assert!(table.contains("| `bytes` | 1 | wasm32-wasip2 | 3 | 1 | 2 |\n"), "{table}");
        assert_eq!(table.matches("| `stress` | passed | not there |").count(), 1, "{table}");
        assert_eq!(table.matches("| the one with `should_panic` |").count(), 1, "{table}");
    }

    #[test]
    fn a_table_that_is_out_of_date_is_noticed() {
        let empty = format!("before\n{BEGIN}{END}after\n");
        let both = [compared("wasm32-wasip1"), compared("wasm32-wasip2")];
        assert!(check(&empty, &both[..1], false).is_err());
        let text = written(&empty, &both).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("after\n"), "{text}");
        assert_eq!(written(&text, &both).unwrap(), text);
        check(&text, &both, true).unwrap();
        check(&text, &both[1..], false).unwrap();
        let told = check(&text, &both[1..], true).unwrap_err().to_string();
        assert!(told.contains("not so any more: | `bytes` | 1 | wasm32-wasip1"), "{told}");
    }
}
