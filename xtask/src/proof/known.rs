//! The differences that there are, each with its reason.

use super::{Compared, Program, Verdict};

/// A difference.
pub(crate) struct Known {
    pub(crate) package: &'static str,
    /// The test, or the part of one as `TEST/PART`.
    pub(crate) test: &'static str,
    pub(crate) native: Verdict,
    pub(crate) here: Verdict,
    pub(crate) reason: &'static str,
}

/// What a difference is explained by.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Explanation {
    /// It must panic, which Rust's own harness cannot observe on WebAssembly and says so.
    MustPanic,
    /// It is a fuzz target of Go, which are left out.
    FuzzTarget,
    /// It is in the list, at this place.
    Listed(usize),
}

pub(crate) const KNOWN: &[Known] = &[];

/// A test that ended in another way than natively.
pub(crate) struct Difference<'a> {
    pub(crate) test: &'a str,
    pub(crate) native: Verdict,
    pub(crate) here: Verdict,
    pub(crate) explanation: Option<Explanation>,
}

/// Every difference of a program, in the order of names.
pub(crate) fn differences<'a>(
    of: &'a Compared,
    program: &'a Program,
) -> impl Iterator<Item = Difference<'a>> {
    let only_here = program.here.keys().filter(|name| !program.native.contains_key(*name));
    let names = program.native.keys().chain(only_here);
    names.filter_map(|test| {
        let of_test = |verdicts: &super::Verdicts| verdicts.get(test).copied();
        let native = of_test(&program.native).unwrap_or(Verdict::Absent);
        let here = of_test(&program.here).unwrap_or(Verdict::Absent);
        let explanation = explain(of, program, test, native, here);
        (native != here).then_some(Difference { test, native, here, explanation })
    })
}

fn explain(
    of: &Compared,
    program: &Program,
    test: &str,
    native: Verdict,
    here: Verdict,
) -> Option<Explanation> {
    let ends = (native, here);
    let must_panic = program.must_panic.iter().any(|name| name == test);
    if must_panic && ends == (Verdict::Passed, Verdict::Skipped) {
        return Some(Explanation::MustPanic);
    }
    if of.version.starts_with("go") && test.starts_with("Fuzz") && here == Verdict::Absent {
        return Some(Explanation::FuzzTarget);
    }
    let is_it = |known: &Known| {
        known.package == of.package && known.test == test && (known.native, known.here) == ends
    };
    KNOWN.iter().position(is_it).map(Explanation::Listed)
}

/// Says which differences are not explained, and which explanations explain nothing any more.
pub(crate) fn check(compared: &[Compared]) -> Vec<String> {
    let mut findings = Vec::new();
    for of in compared {
        let mut seen = Vec::new();
        for program in &of.programs {
            for difference in differences(of, program) {
                let Difference { test, native, here, explanation } = difference;
                let (native, here) = (native.as_str(), here.as_str());
                let Compared { package, target, .. } = of;
                match explanation {
                    None => findings.push(format!(
                        "{package} for {target}, {}: {test} is {native} natively and {here} here",
                        program.name
                    )),
                    Some(explanation) => seen.push(explanation),
                }
            }
        }
        for (at, known) in KNOWN.iter().enumerate().filter(|(_, it)| it.package == of.package) {
            if !seen.contains(&Explanation::Listed(at)) {
                let (package, target) = (&of.package, of.target);
                findings.push(format!(
                    "{package} for {target}: {} is no longer {} natively and {} here",
                    known.test,
                    known.native.as_str(),
                    known.here.as_str()
                ));
            }
        }
    }
    findings
}
